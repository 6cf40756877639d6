"""A volume with everything that is hard to bring back, row by row: each row makes its own paths, and says what it sees of them.

What a row sees in a source and in what came back is the same, or it is lost. Rows have folders of their own, named by the row, so that a tool
that complains of a path complains of a row.
"""

import errno
import hashlib
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from support.odd_tree import ACL, NAMED_USER

DEFAULT_ACL = "system.posix_acl_default"
CAPABILITY = "security.capability"
_NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
"""A file that may listen on low ports: version 2 with the effective bit, one permitted capability."""
_MOMENT = 1_234_567_890_123_456_789
HOLES = 256 << 20
"""Bytes of the file with holes; 16 KiB of it are data."""
NAMES = {
    "line break": [b"two\nlines", b"\n", b"ends\n"],
    "dash in front": [b"-rf", b"--delete", b"-"],
    "no UTF-8": [b"\xff\xfe\x80", b"latin-\xe9", b"cut-\xe2\x82"],
    "255 bytes": [b"x" * 255, "\u00e9".encode() * 127 + b"y"],
    "both forms of a letter": ["\u00e9".encode(), "e\u0301".encode()],
    "blanks and dots": [b" ", b" both ", b"...", b"..a", b".hidden", b"end."],
    "signs of shells and patterns": [b"* ?[a]{b}", b"$(id)`id`", b"\\", b'"', b"'", b"#", b"a:b", b"%2F", b"~"],
    "signs of engines": [b".partial", b"a.12345678.partial", "\uff0f".encode(), "\u2400".encode(), "\u201bA".encode()],
}
"""Names, by what is hard about them. No carriage return: not every server can list it."""


class Row(NamedTuple):
    """One thing that a volume can have. `make` is given the row's own folder (of the row `TOP` the volume itself), `look` the same.

    `root`: only root can have it, or bring it back. `of`: the row in whose folder this one looks, and makes nothing.
    """

    name: str
    make: Callable[[Path], None]
    look: Callable[[Path], Any]
    root: bool = False
    of: str = ""

    @property
    def folder(self) -> str:
        """The row's folder; `.` is the volume."""
        return "." if self.name == TOP else (self.of or self.name).replace(" ", "-").replace(",", "")

    def seen(self, volume: Path) -> object:
        """Return what is there of the row; None when a path of it is not."""
        try:
            return self.look(volume / self.folder)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENODATA, errno.EINVAL}:
                return None
            raise


TOP = "the volume's own folder"
LARGE = "256 MiB with holes"


def grow(volume: Path, rows: list[Row]) -> None:
    """Make these rows in an empty volume; the times of folders come last, as all that is made in a folder changes its own."""
    for row in rows:
        if row.name != TOP and not row.of:
            (volume / row.folder).mkdir()
            row.make(volume / row.folder)
    for row in rows:
        if row.name == TOP:
            row.make(volume)


def rows(*, root: bool) -> list[Row]:
    """Return all rows, or those that who is not root can have."""
    return [row for row in (*_CONTENTS, *_names(), *_ATTRIBUTES, *_SPECIAL) if root or not row.root]


# --- what a path is, in words that can be compared -------------------------------------------------------------------


def _all(folder: Path, *, folders: bool = True) -> list[Path]:
    found = [path for path in folder.rglob("*") if folders or not path.is_dir() or path.is_symlink()]
    return sorted(found) or [folder / "nothing"]


def _each(look: Callable[[os.stat_result], object]) -> Callable[[Path], object]:
    """See one thing of every path of a row."""
    return lambda folder: {os.fsencode(path.name): look(path.lstat()) for path in _all(folder)}


def _contents(folder: Path) -> object:
    return {os.fsencode(path.relative_to(folder)): digest(path) for path in _all(folder, folders=False)}


