"""Every state in which a claim that is to be filled may be found, and every point at which whoever fills it may be killed."""

import dataclasses
from typing import Any

import pytest

from datamover.api.volsync.names import PopulatorReason as Reason
from datamover.plans.known import Diagnosis, Refusal
from datamover.plans.steps import Annotate, Create, Delete, Emit, Inquire, Patch, Rebind
from datamover.reconcilers.population.decide import decide
from datamover.reconcilers.population.gather import gather
from datamover.runs.facts import Unread
from kubekit.words.core import SELECTED_NODE
from support.populating import NAMESPACE, Replica, Server, later, marks, run

LATE = "WaitForFirstConsumer"


def opened(**options: Any) -> tuple[Server, Replica]:
    server = Server(**options)
    return server, Replica(server)


def asked(server: Server, replica: Replica, **options: Any) -> str:
    """Let the user ask for a claim; return the name of the temporary one."""
    claim = server.ask(**options)
    replica.sync()
    return f"vs-prime-{claim['metadata']['uid']}"


def kinds(steps: tuple[Any, ...]) -> list[str]:
    return [type(step).__name__ for step in steps]


def only(steps: tuple[Any, ...]) -> Emit:
    (event,) = steps
    assert isinstance(event, Emit), steps
    return event


def begun(**options: Any) -> tuple[Server, Replica, str]:
    """A claim whose temporary claim was made."""
    server, replica = opened(**options)
    server.publish("image-1")
    prime = asked(server, replica)
    if options.get("mode") == LATE:
        server.select_node()
        replica.sync()
    replica.work()
    replica.sync()
    return server, replica, prime


def provisioned(**options: Any) -> tuple[Server, Replica, str, dict[str, Any]]:
    """A claim whose temporary claim is bound."""
    server, replica, prime = begun(**options)
    server.provision()
    replica.sync()
    found = server.get("PersistentVolumeClaim", prime)
    assert found is not None
    volume = server.get("PersistentVolume", found["spec"]["volumeName"])
    assert volume is not None
    return server, replica, prime, volume


# The way.


@pytest.mark.parametrize("mode", ["Immediate", LATE])
@pytest.mark.parametrize("policy", ["Delete", "Retain"])
def test_a_claim_gets_the_latest_image_and_nothing_is_left(mode: str, policy: str) -> None:
    server, replica = opened(mode=mode, policy=policy)
    server.publish("image-1")
    claim = server.ask()
    server.select_node()
    run(server, replica)
    assert claim["status"]["phase"] == "Bound"
    assert server.storage == {claim["spec"]["volumeName"]: "image-1"}
    assert server.claims() == ["data"]
    assert marks(server.objects["VolumeSnapshot", "image-1"]) == []
    assert [each.reason for each in replica.told] == [Reason.CLAIM_CREATED, Reason.FINISHED]
    volume = server.objects["PersistentVolume", claim["spec"]["volumeName"]]
    assert volume["metadata"]["annotations"] == {"volsync.backube/populated-from": f"{NAMESPACE}/restore"}
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == policy


def test_nothing_is_written_when_nothing_changes() -> None:
    server, replica = opened()
    asked(server, replica)
    replica.work()
    written, told = server.writes, len(replica.told)
    for _ in range(5):
        assert replica.work() == ()
    server.publish("image-1")
    run(server, replica)
    written = server.writes
    run(server, replica)
    assert (server.writes, told) == (written, 1)


def test_the_temporary_claim_is_like_the_users_in_all_that_a_volume_has_to_fit() -> None:
    server, replica = opened()
    server.publish("image-1")
    prime = asked(
        server, replica, size="3Gi", accessModes=["ReadWriteMany"], volumeMode="Block", volumeAttributesClassName="gold"
    )
    replica.work()
    made = server.objects["PersistentVolumeClaim", prime]
    assert made["spec"] == {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": "3Gi"}},
        "storageClassName": "fast",
        "volumeMode": "Block",
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "image-1"},
        "volumeAttributesClassName": "gold",
    }
    meta = made["metadata"]
    assert meta["labels"]["volsync.backube/populator-pvc-for"] == "data"
    assert meta["labels"]["app.kubernetes.io/created-by"] == "volsync"
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("PersistentVolumeClaim", "data", True)


def test_a_long_name_is_shortened_where_it_is_a_label() -> None:
    server, replica = opened()
    server.publish("image-1")
    prime = asked(server, replica, name="d" * 200)
    replica.work("d" * 200)
    assert (
        len(server.objects["PersistentVolumeClaim", prime]["metadata"]["labels"]["volsync.backube/populator-pvc-for"])
        <= 63
    )


