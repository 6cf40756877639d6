"""The file of modes, owners and ACLs: written while the volume is walked, applied when its files have come back.

Guarantees: nothing outside the volume is touched, whatever the file says, and no link is followed; one thing that cannot be had keeps
nothing else from coming back.
"""

import grp
import os
import pwd
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

import msgspec

from datamover.agent.files import losses, manifest
from datamover.agent.files.attributes import AttributeSetter
from datamover.agent.files.handles import Refused, enter_parent, opened
from datamover.agent.files.losses import Losses, because
from datamover.agent.files.walk import Tally, walk
from datamover.agent.rclone_conf import access_lists
from datamover.agent.rclone_conf.access_lists import AccessList
from datamover.api import outside

_WITH_MODES = frozenset({manifest.FILE, manifest.DIRECTORY, manifest.TOP})
LIMIT = 1 << 28
"""Bytes of such a file that are read: enough for about two million files. It is kept in memory, and may be anybody's."""
_BUFFER = 1 << 18
_DAMAGED = "what a block of the file says, which cannot be understood"


def write_modes(mount: str, file: str, *, volume: str, tally: Tally, tick: Callable[[], None]) -> None:
    """Walk the volume at `mount`, fill `tally`, and write a block for every file and folder. Raises OSError when `mount` cannot be read.

    `volume` is the path that the blocks begin with. `tick` is called every now and then; it may raise.
    """
    base = os.fsencode(volume).strip(b"/")
    with open(file, "wb", buffering=_BUFFER) as target:  # noqa: PTH123 - as everywhere in the agent

        def add(entry: manifest.Entry) -> None:
            if entry.type in _WITH_MODES:
                target.write(access_lists.write(entry, base=base))

        for _ in walk(os.fsencode(mount), tally=tally, add=add, prefix_size=0, tick=tick):
            pass


class Beside:
    """Writes the file in a thread, beside whatever else goes on meanwhile. Leaving it ends the thread, done or not.

    `write` is `write_modes` without its `tick`. `check` is called every now and then, in the thread; it may raise.
    """

    def __init__(self, write: Callable[[Callable[[], None]], None], *, check: Callable[[], None]) -> None:
        self._write = write
        self._check = check
        self._left = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="modes", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._thread.join()

    def finish(self) -> None:
        """Wait until the file is written. Raises what the writing raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._write(self._tick)
        except _LeftError:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            self._error = error

    def _tick(self) -> None:
        if self._left:
            raise _LeftError
        self._check()


class _LeftError(Exception):
    """Nobody waits for the file any more."""


def apply_modes(mount: str, file: str, *, volume: str, tick: Callable[[], None]) -> Losses:
    """Give the files below `mount` what the file says; return what could not be had. Folders come last, the deepest first."""
    lost = Losses()
    top = os.open(mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        applying = _Applying(top, lost)
        reader = access_lists.Reader(base=os.fsencode(volume).strip(b"/"), user=_user, group=_group)
        folders: list[AccessList] = []
        with open(file, "rb", buffering=_BUFFER) as source:  # noqa: PTH123
            for each in reader.read(iter(lambda: source.readline(outside.LOG_LINE_LIMIT), b"")):
                tick()
                if applying.is_folder(each):
                    folders.append(each)
                else:
                    applying.set(each)
        for each in reversed(folders):
            tick()
            applying.set(each)
        for _ in range(reader.damaged):
            lost.add(_DAMAGED, b"")
    finally:
        os.close(top)
    return lost


class _Applying:
    def __init__(self, top: int, lost: Losses) -> None:
        self._top = top
        self._lost = lost
        # bits that would give another one's rights are left out where the owner did not come back
        self._attributes = AttributeSetter(lost=lost, privileges=True)

    def is_folder(self, each: AccessList) -> bool:
        """Tell whether it is about a folder that is there by now; one that is our own may be entered from now on."""
        try:
            if each.is_folder and each.path:
                with enter_parent(self._top, each.path) as (folder, name), suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=folder)  # an empty one, which the remote cannot keep
            for leaf, status in self._open(each):
                if stat.S_ISDIR(status.st_mode):
                    self._attributes.unlock(leaf, status, stat.S_IRWXU)
                    return True
        except (OSError, ValueError, Refused):
            return False  # told when it is to be set
        return False

    def set(self, each: AccessList) -> None:
        try:
            for leaf, status in self._open(each):
                self._attributes.set(_entry(each, status), leaf, status)
        except Refused as refused:
            self._lost.add(refused.kind, each.path)
        except FileNotFoundError:
            self._lost.add(losses.NOT_RESTORED, each.path)
        except (OSError, ValueError, OverflowError) as error:
            self._lost.add(because("everything", error), each.path)

    def _open(self, each: AccessList) -> Iterator[tuple[int, os.stat_result]]:
        if not each.path:
            yield self._top, os.fstat(self._top)
            return
        with enter_parent(self._top, each.path) as (folder, name), opened(folder, name) as (leaf, status):
            yield leaf, status


def _entry(each: AccessList, status: os.stat_result) -> manifest.Entry:
    """Return what is to be set on a path of this status. Raises Refused for what has no mode of its own."""
    if stat.S_ISDIR(status.st_mode):
        kind = manifest.DIRECTORY if each.path else manifest.TOP
    elif stat.S_ISREG(status.st_mode):
        kind = manifest.FILE
    else:
        raise Refused(losses.OTHER)
    given = {access_lists.ACCESS: each.access, access_lists.DEFAULT: each.default}
    entry = manifest.Entry(
        type=kind,
        mtime=status.st_mtime_ns,
        mode=each.mode,
        uid=status.st_uid if each.uid is None else each.uid,
        gid=status.st_gid if each.gid is None else each.gid,
        xattrs={name: value for name, value in given.items() if value is not None} or None,
    )
    try:
        return msgspec.structs.replace(entry, path=each.path.decode())
    except UnicodeDecodeError:
        return msgspec.structs.replace(entry, raw=each.path)


def _user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None
