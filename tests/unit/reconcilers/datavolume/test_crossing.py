"""DataVolumes that copy what is of another namespace: who may, what is made there, whose the volume is in the end, and that nothing is left."""

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import Delete, Emit
from datamover.runs.facts import Unread
from datamover.volumes.cloning import CloneReason
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.clones import GI
from support.crossing import (
    GOLDEN,
    IMAGES,
    KEY,
    PVC,
    Crossings,
    ask,
    assert_copied,
    opened,
    permit,
    stand_for,
    until_bound,
    waits,
)
from support.disks import settle
from support.populating import NAMESPACE

BOTH = pytest.mark.parametrize("kind", ["pvc", "snapshot"])


# The way of all that go well.


@BOTH
def test_g7_a_driver_copies_where_the_source_is_and_the_volume_is_handed_over(kind: str) -> None:
    server, operator = opened()
    ask(server, kind)
    kept = "PersistentVolumeClaim" if kind == "pvc" else "VolumeSnapshot"
    before = copy.deepcopy(server.get(kept, "golden"))
    temporary = until_bound(server, operator)
    assert temporary["metadata"]["namespace"] == IMAGES
    assert temporary["metadata"]["labels"][ours.CREATED_BY_LABEL] == ours.CREATED_BY_VALUE
    assert temporary["metadata"]["annotations"][names.ERRAND] == "apps/disk"
    assert "ownerReferences" not in temporary["metadata"], "Kubernetes deletes what has an owner in another namespace"
    assert temporary["spec"]["dataSource"]["name"] == "golden"
    settle(server, operator)
    assert_copied(server)
    assert server.get(kept, "golden") == before, "the source is not touched"
    assert "dataSource" not in (server.claim() or {})["spec"]


def test_a_claim_that_is_to_be_larger_grows_when_it_has_the_copy() -> None:
    server, operator = opened(expands=True)
    ask(server, storage=None, pvc={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "3Gi"}}})
    settle(server, operator)
    claim = server.claim()
    assert claim is not None
    assert claim["spec"]["resources"]["requests"]["storage"] == str(3 * GI)
    server.expand()
    settle(server, operator)
    assert_copied(server)


def test_a_class_that_binds_on_first_use_has_the_copy_made_where_the_first_pod_is_to_run() -> None:
    server, operator = opened(mode="WaitForFirstConsumer")
    ask(server)
    settle(server, operator)
    assert server.status()["phase"] == "PendingPopulation"
    assert not server.temporaries()
    server.select_node("disk")
    settle(server, operator)
    assert_copied(server)


# Who may.


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "may create datavolumes/source in namespace images"),
        (permit("snapshot"), "written for another source"),
        (permit(source="other"), "written for another source"),
        (permit(name="other"), "written for another DataVolume"),
        (permit(key=b"f" * 32), "is not one that the webhook has written"),
        (permit(at=datetime(2026, 11, 29, 11, 50, tzinfo=UTC)), "was not written when it was created"),
    ],
    ids=["none", "of another kind", "of another source", "of another DataVolume", "forged", "of the one before"],
)
def test_without_a_permit_for_this_very_copy_nothing_is_made_and_nothing_is_told_of_the_source(
    said: dict[str, str], words: str
) -> None:
    server, operator = opened()
    ask(server, annotations=said)
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.ACROSS_NAMESPACES
    assert words in message
    assert "upload" in message
    assert server.claim() is None
    assert not server.temporaries()
    without = message
    del server.objects["PersistentVolumeClaim", "golden"]
    settle(server, operator)
    assert waits(server) == (reason, without), "nobody learns whether it is there"


