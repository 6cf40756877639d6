"""restic's mover in a directory that stands for its container, and restic as somebody else would use it."""

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from support.agent import Container, Ended
from support.engines import find_engine, path_with
from support.programs import GO

PASSWORD = "hunter2&'quoted' and more"


class Mover(Container):
    """A container of restic's mover. `act` runs it to its end; `stock` is restic as somebody else would use it."""

    def act(self, *actions: str, **changes: str | None) -> Ended:
        self.arguments = ["restic", *actions]
        return self.run(**changes)

    @property
    def repository(self) -> Path:
        return self.root / "mnt" / "repository"

    def stock(
        self, *arguments: str, folder: Path | None = None, variables: Mapping[str, str] = {}, check: bool = True
    ) -> Any:
        """Run restic by hand; return what its JSON says, if it is JSON."""
        done = subprocess.run(
            [find_engine("restic"), "--json", *arguments],
            cwd=folder or self.root,
            env=GO
            | {
                "PATH": path_with("restic"),
                "RESTIC_REPOSITORY": str(self.repository),
                "RESTIC_PASSWORD": PASSWORD,
                "RESTIC_CACHE_DIR": str(self.root / "stock-cache"),
            }
            | dict(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if line.startswith(("{", "["))]
        return json.loads(lines[-1]) if lines else None

    def snapshots(self) -> list[dict[str, Any]]:
        return self.stock("snapshots", "--no-lock")


def make_key_cheap(repository: Path) -> None:
    """Let the password of a repository be checked in no time. restic spends half a second of a core on that, with each command.

    The key file holds the cost; so the master key in it is taken out and put into another one, as restic's own design page describes.
    """
    (file,) = (repository / "keys").iterdir()
    key = json.loads(file.read_bytes())
    master = _open(base64.b64decode(key["data"]), _user_key(key))
    cheap = key | {"N": 2, "r": 1, "p": 1}
    content = json.dumps(cheap | {"data": base64.b64encode(_seal(master, _user_key(cheap))).decode()}).encode()
    file.unlink()
    (repository / "keys" / hashlib.sha256(content).hexdigest()).write_bytes(content)


def leave_lock(repository: Path, *, hostname: str, age: float, exclusive: bool = True) -> None:
    """Leave a lock of a restic that is gone, last renewed `age` seconds ago."""
    (file,) = (repository / "keys").iterdir()
    key = json.loads(file.read_bytes())
    master = json.loads(_open(base64.b64decode(key["data"]), _user_key(key)))
    parts = (master["encrypt"], master["mac"]["k"], master["mac"]["r"])
    moment = datetime.now(UTC) - timedelta(seconds=age)
    lock = {
        "time": moment.isoformat(),
        "exclusive": exclusive,
        "hostname": hostname,
        "username": "root",
        "pid": 1 << 21,
    }
    sealed = _seal(json.dumps(lock).encode(), b"".join(map(base64.b64decode, parts)))
    (repository / "locks" / hashlib.sha256(sealed).hexdigest()).write_bytes(sealed)


def _user_key(file: Mapping[str, Any]) -> bytes:
    salt = base64.b64decode(file["salt"])
    cost = {"n": file["N"], "r": file["r"], "p": file["p"]}
    return hashlib.scrypt(PASSWORD.encode(), salt=salt, maxmem=1 << 28, dklen=64, **cost)


def _open(sealed: bytes, key: bytes) -> bytes:
    return _cipher(key, sealed[:16]).update(sealed[16:-16])


def _seal(content: bytes, key: bytes) -> bytes:
    """Encrypt with AES-256 and add a tag of Poly1305-AES: the key has 32 bytes for the one, 16 and 16 for the other."""
    nonce = os.urandom(16)
    secret = _cipher(key, nonce).update(content)
    once = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor().update(nonce)
    return nonce + secret + Poly1305.generate_tag(key[48:] + once, secret)


def _cipher(key: bytes, nonce: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key[:32]), modes.CTR(nonce)).encryptor()
