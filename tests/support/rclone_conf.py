"""The rclone mover of ReplicationSources, with an rclone.conf for a directory or a server."""

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.agent import Container, Ended
from support.s3 import BUCKET, S3Server, run_server

SECTION = "store"


class Place:
    """Where a remote's files lie on this machine, and the section of rclone.conf that describes it."""

    def __init__(self, folder: Path, *, path: str, options: Mapping[str, str]) -> None:
        self.folder = folder
        self.path = path
        self.options = dict(options)

    @property
    def configuration(self) -> str:
        return f"[{SECTION}]\n" + "".join(f"{name} = {value}\n" for name, value in self.options.items())

    def files(self) -> dict[str, bytes]:
        """Return what lies there, by path."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and ".sgwtmp" not in path.parts
        }

    def put(self, name: str, content: str = "x") -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def local_place(folder: Path) -> Place:
    folder.mkdir()
    return Place(folder, path=str(folder), options={"type": "local"})


def served_place(server: S3Server) -> Place:
    options = {
        "type": "s3",
        "provider": "Other",
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "endpoint": f"http://127.0.0.1:{server.port}",
        "region": "us-east-1",
    }
    return Place(server.bucket() / "volumes", path=f"{BUCKET}/volumes", options=options)


@pytest.fixture(params=["local", "versitygw"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A directory, and a folder of a bucket of a faithful server."""
    if request.param == "local":
        yield local_place(tmp_path / "remote")
        return
    for server in run_server("versitygw", tmp_path):
        yield served_place(server)


class Mover:
    """One side: a volume and what its Pod gets."""

    def __init__(self, root: Path, place: Place, *, source: bool) -> None:
        self.container = Container(root, arguments=["rclone"])
        self.data = self.container.data
        self.configuration = root / "rclone-config" / "rclone.conf"
        self.configuration.parent.mkdir()
        (root / "tmp").mkdir()
        self.configuration.write_text(place.configuration)
        self.environment = {
            "RCLONE_CONFIG": "/rclone-config/rclone.conf",
            "RCLONE_DEST_PATH": place.path,
            "RCLONE_CONFIG_SECTION": SECTION,
            "DIRECTION": "source" if source else "destination",
            "MOUNT_PATH": "/data",
            "PRIVILEGED_MOVER": "0",
            "DATAMOVER_RUN_ID": "run-1",
            "DATAMOVER_ALLOW_EMPTY_SOURCE": "false",
        }

    def run(self, **changes: str | None) -> Ended:
        return self.container.run(**{**self.environment, **changes})


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Return an ACL as the kernel has it: tag, rights, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
SHARED = acl((1, 6, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (8, 6, 77), (16, 6, NOBODY), (32, 0, NOBODY))
INHERITED = acl((1, 7, NOBODY), (2, 5, 1234), (4, 5, NOBODY), (16, 5, NOBODY), (32, 0, NOBODY))


def fill(root: Path) -> None:
    """Make a volume of everything that this mover brings back."""
    (root / "dir/deep").mkdir(parents=True)
    (root / "empty/inner").mkdir(parents=True)
    (root / "lost+found").mkdir(mode=0o700)
    (root / "lost+found/odd").write_text("not the user's")
    for name, content in {"a.txt": "alpha", "dir/b c.txt": "beta", "dir/deep/ü\n.txt": "gamma", "none": ""}.items():
        (root / name).write_text(content)
    (root / "a.txt").chmod(0o640)
    (root / "none").chmod(0o4755)
    (root / "dir").chmod(0o2750)
    (root / "empty").chmod(0o1777)
    os.setxattr(root / "dir/b c.txt", "system.posix_acl_access", SHARED)
    os.setxattr(root / "dir/deep", "system.posix_acl_default", INHERITED)
    if os.geteuid() == 0:
        os.chown(root / "a.txt", 1234, 77)
        os.chown(root / "none", 1234, 77)
        (root / "none").chmod(0o4755)
    os.utime(root / "a.txt", ns=(10**18, 10**18))
