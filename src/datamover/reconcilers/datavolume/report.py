"""What a written status means for the metrics (law L10)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from datamover.api.cdi.data_volume import DataVolume, DataVolumeStatus
from datamover.api.cdi.names import Phase
from datamover.api.importer import CONTAINER
from datamover.movers.outcomes import read_outcome
from datamover.plans.learned import Written
from datamover.reconcilers.datavolume.ask import Ask, ask_of
from datamover.reconcilers.datavolume.status import NO_PROGRESS
from datamover.runs.attempts import newest_first
from datamover.runs.wait import age_of
from kubekit.words.core import Pod


class Meter(Protocol):
    """What is needed of `datamover.metrics`."""

    def populated(self, source: str, *, seconds: float, size: int) -> None:
        """A DataVolume has its data."""
        ...

    def failed(self, source: str, *, reason: str) -> None:
        """A worker has failed."""
        ...


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
