"""DataSources: what they come to, when they are ready, and whose labels they bear."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from datamover.api.cdi.data_source import DATA_SOURCES, DataSource
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.known import Known, Refusal
from datamover.plans.steps import REST, Emit, Patch, Plan, WriteStatus
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.data_source.decide import decide
from datamover.reconcilers.data_source.gather import gather
from datamover.reconcilers.data_source.kind import DataSourceKind
from datamover.reconcilers.disks import Disks
from datamover.runs.facts import Unread
from kubekit.runtime.store import Key
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.clock import VirtualClock

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
VERSIONS = iter(range(1, 100_000))
PVC = {"pvc": {"name": "disk"}}


class World:
    """Caches of the product with objects in them, and plans carried out on the one DataSource `golden`."""

    def __init__(self) -> None:
        self.cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
        self.disks = Disks(self.cluster)
        self.view = View(self.cluster)
        self.snapshots: dict[tuple[str, str], Any] = {}
        self.view.named = lambda _, namespace, name: self.snapshots.get((namespace, name), Unread.MISSING)  # type: ignore[method-assign,assignment]
        self.known = Known()

    def put(self, resource: Any, name: str, *, namespace: str = "images", **fields: Any) -> Any:
        meta = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": str(next(VERSIONS))}
        made = msgspec.convert({"metadata": {**meta, **fields.pop("metadata", {})}, **fields}, resource.type)
        if resource is VOLUME_SNAPSHOTS:
            self.snapshots[namespace, name] = made
            return made
        stores = {each.resource: each.store for each in self.cluster.informers()}
        stores[resource].put(made)
        return stores[resource].get(Key(namespace, name))

    def source(self, source: dict[str, Any], name: str = "golden", **fields: Any) -> Any:
        return self.put(DATA_SOURCES, name, spec={"source": source}, **fields)

    def claim(self, phase: str = "Bound", **fields: Any) -> Any:
        return self.put(PERSISTENT_VOLUME_CLAIMS, "disk", status={"phase": phase}, **fields)

    def volume(self, phase: str, **fields: Any) -> Any:
        return self.put(DATA_VOLUMES, "disk", spec={}, status={"phase": phase}, **fields)

    def remove(self, resource: Any, name: str) -> None:
        store = {each.resource: each.store for each in self.cluster.informers()}[resource]
        store.remove(
            msgspec.structs.replace(store.get(Key("images", name)).metadata, resource_version=str(next(VERSIONS)))
        )

    def plan(self) -> Plan[Any]:
        found = self.disks.source("images", "golden")
        assert found is not None
        return decide(gather(found, view=self.view, disks=self.disks, known=self.known, now=NOW))

    def settle(self) -> DataSource:
        """Carry plans out until nothing is left to do; return the DataSource then."""
        for _ in range(5):
            plan = self.plan()
            found = self.disks.source("images", "golden")
            assert found is not None
            if plan == REST:
                return found
            for step in plan.steps:
                tree = msgspec.to_builtins(found)
                if isinstance(step, WriteStatus):
                    tree["status"] = msgspec.to_builtins(step.status)
                elif isinstance(step, Patch):
                    for part, change in step.patch["metadata"].items():
                        merged = {**tree["metadata"].get(part, {}), **change}
                        tree["metadata"][part] = {key: value for key, value in merged.items() if value is not None}
                else:
                    assert isinstance(step, Emit)
                    continue
                tree["metadata"]["resourceVersion"] = str(next(VERSIONS))
                self.disks.sources.store.put(msgspec.convert(tree, DataSource))
                found = self.disks.source("images", "golden")
        raise AssertionError("it never rests")

    def ready(self) -> tuple[str, str | None]:
        status = self.settle().status
        assert status is not None
        (condition,) = status.conditions or ()
        assert condition.type == "Ready"
        assert condition.message
        return condition.status, condition.reason


@pytest.fixture
def world() -> World:
    return World()


def test_g17_a_datasource_follows_its_claim_whether_or_not_there_is_a_datavolume(world: World) -> None:
    world.source(PVC)
    assert world.ready() == ("False", "NotFound"), "neither is there"
    world.claim()
    assert world.ready() == ("True", "Ready"), "a claim without a DataVolume"
    world.remove(PERSISTENT_VOLUME_CLAIMS, "disk")
    assert world.ready() == ("False", "NotFound"), "the claim is deleted"


def test_n15_a_datasource_stays_ready_when_the_datavolume_of_its_claim_is_collected(world: World) -> None:
    world.source(PVC)
    world.claim()
    world.volume("Succeeded")
    assert world.ready() == ("True", "Ready")
    before = world.settle().status
    world.remove(DATA_VOLUMES, "disk")
    assert world.settle().status == before, "nothing is written, so nobody who waits for it sees it blink"


@pytest.mark.parametrize("phase", ["", "Pending", "ImportInProgress", "WaitForFirstConsumer", "Failed", "Paused"])
def test_a_claim_that_is_not_filled_yet_is_not_ready(world: World, phase: str) -> None:
    world.source(PVC)
    world.claim()
    world.volume(phase)
    assert world.ready() == ("False", "DataVolumeNotSucceeded")


@pytest.mark.parametrize(
    ("claim", "reason"),
    [({"phase": "Lost"}, "Lost"), ({"metadata": {"deletionTimestamp": "2026-11-30T11:00:00Z"}}, "NotFound")],
)
def test_a_claim_that_is_lost_or_going_is_not_ready(world: World, claim: dict[str, Any], reason: str) -> None:
    world.source(PVC)
    world.claim(**claim)
    assert world.ready() == ("False", reason)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ("False", "NotFound")),
        ({}, ("False", "SnapshotNotReady")),
        ({"readyToUse": False}, ("False", "SnapshotNotReady")),
        ({"readyToUse": True, "boundVolumeSnapshotContentName": "x"}, ("True", "Ready")),
    ],
)
def test_a_snapshot_is_ready_when_its_driver_says_so(
    world: World, status: dict[str, Any] | None, expected: tuple[str, str]
) -> None:
    world.source({"snapshot": {"name": "disk", "namespace": "elsewhere"}})
    if status is not None:
        world.put(VOLUME_SNAPSHOTS, "disk", namespace="elsewhere", status=status)
    assert world.ready() == expected


def test_one_datasource_may_stand_for_another_and_says_what_it_comes_to(world: World) -> None:
    world.source({"dataSource": {"name": "fedora"}})
    assert world.ready() == ("False", "NotFound")
    world.source({"pvc": {"name": "disk"}}, name="fedora")
    world.claim()
    assert world.ready() == ("True", "Ready")
    status = world.settle().status
    assert status is not None
    assert msgspec.to_builtins(status.source) == {"pvc": {"name": "disk", "namespace": "images"}}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({}, "NoSource"),
        ({"pvc": {"name": ""}}, "NoSource"),
        ({"pvc": {"name": "../../etc"}}, "NoSource"),
        ({"pvc": {"name": "disk", "namespace": "A/b"}}, "NoSource"),
        ({"pvc": {"name": "disk"}, "snapshot": {"name": "disk"}}, "AmbiguousSource"),
        ({"dataSource": {"name": "golden"}}, "SelfReference"),
        ({"dataSource": {"name": "x", "namespace": "other"}}, "CrossNamespaceReference"),
        ({"dataSource": {"name": "deep"}}, "MaxReferenceDepthReached"),
        ({"dataSource": {"name": "empty"}}, "NoSource"),
    ],
)
def test_what_comes_to_nothing_says_why(world: World, source: dict[str, Any], reason: str) -> None:
    world.source({"dataSource": {"name": "deeper"}}, name="deep")
    world.source({}, name="empty")
    world.source(source)
    assert world.ready() == ("False", reason)


def test_labels_come_from_claim_and_datavolume_follow_them_and_leave_the_users_own_alone(world: World) -> None:
    world.source(PVC, metadata={"labels": {"mine": "1", "both": "mine"}})
    preference = "instancetype.kubevirt.io/default-preference"
    theirs = {"both": "theirs", "os": "fedora", preference: "old", "app.kubernetes.io/managed-by": "Helm"}
    world.claim(metadata={"labels": {**theirs, "cdi.kubevirt.io/dataImportCron": "fedora"}})
    world.volume("Succeeded", metadata={"labels": {preference: "new", "argocd.argoproj.io/instance": "x"}})
    found = world.settle().metadata
    assert found.labels == {"mine": "1", "both": "mine", "os": "fedora", preference: "new"}
    world.remove(DATA_VOLUMES, "disk")
    world.claim(metadata={"labels": {preference: "newest"}})
    assert world.settle().metadata.labels == {"mine": "1", "both": "mine", preference: "newest"}
    world.remove(PERSISTENT_VOLUME_CLAIMS, "disk")
    assert world.settle().metadata.labels == {"mine": "1", "both": "mine"}


def test_a_refused_label_is_waited_for_and_the_status_is_told_all_the_same(world: World) -> None:
    world.source(PVC)
    world.claim(metadata={"labels": {"os": "fedora"}})
    world.known = Known(refusal=Refusal("Forbidden", "no", retry_after=7))
    (written, _) = world.plan().steps
    assert isinstance(written, WriteStatus)
    world.source(PVC, status=msgspec.to_builtins(written.status))
    assert world.plan() == Plan(wake_after=7)


def test_an_event_goes_with_a_change_of_reason_only(world: World) -> None:
    world.source(PVC)
    assert [type(step) for step in world.plan().steps] == [WriteStatus, Emit]
    world.settle()
    world.claim()
    written, event = world.plan().steps
    assert isinstance(written, WriteStatus)
    assert isinstance(event, Emit)
    assert (event.type, event.reason) == ("Normal", "Ready")
    world.settle()
    assert world.plan() == REST


class Watches:
    """In the place of a controller."""

    def __init__(self) -> None:
        self.maps: dict[int, Any] = {}

    def watch(self, informer: Any, concerned: Any) -> None:
        self.maps[id(informer)] = concerned


def test_whoever_stands_for_a_disk_is_woken_by_it_also_by_way_of_another(world: World) -> None:
    kind = DataSourceKind(None, view=World().view, disks=world.disks)  # type: ignore[arg-type]
    watches = Watches()
    kind.connect(watches)  # type: ignore[arg-type]
    fedora = world.source(PVC, name="fedora")
    world.source({"dataSource": {"name": "fedora"}})
    world.source({"pvc": {"name": "disk", "namespace": "elsewhere"}}, name="other")
    wanted = [Key("images", "fedora"), Key("images", "golden")]
    assert list(watches.maps[id(world.disks.volumes)](None, world.volume("Succeeded"))) == wanted
    assert list(watches.maps[id(world.disks.volumes)](world.volume("Succeeded"), None)) == wanted
    assert list(watches.maps[id(world.disks.sources)](None, fedora)) == [Key("images", "golden")]
