"""Backups of hosted control planes followed from the first snapshot to the last upload: what is written, told and counted, and what is not."""

from dataclasses import replace as changed
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api.hosted_control_plane import STATUS_MAPS, StatusMap, status_name
from datamover.plans.known import Known, Refusal
from datamover.plans.steps import REST, Create, Emit, ProveListed
from datamover.reconcilers.hosted_control_plane.decide import decide
from datamover.runs.facts import Unread
from kubekit.runtime.informer import State
from kubekit.words.core import ConfigMap
from kubekit.words.timestamps import seconds
from support.control_planes import (
    HOSTED,
    UID,
    VELERO,
    at,
    backup,
    claim,
    content,
    hcp,
    held,
    pod_volume_backup,
    snapshot,
    three,
    upload,
)
from support.following import Following


def note_of(world: Following) -> str:
    """Return what `/readyz` tells."""
    assert world.kind.note is not None
    return world.kind.note()


ENDED = {"completion_timestamp": seconds(at(9))}


def test_a_backup_is_followed_from_its_beginning_to_its_end() -> None:
    world = Following(of=backup("InProgress"), plane=hcp(ha=True))
    world.look(at(0))
    first = world.record()
    assert first.control_planes[0].state == "WAITING"
    assert world.proved == []
    world.put(backup(), *three(upload, "InProgress", done=1, total=10))
    world.look(at(1))
    world.put(*three(upload, "Completed", done=10, total=10, created=at(1)))
    assert world.look(at(2)) is None, "nothing is waited for any more"
    (plane,) = world.record().control_planes
    assert (plane.state, plane.completed, plane.total, plane.final) == ("MOVED", 3, 3, True)
    assert [(each.type, each.reason) for each in world.told] == [("Normal", "Moved")]
    assert world.told[0].message == f"{HOSTED}/test-hcp (AWS): all of 3 volumes moved (30 B)"
    assert world.count("reconciliation_duration_seconds_sum", platform="AWS", result="MOVED") == 120
    assert world.count("resources_total", platform="AWS", kind="DataUpload", result="completed") == 3
    assert world.count("volumes_moved", namespace=HOSTED, backup="test-backup") is None
    assert world.writes == 3
    label = "velero.io/backup-name=test-backup"
    assert [(each.resource.plural, each.namespace, each.labels) for each in world.proved] == [
        ("datauploads", VELERO, label),
        ("podvolumebackups", VELERO, label),
        ("volumesnapshots", HOSTED, label),
    ]


def test_the_first_write_is_a_config_map_that_goes_with_the_backup() -> None:
    world = Following(of=backup("InProgress"))
    (step,) = decide(world.facts(at(0))).steps
    assert isinstance(step, Create)
    assert step.resource is STATUS_MAPS
    meta = step.manifest["metadata"]
    assert (meta["namespace"], meta["name"]) == (VELERO, "hosted-control-planes-test-backup")
    assert meta["ownerReferences"] == [
        {"apiVersion": "velero.io/v1", "kind": "Backup", "name": "test-backup", "uid": UID, "controller": False, "blockOwnerDeletion": False}
    ]  # fmt: skip
    assert meta["labels"]["velero.io/exclude-from-backup"] == "true"
    assert set(step.manifest["data"]) == {"state", "message", "status.json"}
    assert step.manifest["data"]["state"] == "WAITING"


def test_nothing_is_written_again_while_nothing_changes() -> None:
    world = Following(upload(phase="InProgress", done=1, total=10))
    waits = [world.look(at(2 + minute / 60)) for minute in range(60)]
    assert world.writes == 1
    assert all(each is not None and each > 60 for each in waits), "and nobody looks again before something may be late"


def test_while_bytes_move_it_is_written_once_in_half_a_minute() -> None:
    world = Following()
    for second in range(121):
        world.put(upload(phase="InProgress", done=second, total=1000))
        wake = world.look(at(2 + second / 60))
        assert wake is not None
        assert wake <= 30.2 or second % 30 == 0
    assert world.writes == 5
    assert world.record().control_planes[0].volumes[0].bytes_done == 120


