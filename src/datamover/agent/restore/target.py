# ruff: noqa: PTH102, PTH120, PTH208  # bytes and handles, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The directory that a restore fills: what is in it, its room, and the mark that it is not whole.

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

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files.walk import LOST_AND_FOUND
from datamover.agent.restore import reasons
from datamover.agent.restore.order import STATE, Order, Origin
from datamover.api import outside, transfer
from datamover.api.outside import Count, Unusable

VERSION = 1
FETCHING = "fetching"
APPLYING = "applying"
INCOMPLETE = "incomplete"
_MARKER = "marker.json"
_LOCK = "lock"
_FILES = "files"
_ASIDE = "aside"
_PROBLEMS = "problems.txt"
_NEW = ".new"
_BEGUN = frozenset({_LOCK, f"{_MARKER}{_NEW}"})
"""What may be there before there is a marker."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_EXAMPLES = 5
_NOTE = "The directory that this lies in is being restored and is not whole. The same command goes on from here."


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Which restore is under way in a target. `path` is for people and for comparing, `begun` RFC 3339."""

    version: Count = VERSION
    note: str = _NOTE
    run: str
    place: str
    folder: str = ""
    path: str = ""
    begun: str = ""
    phase: str = FETCHING

    def is_same(self, other: "Marker") -> bool:
        """Tell whether both are the same restore, whatever has become of it."""
        return (self.run, self.place, self.folder, self.path) == (other.run, other.place, other.folder, other.path)


_decode_marker = outside.Decoder(Marker)


def mark_of(order: Order, origin: Origin, *, now: str) -> Marker:
    """Return what marks a target of this restore."""
    return Marker(
        run=origin.run_id, place=origin.place, folder=origin.folder, path=printing.readable(order.path), begun=now
    )


class Seen(NamedTuple):
    """What a look at a target showed: whether it is there, the first names of what is in it, the mark of a restore that has not ended, why
    a mark cannot be read, and what is free of its file system (bytes, and files where that is known).
    """

    there: bool
    names: list[str]
    marker: Marker | None
    flaw: str
    free: int
    free_files: int | None


def judge(seen: Seen, order: Order, mark: Marker) -> Failure | None:
    """Return why this restore must not go into a target that looks so, None when it may. Pure."""
    if seen.flaw:
        return reasons.damaged_mark(order.directory, seen.flaw)
    if seen.marker is not None:
        other = seen.marker
        if not other.is_same(mark):
            return reasons.unfinished(
                order.directory, run=other.run, place=other.place, begun=other.begun or "once", path=other.path
            )
        return None
    if seen.names and not order.overwrite:
        return reasons.not_empty(order.directory, seen.names)
    return None


def judge_room(seen: Seen, order: Order, *, blocks: int, paths: int) -> Failure | None:
    """Return that the target has no room for so much, None where it has. Pure."""
    if blocks > seen.free:
        return reasons.too_small(order.directory, needed=blocks, free=seen.free)
    if seen.free_files is not None and paths > seen.free_files:
        return reasons.too_small(order.directory, needed=paths, free=seen.free_files, files=True)
    return None


def look(directory: str) -> Seen:
    """Look at a target, and change nothing. Raises Failure when it is none that can be restored into."""
    place = os.path.normpath(directory) if directory else "."
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        parent = os.path.dirname(place) or "."
        try:
            top = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise reasons.no_directory(directory, f"{parent}, in which it would be made: {error.strerror}") from None
        try:
            _prove_writable(directory, top)
            return Seen(False, [], None, "", *_free(top))
        finally:
            os.close(top)
    except (OSError, ValueError) as error:
        raise reasons.no_directory(directory, getattr(error, "strerror", None) or str(error)) from None
    if stat.S_ISLNK(status.st_mode):
        raise reasons.no_directory(
            directory,
            f"it is a symbolic link; name the directory itself ({printing.printable(os.path.realpath(place))})",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise reasons.no_directory(directory, "it is no directory")
    top = _open_top(directory)
    try:
        return _look_into(directory, top)
    finally:
        os.close(top)


def _open_top(directory: str) -> int:
    try:
        return os.open(os.path.normpath(directory), _FOLDER)
    except OSError as error:
        why = (
            "it is a symbolic link"
            if error.errno in {errno.ELOOP, errno.ENOTDIR}
            else error.strerror or "it cannot be opened"
        )
        raise reasons.no_directory(directory, why) from None


def _look_into(directory: str, top: int) -> Seen:
    _prove_writable(directory, top)
    found: list[str] = []
    marked = False
    with os.scandir(top) as scan:
        for item in scan:
            raw = os.fsencode(item.name)
            if raw == STATE:
                marked = True
            elif raw == LOST_AND_FOUND and item.is_dir(follow_symlinks=False):
                continue
            elif len(found) < _EXAMPLES:
                found.append(printing.readable(raw))
    marker, flaw = _read_marker(top) if marked else (None, "")
    return Seen(True, found, marker, flaw, *_free(top))


def _read_marker(top: int) -> tuple[Marker | None, str]:
    """Return the marker, or why there is none that can be read. A folder in which nothing was written yet marks nothing."""
    try:
        state = os.open(STATE, _FOLDER, dir_fd=top)
    except OSError as error:
        return None, f"it is no folder that can be opened ({error.strerror})"
    try:
        try:
            file = os.open(_MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=state)
        except FileNotFoundError:
            return None, "" if set(os.listdir(state)) <= _BEGUN else "its marker.json is missing"
        with os.fdopen(file, "rb") as stream:
            found = _decode_marker(stream.read(outside.RECORD_LIMIT + 1))
    except Unusable as why:
        return None, f"of its marker.json, {why}"
    except OSError as error:
        return None, f"its marker.json cannot be read ({error.strerror})"
    finally:
        os.close(state)
    return (
        (found, "")
        if found.version == VERSION
        else (None, f"it has version {found.version}, which this program does not know")
    )


def _prove_writable(directory: str, top: int) -> None:
    flags = os.fstatvfs(top).f_flag
    if flags & os.ST_RDONLY:
        raise reasons.no_directory(directory, "its file system is read-only", reason=transfer.REASON_TARGET_READ_ONLY)
    if not os.access(f"/proc/self/fd/{top}", os.W_OK | os.X_OK, effective_ids=True):
        raise reasons.no_directory(directory, "you may not write there", reason=transfer.REASON_TARGET_READ_ONLY)


def _free(top: int) -> tuple[int, int | None]:
    found = os.fstatvfs(top)
    root = os.geteuid() == 0
    blocks = found.f_bfree if root else found.f_bavail
    files = (found.f_ffree if root else found.f_favail) if found.f_files else None
    return blocks * found.f_frsize, files


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
        return os.open(name, _FOLDER, dir_fd=self._state)

    @property
    def arrivals(self) -> str:
        """The path of the folder into which an engine may put files, by our own handle on it, whatever becomes of its name."""
        return f"/proc/{os.getpid()}/fd/{self.files}/"

    def write(self, marker: Marker) -> None:
        """Say which restore this is and how far; it is on the disk when this returns."""
        _write_marker(self._state, marker)

    def note_problems(self, lines: bytes) -> None:
        """Leave for people what did not come back."""
        _save(self._state, _PROBLEMS, lines)

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
            if name not in (_MARKER, _LOCK):
                os.unlink(name, dir_fd=self._state)
        # the marker goes last but one: whoever finds the folder without it finds that nothing is on its way
        for name in (_MARKER, _LOCK):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._state)
        os.rmdir(STATE, dir_fd=self.top)
        os.fsync(self.top)

    def close(self) -> None:
        """Let go of the handles, and so of the lock."""
        for handle in (self.files, self.aside, self._state, self._lock, self.top):
            os.close(handle)


