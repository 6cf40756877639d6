"""The disk that is filled: `disk.img` of a Filesystem volume, or the device of a Block volume. Blocking.

Guarantees: a file gets its name only when all of it was written to the storage and read back (`finish`), so that half a disk is never taken for one; a
device reads as zeros wherever the image has none, whatever lay there before; nothing is written beyond the disk's limit.
"""

import errno
import hashlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Final

from datamover.agent.blocks.device import Device, open_destination
from datamover.agent.files import holes
from datamover.agent.importer import refusals
from datamover.agent.importer.settings import Settings
from datamover.agent.importer.stage import Stage, free_space
from datamover.api import importer

CHUNK: Final = 1 << 20
SECTOR: Final = 512
_STEP: Final = 1 << 30
"""Bytes that a device is asked to give back at a time: nothing can interrupt it meanwhile."""
_MODE: Final = 0o660
"""The machine that gets the disk runs in the volume's group."""
_ZEROS: Final = bytes(CHUNK)


class Disk:
    """An open disk. `limit`: bytes that it may have; `final`: those that it gets in the end, where it is a file. Errors are OSError.

    `old`: it is a device, whose size stays, and in which there may be anything.
    """

    def __init__(self, device: Device, *, limit: int, final: int, preallocate: bool, old: bool) -> None:
        self.path = device.path
        self.limit = limit
        self.size = 0
        """Bytes that were written, holes counted."""
        self._device = device
        self._final = final
        self._preallocate = preallocate
        self._old = old
        self._whole = hashlib.sha256()

    @property
    def device_size(self) -> int:
        """Bytes of the device, or of the file by now."""
        return self._device.size

    def admit(self, size: int, *, what: str) -> None:
        """See that so many bytes fit. Raises Failure."""
        if size > self.limit:
            raise refusals.too_large(size, self.limit, what=what)

    def write(self, pieces: Iterable[bytes], *, what: str) -> None:
        """Write a raw disk from its beginning. Raises Failure when it does not fit."""
        for chunk in _chunks(pieces):
            self.admit(self.size + len(chunk), what=what)
            self._put(chunk)

    def prepare(self, size: int) -> None:
        """Make room for a program that writes a disk of this size itself. Raises Failure when it does not fit."""
        self.admit(size, what="disk in the image")
        if not self._old:
            self._device.resize(size)
        self.size = size

    def tail(self) -> bytes:
        """Return the last sector that was written."""
        if not self._old and self._device.size < self.size:
            self._device.resize(self.size)  # zeros at the end are not written, so a file does not reach there by itself
        begin = max(0, self.size - SECTOR)
        return self._device.read(begin, self.size - begin)

    def complete(self) -> int:
        """Give the disk its final size, of zeros where nothing was written, and bring all of it to the storage; return that size."""
        device = self._device
        if self._old:
            size = device.size
            self._clear(self.size, size - self.size)
        else:
            size = max(self._final, -(-self.size // SECTOR) * SECTOR)
            device.resize(size)
            if self._preallocate:
                device.allocate(size)
            with suppress(
                OSError
            ):  # some file systems have no modes; the node gives the volume's group its rights then
                device.change_mode(_MODE)
        device.settle()
        return size

    def prove(self, *, alive: Callable[[int], None]) -> None:
        """Read back what `write` has written, and compare it. Raises Failure."""
        own = hashlib.sha256()
        for offset in range(0, self.size, CHUNK):
            chunk = self._device.read(offset, min(CHUNK, self.size - offset))
            own.update(_hash(chunk))
            alive(offset + len(chunk))
        if own.digest() != self._whole.digest():
            raise refusals.not_as_written()

    def _put(self, chunk: bytes) -> None:
        blank = chunk == _ZEROS[: len(chunk)]
        self._whole.update(_hash_of_zeros(len(chunk)) if blank else hashlib.sha256(chunk).digest())
        if self._old:
            if blank:
                self._clear(self.size, len(chunk))
            else:
                self._device.write(self.size, chunk)
        elif not blank:
            view = memoryview(chunk)
            for first, end in holes.data_in(chunk):
                self._device.write(self.size + first, view[first:end])
        self.size += len(chunk)

    def _clear(self, offset: int, length: int) -> None:
        """Let a range of a device read as zeros. Where it cannot give room back only what holds something is written: a thin volume stays thin."""
        end = offset + length
        while offset < end:
            # what begins within a block cannot be given back
            step = min(end - offset, _STEP if offset % CHUNK == 0 else CHUNK - offset % CHUNK)
            if self._preallocate or offset % CHUNK or not self._device.give_back(offset, step):
                step = min(step, CHUNK)
                if self._preallocate or self._device.read(offset, step) != _ZEROS[:step]:
                    self._device.write(offset, memoryview(_ZEROS)[:step])
            offset += step


def _chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in chunks of one size, which are hashed alike when they are read back."""
    rest = bytearray()
    for given in pieces:
        if not rest and len(given) == CHUNK:
            yield given
            continue
        rest += given
        while len(rest) >= CHUNK:
            yield bytes(memoryview(rest)[:CHUNK])
            del rest[:CHUNK]
    if rest:
        yield bytes(rest)


def _hash(chunk: bytes) -> bytes:
    return _hash_of_zeros(len(chunk)) if chunk == _ZEROS[: len(chunk)] else hashlib.sha256(chunk).digest()


@cache
def _hash_of_zeros(length: int) -> bytes:
    return hashlib.sha256(bytes(length)).digest()


@contextmanager
def _failing() -> Generator[None]:
    """Let an error of the device be one of the volume, as a `Stage` does."""
    try:
        yield
    except OSError as error:
        raise refusals.of_volume(error) from None


# --- places ----------------------------------------------------------------------------------------------------------


@contextmanager
def open_disk(settings: Settings, *, say: Callable[[str], None]) -> Generator[Disk]:
    """Give the disk, empty, and let it have its name when the block ends well. What lay in its place is gone. Raises Failure."""
    if settings.block:
        with open_destination(settings.place(importer.TARGET_DEVICE)) as device, _failing():
            if device.is_file and device.size < settings.size:
                device.resize(settings.size)
            limit = min(settings.size or device.size, device.size)
            yield Disk(device, limit=limit, final=device.size, preallocate=settings.preallocate, old=True)
        return
    volume = settings.place(importer.TARGET_PATH)
    with Stage(volume) as stage:
        stage.replace(importer.DISK)
        free = free_space(volume)
        final = min(settings.size or free, free) // SECTOR * SECTOR
        if not final:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # an empty disk would be called a good one
        if final < settings.size:
            say(
                f"Note: the volume has {free} bytes left, fewer than the {settings.size} that were asked for; the disk gets {final}."
            )
        with stage.open_file(importer.DISK) as device:
            yield Disk(device, limit=final, final=final, preallocate=settings.preallocate, old=False)
        stage.publish(flushed=True)
