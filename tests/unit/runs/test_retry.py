"""Between two attempts of a mover: that one failed, why, and how often it is tried yet, told once."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as struct_replace

from datamover.api import reasons
from datamover.plans.conditions import State
from datamover.runs.advance import advance
from datamover.runs.record import Record, Stage
from datamover.runs.verdict import Rest, Verdict
from kubekit.words.batch import Job, JobCondition
from kubekit.words.core import Pod, PodCondition
from support import parcel
from support.builders import outcome
from support.parcel import at, facts, order

LATER = "2024-08-06T14:31:52Z"
NETWORK = outcome(failure_class="network", reason="TLSUntrusted", message="not trusted")


def failed(name: str = "first", **fields: Any) -> Pod:
    return parcel.pod(name=name, phase="Failed", **({"outcome": NETWORK} | fields))


def bound_for(job: Job, type_: str) -> Job:
    """The Job with a condition of this type."""
    assert job.status is not None
    return struct_replace(job, status=struct_replace(job.status, conditions=(JobCondition(type=type_, status="True"),)))


def drained(pod: Pod) -> Pod:
    """The Pod, ended by the drain of its node."""
    assert pod.status is not None
    condition = PodCondition(type="DisruptionTarget", status="True")
    return struct_replace(pod, status=struct_replace(pod.status, conditions=(condition,)))


def answer(job: Job, *pods: Pod, record: Record | None = None) -> Rest | Verdict:
    return advance(order(record=record or at(Stage.MOVING)), facts(claim=parcel.claim(), job=job, pods=pods))


TOLD: dict[str, tuple[Job, tuple[Pod, ...], str, str]] = {
    "the first of three": (
        parcel.job(failed=1),
        (failed(),),
        "attempt 1 of 3 failed, and another one follows after a pause (2 attempts left): TLSUntrusted: not trusted",
        "TLSUntrusted",
    ),
    "the second, whose words are told and not those of the first": (
        parcel.job(failed=2),
        (failed(), failed("second", outcome=None, exit_code=137, creation_timestamp=LATER)),
        "attempt 2 of 3 failed, and another one follows after a pause (1 attempt left): MoverFailed: the mover ended with exit code 137 and left no outcome",
        reasons.MOVER_FAILED,
    ),
    "killed for want of memory": (
        parcel.job(failed=1),
        (failed(outcome=None, exit_code=137, terminated_reason="OOMKilled"),),
        "attempt 1 of 3 failed, and another one follows after a pause (2 attempts left): OutOfMemory: the mover ended with exit code 137 (OOMKilled) and left no outcome",
        "OutOfMemory",
    ),
    "a reason that is not our agent's becomes no label of a metric": (
        parcel.job(failed=1),
        (failed(outcome=outcome(failure_class="network", reason="MadeUp", message="so it is")),),
        "attempt 1 of 3 failed, and another one follows after a pause (2 attempts left): MoverFailed: so it is",
        reasons.MOVER_FAILED,
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_job_that_waits_to_try_again_says_why_and_how_often(case: str) -> None:
    job, pods, message, cause = TOLD[case]
    told = answer(job, *pods)
    assert isinstance(told, Verdict)
    assert (told.state, told.reason, told.message, told.cause) == (
        State.WORKING,
        reasons.ATTEMPT_FAILED,
        message,
        cause,
    )
    assert [(event.type, event.reason, event.message) for event in told.events] == [
        ("Warning", reasons.ATTEMPT_FAILED, message)
    ]
    assert told.tally is not None
    assert (told.tally.attempts, told.tally.progress) == (len(pods), None)
    assert told.wake_after is None, "nothing is looked at by the clock: the next Pod is an event"


SILENT: dict[str, tuple[Job, tuple[Pod, ...]]] = {
    "the Job has not counted it yet, and may be about to fail": (parcel.job(), (failed(),)),
    "another one is there already, and not in the cache": (parcel.job(active=1, failed=1), (failed(),)),
    "the Job has counted one more than is seen": (parcel.job(failed=2), (failed(),)),
    "the Job has counted one less than is seen: its number would be that of the attempt before": (
        parcel.job(failed=1),
        (failed(), failed("second", creation_timestamp=LATER)),
    ),
    "it was the last one": (parcel.job(failed=3), (failed(), failed("b"), failed("c"))),
    "the Job is about to fail": (bound_for(parcel.job(failed=1), "FailureTarget"), (failed(),)),
    "the mover has succeeded, and the Job is about to end": (
        parcel.job(succeeded=1),
        (parcel.pod(phase="Succeeded"),),
    ),
    "its node is drained: that counts as no attempt": (
        parcel.job(failed=1),
        (failed(), drained(failed("second", creation_timestamp=LATER))),
    ),
}


@pytest.mark.parametrize("case", SILENT)
def test_what_may_be_the_end_is_not_told_as_a_pause(case: str) -> None:
    job, pods = SILENT[case]
    assert answer(job, *pods) == Rest()


def test_the_next_attempt_takes_the_word_without_a_second_event() -> None:
    pods = (failed(), parcel.pod(name="second", creation_timestamp=LATER))
    waited = at(Stage.MOVING, reason=reasons.ATTEMPT_FAILED, attempts=1)
    told = answer(parcel.job(active=1, failed=1), *pods, record=waited)
    assert isinstance(told, Verdict)
    assert (told.reason, told.message, told.events, told.cause) == (
        reasons.RETRYING,
        "attempt 2: not trusted",
        (),
        None,
    ), "what went wrong was told, and counted, when it did"


def test_a_failure_that_nobody_was_told_of_is_told_with_the_attempt_after_it() -> None:
    pods = (
        failed(),
        failed("second", creation_timestamp=LATER),
        parcel.pod(name="third", creation_timestamp="2024-08-06T14:32:52Z"),
    )
    waited = at(Stage.MOVING, reason=reasons.ATTEMPT_FAILED, attempts=1)
    job = parcel.job(active=1, failed=2)
    for record in (waited, replace(waited, reason=reasons.RETRYING, attempts=2)):
        told = answer(job, *pods, record=record)
        assert isinstance(told, Verdict)
        assert [event.reason for event in told.events] == [reasons.RETRYING]
        assert told.cause == "TLSUntrusted"
