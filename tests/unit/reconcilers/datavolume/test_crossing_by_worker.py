"""Copies of what is of another namespace that no driver makes: a worker there fills the temporary claim, whose volume is handed over."""

import copy
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.transfer import Outcome
from datamover.plans.known import Diagnosis
from datamover.volumes.cloning import CloneReason
from support.crossing import (
    GOLDEN,
    IMAGES,
    PVC,
    Crosser,
    Crossings,
    ask,
    assert_copied,
    opened,
    permit,
    stand_for,
    until_bound,
    waits,
)
from support.disks import EMPTY, settle

LATE = "WaitForFirstConsumer"


def begun(**options: Any) -> tuple[Crossings, Crosser]:
    """A worker there is to copy."""
    server, operator = opened(**{"strategy": "copy", **options})
    ask(server)
    return server, operator


def until_running(server: Crossings, operator: Crosser) -> dict[str, Any]:
    """Work until the worker runs, and return its Job."""
    for _ in range(20):
        operator.sync()
        operator.work()
        server.provision()
        server.bind()
        server.schedule()
        server.now += timedelta(seconds=1)
        job = server.job()
        if job is not None and any(
            each["status"]["phase"] == "Running" for each in server.pods(job["metadata"]["name"])
        ):
            operator.sync()
            operator.work()
            return job
    raise AssertionError(server.status())


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]


# The way of all that go well.


