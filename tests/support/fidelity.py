"""Everything that a tree holds, to be compared, and what of it comes back from an object store."""

import hashlib
import os
import pickle
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

NOBODY = 65534
_LARGE = 64 << 20


class Kept(NamedTuple):
    """What one path has. `group` is the first name of a file with several names; `content` of a large file is its SHA-256."""

    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    content: bytes | None
    attributes: dict[str, bytes]
    group: bytes | None
    device: int


def fingerprint(root: Path) -> dict[bytes, Kept]:
    """Return everything below `root` that a restore can bring back, and of itself; nothing is followed."""
    top = os.fsencode(root)
    found: dict[bytes, Kept] = {}
    groups: dict[int, bytes] = {}
    paths = [top]
    for folder, folders, files in os.walk(top):
        paths += [os.path.join(folder, name) for name in sorted([*folders, *files])]
    for path in sorted(paths):
        status = os.lstat(path)
        name = os.path.relpath(path, top)
        content = None
        if stat.S_ISREG(status.st_mode):
            content = _content(Path(os.fsdecode(path)), status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        group = None
        if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
            group = groups.setdefault(status.st_ino, name)
        attributes = {}
        if not stat.S_ISLNK(status.st_mode):
            attributes = {one: os.getxattr(path, one) for one in os.listxattr(path) if one != "security.selinux"}
        found[name] = Kept(
            mode=status.st_mode,
            uid=status.st_uid,
            gid=status.st_gid,
            mtime=status.st_mtime_ns,
            size=0 if stat.S_ISDIR(status.st_mode) else status.st_size,
            content=content,
            attributes=attributes,
            group=group,
            device=status.st_rdev,
        )
    return found


def _content(path: Path, size: int) -> bytes:
    if size <= _LARGE:
        return path.read_bytes()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def bring_back(source: Path, target: Path) -> None:
    """Bring the files and links of `source` to `target`, as plain rclone does from a bucket: contents and names, and nothing else."""
    top, other = os.fsencode(source), os.fsencode(target)
    os.makedirs(other, exist_ok=True)
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            place = os.path.join(other, os.path.relpath(path, top))
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                os.makedirs(os.path.dirname(place), exist_ok=True)
            if stat.S_ISREG(mode):
                Path(os.fsdecode(place)).write_bytes(Path(os.fsdecode(path)).read_bytes())
            elif stat.S_ISLNK(mode):
                os.symlink(os.readlink(path), place)


def as_ordinary_user(act: Callable[[], Any], *, folder: Path, groups: tuple[int, ...] = ()) -> Any:
    """Run `act` as an ordinary user in a process of its own, from `folder`, whose parents need not be open to that user; return what it
    returns. Who is no root runs it as they are.
    """
    os.chmod(folder, 0o755)  # it is entered, so that what lies above need not be open
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reader)
            os.chdir(folder)
            if os.geteuid() == 0:
                os.setgroups(groups)
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with open(writer, "wb") as file:
                try:
                    pickle.dump((act(), None), file)
                except Exception as error:
                    pickle.dump((None, repr(error)), file)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as file:
        told = file.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    answer, trouble = pickle.loads(told)
    assert trouble is None, trouble
    return answer


def give_away(tree: Path) -> None:
    """Let the ordinary user own a tree."""
    if os.geteuid() == 0:
        for folder, folders, files in os.walk(tree):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)


def remove(tree: Path) -> None:
    """Remove a tree, folders without rights in it included."""
    for folder, _, _ in os.walk(tree):
        os.chmod(folder, 0o700)
    shutil.rmtree(tree)
