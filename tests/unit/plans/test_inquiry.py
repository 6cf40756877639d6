"""What is asked of the cluster when something does not get on."""

from typing import Any

import pytest

from datamover.api.names import OWNER_UID_LABEL
from datamover.plans.inquiry import inquire
from datamover.plans.steps import Inquire
from kubekit.client.client import Client
from kubekit.words.meta import ObjectMeta
from support.scripted_transport import ScriptedTransport, answer

POD = ObjectMeta(name="mover-1", namespace="shop", uid="u-1")


def event(reason: str, message: str, *, second: int) -> dict[str, Any]:
    return {"metadata": {}, "reason": reason, "message": message, "eventTime": f"2026-11-29T20:00:{second:02}Z"}


EARLY = event("FailedScheduling", "unbound immediate PersistentVolumeClaims", second=1)
LATE = event("FailedMount", "timed out", second=9)


@pytest.mark.parametrize(
    ("events", "over", "said"),
    [
        ([], (), None),
        ([EARLY], (), "FailedScheduling: unbound immediate PersistentVolumeClaims"),
        ([LATE, EARLY], (), "FailedMount: timed out"),
        ([EARLY], ("FailedScheduling",), None),
        ([EARLY, LATE], ("FailedScheduling",), "FailedMount: timed out"),
    ],
)
async def test_the_newest_warning_that_is_not_over_is_told(
    events: list[dict[str, Any]], over: tuple[str, ...], said: str | None
) -> None:
    server = ScriptedTransport(answer(body={"metadata": {}, "items": events}))
    found = await inquire(Client(server), Inquire("Pod", POD, over=over))
    assert (found.target, found.text) == ("u-1", said)
    (asked,) = server.requests
    assert "involvedObject.uid=u-1" in dict(asked.query)["fieldSelector"]


def user(
    *, read_only: bool = False, phase: str = "Running", mover: bool = False, claim: str = "data"
) -> dict[str, Any]:
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}}
    labels = {OWNER_UID_LABEL: "u-2"} if mover else {}
    return {
        "metadata": {"name": "user", "labels": labels},
        "spec": {"nodeName": "n", "volumes": [volume]},
        "status": {"phase": phase},
    }


WRITERS = {
    "nobody": ([], ""),
    "one that writes": ([user()], "Pod user (Running, on node n)"),
    "one that has ended": ([user(phase="Succeeded")], ""),
    "one that only reads": ([user(read_only=True)], ""),
    "a mover that only reads: what it backs up would be half of two things": (
        [user(read_only=True, mover=True)],
        "Pod user (Running, on node n)",
    ),
    "a mover that has ended": ([user(read_only=True, mover=True, phase="Failed")], ""),
    "one of another claim": ([user(claim="other")], ""),
}


@pytest.mark.parametrize("case", WRITERS)
async def test_who_must_not_be_at_a_claim_that_is_to_be_written(case: str) -> None:
    pods, said = WRITERS[case]
    server = ScriptedTransport(answer(body={"metadata": {}, "items": pods}))
    claim = ObjectMeta(name="data", namespace="shop", uid="u-3")
    assert (await inquire(Client(server), Inquire("PersistentVolumeClaim", claim, writers=True))).text == said