def test_a_phase_is_written_within_five_seconds_and_a_state_at_once() -> None:
    world = Following(upload(phase="Accepted"))
    world.look(at(2))
    world.put(upload(phase="Prepared"))
    assert world.look(at(2) + timedelta(seconds=1)) == pytest.approx(4.1)
    assert world.writes == 1
    world.put(upload(phase="InProgress"))
    world.look(at(2) + timedelta(seconds=5))
    assert world.writes == 2
    world.put(upload(phase="Failed", message="no space"))
    world.look(at(2) + timedelta(seconds=5.5))
    assert world.writes == 3
    assert world.reasons == ["Failed"]


FAILURES = [
    ("an upload that failed", (upload(phase="Failed", message="no space left"),), {}, "Failed", 2.0),
    ("an upload that was cancelled", (upload(phase="Canceled"),), {}, "Failed", 2.0),
    ("a snapshot that is refused", (snapshot(ready=False, error="x"), content(ready=False, error="x")), {}, "Failed", 11.0),
    ("an upload that is late", (upload(phase="InProgress", done=1, total=2),), {}, "TimedOut", 241.0),
    ("a platform without a rule", (upload(phase="InProgress"),), {"plane": hcp("GCP")}, "UnsupportedPlatform", 2.0),
    ("a backup that broke off", (), {"of": backup("Failed", status=ENDED)}, "Failed", 10.0),
]  # fmt: skip


@pytest.mark.parametrize(("objects", "around", "reason", "minutes"), [each[1:] for each in FAILURES], ids=[each[0] for each in FAILURES])  # fmt: skip
def test_a_failure_is_told_by_its_reason(
    objects: tuple[Any, ...], around: dict[str, Any], reason: str, minutes: float
) -> None:
    world = Following(*objects, **around)
    world.look(at(minutes))
    assert [(each.type, each.reason) for each in world.told] == [("Warning", reason)]
    world.look(at(minutes + 1))
    assert world.reasons == [reason], "once"


def test_a_failure_is_counted_when_the_backup_is_over_for_until_then_it_may_come_right() -> None:
    world = Following(upload(phase="InProgress"), of=backup(item_operation_timeout="1m"))
    world.look(at(2))
    world.look(at(31))
    assert world.reasons == ["TimedOut"]
    assert world.count("timeouts_total", platform="AWS") is None
    world.put(upload())
    world.look(at(32))
    assert world.reasons == ["TimedOut", "Moved"]
    assert world.count("timeouts_total", platform="AWS") == 0

    other = Following(upload(phase="Failed"))
    other.look(at(2))
    assert other.count("errors_total", platform="AWS", reason="Failed") is None
    other.put(backup("PartiallyFailed", status=ENDED))
    other.look(at(9))
    assert other.count("errors_total", platform="AWS", reason="Failed") == 1
    assert other.count("resources_total", platform="AWS", kind="DataUpload", result="failed") == 1
    assert other.reasons == ["Failed"]


PARTLY = {"errors": 2}


def test_a_claim_that_is_lost_fails_it_after_the_server_was_asked_for_what_the_caches_may_not_know() -> None:
    world = Following(
        upload("a"), held("a"), held("b"), of=backup("WaitingForPluginOperationsPartiallyFailed", status=PARTLY)
    )
    world.look(at(2))
    assert [each.resource.plural for each in world.proved] == ["datauploads", "podvolumebackups", "volumesnapshots"]
    assert world.reasons == ["Failed"]
    assert "claim b" in world.told[0].message
    world.look(at(3))
    assert len(world.proved) == 3, "once"
    world.put(backup("PartiallyFailed", status={**PARTLY, **ENDED}))
    world.look(at(9))
    assert world.record().final
    assert world.count("errors_total", platform="AWS", reason="Failed") == 1