# Waiting.


def _no_destination(server: Server) -> None:
    del server.objects["ReplicationDestination", "restore"]


def _leaving(server: Server) -> None:
    server.delete("ReplicationDestination", "restore")


def _no_image(server: Server) -> None:
    server.objects["ReplicationDestination", "restore"]["status"] = {"lastSyncStartTime": "2026-11-29T12:00:00Z"}


def _direct(server: Server) -> None:
    latest = {"apiGroup": "", "kind": "PersistentVolumeClaim", "name": "restored"}
    server.objects["ReplicationDestination", "restore"]["status"] = {"latestImage": latest}


def _not_ready(server: Server) -> None:
    server.objects["VolumeSnapshot", "image-1"]["status"]["readyToUse"] = False


def _failed(server: Server) -> None:
    server.objects["VolumeSnapshot", "image-1"]["status"] = {"error": {"message": "the array has lost a disk"}}


def _going(server: Server) -> None:
    server.delete("VolumeSnapshot", "image-1")


def _gone(server: Server) -> None:
    del server.objects["VolumeSnapshot", "image-1"]


def _too_large(server: Server) -> None:
    server.objects["VolumeSnapshot", "image-1"]["status"]["restoreSize"] = "5Gi"


def _no_class(server: Server) -> None:
    del server.objects["StorageClass", "fast"]


def _without_snapshots(server: Server) -> None:
    server.objects["StorageClass", "fast"]["provisioner"] = "rancher.io/local-path"


def _late(server: Server) -> None:
    server.objects["StorageClass", "fast"]["volumeBindingMode"] = LATE


def _no_class_named(server: Server) -> None:
    del server.objects["PersistentVolumeClaim", "data"]["spec"]["storageClassName"]


def _class_of_nobody(server: Server) -> None:
    server.objects["PersistentVolumeClaim", "data"]["spec"]["storageClassName"] = ""


def _elsewhere(server: Server) -> None:
    server.objects["PersistentVolumeClaim", "data"]["spec"]["dataSourceRef"]["namespace"] = "other"


def _name_taken(server: Server) -> None:
    uid = server.objects["PersistentVolumeClaim", "data"]["metadata"]["uid"]
    server.put("PersistentVolumeClaim", f"vs-prime-{uid}", spec={}, status={"phase": "Bound"})


@pytest.mark.parametrize(
    ("change", "type_", "reason", "words"),
    [
        (
            _no_destination,
            "Warning",
            Reason.DESTINATION_MISSING,
            "waiting for ReplicationDestination restore, which does not exist",
        ),
        (_leaving, "Warning", Reason.DESTINATION_MISSING, "which is being deleted"),
        (_no_image, "Normal", Reason.NO_IMAGE, "waiting for the first image of ReplicationDestination restore"),
        (_direct, "Warning", Reason.ERROR, "set copyMethod: Snapshot"),
        (_not_ready, "Warning", Reason.IMAGE_NOT_READY, "which is not readyToUse"),
        (_failed, "Warning", Reason.IMAGE_NOT_READY, "the array has lost a disk"),
        (_going, "Warning", Reason.IMAGE_NOT_READY, "which is being deleted"),
        (_gone, "Warning", Reason.IMAGE_NOT_READY, "which does not exist"),
        (_too_large, "Warning", Reason.ERROR, "needs a volume of 5Gi"),
        (_no_class, "Warning", Reason.ERROR, "StorageClass fast does not exist"),
        (_without_snapshots, "Warning", Reason.ERROR, "the local-path provisioner has no cloning"),
        (_late, "Normal", Reason.WAITING_FOR_CONSUMER, "waiting for the first Pod"),
        (_no_class_named, "Warning", Reason.ERROR, "set spec.storageClassName"),
        (_class_of_nobody, "Warning", Reason.ERROR, 'its spec.storageClassName is ""'),
        (_elsewhere, "Warning", Reason.ERROR, "its own namespace only"),
        (_name_taken, "Warning", Reason.ERROR, "is not of its making"),
    ],
)
def test_what_is_waited_for_is_told_once_and_nothing_is_made(change: Any, type_: str, reason: str, words: str) -> None:
    server, replica = opened()
    server.publish("image-1")
    prime = asked(server, replica)
    change(server)
    before = set(server.objects)
    replica.sync()
    event = only(replica.work())
    assert (event.type, event.reason) == (type_, reason), event
    assert words in event.message
    assert event.action, "an event without an action never arrives"
    assert set(server.objects) == before
    assert replica.work() == ()
    assert not any(marks(each) for (kind, _), each in server.objects.items() if kind == "VolumeSnapshot")
    assert change is _name_taken or server.get("PersistentVolumeClaim", prime) is None


