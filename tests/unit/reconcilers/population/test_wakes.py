"""Whom a change concerns, what is watched for whom, and that all the other claims of a cluster cost nothing."""

import asyncio
from typing import Any

import msgspec
import pytest

from datamover.api.volsync.names import in_use_label, prime_name
from datamover.cli.operator import new_metrics
from datamover.cli.options import Options
from datamover.cli.population import population_kinds
from datamover.cli.surroundings import Definitions, Surroundings
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.population.kind import PopulationKind
from datamover.reconcilers.population.release import ReleaseKind
from kubekit.runtime.store import Key
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SELECTED_NODE
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.clock import VirtualClock
from support.watches import Watches

DATA = Key("apps", "data")
FROM = {"apiGroup": "volsync.backube", "kind": "ReplicationDestination", "name": "restore"}
VERSIONS = iter(range(1, 10_000))


class World:
    def __init__(self) -> None:
        clock = VirtualClock()
        self.cluster = Cluster(None, clock=clock, created_by=("volsync",))  # type: ignore[arg-type]
        self.view = View(self.cluster)
        self.kind = PopulationKind(None, view=self.view)  # type: ignore[arg-type]
        self.release = ReleaseKind(None, view=self.view)  # type: ignore[arg-type]
        self.watches, self.releases = Watches(), Watches()
        self.kind.connect(self.watches)  # type: ignore[arg-type]
        self.release.connect(self.releases)  # type: ignore[arg-type]

    async def run(self) -> list["asyncio.Task[None]"]:
        self.cluster.claims.settled.set()
        self.cluster.snapshots.settled.set()
        tasks = [asyncio.create_task(each.objects.run()) for each in (self.kind, self.release)]
        await asyncio.sleep(0)
        return tasks

    def put(self, informer: Any, resource: Any, name: str, *, namespace: str | None = "apps", **fields: Any) -> Any:
        meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(next(VERSIONS))}
        made = msgspec.convert({"metadata": {**meta, **fields.pop("metadata", {})}, **fields}, resource.type)
        informer.store.put(made)
        return informer.store.get(Key(namespace or "", name))

    def claim(self, name: str = "data", **fields: Any) -> Any:
        fields.setdefault("spec", {"dataSourceRef": FROM})
        return self.put(self.cluster.claims, PERSISTENT_VOLUME_CLAIMS, name, **fields)


