r"""Reading what comes from outside: within limits, decoded in one place, and trusted only as far as it is proved (law L11). Pure.

Outside means everything that somebody else can write: termination messages and logs of movers, objects and listings at a store, answers of
the engine, values of annotations and Secrets. All code that reads such data uses the readers of this module:

`Decoder`    JSON into a struct, with checks of its size, depth and encoding. Numbers in that struct are `Count` or `Whole`, so they fit 64 bits
`clean`      text for people: limited in length, without characters that move the cursor, hide text or reverse its direction
`integer`    a whole number from text: ASCII digits and a sign, nothing else (`"²".isdigit()` is true, and `int("²")` fails)
`number`     the same with a fraction
`known`      a word from a fixed list
`unpack`     gzip data, in pieces of limited size
`lines`      lines, none of them longer than the limit

Errors: `Unusable`, and nothing else. All limits are constants of this module.

Only msgspec and the standard library are imported, and nothing slow: the agent reads this at every start.
"""

import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Final, Generic, TypeVar

import msgspec

from kubekit.words.text import clean

_T = TypeVar("_T")

# --- limits --------------------------------------------------------------------------------------------------------

INT64: Final = (1 << 63) - 1
"""The largest number in a field of the Kubernetes API, in SQLite, in a size."""
RECORD_LIMIT: Final = 1 << 16
"""Bytes of a record that says one thing: owner, claim, folder, outcome. Ours have a few hundred; a name in it has at most 4,096."""
MANIFEST_LIMIT: Final = 1 << 33
"""Bytes of a packed manifest: about 40 a file, so two hundred million files."""
LISTING_LIMIT: Final = 1 << 30
"""Objects of a listing: more than any file system holds that a mover can read within a day."""
LOG_LINE_LIMIT: Final = 1 << 20
"""Bytes of a line of the engine's log, which quotes answers of the server."""
ANSWER_LIMIT: Final = 1 << 28
"""Bytes of an answer of the engine to a small request: the records of a million runs."""
WORD_LIMIT: Final = 1 << 14
"""Bytes of a line of JSON that a mover writes for the operator. The kubelet keeps 4,096 of a termination message."""
LINE_LIMIT: Final = 1 << 23
"""Bytes of a line of a manifest or a listing. The longest name has 4,096; what takes more are extended attributes, in base64."""
DEPTH_LIMIT: Final = 64
"""Depth of nested JSON. Our own records have three levels."""
DIGITS_LIMIT: Final = 40
"""Characters of a number given as text."""
NAME_LIMIT: Final = 200
"""Characters of one name within such a sentence."""
UNPACKED_RATIO: Final = 400
"""How many bytes one compressed byte of a manifest may expand to. The most regular trees that were tried reach 210; a decompression bomb 1,000."""
UNPACKED_FLOOR: Final = 1 << 20
"""Bytes that are always unpacked, before the ratio is checked."""
PIECE: Final = 1 << 16
"""Size of one unpacked piece, in bytes."""

Count = Annotated[int, msgspec.Meta(ge=0, le=INT64)]
"""A size or a number of things in a struct that is decoded."""
Whole = Annotated[int, msgspec.Meta(ge=-INT64, le=INT64)]
"""A number in such a struct that may be negative."""


class Unusable(ValueError):  # noqa: N818 - it is the word for what came
    """What came from outside cannot be used. The message goes on a sentence: `it is longer than 65536 bytes`. What it quotes is clean."""


# --- JSON ----------------------------------------------------------------------------------------------------------

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]+|[\]}]+', re.DOTALL)


class Decoder(Generic[_T]):
    """Reads JSON into `kind`, a struct. Create one decoder for each kind, next to it; it is safe to share between threads."""

    def __init__(self, kind: type[_T], *, limit: int = RECORD_LIMIT) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._limit = limit

    def __call__(self, raw: bytes) -> _T:
        """Return what `raw` says. Raises Unusable."""
        if len(raw) > self._limit:
            raise Unusable(f"it is longer than {self._limit} bytes")
        if raw.count(b"[") + raw.count(b"{") > DEPTH_LIMIT and _depth(raw) > DEPTH_LIMIT:
            raise Unusable(f"it has more than {DEPTH_LIMIT} brackets within each other")
        try:
            return self._decode(raw)
        except msgspec.ValidationError as error:
            raise Unusable(f"it does not fit: {clean(str(error), limit=NAME_LIMIT)}") from None
        except UnicodeError:
            raise Unusable("it is not UTF-8") from None
        except (msgspec.MsgspecError, ValueError, RecursionError):
            # a number of thousands of digits is a ValueError of Python's own
            what = "a web page" if is_page(raw) else "no JSON, or only a part of it"
            raise Unusable(f"it is {what}") from None