@pytest.mark.parametrize("field", ["destination", "image"])
@pytest.mark.parametrize("unread", [Unread.NOT_SYNCED, Unread.FORBIDDEN])
def test_what_is_not_known_yet_is_not_told_and_what_may_not_be_read_is(field: str, unread: Unread) -> None:
    server, replica = opened()
    server.publish("image-1")
    asked(server, replica)
    facts = gather(replica.claim(NAMESPACE, "data"), view=replica, known=replica.known, now=server.now)
    plan = decide(dataclasses.replace(facts, **{field: unread}))
    if unread is Unread.NOT_SYNCED:
        assert plan.steps == ()
    else:
        assert "grant its service account get on" in only(plan.steps).message


def test_a_refusal_of_the_server_is_told_and_waited_out() -> None:
    server, replica = opened()
    server.publish("image-1")
    asked(server, replica)
    replica.known = dataclasses.replace(replica.known, refusal=Refusal("PermissionMissing", "no right", retry_after=7))
    plan = replica.plan()
    assert plan is not None
    assert (only(plan.steps).message, plan.wake_after) == ("no right", 7)
    replica.known = dataclasses.replace(replica.known, refusal=Refusal("PermissionMissing", "no right", fresh=False))
    assert kinds(replica.work()) == ["Patch", "Create", "Emit"]


# While the driver works.


def test_the_image_is_marked_as_long_as_it_is_read_and_the_destination_leaves_it() -> None:
    server, replica, _ = begun()
    assert marks(server.objects["VolumeSnapshot", "image-1"])
    server.publish("image-2")
    server.collect()
    assert server.get("VolumeSnapshot", "image-1") is not None
    run(server, replica)
    claim = server.objects["PersistentVolumeClaim", "data"]
    assert server.storage == {claim["spec"]["volumeName"]: "image-1"}, (
        "it is finished with the image that it was begun with"
    )
    assert marks(server.objects["VolumeSnapshot", "image-1"]) == []


def test_a_mark_that_was_lost_is_set_again() -> None:
    server, replica, _ = begun()
    image = server.objects["VolumeSnapshot", "image-1"]
    image["metadata"]["labels"] = {"app.kubernetes.io/created-by": "volsync"}
    replica.sync()
    assert kinds(replica.work()) == ["Patch"]
    assert marks(image)


def test_an_image_that_vanishes_before_it_was_read_is_replaced_by_the_next() -> None:
    server, replica, prime = begun()
    del server.objects["VolumeSnapshot", "image-1"]
    replica.sync()
    assert kinds(replica.work()) == ["Delete", "Emit"]
    server.publish("image-2")
    server.collect()
    run(server, replica)
    claim = server.objects["PersistentVolumeClaim", "data"]
    assert server.storage == {claim["spec"]["volumeName"]: "image-2"}
    assert server.primes == [prime, prime]


def test_a_driver_that_says_nothing_is_asked_after_a_minute_and_quoted() -> None:
    server, replica, prime = begun()
    plan = replica.plan()
    assert plan is not None
    assert plan.steps == ()
    assert plan.wake_after == pytest.approx(60.1)
    later(server, 61)
    (question,) = replica.work()
    assert isinstance(question, Inquire)
    assert question.target.name == prime
    replica.known = dataclasses.replace(
        replica.known, diagnosis=Diagnosis(question.topic, "ProvisioningFailed: no space")
    )
    event = only(replica.work())
    assert (event.reason, "no space" in event.message) == (Reason.NOT_BOUND, True)
    assert replica.work() == ()


def test_an_image_that_is_being_deleted_is_given_up_once_the_driver_refuses_it() -> None:
    """Who deletes it waits for the temporary claim, which waits for the driver, which waits for nobody."""
    server, replica, prime = begun()
    server.delete("VolumeSnapshot", "image-1")
    later(server, 61)
    replica.sync()
    (question,) = replica.work()
    replica.known = dataclasses.replace(replica.known, diagnosis=Diagnosis(question.topic, None))
    assert kinds(replica.work()) == ["Emit"], "it may be at work"
    replica.known = dataclasses.replace(replica.known, diagnosis=Diagnosis(question.topic, "it is being deleted"))
    assert kinds(replica.work()) == ["Patch", "Delete", "Emit"]
    assert prime in server.primes


def test_a_claim_whose_user_has_chosen_a_volume_is_let_be() -> None:
    server, replica = opened()
    server.publish("image-1")
    asked(server, replica, volumeName="mine")
    assert replica.work() == ()


