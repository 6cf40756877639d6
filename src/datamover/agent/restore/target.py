# ruff: noqa: PTH102, PTH208  # bytes and handles, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The directory that a restore fills, marked as not whole and locked.

    DIR/.datamover-restore/            there from before the first byte until everything is right: the directory is neither empty nor whole
        marker.json                    which restore this is; the same one goes on from here, another one is refused
        lock                           held by the process that is at it
        files/                         what has arrived and was not compared yet
        aside/                         what has no name yet
        problems.txt                   what did not come back

Guarantees: nothing is made before everything that could refuse was asked; files arrive in a folder that nobody else may enter, and come to
their places by handles, so that no link in the directory, however late it was put there, leads anywhere; one restore at a time.
Assumptions: Linux; one file system, that of the directory.
"""

import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress

import msgspec

from datamover.agent.restore import reasons
from datamover.agent.restore.candidate import judge, look_into, open_top
from datamover.agent.restore.marker import (
    FETCHING,
    FOLDER,
    LIST,
    LOCK,
    NAME,
    NEW,
    PROBLEMS,
    Marker,
    read_marker,
    save_file,
    save_list,
    write_marker,
)
from datamover.agent.restore.order import STATE, Order
from datamover.agent.scratch import FULL

_FILES = "files"
_ASIDE = "aside"


class Target:
    """A target that is marked as being restored, and locked. `top`, `files` and `aside` are handles. Made by `claim`."""

    def __init__(self, top: int, state: int, lock: int) -> None:
        self.top = top
        self._state = state
        self._lock = lock
        self.files = self._folder(_FILES)
        self.aside = self._folder(_ASIDE)

    def _folder(self, name: str) -> int:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self._state)
        return os.open(name, FOLDER, dir_fd=self._state)

    @property
    def arrivals(self) -> str:
        """The path of the folder into which an engine may put files, by our own handle on it, whatever becomes of its name."""
        return f"/proc/{os.getpid()}/fd/{self.files}/"

    def write(self, marker: Marker) -> None:
        """Say which restore this is and how far; it is on the disk when this returns."""
        write_marker(self._state, marker)

    @property
    def listing(self) -> str:
        """The path of the manifest that tells what is touched, by our own handle; there is none where none was given to `claim`."""
        return f"/proc/self/fd/{self._state}/{LIST}"

    def note_problems(self, lines: bytes) -> None:
        """Leave for people what did not come back."""
        save_file(self._state, PROBLEMS, lines)

    def folds(self) -> tuple[bool, bool]:
        """Tell whether the file system takes upper for lower case, and whether it takes two spellings of one letter for each other."""
        return self._is_one(b"case-Aa", b"CASE-aA"), self._is_one("form-\u00e9".encode(), "form-e\u0301".encode())

    def _is_one(self, name: bytes, other: bytes) -> bool:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=self.aside)
        try:
            os.stat(other, dir_fd=self.aside, follow_symlinks=False)
        except OSError:
            return False
        finally:
            os.rmdir(name, dir_fd=self.aside)
        return True

    def clear(self, folder: int, *, keep: Callable[[bytes], bool] = lambda _: False) -> None:
        """Remove what lies in one of our folders, but files that are to be kept (paths below it, raw). Nothing is followed."""
        _clear(folder, b"", keep)

    def finish(self) -> None:
        """Take the mark away: everything is right. Flushes the directory's file system first."""
        from datamover.agent.files.flushing import flush_file_system

        self.clear(self.files)
        self.clear(self.aside)
        flush_file_system(f"/proc/self/fd/{self.top}")
        self._remove()

    def abandon(self) -> None:
        """Take the mark away before anything was restored."""
        self.clear(self.files)
        self.clear(self.aside)
        self._remove()

    def _remove(self) -> None:
        for folder in (_FILES, _ASIDE):
            os.rmdir(folder, dir_fd=self._state)
        for name in os.listdir(self._state):
            if name not in (NAME, LIST, LOCK):
                os.unlink(name, dir_fd=self._state)
        # the marker goes before what is known without it: whoever finds the folder without it finds that nothing is on its way
        for name in (NAME, LIST, LOCK):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._state)
        os.rmdir(STATE, dir_fd=self.top)
        os.fsync(self.top)

    def close(self) -> None:
        """Let go of the handles, and so of the lock."""
        for handle in (self.files, self.aside, self._state, self._lock, self.top):
            os.close(handle)


