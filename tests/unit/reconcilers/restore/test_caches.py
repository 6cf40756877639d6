"""What others learn of restores: which claims are being written, or were left half restored."""

from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api.names import Phase as Mover
from datamover.api.names import RestorePhase as Phase
from datamover.api.v1alpha1.restore import DataMoverRestore
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.datamover.caches import Caches as DataMoverCaches
from datamover.reconcilers.restore.caches import Caches
from kubekit.runtime.store import Key
from kubekit.words.core import TypedLocalReference
from support import builders
from support.builders import CREATED
from support.clock import VirtualClock
from support.restores import CLAIM, FROM_MOVER, claim, restore, run, status

TOLD = ("DataMoverRestore back",)
DIRECT = {"copy_method": "Direct"}
HELD: dict[str, Any] = {"suspend": True}
GOING: dict[str, Any] = {"deletion_timestamp": CREATED}


def left(target: str | None = None, *, phase: str = Phase.FAILED, claim_uid: str | None = f"uid-of-{CLAIM}") -> Any:
    """What a restore says whose mover was started with a claim, and what it recorded of it."""
    return status(phase, run=run(target=target, claim_uid=claim_uid))


WRITING: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "not begun": (None, {}, ()),
    "prepares": (status(Phase.PREPARING), {}, TOLD),
    "held before it begins": (status(Phase.PREPARING), HELD, ()),
    "going before it begins": (status(Phase.PREPARING), GOING, ()),
    "writes": (status(Phase.RESTORING), {}, TOLD),
    "held while it writes": (status(Phase.RESTORING), HELD, TOLD),
    "going while it writes": (status(Phase.RESTORING), GOING, TOLD),
    "cleans up": (status(Phase.CLEANING_UP), {}, TOLD),
    "complete": (left("whole", phase=Phase.COMPLETED), {}, ()),
    "complete, and nobody said what it left": (left(phase=Phase.COMPLETED), {}, ()),
    "failed before its mover": (left(claim_uid=None), {}, ()),
    "failed, and touched nothing": (left("untouched"), {}, ()),
    "failed when all was there": (left("whole"), {}, ()),
    "failed half-way": (left("marked"), {}, TOLD),
    "killed without a word": (left(), {}, TOLD),
    "failed half-way in a claim that is gone": (left("marked", claim_uid="another"), {}, ()),
    "killed without a word, and held before it is tried again": (left(phase=Phase.PREPARING), HELD, TOLD),
}


def shelf(*restores: DataMoverRestore) -> tuple[Cluster, Caches]:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    caches = Caches(None, cluster=cluster, clock=VirtualClock())  # type: ignore[arg-type]
    cluster.claims.store.observe(claim())
    for each in restores:
        caches.restores.store.observe(each)
    return cluster, caches


@pytest.mark.parametrize("case", WRITING)
def test_who_writes_a_claim_is_told_to_whoever_copies_it(case: str) -> None:
    said, fields, expected = WRITING[case]
    cluster, _ = shelf(restore(status=said, **fields))
    assert View(cluster).restorers("default", CLAIM) == expected
    assert View(cluster).restorers("elsewhere", CLAIM) == ()


def test_a_change_of_a_data_mover_or_a_claim_finds_the_restores_that_name_it() -> None:
    _, caches = shelf(restore(source=FROM_MOVER))
    back = [Key("default", "back")]
    assert list(caches.restores_of_mover(Key("default", "nightly"))) == back
    assert list(caches.restores_of_claim("default", CLAIM)) == back
    assert list(caches.restores_of_mover(Key("default", "another"))) == []


def test_what_is_still_being_copied_of_a_claim_is_told() -> None:
    cluster, caches = shelf()
    for name, phase, source in (("pending", "Pending", CLAIM), ("there", "Bound", CLAIM), ("other", "Pending", "app")):
        copy = builders.clone(name=name, phase=phase)
        of = TypedLocalReference(kind="PersistentVolumeClaim", name=source)
        cluster.claims.store.observe(replace(copy, spec=replace(copy.spec, data_source=of)))
    for name, ready in (("taken", False), ("ready", True)):
        cluster.snapshots.store.observe(builders.volume_snapshot(name=name, ready_to_use=ready))
    assert caches.copies("default", CLAIM) == ("PersistentVolumeClaim pending is not there yet",)
    assert caches.copies("default", "app-data") == ("VolumeSnapshot taken is not there yet",)
    assert caches.copies("elsewhere", CLAIM) == ()
    # a restore in place waits for no copy of its own: that may be bound by its mover alone
    assert caches.copies("default", CLAIM, but=builders.MOVER_UID) == ()
    assert caches.copies("default", CLAIM, but=builders.OTHER_UID) == (
        "PersistentVolumeClaim pending is not there yet",
    )


READS = {
    "is about to copy": ({}, Mover.CREATING_CLONE, {}, ("DataMover nightly is about to copy it",)),
    "has its copy": ({}, Mover.CLONE_READY, {}, ()),
    "moves its copy": ({}, Mover.CREATING_POD, {}, ()),
    "reads the claim itself": (DIRECT, Mover.CREATING_POD, {}, ("DataMover nightly reads it",)),
    "waits for the restore": (DIRECT, Mover.CREATING_POD, {"conditions": {"Stalled": "True"}}, ()),
    "is complete": (DIRECT, Mover.COMPLETED, {}, ()),
}


@pytest.mark.parametrize("case", READS)
def test_whoever_is_recorded_to_copy_or_read_a_claim_is_told_to_who_restores_into_it(case: str) -> None:
    said, phase, more, expected = READS[case]
    cluster, caches = shelf()
    movers = DataMoverCaches(None, cluster=cluster, clock=VirtualClock())  # type: ignore[arg-type]
    recorded = builders.status(phase, run=builders.run(**said), **more)  # type: ignore[arg-type]
    movers.movers.store.observe(builders.data_mover(name="nightly", status=recorded))
    assert caches.copies("default", "app-data") == expected


def test_a_recorded_claim_is_the_one_that_counts() -> None:
    _, caches = shelf(restore(status=status(Phase.RESTORING, run=run(claim="as-it-was"))))
    assert list(caches.restores_of_claim("default", CLAIM)) == []
    assert list(caches.restores_of_claim("default", "as-it-was")) == [Key("default", "back")]