def _depth(raw: bytes) -> int:
    """Return the greatest number of brackets open at the same time; those within strings do not count."""
    deepest = now = 0
    for found in _BRACKETS.finditer(raw):
        token = found[0]
        if token[0] in b"[{":
            now += len(token)
            deepest = max(deepest, now)
        elif token[0] in b"]}":
            now -= len(token)
    return deepest


def is_page(raw: bytes) -> bool:
    """Tell whether this is HTML: a web server, a proxy or a login page answered instead of a store."""
    start = raw[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


# --- numbers and words ---------------------------------------------------------------------------------------------

_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def integer(text: str | bytes, *, low: int = 0, high: int = INT64) -> int:
    """Return the whole number that a text is, of ASCII digits and perhaps a sign. Raises Unusable when it is none from `low` to `high`."""
    word = text.decode("latin-1") if isinstance(text, bytes) else text
    if len(word) > DIGITS_LIMIT or not _INTEGER.fullmatch(word) or not low <= (found := int(word)) <= high:
        raise Unusable(f"it is no whole number from {low} to {high}")
    return found


def number(text: str, *, low: float, high: float) -> float:
    """Return the number that a text is, in ASCII: `1`, `.5`, `2e3`. Raises Unusable when it is none from `low` to `high`."""
    if len(text) > DIGITS_LIMIT or not _NUMBER.fullmatch(text) or not low <= (found := float(text)) <= high:
        raise Unusable(f"it is no number from {low:g} to {high:g}")
    return found


def known(word: str, among: Collection[str], *, otherwise: str) -> str:
    """Return the word when it is in the list, else `otherwise`: unknown words are never repeated."""
    return word if word in among else otherwise


# --- streams -------------------------------------------------------------------------------------------------------


def unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the unpacked contents of concatenated gzip members, at most `PIECE` bytes at a time.

    Raises Unusable when they are damaged, cut off, or become more than `UNPACKED_RATIO` times their size.
    """
    inflate = zlib.decompressobj(31)  # 31: with gzip's header and checksum
    packed = unpacked = 0
    begun = False
    for chunk in chunks:
        packed += len(chunk)
        rest = chunk
        while rest:
            if inflate.eof:
                inflate = zlib.decompressobj(31)
            begun = True
            try:
                piece = inflate.decompress(rest, PIECE)
            except zlib.error as error:
                raise Unusable(f"it cannot be unpacked: {error}") from None
            unpacked += len(piece)
            if unpacked > UNPACKED_FLOOR + UNPACKED_RATIO * packed:
                raise Unusable(f"it becomes more than {UNPACKED_RATIO} times its size when it is unpacked")
            if piece:
                yield piece
            rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
            while (
                not inflate.eof and not rest and len(piece) == PIECE
            ):  # all was taken, and there may be more of it inside
                piece = inflate.decompress(b"", PIECE)
                unpacked += len(piece)
                if piece:
                    yield piece
    if not begun or not inflate.eof:
        raise Unusable("it is cut off" if begun else "it is empty")


def lines(pieces: Iterable[bytes], *, limit: int = LINE_LIMIT) -> Iterator[bytes]:
    """Yield the lines without their ends, the last one also when it has no end. Raises Unusable when one is longer than `limit` bytes."""
    rest = b""
    for piece in pieces:
        *whole, tail = piece.split(b"\n")
        if whole:
            whole[0] = rest + whole[0]
            rest = b""
            if max(map(len, whole)) > limit:
                break
            yield from whole
        rest += tail
        if len(rest) > limit:
            break
    else:
        if rest:
            yield rest
        return
    raise Unusable(f"it has a line longer than {limit} bytes")