@pytest.fixture
async def world() -> Any:
    made = World()
    tasks = await made.run()
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_only_claims_that_name_a_destination_are_worked_on(world: World) -> None:
    world.claim()
    world.claim("plain", spec={"storageClassName": "fast"})
    world.claim("clone", spec={"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "x"}})
    world.claim("others", spec={"dataSourceRef": {"apiGroup": "example.com", "kind": "Thing", "name": "x"}})
    assert [each.metadata.name for each in world.kind.objects.store.list()] == ["data"]
    for name in ("plain", "clone", "others"):
        found = world.view.claim("apps", name)
        assert world.watches.of(world.cluster.claims, found) == []
        assert world.releases.of(world.cluster.claims, found) == []
    kept = world.view.claim("apps", "clone")
    assert kept is not None
    assert kept.spec is not None
    assert kept.spec.data_source_ref is None, "what drivers serve is said in the older field as well, and kept once"


async def test_the_node_of_a_claim_is_kept_only_where_it_is_needed(world: World) -> None:
    node = {"annotations": {SELECTED_NODE: "node-1"}}
    assert world.claim(metadata=node).metadata.annotations == {SELECTED_NODE: "node-1"}
    plain = world.claim("plain", spec={}, metadata=node)
    assert plain.metadata.annotations is None
    labels = {"volsync.backube/populator-pvc-for": "data"}
    prime = world.claim("vs-prime-x", spec={}, metadata={**node, "labels": labels})
    assert prime.metadata.annotations == {SELECTED_NODE: "node-1"}


async def test_a_temporary_claim_and_its_volume_wake_the_claim_that_they_are_for(world: World) -> None:
    claim = world.claim()
    prime = world.claim(prime_name(claim.metadata.uid), spec={})
    assert world.watches.of(world.cluster.claims, prime) == [DATA]
    assert world.watches.of(world.cluster.claims, None, prime) == [DATA], "also when it goes"
    for reference in (
        {"namespace": "apps", "name": prime.metadata.name, "uid": "p"},
        {"namespace": "apps", "name": "data", "uid": claim.metadata.uid},
    ):
        volume = world.put(
            world.cluster.volumes, PERSISTENT_VOLUMES, "pv-1", namespace=None, spec={"claimRef": reference}
        )
        assert world.watches.of(world.cluster.volumes, volume) == [DATA]
    other = {"namespace": "apps", "name": "another", "uid": "u"}
    volume = world.put(world.cluster.volumes, PERSISTENT_VOLUMES, "pv-2", namespace=None, spec={"claimRef": other})
    assert world.watches.of(world.cluster.volumes, volume) == []


async def test_a_class_and_a_snapshot_wake_only_what_is_not_filled_yet(world: World) -> None:
    world.claim()
    world.claim("filled", status={"phase": "Bound"})
    world.claim("elsewhere", namespace="other")
    snapshot = world.put(
        world.cluster.snapshots,
        VOLUME_SNAPSHOTS,
        "image",
        metadata={"labels": {"app.kubernetes.io/created-by": "volsync"}},
    )
    assert world.watches.of(world.cluster.snapshots, snapshot) == [DATA]
    assert sorted(world.watches.of(world.cluster.classes, object())) == [DATA, Key("other", "elsewhere")]


async def test_a_destination_is_watched_while_it_is_needed_and_wakes_who_waits_for_it(world: World) -> None:
    claim = world.claim()
    named = world.kind._destinations
    world.kind.notice(DATA, claim)
    assert len(named) == 1
    named._tell(Key("apps", "restore"))
    assert world.watches.woken == [DATA]
    bound = world.claim(status={"phase": "Bound"})
    world.kind.notice(DATA, bound)
    assert len(named) == 0
    world.kind.notice(DATA, world.claim())
    assert len(named) == 1
    world.kind.forget(DATA)
    assert len(named) == 0


async def test_an_image_of_somebody_elses_is_watched_by_its_name_while_it_is_read(world: World) -> None:
    claim, images = world.claim(), world.kind._images
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "image"}
    world.claim(prime_name(claim.metadata.uid), spec={"dataSource": source})
    world.kind.notice(DATA, claim)
    assert len(images) == 1
    labels = {"app.kubernetes.io/created-by": "volsync"}
    world.put(world.cluster.snapshots, VOLUME_SNAPSHOTS, "image", metadata={"labels": labels})
    world.kind.notice(DATA, claim)
    assert len(images) == 0, "ours are watched anyway"


async def test_a_mark_is_looked_at_when_its_claim_or_the_temporary_one_changes(world: World) -> None:
    claim = world.claim()
    uid = claim.metadata.uid
    labels = {"app.kubernetes.io/created-by": "volsync", in_use_label(uid): "data"}
    image = world.put(world.cluster.snapshots, VOLUME_SNAPSHOTS, "image", metadata={"labels": labels})
    assert world.releases.of(world.cluster.claims, claim) == [Key("apps", "image")]
    prime = world.claim(prime_name(uid), spec={})
    assert world.releases.of(world.cluster.claims, None, prime) == [Key("apps", "image")]

    def stale() -> tuple[str, ...]:
        return world.release.gather(image, known=None, now=None).stale  # type: ignore[arg-type]

    assert stale() == ()
    world.cluster.claims.store.remove(claim.metadata)
    assert stale() == (), "the temporary claim is still there"
    world.cluster.claims.store.remove(prime.metadata)
    assert stale() == (in_use_label(uid),)
    world.claim(metadata={"uid": "another"})
    assert stale() == (in_use_label(uid),), "a successor of that name has marks of its own"


def test_each_controller_has_a_name_of_its_own() -> None:
    """Metrics and `/readyz` go by it; the kinds of the objects would say nothing of what is done, and be other rooms' one day."""
    kinds = population_kinds()
    cluster = Cluster(None, clock=VirtualClock(), created_by=("volsync",))  # type: ignore[arg-type]
    registry, metrics = new_metrics()
    clock = VirtualClock()
    definitions = Definitions(None, clock=clock)  # type: ignore[arg-type]
    around = Surroundings(None, cluster, "c", Options(), registry, metrics, clock, definitions)  # type: ignore[arg-type]
    made = [make(around) for make in kinds]
    assert [each.name for each in made] == ["populated-claim", "image-in-use", "volume-populator"]
    assert all(each.speaks_by_events for each in made)
    (gate,) = {gate for each in made for gate in each.gates}
    assert gate.name == "definition", "one watch of the definition for all"
