"""Copy triggers: the user of a claim says when its copy is taken, and is told when it is there. Pure: annotations in, changes of annotations out.

One round, for one source:

    ask ── not triggered ──► Wait: status WaitingForTrigger, and since when
     └──── triggered ──────► Go: status InProgress; the copy carries the value that it consumes, from its creation
    close ── copy ready ───► Close: status Completed and latest-copy-trigger = the consumed value, in one change

**Several sources of one claim** share its annotations. Each is an owner with a round of its own, and each knows of the others what they have told
(`Sharer`). What follows from that:

- *One trigger, one copy for each.* A value is good until it is the latest one, and it becomes the latest one only when every owner that was
  waiting has its copy (`_is_held`). So `Completed` means for the user of the claim that nobody copies any more.
- *Nobody writes over one that is further.* Who begins to wait while another one's copy is in the making waits without a word; who has told
  that its own copy is complete never speaks again in that round. So there is no loop: each owner writes once for each of its steps.
- *One clock.* The time of the wait is the claim's. It is started anew only by an owner whose own round began later than the stamp, when
  nobody else is known to wait.

Guarantees: nothing but our three annotations is changed (law L1). A change is good only for the version of the claim that it was decided on:
even one that would change nothing is sent, before a copy is made, so that a stale trigger is refused by the server. The value that is told is
the one that was consumed, whatever the user has written meanwhile. Deciding twice on the same facts changes nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from datamover.api.copy_trigger import (
    CONSUMED_ANNOTATION,
    LATEST_ANNOTATION,
    SINCE_ANNOTATION,
    STATUS_ANNOTATION,
    TIMEOUT,
    TRIGGER_ANNOTATION,
    Status,
    is_used,
)
from datamover.volumes.binding import is_bound, is_snapshot_ready
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.snapshot import VolumeSnapshot
from kubekit.words.timestamps import moment_of, seconds

Changes = Mapping[str, str | None]
"""Annotations and their new values; None takes one away."""

LOOK_AGAIN: Final = 60.0
"""Seconds after which is looked at other owners of the claim again: nothing tells us when one of them gives up."""
_LITTLE: Final = 0.1


class Told(Enum):
    """What an owner has told of its present round: its own record, which must not outlive the round."""

    NOTHING = "nothing"
    WAITING = "it waits"
    TIMED_OUT = "it has waited too long"
    RECEIVED = "the trigger has come"
    COMPLETED = "the copy is there"


_WAITING: Final = frozenset({Told.WAITING, Told.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Made:
    """A copy: the trigger that it was taken for (None: for none), whether it is ready, and when it was made."""

    consumed: str | None
    ready: bool
    at: str = ""


@dataclass(frozen=True, slots=True)
class Sharer:
    """Another owner that copies the same claim. Without `copy` it is about to take one, as soon as it is triggered.

    Who has no copy and will not take one for another reason than the trigger is no sharer.
    """

    told: Told
    copy: Made | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One owner's round: the annotations of the source, when the owner's sync began, what it has told, and who else copies the claim."""

    annotations: Mapping[str, str]
    begun: datetime
    told: Told
    now: datetime
    sharers: tuple[Sharer, ...] = ()

    @property
    def trigger(self) -> str:
        """The user's value, empty for none."""
        return self.annotations.get(TRIGGER_ANNOTATION, "")

    @property
    def latest(self) -> str | None:
        """The value that was told last."""
        return self.annotations.get(LATEST_ANNOTATION)

    @property
    def status(self) -> str | None:
        """The status that is told."""
        return self.annotations.get(STATUS_ANNOTATION)

    @property
    def triggered(self) -> bool:
        """Whether there is a value that was not told yet."""
        return bool(self.trigger) and self.trigger != self.latest


@dataclass(frozen=True, slots=True)
class Wait:
    """The copy may not be taken yet. `changes` go before that is told."""

    changes: Changes = field(default_factory=dict[str, str | None])
    timed_out: bool = False
    wake_after: float | None = None


@dataclass(frozen=True, slots=True)
class Go:
    """Take the copy, for the trigger `consumed`; None: nobody wants to trigger. `changes` go before it is made, also when they change nothing."""

    consumed: str | None
    changes: Changes = field(default_factory=dict[str, str | None])


@dataclass(frozen=True, slots=True)
class Close:
    """What there is to say once a copy was made. `done` ends the round; `left`: because its user wants no triggers any more."""

    changes: Changes = field(default_factory=dict[str, str | None])
    done: bool = False
    left: bool = False
    wake_after: float | None = None