def digest(path: Path) -> str:
    """Return size and SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return f"{path.stat().st_size} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _has_holes(folder: Path) -> object:
    """Tell of each file whether it takes much less room than it is long."""
    return {path.name: path.stat().st_blocks * 512 < path.stat().st_size // 2 for path in _all(folder)}


def _attribute(name: str) -> Callable[[Path], object]:
    return lambda folder: {path.name: os.getxattr(path, name) for path in _all(folder)}


def _attributes(folder: Path) -> object:
    return {path.name: {name: os.getxattr(path, name) for name in os.listxattr(path)} for path in _all(folder)}


def _links(folder: Path) -> object:
    return {path.name: os.readlink(os.fsencode(path)) for path in _all(folder)}


def _top(volume: Path) -> object:
    found = volume.stat()
    return stat.S_IMODE(found.st_mode), found.st_mtime_ns


def _inodes(folder: Path) -> object:
    """Name the files of each inode; content and number of links too, which a copy of each name does not have."""
    found: dict[int, list[str]] = {}
    for path in _all(folder, folders=False):
        found.setdefault(path.stat().st_ino, []).append(str(path.relative_to(folder)))
    return sorted(found.values())


# --- making ----------------------------------------------------------------------------------------------------------


def _write(folder: Path, names: Iterator[bytes] | list[bytes]) -> None:
    for raw in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + raw)).write_bytes(b"this is " + raw)


def _write_contents(folder: Path) -> None:
    for size in (1, 4096, 65537, (9 << 20) + 1):
        (folder / str(size)).write_bytes(os.urandom(size))


def _write_deep(folder: Path) -> None:
    deep = folder.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")


def _write_holes(folder: Path) -> None:
    with (folder / "between").open("wb") as file:
        for place in (0, (100 << 20) + 4096, HOLES - 5200):
            file.seek(place)
            file.write(b"\x55\xaa" * 2600)


def _write_small_holes(folder: Path) -> None:
    (folder / "at-the-end").write_bytes(b"x")
    os.truncate(folder / "at-the-end", 2 << 20)
    (folder / "only").touch()
    os.truncate(folder / "only", 3 << 20)


def _write_times(folder: Path) -> None:
    for name, moment in (("now", _MOMENT), ("before-1970", -1_500_000_001), ("2100", 4_102_444_800_000_000_001)):
        (folder / name).touch()
        os.utime(folder / name, ns=(1, moment))


def _write_modes(folder: Path) -> None:
    for mode in (0o000, 0o400, 0o640, 0o755, 0o777) if os.geteuid() == 0 else (0o400, 0o640, 0o755, 0o777):
        (folder / f"{mode:04o}").touch()
        (folder / f"{mode:04o}").chmod(mode)


def _write_bits(folder: Path) -> None:
    for mode in (0o4755, 0o2755, 0o6711, 0o1644):
        (folder / f"{mode:04o}").touch()
        (folder / f"{mode:04o}").chmod(mode)


def _write_owners(folder: Path) -> None:
    for number, (user, group) in enumerate(((1000, 0), (0, 2000), (65534, 4_000_000_000))):
        (folder / str(number)).touch()
        os.chown(folder / str(number), user, group)
    (folder / "folder").mkdir()
    os.chown(folder / "folder", 1234, 4321)


_TARGETS = {
    "file": "there",
    "up": "../../../../etc/passwd",
    "absolute": "/etc/hostname",
    "dangling": "nowhere at all",
    "raw": b"bytes-\xff",
    "loop": "loop",
}


def _write_links(folder: Path) -> None:
    for name, target in _TARGETS.items():
        os.symlink(os.fsencode(target), os.fsencode(folder / name))


def _write_link_times(folder: Path) -> None:
    os.symlink("nowhere", folder / "link")
    os.utime(folder / "link", ns=(1, _MOMENT), follow_symlinks=False)


def _write_link_owners(folder: Path) -> None:
    os.symlink("nowhere", folder / "link")
    os.chown(folder / "link", 1234, 4321, follow_symlinks=False)


def _write_hard_links(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a/first").write_text("one inode")
    for name in ("second", "a/third"):
        os.link(folder / "a/first", folder / name)
    os.link(folder / "a/first", os.fsencode(folder) + b"/\xff-last")


def _set_attributes(folder: Path) -> None:
    (folder / "file").write_text("marked")
    (folder / "folder").mkdir()
    for path in (folder / "file", folder / "folder"):
        os.setxattr(path, "user.mark", b"\x00\xff\n\x01")
        os.setxattr(path, "user.content-type", b"text/x-mine")
        os.setxattr(path, "user.empty", b"")


def _set(name: str, value: bytes, *, folders: bool = False) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        if folders:
            (folder / "one").mkdir()
        else:
            (folder / "one").write_text("one")
        os.setxattr(folder / "one", name, value)

    return make


def _make_folders(folder: Path) -> None:
    (folder / "empty/below").mkdir(parents=True)


def _make_modes_of_folders(folder: Path) -> None:
    for mode in (0o700, 0o1777, 0o2750, 0o555):
        (folder / f"{mode:04o}").mkdir()
        (folder / f"{mode:04o}/file").touch(0o644)
        (folder / f"{mode:04o}").chmod(mode)


def _look_at_folders(look: Callable[[os.stat_result], object]) -> Callable[[Path], object]:
    return lambda folder: {path.name: look(path.lstat()) for path in [folder, *_all(folder)] if not path.is_file()}


def _make_times_of_folders(folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full/file").touch()
    for place in (folder / "full", folder):
        os.utime(place, ns=(1, _MOMENT))


def _make_top(volume: Path) -> None:
    volume.chmod(0o2751)
    os.utime(volume, ns=(1, _MOMENT))


def _make_devices(folder: Path) -> None:
    os.mknod(folder / "null", 0o620 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(folder / "loop", 0o660 | stat.S_IFBLK, os.makedev(7, 200))


def _make_socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        place = os.open(folder, os.O_PATH)  # a socket's path may have a hundred letters
        one.bind(f"/proc/self/fd/{place}/socket")
        os.close(place)


def _kind(found: os.stat_result) -> object:
    return stat.S_IFMT(found.st_mode), stat.S_IMODE(found.st_mode), found.st_rdev


def _mode(found: os.stat_result) -> object:
    return f"{stat.S_IMODE(found.st_mode):04o}"


def _owner(found: os.stat_result) -> object:
    return found.st_uid, found.st_gid


def _time(found: os.stat_result) -> object:
    return found.st_mtime_ns


_CONTENTS = (
    Row("contents", _write_contents, _contents),
    Row("empty file", lambda folder: _write(folder, iter(())) or (folder / "empty").touch(), _contents),
    Row("200 folders deep", _write_deep, _contents),
    Row(LARGE, _write_holes, _contents),
    Row("its holes", _write_holes, _has_holes, of=LARGE),
    Row("holes", _write_small_holes, _has_holes),
)


def _names() -> Iterator[Row]:
    for name, raws in NAMES.items():
        yield Row(f"name, {name}", lambda folder, raws=raws: _write(folder, raws), _contents)


_ATTRIBUTES = (
    Row("time of a file", _write_times, _each(_time)),
    Row("mode of a file", _write_modes, _each(_mode)),
    Row("set-ID and sticky bits of a file", _write_bits, _each(_mode)),
    Row("owner and group", _write_owners, _each(_owner), root=True),
    Row("symbolic link", _write_links, _links),
    Row("time of a link", _write_link_times, _each(_time)),
    Row("owner of a link", _write_link_owners, _each(_owner), root=True),
    Row("hard link", _write_hard_links, _inodes),
    Row("extended attributes", _set_attributes, _attributes),
    Row("capability of a program", _set(CAPABILITY, _NET_BIND), _attribute(CAPABILITY), root=True),
    Row("access list", _set(ACL, NAMED_USER), _attribute(ACL)),
    Row("default access list", _set(DEFAULT_ACL, NAMED_USER, folders=True), _attribute(DEFAULT_ACL)),
    Row("empty folder", _make_folders, _each(lambda found: stat.S_ISDIR(found.st_mode))),
    Row("mode of a folder", _make_modes_of_folders, _look_at_folders(_mode)),
    Row("time of a folder", _make_times_of_folders, _look_at_folders(_time)),
    Row(TOP, _make_top, _top),
)
_SPECIAL = (
    Row("pipe", lambda folder: os.mkfifo(folder / "pipe", 0o640), _each(_kind)),
    Row("device", _make_devices, _each(_kind), root=True),
    Row("socket", _make_socket, _each(lambda found: stat.S_IFMT(found.st_mode))),
)
