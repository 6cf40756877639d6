"""Images of the format qcow2, made a raw disk by `qemu-img`. Blocking.

The format is for those who trust each other: an image may name another file of the machine as the one below it, or as the one that has its data. So its
header is read here first, and nothing is started for an image that names any; the program is told the format and never guesses it, gets no secret, and
is bounded in memory, processor and time.

Assumptions: qemu-img 5 or newer.
"""

import os
import resource
import signal
import struct
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from datamover.agent.children import Child, Stop, find_wrapper, start_process
from datamover.agent.errors import Failure
from datamover.agent.importer import refusals
from datamover.agent.importer.disk import Disk
from datamover.api import outside, transfer

_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_FEATURES: Final = struct.Struct(">Q")
_CORRUPT, _ELSEWHERE, _KNOWN = 2, 4, 1 | 2 | 4 | 8 | 16
_MEMORY: Final = 4 << 30
"""Bytes of addresses: threads reserve much more than they use. What is used is bounded by the container."""
_PATIENCE: Final = 3600.0
_SLOWEST: Final = 2 << 20
"""Bytes of the disk a second, beyond the patience."""
_LOOK: Final = 1.0
_LONGEST_LOG: Final = 1 << 14


def read_size(head: bytes) -> int:
    """Return the size of the disk in an image that begins with these bytes. Raises Failure for an image that is not taken."""
    if len(head) < _HEADER.size + _FEATURES.size:
        raise refusals.of_image("it is cut off within the header of qcow2")
    _, version, backing, length, bits, size, encrypted, *_ = _HEADER.unpack_from(head)
    if version not in {2, 3}:
        raise refusals.of_image(f"it is qcow version {version}, and 2 and 3 are read")
    features: int = _FEATURES.unpack_from(head, _HEADER.size)[0] if version == 3 else 0
    if backing or length:
        raise refusals.of_image(
            "it is a qcow2 with a backing file, of which it has the changes only; merge them first (`qemu-img convert` does)"
        )
    if features & _ELSEWHERE:
        raise refusals.of_image("it is a qcow2 whose data are in another file")
    if encrypted:
        raise refusals.of_image("it is an encrypted qcow2")
    if features & _CORRUPT:
        raise refusals.of_image("it is a qcow2 that is marked as corrupt")
    if features & ~_KNOWN or not 9 <= bits <= 21:
        raise refusals.of_image("it is a qcow2 with properties that are not known here")
    if not size:
        raise refusals.of_image("it is a qcow2 with an empty disk")
    return size


def keep(pieces: Iterable[bytes], path: str, *, limit: int) -> None:
    """Write an image into scratch space. Raises Failure when it does not fit, or is larger than any image of so large a disk."""
    count = 0
    try:
        with open(path, "xb", buffering=0) as file:  # noqa: PTH123 - start-up budget
            for piece in pieces:
                count += len(piece)
                if count > limit:
                    raise refusals.too_large(count, limit, what="image")
                left = memoryview(piece)
                while left:
                    left = left[file.write(left) :]
    except OSError as error:
        raise refusals.no_scratch() from error


class Converter(msgspec.Struct, frozen=True):
    """The program. `alive` is called about once a second."""

    program: str
    search: str | None
    scratch: str
    stop: Stop
    alive: Callable[[], None]

    def convert(self, image: str, disk: Disk, *, old: bool) -> None:
        """Write the disk in an image of qcow2 to `disk`, which has been prepared for it. Raises Failure and Stopped."""
        # a new file reads as zeros; of a device the program makes zeros where the image has none
        known = () if old else ("--target-is-zero",)
        code, log = self._run("convert", "-f", "qcow2", "-O", "raw", "-n", *known, image, disk.path, size=disk.size)
        if code:
            raise _failure(code, log, doing="convert")

    def compare(self, image: str, disk: Disk) -> None:
        """Read the disk back and compare it with the image. Raises Failure and Stopped."""
        code, log = self._run("compare", "-f", "qcow2", "-F", "raw", image, disk.path, size=disk.size)
        if code == 1:
            raise refusals.not_as_written()
        if code:
            raise _failure(code, log, doing="read back")

    def version(self) -> str:
        """Return what the program calls itself, empty where it cannot say."""
        code, log = self._run("--version", size=0)
        return log.splitlines()[0][:60].split(" (")[0] if not code and log else ""

    def _run(self, *arguments: str, size: int) -> tuple[int, str]:
        """Run the program; return its exit code and the end of what it said. Raises Stopped."""
        output = f"{self.scratch}/qemu-img.log"
        process = start_process(
            [*find_wrapper(search=self.search), self.program, *arguments],
            stop=self.stop,
            # nothing of our own environment, which has secrets
            environment={"PATH": self.search or os.defpath, "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"},
            piped=False,
            merged=True,
            output=output,
        )
        limit = int(_PATIENCE + size / _SLOWEST)
        child = Child(process, stop=self.stop, on_line=None)
        try:
            for what, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, limit), (resource.RLIMIT_CORE, 0)):
                _bound(process.pid, what, most)
            waited = 0.0
            while not child.ended_within(_LOOK):
                waited += _LOOK
                if waited > limit:
                    child.expire()
                self.alive()
        finally:
            code = child.finish()
        self.stop.check()
        with open(output, "rb") as file:  # noqa: PTH123
            text = file.read(_LONGEST_LOG).decode("utf-8", "replace")
        return code, text.strip()


def find_converter(named: str, *, search: str | None) -> str:
    """Return the path of `qemu-img`; empty where there is none."""
    import shutil

    return named or shutil.which("qemu-img", path=search) or ""


def _bound(pid: int, what: int, most: int) -> None:
    try:
        _, hard = resource.prlimit(pid, what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.prlimit(pid, what, (most, most))
    except (ProcessLookupError, PermissionError):
        return  # it has ended; or a sandbox does not let us, and the container's own bounds are all there are


def _failure(code: int, log: str, *, doing: str) -> Failure:
    """Return what it means that the program ended so."""
    last = outside.clean(log.splitlines()[-1] if log else "", limit=outside.NAME_LIMIT) or f"exit code {code}"
    if code == -signal.SIGKILL or "Cannot allocate memory" in log:
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_OUT_OF_MEMORY,
            "qemu-img was killed, as the kernel does when a container reaches its memory limit, or took too long. Raise the memory limit of the importer.",
        )
    if code == -signal.SIGXCPU:
        return refusals.of_image("it takes more processor time than any disk of its size")
    if "No space left" in log:
        return refusals.of_volume(OSError(28, "No space left on device"))
    return refusals.damaged(f"qemu-img cannot {doing} it: {last}")