def test_a_node_that_the_driver_refuses_is_taken_from_the_users_claim_so_that_another_is_chosen() -> None:
    server, replica, prime = begun(mode=LATE)
    made = server.objects["PersistentVolumeClaim", prime]
    assert made["metadata"]["annotations"] == {SELECTED_NODE: "node-1"}
    del made["metadata"]["annotations"][SELECTED_NODE]
    replica.sync()
    assert kinds(replica.work()) == ["Annotate", "Delete", "Emit"]
    assert SELECTED_NODE not in server.objects["PersistentVolumeClaim", "data"]["metadata"]["annotations"]
    server.collect()
    replica.sync()
    assert only(replica.work()).reason == Reason.WAITING_FOR_CONSUMER
    server.select_node(node="node-2")
    run(server, replica)
    assert server.objects["PersistentVolumeClaim", "data"]["status"]["phase"] == "Bound"


def test_a_node_that_was_taken_away_by_a_replica_that_died_is_gone_on_from() -> None:
    server, replica, prime = begun(mode=LATE)
    del server.objects["PersistentVolumeClaim", prime]["metadata"]["annotations"][SELECTED_NODE]
    replica.sync()
    assert isinstance(replica.work(steps=1)[0], Annotate)
    replica.restart()
    assert kinds(replica.work()) == ["Delete"]


# Handing over.


def test_the_volume_is_handed_over_to_the_claim_with_that_uid_under_the_version_that_was_seen() -> None:
    _, replica, _, volume = provisioned()
    (step,) = replica.work()
    assert isinstance(step, Rebind)
    assert volume["spec"]["claimRef"]["name"] == "data"
    assert volume["spec"]["claimRef"]["uid"] == replica.claim(NAMESPACE, "data").metadata.uid
    assert replica.work() == (), "Kubernetes binds it"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"deletionTimestamp": "2026-11-29T12:00:00Z"}, ["Patch", "Delete", "Emit"]),
        ({}, ["Rebind"]),
    ],
)
def test_a_volume_that_is_going_is_not_handed_over(change: dict[str, Any], expected: list[str]) -> None:
    _, replica, _, volume = provisioned()
    volume["metadata"].update(change)
    replica.sync()
    assert kinds(replica.work()) == expected


@pytest.mark.parametrize("phase", ["Released", "Failed"])
def test_a_volume_that_was_given_back_is_not_handed_over(phase: str) -> None:
    _, replica, _, volume = provisioned()
    volume["status"] = {"phase": phase}
    replica.sync()
    assert kinds(replica.work()) == ["Patch", "Delete", "Emit"]


def test_a_volume_that_no_csi_driver_made_is_empty_and_not_handed_over() -> None:
    _, replica, _, volume = provisioned()
    del volume["spec"]["csi"]
    replica.sync()
    assert "it is empty" in only(replica.work()).message


def test_a_volume_of_somebody_else_is_not_handed_over() -> None:
    _, replica, _, volume = provisioned()
    volume["spec"]["claimRef"]["uid"] = "somebody"
    replica.sync()
    assert "somebody else's" in only(replica.work()).message


def test_a_temporary_claim_without_a_source_would_be_empty_and_is_not_handed_over() -> None:
    server, replica, prime, _ = provisioned()
    del server.objects["PersistentVolumeClaim", prime]["spec"]["dataSource"]
    replica.sync()
    assert "would be empty" in only(replica.work()).message


def test_a_volume_that_the_caches_do_not_show_yet_is_waited_for() -> None:
    _, replica, _, volume = provisioned()
    del replica.cached["PersistentVolume", volume["metadata"]["name"]]
    assert replica.work() == ()


def test_a_volume_is_not_handed_over_when_the_claim_is_being_bound_to_another_one() -> None:
    server, replica, _, _ = provisioned()
    server.objects["PersistentVolumeClaim", "data"]["spec"]["volumeName"] = "another"
    replica.sync()
    assert replica.work() == ()


def test_a_temporary_claim_that_lost_its_volume_is_begun_anew() -> None:
    server, replica, prime, volume = provisioned()
    del server.objects["PersistentVolume", volume["metadata"]["name"]]
    server.objects["PersistentVolumeClaim", prime]["status"] = {"phase": "Lost"}
    replica.sync()
    assert kinds(replica.work()) == ["Patch", "Delete", "Emit"]