@pytest.mark.parametrize("way", ["by its name", "by a DataSource"])
def test_a_key_that_becomes_known_later_is_waited_for(way: str) -> None:
    server, operator = opened()
    operator.keys = ()
    if way == "by its name":
        ask(server)
    else:
        server.hold()
        stand_for(server, PVC)
        server.make(source=None, sourceRef=GOLDEN, annotations=permit("pvc"), storage={})
    settle(server, operator)
    assert waits(server)[0] in (CloneReason.ACROSS_NAMESPACES, Reason.DATA_SOURCE_NOT_READY)
    plan = operator.plan()
    assert plan is not None
    assert plan.wake_after, "no watch tells that a key is known"
    operator.restart()
    operator.keys = (KEY,)
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("reference", [True, False], ids=["by a DataSource", "by its name"])
def test_l9_nobody_looks_again_for_a_permit_that_was_never_given(*, reference: bool) -> None:
    server, operator = opened()
    server.hold()
    stand_for(server, PVC)
    server.make(
        source=None if reference else PVC, annotations={}, storage={}, **({"sourceRef": GOLDEN} if reference else {})
    )
    settle(server, operator)
    assert "" not in waits(server)
    plan = operator.plan()
    assert plan is not None
    assert plan.wake_after is None


@pytest.mark.parametrize(
    ("options", "annotations"),
    [({"provisioner": "rancher.io/local-path"}, {}), ({}, {names.USE_POPULATOR: "false"})],
)
def test_what_nobody_can_hand_over_is_refused_with_a_way_out(
    options: dict[str, Any], annotations: dict[str, str]
) -> None:
    server, operator = opened(**options)
    ask(server, annotations={**permit(), **annotations})
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.NEEDS_DRIVER
    assert "VolumeSnapshot" in message
    assert server.claim() is None
    assert not server.temporaries()


def test_a_source_that_a_pod_may_write_is_waited_for() -> None:
    server, operator = opened()
    server.users["golden"] = "Pod vm (Running, on node a)"
    ask(server)
    settle(server, operator, rounds=60)
    assert waits(server)[0] == CloneReason.SOURCE_IN_USE
    assert not server.temporaries()


# Nobody has the disk but who asked for it.


def test_it_is_not_called_populated_as_long_as_a_pod_there_has_the_disk() -> None:
    server, operator = opened()
    ask(server)
    temporary = until_bound(server, operator)
    server.lurkers.add(temporary["metadata"]["name"])
    settle(server, operator, rounds=60)
    reason, message = waits(server)
    assert reason == Reason.TRANSFER_RUNNING
    assert temporary["metadata"]["name"] in message
    server.lurkers.clear()
    settle(server, operator)
    assert_copied(server)


def test_a_claim_of_the_same_name_that_comes_later_keeps_nobody_from_being_populated() -> None:
    server, operator = opened()
    ask(server)
    name = until_bound(server, operator)["metadata"]["name"]
    operator.sync()
    operator.work()
    server.bind()
    operator.sync()
    operator.work()
    server.collect()
    server.put("PersistentVolumeClaim", name, metadata={"namespace": "images"}, spec={}, status={"phase": "Pending"})
    for _ in range(6):
        operator.sync()
        operator.work()
    assert server.claim()["metadata"]["annotations"].get(names.POPULATED)  # type: ignore[index]


def _rename(meta: dict[str, Any]) -> None:
    meta["annotations"][names.ERRAND] = "apps/other"


def _own(meta: dict[str, Any]) -> None:
    meta["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]


def _unlabel(meta: dict[str, Any]) -> None:
    del meta["labels"][ours.CREATED_BY_LABEL]


def _of_another(meta: dict[str, Any]) -> None:
    meta["labels"][ours.OWNER_UID_LABEL] = "another"


@pytest.mark.parametrize("change", [_rename, _own, _unlabel, _of_another])
def test_the_volume_of_a_claim_that_is_not_ours_in_every_point_is_never_handed_over(change: Any) -> None:
    server, operator = opened()
    ask(server)
    temporary = until_bound(server, operator)
    change(temporary["metadata"])
    server.touch(temporary)
    operator.sync()
    plan = operator.plan()
    assert plan is not None
    assert not [each for each in plan.steps if type(each).__name__ in ("Rebind", "Delete")]
    operator.work(steps=1)
    assert waits(server)[0] == "NameTaken"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"claimRef": {"namespace": IMAGES, "name": "x", "uid": "another"}}, Reason.VOLUME_TAKEN),
        ({"csi": {"driver": "other.example.com"}}, "StorageClassCannotClone"),
        ({"csi": None}, "StorageClassCannotClone"),
    ],
)
def test_a_volume_that_is_no_copy_or_somebody_elses_is_never_handed_over(fields: dict[str, Any], reason: str) -> None:
    server, operator = opened()
    ask(server)
    temporary = until_bound(server, operator)
    volume = server.get("PersistentVolume", temporary["spec"]["volumeName"])
    assert volume is not None
    volume["spec"].update(fields)
    server.touch(volume)
    operator.sync()
    operator.work()
    assert waits(server)[0] == reason
    assert server.claim()["status"]["phase"] == "Pending"  # type: ignore[index]


