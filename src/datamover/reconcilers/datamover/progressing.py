"""Telling how far a mover is; and when it gets no further, or nobody can tell, that (law L10). Pure."""

from datetime import datetime
from typing import Final

from msgspec.structs import replace

from datamover.api import amounts, reasons, transfer
from datamover.api.names import ConditionType
from datamover.api.transfer import Progress
from datamover.api.v1alpha1.datamover import Run
from datamover.movers.rclone import CONTAINER
from datamover.plans.conditions import State
from datamover.plans.steps import Emit, SampleLog, WriteStatus
from datamover.reconcilers.datamover.blocking import age_of, block
from datamover.reconcilers.datamover.conditions import compose
from datamover.reconcilers.datamover.facts import Facts, Settings
from datamover.reconcilers.datamover.plan import Plan, Step
from kubekit.words.core import Pod

_LONGEST_ETA: Final = 100 * 3600
"""Seconds that may be left; more than that says nothing."""


def follow_progress(facts: Facts, run: Run, pod: Pod, *, attempts: int, now: datetime, settings: Settings) -> Plan:
    """At most one sample and one status write an interval (law L9; budget of reads)."""
    interval = settings.progress_interval
    if facts.progress_age is not None and facts.progress_age < interval:
        due = interval - facts.progress_age + 0.05
        return Plan(_tell(facts, run, pod, attempts=attempts, now=now, settings=settings), wake_after=due)
    age = age_of(pod.status.start_time if pod.status else None, now)
    if facts.progress_age is None and age < interval:
        return Plan(wake_after=interval - age + 0.05)
    return Plan((SampleLog(pod.metadata, CONTAINER),), wake_after=interval)


def is_told(facts: Facts, reason: str) -> bool:
    """Tell whether the status gives this reason now."""
    ready = facts.mover.status and facts.mover.status.condition(ConditionType.READY)
    return ready is not None and ready.reason == reason


def _tell(facts: Facts, run: Run, pod: Pod, *, attempts: int, now: datetime, settings: Settings) -> tuple[Step, ...]:
    watch, progress = facts.watch, facts.progress
    stuck = is_told(facts, reasons.NO_PROGRESS)
    if watch.blind >= settings.log_patience and not stuck:
        return _tell_unknown(facts, run, pod, now=now)
    if progress is None or watch.failures:
        return ()
    seen = _with_progress(run, progress, attempts=attempts)
    if watch.idle >= settings.stall_after:
        return _tell_idle(facts, seen, pod, progress, now=now, settings=settings)
    if stuck and not watch.moved and _amounts(seen) == _amounts(run):
        return ()  # told by the operator that ran before, and nothing has moved since
    told = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reasons.SYNCHRONIZING,
        message=describe_work(progress),
        run=seen,
    )
    return (WriteStatus(told),) if told is not None else ()


def _tell_idle(
    facts: Facts, run: Run, pod: Pod, progress: Progress, *, now: datetime, settings: Settings
) -> tuple[Step, ...]:
    where = f"-n {pod.metadata.namespace}"
    minutes = f"{settings.stall_after / 60:.0f} minutes"
    message = (
        f"no progress for {minutes}; last seen: {describe_work(progress)}. The mover still runs: its log says more "
        f"(kubectl {where} logs {pod.metadata.name}). A volume or a server that hangs has to be mended; "
        f"kubectl {where} delete pod {pod.metadata.name} begins another attempt. Comparing one very large file may take as long"
    )
    return block(facts, reasons.NO_PROGRESS, message, action="Synchronize", now=now, run=run, once=True)


def _tell_unknown(facts: Facts, run: Run, pod: Pod, *, now: datetime) -> tuple[Step, ...]:
    if is_told(facts, reasons.PROGRESS_UNKNOWN):
        return ()
    node = (pod.spec and pod.spec.node_name) or "of the Pod"
    message = (
        f"the mover runs, but how far it is cannot be told, because its log cannot be read: {facts.watch.problem}. "
        f"Look whether the operator may get pods/log (docs/permissions.md) and whether node {node} answers; the run does not depend on it"
    )
    told = compose(
        facts.mover,
        now=now,
        state=State.WORKING,
        reason=reasons.PROGRESS_UNKNOWN,
        message=message,
        run=replace(run, progress=None),
    )
    if told is None:
        return ()
    return (WriteStatus(told), Emit("Warning", reasons.PROGRESS_UNKNOWN, message, "Synchronize"))


def _with_progress(run: Run, progress: Progress, *, attempts: int) -> Run:
    return replace(
        run,
        attempts=attempts,
        bytes=progress.bytes,
        total_bytes=progress.total_bytes,
        files=progress.files,
        total_files=progress.total_files,
        progress=describe_progress(progress),
    )


def _amounts(run: Run) -> tuple[int | None, ...]:
    return run.bytes, run.total_bytes, run.files, run.total_files


def describe_work(progress: Progress) -> str:
    """Return what the mover is doing, in words, and what it waits for."""
    return (
        f"{_describe_phase(progress)}. The server does not answer, and is waited for: {progress.trouble}"
        if progress.trouble
        else _describe_phase(progress)
    )


def _describe_phase(progress: Progress) -> str:
    of = f"{progress.files} of {amounts.count(progress.total_files, 'file')}"
    match progress.phase:
        case transfer.WALKING:
            return f"reading the source: {amounts.count(progress.total_files, 'file')} so far"
        case transfer.PROBING:
            return "looking at the destination; a server that does not answer is given up after a while"
        case transfer.VERIFYING:
            return f"comparing the destination with the source: {of}"
        case transfer.RECORDING:
            return "writing the records of the run"
        case _:
            return f"moving: {of}"


def describe_progress(progress: Progress) -> str:
    """Return `42%, 1m30s left`: what `kubectl get` shows. Of work that has no end yet, how much there is so far: `walking, 1200 files`."""
    if progress.phase == transfer.WALKING:
        return f"{progress.phase}, {amounts.count(progress.total_files, 'file')}"
    done, total = progress.work
    if progress.phase not in (transfer.SYNCING, transfer.VERIFYING) or not total:
        return progress.phase
    share = f"{min(100, done * 100 // total)}%"
    if progress.phase == transfer.VERIFYING:
        share = f"{progress.phase} {share}"
    if progress.trouble or progress.eta is None or not 0 <= progress.eta < _LONGEST_ETA:
        return share
    return f"{share}, {amounts.duration(progress.eta)} left"