def test_the_temporary_claim_stays_while_the_caches_show_the_volume_as_its_own() -> None:
    server, replica, prime, volume = provisioned()
    replica.work()
    stale = dict(replica.cached)
    server.bind()
    replica.sync("PersistentVolumeClaim")
    where = ("PersistentVolume", volume["metadata"]["name"])
    replica.cached[where] = {
        **stale[where],
        "spec": {
            **stale[where]["spec"],
            "claimRef": {"uid": server.objects["PersistentVolumeClaim", prime]["metadata"]["uid"]},
        },
    }
    assert replica.work() == ()
    replica.sync()
    assert kinds(replica.work()) == ["Patch", "Delete", "Emit"]


def test_a_claim_that_was_bound_to_another_volume_is_let_be_and_ours_goes() -> None:
    server, replica, _, volume = provisioned()
    claim = server.objects["PersistentVolumeClaim", "data"]
    claim["spec"]["volumeName"], claim["status"] = "another", {"phase": "Bound"}
    replica.sync()
    steps = replica.work()
    assert kinds(steps) == ["Patch", "Delete", "Emit"]
    assert "another volume" in steps[-1].message
    server.collect()
    server.bind()
    assert server.storage == {}
    assert volume["metadata"]["name"] not in [name for _, name in server.objects]


def test_a_bound_claim_is_done_whatever_has_become_of_its_destination() -> None:
    server, replica = opened()
    server.ask()
    claim = server.objects["PersistentVolumeClaim", "data"]
    claim["spec"]["volumeName"], claim["status"] = "mine", {"phase": "Bound"}
    replica.sync()
    assert replica.work() == ()
    uid = claim["metadata"]["uid"]
    server.put("PersistentVolumeClaim", f"vs-prime-{uid}", spec={"volumeName": "mine"}, status={"phase": "Bound"})
    replica.sync()
    assert replica.work() == (), "not ours"


# A claim that is deleted in the middle.


@pytest.mark.parametrize("stage", ["waiting", "begun", "provisioned", "handed over"])
@pytest.mark.parametrize("lingers", [False, True])
def test_a_deleted_claim_takes_all_of_it_along(stage: str, lingers: bool) -> None:
    if stage == "waiting":
        server, replica = opened()
        asked(server, replica)
    elif stage == "begun":
        server, replica, _ = begun()
    else:
        server, replica, _, _ = provisioned()
        if stage == "handed over":
            replica.work()
    server.delete("PersistentVolumeClaim", "data")
    if lingers:  # a Pod that uses it holds it
        replica.sync()
        steps = replica.work()
        assert not any(isinstance(step, Create | Rebind) for step in steps)
        assert any(isinstance(step, Delete) for step in steps) is (stage != "waiting")
        assert replica.work(steps=0) is not None
    server.collect()
    for _ in range(3):
        replica.sync()
        replica.release()
        server.collect()
        server.bind()
    assert server.claims() == []
    assert server.storage == {}
    assert not any(marks(each) for (kind, _), each in server.objects.items() if kind == "VolumeSnapshot")


# Killed anywhere.


@pytest.mark.parametrize("mode", ["Immediate", LATE])
@pytest.mark.parametrize("point", range(9))
def test_whoever_is_killed_after_any_step_the_next_one_goes_on(point: int, mode: str) -> None:
    server = Server(mode=mode)
    server.publish("image-1")
    server.ask()
    server.select_node()
    left = point
    replica = Replica(server)
    for _ in range(20):
        replica.sync()
        if left >= 0:
            planned = replica.work(steps=left)
            left -= len(planned)
            if left < 0:
                replica = Replica(server)
                server.publish("image-2")  # the destination moves on while nobody is there
                server.collect()
        else:
            replica.work()
            replica.sync()
            replica.release()
        server.provision()
        server.bind()
        server.collect()
    claim = server.objects["PersistentVolumeClaim", "data"]
    assert claim["status"]["phase"] == "Bound"
    assert server.storage[claim["spec"]["volumeName"]] in ("image-1", "image-2")
    assert len(server.storage) == 1
    assert server.claims() == ["data"]
    assert not any(marks(each) for (kind, _), each in server.objects.items() if kind == "VolumeSnapshot")


def test_the_first_step_is_the_mark_and_a_kill_after_it_leaves_none_behind() -> None:
    server, replica = opened()
    server.publish("image-1")
    asked(server, replica)
    (mark, *_) = replica.work(steps=1)
    assert isinstance(mark, Patch)
    server.publish("image-2")
    run(server, Replica(server))
    claim = server.objects["PersistentVolumeClaim", "data"]
    assert server.storage == {claim["spec"]["volumeName"]: "image-2"}
    assert not any(marks(each) for (kind, _), each in server.objects.items() if kind == "VolumeSnapshot")
