"""Holes of sparse files: blocks that hold nothing but zeros and need no room on the disk. Blocking.

Guarantees: what a file reads as, and its size, are never changed: only ranges that were just read as zeros are given back.
Assumptions: Linux; nobody else writes to the file meanwhile.
"""

import ctypes
import errno
import os
from collections.abc import Iterator

_BLOCK = 4096
_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)
_KEEP_SIZE = 1
_PUNCH_HOLE = 2


def punch(descriptor: int) -> int:
    """Give back the blocks of an open, writable file that hold nothing but zeros; return how many bytes were.

    Raises OSError, EOPNOTSUPP above all, where the file system knows no holes; nothing is different then.
    """
    size = os.fstat(descriptor).st_size
    given_back = 0
    for start, end in _data(descriptor, size):
        for offset in range(start, end, _CHUNK):
            piece = os.pread(descriptor, min(_CHUNK, end - offset), offset)
            for first, length in _zeros(piece):
                # a last block that is not whole counts as one: beyond the end there is nothing to lose
                give_back(descriptor, offset + first, -(-length // _BLOCK) * _BLOCK)
                given_back += length
    return given_back


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges that are no holes yet, from block to block; everything where the file system cannot tell."""
    offset = 0
    while offset < size:
        try:
            start = os.lseek(descriptor, offset, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole follows
                return
            if error.errno != errno.EINVAL:
                raise
            start, end = offset, size
        start -= start % _BLOCK
        end = min(size, -(-end // _BLOCK) * _BLOCK)
        yield start, end
        offset = end


def _zeros(piece: bytes) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the runs of blocks in `piece` that hold zeros only."""
    if piece == _ZEROS[: len(piece)]:
        yield 0, len(piece)
        return
    begun: int | None = None
    for offset in range(0, len(piece), _BLOCK):
        block = piece[offset : offset + _BLOCK]
        if block == _ZEROS[: len(block)]:
            begun = offset if begun is None else begun
        elif begun is not None:
            yield begun, offset - begun
            begun = None
    if begun is not None:
        yield begun, len(piece) - begun


def data_in(piece: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the runs of blocks in `piece` that hold anything but zeros."""
    begin = 0
    for first, length in _zeros(piece):
        if first > begin:
            yield begin, first
        begin = first + length
    if begin < len(piece):
        yield begin, len(piece)


def give_back(descriptor: int, offset: int, length: int) -> None:
    """Let a range read as zeros that need no room. Raises OSError where that cannot be done; nothing is different then."""
    library = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(library, "fallocate64", None) or library.fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