def _write_marker(state: int, marker: Marker) -> None:
    _save(state, _MARKER, msgspec.json.format(msgspec.json.encode(marker)) + b"\n")


def _save(state: int, name: str, content: bytes) -> None:
    """Put a file of ours there, whole; it is on the disk when this returns."""
    new = f"{name}{_NEW}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600, dir_fd=state), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=state, dst_dir_fd=state)
    os.fsync(state)


def _clear(folder: int, above: bytes, keep: Callable[[bytes], bool]) -> bool:
    """Return whether the folder is empty now."""
    empty = True
    for name in os.listdir(f"/proc/self/fd/{folder}".encode()):
        path = above + name
        try:
            inner = os.open(name, _FOLDER, dir_fd=folder)
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


def claim(order: Order, mark: Marker) -> tuple[Target, Marker]:
    """Mark the directory as being restored; return it and what its marker says. What was looked at before is looked at once more.

    Raises Failure when it is not what it was, or another process is at it.
    """
    directory = order.directory
    place = os.path.normpath(directory)
    with suppress(FileExistsError):
        os.mkdir(place, 0o700)
    top = _open_top(directory)
    handles = [top]
    try:
        with suppress(FileExistsError):
            os.mkdir(STATE, 0o700, dir_fd=top)
        try:
            state = os.open(STATE, _FOLDER, dir_fd=top)
        except OSError as error:
            raise reasons.damaged_mark(directory, f"it is no folder that can be opened ({error.strerror})") from None
        handles.append(state)
        lock = _take_lock(directory, top, state)
        handles.append(lock)
        seen = _look_into(directory, top)
        failure = judge(seen, order, mark)
        if failure is not None:
            if seen.marker is None and not seen.flaw:
                _unmark(top, state)
            raise failure  # noqa: TRY301 - the handles are closed below, whatever is wrong
        marker = msgspec.structs.replace(seen.marker, phase=FETCHING) if seen.marker else mark
        # before anything else is made there: what has no marker has nothing that counts
        _write_marker(state, marker)
        target = Target(top, state, lock)
    except OSError as error:
        _close(handles)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise reasons.full(error.strerror or "") from None
        raise reasons.no_directory(directory, error.strerror or str(error)) from None
    except BaseException:
        _close(handles)
        raise
    return target, marker


def _take_lock(directory: str, top: int, state: int) -> int:
    """Return a handle on the lock file, locked. Raises Failure when somebody else has it, or the folder is not ours."""
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=state)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise reasons.busy(directory) from None
        # one that has just ended may have removed all this between our opening and locking it
        if not (_is_at(STATE, top, state) and _is_at(os.fsencode(_LOCK), state, lock)):
            raise reasons.busy(directory)  # noqa: TRY301 - the handle is closed below, whatever is wrong
        mine, folder = _owner_of_new_file(state), os.fstat(state)
        if folder.st_uid != mine or folder.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            why = "another user made it, or may write there; run the restore as that user"
            raise reasons.damaged_mark(directory, why)  # noqa: TRY301 - as above
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


def _owner_of_new_file(state: int) -> int:
    """Return as whose a file of ours is made there: servers of network file systems may take root for somebody else."""
    name = f"{_MARKER}{_NEW}"
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=state)
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=state)
    try:
        return os.fstat(handle).st_uid
    finally:
        os.close(handle)
        os.unlink(name, dir_fd=state)


def _unmark(top: int, state: int) -> None:
    """Take a mark away that says nothing yet."""
    with suppress(OSError):
        os.unlink(_LOCK, dir_fd=state)
        os.rmdir(STATE, dir_fd=top)


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
