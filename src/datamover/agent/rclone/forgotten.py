# ruff: noqa: PTH115, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Whether the store has what was sent over an older object: some acknowledge an overwrite and go on to serve what was there (law L4).

A size of its own shows most changes. One that keeps the size shows in the MD5 alone: where the listing after the run has the one that a run before
recorded, although the engine found that the contents differ, the file is read once more and decides. So an object that somebody had replaced
meanwhile, and that is now what it was, is not held against the store, nor what is sent in any case because the user wants it so.

A file that cannot be read, or is not what the walk met any more, says nothing about the store: then that is told.

Caveats: nothing is said of objects that the store has no MD5 of, or that no run before had one of.
"""

import os
from collections.abc import Callable
from contextlib import suppress

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files import names
from datamover.agent.rclone.changes import has_changed
from datamover.agent.rclone.deleting import tell_deletions
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.verify import mismatched
from datamover.api import transfer

_CHUNK = 1 << 20
_EXAMPLES = 5
Tick = Callable[[int, int], None]
"""Hears how many files and bytes were read so far; may raise."""


class Those(msgspec.Struct):
    """Some files: how many, and the first few names."""

    count: int = 0
    examples: list[str] = []

    def add(self, key: bytes, *, about: str = "") -> None:
        """Take one more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(printing.readable(key) + about)

    def __str__(self) -> str:
        return printing.quote_names(self.examples, self.count)


class Judgement(msgspec.Struct):
    """Of the files in question: whose older contents are still there, which cannot be read, and which have changed since the walk."""

    forgotten: Those = msgspec.field(default_factory=Those)
    unreadable: Those = msgspec.field(default_factory=Those)
    changed: Those = msgspec.field(default_factory=Those)

    def failure(self, *, place: str, deleted: int) -> Failure | None:
        """Return what that means, if anything; `deleted` is the number of objects that the attempt has deleted before."""
        if self.forgotten.count:
            return mismatched(
                f"{place} still has the older contents of {self.forgotten.count} file(s) whose new ones were sent and acknowledged: {self.forgotten}",
                direct=False,
                problems=tuple(self.forgotten.examples),
                deleted=deleted,
            )
        if self.unreadable.count:
            return Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_SOURCE_UNREADABLE,
                f"{place} may still have the older contents of {self.unreadable.count} file(s) that were sent, and that cannot be told, because they cannot be"
                f" read any more: {self.unreadable}. {tell_deletions(deleted)}. It is tried again; if it comes back, look at the volume and at its node.",
                problems=tuple(self.unreadable.examples),
                retryable=True,
            )
        if self.changed.count:
            return Failure(
                transfer.SOURCE_CHANGED,
                transfer.REASON_SOURCE_CHANGED,
                f"{self.changed.count} file(s) of the copy of the volume changed while it was backed up, so it cannot be told whether {place} has them as they"
                f" are: {self.changed}. {tell_deletions(deleted)}. It is tried again; if it comes back, find out what writes to the copy.",
                problems=tuple(self.changed.examples),
            )
        return None


def find_forgotten(ledger: Ledger, *, source: bytes, frozen: bool, tick: Tick) -> Judgement:
    """Return which of the files that the ledger has as `stood` are not what lies at the store. `frozen`: the source is a copy that nobody writes to;
    of another one, what has changed since the walk is not judged.
    """
    result = Judgement()
    files = size = 0

    def read(piece: int) -> None:
        nonlocal size
        size += piece
        tick(files, size)

    for key, md5 in ledger.stood():
        trouble = ""
        try:
            same = file_md5(source, key, tick=read) == md5
        except (OSError, ValueError) as error:
            same, trouble = False, getattr(error, "strerror", None) or type(error).__name__
        files += 1
        tick(files, size)
        # what the walk did not meet, as behind a link that the engine follows, cannot be told to have changed
        changed = ledger.walked_as(key) is not None and has_changed(source, key, ledger)
        if same or (not frozen and has_changed(source, key, ledger)):
            continue
        if trouble:
            result.unreadable.add(key, about=f" ({trouble})")
        else:
            (result.changed if changed else result.forgotten).add(key)
    return result


def file_md5(source: bytes, key: bytes, *, tick: Callable[[int], None]) -> bytes:
    """Return the MD5 (16 bytes) of what the engine makes an object of this key of: a file's bytes, or a link's target. `tick` hears of each piece how many
    bytes it has. Raises OSError or ValueError for what cannot be read.
    """
    from hashlib import md5  # what is only needed now and then is not paid for at the start

    raw = source + b"/" + names.raw_of(key)
    if key.endswith(names.LINK_SUFFIX):
        with suppress(OSError, ValueError):
            return md5(os.readlink(raw.removesuffix(names.LINK_SUFFIX)), usedforsecurity=False).digest()
    found = md5(usedforsecurity=False)
    with open(os.open(raw, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        while piece := file.read(_CHUNK):
            found.update(piece)
            tick(len(piece))
    return found.digest()