@pytest.mark.parametrize(
    "marks",
    [{"annotations": {"velero.io/skip-from-backup": "x"}}, {"labels": {"velero.io/exclude-from-backup": "true"}}],
)
def test_the_caches_keep_what_leaves_a_claim_out(marks: Any) -> None:
    world = Following(
        upload("a"), held("a"), held("b", **marks), of=backup("PartiallyFailed", status={**PARTLY, **ENDED})
    )
    world.look(at(9))
    assert world.reasons == ["Moved"]


@pytest.mark.parametrize("kept", [(), (snapshot("a"), content("a"))], ids=["all are removed", "one is still there"])
def test_what_has_failed_stays_so_when_velero_removes_the_snapshots_at_the_end(kept: Any) -> None:
    """Nothing of the backup was to be moved: what tells of it is gone with its end."""
    taken = [each for name in ("a", "c") for each in (snapshot(name), content(name))]
    phase = "WaitingForPluginOperationsPartiallyFailed"
    world = Following(*taken, held("a"), held("b"), held("c"), of=backup(phase, move=False, status=PARTLY))
    world.look(at(2))
    assert world.record().control_planes[0].state == "FAILED"
    for later in ("FinalizingPartiallyFailed", "PartiallyFailed"):
        for each in taken:
            world.remove(each)
        world.put(*kept, backup(later, move=False, status={**PARTLY, **ENDED}))
        world.look(at(8))
    (plane,) = world.record().control_planes
    assert (plane.state, plane.final) == ("FAILED", True)
    assert "claim b" in plane.description
    assert world.reasons == ["Failed"]
    assert world.count("errors_total", platform="AWS", reason="Failed") == 1


def test_a_timeout_comes_at_its_moment_without_a_change() -> None:
    world = Following(upload(phase="New"), of=backup(item_operation_timeout="35m"))
    world.look(at(2))
    world.look(at(12))
    wake = world.look(at(20))
    assert wake == pytest.approx(15 * 60, abs=1), "created at 0, 35 minutes"


# --- stalls --------------------------------------------------------------------------------------------------------


def test_bytes_that_do_not_move_for_ten_minutes_are_a_stall_and_no_failure() -> None:
    world = Following(upload(phase="InProgress", done=5, total=10, node="worker-1"))
    assert world.look(at(2)) == pytest.approx(600, abs=1)
    world.look(at(11.9))
    assert world.reasons == []
    world.look(at(12.1))
    (event,) = world.told
    assert (event.type, event.reason) == ("Warning", "Stalled")
    assert "claim data-etcd-0 does not go on since 2026-01-01T12:02:00Z" in event.message
    assert "Nothing is given up for that before 2026-01-01T16:00:00Z" in event.message
    assert world.record().control_planes[0].state == "WAITING"
    assert world.count("volumes_stalled", namespace=HOSTED, backup="test-backup") == 1
    world.look(at(30))
    assert world.writes == 2, "told once"
    world.put(upload(phase="InProgress", done=6, total=10, node="worker-1"))
    world.look(at(31))
    assert not world.record().control_planes[0].volumes[0].stalled
    assert world.count("volumes_stalled", namespace=HOSTED, backup="test-backup") == 0
    world.look(at(42))
    assert world.reasons == ["Stalled", "Stalled"], "the next one is another one"


def test_a_stall_is_known_after_a_restart() -> None:
    world = Following(upload(phase="InProgress", done=5, total=10))
    world.look(at(2))
    world.restart()
    world.look(at(11))
    assert world.reasons == []
    world.look(at(12.1))
    assert world.reasons == ["Stalled"]
    world.restart()
    world.look(at(20))
    assert (world.reasons, world.writes) == (["Stalled"], 2)


WAITING_FOR = [
    ("no node-agent takes it", (upload(phase="New"),), True),
    ("no node takes its Pod", (upload(phase="Accepted", accepted_timestamp=seconds(at(0))),), True),
    ("nobody moves anything, and it waits for its turn", (upload(phase="Prepared"),), True),
    (
        "another one is moved on its node",
        (upload(phase="Prepared", node="a"), upload("x", "InProgress", of=backup(name="other", uid="o"), node="a")),
        False,
    ),
    (
        "another one is moved on another node",
        (upload(phase="Prepared", node="a"), upload("x", "InProgress", of=backup(name="other", uid="o"), node="b")),
        True,
    ),
    (
        "others are moved, and it is not taken yet",
        (upload(phase="New"), upload("x", "InProgress", of=backup(name="other", uid="o"), node="b")),
        False,
    ),
    ("the driver does not finish", (snapshot(ready=False), content(ready=False)), True),
    ("it is moved", (upload(),), False),
    ("it has failed", (upload(phase="Failed"),), False),
]


