"""What a status means for the metrics (law L10)."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Protocol

from datamover.api.cdi.data_volume import DataVolume, DataVolumeStatus
from datamover.api.cdi.names import ConditionType, Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.importer import CONTAINER
from datamover.api.waits import Severity, find_wait
from datamover.movers.outcomes import read_outcome
from datamover.plans.learned import Written
from datamover.reconcilers.datavolume.ask import Ask, ask_of
from datamover.reconcilers.datavolume.status import NO_PROGRESS, is_halted
from datamover.runs.attempts import newest_first
from datamover.runs.wait import age_of
from datamover.volumes.cloning import CloneReason
from kubekit.words.core import Pod
from kubekit.words.timestamps import moment_of

QUIET: Final = frozenset(
    {
        Reason.CLAIM_PENDING,
        Reason.CLAIM_TERMINATING,
        Reason.DATA_SOURCE_NOT_READY,
        Reason.WAITING_FOR_CONSUMER,
        CloneReason.SOURCE_TERMINATING,
        CloneReason.SOURCE_UNBOUND,
        CloneReason.SOURCE_UNPOPULATED,
        CloneReason.SOURCE_IN_USE,
        CloneReason.SNAPSHOT_NOT_READY,
    }
)
"""Waits that may end by themselves: another object is made, filled or stopped. All others need somebody, or are known to `api.waits`."""
_WORD: Final = re.compile(r"[A-Za-z]{1,64}")
_EMPTY: Final = frozenset({Reason.CLAIM_MISSING, Reason.CLAIM_LOST})
"""What is wrong with one that has succeeded. One that has taken over a claim without a volume may wait for its first Pod for ever."""


class Meter(Protocol):
    """What is needed of `datamover.metrics`."""

    def populated(self, source: str, *, seconds: float, size: int) -> None:
        """A DataVolume has its data."""
        ...

    def failed(self, source: str, *, reason: str) -> None:
        """A worker has failed."""
        ...

    def stands(self, namespace: str, name: str, *, phase: str) -> None:
        """A DataVolume is in a phase."""
        ...

    def waits(self, namespace: str, name: str, *, reason: str, severity: str, since: float) -> None:
        """Something stands in its way."""
        ...

    def goes_on(self, namespace: str, name: str) -> None:
        """Nothing stands in its way."""
        ...

    def forget(self, namespace: str, name: str) -> None:
        """It is gone, or is not ours to populate any more."""
        ...


def report_present(volume: DataVolume, *, meter: Meter) -> None:
    """Say in which phase a DataVolume is, and what it waits for. Both follow from its status alone: it is the same after a restart."""
    meta, status = volume.metadata, volume.status
    namespace, name, phase = meta.namespace or "", meta.name, (status.phase if status is not None else None) or ""
    meter.stands(namespace, name, phase=phase if phase in set(Phase) else Phase.UNKNOWN)
    ready = status.condition(ConditionType.READY) if status is not None else None
    reason = (ready.reason if ready is not None else None) or ""
    if (
        ready is None
        or meta.terminating
        or not is_halted(status)
        or (phase == Phase.SUCCEEDED and reason not in _EMPTY)
    ):
        meter.goes_on(namespace, name)
        return
    # The heartbeat is when this was said: the transition is older, for it was not ready before either.
    said = ready.last_heartbeat_time or ready.last_transition_time or meta.creation_timestamp
    # who populated it before may have written any word (law L11)
    reason = reason if _WORD.fullmatch(reason) is not None else "Unknown"
    meter.waits(namespace, name, reason=reason, severity=severity_of(reason).value, since=moment_of(said, default=0.0))


def severity_of(reason: str) -> Severity:
    """Return how urgent a wait is."""
    return Severity.INFO if reason in QUIET else find_wait(reason).severity


def report_written(
    written: Iterable[Written[DataVolume, DataVolumeStatus]], pods: tuple[Pod, ...], *, meter: Meter, now: datetime
) -> None:
    """Count what statuses say that were not said before. `pods` are those of the worker."""
    for each in written:
        ask = ask_of(each.before)
        if not isinstance(ask, Ask):
            continue
        source, before = ask.kind.value, each.before.status
        was = before.phase if before is not None else None
        # who was taken over as he is was not written
        if each.status.phase == Phase.SUCCEEDED and was != Phase.SUCCEEDED and each.status.progress != NO_PROGRESS:
            age = age_of(each.before.metadata.creation_timestamp, now)
            meter.populated(source, seconds=age, size=_size_of(pods))
        if each.cause is not None:
            meter.failed(source, reason=each.cause)


def _size_of(pods: tuple[Pod, ...]) -> int:
    said = (read_outcome(pod, CONTAINER) for pod in newest_first(pods))
    return next((outcome.bytes for outcome in said if outcome is not None and outcome.succeeded), 0)
