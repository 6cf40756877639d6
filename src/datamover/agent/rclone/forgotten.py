# ruff: noqa: PTH115, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Whether the store has what was sent over an older object: some acknowledge an overwrite and go on to serve what was there (law L4).

A size of its own shows most changes. One that keeps the size shows in the MD5 alone: where the listing after the run has the one that a run before
recorded, although the engine found that the contents differ, the file is read once more and decides. So an object that somebody had replaced
meanwhile, and that is now what it was, is not held against the store, nor what is sent in any case because the user wants it so.

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
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.verify import mismatched

_CHUNK = 1 << 20
_EXAMPLES = 5


class Forgotten(msgspec.Struct):
    """Files whose older contents are still there: how many, and the first few names."""

    count: int = 0
    examples: list[str] = []

    def failure(self, *, place: str, deleted: int) -> Failure | None:
        """Return what that means, if any; `deleted` is the number of objects that the attempt has deleted before."""
        if not self.count:
            return None
        return mismatched(
            f"{place} still has the older contents of {self.count} file(s) whose new ones were sent and acknowledged: {printing.quote_names(self.examples, self.count)}",
            direct=False,
            problems=tuple(self.examples),
            deleted=deleted,
        )


def find_forgotten(ledger: Ledger, *, source: bytes, frozen: bool, tick: Callable[[], None]) -> Forgotten:
    """Return which of the files that the ledger has as `stood` are not what lies at the store. `frozen`: the source is a copy that nobody writes to;
    of another one, what has changed since the walk is not judged. `tick` is called for each piece that is read, and may raise.
    """
    result = Forgotten()
    for key, md5 in ledger.stood():
        if file_md5(source, key, tick=tick) == md5 or not (frozen or not has_changed(source, key, ledger)):
            continue
        result.count += 1
        if len(result.examples) < _EXAMPLES:
            result.examples.append(printing.readable(key))
    return result


def file_md5(source: bytes, key: bytes, *, tick: Callable[[], None]) -> bytes | None:
    """Return the MD5 (16 bytes) of what the engine makes an object of this key of: a file's bytes, or a link's target. None for what cannot be read."""
    from hashlib import md5  # what is only needed now and then is not paid for at the start

    raw = source + b"/" + names.raw_of(key)
    if key.endswith(names.LINK_SUFFIX):
        with suppress(OSError, ValueError):
            return md5(os.readlink(raw.removesuffix(names.LINK_SUFFIX)), usedforsecurity=False).digest()
    found = md5(usedforsecurity=False)
    try:
        with open(os.open(raw, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            while piece := file.read(_CHUNK):
                found.update(piece)
                tick()
    except (OSError, ValueError):
        return None
    return found.digest()
