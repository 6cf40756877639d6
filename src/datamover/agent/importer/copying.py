# ruff: noqa: PTH101, PTH102, PTH115, PTH123, PTH211  # a start-up budget that pathlib would take a tenth of
"""From one claim to another in the same Pod: one disk, whichever modes the two volumes have, or every file. Blocking."""

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from datamover.agent.blocks.device import Device, open_source
from datamover.agent.errors import Failure
from datamover.agent.files import holes
from datamover.agent.files.flushing import flush_file_system
from datamover.agent.importer import refusals
from datamover.agent.importer.disk import CHUNK, open_disk
from datamover.agent.importer.filling import Filled, Filling
from datamover.agent.importer.stage import FOLDER, Stage, free_space
from datamover.api import importer, transfer

_LOST_AND_FOUND: Final = "lost+found"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def copy_disk(filling: Filling) -> Filled:
    """Copy the disk. Its bytes stay what they are, whatever they look like. Raises Failure and Stopped."""
    settings = filling.settings
    folder = settings.place(importer.SOURCE_PATH)
    path = settings.place(importer.SOURCE_DEVICE) if settings.source_block else f"{folder}/{importer.DISK}"
    if not settings.source_block:
        _demand_disk(path)
    with open_source(path) as source, open_disk(settings, say=filling.say) as disk:
        disk.admit(source.size, what="source")
        disk.write(_read(source, filling), what="source")
        size = disk.complete()
        filling.verify(disk)
    return Filled(size=size, form="raw", proof="all of it was read back and compared with the source")