@pytest.mark.parametrize(("objects", "stalled"), [each[1:] for each in WAITING_FOR], ids=[each[0] for each in WAITING_FOR])  # fmt: skip
def test_what_waits_for_a_node_is_stalled_too_but_not_what_waits_for_its_turn(
    objects: tuple[Any, ...], stalled: bool
) -> None:
    world = Following(*objects, of=backup(csi_snapshot_timeout="1h"))
    world.look(at(1))
    world.look(at(11.5))
    assert ("Stalled" in world.reasons) is stalled


def test_claims_of_which_nothing_is_seen_do_not_stall() -> None:
    world = Following(claim(), of=backup("InProgress"))
    world.look(at(1))
    assert world.look(at(60)) is None
    assert world.reasons == []


# --- nothing is told anew ------------------------------------------------------------------------------------------


def test_a_restart_over_backups_that_are_over_writes_and_counts_nothing() -> None:
    world = Following(upload())
    world.look(at(2))
    world.put(backup("Completed", status=ENDED))
    before = world.writes
    world.restart()
    for minutes in (9, 10, 600, 100_000):
        assert world.look(at(minutes)) is None
    assert world.writes == before == 1
    assert world.reasons == ["Moved"]
    assert world.count("reconciliation_duration_seconds_count", platform="AWS", result="MOVED") is None


@pytest.mark.parametrize(
    ("minutes", "told"), [(10, ["Moved"]), (68, ["Moved"]), (70, []), (100_000, [])], ids=["now", "soon", "late", "old"]
)
def test_a_backup_that_ended_while_nobody_looked_is_told_within_an_hour(minutes: float, told: list[str]) -> None:
    world = Following(upload(), of=backup("Completed", status=ENDED))
    world.look(at(minutes))
    assert world.reasons == told
    assert world.writes == len(told)


def test_a_backup_that_another_cluster_has_made_is_not_told() -> None:
    """Velero makes Backups of what it finds at the storage location: they were over before they were there."""
    found = backup("Completed", status={"completion_timestamp": seconds(at(-1))})
    world = Following(of=found)
    assert world.look(at(1)) is None
    assert world.writes == 0


def test_what_somebody_removes_of_a_backup_that_is_told_is_not_made_again() -> None:
    world = Following(upload())
    world.look(at(2))
    world.put(backup("Completed", status=ENDED))
    world.remove(world.around.statuses.store.list()[0])
    world.look(at(9))
    assert world.writes == 1


def test_what_somebody_removes_of_one_under_way_is_written_again() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    world.remove(world.around.statuses.store.list()[0])
    world.look(at(3))
    assert world.writes == 2


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"controlPlanes": [{"state": "GREAT"}]}', '{"controlPlanes": 1}', "x" * 2_000_000]
)
def test_what_somebody_writes_there_is_not_believed(text: str) -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    (found,) = world.around.statuses.store.list()
    world.put(replace(found, data={"status.json": text}))
    world.look(at(3))
    assert world.record().control_planes[0].state == "WAITING"
    assert world.writes == 2


def test_a_backup_that_is_deleted_is_left_alone() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    world.put(backup("Deleting"))
    world.remove(upload())
    assert world.look(at(3)) is None
    assert world.writes == 1
    world.kind.forget(next(iter(world.kind.objects.store.keys())))
    assert world.count("volumes_moved", namespace=HOSTED, backup="test-backup") is None


def test_a_predecessors_config_map_is_waited_out() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    world.put(backup(uid="another"))
    assert decide(world.facts(at(3))).steps == ()
    world.remove(world.around.statuses.store.list()[0])
    step = next(each for each in decide(world.facts(at(3))).steps if not isinstance(each, ProveListed))
    assert isinstance(step, Create)


