"""What is counted of collections: how they end, and each step of a handover that the API server refuses."""

from typing import Any

import pytest

from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.metrics.datavolumes import RESULTS
from datamover.plans.known import Refusal
from datamover.plans.learned import Failed, Learned
from datamover.plans.steps import Annotate, Delete, Emit, Patch
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.collection.decide import ACTION, COLLECTED, GIVEN_BACK
from datamover.reconcilers.collection.facts import Settings
from datamover.reconcilers.collection.gather import Around
from datamover.reconcilers.collection.kind import CollectionKind
from kubekit.client.errors import Conflict, Forbidden
from kubekit.words.meta import ObjectMeta
from support.clock import VirtualClock

META = ObjectMeta(name="disk", namespace="vms", uid="dv")
STEP = Patch(DATA_VOLUMES, META, {})
REFUSAL = Refusal("PermissionMissing", "no")
NO = Forbidden("no", status=403)


def count(learned: Learned[Any, Any]) -> list[str]:
    counted: list[str] = []

    class Meter:
        def collected(self, result: str) -> None:
            counted.append(result)

    clock = VirtualClock()
    view = View(Cluster(None, clock=clock))  # type: ignore[arg-type]
    kind = CollectionKind(None, around=Around(view, home="here"), settings=Settings(), meter=Meter())  # type: ignore[arg-type]
    kind.report(learned, DataVolume(metadata=META), now=clock.now())
    assert set(counted) <= set(RESULTS)
    return counted


@pytest.mark.parametrize(
    ("learned", "counted"),
    [
        (Learned(told=Emit("Normal", COLLECTED, "", ACTION)), ["Collected"]),
        (Learned(told=Emit("Normal", GIVEN_BACK, "", ACTION)), ["GivenBack"]),
        (Learned(told=Emit("Warning", "OwnerGone", "", ACTION)), []),
        (Learned(refusal=REFUSAL, failed=Failed(STEP, NO)), ["RequestRefused"]),
        (Learned(refusal=REFUSAL, failed=Failed(Delete(DATA_VOLUMES, META), NO)), ["RequestRefused"]),
        (Learned(refusal=REFUSAL, failed=Failed(Annotate(DATA_VOLUMES, META, {}), NO)), []),
        (Learned(failed=Failed(STEP, Conflict("", status=409))), []),
        (Learned(), []),
    ],
    ids=["collected", "given back", "stays", "refused", "deletion refused", "not told", "conflict", "nothing"],
)
def test_how_a_collection_ends_is_counted_and_what_the_server_refuses_of_it(
    learned: Learned[Any, Any], counted: list[str]
) -> None:
    assert count(learned) == counted
