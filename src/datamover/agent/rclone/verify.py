# ruff: noqa: PTH116, PTH118  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Proving that everything arrived: a listing of the destination is compared with the walk, names and sizes. More is in `check`."""

import os
import stat
from collections.abc import Sequence

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files import names
from datamover.agent.rclone.changes import has_changed
from datamover.agent.rclone.deleting import GONE, tell_deletions
from datamover.agent.rclone.ledger import Ledger
from datamover.api import transfer

_EXAMPLES = 5


class Comparison(msgspec.Struct):
    """What a listing after the run showed. Counts, and the first few names.

    `vanished` are the files that went from a live source and are not at the destination, `outlived` those of which it has an older object.
    `still` are those that did not arrive as they are although they look as the walk met them: then it is not the source that changed.
    """

    missing: int = 0
    differing: int = 0
    still: int = 0
    vanished: list[bytes] = []
    outlived: list[bytes] = []
    changed: int = 0
    examples: list[str] = []

    @property
    def amiss(self) -> int:
        """How many files did not arrive as they are."""
        return self.missing + self.differing


def compare(ledger: Ledger, *, source: bytes, frozen: bool) -> Comparison:
    """Compare the ledger's two sides after the run. What changed in the source meanwhile is not held against the copy.

    A file that is gone from a live source, or has now the size that arrived, is no mismatch; one that was gone and is back is. `frozen`: the source is a copy that nobody
    writes to, so what is gone from it is one. So is what cannot be looked at, anywhere (law L4).
    """
    result = Comparison()
    for key, size, after in ledger.amiss():
        now, trouble = None, ""
        try:
            now = _look(source, names.raw_of(key))
        except OSError as error:
            trouble = f"; its file cannot be looked at: {error.strerror or type(error).__name__}"
        if now is None and not trouble and not frozen:
            (result.vanished if after is None else result.outlived).append(key)
        elif now is not None and now == after != size:  # else it was gone meanwhile, and the object may be an older one
            result.changed += 1
        else:
            result.missing += after is None
            result.differing += after is not None
            result.still += not has_changed(source, key, ledger)
            if len(result.examples) < _EXAMPLES:
                shown = f"{size} bytes, {after} arrived" if after is not None else "missing"
                if now is None and not trouble:
                    trouble = "; its file is gone from the copy of the volume"
                result.examples.append(f"{printing.readable(key)} ({shown}{trouble})")
    return result


def _look(source: bytes, raw: bytes) -> int | None:
    """Return the size that a path of the source has now, None when it is gone. Raises OSError when that cannot be told."""
    if raw.endswith(names.LINK_SUFFIX):
        size = _size_now(os.path.join(source, raw.removesuffix(names.LINK_SUFFIX)), link=True)
        if size is not None:
            return size
    return _size_now(os.path.join(source, raw), link=False)


def _size_now(path: bytes, *, link: bool) -> int | None:
    """Return the size of a file or link; None when there is no such thing (any more). Links are only followed for a file."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return status.st_size if link else os.stat(path).st_size
    except OSError as error:
        if error.errno in GONE:
            return None
        raise
    return None if link else status.st_size


def mismatch(result: Comparison, *, place: str, direct: bool, deleted: int = 0) -> Failure | None:
    """Return the failure that a comparison means, if any; `deleted` is the number of objects that the attempt has deleted before it."""
    if not result.amiss:
        return None
    return mismatched(
        f"{result.missing} files are missing at {place} and {result.differing} have another size: {', '.join(result.examples)}",
        direct=direct and not result.still,
        problems=tuple(result.examples),
        deleted=deleted,
    )


def not_deleted(examples: Sequence[str], *, place: str) -> Failure:
    """Return the failure that deleted objects mean which are still listed."""
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        f"{place} still has objects that were just deleted: {', '.join(examples)}. Everything of the source is there. Look at the store (a lock or"
        " retention on objects?) and at what else writes there.",
        problems=tuple(examples),
    )


def not_of_this_copy(examples: Sequence[str], count: int, *, place: str) -> Failure:
    """Return the failure that objects in a timestamped folder mean which the source does not have."""
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        f"{place} holds {count} object(s) that are not of this copy: {', '.join(examples)}. Everything of the source is there. Find out what else"
        " writes into this folder and remove them, then run again; nothing was deleted.",
        problems=tuple(examples),
    )


def mismatched(finding: str, *, direct: bool, problems: tuple[str, ...], deleted: int = 0) -> Failure:
    """Return the failure that a `finding` means; `deleted` as for `mismatch`."""
    before = tell_deletions(deleted)
    if direct:
        return Failure(
            transfer.SOURCE_CHANGED,
            transfer.REASON_SOURCE_CHANGED,
            f"{finding}. The source was written to meanwhile: back up a clone or a snapshot instead (copyMethod), or stop what writes."
            f" {before}.",
            problems=problems,
        )
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        f"{finding}. {before}. Run again; if it comes back, look at the server and at what else writes there.",
        problems=problems,
    )