def test_nothing_is_called_moved_before_the_server_was_asked_for_what_the_caches_may_not_know() -> None:
    world = Following(upload())
    *proofs, write, event = decide(world.facts(at(2))).steps
    assert {type(each) for each in proofs} == {ProveListed}
    assert (type(write), type(event)) == (Create, Emit)
    failed = Following(upload(phase="Failed"))
    assert not [each for each in decide(failed.facts(at(2))).steps if isinstance(each, ProveListed)], (
        "a failure is seen"
    )


# --- which control planes, and what cannot be read -----------------------------------------------------------------


def test_a_backup_without_a_control_plane_is_not_looked_at() -> None:
    world = Following(of=backup("InProgress", included_namespaces=("shop",)))
    assert world.look(at(1)) is None
    assert world.writes == 0


def test_two_control_planes_have_one_config_map_and_an_event_each() -> None:
    other = hcp("Azure", namespace="clusters-b", name="b")
    world = Following(upload(), upload("b-0", "Failed", namespace="clusters-b"), other, of=backup(included_namespaces=("*",)))  # fmt: skip
    world.look(at(2))
    assert world.reasons == ["Failed", "Moved"]
    (found,) = world.around.statuses.store.list()
    data = found.data or {}
    assert data["state"] == "FAILED"
    assert data["message"].startswith("1 FAILED, 1 MOVED; clusters-b/b: ")


def test_of_more_control_planes_than_are_followed_the_number_is_told() -> None:
    others = [hcp(namespace=f"clusters-{number:03}", name="a") for number in range(70)]
    world = Following(*others, of=backup("InProgress", included_namespaces=("*",)))
    world.look(at(1))
    assert (len(world.record().control_planes), world.record().left_off) == (64, 7)
    world.put(hcp(namespace="a-first", name="a"))
    world.look(at(2))
    assert "a-first" not in [each.namespace for each in world.record().control_planes], "who is in stays in"


def test_a_control_plane_that_a_restore_has_made_is_not_of_the_backup() -> None:
    made = hcp()
    world = Following(plane=replace(made, metadata=replace(made.metadata, creation_timestamp=seconds(at(5)))))
    assert world.look(at(6)) is None
    world.put(backup("InProgress"))
    world.look(at(6))
    assert world.writes == 1, "as long as Velero collects, it may be"


def test_a_control_plane_that_goes_is_followed_to_its_end() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    world.remove(hcp())
    world.put(upload())
    world.look(at(3))
    assert world.record().control_planes[0].platform == "AWS"
    assert world.reasons == ["Moved"]


def test_while_a_cache_is_filled_nothing_is_decided() -> None:
    world = Following(upload())
    for informer in (world.around.planes, world.around.uploads, world.around.claims):
        informer.synced.clear()
        assert decide(world.facts(at(2))) == REST
        informer.synced.set()
    world.view.configuration = Unread.NOT_SYNCED
    assert decide(world.facts(at(2))) == REST


def test_what_may_not_be_read_is_unknown_and_told_when_the_backup_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Following()
    monkeypatch.setattr(world.around.uploads, "_down_since", 0.0)
    monkeypatch.setattr(world.around.uploads, "_down_as", State.FORBIDDEN)
    world.around.uploads.problem = "datauploads is forbidden"
    world.look(at(2))
    (plane,) = world.record().control_planes
    assert (plane.state, plane.final) == ("UNKNOWN", False)
    assert "datauploads is forbidden" in plane.description
    assert world.reasons == []
    world.put(backup("Completed", status=ENDED))
    world.look(at(9))
    assert [(each.type, each.reason) for each in world.told] == [("Warning", "Unknown")]
    assert "DataUpload: datauploads is forbidden" in note_of(world)