def make_ready(server: Crossings, volume: dict[str, Any], *, way: str) -> None:
    """The volume was not made for the claim: Kubernetes has found that it fits."""
    if way == "older":
        volume["metadata"]["creationTimestamp"] = "2026-11-01T12:00:00Z"
    else:
        volume["metadata"]["annotations"] = {"pv.kubernetes.io/bound-by-controller": "yes"}
    server.touch(volume)


@pytest.mark.parametrize("way", ["older", "bound by Kubernetes"])
def test_a_volume_that_was_ready_made_is_no_copy_and_outlives_the_temporary_claim(way: str) -> None:
    server, operator = opened()
    ask(server)
    temporary = until_bound(server, operator)
    volume = server.get("PersistentVolume", temporary["spec"]["volumeName"])
    assert volume is not None
    make_ready(server, volume, way=way)
    settle(server, operator)
    assert waits(server)[0] == "StorageClassCannotClone"
    assert volume["spec"]["claimRef"]["name"] == temporary["metadata"]["name"]
    server.delete("DataVolume", "disk")
    server.collect()
    settle(server, operator)
    assert not server.temporaries()
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert volume["metadata"]["name"] in server.storage, "somebody's disk has gone with a claim of ours"


@pytest.mark.parametrize("seen", ["late", "forbidden"])
def test_a_temporary_claim_whose_volume_nobody_knows_is_not_deleted(seen: str) -> None:
    server, operator = opened()
    ask(server)
    temporary = until_bound(server, operator)
    named = temporary["spec"]["volumeName"]
    server.delete("DataVolume", "disk")
    server.collect()
    operator.sync()
    del operator.cached["PersistentVolume", named]
    operator.unseen = Unread.NOT_SYNCED if seen == "late" else Unread.FORBIDDEN
    steps = operator.clean()
    assert not [each for each in steps if isinstance(each, Delete)]
    told = [each for each in steps if isinstance(each, Emit)]
    assert [each.reason for each in told] == ([] if seen == "late" else ["PermissionMissing"])
    settle(server, operator)
    assert not server.temporaries()


def test_a_temporary_claim_that_gets_its_volume_in_this_moment_is_looked_at_again() -> None:
    server, operator = opened()
    ask(server)
    for _ in range(6):
        operator.sync()
        operator.work()
    server.delete("DataVolume", "disk")
    server.collect()
    operator.sync()
    facts = [each for each in operator.clean() if isinstance(each, Delete)]
    assert [each.as_seen for each in facts if each.resource is PERSISTENT_VOLUME_CLAIMS] == [True]


def test_the_sources_own_volume_is_never_handed_over() -> None:
    server, operator = opened()
    ask(server)
    temporary = until_bound(server, operator)
    golden = server.get("PersistentVolume", "pv-golden")
    assert golden is not None
    temporary["spec"]["volumeName"] = "pv-golden"
    server.touch(temporary)
    operator.sync()
    operator.work()
    assert waits(server)[0] == Reason.VOLUME_TAKEN
    settle(server, operator)
    assert golden["spec"]["claimRef"]["name"] == "golden"


def test_a_source_that_is_replaced_before_its_driver_began_is_copied_as_it_is_now() -> None:
    server, operator = opened()
    ask(server)
    for _ in range(6):
        operator.sync()
        operator.work()
    (temporary,) = server.temporaries()
    server.hold()
    settle(server, operator)
    assert f"PersistentVolumeClaim {temporary['metadata']['name']}" in server.deleted
    assert_copied(server)


