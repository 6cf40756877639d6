"""Comparing a file with its line of the manifest, and bringing it to its place. Blocking.

Guarantees: what is compared is what is moved: one handle is read, and its name is moved only while it still is that file's.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from hashlib import md5

from datamover.agent.files import losses
from datamover.agent.files.handles import Refused, enter_parent, put
from datamover.agent.restore.wanted import File
from datamover.agent.scratch import FULL

CHUNK = 1 << 20
MISSING = "it is not there"
UNPLACED = "it cannot be brought to its place"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_of_directory(flaw: str) -> bool:
    """Tell whether a file did not come back for what is in the directory, or what its file system does, and not for what came."""
    return flaw.startswith(UNPLACED) or losses.is_of_directory(flaw)


def _nothing() -> None:
    return None


def digest_of(handle: int, *, tick: Callable[[], None] = _nothing) -> bytes:
    """Return the MD5 of all of a file. `tick` is called for each piece that is read, and may raise."""
    found = md5(usedforsecurity=False)
    offset = 0
    while piece := os.pread(handle, CHUNK, offset):
        tick()
        found.update(piece)
        offset += len(piece)
    return found.digest()


class Checker:
    """Compares and places files. `arrived` and `top` are handles on the folder where files arrive and on the target; `tick` is called
    for each piece that is read, and may raise.
    """

    def __init__(
        self,
        *,
        arrived: int,
        top: int,
        tick: Callable[[], None],
        known: Callable[[os.stat_result], bytes | None] = lambda _: None,
    ) -> None:
        """`known` gives the MD5 of a file that was read already and is what it was then, None of any other."""
        self._known = known
        self._arrived = arrived
        self._top = top
        self._tick = tick

    def place(self, file: File) -> str:
        """Compare a file that has arrived and bring it to its place; return what is wrong with it, empty for nothing. What is wrong goes."""
        raw = file.raw
        try:
            with enter_parent(self._arrived, raw) as (folder, name):
                handle = os.open(name, _READ, dir_fd=folder)
                try:
                    flaw = self._compare(handle, file)
                    if flaw:
                        os.unlink(name, dir_fd=folder)
                        return flaw
                    # nobody may read it before it has the mode that the manifest says
                    os.fchmod(handle, stat.S_IRUSR | stat.S_IWUSR)
                finally:
                    os.close(handle)
                with enter_parent(self._top, raw, make=True) as (there, called):
                    put(name, called, inner=folder, folder=there)
        except FileNotFoundError:
            return MISSING
        except Refused as refused:
            return refused.kind
        except OSError as error:
            if error.errno in FULL:
                raise  # no other file would fare better
            return f"{UNPLACED}: {error.strerror}"
        return ""

    def is_there(self, file: File, *, ours: bool = True) -> bool:
        """Tell whether a file is at its place and is what the manifest says. `ours`: an earlier attempt may have put it there, so that a mode which keeps
        us out is changed; else nothing is.
        """
        try:
            with enter_parent(self._top, file.raw) as (folder, name):
                handle = _open_readable(name, folder) if ours else os.open(name, _READ, dir_fd=folder)
                try:
                    return not self._compare(handle, file)
                finally:
                    os.close(handle)
        except (OSError, Refused):
            return False

    def join(self, file: bytes, first: bytes) -> str:
        """Make a path another name of the file at `first`; return why that cannot be, empty when it is."""
        try:
            with (
                enter_parent(self._top, first) as (folder, name),
                enter_parent(self._top, file, make=True) as (there, called),
            ):
                source = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISREG(source.st_mode):
                    return losses.OTHER
                new = b"name-%s" % os.urandom(6).hex().encode()
                os.link(name, new, src_dir_fd=folder, dst_dir_fd=self._arrived, follow_symlinks=False)
                try:
                    os.rename(new, called, src_dir_fd=self._arrived, dst_dir_fd=there)
                finally:
                    # of two names of one file, renaming one to the other does nothing
                    with suppress(FileNotFoundError):
                        os.unlink(new, dir_fd=self._arrived)
        except Refused as refused:
            return refused.kind
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def _compare(self, handle: int, file: File) -> str:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return losses.OTHER
        if status.st_size != file.size:
            return f"it has {status.st_size} bytes, not {file.size}"
        if file.md5 and (self._known(status) or digest_of(handle, tick=self._tick)).hex() != file.md5:
            return "it has another checksum"
        return ""


def _open_readable(name: bytes, folder: int) -> int:
    """Open a file of ours for reading, also one whose mode an earlier attempt has taken the right to."""
    try:
        return os.open(name, _READ, dir_fd=folder)
    except PermissionError:
        leaf = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(leaf).st_mode):
                raise
            os.chmod(f"/proc/self/fd/{leaf}", stat.S_IRUSR | stat.S_IWUSR)  # noqa: PTH101 - a path is not what this is
            return os.open(name, _READ, dir_fd=folder)
        finally:
            os.close(leaf)
