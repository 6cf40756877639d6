"""What is told at a claim that is to be filled by a DataMoverRestore."""

from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api import names, reasons
from datamover.api.names import FillingReason
from datamover.api.names import RestorePhase as Phase
from datamover.plans.known import Known
from datamover.plans.steps import Emit
from datamover.reconcilers.restore import claims
from datamover.runs.facts import Unread
from kubekit.words.core import TypedReference
from support.builders import CREATED
from support.restores import INTO, claim, restore, run, status

BACK = TypedReference(api_group=names.GROUP, kind="DataMoverRestore", name="back")


def waiting(source: TypedReference = BACK, **fields: Any) -> Any:
    found = claim(**{"phase": "Pending", **fields})
    return replace(found, spec=replace(found.spec, data_source_ref=source))


def stalled(reason: str, phase: str = Phase.PREPARING, **said: Any) -> Any:
    return restore(status=status(phase, reason=reason, message="the reason", conditions={"Stalled": "True"}, **said))


UID = waiting().metadata.uid
ELSEWHERE = replace(BACK, namespace="elsewhere")
TOLD: dict[str, tuple[Any, Any, str | None, str]] = {
    "there is no such restore": (
        waiting(),
        Unread.MISSING,
        FillingReason.RESTORE_NOT_FOUND,
        "does not exist; create it",
    ),
    "the restore is going": (
        waiting(),
        restore(deletion_timestamp=CREATED),
        FillingReason.RESTORE_NOT_FOUND,
        "is being deleted",
    ),
    "nothing is known of it yet": (waiting(), Unread.NOT_SYNCED, None, ""),
    "it may not be read": (waiting(), Unread.FORBIDDEN, reasons.PERMISSION_MISSING, "may not read"),
    "it is of another namespace": (
        waiting(ELSEWHERE),
        Unread.MISSING,
        FillingReason.NOT_FOR_CLAIM,
        "another namespace",
    ),
    "it restores into another claim": (
        waiting(),
        restore(target=replace(INTO, claim_name="other")),
        FillingReason.NOT_FOR_CLAIM,
        "create one with spec.target.claimName: app-restored",
    ),
    "it has said nothing yet": (waiting(), restore(), None, ""),
    "it is at work": (waiting(), restore(status=status(Phase.RESTORING, reason="Restoring")), None, ""),
    "it waits for a Pod": (
        waiting(),
        restore(status=status(Phase.PREPARING, reason=reasons.WAITING_FOR_CONSUMER, message="the first Pod")),
        reasons.WAITING_FOR_CONSUMER,
        "the first Pod",
    ),
    "something stands in its way": (waiting(), stalled("SecretNotFound"), "SecretNotFound", "waits: the reason"),
    "it has failed": (
        waiting(),
        stalled("StoreUnreachable", Phase.FAILED),
        "StoreUnreachable",
        "has failed: the reason",
    ),
    "it is complete, and was so before there was this claim": (
        waiting(),
        restore(status=status(Phase.COMPLETED, run=run(claim_uid="before"))),
        FillingReason.OVER,
        "create another one",
    ),
    "it is complete, and the volume is about to be shown": (
        waiting(),
        restore(status=status(Phase.COMPLETED, run=run(claim_uid=UID))),
        None,
        "",
    ),
    "the claim has its volume": (waiting(phase="Bound"), Unread.MISSING, None, ""),
    "the claim is about to have one": (waiting(volume_name="pv-1"), Unread.MISSING, None, ""),
    "the claim is going": (waiting(deletion_timestamp=CREATED), Unread.MISSING, None, ""),
}


@pytest.mark.parametrize("case", TOLD)
def test_it_is_told_once(case: str) -> None:
    found, of, reason, words = TOLD[case]
    steps = claims.decide(claims.Facts(found, of)).steps
    if reason is None:
        assert steps == ()
        return
    (event,) = steps
    assert isinstance(event, Emit)
    assert event.reason == reason
    assert words in event.message
    assert claims.decide(claims.Facts(found, of, Known(told=event))).steps == ()