def test_a_source_that_is_replaced_while_it_is_copied_is_told_and_nothing_is_handed_over() -> None:
    server, operator = opened()
    ask(server)
    until_bound(server, operator)
    server.hold()
    settle(server, operator)
    assert waits(server)[0] == CloneReason.SOURCE_REPLACED
    assert server.claim()["status"]["phase"] == "Pending"  # type: ignore[index]
    server.delete("PersistentVolumeClaim", "disk")
    server.collect()
    settle(server, operator)
    assert_copied(server)


def test_a_source_that_is_deleted_when_the_copy_is_there_is_not_needed_any_more() -> None:
    server, operator = opened()
    ask(server)
    until_bound(server, operator)
    del server.objects["PersistentVolumeClaim", "golden"]
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("seen", ["the one before", "none"])
@BOTH
def test_a_source_that_only_the_caches_call_the_same_or_gone_hands_nothing_over(kind: str, seen: str) -> None:
    server, operator = opened()
    ask(server, kind)
    until_bound(server, operator)
    operator.sync()
    if kind == "pvc":
        server.hold()
    else:
        server.photograph()
    if seen == "none":
        del operator.cached["PersistentVolumeClaim" if kind == "pvc" else "VolumeSnapshot", "golden"]
    operator.work()
    server.bind()
    assert server.claim()["status"]["phase"] == "Pending"  # type: ignore[index]
    settle(server, operator)
    assert waits(server)[0] == CloneReason.SOURCE_REPLACED


def test_a_snapshot_of_which_nothing_is_known_yet_is_waited_for() -> None:
    server, operator = opened()
    ask(server, "snapshot")
    until_bound(server, operator)
    operator.sync()
    del operator.cached["VolumeSnapshot", "golden"]
    operator.unread = Unread.NOT_SYNCED
    plan = operator.plan()
    assert plan is not None
    assert plan.steps == ()


def test_no_second_copy_is_begun_while_kubernetes_is_late_to_bind_the_first() -> None:
    server, operator = opened()
    ask(server)
    first = until_bound(server, operator)
    for _ in range(5):
        operator.sync()
        operator.work()
        server.collect()
    assert server.temporaries() == [first]
    settle(server, operator)
    assert_copied(server)


# Nothing is left, whoever dies and whatever is deleted.


@BOTH
@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_whoever_dies_after_any_step_goes_on_where_it_was(kind: str, steps: int) -> None:
    server, operator = opened()
    ask(server, kind)
    for _ in range(10):
        operator.restart()
        operator.work()
        operator.work(steps=steps)
        server.provision()
        server.bind()
        server.collect()
        server.now += timedelta(seconds=1)
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("gone", ["the DataVolume", "its claim", "its namespace"])
@pytest.mark.parametrize("after", range(16))
def test_l5_whatever_is_deleted_after_any_step_nothing_is_left_beside_the_source(gone: str, after: int) -> None:
    server, operator = opened()
    ask(server)
    done = 0
    while done < after:
        operator.restart()
        operator.sync()
        operator.work()
        done += 1
        if done < after and done % 2:
            server.provision()
            server.bind()
            server.collect()
        server.now += timedelta(seconds=1)
    if gone != "its claim":
        server.delete("DataVolume", "disk")
    if gone != "the DataVolume":
        server.delete("PersistentVolumeClaim", "disk")
    server.collect()
    server.bind()
    settle(server, operator)
    assert server.get("PersistentVolumeClaim", "golden") is not None
    assert server.get("PersistentVolume", "pv-golden") is not None
    assert not server.temporaries()
    if gone == "its claim":
        assert_copied(server)
    else:
        assert sorted(server.storage) == ["pv-golden"]


def test_a_datavolume_that_was_made_anew_gets_nothing_of_the_one_before() -> None:
    server, operator = opened()
    ask(server)
    before = until_bound(server, operator)
    server.delete("DataVolume", "disk")
    server.collect()
    server.now += timedelta(minutes=10)
    server.make(source=PVC, annotations=permit(), storage={})
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.ACROSS_NAMESPACES
    assert "was not written when it was created" in message
    assert not server.temporaries(), before


