"""Whom a change concerns where a temporary claim is of another namespace."""

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.known import UNKNOWN
from datamover.plans.steps import Delete, Emit, ProveGone
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.datavolume.facts import Settings
from datamover.reconcilers.datavolume.kind import DataVolumeKind
from datamover.reconcilers.datavolume.remains import RemainsKind
from datamover.reconcilers.disks import Disks
from kubekit.runtime.store import Key
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from support.clock import VirtualClock
from support.watches import Watches

DISK, TEMPORARY = Key("apps", "disk"), Key("images", "prime-uid-claim")
VERSIONS = itertools.count(1)
META = {
    "labels": {
        ours.CREATED_BY_LABEL: ours.CREATED_BY_VALUE,
        ours.OWNER_UID_LABEL: "uid-volume",
        ours.RUN_ID_LABEL: "uid-claim",
    },
    "annotations": {names.ERRAND: "apps/disk", names.COPIED_FROM: "uid-golden"},
}


class World:
    def __init__(self) -> None:
        self.cluster = Cluster(None, clock=VirtualClock(), created_by=(ours.CREATED_BY_VALUE,))  # type: ignore[arg-type]
        view, self.disks = View(self.cluster), Disks(self.cluster)
        for child in DataVolumeKind.children:
            self.cluster.whole(child)
        self.remains = RemainsKind(None, view=view, disks=self.disks)  # type: ignore[arg-type]
        self.removals = Watches()
        self.remains.connect(self.removals)  # type: ignore[arg-type]

    def put(self, informer: Any, resource: Any, key: Key, uid: str, **fields: Any) -> Any:
        meta = {"name": key.name, "namespace": key.namespace, "uid": uid, "resourceVersion": str(next(VERSIONS))}
        made = msgspec.convert({"metadata": {**meta, **fields.pop("metadata", {})}, **fields}, resource.type)
        informer.store.put(made)
        return informer.store.get(key)

    def temporary(self, **fields: Any) -> Any:
        return self.put(
            self.cluster.claims, PERSISTENT_VOLUME_CLAIMS, TEMPORARY, "uid-temporary", metadata=META, **fields
        )


@pytest.fixture
async def world() -> Any:
    made = World()
    made.cluster.claims.settled.set()
    task = asyncio.create_task(made.remains.objects.run())
    await asyncio.sleep(0)
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_temporary_claim_is_looked_at_when_whom_it_is_for_or_its_volume_changes(world: World) -> None:
    world.temporary()
    world.put(world.cluster.claims, PERSISTENT_VOLUME_CLAIMS, Key("images", "plain"), "uid-plain")
    assert [each.metadata.name for each in world.remains.objects.store.list()] == [TEMPORARY.name]
    claim = world.put(world.cluster.claims, PERSISTENT_VOLUME_CLAIMS, DISK, "uid-claim")
    assert world.removals.of(world.cluster.claims, claim) == [TEMPORARY]
    assert world.removals.of(world.cluster.claims, None, claim) == [TEMPORARY]
    volume = world.put(world.disks.volumes, DATA_VOLUMES, DISK, "uid-volume")
    assert world.removals.of(world.disks.volumes, None, volume) == [TEMPORARY]
    reference = {"namespace": "apps", "name": "disk", "uid": "uid-claim"}
    bound = world.put(world.cluster.volumes, PERSISTENT_VOLUMES, Key("", "pv"), "uid-pv", spec={"claimRef": reference})
    assert world.removals.of(world.cluster.volumes, bound) == [TEMPORARY]
    other = world.put(world.cluster.claims, PERSISTENT_VOLUME_CLAIMS, Key("apps", "other"), "uid-other")
    assert world.removals.of(world.cluster.claims, other) == []


async def test_a_temporary_claim_that_nobody_waits_for_is_removed_when_the_server_says_so_too(world: World) -> None:
    found = world.temporary()
    plan = world.remains.decide(world.remains.gather(found, known=UNKNOWN, now=None))  # type: ignore[arg-type]
    prove, delete = plan.steps
    assert isinstance(prove, ProveGone)
    assert (prove.namespace, prove.name, prove.uid, prove.certain) == ("apps", "disk", "uid-volume", True)
    assert isinstance(delete, Delete)
    assert delete.target.uid == "uid-temporary"
    broken = world.remains.broken(found, "x", now=None)  # type: ignore[arg-type]
    assert isinstance(broken[0], Emit)


async def test_a_datavolume_is_woken_by_its_temporary_claim_and_by_the_volume_of_that(world: World) -> None:
    kind = DataVolumeKind(
        None,  # type: ignore[arg-type]
        view=View(world.cluster),
        disks=world.disks,
        settings=Settings(mover_image="example.com/mover:1"),
        meter=None,  # type: ignore[arg-type]
    )
    kind.objects.store.put(world.put(world.disks.volumes, DATA_VOLUMES, DISK, "uid-volume"))
    found = world.temporary()
    assert list(kind._of_claim(None, found)) == [DISK]
    assert list(kind._of_claim(found, None)) == [DISK]
    reference = {"namespace": TEMPORARY.namespace, "name": TEMPORARY.name, "uid": "uid-temporary"}
    volume = world.put(world.cluster.volumes, PERSISTENT_VOLUMES, Key("", "pv"), "uid-pv", spec={"claimRef": reference})
    assert list(kind._of_volume(None, volume)) == [DISK]
