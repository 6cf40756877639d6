"""From a stream of bytes to a disk, or to the files of a volume: what every source has in common. Blocking.

The stream is measured as it comes, looked at, unpacked, and goes to the one place that its format is for. Nothing is kept of a stream whose checksum is
another one.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import msgspec

from datamover.agent.children import Stop
from datamover.agent.files.flushing import flush_file_system
from datamover.agent.importer import archive, clusters, conversion, formats, refusals, unpacking
from datamover.agent.importer.disk import Disk, open_disk
from datamover.agent.importer.inventory import Inventory
from datamover.agent.importer.settings import Settings
from datamover.agent.importer.stage import Stage, free_space
from datamover.agent.progress import Reporter
from datamover.api import importer, transfer


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: the size of the disk (or of all files), what the bytes were, the files of an archive, and what has proved them."""

    size: int
    form: str
    files: int = 0
    proof: str = ""
    program: str = ""


class Filling(msgspec.Struct, frozen=True, kw_only=True):
    """One way from a stream to the volume. `search` is where programs are looked for."""

    settings: Settings
    stop: Stop
    report: Reporter
    scratch: str
    search: str | None
    say: Callable[[str], None]

    def fill(self, pieces: Iterable[bytes], *, length: int | None, framed: bool = True) -> Filled:
        """Fill the disk, or the volume, with what comes. `length` is how many bytes will, where that is known. Raises Failure, Stopped and what `pieces` raises.

        `framed`: the end of what comes can be told from a cut. A packer's own end is no proof: another member may follow it.
        """
        measured = _Measured(pieces, self, length=length)
        try:
            form, stream = _look(iter(measured))
            packed = form if form in formats.PACKED else ""
            if packed:
                form, stream = _look(self._interruptible(unpacking.unpack(stream, packed)))
                if form in formats.PACKED:
                    raise refusals.of_format(form, within=packed)
            told = f"{form}, packed with {packed}" if packed else form
            if form in formats.NO_IMAGES:
                raise refusals.not_an_image(form)
            if formats.is_other(form):
                raise refusals.of_format(form, within=packed)
            if not framed and self.settings.checksum is None:
                raise refusals.of_unknown_length()
            if self.settings.archive:
                return self._extract(stream, measured, told)
            if form == formats.TAR:
                raise refusals.of_image("it is an archive (tar), which is what the content type `archive` is for")
            return self._fill_disk(stream, measured, form=form, told=told, length=None if packed else length)
        except unpacking.GreedyError as error:
            raise refusals.of_image(str(error)) from None
        except unpacking.UnpackingError as error:
            raise refusals.damaged(str(error)) from None

    def _interruptible(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the same. Of one piece that comes a thousand may be unpacked."""
        for piece in stream:
            self.stop.check()
            yield piece

    def verify(self, disk: Disk) -> None:
        """Read a disk that was written by `Disk.write` back. Raises Failure and Stopped."""
        self.report.phase(transfer.VERIFYING)

        disk.prove(alive=lambda _done: self._alive())

    def _alive(self) -> None:
        self.stop.check()
        self.report.repeat()

    def _fill_disk(
        self, stream: Iterator[bytes], measured: "_Measured", *, form: str, told: str, length: int | None
    ) -> Filled:
        if form == formats.QCOW2:
            return self._convert(stream, measured, told)
        with open_disk(self.settings, say=self.say) as disk:
            disk.admit(length or 0, what="image")
            disk.write(stream, what="image")
            measured.finish()
            if formats.is_fixed_vhd(disk.tail()):
                raise refusals.of_format("vhd")
            size = disk.complete()
            self.verify(disk)
        return Filled(size=size, form=told, proof="all of it was read back and compared with what came")

    def _convert(self, stream: Iterator[bytes], measured: "_Measured", told: str) -> Filled:
        program = conversion.find_converter(self.settings.converter, search=self.search)
        if not program:
            raise refusals.no_converter()
        head = next(stream)
        size = conversion.read_size(head)
        image = f"{self.scratch}/image.qcow2"
        converter = conversion.Converter(program, self.search, self.scratch, self.stop, self.report.repeat)
        with open_disk(self.settings, say=self.say) as disk:
            disk.admit(size, what="disk in the image")
            conversion.keep(chain((head,), stream), image, limit=importer.largest_image(disk.limit))
            measured.finish()
            clusters.demand_whole(image, alive=self._alive)
            disk.prepare(size)
            self.report.phase(transfer.RECORDING)
            converter.convert(image, disk, old=self.settings.block)
            final = disk.complete()
            self.report.phase(transfer.VERIFYING)
            converter.compare(image, disk)
        return Filled(
            size=final,
            form=told,
            proof="all of it was read back and compared with the image by qemu-img",
            program=converter.version(),
        )

    def _extract(self, stream: Iterator[bytes], measured: "_Measured", told: str) -> Filled:
        volume = self.settings.place(importer.TARGET_PATH)
        with Stage(volume) as stage:
            free = free_space(volume)
            limit = min(self.settings.size or free, free)
            inventory = Inventory(alive=self._alive)
            done = archive.extract(stream, stage.path, limit=limit, inventory=inventory, alive=self.stop.check)
            # to the end, where the packer's own checksum is; the archive may have ended before
            left = 0
            for piece in stream:
                left += len(piece)
                if left > limit:
                    raise refusals.too_large(left, limit, what="archive")
            measured.finish()
            flush_file_system(volume)
            self.report.phase(transfer.VERIFYING)
            inventory.prove(stage.path)
            stage.publish(flushed=True)
        return Filled(
            size=done.bytes,
            form=told,
            files=done.files,
            proof="all of them were read back and compared with what came",
        )


class _Measured:
    """The stream as it came: counted, bounded, told to the operator, and put into the checksum that was asked for."""

    def __init__(self, pieces: Iterable[bytes], filling: Filling, *, length: int | None) -> None:
        self._pieces = pieces
        self._filling = filling
        self._length = length
        self._checksum = filling.settings.checksum
        self._digest = self._checksum.begin() if self._checksum else None
        self._limit = importer.largest_image(filling.settings.size) if filling.settings.size else None
        self._count = 0
        self._stream = self._measure()

    def __iter__(self) -> Iterator[bytes]:
        return self._stream

    def finish(self) -> None:
        """Take what is left, and see that it is what was asked for. Raises Failure."""
        for _ in self._stream:
            pass
        digest = self._digest
        if self._checksum is not None and digest is not None and not self._checksum.fits(digest):
            raise refusals.other_checksum(self._checksum.algorithm, digest.hexdigest())

    def _measure(self) -> Iterator[bytes]:
        filling, limit = self._filling, self._limit
        if limit is not None and (self._length or 0) > limit:
            raise refusals.too_large(self._length or 0, limit, what="image")
        for piece in self._pieces:
            filling.stop.check()
            self._count += len(piece)
            if limit is not None and self._count > limit:
                raise refusals.too_large(self._count, limit, what="image")
            if self._digest is not None:
                self._digest.update(piece)
            filling.report.advance(
                files=0, size=self._count, total_files=0, total_size=self._length or 0, speed=0, errors=0
            )
            yield piece


def _look(stream: Iterator[bytes]) -> tuple[str, Iterator[bytes]]:
    """Return what a stream is, and the stream from its beginning; its first piece has what tells."""
    head = b""
    for piece in stream:
        head += piece
        if len(head) >= formats.HEAD:
            break
    return formats.detect(head), chain((head,), stream) if head else iter(())
