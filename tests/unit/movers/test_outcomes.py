"""What Jobs and Pods say of a mover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api import reasons, transfer
from datamover.movers.outcomes import (
    KNOWN_REASONS,
    describe_end,
    find_hindrance,
    has_ended,
    is_running,
    newest,
    read_outcome,
)
from datamover.movers.rclone import CONTAINER
from datamover.reconcilers.datamover.order import FIELDS
from kubekit.words.core import Pod
from support.builders import job, outcome, pod

SUCCESS, FAILURE = outcome(), outcome(failure_class=transfer.CREDENTIALS)

OUTCOMES = {
    "a success": (pod(phase="Succeeded", outcome=SUCCESS), SUCCESS),
    "a failure": (pod(phase="Failed", outcome=FAILURE), FAILURE),
    "a Pod that runs": (pod(), None),
    "a Pod without a status": (Pod(), None),
    "a Pod that waits": (pod(phase="Pending", waiting=("ContainerCreating", "")), None),
    "no message": (pod(phase="Failed", exit_code=1), None),
    "a message of somebody else": (pod(phase="Failed", termination_message="Error: oops"), None),
    "half an outcome": (pod(phase="Failed", termination_message='{"datamover":"outcome","succeeded":'), None),
    "an outcome that is too deep": (
        pod(phase="Failed", termination_message='{"datamover":"outcome","x":' + "[" * 3000),
        None,
    ),
    "a number that no field holds": (
        pod(phase="Succeeded", termination_message='{"datamover":"outcome","files":' + "9" * 26 + "}"),
        None,
    ),
    "another container": (pod(phase="Failed", container="sidecar", outcome=SUCCESS), None),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcome(case: str) -> None:
    subject, expected = OUTCOMES[case]
    assert read_outcome(subject, CONTAINER) == expected


ENDS = {
    "an exit code": (pod(phase="Failed", exit_code=3), "exit code 3 and left no outcome"),
    "the node's reason": (
        pod(phase="Failed", exit_code=137, terminated_reason="OOMKilled"),
        "exit code 137 (OOMKilled)",
    ),
    "a reason that says nothing": (pod(phase="Failed", exit_code=1, terminated_reason="Error"), "exit code 1 and left"),
    "an eviction": (
        pod(phase="Failed", reason="Evicted", message="the node was low on disk"),
        "Evicted (the node was low on disk)",
    ),
    "nothing at all": (Pod(), "no reason given"),
    "an outcome that is too deep": (
        pod(phase="Failed", exit_code=1, termination_message='{"datamover":"outcome","x":' + "[" * 3000),
        "left an outcome that cannot be used: it has more than",
    ),
    "an outcome with a number that no field holds": (
        pod(phase="Failed", exit_code=1, termination_message='{"datamover":"outcome","files":1e26}'),
        "left an outcome that cannot be used: it does not fit",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_end(case: str) -> None:
    subject, fragment = ENDS[case]
    assert fragment in describe_end(subject, CONTAINER)


HINDRANCES = {
    "none: it runs": (pod(), None, ""),
    "none: no status": (Pod(), None, ""),
    "none: it is being created": (pod(phase="Pending", waiting=("ContainerCreating", "")), None, ""),
    "none: it has ended": (pod(phase="Failed", waiting=("ErrImagePull", "x")), None, ""),
    "the image is not there": (
        pod(phase="Pending", waiting=("ErrImagePull", "manifest unknown")),
        reasons.IMAGE_PULL_FAILED,
        "manifest unknown",
    ),
    "the node has given up for a while": (
        pod(phase="Pending", waiting=("ImagePullBackOff", "Back-off")),
        reasons.IMAGE_PULL_FAILED,
        "spec.mover.imagePullSecrets",
    ),
    "never pulled and not there": (
        pod(phase="Pending", waiting=("ErrImageNeverPull", "")),
        reasons.IMAGE_PULL_FAILED,
        "ErrImageNeverPull",
    ),
    "no image name": (
        pod(phase="Pending", waiting=("InvalidImageName", "bad name")),
        reasons.INVALID_IMAGE,
        "spec.image",
    ),
    "a Secret is missing": (
        pod(phase="Pending", waiting=("CreateContainerConfigError", 'secret "x" not found')),
        reasons.MOVER_CANNOT_START,
        'secret "x" not found',
    ),
    "the runtime refuses": (
        pod(phase="Pending", waiting=("RunContainerError", "no such runtime")),
        reasons.MOVER_CANNOT_START,
        "no such runtime",
    ),
    "no node": (
        pod(phase="Pending", unschedulable="0/3 nodes are available"),
        reasons.MOVER_UNSCHEDULABLE,
        "0/3 nodes are available",
    ),
}


@pytest.mark.parametrize("case", HINDRANCES)
def test_hindrance(case: str) -> None:
    subject, reason, fragment = HINDRANCES[case]
    found = find_hindrance(subject, fields=FIELDS)
    assert (found.reason if found else None) == reason
    if found:
        assert fragment in found.message
        assert found.patience >= 0


def test_the_newest_pod_is_that_of_the_last_attempt() -> None:
    early = pod(name="z", creation_timestamp="2024-08-06T14:30:52Z")
    late = pod(name="a", creation_timestamp="2024-08-06T14:31:52Z")
    assert newest((late, early)) is late
    assert newest(()) is None


def test_running_and_ended() -> None:
    assert is_running(pod(), CONTAINER)
    assert not is_running(pod(phase="Pending"), CONTAINER)
    assert not is_running(pod(container="sidecar"), CONTAINER)
    assert has_ended(pod(phase="Succeeded"))
    assert has_ended(pod(phase="Failed"))
    assert not has_ended(pod())


def test_the_reasons_of_our_agent_are_known() -> None:
    assert {transfer.REASON_WRONG_CREDENTIALS, transfer.REASON_DESTINATION_NOT_OWNED} <= KNOWN_REASONS
    assert len(KNOWN_REASONS) > 20


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_termination_message_is_an_outcome_or_none(text: str) -> None:
    subject = pod(job(), phase="Failed", termination_message=text)
    assert read_outcome(subject, CONTAINER) is None
    assert describe_end(subject, CONTAINER)
