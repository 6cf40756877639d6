# ruff: noqa: PTH116  # descriptors
"""A block device, or a file in the place of one: its size, its chunks, zeros that need no room. Blocking.

Guarantees: a real block device is opened for writing only when nothing else has it (mounted, in a device mapper), and by one agent at a time.
"""

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache

from datamover.agent.blocks import refusals
from datamover.agent.blocks.wire import DIGEST
from datamover.agent.files import holes

_PIECE = 1 << 20
_ALIVE_EVERY = 64 << 20


class Device:
    """An open device. Errors are OSError."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.path = path
        self._descriptor = descriptor
        self.is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self.size = os.lseek(descriptor, 0, os.SEEK_END)
        self._punches = True

    def read(self, offset: int, length: int) -> bytes:
        """Return so many bytes. What is not there any more, because a file was cut meanwhile, is an error."""
        piece = os.pread(self._descriptor, length, offset)
        while len(piece) < length:
            more = os.pread(self._descriptor, length - len(piece), offset + len(piece))
            if not more:
                raise OSError(5, f"it ends at {offset + len(piece)} bytes")
            piece += more
        return piece

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write all of it."""
        left = memoryview(data)
        while left:
            count = os.pwrite(self._descriptor, left, offset)
            offset += count
            left = left[count:]

    def write_zeros(self, offset: int, length: int) -> None:
        """Let a range read as zeros; where that can be done without writing them, their room is given back."""
        if self.give_back(offset, length):
            return
        zeros = memoryview(bytes(min(length, _PIECE)))
        for start in range(offset, offset + length, _PIECE):
            self.write(start, zeros[: min(_PIECE, offset + length - start)])

    def give_back(self, offset: int, length: int) -> bool:
        """Let a range read as zeros that need no room, and tell whether that could be done; nothing is different otherwise."""
        if self._punches:
            try:
                holes.give_back(self._descriptor, offset, length)
            except OSError:
                self._punches = False  # neither the file system nor the device can; the ones that can say so each time
        return self._punches

    def allocate(self, size: int) -> None:
        """Give a file its room now."""
        os.posix_fallocate(self._descriptor, 0, size)

    def change_mode(self, mode: int) -> None:
        """Give a file these rights."""
        os.fchmod(self._descriptor, mode)

    def resize(self, size: int) -> None:
        """Give a file this size."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def settle(self) -> None:
        """Write everything to the storage, and forget it, so that the next look reads what is really there."""
        os.fsync(self._descriptor)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def open_source(path: str) -> Generator[Device]:
    """Give a device to read from. Raises Failure."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise refusals.of_source(error, path=path) from None
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield Device(descriptor, path)
    finally:
        os.close(descriptor)


@contextmanager
def open_destination(path: str) -> Generator[Device]:
    """Give a device to write to, to nobody else. Raises Failure."""
    try:
        # without O_CREAT this is the kernel's "not while it is mounted", for block devices only
        exclusive = os.O_EXCL if stat.S_ISBLK(os.stat(path).st_mode) else 0
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | exclusive)
    except OSError as error:
        raise refusals.of_destination(error, path=path) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise refusals.refusal(
                refusals.BUSY, f"Another transfer writes to {path}: it is tried again when that has ended."
            ) from None
        yield Device(descriptor, path)
    finally:
        os.close(descriptor)


def hash_chunk(chunk: bytes | memoryview) -> bytes:
    """Return the hash of a chunk."""
    return hashlib.blake2b(chunk, digest_size=DIGEST).digest()


@cache
def hash_of_zeros(length: int) -> bytes:
    """Return the hash of a chunk that is nothing but zeros."""
    return hash_chunk(bytes(length))


def digest() -> "hashlib.blake2b":
    """Return the digest of a whole device before its first chunk. It is updated with the hashes of the chunks, so that each byte is hashed once."""
    return hashlib.blake2b(digest_size=DIGEST)


def is_blank(device: Device, *, size: int | None = None, alive: Callable[[int], None]) -> bool:
    """Tell whether a device, or its first `size` bytes, holds nothing but zeros: it is read up to the first byte that is none."""
    end = device.size if size is None else min(size, device.size)
    zeros = bytes(_PIECE)
    for offset in range(0, end, _PIECE):
        piece = device.read(offset, min(_PIECE, end - offset))
        if piece != zeros[: len(piece)]:
            return False
        if offset % _ALIVE_EVERY == 0:
            alive(offset)
    return True
