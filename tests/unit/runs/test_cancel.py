"""How a run is ended because somebody wishes so, of a kind that the project does not have."""

from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as struct_replace

from datamover.api import reasons
from datamover.api.names import CopyMethod
from datamover.plans.conditions import State
from datamover.plans.known import Known, Refusal, Seen
from datamover.plans.steps import Delete, Patch, ProvePods
from datamover.runs.cancel import cancel, cancelled_unbegun, everything, is_to_be_cancelled, refuse_retry
from datamover.runs.cleanup import collect
from datamover.runs.facts import RunFacts
from datamover.runs.order import Order
from datamover.runs.record import Stage
from datamover.runs.verdict import Answer, Facet, Rest, Verdict
from kubekit.words.batch import JOBS
from kubekit.words.core import Pod
from support import builders, parcel
from support.builders import NOW, outcome
from support.parcel import CLAIM, JOB, at, facts, order

SINCE = builders.CREATED
RUNNING = parcel.job(active=1)
STOPPED = parcel.job(suspend=True)
COMPLETE = parcel.job(condition="Complete", succeeded=1, suspend=True)
SUCCEEDED = parcel.pod(phase="Succeeded", outcome=outcome())
INTERRUPTED = parcel.pod(phase="Failed", exit_code=143, outcome=outcome(succeeded=False, reason="Interrupted"))


def going(pod: Pod, since: str = "2024-08-06T14:30:52Z") -> Pod:
    return struct_replace(pod, metadata=struct_replace(pod.metadata, deletion_timestamp=since))


def cancelled(stage: Stage = Stage.MOVING, **fields: object) -> Order:
    return order(record=at(stage, cancelled=SINCE), **fields)  # type: ignore[arg-type]


def words(answer: Answer) -> list[str]:
    """What is done, in its order."""
    steps = answer.steps if isinstance(answer, Rest) else (*answer.before, *answer.after)
    said = [] if isinstance(answer, Rest) else [f"{answer.state.value} {answer.reason}"]
    for step in steps:
        match step:
            case Patch():
                said.append(f"suspend {step.target.name}")
            case Delete():
                said.append(f"delete {step.resource.kind}{' as seen' if step.as_seen else ''}")
            case _:
                said.append(type(step).__name__)
    return said