def _demand_disk(path: str) -> None:
    """See that there is a plain file: a link in somebody else's volume may lead anywhere. Raises Failure."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_NOT_FOUND,
            f"The source has no {importer.DISK} that can be read ({error.strerror}): it is no disk of a virtual machine, or not filled yet.",
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise refusals.of_image(f"{importer.DISK} of the source is no plain file")


def _read(source: Device, filling: Filling) -> Iterator[bytes]:
    for offset in range(0, source.size, CHUNK):
        filling.stop.check()
        with _readable(source.path):
            piece = source.read(offset, min(CHUNK, source.size - offset))
        filling.report.advance(
            files=0, size=offset + len(piece), total_files=0, total_size=source.size, speed=0, errors=0
        )
        yield piece


# --- every file ------------------------------------------------------------------------------------------------------


def copy_files(filling: Filling) -> Filled:
    """Copy all files, folders and links, with modes and times; owners as far as we may. Raises Failure and Stopped."""
    settings = filling.settings
    source, volume = settings.place(importer.SOURCE_PATH), settings.place(importer.TARGET_PATH)
    with Stage(volume) as stage:
        free = free_space(volume)
        tree = _Tree(source, stage.path, limit=min(settings.size or free, free), filling=filling)
        tree.copy()
        flush_file_system(volume)
        filling.report.phase(transfer.VERIFYING)
        tree.compare()
        stage.publish()
    left_out = f"; {tree.special} devices, pipes and sockets were left out" if tree.special else ""
    return Filled(
        size=tree.bytes,
        form="files",
        files=tree.files,
        proof=f"all of them were read back and compared with the source{left_out}",
    )


class _Tree:
    """Two folders, of which the second becomes what the first is."""

    def __init__(self, source: str, target: str, *, limit: int, filling: Filling) -> None:
        self._source = source
        self._target = target
        self._limit = limit
        self._filling = filling
        self._linked: dict[tuple[int, int], str] = {}
        self.files = self.bytes = self.special = 0

    def copy(self) -> None:
        folders: list[str] = []
        for place, names in self._walk():
            folders.append(place)
            for name, status in names:
                self._copy(f"{place}{name}", status)
        for place in reversed(folders):
            # last, and from below: whatever is made in a folder changes its time, and its mode may forbid it
            self._keep(self._target + place, os.lstat(self._source + place))

    def compare(self) -> None:
        """Read everything back. Raises Failure."""
        for place, names in self._walk():
            for name, status in names:
                if stat.S_ISREG(status.st_mode):
                    self._compare(f"{place}{name}")

    def _walk(self) -> Iterator[tuple[str, list[tuple[str, os.stat_result]]]]:
        """Yield each folder, with a slash around its path, and what is in it, itself before what is below it. No link is followed."""
        waiting = ["/"]
        while waiting:
            place = waiting.pop()
            with _readable(place):
                found = sorted(os.scandir(self._source + place), key=lambda each: each.name)
                names = [
                    (each.name, each.stat(follow_symlinks=False))
                    for each in found
                    if place != "/" or each.name not in {_LOST_AND_FOUND, FOLDER}
                ]
            yield place, names
            waiting += [f"{place}{name}/" for name, status in names if stat.S_ISDIR(status.st_mode)]

    def _copy(self, name: str, status: os.stat_result) -> None:
        self._filling.stop.check()
        there = self._target + name
        mode, identity = status.st_mode, (status.st_dev, status.st_ino)
        if stat.S_ISDIR(mode):
            os.mkdir(there, 0o700)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(self._source + name), there)
            self._keep(there, status)
        elif not stat.S_ISREG(mode):
            self.special += 1
        elif status.st_nlink > 1 and identity in self._linked:
            os.link(self._target + self._linked[identity], there, follow_symlinks=False)
        else:
            if status.st_nlink > 1:
                self._linked[identity] = name
            self._copy_file(name, there)
            self._keep(there, status)

    def _copy_file(self, name: str, there: str) -> None:
        with _readable(name):
            reading = os.open(self._source + name, _READ)
        try:
            writing = os.open(there, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                offset = 0
                while piece := _read_some(reading, name):
                    self.bytes += len(piece)
                    if self.bytes > self._limit:
                        raise refusals.too_large(self.bytes, self._limit, what="source")
                    view = memoryview(piece)
                    for first, end in holes.data_in(piece):
                        _write(writing, view[first:end], offset + first)
                    offset += len(piece)
                    self._tell()
                os.ftruncate(writing, offset)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        self.files += 1

    def _keep(self, there: str, status: os.stat_result) -> None:
        """Give mode, time and owner: the last one as far as we may, and no set-ID bit without it."""
        owned = True
        try:
            os.chown(there, status.st_uid, status.st_gid, follow_symlinks=False)
        except OSError:
            owned = False
        if not stat.S_ISLNK(status.st_mode):
            mode = stat.S_IMODE(status.st_mode)
            os.chmod(there, mode if owned else mode & ~(stat.S_ISUID | stat.S_ISGID))
        with suppress(OSError):
            os.utime(there, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)

    def _compare(self, name: str) -> None:
        with open(self._source + name, "rb", buffering=0) as one, open(self._target + name, "rb", buffering=0) as other:
            os.posix_fadvise(other.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while True:
                self._filling.stop.check()
                piece = one.read(CHUNK)
                if piece != other.read(CHUNK):
                    raise refusals.not_as_written()
                if not piece:
                    return
                self._filling.report.repeat()

    def _tell(self) -> None:
        self._filling.stop.check()
        if self._filling.report.due():
            self._filling.report.advance(
                files=self.files, size=self.bytes, total_files=0, total_size=0, speed=0, errors=0
            )


def _read_some(descriptor: int, name: str) -> bytes:
    with _readable(name):
        return os.read(descriptor, CHUNK)


def _write(descriptor: int, data: memoryview, offset: int) -> None:
    left = data
    while left:
        count = os.pwrite(descriptor, left, offset)
        offset += count
        left = left[count:]


@contextmanager
def _readable(name: str) -> Generator[None]:
    """Let an error of the source be one of the source, not of the volume that is filled."""
    try:
        yield
    except OSError as error:
        raise Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_UNREADABLE,
            f"The source cannot be read: {error.strerror}. Look at the rights of its files.",
            problems=(name,),
        ) from None
