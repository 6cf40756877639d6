"""What a mirror would lose by this run: whether the listing can be believed, and whether too much of the source is gone (law L3)."""

import os

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.rclone import guards, rotation
from datamover.agent.rclone.attempt import Attempt
from datamover.agent.rclone.options import without_filters
from datamover.api import outside, transfer

_EXAMPLES = 3
_ASKED = 1000
"""How many objects that the listing does not show are asked for by name, at most."""


class LossCheck:
    """See the module. The attempt's ledger must know the source, the earlier runs, and what lies at the destination."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    def check_losses(self, found: guards.Mirror) -> Failure | None:
        """Ask whether too much would be lost; where it seems so, find out what was renamed or is followed by another file, and ask again."""
        gone, gone_bytes = self._attempt.ledger.lost()
        found = msgspec.structs.replace(found, gone=gone, gone_bytes=gone_bytes)
        failure = self._check_size(found)
        if gone and failure and failure.reason == transfer.REASON_SOURCE_SHRUNK:
            failure = self._check_size(self._with_followed(found))
        if gone and failure and failure.reason == transfer.REASON_SOURCE_SHRUNK:
            self._find_renamed()
            gone, gone_bytes = self._attempt.ledger.lost()
            found = msgspec.structs.replace(found, gone=gone, gone_bytes=gone_bytes)
            failure = self._check_size(self._with_followed(found))
        return failure

    def _check_size(self, found: guards.Mirror) -> Failure | None:
        limit = self._attempt.options.data.get("RCLONE_MAX_DELETE", "").strip()
        return guards.check_source_size(
            found,
            allow_empty=self._attempt.settings.allow_empty,
            max_delete_percent=self._attempt.settings.max_delete_percent,
            max_delete=outside.integer(limit, low=-1)
            if limit
            else None,  # what it may be was looked at when it was read
        )

    def _with_followed(self, found: guards.Mirror) -> guards.Mirror:
        if found.gone > rotation.MOST:
            return found
        followed = rotation.find_followed(tuple(self._attempt.ledger.gone()), self._attempt.ledger.fresh())
        return msgspec.structs.replace(found, followed=len(followed), followed_bytes=sum(size for _, size in followed))

    def _find_renamed(self) -> None:
        """Compare the checksums of what is gone and of new files of the same sizes, which are read for that: nothing else proves a new name."""
        gone, fresh = self._attempt.ledger.alike()
        sums = tuple(self._attempt.destination.checksums(gone))
        if not sums:
            return
        self._attempt.say(
            "Many files are gone. Reading new ones of the same sizes, to see whether they have only been renamed."
        )
        read = self._attempt.destination.checksums(
            fresh,
            source=os.fsdecode(self._attempt.source),
            environment=without_filters(self._attempt.data_environment()),
            told=self._attempt.report.checked,
        )
        self._attempt.ledger.pair_renamed(sums, read)

    def check_listing(self) -> Failure | None:
        """Ask by name for what the mirror wrote and the listing does not show: it is gone, or the listing is not whole."""
        unseen = tuple(self._attempt.ledger.unseen(limit=_ASKED))
        if not unseen:
            return None
        asked = frozenset(unseen)
        there = [key for key, _ in self._attempt.destination.find(unseen).lines() if key in asked]
        shown = tuple(printing.readable(key) for key in there[:_EXAMPLES])
        return guards.check_listing(shown, len(there), self._attempt.destination.place)
