"""What others learn of restores: which claims are being written, or were left half restored."""

import pytest

from datamover.api.names import RestorePhase as Phase
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.restore.caches import Caches
from kubekit.runtime.store import Key
from support.clock import VirtualClock
from support.restores import CLAIM, FROM_MOVER, restore, run, status

TOLD = ("DataMoverRestore back",)
WRITING = {
    "not begun": (None, ()),
    "prepares": (status(Phase.PREPARING), TOLD),
    "writes": (status(Phase.RESTORING), TOLD),
    "cleans up": (status(Phase.CLEANING_UP), ()),
    "complete": (status(Phase.COMPLETED), ()),
    "failed, and touched nothing": (status(Phase.FAILED, run=run(target="untouched")), ()),
    "failed half-way": (status(Phase.FAILED, run=run(target="marked")), TOLD),
}


def shelf(*restores: DataMoverRestore) -> tuple[Cluster, Caches]:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    caches = Caches(None, cluster=cluster, clock=VirtualClock())  # type: ignore[arg-type]
    for each in restores:
        caches.restores.store.observe(each)
    return cluster, caches


@pytest.mark.parametrize("case", WRITING)
def test_who_writes_a_claim_is_told_to_whoever_copies_it(case: str) -> None:
    said, expected = WRITING[case]
    cluster, _ = shelf(restore(status=said))
    assert View(cluster).restorers("default", CLAIM) == expected
    assert View(cluster).restorers("elsewhere", CLAIM) == ()


def test_a_change_of_a_data_mover_or_a_claim_finds_the_restores_that_name_it() -> None:
    _, caches = shelf(restore(source=FROM_MOVER))
    back = [Key("default", "back")]
    assert list(caches.restores_of_mover(Key("default", "nightly"))) == back
    assert list(caches.restores_of_claim("default", CLAIM)) == back
    assert list(caches.restores_of_mover(Key("default", "another"))) == []


def test_a_recorded_claim_is_the_one_that_counts() -> None:
    _, caches = shelf(restore(status=status(Phase.RESTORING, run=run(claim="as-it-was"))))
    assert list(caches.restores_of_claim("default", CLAIM)) == []
    assert list(caches.restores_of_claim("default", "as-it-was")) == [Key("default", "back")]
