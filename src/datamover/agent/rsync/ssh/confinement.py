"""Taking rights from this process before it becomes rsync: it may touch the volume, read the system's programs, and nothing else.

The kernel does it (Landlock, Linux 5.13 and newer; no rights are needed for it). A client speaks rsync's protocol with a program that is root, and could
let it read filter files or follow links; the keys, the attempt's own files and other mounts are out of its reach then. Where the kernel cannot
do it, or cannot do it without breaking hard links (before Linux 5.19), nothing is taken; the checks of the request hold everywhere.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

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
_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/opt")
"""Where rsync, its libraries, names of users and the time zone are. No key is there, nor any volume."""


def confine(volume: str, *, programs: Iterable[str] = ()) -> bool:
    """Confine this process, and whatever it becomes, to `volume`; it may read and run what is below the folders of `programs` and the system's.
    Return whether the kernel does it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE, None, 0, _TELL_VERSION)
    if version < _OLDEST:
        return False
    everything = (_REFER << 1) - 1 | (_TRUNCATE if version >= 3 else 0)
    ruleset = library.syscall(_CREATE, struct.pack("=Q", everything), 8, 0)
    if ruleset < 0:
        return False
    try:
        _allow(library, ruleset, volume, everything)
        _allow(library, ruleset, "/dev/null", _WRITE_FILE | _READ_FILE)
        for folder in (*_SYSTEM, *programs):
            with suppress(OSError):
                _allow(library, ruleset, folder, _READ)
        if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or library.syscall(_RESTRICT, ruleset, 0):
            return False
    except OSError:
        return False
    finally:
        os.close(ruleset)
    return True


def _allow(library: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    """Allow these rights below a path. Raises OSError."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if library.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, handle), 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(handle)
