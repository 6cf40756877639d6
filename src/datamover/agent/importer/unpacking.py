"""Streams that come packed: gzip and xz, in pieces of limited size and with limited memory. Pure.

How much comes out is bounded by whoever takes it: a bomb is nothing but a disk that does not fit.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from datamover.agent.importer import formats

PIECE: Final = 1 << 20
MEMORY: Final = 192 << 20
"""Bytes for the dictionary of xz; its highest preset wants 65 MiB."""
_BITE: Final = 1 << 14
"""Bytes that a decompressor gets at a time. What it does not take is copied for each member of a stream, of which there may be one in 20 bytes."""


class UnpackingError(Exception):
    """A packed stream is damaged, or wants too much. The message goes on a sentence: `its gz data are cut off`."""


class GreedyError(UnpackingError):
    """A packed stream is whole as far as anybody knows, and wants more memory than it gets."""


class _Gzip:
    """zlib's decompressor with the manners of lzma's: what it has not taken yet it keeps itself."""

    def __init__(self) -> None:
        import zlib

        self._inflate = zlib.decompressobj(31)  # with gzip's header and checksum

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def unpack(pieces: Iterable[bytes], packed: str) -> Iterator[bytes]:
    """Yield what is packed as `packed` (`formats.GZIP`, `formats.XZ`), `PIECE` bytes at a time and fewer at the end. All of `pieces` is taken. Raises UnpackingError."""
    room = bytearray()
    for piece in _unpack((given[at : at + _BITE] for given in pieces for at in range(0, len(given), _BITE)), packed):
        room += piece
        while len(room) >= PIECE:
            yield bytes(memoryview(room)[:PIECE])
            del room[:PIECE]
    if room:
        yield bytes(room)


def _unpack(pieces: Iterable[bytes], packed: str) -> Iterator[bytes]:
    import lzma
    import zlib

    decoder = _begin(packed)
    begun = False
    for given in pieces:
        data = given
        try:
            while True:
                if decoder.eof:
                    # zeros may follow for alignment; whatever else does is another member
                    data = (decoder.unused_data if begun else b"") + data
                    begun = False
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    decoder = _begin(packed)
                begun = True
                piece = decoder.decompress(data, PIECE)
                data = b""
                if piece:
                    yield piece
                if decoder.eof:
                    continue
                if decoder.needs_input and len(piece) < PIECE:
                    break
        except zlib.error as error:
            raise UnpackingError(f"its {packed} data are damaged: {error}") from None
        except lzma.LZMAError as error:
            if "emory" in str(error):
                raise GreedyError(
                    f"its {packed} data want more than {MEMORY >> 20} MiB of memory; pack it with a smaller dictionary (`xz -9` has 64 MiB)"
                ) from None
            raise UnpackingError(f"its {packed} data are damaged: {error}") from None
    if not decoder.eof:
        raise UnpackingError(f"its {packed} data are cut off")


def _begin(packed: str) -> "_Gzip | _Xz":
    return _Gzip() if packed == formats.GZIP else _Xz()


class _Xz:
    """lzma's own decompressor, bounded."""

    def __init__(self) -> None:
        import lzma

        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    @property
    def needs_input(self) -> bool:
        return self._decoder.needs_input

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._decoder.decompress(data, max_length)
