"""The answer to the API server that asks about a DataVolume: which annotations it gets while it is created.

Guarantees: everything is allowed; what is odd, unknown or not of ours goes through as it is. The stamp is decided from caches, and not set before they
are filled: the controller does it later then. A permit that users write themselves is taken away. Where an annotation more would have the API server refuse the
DataVolume, nothing is changed.
"""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.outside import Unusable
from datamover.volumes.asking import stamp_new
from datamover.volumes.collection_time import Lifetime
from datamover.webhook.requester import Requesters
from datamover.webhook.review import NewVolume, Question, read_question, read_volume, write_answer
from kubekit.words.meta import ANNOTATIONS_LIMIT, bytes_of_annotations

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of a question. Stable: the metric counts by them."""

    STAMPED = "stamped"
    UNCHANGED = "unchanged"
    UNREADY = "unready"
    """The caches were not filled yet."""
    UNREADABLE = "unreadable"
    FAILED = "failed"
    """A fault of ours."""


Lifetimes = Callable[[str], Lifetime | None]
"""Given a namespace: how long completed DataVolumes stay there; None while that is not known."""
Count = Callable[[Outcome], None]


class Stamper:
    """Answers questions."""

    def __init__(self, lifetimes: Lifetimes | None, *, requesters: Requesters | None = None, count: Count) -> None:
        """Without `lifetimes` nothing is stamped; `requesters` are asked about where DataVolumes are filled by us."""
        self._lifetimes: Final = lifetimes
        self._requesters: Final = requesters
        self._count: Final = count

    async def answer(self, body: bytes, *, trusted: bool) -> bytes:
        """Return the answer to a question. `trusted`: it is certain that the API server asks. Raises Unusable where nobody could be answered."""
        try:
            question = read_question(body)
        except Unusable:
            self._count(Outcome.UNREADABLE)
            raise
        try:
            return await self._judge(question, trusted=trusted)
        except Exception:  # noqa: BLE001 - nobody's DataVolume is to be refused because of a fault of ours
            _log.exception("an admission could not be judged")
            self._count(Outcome.FAILED)
            return write_answer(question, changes={})

    async def _judge(self, question: Question, *, trusted: bool) -> bytes:
        asked = question.resource
        if (asked.group, asked.resource) != (DATA_VOLUMES.group, DATA_VOLUMES.plural) or question.operation != "CREATE" or question.sub_resource:  # fmt: skip
            self._count(Outcome.UNCHANGED)
            return write_answer(question, changes={})
        try:
            volume = read_volume(question)
        except Unusable as error:
            _log.warning("a DataVolume of namespace %s is let through unread: %s", question.namespace[:63], error)
            self._count(Outcome.UNREADABLE)
            return write_answer(question, changes={})
        stamp, outcome = self._stamp(question, volume)
        permit = await self._permit(question, volume) if trusted else {}
        changes = {**stamp, **permit}
        there = volume.metadata.annotations or {}
        if not _fits(there, changes):
            # the API server would refuse the DataVolume for what we write on it; what is taken away is no proof without a signature
            _log.warning("a DataVolume of namespace %s has no room for another annotation", question.namespace[:63])
            changes, outcome = {}, Outcome.UNCHANGED
        self._count(outcome)
        return write_answer(question, volume=volume, changes=changes)

    def _stamp(self, question: Question, volume: NewVolume) -> tuple[dict[str, str], Outcome]:
        if self._lifetimes is None:
            return {}, Outcome.UNCHANGED
        lifetime = self._lifetimes(question.namespace)
        if lifetime is None:
            return {}, Outcome.UNREADY
        stamp = stamp_new(volume.metadata.annotations or {}, lifetime)
        return stamp, Outcome.STAMPED if stamp else Outcome.UNCHANGED

    async def _permit(self, question: Question, volume: NewVolume) -> dict[str, str | None]:
        if self._requesters is None:
            return {}
        permit = await self._requesters.find_permit(question, volume)
        said = (volume.metadata.annotations or {}).get(names.CLONE_PERMIT)
        return {names.CLONE_PERMIT: permit} if permit is not None or said is not None else {}


def _fits(there: Mapping[str, str], changes: Mapping[str, str | None]) -> bool:
    after = {key: value for key, value in {**there, **changes}.items() if value is not None}
    return bytes_of_annotations(after) <= max(ANNOTATIONS_LIMIT, bytes_of_annotations(there))
