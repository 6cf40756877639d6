"""What rsync prints: how far it is, what it did, and lines for people. Pure."""

import re
from collections.abc import Iterator

import msgspec

from datamover.api import outside

SUMMARY = re.compile(r"(?>sent.*?bytes)(?>.*?received)(?>.*?bytes)|rsync completed in", re.IGNORECASE)
"""Lines that tell of a success; users search the status for them."""
TROUBLE = re.compile(r"error|fail|rsync", re.IGNORECASE)
"""Lines that tell of a failure."""
LINE = 1 << 14
"""Bytes of a line that are looked at. A name has at most 4,096, each of which may take five when it is written."""

_PROGRESS = re.compile(
    rb"\s*([0-9]{1,20})\s+([0-9]{1,3})%\s+([0-9.]{1,20})([kMGT]?)B/s\s+\S{1,20}(?:\s+\(xfr#[0-9]{1,20}, (?:to|ir)-chk=([0-9]{1,20})/([0-9]{1,20})\))?\s*"
)
_UNITS = {b"": 1, b"k": 1 << 10, b"M": 1 << 20, b"G": 1 << 30, b"T": 1 << 40}
_NUMBERS = {
    "Number of regular files transferred": "transferred",
    "Total file size": "size",
    "Total transferred file size": "transferred_size",
    "Total bytes sent": "sent",
    "Total bytes received": "received",
}
_NUMBER = re.compile(r"([A-Z][a-z A-Z]{3,40}): ([0-9]{1,20})(?: bytes)?(?: \(([a-z0-9:, ]{1,120})\))?")
_KINDS = {"reg": "files", "link": "links", "dir": "folders"}


class Advance(msgspec.Struct, frozen=True, gc=False):
    """How far a pass is. `left` and `total` are files and folders, 0 where rsync has not said it; `speed` in bytes a second."""

    size: int
    percent: int
    speed: float
    left: int = 0
    total: int = 0


class Statistics(msgspec.Struct, frozen=True, gc=False):
    """What rsync did in one or more passes. Sizes in bytes; `files`, `links`, `folders` and `size` are what the source has."""

    files: int = 0
    links: int = 0
    folders: int = 0
    size: int = 0
    transferred: int = 0
    transferred_size: int = 0
    deleted: int = 0
    sent: int = 0
    received: int = 0


def read_advance(line: bytes) -> Advance | None:
    """Return what a line of `--info=progress2 --no-human-readable` says, None for any other line."""
    match = _PROGRESS.fullmatch(line)
    if match is None:
        return None
    size, percent, speed, unit, left, total = match.groups()
    try:
        return Advance(
            size=outside.integer(size),
            percent=min(100, int(percent)),
            speed=outside.number(speed.decode(), low=0, high=1e15) * _UNITS[unit],
            left=outside.integer(left or b"0"),
            total=outside.integer(total or b"0"),
        )
    except outside.Unusable:
        return None


def read_statistics(lines: Iterator[str] | list[str]) -> Statistics:
    """Return what the lines of `--stats --no-human-readable` say; what is missing is 0."""
    found: dict[str, int] = {}
    for line in lines:
        match = _NUMBER.fullmatch(line.strip())
        if match is None:
            continue
        title, number, kinds = match.groups()
        try:
            amount = outside.integer(number)
            if title in _NUMBERS:
                found[_NUMBERS[title]] = amount
            elif title == "Number of deleted files":
                found["deleted"] = amount
            elif title == "Number of files":
                for kind, count in _split_kinds(kinds or ""):
                    found[kind] = outside.integer(count)
        except outside.Unusable:
            continue
    return Statistics(**found)


def _split_kinds(text: str) -> Iterator[tuple[str, str]]:
    """Yield field and number from `reg: 2, dir: 2, link: 1`."""
    for part in text.split(", "):
        kind, _, number = part.partition(": ")
        if kind in _KINDS:
            yield _KINDS[kind], number


def add(one: Statistics, other: Statistics) -> Statistics:
    """Return two passes over the same source as one: what was done is added up, what the source has is that of the pass that saw more."""
    return Statistics(
        files=max(one.files, other.files),
        links=max(one.links, other.links),
        folders=max(one.folders, other.folders),
        size=max(one.size, other.size),
        transferred=one.transferred + other.transferred,
        transferred_size=one.transferred_size + other.transferred_size,
        deleted=one.deleted + other.deleted,
        sent=one.sent + other.sent,
        received=one.received + other.received,
    )


class Splitter:
    """Takes output in pieces and gives whole lines. Progress ends with a carriage return, everything else with a newline."""

    def __init__(self) -> None:
        self._rest = b""
        self._cut = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that have come to an end, or are longer than `LINE`: of those the beginning. What follows could begin within a secret."""
        *whole, self._rest = re.split(rb"[\r\n]", self._rest + piece)
        if self._cut and whole:
            del whole[0]
            self._cut = False
        if self._cut:
            self._rest = b""
        elif len(self._rest) > LINE:
            whole.append(self._rest)
            self._rest, self._cut = b"", True
        return [line[:LINE] for line in whole if line.strip()]

    def end(self) -> list[bytes]:
        """Return what is left when the output has ended."""
        rest, self._rest = self._rest, b""
        return [rest[:LINE]] if rest.strip() else []
