"""One attempt to fill a disk: from its source to the words about what came of it."""

import time
from typing import Final

import msgspec

from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.importer import blank, copying, headers, trust
from datamover.agent.importer.download import ChangedError, Download
from datamover.agent.importer.filling import Filled, Filling
from datamover.agent.importer.settings import Settings
from datamover.agent.importer.upload.taken import Taken
from datamover.agent.progress import Reporter
from datamover.agent.shell import Surroundings
from datamover.api import importer, transfer

ENGINE: Final = "datamover importer"
_BEGINNINGS: Final = 4
"""How often an object is read from its beginning before another attempt is better than this one."""


class Attempt:
    """What is done, and how far it is."""

    def __init__(self, settings: Settings, given: Surroundings) -> None:
        self._settings = settings
        self._given = given
        self.report = Reporter(settings.run_id, tell=given.tell, monotonic=time.monotonic)
        self._download: Download | None = None
        self._taken = Taken(0, "")
        self._filled: Filled | None = None
        self._digest = ""
        self._filling = Filling(
            settings=settings,
            stop=given.stop,
            report=self.report,
            scratch=given.scratch,
            search=given.environ.get("PATH"),
            say=given.say,
        )

    def run(self) -> None:
        """Fill it. Raises Failure and Stopped."""
        self.report.phase(transfer.SYNCING)
        source = self._settings.source
        if self._settings.poll:
            self._digest = self._poll()
        elif source == importer.BLANK:
            self._filled = blank.make_blank(self._filling)
        elif source == importer.COPY:
            copy = copying.copy_files if self._settings.archive else copying.copy_disk
            self._filled = copy(self._filling)
        elif source in {importer.HTTP, importer.S3}:
            self._filled = self._fetch()
        else:
            self._filled = self._receive()

    def so_far(self) -> transfer.Outcome:
        """Return the outcome as far as it is known."""
        settings, filled, download, taken = self._settings, self._filled, self._download, self._taken
        proved = settings.checksum if filled else None
        return msgspec.structs.replace(
            self._given.begun,
            run_id=settings.run_id,
            destination="" if settings.poll else importer.TARGET_DEVICE if settings.block else importer.TARGET_PATH,
            digest=self._digest,
            bytes=filled.size if filled else 0,
            files=(filled.files or 1) if filled else 0,
            transferred_bytes=download.received if download else taken.bytes,
            verified=True if proved else None,
            verification=proved.algorithm if proved else "",
            engine=f"{ENGINE}, {filled.program}" if filled and filled.program else ENGINE,
        )

    def summary(self) -> str:
        """Return what was done, for people."""
        filled = self._filled
        if self._settings.poll and self._download is not None:
            return f"{self._download.place} has {self._digest}."
        assert filled is not None
        what = (
            f"{filled.files} files of {filled.size} bytes"
            if self._settings.archive
            else f"The disk has {filled.size} bytes"
        )
        checksum = self._settings.checksum
        came = f" from {self._download.place}, {self._download.received} bytes came" if self._download else ""
        if self._taken.checksum:
            came = f" from an upload of {self._taken.bytes} bytes, {self._taken.checksum}"
        compared = f"; its {checksum.algorithm} is the one that was asked for" if checksum and self._download else ""
        return f"{what} ({filled.form}){came}{compared}; {filled.proof}."

    def _receive(self) -> Filled:
        """Wait for somebody who sends it. Raises Misconfigured and Stopped."""
        from datamover.agent.importer.upload import session

        settings, given = self._settings, self._given
        receiver = session.open_receiver(
            given.environ, place=settings.place, archive=settings.archive, stop=given.stop, say=given.say
        )
        filled, self._taken = session.receive(
            receiver,
            lambda offer: self._filling.fill(offer.pieces(), length=offer.body.length),
            report=self.report,
            say=given.say,
        )
        return filled

    def _poll(self) -> str:
        """Ask which version of the object there is, and read none of it. Raises Failure and Stopped."""
        download = self._download = self._prepare()
        try:
            download.open()
        finally:
            download.close()
        if not download.digest:
            raise Failure(
                transfer.CONFIG,
                transfer.REASON_INVALID_CONFIGURATION,
                f"{download.place} has neither an ETag nor a time of change (Last-Modified), so nobody can tell when there is another one. Let the server say "
                "one of them, or say by annotation which digest is wanted.",
            )
        return download.digest

    def _fetch(self) -> Filled:
        """Read the object, from its beginning once more where it changes under our hands. Raises Failure and Stopped."""
        download = self._download = self._prepare()
        try:
            for left in reversed(range(_BEGINNINGS)):
                download.open()
                try:
                    return self._filling.fill(download.pieces(), length=download.length, framed=download.framed)
                except ChangedError as changed:
                    self._given.say(f"{changed}. It is read from its beginning once more.")
                    if not left:
                        raise Failure(
                            transfer.SOURCE_CHANGED,
                            transfer.REASON_SOURCE_CHANGED,
                            f"{changed}; and so it went {_BEGINNINGS} times. Look at the server, or at what stands before it: an object that is served whole and does not"
                            " change can be read.",
                        ) from None
            raise AssertionError
        finally:
            download.close()

    def _prepare(self) -> Download:
        settings, given = self._settings, self._given
        try:
            secret = headers.read_secret(settings.place(importer.SECRET_HEADERS_PATH))
        except headers.HeaderError as error:
            raise Misconfigured(f"A header of secretExtraHeaders cannot be sent: {error}.") from None
        return Download(
            settings,
            context=trust.build_context(
                settings.place(importer.CERTIFICATES_PATH), any_certificate=settings.any_certificate
            ),
            environ=given.environ,
            secret_headers=secret,
            stop=given.stop,
            report=self.report,
            monotonic=time.monotonic,
            say=given.say,
        )
