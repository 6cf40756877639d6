"""What was learnt of each object since the process started, by the object's UID.

Guarantees: losing all of it costs a repetition, nothing else, so it is written down nowhere. `known` is one frozen value, so that a
decision sees one moment. What is not noted takes no memory.
"""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from datamover.api.transfer import Progress
from datamover.plans.known import UNKNOWN, UNSEEN, Diagnosis, Known, OwnersFound, Placement, Refusal, Seen
from datamover.plans.learned import Learned
from datamover.plans.refusals import Attempts
from datamover.plans.steps import Delete, Emit, Plan, ProveStatus
from datamover.plans.watch import UNWATCHED, ProgressWatch, Sample
from kubekit.runtime.clock import Clock
from kubekit.runtime.ratelimit import TokenBucket

S = TypeVar("S")

REMARK_PAUSE = 5.0
"""Seconds between two statuses that say nothing but how a wait goes, once `_REMARKS` of them were written at once."""
_REMARKS = 10
_DELETED = 4096
"""So many deletions are remembered."""
_SLACK = 0.05
"""Seconds added to a wait, so that it is over when the waiter comes back."""


@dataclass(slots=True)
class _Entry:
    """What is remembered of one object. Moments are monotonic seconds."""

    refusal: Refusal | None = None
    refusals: int = 0
    refused_until: float = 0.0
    failures: int = 0
    crashes: int = 0
    conflicts: int = 0
    remarks: TokenBucket | None = None
    seen: Seen = UNSEEN
    told: Emit | None = None
    diagnosis: Diagnosis | None = None
    diagnosed_at: float = 0.0
    placement: Placement | None = None
    placed_at: float = 0.0
    owners: OwnersFound | None = None
    owners_at: float = 0.0
    progress: Progress | None = None
    sampled_at: float | None = None
    watch: ProgressWatch = UNWATCHED


