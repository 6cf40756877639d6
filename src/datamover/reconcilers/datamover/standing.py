"""What stands about a DataMover until somebody has dealt with it: that it failed, that it waits, that its claim has no backup yet.

Gauges follow from the status alone, so that they stand again after a restart without a write (laws L9, L10). Pure but for the meter.
"""

from typing import Protocol

from datamover.api import reasons
from datamover.api.names import ConditionType, Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from datamover.api.verification import DAMAGE
from datamover.api.waits import are_data_safe, find_hold, find_wait
from datamover.reconcilers.summary import is_cancelled
from kubekit.words.timestamps import moment_of


class Standings(Protocol):
    """What is needed of `datamover.metrics` for what stands. Moments are seconds since 1970."""

    def failed(self, *, name: str, namespace: str, source: str, reason: str, at: float, began: float) -> None:
        """A run that began at `began` has failed at `at`."""
        ...

    def retrying(self, *, name: str, namespace: str, source: str, at: float, began: float) -> None:
        """A failed DataMover is being tried again: its failure stands until that has succeeded."""
        ...

    def recovered(self, *, name: str, namespace: str) -> None:
        """A DataMover has no failure that stands."""
        ...

    def settle(self, *, name: str, namespace: str, source: str, began: float, exists: bool) -> None:
        """A run of a claim that began at this moment has completed: failures of earlier ones are dealt with. `exists` is whether the claim does."""
        ...

    def waits(self, *, name: str, namespace: str, reason: str, safe: bool, severity: str, since: float) -> None:
        """A DataMover that has not ended stands still; `safe` is whether its data are at the destination."""
        ...

    def damaged(self, *, name: str, namespace: str, reason: str, at: float) -> None:
        """What a DataMover has left was found not to be as it was, at this moment."""
        ...

    def sound(self, *, name: str, namespace: str) -> None:
        """Nobody has found that, or it is as it was again."""
        ...

    def goes_on(self, *, name: str, namespace: str) -> None:
        """A DataMover does not wait."""
        ...

    def tried(self, *, source: str, namespace: str, at: float) -> None:
        """A backup of a claim was asked for at this moment, and has not completed. The first one counts."""
        ...


def report_standing(mover: DataMover, *, meter: Standings, source_exists: bool) -> None:
    """Set what stands of a DataMover as it is. Of a claim that is gone nothing is said, but failures stay those of their DataMovers."""
    status = mover.status or DataMoverStatus()
    _report_failure(mover, status, meter=meter, source_exists=source_exists)
    _report_wait(mover, status, meter=meter)
    _report_damage(mover, status, meter=meter)
    wanted = mover.spec is not None and not (mover.spec.suspend or mover.spec.cancel or mover.metadata.terminating)
    if status.phase != Phase.COMPLETED and source_exists and wanted:
        source = source_of(mover)
        meter.tried(source=source, namespace=mover.metadata.namespace or "", at=_created(mover))


def source_of(mover: DataMover) -> str:
    """Return the claim that a DataMover backs up: the recorded one, else the one that it asks for."""
    run = mover.status.run if mover.status is not None else None
    return (run.source if run is not None else None) or (mover.spec.source_pvc if mover.spec is not None else "")


def _report_failure(mover: DataMover, status: DataMoverStatus, *, meter: Standings, source_exists: bool) -> None:
    name, namespace, source = mover.metadata.name, mover.metadata.namespace or "", source_of(mover)
    created, run = _created(mover), status.run
    began = moment_of(run.started if run is not None else None, default=created)
    synced = status.condition(ConditionType.SYNCHRONIZED)
    if status.phase == Phase.FAILED and not is_cancelled(status):
        ready = status.condition(ConditionType.READY)
        said = synced if synced is not None and synced.status == "False" else ready
        reason = said.reason if said is not None else reasons.MOVER_FAILED  # the original operator says nothing
        at = moment_of((run.finished if run is not None else None) or status.phase_started, default=created)
        meter.failed(name=name, namespace=namespace, source=source, reason=reason, at=at, began=began)
    elif status.phase != Phase.COMPLETED and synced is not None and synced.reason == reasons.RETRYING:
        at = moment_of(synced.last_transition_time, default=created)
        meter.retrying(name=name, namespace=namespace, source=source, at=at, began=began)
    else:
        meter.recovered(name=name, namespace=namespace)
    if status.phase == Phase.COMPLETED and run is not None and run.started:
        meter.settle(name=name, namespace=namespace, source=source, began=began, exists=source_exists)


def _report_wait(mover: DataMover, status: DataMoverStatus, *, meter: Standings) -> None:
    name, namespace = mover.metadata.name, mover.metadata.namespace or ""
    held = find_hold(status)
    if held is None or status.phase == Phase.FAILED:
        meter.goes_on(name=name, namespace=namespace)
        return
    meter.waits(
        name=name,
        namespace=namespace,
        reason=held.reason,
        safe=are_data_safe(held.reason, status.phase or Phase.NONE),
        severity=find_wait(held.reason).severity.value,
        since=moment_of(held.last_transition_time, default=_created(mover)),
    )


def _report_damage(mover: DataMover, status: DataMoverStatus, *, meter: Standings) -> None:
    name, namespace, verified = (
        mover.metadata.name,
        mover.metadata.namespace or "",
        status.condition(ConditionType.VERIFIED),
    )
    if verified is None or verified.status != "False" or verified.reason not in DAMAGE:
        meter.sound(name=name, namespace=namespace)
        return
    at = moment_of(verified.last_transition_time, default=_created(mover))
    meter.damaged(name=name, namespace=namespace, reason=verified.reason, at=at)


def _created(mover: DataMover) -> float:
    return moment_of(mover.metadata.creation_timestamp, default=0.0)