def ask(round_: Round) -> Wait | Go:
    """Return whether a copy may be taken. To be asked only while there is none."""
    if not is_used(round_.annotations):
        return Go(None, _clear(round_))
    if round_.triggered:
        return Go(round_.trigger, {STATUS_ANNOTATION: Status.IN_PROGRESS, SINCE_ANNOTATION: None})
    if round_.status == Status.IN_PROGRESS and any(sharer.told is Told.RECEIVED for sharer in round_.sharers):
        return Wait(wake_after=LOOK_AGAIN)  # it is further than we are, and its Completed is still to come
    now = round_.now.timestamp()
    since = moment_of(round_.annotations.get(SINCE_ANNOTATION), default=None)
    if round_.status != Status.WAITING or since is None or _is_stale(round_, since):
        changes: Changes = {STATUS_ANNOTATION: Status.WAITING, SINCE_ANNOTATION: seconds(round_.now)}
        return Wait(changes, wake_after=TIMEOUT + 1 + _LITTLE)  # the stamp has whole seconds
    left = since + TIMEOUT - now
    return Wait(timed_out=left < 0, wake_after=left + _LITTLE if left >= 0 else None)


def close(round_: Round, copy: Made) -> Close | None:
    """Return what there is to say of a copy that was made for a trigger; None when nothing is."""
    consumed = copy.consumed
    over = consumed is None or round_.told is Told.COMPLETED  # asked for too late, or told already
    if not is_used(round_.annotations):
        if consumed is not None and not over:
            return _leave(round_, consumed, ready=copy.ready)
        # What was told all the same, as by a replica that had not seen this copy, or of a copy that another one has followed, goes with the wish.
        litter = _clear(round_)
        return Close(litter) if litter else None
    if consumed is None or over:
        return None
    if not copy.ready:
        going: Changes = {STATUS_ANNOTATION: Status.IN_PROGRESS} if round_.status is None else {}
        return Close(going) if going else None  # somebody has taken it away: the round goes on
    if consumed == round_.latest:
        return Close(done=True)
    if _is_superseded(round_, copy):
        # Who sees annotations of before this copy would say nothing of it for ever: a change of nothing is refused then.
        return Close({LATEST_ANNOTATION: round_.latest}, done=True)
    if _is_held(round_):
        return Close(wake_after=LOOK_AGAIN)
    return Close({STATUS_ANNOTATION: Status.COMPLETED, LATEST_ANNOTATION: consumed, SINCE_ANNOTATION: None}, done=True)


def made_of(*, snapshot: VolumeSnapshot | None, claim: PersistentVolumeClaim | None, by_snapshot: bool) -> Made | None:
    """Return the copy, of objects that are the owner's. A claim that was made of a snapshot is there only because that was ready."""
    copy = snapshot if snapshot is not None else claim
    if copy is None:
        return None
    ready = (
        is_snapshot_ready(snapshot) if snapshot is not None else by_snapshot or (claim is not None and is_bound(claim))
    )
    return Made(copy.metadata.annotation(CONSUMED_ANNOTATION), ready, copy.metadata.creation_timestamp or "")


def _clear(round_: Round) -> Changes:
    """Take away what only a user of triggers needs. `Completed` and the latest value stay: they say what was."""
    changes: dict[str, str | None] = {}
    if round_.status in {Status.WAITING, Status.IN_PROGRESS}:
        changes[STATUS_ANNOTATION] = None
    if SINCE_ANNOTATION in round_.annotations:
        changes[SINCE_ANNOTATION] = None
    return changes


def _leave(round_: Round, consumed: str, *, ready: bool) -> Close | None:
    """The user wants no triggers any more, between InProgress and Completed."""
    changes = dict(_clear(round_))
    if ready and round_.trigger == consumed != round_.latest:
        changes[LATEST_ANNOTATION] = consumed  # else a later round would not wait, if triggers were wanted again
    return Close(changes, done=ready, left=ready) if changes or ready else None


def _is_stale(round_: Round, since: float) -> bool:
    """Tell whether a stamp is of a wait that is over.

    Who has told that it waits knows the stamp as its own, or as that of the user who set it back: it counts as it is.
    """
    if round_.told in _WAITING or any(sharer.told in _WAITING and sharer.copy is None for sharer in round_.sharers):
        return False
    return since < moment_of(seconds(round_.begun), default=0.0)


def _is_superseded(round_: Round, copy: Made) -> bool:
    """Tell whether another trigger was taken up after ours, so that telling ours would go back in time."""
    if round_.trigger == copy.consumed:
        return False
    others = [sharer.copy for sharer in round_.sharers if sharer.copy is not None and sharer.copy.consumed is not None]
    newer = any(other.consumed != copy.consumed and other.at > copy.at for other in others)
    return newer or round_.status in {Status.WAITING, Status.COMPLETED}


def _is_held(round_: Round) -> bool:
    """Tell whether somebody else still copies the claim, or is about to for the same trigger."""
    return any(
        round_.triggered
        if sharer.copy is None
        else sharer.told is Told.RECEIVED and sharer.copy.consumed is not None and not sharer.copy.ready
        for sharer in round_.sharers
    )