@pytest.mark.parametrize("strategy", ["copy", "snapshot", None])
def test_a_worker_copies_where_the_source_is_and_the_volume_is_handed_over(strategy: str | None) -> None:
    server, operator = begun(strategy=strategy)
    before = copy.deepcopy(server.get("PersistentVolumeClaim", "golden"))
    job = until_running(server, operator)
    (temporary,) = server.temporaries()
    assert job["metadata"]["namespace"] == IMAGES
    assert [each["uid"] for each in job["metadata"]["ownerReferences"]] == [temporary["metadata"]["uid"]]
    assert "dataSource" not in temporary["spec"]
    claims = {
        each["name"]: each["persistentVolumeClaim"]
        for each in pod_of(job)["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert claims["source"] == {"claimName": "golden", "readOnly": True}
    assert claims["target"] == {"claimName": temporary["metadata"]["name"]}
    assert server.status()["phase"] == "CloneInProgress"
    assert server.claim()["status"]["phase"] == "Pending", "half a disk can be used"  # type: ignore[index]
    settle(server, operator)
    assert_copied(server)
    assert server.status()["progress"] == "100.0%"
    assert server.get("PersistentVolumeClaim", "golden") == before, "the source is not touched"


def test_of_the_other_namespaces_accounts_and_ranks_nobody_chooses() -> None:
    server, operator = opened(strategy="copy")
    ask(server, serviceAccountName="admin", priorityClassName="first")
    job = until_running(server, operator)
    assert not {"serviceAccountName", "priorityClassName"} & set(pod_of(job))
    assert pod_of(job)["automountServiceAccountToken"] is False


def test_a_larger_claim_of_another_mode_is_written_as_it_is_asked_for() -> None:
    server, operator = opened()
    wanted = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "resources": {"requests": {"storage": "3Gi"}}}
    ask(server, storage=None, pvc=wanted)
    job = until_running(server, operator)
    (temporary,) = server.temporaries()
    assert temporary["spec"]["volumeMode"] == "Block"
    assert temporary["spec"]["resources"]["requests"]["storage"] == "3Gi"
    assert [each["devicePath"] for each in pod_of(job)["containers"][0]["volumeDevices"]]
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("immediate", [True, False])
def test_a_class_that_binds_on_first_use_waits_for_its_first_pod_unless_it_is_not_to(*, immediate: bool) -> None:
    server, operator = opened(strategy="copy", mode=LATE)
    ask(server, annotations={**permit(), **({names.BIND_IMMEDIATELY: ""} if immediate else {})})
    if not immediate:
        settle(server, operator)
        assert server.status()["phase"] == "PendingPopulation"
        assert not server.temporaries()
        server.select_node("disk")
    settle(server, operator)
    assert_copied(server)


# Decided once.


@pytest.mark.parametrize("strategy", ["copy", "csi-clone"])
@pytest.mark.parametrize("change", ["another namespace", "this namespace", "a snapshot", "gone", "the other way"])
def test_l6_what_was_begun_is_finished_whatever_the_datasource_says_and_whoever_may_copy_now(
    strategy: str, change: str
) -> None:
    server, operator = opened(strategy=strategy)
    server.hold()
    stand_for(server, PVC)
    server.make(source=None, sourceRef=GOLDEN, annotations=permit("pvc"), storage={})
    if strategy == "copy":
        until_running(server, operator)
    else:
        until_bound(server, operator)
    (temporary,) = server.temporaries()
    match change:
        case "another namespace":
            stand_for(server, {"pvc": {"name": "golden", "namespace": "elsewhere"}})
        case "this namespace":
            stand_for(server, {"pvc": {"name": "golden", "namespace": "apps"}})
        case "a snapshot":
            server.photograph("moment")
            stand_for(server, {"snapshot": {"name": "moment", "namespace": IMAGES}})
        case "gone":
            del server.objects["DataSource", "fedora"]
        case _:
            other = "copy" if strategy == "csi-clone" else "csi-clone"
            server.objects["StorageClass", "fast"]["metadata"]["annotations"]["cdi.kubevirt.io/clone-strategy"] = other
    operator.restart()
    operator.work()
    assert [each["metadata"]["uid"] for each in server.temporaries()] == [temporary["metadata"]["uid"]]
    server.delete("VolumeSnapshot", "moment")
    settle(server, operator)
    assert_copied(server)


def test_what_is_written_on_the_claim_opens_no_other_namespace() -> None:
    """Whoever owns the claim may write anything on it: the permit is for what it was asked for."""
    server, operator = opened(strategy="copy")
    server.hold()
    server.hold("secret")
    stand_for(server, PVC)
    server.make(source=None, sourceRef=GOLDEN, annotations=permit("pvc"), storage={})
    while server.claim() is None:
        operator.sync()
        operator.work()
    claim = server.claim()
    assert claim is not None
    claim["metadata"]["annotations"][names.COPIES] = claim["metadata"]["annotations"][names.COPIES].replace(
        "golden", "secret"
    )
    server.touch(claim)
    settle(server, operator)
    reason, message = waits(server)
    assert reason == CloneReason.ACROSS_NAMESPACES
    assert "written for another source" in message
    assert server.job() is None
    assert not [each for each in server.temporaries() if each["metadata"]["name"] != "secret"]


# The source.


def test_a_source_that_a_pod_may_write_keeps_the_worker_from_beginning() -> None:
    server, operator = begun()
    while not server.temporaries():
        operator.sync()
        operator.work()
    server.users["golden"] = "Pod vm (Running, on node a)"
    job = server.job()
    if job is not None:
        server.delete("Job", job["metadata"]["name"])
        server.collect()
    server.now += timedelta(seconds=30)
    settle(server, operator, rounds=60)
    reason, message = waits(server)
    assert reason == CloneReason.SOURCE_IN_USE
    assert "Pod vm" in message
    assert server.job() is None
    server.users.clear()
    server.now += timedelta(seconds=30)
    settle(server, operator)
    assert_copied(server)


def test_a_source_that_is_replaced_before_the_worker_began_is_copied_as_it_is_now() -> None:
    server, operator = begun()
    while not server.temporaries():
        operator.sync()
        operator.work()
    job = server.job()
    assert job is None or not server.pods(job["metadata"]["name"])
    if job is not None:
        del server.objects["Job", job["metadata"]["name"]]
    (first,) = server.temporaries()
    server.hold()
    settle(server, operator)
    assert f"PersistentVolumeClaim {first['metadata']['name']}" in server.deleted
    assert_copied(server)


def test_a_source_that_is_replaced_while_a_worker_copies_is_told_and_nothing_is_handed_over() -> None:
    server, operator = begun()
    until_running(server, operator)
    server.hold()
    settle(server, operator)
    assert waits(server)[0] == CloneReason.SOURCE_REPLACED
    assert server.claim()["status"]["phase"] == "Pending"  # type: ignore[index]
    server.delete("PersistentVolumeClaim", "disk")
    server.collect()
    settle(server, operator)
    assert_copied(server)


def test_a_source_that_is_deleted_when_the_worker_is_done_is_not_needed_any_more() -> None:
    server, operator = begun()
    until_running(server, operator)
    server.end()
    del server.objects["PersistentVolumeClaim", "golden"]
    settle(server, operator)
    assert_copied(server)


# The volume.


@pytest.mark.parametrize("field", ["csi", "claimRef", "older"])
def test_nothing_is_written_into_a_volume_that_was_not_made_for_it(field: str) -> None:
    server, operator = begun()
    while not server.temporaries():
        operator.sync()
        operator.work()
    server.provision()
    (temporary,) = server.temporaries()
    for each in list(server.objects):
        if each[0] in ("Job", "Pod"):
            del server.objects[each]
    volume = server.get("PersistentVolume", temporary["spec"]["volumeName"])
    assert volume is not None
    if field == "csi":
        volume["spec"]["csi"] = {"driver": "other.example.com"}
    elif field == "claimRef":
        volume["spec"]["claimRef"] = {"namespace": IMAGES, "name": "x", "uid": "another"}
    else:
        volume["metadata"]["creationTimestamp"] = "2026-11-01T12:00:00Z"
    server.touch(volume)
    for _ in range(5):
        operator.sync()
        operator.work()
    assert waits(server)[0] in (Reason.VOLUME_TAKEN, "StorageClassCannotClone")
    assert server.job() is None
    assert server.storage[volume["metadata"]["name"]] == EMPTY


# Bad luck.


def test_a_worker_that_fails_is_told_and_made_again_after_a_pause() -> None:
    server, operator = begun()
    until_running(server, operator)
    server.end(Outcome(succeeded=False, reason="ChecksumMismatch", message="no room is left"))
    operator.sync()
    operator.work()
    reason, message = waits(server)
    assert reason == "ChecksumMismatch"
    assert "no room" in message
    server.now += timedelta(minutes=10)
    settle(server, operator)
    assert_copied(server)
    assert server.status()["restartCount"] == 1


def test_a_worker_that_leaves_no_last_words_hands_nothing_over() -> None:
    server, operator = begun()
    until_running(server, operator)
    server.end_silently()
    operator.sync()
    operator.work()
    assert waits(server)[0] == "OutcomeMissing"
    assert server.claim()["status"]["phase"] == "Pending"  # type: ignore[index]


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_whoever_dies_after_any_step_goes_on_where_it_was(steps: int) -> None:
    server, operator = begun()
    for _ in range(14):
        operator.restart()
        operator.work()
        operator.work(steps=steps)
        server.provision()
        server.bind()
        server.schedule()
        server.collect()
        server.now += timedelta(seconds=1)
    settle(server, operator)
    assert_copied(server)


@pytest.mark.parametrize("gone", ["the DataVolume", "its claim", "its namespace", "the temporary claim"])
@pytest.mark.parametrize("after", range(0, 24, 2))
def test_l5_whatever_is_deleted_after_any_step_nothing_is_left_beside_the_source(gone: str, after: int) -> None:
    server, operator = begun()
    for done in range(after):
        operator.restart()
        operator.work(steps=None if done % 3 else 1)
        server.provision()
        server.bind()
        server.schedule()
        if done > 14:
            server.end()
        server.collect()
        server.now += timedelta(seconds=1)
    if gone == "the temporary claim":
        for each in server.temporaries():
            server.delete("PersistentVolumeClaim", each["metadata"]["name"])
    elif gone != "its claim":
        server.delete("DataVolume", "disk")
    if gone in ("its claim", "its namespace"):
        server.delete("PersistentVolumeClaim", "disk")
    server.collect()
    server.bind()
    settle(server, operator, rounds=80)
    assert server.get("PersistentVolumeClaim", "golden") is not None
    assert server.get("PersistentVolume", "pv-golden") is not None
    assert not server.temporaries()
    assert not server.leftovers()
    if gone in ("its claim", "the temporary claim"):
        assert_copied(server)
    else:
        assert sorted(server.storage) == ["pv-golden"]


def test_two_replicas_of_which_one_sees_little_start_one_worker() -> None:
    server, one = begun()
    other = Crosser(server)
    for _ in range(30):
        one.sync()
        other.sync("DataVolume", "StorageClass", "PersistentVolumeClaim")
        for each in (other, one):
            each.work()
        server.provision()
        server.bind()
        server.schedule()
        server.now += timedelta(seconds=1)
        assert len(server._of_kind("Job")) <= 1
        assert len(server._of_kind("Pod")) <= 1
    settle(server, one)
    assert_copied(server)


def test_a_job_of_somebody_else_under_our_name_is_not_touched() -> None:
    server, operator = begun()
    while not server.temporaries():
        operator.sync()
        operator.work()
    claim = server.claim()
    assert claim is not None
    name = f"importer-{claim['metadata']['uid']}"
    server.objects.pop(("Job", name), None)
    theirs = server.put("Job", name, metadata={"namespace": IMAGES, "labels": {}}, spec={"writes": "x"}, status={})
    for _ in range(4):
        operator.sync()
        operator.work()
    assert waits(server)[0] == "NameTaken"
    server.delete("DataVolume", "disk")
    server.collect()
    operator.sync()
    operator.work()
    assert server.get("Job", name) is theirs
    assert "deletionTimestamp" not in theirs["metadata"]


# What the driver says.


def test_l10_why_a_driver_does_not_copy_there_is_told() -> None:
    server, operator = opened()
    ask(server)
    while not server.temporaries():
        operator.sync()
        operator.work()
    (temporary,) = server.temporaries()
    server.now += timedelta(minutes=2)
    operator.sync()
    plan = operator.plan()
    assert plan is not None
    (question,) = plan.steps
    assert question.target.uid == temporary["metadata"]["uid"]  # type: ignore[union-attr]
    said = "ProvisioningFailed: rpc error:\n\x1b[31mthe pool is full" + "!" * 5000
    operator.known = dataclasses.replace(
        operator.known, diagnosis=Diagnosis(temporary["metadata"]["uid"], said, age=0.0)
    )
    operator._asked_at = server.now
    operator.work()
    reason, message = waits(server)
    assert reason == Reason.CLAIM_PENDING
    assert f"images/{temporary['metadata']['name']}" in message
    assert "the pool is full" in message
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) < 700
