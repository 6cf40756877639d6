"""Telling how far a mover is; and when it gets no further, or nobody can tell, that (law L10). Pure."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from msgspec.structs import replace as replace_progress

from datamover.api import amounts, reasons, transfer
from datamover.api.transfer import Progress
from datamover.plans.steps import Emit, SampleLog
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.record import Amounts
from datamover.runs.verdict import Answer, News, Rest, Tally, Verdict, blocked, working
from datamover.runs.wait import age_of
from kubekit.words.core import Pod
from kubekit.words.timestamps import seconds

_LONGEST_ETA: Final = 100 * 3600
"""Seconds that may be left; more than that says nothing."""
_FASTEST: Final = 1 << 50
"""Bytes a second; a mover that says more does not know."""
_MEASURED: Final = (transfer.COPYING, transfer.SYNCING, transfer.VERIFYING)
"""The phases in which it is known how much there is to do."""


def follow_progress(order: Order, facts: RunFacts, pod: Pod, *, attempts: int) -> Answer:
    """At most one sample and one status write an interval (law L9; budget of reads)."""
    interval, known = facts.patience.sample, facts.known.progress_age
    if known is not None and known < interval:
        due = interval - known + 0.05
        told = _tell(order, facts, pod, attempts=attempts)
        return Rest(wake_after=due) if told is None else replace(told, wake_after=due)
    age = age_of(pod.status.start_time if pod.status else None, facts.now)
    if known is None and age < interval:
        return Rest(wake_after=interval - age + 0.05)
    return Rest((SampleLog(pod.metadata, order.transfer.container),), interval)


def _tell(order: Order, facts: RunFacts, pod: Pod, *, attempts: int) -> Verdict | None:
    watch, progress = facts.known.watch, facts.known.progress
    stuck = order.record.reason == reasons.NO_PROGRESS
    if watch.blind >= facts.patience.log and not stuck:
        return _tell_unknown(facts, pod)
    if progress is None or watch.failures:
        return None
    idle = watch.idle if progress.phase not in transfer.SERVING else 0.0
    if idle >= facts.patience.still:
        progress = replace_progress(progress, speed=0.0, eta=None)  # the engine's are of what has moved before
    tally = Tally(attempts, progress)
    if idle >= facts.patience.stall:
        return None if stuck else replace(_tell_idle(facts, pod, progress), tally=tally)
    if stuck and not watch.moved and amounts_of(progress) == order.record.amounts:
        return None  # told by the operator that ran before, and nothing has moved since
    still = "; nothing has moved for a minute" if idle >= facts.patience.still else ""
    return replace(working(reasons.SYNCHRONIZING, f"{describe_work(progress)}{still}"), tally=tally)


def _tell_idle(facts: RunFacts, pod: Pod, progress: Progress) -> Verdict:
    """It is told once, so it names the moment since when, and not how long that is ago."""
    where = f"-n {pod.metadata.namespace}"
    minutes = f"{facts.patience.stall / 60:.0f} minutes"
    since = facts.now - timedelta(seconds=facts.known.watch.idle + (facts.known.progress_age or 0.0))
    message = (
        f"no progress for {minutes}, since {seconds(since)}: it stands still, which is more than being slow; last seen: {describe_work(progress)}. "
        f"The mover still runs: its log says more "
        f"(kubectl {where} logs {pod.metadata.name}). A volume or a server that hangs has to be mended; "
        f"kubectl {where} delete pod {pod.metadata.name} begins another attempt. Comparing one very large file may take as long"
    )
    return blocked(reasons.NO_PROGRESS, message, action="Synchronize", news=News.REASON)


def _tell_unknown(facts: RunFacts, pod: Pod) -> Verdict:
    node = (pod.spec and pod.spec.node_name) or "of the Pod"
    message = (
        f"the mover runs, but how far it is cannot be told, because its log cannot be read: {facts.known.watch.problem}. "
        f"Look whether the operator may get pods/log (docs/permissions.md) and whether node {node} answers; the run does not depend on it"
    )
    event = Emit("Warning", reasons.PROGRESS_UNKNOWN, message, "Synchronize")
    # why the log cannot be read varies; that it cannot is what people have to know
    told = working(reasons.PROGRESS_UNKNOWN, message, news=News.REASON)
    return replace(told, tally=Tally(), events=(event,))


def amounts_of(progress: Progress) -> Amounts:
    """Return how much is moved of how much."""
    return Amounts(progress.bytes, progress.total_bytes, progress.files, progress.total_files)


def describe_work(progress: Progress) -> str:
    """Return what the mover is doing, in words, and what it waits for."""
    return (
        f"{_describe_phase(progress)}. The server does not answer, and is waited for: {progress.trouble}"
        if progress.trouble
        else _describe_phase(progress)
    )


def _describe_phase(progress: Progress) -> str:
    of = f": {progress.files} of {amounts.count(progress.total_files, 'file')}" if progress.total_files else ""
    match progress.phase:
        case transfer.WALKING:
            return f"reading the source: {amounts.count(progress.total_files, 'file')} so far"
        case transfer.PROBING:
            return "looking at the other side; a server that does not answer is given up after a while"
        case transfer.AWAITING:
            return "waiting for a source to connect"
        case transfer.RECEIVING:
            return "receiving from a source"
        case transfer.COPYING:
            return f"having the store copy what has not changed since the last copy{of}"
        case transfer.VERIFYING:
            return f"comparing the destination with the source{of}"
        case transfer.RECORDING:
            return "writing the records of the run"
        case _:
            return f"moving{of}"


def describe_pace(progress: Progress) -> str:
    """Return `, 50 MiB of 100 MiB at 1.2 MiB/s, 1m30s left`: how fast the work gets on, as far as that is known; empty where nothing is."""
    if progress.trouble or progress.phase not in _MEASURED:
        return ""
    left = _tell_left(progress)
    speed = f"{amounts.size(int(progress.speed))}/s" if 1 <= progress.speed < _FASTEST else ""
    if not speed and not left:
        return ""
    amount = f"{amounts.size(progress.bytes)} of {amounts.size(progress.total_bytes)}" if progress.total_bytes else ""
    pace = " at ".join(part for part in (amount, speed) if part)
    return f"{f', {pace}' if pace else ''}{left}"


def describe_progress(progress: Progress) -> str:
    """Return `42%, 1m30s left`: what `kubectl get` shows. Of work that has no end yet, how much there is so far: `walking, 1200 files`."""
    if progress.phase == transfer.WALKING:
        return f"{progress.phase}, {amounts.count(progress.total_files, 'file')}"
    done, total = progress.work
    if progress.phase not in _MEASURED or not total:
        return progress.phase
    share = f"{min(100, done * 100 // total)}%"
    if progress.phase != transfer.SYNCING:
        share = f"{progress.phase} {share}"
    return f"{share}{_tell_left(progress)}"


def _tell_left(progress: Progress) -> str:
    if progress.trouble or progress.eta is None or not 0 <= progress.eta < _LONGEST_ETA:
        return ""
    return f", {amounts.duration(progress.eta)} left"