def _clear(folder: int, above: bytes, keep: Callable[[bytes], bool]) -> bool:
    """Return whether the folder is empty now."""
    empty = True
    for name in os.listdir(f"/proc/self/fd/{folder}".encode()):
        path = above + name
        try:
            inner = os.open(name, FOLDER, dir_fd=folder)
        except OSError:
            if keep(path):
                empty = False
            else:
                os.unlink(name, dir_fd=folder)
            continue
        try:
            gone = _clear(inner, path + b"/", keep)
        finally:
            os.close(inner)
        if gone:
            os.rmdir(name, dir_fd=folder)
        empty = empty and gone
    return empty


def claim(order: Order, mark: Marker, *, listing: str = "") -> tuple[Target, Marker]:
    """Mark the directory as being restored; return it and what its marker says. What was looked at before is looked at once more.

    `listing` is the path of a manifest that is kept in the mark, where there is none yet.

    Raises Failure when it is not what it was, or another process is at it.
    """
    directory = order.directory
    handles: list[int] = []
    ours = False
    try:
        with suppress(FileExistsError):
            os.mkdir(os.path.normpath(directory), 0o700)
        top = open_top(directory)
        handles.append(top)
        with suppress(FileExistsError):
            os.mkdir(STATE, 0o700, dir_fd=top)
        try:
            state = os.open(STATE, FOLDER, dir_fd=top)
        except OSError as error:
            raise reasons.damaged_mark(directory, f"it is no folder that can be opened ({error.strerror})") from None
        handles.append(state)
        handles.append(lock := _take_lock(directory, top, state))
        seen = look_into(directory, top)
        ours = seen.marker is None and not seen.flaw
        if _is_open_to_others(state):
            ours = False
            why = "another user made it, or may write there; run the restore as that user"
            raise reasons.damaged_mark(directory, why)  # noqa: TRY301 - as below
        failure = judge(seen, order, mark)
        if failure is not None:
            raise failure  # noqa: TRY301 - what was made is removed below, whatever is wrong
        marker = msgspec.structs.replace(seen.marker, phase=FETCHING) if seen.marker else mark
        with suppress(FileNotFoundError):  # it is about the attempt before
            os.unlink(PROBLEMS, dir_fd=state)
        if listing and seen.marker is None:
            save_list(state, listing)
        # before anything else is made there: what has no marker has nothing that counts
        write_marker(state, marker)
        return Target(top, state, lock), marker
    except BaseException as error:
        if handles:
            _unmark(handles, ours=ours)
        marked = bool(handles) and read_marker(handles[0])[0] is not None
        for handle in handles:
            os.close(handle)
        if not isinstance(error, OSError):
            raise
        if error.errno in FULL:
            raise reasons.full(error.strerror or "", marked=marked) from None
        raise reasons.no_directory(directory, error.strerror or str(error)) from None


def _take_lock(directory: str, top: int, state: int) -> int:
    """Return a handle on the lock file, locked. Raises Failure when somebody else has it."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=state)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise reasons.busy(directory) from None
        # one that has just ended may have removed all this between our opening and locking it
        if not (_is_at(STATE, top, state) and _is_at(os.fsencode(LOCK), state, lock)):
            raise reasons.busy(directory)  # noqa: TRY301 - the handle is closed below, whatever is wrong
    except BaseException:
        os.close(lock)
        raise
    return lock


def _is_at(name: bytes, folder: int, handle: int) -> bool:
    try:
        there, here = os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _is_open_to_others(state: int) -> bool:
    mine, folder = _owner_of_new_file(state), os.fstat(state)
    return folder.st_uid != mine or bool(folder.st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _owner_of_new_file(state: int) -> int:
    """Return as whose a file of ours is made there: servers of network file systems may take root for somebody else."""
    name = f"{NAME}{NEW}"
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=state)
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=state)
    try:
        return os.fstat(handle).st_uid
    finally:
        os.close(handle)
        os.unlink(name, dir_fd=state)


def _unmark(handles: list[int], *, ours: bool) -> None:
    """Take away what `claim` has made in vain; `ours`: the mark is not that of an earlier attempt."""
    top, *inner = handles
    with suppress(OSError):
        if ours:
            state = inner[0]
            for name in (_FILES, _ASIDE):
                with suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=state)
            for name in (f"{NAME}{NEW}", NAME, f"{LIST}{NEW}", LIST, LOCK):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=state)
        os.rmdir(STATE, dir_fd=top)