def test_a_kind_that_an_api_server_does_not_serve_for_a_moment_is_not_called_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """One that begins says of kinds that it is about to serve that they are not there; a backup that ends just then would be unknown for ever."""
    world = Following(upload(), of=backup("Completed", status=ENDED))
    monkeypatch.setattr(world.around.uploads, "_down_as", State.ABSENT)
    monkeypatch.setattr(world.around.uploads, "_down_since", world.clock.monotonic() - 1)
    assert decide(world.facts(at(9))) == REST
    monkeypatch.setattr(world.around.uploads, "_down_since", world.clock.monotonic() - 31)
    world.look(at(9))
    assert world.reasons == ["Unknown"]


def test_control_planes_that_may_not_be_read_are_told_by_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Following()
    assert note_of(world) == f"follows backups of hosted control planes in namespace {VELERO}"
    monkeypatch.setattr(world.around.planes, "_down_since", 0.0)
    monkeypatch.setattr(world.around.planes, "_down_as", State.FORBIDDEN)
    assert decide(world.facts(at(2))) == REST
    assert "HostedControlPlane: it may not be read, so that nothing is followed" in note_of(world)
    monkeypatch.setattr(world.kind.objects, "_down_since", 0.0)
    monkeypatch.setattr(world.kind.objects, "_down_as", State.FORBIDDEN)
    assert "Backup: it may not be read, so that nothing is followed" in note_of(world)
    monkeypatch.setattr(world.around.planes, "_down_as", State.ABSENT)
    assert world.facts(at(2)).planes is not None, "a cluster without the kind has none, or has them no more"


def test_the_plugins_configuration_holds_and_a_wrong_one_is_told_once() -> None:
    world = Following(upload(phase="InProgress"))
    world.view.configuration = ConfigMap(data={"dataUploadTimeout": "15"})
    world.look(at(2))
    assert world.record().control_planes[0].volumes[0].deadline == seconds(at(15))
    world.view.configuration = ConfigMap(data={"dataUploadTimeout": "15m"})
    world.look(at(3))
    world.look(at(4))
    assert [(each.type, each.reason) for each in world.told] == [("Warning", "InvalidConfiguration")]
    assert "dataUploadTimeout" in world.told[0].message
    assert world.record().notes


def test_a_refusal_is_told_once_and_waited_out() -> None:
    world = Following(upload(phase="InProgress"))
    refusal = Refusal("PermissionMissing", "no", retry_after=9)
    world.known = Known(refusal=refusal)
    plan = decide(world.facts(at(2)))
    (event,) = plan.steps
    assert isinstance(event, Emit)
    world.known = Known(refusal=refusal, told=event)
    again = decide(world.facts(at(2)))
    assert (again.steps, again.wake_after) == ((), 9)
    world.known = Known(refusal=changed(refusal, fresh=False), told=event)
    assert len(decide(world.facts(at(2))).steps) == 1


def test_a_clock_that_went_back_does_not_silence_it() -> None:
    world = Following(upload(phase="InProgress", done=1, total=9))
    world.look(at(30))
    world.put(upload(phase="InProgress", done=2, total=9))
    world.look(at(2))
    assert world.writes == 2


def test_volumes_that_pods_are_copied_from_are_followed_too() -> None:
    world = Following(pod_volume_backup(phase="InProgress"), of=backup(fs=True))
    world.look(at(2))
    world.put(pod_volume_backup())
    world.look(at(3))
    assert world.reasons == ["Moved"]
    assert world.count("resources_total", platform="AWS", kind="PodVolumeBackup", result="completed") == 1


def test_a_status_is_shown_while_it_is_under_way_and_again_after_a_restart() -> None:
    world = Following(upload(), upload("data-etcd-1", "InProgress"))
    world.look(at(2))
    world.restart()
    labels = {"namespace": HOSTED, "backup": "test-backup"}
    assert (world.count("volumes_moved", **labels), world.count("volumes_expected", **labels)) == (1, 2)


def test_a_name_of_any_length_makes_a_name() -> None:
    assert len({status_name("a" * length) for length in range(1, 254)}) == 253
    assert all(len(status_name("a" * length)) <= 253 for length in range(1, 254))
    assert StatusMap is STATUS_MAPS.type
