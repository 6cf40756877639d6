# ruff: noqa: PTH112, PTH120  # a start-up budget that pathlib would take a tenth of
"""Taking rights from what speaks rsync's protocol with strangers: it may touch the volume, read the system's programs, and nothing else.

The kernel does it (Landlock, Linux 5.13 and newer; no rights are needed for it). A client speaks rsync's protocol with a program that may be root, and
could let it read filter files or follow links; the keys, the attempt's own files and other mounts are out of its reach then. Where the kernel cannot
do it, or cannot do it without breaking hard links (before Linux 5.19), nothing is taken; the checks of requests, and rsync's own, hold everywhere.
"""

import ctypes
import os
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

import msgspec

_T = TypeVar("_T")

_CREATE: Final = 444
_ADD_RULE: Final = 445
_RESTRICT: Final = 446
"""Numbers of the system calls, the same on every machine."""
_TELL_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES: Final = 38

_EXECUTE: Final = 1 << 0
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_FOLDER: Final = 1 << 3
_READ: Final = _EXECUTE | _READ_FILE | _READ_FOLDER
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_OLDEST: Final = 2
"""The first version that lets files be moved and linked between folders."""
_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/opt", "/nix", "/gnu", "/home/linuxbrew")
"""Where rsync, its libraries, names of users and the time zone are, here or there. No key is there, nor any volume."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What is left: folders in which everything may be done, folders and files to read (and run) beside the system's, files to read and write."""

    owned: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def home_of(program: str) -> str:
    """Return the folder that a program's libraries are in: one in the tool cache has them beside it."""
    return os.path.dirname(os.path.dirname(os.path.realpath(program)))


def confine(reach: Reach) -> bool:
    """Confine this thread, and whatever it starts or becomes. Return whether the kernel does it."""
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE, None, 0, _TELL_VERSION)
    if version < _OLDEST:
        return False
    everything = (_REFER << 1) - 1 | (_TRUNCATE if version >= 3 else 0)
    ruleset = library.syscall(_CREATE, struct.pack("=Q", everything), 8, 0)
    if ruleset < 0:
        return False
    # a file has no other rights
    whole = _WRITE_FILE | _READ_FILE | (everything & _TRUNCATE)
    try:
        _allow(library, ruleset, reach.owned, everything)
        _allow(library, ruleset, ("/dev/null", *reach.files), whole)
        for folder in (*_SYSTEM, *reach.read):
            with suppress(OSError):
                _allow(library, ruleset, (folder,), _READ if os.path.isdir(folder) else _READ & ~_READ_FOLDER)
        if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or library.syscall(_RESTRICT, ruleset, 0):
            return False
    except OSError:
        return False
    finally:
        os.close(ruleset)
    return True


def run_confined(work: Callable[[], _T], *, reach: Reach, until: threading.Event) -> _T:
    """Return what `work` returns in a thread that was confined: so are the processes that it starts, and nobody else. Raises what it raises.

    The thread stays until `until` is set: the kernel takes the end of a thread for the death of the parent of what it has started.
    """
    returned: list[_T] = []
    raised: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            confine(reach)
            returned.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where somebody waits for it
            raised.append(error)
            return
        finally:
            done.set()
        until.wait()

    threading.Thread(target=run, daemon=True).start()
    done.wait()
    if raised:
        raise raised[0]
    return returned[0]


def _allow(library: ctypes.CDLL, ruleset: int, paths: Iterable[str], rights: int) -> None:
    """Allow these rights below paths. Raises OSError."""
    for path in paths:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if library.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, handle), 0):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(handle)