STEPS: dict[str, tuple[Order, RunFacts, list[str]]] = {
    "it is recorded before anything is done": (
        order(record=at(Stage.MOVING)),
        facts(claim=parcel.claim(), job=RUNNING, pods=(parcel.pod(),)),
        ["working Cancelling"],
    ),
    "the mover is stopped": (
        cancelled(),
        facts(claim=parcel.claim(), job=RUNNING, pods=(parcel.pod(),)),
        ["suspend parcel-job"],
    ),
    "stopping it is refused": (
        cancelled(),
        facts(job=RUNNING, known=Known(refusal=Refusal("PermissionMissing", "no right", verb="patch"))),
        ["blocked PermissionMissing"],
    ),
    "its Pod has not ended": (
        cancelled(),
        facts(claim=parcel.claim(), job=STOPPED, pods=(going(parcel.pod()),), now=NOW),
        ["working Cancelling"],
    ),
    "its Pod should have ended": (
        cancelled(),
        facts(claim=parcel.claim(), job=STOPPED, pods=(going(parcel.pod()),), now=NOW + timedelta(seconds=60)),
        ["blocked WaitingForMoverRemoval"],
    ),
    "a Pod whose Job is gone has not ended": (
        cancelled(),
        facts(claim=parcel.claim(), strays=(parcel.pod(),)),
        ["working Cancelling"],
    ),
    "a Pod is counted that no cache shows": (
        cancelled(),
        facts(claim=parcel.claim(), job=parcel.job(suspend=True, active=1)),
        ["working Cancelling"],
    ),
    "its Pod has ended: all that is temporary goes": (
        cancelled(temporary=False),
        facts(claim=parcel.claim(), job=STOPPED, pods=(INTERRUPTED,)),
        ["working Cancelling", "ProvePods", "delete Job as seen", "delete PersistentVolumeClaim"],
    ),
    "a snapshot goes as well": (
        cancelled(Stage.COPYING, method=CopyMethod.SNAPSHOT),
        facts(claim=parcel.claim(), snapshot=parcel.snapshot()),
        ["working Cancelling", "ProvePods", "delete PersistentVolumeClaim", "delete VolumeSnapshot"],
    ),
    "it is going": (
        cancelled(),
        facts(claim=parcel.claim(deletion_timestamp="2024-08-06T14:30:52Z")),
        [],
    ),
    "it does not go": (
        cancelled(),
        facts(claim=parcel.claim(deletion_timestamp=SINCE), now=NOW + timedelta(minutes=5)),
        ["blocked WaitingForCloneRemoval"],
    ),
    "nothing is left": (cancelled(), facts(), ["failed Cancelled"]),
    "nothing is left, and nobody saw it go: the server is asked": (
        cancelled(),
        facts(seen=Seen()),
        ["failed Cancelled", "ProveGone", "ProveGone"],
    ),
    "the mover had done all": (
        cancelled(),
        facts(claim=parcel.claim(), job=COMPLETE, pods=(SUCCEEDED,)),
        ["working CleaningUp", "delete Job", "delete PersistentVolumeClaim"],
    ),
    "the mover had done all, and its Job does not say so yet": (
        cancelled(),
        facts(claim=parcel.claim(), job=STOPPED, pods=(going(SUCCEEDED),)),
        ["working CleaningUp", "delete Job", "delete PersistentVolumeClaim"],
    ),
    "the Job is complete, and its Pod's last words are on their way": (
        cancelled(),
        facts(claim=parcel.claim(), job=struct_replace(COMPLETE, status=COMPLETE.status), pods=()),
        ["working CleaningUp", "ProvePods", "delete Job", "delete PersistentVolumeClaim"],
    ),
    "another image ends with 0 when it is stopped: that proves nothing": (
        cancelled(),
        facts(claim=parcel.claim(), job=COMPLETE, pods=(going(parcel.pod(phase="Succeeded")),)),
        ["working Cancelling", "ProvePods", "delete Job as seen", "delete PersistentVolumeClaim"],
    ),
    "another image had ended with 0 before it was stopped": (
        cancelled(),
        facts(claim=parcel.claim(), job=COMPLETE, pods=(parcel.pod(phase="Succeeded"),), now=NOW + timedelta(hours=1)),
        ["working CleaningUp", "delete Job", "delete PersistentVolumeClaim"],
    ),
    "the mover denies its own success": (
        cancelled(),
        facts(
            claim=parcel.claim(),
            job=COMPLETE,
            pods=(parcel.pod(phase="Succeeded", outcome=outcome(succeeded=False, reason="Interrupted")),),
        ),
        ["working Cancelling", "ProvePods", "delete Job as seen", "delete PersistentVolumeClaim"],
    ),
    "somebody else's Job has our name": (
        cancelled(),
        facts(job=builders.job(builders.OTHER_UID, name=JOB), claim=parcel.claim()),
        ["working Cancelling", "ProvePods", "delete PersistentVolumeClaim"],
    ),
}


@pytest.mark.parametrize(("asked", "known", "expected"), STEPS.values(), ids=STEPS)
def test_a_step(asked: Order, known: RunFacts, expected: list[str]) -> None:
    assert words(cancel(asked, known)) == expected


def test_that_it_is_cancelled_is_what_is_recorded_and_counts_the_attempts() -> None:
    answer = cancel(order(record=at(Stage.MOVING)), facts(job=RUNNING, pods=(parcel.pod(),)))
    assert isinstance(answer, Verdict)
    assert answer.facets[Facet.MOVE][:2] == ("False", reasons.CANCELLED)
    assert answer.tally is not None
    assert answer.tally.attempts == 1
    assert answer.stage is None, "a phase of its own would say that the data are moved"


def test_the_last_words_of_the_last_attempt_are_taken_along() -> None:
    earlier = parcel.pod(name="a", phase="Failed", outcome=outcome(succeeded=False, reason="ServerUnreachable"))
    for pods, expected in (((earlier, parcel.pod(name="b", phase="Failed")), None), ((INTERRUPTED,), "Interrupted")):
        answer = cancel(cancelled(), facts(claim=parcel.claim(), job=STOPPED, pods=pods))
        assert isinstance(answer, Verdict)
        assert answer.tally is not None
        said = answer.tally.outcome
        assert (said.reason if said else None) == expected


