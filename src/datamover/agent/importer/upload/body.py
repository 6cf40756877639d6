"""The bytes of one upload, and what is known of them."""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

from datamover.agent.errors import Failure
from datamover.agent.importer.upload.wire import PIECE, CutError, Wire
from datamover.api import outside, transfer, upload

_SIZE_LINE: Final = 256
_TRAILER: Final = 1 << 13

_WAY_OUT: Final = {
    upload.REASON_CUT: "send it again",
    upload.REASON_TOO_SLOW: "send it again, over a line that is faster or does not break",
    upload.REASON_TOO_LONG: "send it packed (gzip, xz, qcow2) or from nearer, or raise the operator's --datavolume-deadline",
}


class Body:
    """Reads what a client sends, once. `length` is None where it comes in chunks; `wanted` are the digits of its SHA-256, empty where nobody says."""

    def __init__(self, wire: Wire, *, length: int | None, wanted: str) -> None:
        self._wire = wire
        self.length = length
        self._wanted = wanted
        self._digest = hashlib.sha256()
        self.received = 0
        self.complete = False
        """Whether all of it has come, and is what it was to be."""

    @property
    def checksum(self) -> str:
        """What has come so far."""
        return f"sha256:{self._digest.hexdigest()}"

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes. Raises Failure when they are cut off, or are not those that were meant: who takes them must come to the end."""
        try:
            for piece in self._chunks() if self.length is None else self._counted(self.length):
                self._digest.update(piece)
                self.received += len(piece)
                yield piece
        except CutError as error:
            raise Failure(
                transfer.NETWORK,
                error.reason,
                f"The upload was cut after {self.received} bytes: {error}. Nothing of it counts; {_WAY_OUT[error.reason]}.",
            ) from None
        if self._wanted and not hmac.compare_digest(self._digest.hexdigest(), self._wanted):
            raise Failure(
                transfer.VERIFY,
                upload.REASON_CHECKSUM_DIFFERS,
                f"What arrived is {self.checksum} and was to be sha256:{self._wanted}: it was changed on its way, or the file while it was read. "
                "Nothing of it counts; send it again.",
            )
        self.complete = True

    def _counted(self, length: int) -> Iterator[bytes]:
        left = length
        while left:
            piece = self._wire.read(min(left, PIECE))
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := self._read_size():
            yield from self._counted(size)
            if self._wire.read_until(b"\r\n", limit=0) is None:
                raise CutError("a chunk did not end where it said")
        while True:  # trailers say nothing that we want to know
            line = self._wire.read_until(b"\r\n", limit=_TRAILER)
            if line is None:
                raise CutError("its trailers are too long")
            if not line:
                return

    def _read_size(self) -> int:
        line = self._wire.read_until(b"\r\n", limit=_SIZE_LINE)
        text = (line or b"").partition(b";")[0].strip()
        if not text or len(text) > 16 or text.strip(b"0123456789abcdefABCDEF"):
            raise CutError("a chunk does not say its size")
        size = int(text, 16)
        if size > outside.INT64:
            raise CutError("a chunk does not say its size")
        return size