class Memory:
    """Remembers what answers of the API server said about objects."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def known(self, uid: str) -> Known:
        """Return what is known of an object now: ages and waits are counted up to this moment."""
        entry, deleted = self._entries.get(uid), uid in self._deleted
        if entry is None:
            return replace(UNKNOWN, deleted=True) if deleted else UNKNOWN
        now = self._clock.monotonic()
        refusal = entry.refusal
        if refusal is not None:
            left = entry.refused_until - now
            refusal = replace(refusal, fresh=left > 0, retry_after=max(left, 0.0) + _SLACK)
        return Known(
            refusal=refusal,
            diagnosis=entry.diagnosis and replace(entry.diagnosis, age=now - entry.diagnosed_at),
            progress=entry.progress,
            progress_age=None if entry.sampled_at is None else now - entry.sampled_at,
            watch=entry.watch,
            seen=entry.seen,
            placement=entry.placement and replace(entry.placement, age=now - entry.placed_at),
            owners=entry.owners and replace(entry.owners, age=now - entry.owners_at),
            deleted=deleted,
            told=entry.told,
        )

    def attempts(self, uid: str) -> Attempts:
        """Return how often in a row a step was refused, and a reconcile failed."""
        entry = self._entries.get(uid)
        return Attempts() if entry is None else Attempts(entry.refusals, entry.failures)

    def due(self, plan: Plan[S]) -> Plan[S]:
        """Return a plan without the deletions that the server has agreed to already: the watch will tell of them.

        With nothing else to do there is nothing to prove the status for (law L9).
        """
        steps = tuple(
            step for step in plan.steps if not (isinstance(step, Delete) and step.target.uid in self._deleted)
        )
        if len(steps) == len(plan.steps):
            return plan
        return replace(plan, steps=() if all(isinstance(step, ProveStatus) for step in steps) else steps)

    def may_remark(self, uid: str) -> bool:
        """Take one of the writes that say nothing but how a wait goes; False when it is too early for the next one.

        Two replicas whose caches differ correct each other for as long as they do: not faster than people read (law L9).
        """
        entry = self._entry(uid)
        if entry.remarks is None:
            entry.remarks = TokenBucket(1 / REMARK_PAUSE, _REMARKS)
        return entry.remarks.take(self._clock.monotonic())

    # Taking note.

    def learn(self, uid: str, learned: Learned[Any, Any]) -> None:
        """Take note of what carrying out a plan for an object has taught."""
        for deleted in learned.deleted:
            self._deleted[deleted] = None
        while len(self._deleted) > _DELETED:
            self._deleted.popitem(last=False)
        if learned.diagnosis is not None:
            self.note_diagnosis(uid, learned.diagnosis)
        if learned.placement is not None:
            self.note_placement(uid, learned.placement)
        if learned.owners is not None:
            self.note_owners(uid, learned.owners)
        if learned.sample is not None:
            self.note_sample(uid, learned.sample)
        if learned.refusal is not None:
            self.note_refusal(uid, learned.refusal)

    def note_seen(self, uid: str, seen: Seen) -> None:
        """The caches hold, or held, this."""
        if seen != UNSEEN or uid in self._entries:
            self._entry(uid).seen = seen

    def note_told(self, uid: str, told: Emit) -> None:
        """An event was recorded."""
        self._entry(uid).told = told

    def note_success(self, uid: str, *, effect: bool) -> None:
        """A plan went through. With `effect` it has changed something, so that no refusal stands any longer."""
        entry = self._entries.get(uid)
        if entry is None:
            return
        entry.failures = entry.conflicts = entry.crashes = 0
        if effect:
            entry.refusal = None
            entry.refusals = 0

    def note_refusal(self, uid: str, refusal: Refusal) -> None:
        """A step was refused."""
        entry = self._entry(uid)
        entry.refusal = refusal
        entry.refusals += 1
        entry.refused_until = self._clock.monotonic() + refusal.retry_after

    def note_conflict(self, uid: str) -> int:
        """A decision was made on stale facts; return the how manieth in a row it was."""
        entry = self._entry(uid)
        entry.conflicts += 1
        return entry.conflicts

    def note_failure(self, uid: str) -> None:
        """A request failed."""
        self._entry(uid).failures += 1

    def note_crash(self, uid: str) -> int:
        """We failed ourselves; return the how manieth time in a row it was."""
        entry = self._entry(uid)
        entry.crashes += 1
        return entry.crashes

    def note_diagnosis(self, uid: str, diagnosis: Diagnosis) -> None:
        """The cluster said this of a child."""
        entry = self._entry(uid)
        entry.diagnosis = diagnosis
        entry.diagnosed_at = self._clock.monotonic()

    def note_placement(self, uid: str, placement: Placement) -> None:
        """A claim is used there."""
        entry = self._entry(uid)
        entry.placement = placement
        entry.placed_at = self._clock.monotonic()

    def note_owners(self, uid: str, owners: OwnersFound) -> None:
        """Owners were found like this."""
        entry = self._entry(uid)
        entry.owners = owners
        entry.owners_at = self._clock.monotonic()

    def note_sample(self, uid: str, sample: Sample) -> None:
        """The log of a mover said this."""
        entry = self._entry(uid)
        # another Pod is another attempt, which begins at its beginning
        entry.progress = sample.progress or (entry.progress if sample.pod == entry.watch.pod else None)
        entry.sampled_at = self._clock.monotonic()
        entry.watch = entry.watch.take(sample, now=entry.sampled_at)

    def note_stage(self, uid: str) -> None:
        """The object goes on with something else: what was said of the children of the stage before explains nothing any longer."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.diagnosis = entry.progress = entry.sampled_at = None
            entry.watch = UNWATCHED

    def forget(self, uid: str) -> None:
        """The object needs no decision any longer."""
        self._entries.pop(uid, None)

    def keep(self, uids: Collection[str]) -> None:
        """Forget all objects but these."""
        self._entries = {uid: entry for uid, entry in self._entries.items() if uid in uids}

    def _entry(self, uid: str) -> _Entry:
        return self._entries.setdefault(uid, _Entry())