def test_an_end_says_what_is_gone_and_that_somebody_wanted_it() -> None:
    answer = cancel(cancelled(temporary=False), facts())
    assert isinstance(answer, Verdict)
    assert (answer.state, answer.stage, answer.kept) == (State.FAILED, None, None)
    assert answer.facets[Facet.CLEAN] == ("True", reasons.CLEANED_UP, "the clone and its Job are gone")
    assert answer.facets[Facet.MOVE] == ("False", reasons.CANCELLED, "cancelled by spec.cancel")


TO_BE: dict[str, tuple[Order, RunFacts, bool, bool]] = {
    "nobody wishes it": (order(record=at(Stage.MOVING)), facts(job=RUNNING), False, False),
    "somebody does": (order(record=at(Stage.MOVING)), facts(job=RUNNING), True, True),
    "it is recorded, and no longer wished": (cancelled(), facts(job=RUNNING), False, True),
    "the data are moved": (order(record=at(Stage.CLEANING)), facts(), True, False),
    "the mover has completed": (order(record=at(Stage.MOVING)), facts(job=COMPLETE), True, False),
    "the mover has failed": (order(record=at(Stage.MOVING)), facts(job=parcel.job(condition="Failed")), True, False),
    "somebody else's Job is complete": (
        order(record=at(Stage.COPIED)),
        facts(job=builders.job(builders.OTHER_UID, name=JOB, condition="Complete")),
        True,
        True,
    ),
}


@pytest.mark.parametrize(("asked", "known", "wished", "expected"), TO_BE.values(), ids=TO_BE)
def test_what_is_to_be_cancelled(asked: Order, known: RunFacts, wished: bool, expected: bool) -> None:
    assert is_to_be_cancelled(asked, known, wished=wished) is expected


def test_what_comes_late_is_collected_whatever_would_have_been_kept() -> None:
    late = facts(claim=parcel.claim(), job=parcel.job())
    assert collect(order(temporary=False), late) == Rest()
    found = collect(everything(cancelled(temporary=False)), late)
    assert words(found) == ["delete Job", "delete PersistentVolumeClaim"]


def test_nothing_of_somebody_else_is_touched() -> None:
    foreign = facts(job=builders.job(builders.OTHER_UID, name=JOB), claim=builders.persistent_volume_claim(name=CLAIM))
    answer = cancel(cancelled(), foreign)
    assert isinstance(answer, Verdict)
    assert not [step for step in (*answer.before, *answer.after) if isinstance(step, Delete | Patch)]


def test_what_has_not_begun_and_what_may_not_begin_again_are_told() -> None:
    unbegun, refused = cancelled_unbegun("spec.end"), refuse_retry("spec.end", "MoverFailed")
    assert (unbegun.state, unbegun.reason) == (State.FAILED, reasons.CANCELLED)
    assert unbegun.facets[Facet.MOVE][1] == reasons.CANCELLED
    assert (refused.state, refused.reason) == (State.BLOCKED, "MoverFailed")
    assert "spec.end is true" in refused.message


def test_a_pod_that_may_live_keeps_the_job_and_the_copy() -> None:
    """Whatever else is the case: nothing is deleted beside a Pod that has not ended (law L7)."""
    for job in (None, STOPPED, parcel.job(deletion_timestamp=SINCE), parcel.job(condition="Failed")):
        known = replace(facts(claim=parcel.claim()), job=job, pods=(going(parcel.pod()),), now=NOW + timedelta(hours=1))
        assert not [each for each in words(cancel(cancelled(), known)) if each.startswith("delete")]


def test_the_server_is_asked_for_pods_before_anything_goes() -> None:
    answer = cancel(cancelled(), facts(claim=parcel.claim(), job=STOPPED))
    assert isinstance(answer, Verdict)
    assert [type(step) for step in answer.before] == [ProvePods]
    assert [step.resource for step in answer.after if isinstance(step, Delete) and step.as_seen] == [JOBS]
