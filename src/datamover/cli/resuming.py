"""Whether `datamover run` goes on with the run that it finds or begins a new one, and how old the copy of a run is. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from datamover.api.cdi.data_volume import DataVolume
from datamover.api.names import CopyMethod, Phase
from datamover.api.v1alpha1.datamover import DataMover
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.cli import synchronisations
from datamover.cli.durations import tell_duration
from datamover.cli.runnables import Ours, Replication, Runnable
from kubekit.words import timestamps

DEFAULT_MAX_COPY_AGE: Final = timedelta(hours=12)
"""A nightly backup that was interrupted must not deliver yesterday's files as those of today."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An object as it was before this world began, and as it is now; None where there is none.

    The two differ when the operator went on with an interrupted run in the meantime. That run is the one that was asked for.
    """

    before: Runnable | None
    now: Runnable | None


@dataclass(frozen=True, slots=True)
class GoOn:
    """Go on with what is there. `words` are for people, None when there is nothing to say."""

    words: str | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a new run, in the place of the one that is there."""

    words: str | None = None


Decision = GoOn | Begin


def copied_at(mover: Runnable | None) -> datetime | None:
    """Return the time of a run's copy: that of its beginning, a little before the copy. None without a run, and where no copy is made."""
    if isinstance(mover, DataVolume | DataMoverRestore):
        return None
    if mover is not None and not isinstance(mover, DataMover):
        return synchronisations.begun_at(mover)
    status = mover.status if mover is not None else None
    run = status.run if status is not None else None
    if run is None or run.started is None or run.copy_method == CopyMethod.DIRECT:
        return None
    try:
        return timestamps.parse(run.started)
    except ValueError:
        return None


def decide(kept: Kept, *, now: datetime, max_copy_age: timedelta) -> Decision:
    """Return what becomes of an object that is asked for.

    A run that was over begins anew. So does one that failed after this world started, because nobody waited for it yet. One that was
    interrupted goes on (law L6), unless its copy is older than `max_copy_age`: it would deliver old files as those of today.
    A DataVolume is filled once: what is there stays, and is gone on with.
    """
    if isinstance(kept.before, DataVolume) or isinstance(kept.now, DataVolume):
        return GoOn()
    if kept.now is None or kept.before is None or kept.now.metadata.uid != kept.before.metadata.uid:
        return GoOn()
    if _is_over(kept.before) or _has_failed(kept.now):
        return Begin()
    copied = copied_at(kept.before)
    if copied is None:
        return GoOn()
    age = now - copied
    if age > max_copy_age:
        return Begin(
            f"the run that was interrupted has a copy of the volume of {tell_moment(copied)}, {tell_duration(age)} ago. That is older than "
            f"--max-copy-age {tell_duration(max_copy_age)}: it is given up, and a new run takes a fresh copy"
        )
    if not isinstance(kept.before, DataMover | DataMoverRestore) and not synchronisations.is_copied(kept.before):
        return GoOn()
    return GoOn(
        f"goes on with the run that was interrupted, from its copy of the volume of {tell_moment(copied)}, {tell_duration(age)} ago. "
        "What was changed since then is not in it: run the same command again afterwards, or begin anew with --max-copy-age 0"
    )


def tell_moment(moment: datetime) -> str:
    """Return `2026-01-31 02:00:00Z`."""
    return timestamps.seconds(moment).replace("T", " ")


def _is_over(obj: Ours | Replication) -> bool:
    return (
        _phase(obj) in Phase.TERMINAL
        if isinstance(obj, DataMover | DataMoverRestore)
        else synchronisations.is_over(obj)
    )


def _has_failed(obj: Ours | Replication) -> bool:
    return (
        _phase(obj) == Phase.FAILED
        if isinstance(obj, DataMover | DataMoverRestore)
        else synchronisations.has_failed(obj)
    )


def _phase(mover: Ours) -> str:
    return (mover.status.phase if mover.status is not None else None) or Phase.NONE
