"""DataVolumes that are copies: of a claim by its driver, by way of a snapshot or byte by byte; and of a snapshot."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.plans.steps import ProvePods
from datamover.volumes.cloning import CloneReason
from kubekit.words.quantity import parse_quantity
from support.clones import GI, Cloner, Clones
from support.disks import WHOLE, settle

PVC = {"pvc": {"name": "golden"}}
SNAPSHOT = {"snapshot": {"name": "golden"}}
ANY_SIZE: dict[str, Any] = {}


def opened(*, snapshots: bool = True, **options: Any) -> tuple[Clones, Cloner]:
    server = Clones(**options)
    return server, Cloner(server, snapshots=snapshots)


def sized(size: str) -> dict[str, Any]:
    return {"resources": {"requests": {"storage": size}}}


EXACTLY = {"accessModes": ["ReadWriteOnce"], **sized("1Gi")}


def begin(operator: Cloner) -> None:
    """Decide until the claim is there, before anybody gives it a volume."""
    for _ in range(6):
        operator.sync()
        operator.work()
        operator.server.now += timedelta(seconds=1)  # type: ignore[attr-defined]


def waits(server: Clones) -> tuple[str, str]:
    """What it waits for."""
    ready = server.condition("Ready")
    assert ready["status"] == "False"
    return ready["reason"], ready["message"]


def assert_copied(server: Clones) -> dict[str, Any]:
    claim = server.claim()
    assert claim is not None
    assert server.status()["phase"] == "Succeeded", server.status()
    assert server.storage[claim["spec"]["volumeName"]] == WHOLE
    assert not server.leftovers()
    return claim


@pytest.mark.parametrize(
    ("strategy", "phase", "source"),
    [
        ("csi-clone", "CSICloneInProgress", {"kind": "PersistentVolumeClaim", "name": "golden"}),
        ("snapshot", "SmartClonePVCInProgress", {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot"}),
        ("copy", "CloneInProgress", None),
    ],
)
@pytest.mark.parametrize(
    "wanted", [{"storage": ANY_SIZE}, {"storage": None, "pvc": EXACTLY}], ids=["no size", "its size"]
)
def test_g7_a_claim_is_copied_by_its_driver_by_a_snapshot_or_byte_by_byte_and_nothing_is_left(
    strategy: str, phase: str, source: dict[str, str] | None, wanted: dict[str, Any]
) -> None:
    server, operator = opened(strategy=strategy)
    before = server.hold()
    server.make(source=PVC, **wanted)
    begin(operator)
    server.provision()
    begin(operator)
    settle(server, operator, worker=False)
    settle(server, operator)
    claim = assert_copied(server)
    said = claim["spec"].get("dataSource")
    assert said == source or (said is not None and source is not None and source.items() <= said.items())
    assert phase in [each["phase"] for each in operator.statuses]
    assert server.get("PersistentVolumeClaim", "golden") == before, "the source is not touched"


def test_without_a_word_of_anybody_a_driver_that_snapshots_is_used_so() -> None:
    server, operator = opened()
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator)
    assert assert_copied(server)["spec"]["dataSource"]["kind"] == "VolumeSnapshot"


def test_without_snapshots_a_worker_mounts_both_and_the_source_for_reading_only() -> None:
    server, operator = opened(snapshots=False)
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    job = server.job()
    assert job is not None
    pod = job["spec"]["template"]["spec"]
    source = next(each for each in pod["volumes"] if each["name"] == "source")
    assert source["persistentVolumeClaim"] == {"claimName": "golden", "readOnly": True}
    assert server.environment()["SOURCE"] == "copy"
    settle(server, operator)
    assert_copied(server)


def test_a_claim_that_is_to_be_larger_grows_when_its_driver_has_copied_it() -> None:
    server, operator = opened(strategy="csi-clone", expands=True)
    server.hold()
    server.make(source=PVC, pvc={"accessModes": ["ReadWriteOnce"], **sized("3Gi")}, storage=None)
    settle(server, operator)
    claim = server.claim()
    assert claim is not None
    assert claim["spec"]["resources"]["requests"]["storage"] == str(3 * GI)
    assert server.status()["phase"] == "ExpansionInProgress"
    server.expand()
    settle(server, operator)
    assert_copied(server)


def test_a_claim_that_cannot_grow_is_copied_byte_by_byte() -> None:
    server, operator = opened(strategy="csi-clone")
    server.hold()
    server.make(source=PVC, storage=sized("3Gi"))
    settle(server, operator)
    assert "dataSource" not in assert_copied(server)["spec"]


# What it waits for.


def test_a_source_that_is_missing_is_waited_for() -> None:
    server, operator = opened(strategy="csi-clone")
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator)
    assert waits(server)[0] == CloneReason.SOURCE_MISSING
    assert server.claim() is None
    server.hold()
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("strategy", ["csi-clone", "snapshot", "copy"])
def test_a_source_that_a_pod_may_write_is_waited_for_and_the_pod_is_named(strategy: str) -> None:
    server, operator = opened(strategy=strategy)
    server.hold()
    server.users["golden"] = "Pod vm (Running, on node a)"
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, rounds=60)
    reason, message = waits(server)
    assert reason == CloneReason.SOURCE_IN_USE
    assert "Pod vm (Running, on node a)" in message
    assert server.claim() is None
    assert not server.leftovers()
    server.users.clear()
    server.now += timedelta(seconds=20)
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("strategy", ["csi-clone", "snapshot", "copy"])
def test_l4_a_source_whose_pods_nobody_can_see_counts_as_written(strategy: str) -> None:
    server, operator = opened(strategy=strategy)
    server.hold()
    server.users["golden"] = None
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, rounds=60)
    reason, message = waits(server)
    assert reason == CloneReason.SOURCE_IN_USE
    assert "let the operator list Pods" in message
    assert server.claim() is None
    assert not server.leftovers()
    asked = server.questions
    for _ in range(5):
        operator.sync()
        operator.work(steps=9)
    assert server.questions == asked, "it does not ask without end"
    server.users.clear()
    server.now += timedelta(seconds=20)
    settle(server, operator)
    assert_copied(server)


def test_l9_a_copy_whose_claim_gets_no_volume_asks_one_thing_at_a_time() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE, annotations={names.USE_POPULATOR: "false"})
    begin(operator)
    assert server.claim() is not None
    server.now += timedelta(minutes=10)
    before = server.questions
    for _ in range(12):
        operator.sync()
        operator.work(steps=9)
    assert server.questions - before <= 2
    assert "has no volume yet" in waits(server)[1]
    settle(server, operator)
    assert_copied(server)


def test_a_disk_of_a_device_gets_room_for_the_file_system_that_it_comes_into() -> None:
    server, operator = opened()
    server.hold(mode="Block")
    server.make(source=PVC, storage={"volumeMode": "Filesystem"})
    settle(server, operator)
    claim = assert_copied(server)
    assert parse_quantity(claim["spec"]["resources"]["requests"]["storage"]) > GI


@pytest.mark.parametrize("mode", ["Block", "Filesystem"])
def test_what_comes_out_of_a_file_system_gets_as_much_as_the_claim_that_it_was_in(mode: str) -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage={"volumeMode": mode})
    settle(server, operator)
    assert assert_copied(server)["spec"]["resources"]["requests"]["storage"] == "1Gi"


def test_it_is_looked_again_before_a_worker_reads_a_source_that_was_free_when_the_claim_was_made() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    while server.claim() is None:
        operator.sync()
        operator.work()
    assert server.job() is None
    server.users["golden"] = "Pod vm (Pending, on no node yet)"
    server.now += timedelta(seconds=20)
    settle(server, operator, rounds=60)
    assert server.job() is None
    assert waits(server)[0] == CloneReason.SOURCE_IN_USE


def test_a_worker_that_was_started_is_not_forgotten_while_it_is_waited_for_another_one() -> None:
    """Somebody has deleted its Job: its Pod may still write, and that is asked before there is another one."""
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    before = server.status()["phase"]
    for where in [each for each in server.objects if each[0] in ("Job", "Pod")]:
        del server.objects[where]
    server.users["golden"] = "Pod vm (Running, on node a)"
    server.now += timedelta(seconds=20)
    settle(server, operator, rounds=60)
    assert waits(server)[0] == CloneReason.SOURCE_IN_USE
    assert server.status()["phase"] == before
    server.users.clear()
    server.now += timedelta(seconds=20)
    operator.sync()
    assert any(isinstance(each, ProvePods) for each in operator.work())


def test_n15_a_claim_that_its_datavolume_still_fills_is_waited_for_and_a_collected_one_is_full() -> None:
    server, operator = opened(strategy="csi-clone")
    maker = server.make("golden", source={"blank": {}})
    maker["status"] = {"phase": "ImportInProgress"}
    owner = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "name": "golden",
        "uid": maker["metadata"]["uid"],
        "controller": True,
    }
    source = server.hold(owner=owner)
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.SOURCE_UNPOPULATED
    assert "ImportInProgress" in message
    source["metadata"]["ownerReferences"] = []  # as a collection leaves it
    server.touch(source)
    del server.objects["DataVolume", "golden"]
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("source", [PVC, SNAPSHOT])
def test_what_is_of_another_namespace_is_refused_with_a_way_out(source: dict[str, Any]) -> None:
    server, operator = opened()
    server.hold()
    ((kind, named),) = source.items()
    server.make(source={kind: {**named, "namespace": "elsewhere"}}, storage=sized("1Gi"))
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.ACROSS_NAMESPACES
    assert "upload" in message
    assert server.claim() is None


def test_a_claim_that_would_be_too_small_is_refused_and_never_made() -> None:
    server, operator = opened()
    server.hold(size="2Gi")
    server.make(source=PVC, pvc={"accessModes": ["ReadWriteOnce"], **sized("1Gi")}, storage=None)
    settle(server, operator)
    assert waits(server)[0] == CloneReason.TOO_SMALL
    assert server.claim() is None


# Bad luck.


@pytest.mark.parametrize("strategy", ["csi-clone", "snapshot", "copy"])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_whoever_dies_after_any_step_goes_on_where_it_was(strategy: str, steps: int) -> None:
    server, operator = opened(strategy=strategy)
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    for _ in range(8):
        operator.restart()
        operator.work()  # the question is answered to who goes on
        operator.work(steps=steps)
        server.provision()
        server.bind()
        server.schedule()
        server.collect()
        server.now += timedelta(seconds=1)
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("strategy", ["csi-clone", "snapshot"])
def test_what_its_driver_copies_goes_on_whatever_becomes_of_source_and_strategy(strategy: str) -> None:
    server, operator = opened(strategy=strategy, mode="WaitForFirstConsumer")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator)
    assert server.status()["phase"] == "PendingPopulation"
    server.users["golden"] = "Pod vm (Running, on node a)"
    server.objects["StorageClass", "fast"]["metadata"]["annotations"]["cdi.kubevirt.io/clone-strategy"] = "copy"
    server.select_node("disk")
    settle(server, operator)
    assert_copied(server)
    del server.objects["PersistentVolumeClaim", "golden"]
    settle(server, operator)
    assert_copied(server)


# Another source of the same name.


def test_a_source_that_is_replaced_while_a_worker_copies_is_copied_anew() -> None:
    """Pods go by the name: one that came later, or once more, has read the other one, which may be half full."""
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    before = server.job()
    assert before is not None
    server.hold()
    server.end()
    operator.sync()
    operator.work()
    assert CloneReason.SOURCE_REPLACED in [each.reason for each in operator.told]
    assert server.claim()["status"]["phase"] == "Pending"  # type: ignore[index]
    settle(server, operator, worker=False)
    after = server.job()
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    settle(server, operator)
    assert_copied(server)


def test_a_source_that_only_the_caches_call_the_same_is_not_handed_over() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    server.end()
    operator.sync()
    seen = copy.deepcopy(operator.cached["PersistentVolumeClaim", "golden"])
    server.hold()
    operator.cached["PersistentVolumeClaim", "golden"] = seen
    operator.work()
    volumes = [each["metadata"].get("annotations") or {} for each in server._of_kind("PersistentVolume")]
    assert not [each for each in volumes if names.POPULATED in each]


def test_a_source_that_is_deleted_when_the_worker_is_done_is_not_needed_any_more() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    server.end()
    del server.objects["PersistentVolumeClaim", "golden"]
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("kind", ["claim", "snapshot"])
def test_a_source_that_is_replaced_before_its_driver_has_copied_it_is_told(kind: str) -> None:
    server, operator = opened(strategy="csi-clone", mode="WaitForFirstConsumer")
    again = server.hold if kind == "claim" else server.photograph
    again()
    server.make(source=PVC if kind == "claim" else SNAPSHOT, storage=ANY_SIZE)
    settle(server, operator)
    assert server.status()["phase"] == "PendingPopulation"
    again()
    server.select_node("disk")
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.SOURCE_REPLACED
    assert "delete PersistentVolumeClaim disk" in message
    server.delete("PersistentVolumeClaim", "disk")
    server.collect()
    settle(server, operator)
    server.select_node("disk")
    settle(server, operator)
    assert_copied(server)


def test_a_source_that_is_replaced_when_its_driver_has_copied_it_says_nothing_of_the_copy() -> None:
    server, operator = opened(strategy="csi-clone")
    server.hold()
    server.make(source=PVC, storage=ANY_SIZE)
    while server.claim() is None:
        operator.sync()
        operator.work()
    server.provision()
    server.now += timedelta(hours=1)
    server.hold()
    settle(server, operator)
    assert_copied(server)


def test_a_snapshot_of_somebody_else_under_our_name_is_not_touched() -> None:
    server, operator = opened(strategy="snapshot")
    server.hold()
    made = server.make(source=PVC, storage=ANY_SIZE)
    name = f"clone-{made['metadata']['uid']}"
    labels = {ours.CREATED_BY_LABEL: ours.CREATED_BY_VALUE}
    before = server.put("VolumeSnapshot", name, metadata={"labels": labels}, spec={}, status={"readyToUse": True})
    settle(server, operator)
    assert waits(server)[0] == "NameTaken"
    assert server.get("VolumeSnapshot", name) == before
    assert server.claim() is None


# From a snapshot.


@pytest.mark.parametrize("storage", [ANY_SIZE, sized("1Gi")], ids=["no size", "its size"])
def test_a_snapshot_is_restored_by_its_driver(storage: dict[str, Any]) -> None:
    server, operator = opened()
    before = server.photograph()
    server.make(source=SNAPSHOT, storage=storage)
    begin(operator)
    settle(server, operator)
    assert assert_copied(server)["spec"]["dataSource"]["name"] == "golden"
    assert server.get("VolumeSnapshot", "golden") == before
    assert "CloneFromSnapshotSourceInProgress" in [each["phase"] for each in operator.statuses]


def test_l4_a_copy_is_not_called_populated_before_its_volume_was_seen() -> None:
    server, operator = opened()
    server.photograph()
    server.make(source=SNAPSHOT, storage=sized("1Gi"))
    begin(operator)
    server.provision()
    operator.sync()
    del operator.cached["PersistentVolume", "pv-disk"]
    plan = operator.plan()
    assert plan is not None
    assert plan.steps == ()
    settle(server, operator)
    assert_copied(server)


def test_a_snapshot_that_is_not_ready_is_waited_for() -> None:
    server, operator = opened()
    server.make(source=SNAPSHOT, storage=sized("1Gi"))
    settle(server, operator)
    assert waits(server)[0] == CloneReason.SOURCE_MISSING
    found = server.photograph(ready=False)
    settle(server, operator)
    assert waits(server)[0] == CloneReason.SNAPSHOT_NOT_READY
    found["status"]["readyToUse"] = True
    server.touch(found)
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize(
    ("size", "storage", "reason"),
    [
        ("5Gi", sized("1Gi"), CloneReason.TOO_SMALL),
        (None, ANY_SIZE, CloneReason.TOO_SMALL),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(size: str | None, storage: dict[str, Any], reason: str) -> None:
    server, operator = opened()
    server.photograph(size=size)
    server.make(source=SNAPSHOT, storage=storage)
    settle(server, operator)
    assert waits(server)[0] == reason
    assert server.claim() is None


# By a DataSource, which says another thing by and by.

REFERENCE = {"kind": "DataSource", "name": "fedora"}


def stand_for(server: Clones, source: dict[str, Any]) -> None:
    server.put("DataSource", "fedora", spec={"source": source})


@pytest.mark.parametrize("other", [SNAPSHOT, {"pvc": {"name": "other"}}, None], ids=["snapshot", "claim", "gone"])
def test_l6_what_a_datasource_stood_for_when_the_claim_was_made_is_copied_whatever_it_says_later(other: Any) -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=REFERENCE, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    server.photograph()
    server.hold("other")
    if other is None:
        del server.objects["DataSource", "fedora"]
    else:
        stand_for(server, other)
    job = server.job()
    assert job is not None
    server.delete("Job", job["metadata"]["name"])  # another one copies the same
    settle(server, operator, worker=False)
    job = server.job()
    assert job is not None
    claims = [each.get("persistentVolumeClaim") for each in job["spec"]["template"]["spec"]["volumes"]]
    assert "golden" in [each["claimName"] for each in claims if each]
    settle(server, operator)
    assert_copied(server)


def test_a_datasource_that_turns_to_a_snapshot_leaves_a_claim_that_does_not_say_any_more_what_it_was_made_for() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=REFERENCE, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    forget(server)
    server.photograph()
    stand_for(server, SNAPSHOT)
    settle(server, operator, worker=False)
    reason, message = waits(server)
    assert reason == CloneReason.SOURCE_REPLACED
    assert "delete PersistentVolumeClaim disk" in message
    server.delete("PersistentVolumeClaim", "disk")
    for _ in range(3):
        server.collect()
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("strategy", ["csi-clone", "snapshot"])
def test_a_datasource_is_not_needed_any_more_when_a_driver_makes_the_claim(strategy: str) -> None:
    server, operator = opened(strategy=strategy)
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=REFERENCE, storage=ANY_SIZE)
    while server.claim() is None:
        operator.sync()
        operator.work()
        server.provision()
    del server.objects["DataSource", "fedora"]
    settle(server, operator)
    assert_copied(server)


def test_a_datasource_is_not_needed_any_more_when_the_disk_is_full() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=REFERENCE, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    server.end()
    for _ in range(4):
        operator.sync()
        claim = server.claim()
        if claim is not None and claim["status"]["phase"] == "Bound":
            break
        operator.work()
        server.bind()
    assert server.status()["phase"] != "Succeeded"
    del server.objects["DataSource", "fedora"]
    settle(server, operator)
    assert_copied(server)


def forget(server: Clones) -> None:
    """Somebody removes from the claim what it says of its source."""
    claim = server.claim()
    assert claim is not None
    del claim["metadata"]["annotations"][names.COPIES]
    server.touch(claim)


def test_a_datasource_that_is_gone_is_waited_for_where_the_claim_does_not_say_what_it_stood_for() -> None:
    server, operator = opened(strategy="copy")
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=REFERENCE, storage=ANY_SIZE)
    settle(server, operator, worker=False)
    forget(server)
    del server.objects["DataSource", "fedora"]
    settle(server, operator, worker=False)
    assert waits(server)[0] == "DataSourceNotReady"
