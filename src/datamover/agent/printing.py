"""Names and sentences as people, terminals and JSON can take them. Pure."""

import re
from collections.abc import Iterable, Sequence

from datamover.api import outside
from kubekit.words.text import SHAPELESS

_TRICKS = re.compile(SHAPELESS)
_EXAMPLES = 3


def readable(raw: bytes) -> str:
    r"""Return a name as people, terminals and JSON can take it, on one line: bytes that are not UTF-8 as `\xff`, control characters and those
    that turn the direction of writing as `\x1b` or `\u202e`.
    """
    return printable(raw.decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    r"""Return text in which nothing plays tricks on a terminal and which can be encoded: what `readable` escapes comes escaped."""
    return _TRICKS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    # the former is a byte of a path
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ascii(match[0])[1:-1]


def shorten(texts: Iterable[str], *, limit: int = outside.NAME_LIMIT) -> tuple[str, ...]:
    """Return the texts clean, each cut to `limit` letters (names in file systems need not be UTF-8, nor harmless)."""
    return tuple(outside.clean(text.encode("utf-8", "backslashreplace").decode(), limit=limit) for text in texts)


def quote_names(examples: Sequence[str], count: int) -> str:
    """Return the first few names, quoted, and how many more there are."""
    first = ", ".join(
        f"'{name if len(name) <= 120 else name[:60] + '…' + name[-50:]}'" for name in examples[:_EXAMPLES]
    )
    more = count - min(len(examples), _EXAMPLES)
    return f"{first} and {more} more" if more > 0 else first