@pytest.mark.parametrize(
    "lie",
    [
        {"name": "precious"},
        {"annotations": {}},
        {"labels": {}},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]},
        {"annotations": {names.ERRAND: "images/disk", names.COPIED_FROM: "x"}},
    ],
    ids=["another name", "for nobody", "not ours", "somebody's", "of the own namespace"],
)
def test_l2_a_claim_that_only_seems_to_be_ours_is_never_deleted(lie: dict[str, Any]) -> None:
    server, operator = opened()
    meta = {
        "name": "prime-gone",
        "namespace": IMAGES,
        "labels": {
            ours.CREATED_BY_LABEL: ours.CREATED_BY_VALUE,
            ours.OWNER_UID_LABEL: "gone",
            ours.RUN_ID_LABEL: "gone",
        },
        "annotations": {names.ERRAND: "apps/disk", names.COPIED_FROM: "x"},
    }
    server.put("PersistentVolumeClaim", "forged", metadata={**meta, **lie}, spec={}, status={"phase": "Bound"})
    operator.sync()
    assert operator.clean() == ()


def test_what_only_the_caches_call_gone_is_not_removed() -> None:
    server, operator = opened()
    ask(server)
    until_bound(server, operator)
    operator.sync()
    del operator.cached["DataVolume", "disk"]
    operator.clean()
    del operator.cached["PersistentVolumeClaim", "disk"]
    operator.clean()
    assert server.deleted == []
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("there", [True, False], ids=["it is there", "it is not"])
@pytest.mark.parametrize("said", [{}, {names.CLONE_PERMIT: "forged"}], ids=["no permit", "a forged one"])
def test_of_a_datasource_of_another_namespace_nothing_is_told_to_who_may_not(
    said: dict[str, str], *, there: bool
) -> None:
    """Else whoever may create DataVolumes could look for DataSources everywhere, and learn what they stand for."""
    server, operator = opened()
    server.hold()
    if there:
        stand_for(server, PVC)
    server.make(source=None, sourceRef=GOLDEN, annotations=said, storage={})
    operator.sync()
    operator.work()
    reason, message = waits(server)
    assert reason == Reason.DATA_SOURCE_NOT_READY
    assert "golden" not in message
    assert "it may be missing, or who created the DataVolume may not copy what it stands for" in message
    assert not server.temporaries()


def test_a_datasource_of_another_namespace_is_copied_for_who_may() -> None:
    server, operator = opened()
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=GOLDEN, annotations=permit("pvc"), storage={})
    until_bound(server, operator)


def test_a_datasource_that_comes_to_the_own_namespace_after_the_volume_was_handed_over_has_nothing_written() -> None:
    """A Pod there may still have the disk by the temporary claim."""
    server, operator = opened()
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=GOLDEN, annotations=permit("pvc"), storage={})
    temporary = until_bound(server, operator)
    server.lurkers.add(temporary["metadata"]["name"])
    settle(server, operator, rounds=60)
    claim = server.claim()
    assert claim is not None
    assert claim["status"]["phase"] == "Bound"
    del claim["metadata"]["annotations"][names.COPIES]  # somebody has removed what it was begun with
    server.touch(claim)
    server.put(
        "PersistentVolumeClaim",
        "near",
        spec={**server.objects["PersistentVolumeClaim", "golden"]["spec"], "volumeName": "pv-near"},
        status={"phase": "Bound", "capacity": {"storage": "1Gi"}},
    )
    uid = server.objects["PersistentVolumeClaim", "near"]["metadata"]["uid"]
    reference = {"namespace": NAMESPACE, "name": "near", "uid": uid}
    server.put("PersistentVolume", "pv-near", spec={"claimRef": reference}, status={"phase": "Bound"})
    stand_for(server, {"pvc": {"name": "near", "namespace": NAMESPACE}})
    settle(server, operator, worker=False, rounds=60)
    assert server.job() is None
    assert waits(server)[0] == CloneReason.SOURCE_REPLACED
