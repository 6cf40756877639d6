"""Headers that an object adds to its requests: from its spec, and from Secrets that are mounted."""

import os
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from datamover.api import outside

_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_OURS: Final = frozenset(
    {"host", "range", "if-range", "content-length", "transfer-encoding", "connection", "accept-encoding", "expect"}
)
"""What a request says by itself. Another value would let the server send something else than what is read."""
_MOST: Final = 64
_LONGEST: Final = 1 << 14

Header = tuple[str, str]


class HeaderError(ValueError):
    """A header cannot be sent. The message goes on a sentence, and never quotes a value, which may be a secret."""


def parse(line: str) -> Header:
    """Return name and value of `Name: value`. Raises HeaderError."""
    name, colon, value = line.strip().partition(":")
    value = value.strip()
    if not colon or not _NAME.fullmatch(name):
        raise HeaderError("it is not `Name: value`")
    if name.lower() in _OURS:
        raise HeaderError(f"{name} is what the importer says itself")
    if len(value) > _LONGEST or not value.isprintable() or not value.isascii():
        raise HeaderError(f"the value of {name} has other letters than ASCII's, or too many")
    return name, value


def parse_list(text: str) -> tuple[Header, ...]:
    """Return the headers of a JSON list. Raises HeaderError."""
    if not text:
        return ()
    try:
        lines = msgspec.json.decode(text, type=list[str])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise HeaderError("it is no JSON list of texts") from None
    return _parse_all(lines)


def read_secret(folder: str) -> tuple[Header, ...]:
    """Return the headers that the Secrets below `folder` hold: each of their values is one. Raises HeaderError."""
    lines: list[str] = []
    try:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - start-up budget
            inner = f"{folder}/{name}"
            # a kubelet's own links begin with two dots
            for key in sorted(each for each in os.listdir(inner) if not each.startswith("..")):  # noqa: PTH208
                with open(f"{inner}/{key}", "rb") as file:  # noqa: PTH123
                    raw = file.read(outside.RECORD_LIMIT + 1)
                if len(raw) > outside.RECORD_LIMIT:
                    raise HeaderError("a value is longer than any header")
                lines.append(raw.decode("ascii", "replace"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise HeaderError(f"they cannot be read: {error.strerror}") from None
    return _parse_all(lines)


def _parse_all(lines: Iterable[str]) -> tuple[Header, ...]:
    found = tuple(parse(line) for line in lines if line.strip())
    if len(found) > _MOST:
        raise HeaderError(f"there are more than {_MOST}")
    return found
