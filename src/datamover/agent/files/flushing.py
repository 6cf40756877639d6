"""Bringing what was written to a volume to its disk, before anybody takes a snapshot of it."""

import os


def flush_file_system(folder: str) -> None:
    """Flush the file system of a folder, and no other: a node has many, and some of them are slow.

    Raises OSError, also for what failed before.
    """
    import ctypes

    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(handle)
