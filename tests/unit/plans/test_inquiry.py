"""What is asked of the cluster when something does not get on."""

from typing import Any

import pytest

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
