"""What the original's tests leave out: phases, complaints, names, other backups and control planes, and time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api.hypershift import RHCOS_LABEL
from datamover.api.velero.backup import Backup
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.filters import includes
from datamover.verdicts.operation import Operation, decode
from datamover.verdicts.selection import select, to_cancel
from datamover.verdicts.validate import give_up
from datamover.verdicts.verdict import Kind, State, Unread
from kubekit.words.core import ContainerState, ContainerStateWaiting, ContainerStatus, Pod, PodCondition, PodStatus
from kubekit.words.meta import ObjectMeta
from kubekit.words.timestamps import seconds
from support.control_planes import (
    BEGAN,
    FIFTEEN,
    HOSTED,
    NOW,
    at,
    backup,
    claim,
    cluster,
    content,
    hcp,
    judge,
    pod_volume_backup,
    snapshot,
    three,
    upload,
)

UNSET = Configuration()
FAILS = "error reconciling standard data mover: error reconciling "

# --- phases --------------------------------------------------------------------------------------------------------

PHASES = [
    (None, State.WAITING, "New", "no node-agent has taken it yet"),
    ("", State.WAITING, "New", "no node-agent has taken it yet"),
    ("New", State.WAITING, "New", "no node-agent has taken it yet"),
    ("Accepted", State.WAITING, "Accepted", "it is being prepared"),
    ("Prepared", State.WAITING, "Prepared", "waits for its turn"),
    ("InProgress", State.WAITING, "InProgress", "it is moved"),
    ("Canceling", State.WAITING, "Canceling", "it is being cancelled"),
    ("Floating", State.WAITING, "Floating", "its phase is not known here"),
    ("Canceled", State.FAILED, "Canceled", "it was cancelled"),
    ("Failed", State.FAILED, "Failed", "it has failed"),
]


@pytest.mark.parametrize(("phase", "state", "shown", "sentence"), PHASES)
@pytest.mark.parametrize("others", [(), three(upload)[1:]], ids=["alone", "beside two that are moved"])
def test_every_phase_of_an_upload(phase: str | None, state: State, shown: str, sentence: str, others: Any) -> None:
    found = judge(upload(phase=phase), *others, plane=hcp(ha=True))
    assert found.state is state
    assert (found.waits[0].phase, found.waits[0].claim) == (shown, "data-etcd-0")
    assert sentence in found.waits[0].sentence
    assert sentence in found.description
    assert found.completed == len(others)


@pytest.mark.parametrize(("phase", "state", "shown", "sentence"), PHASES)
def test_every_phase_of_a_pod_volume_backup(phase: str | None, state: State, shown: str, sentence: str) -> None:
    found = judge(pod_volume_backup(phase=phase), of=backup(fs=True))
    assert found.state is state
    assert (found.waits[0].kind, found.waits[0].phase) == (Kind.POD_VOLUME_BACKUP, shown)
    assert sentence in found.waits[0].sentence


def test_an_upload_that_failed_fails_at_once_and_says_what_its_mover_said() -> None:
    found = judge(upload("data-etcd-1", "InProgress"), upload(phase="Failed", message="no space left"), now=BEGAN)
    assert found.state is State.FAILED
    assert "(it has failed: no space left)" in found.description
    assert found.waits[0].name == "test-backup-data-etcd-0"
    assert not found.timed_out


def test_an_upload_that_a_user_cancels_is_waited_for_until_it_is_cancelled() -> None:
    asked = judge(upload(phase="InProgress", cancel=True))
    assert asked.state is State.WAITING
    assert "somebody has asked for its cancellation" in asked.description
    found = judge(upload(phase="Canceled", cancel=True))
    assert found.error == (
        f"{FAILS}data upload: dataUpload failed. Name: test-backup-data-etcd-0 Status: Canceled, backup: test-backup"
    )


@pytest.mark.parametrize("phase", ["New", "Queued", "ReadyToStart", "", None])
def test_before_velero_begins_none_seen_is_unknown(phase: str | None) -> None:
    found = judge(of=backup(phase))
    assert found.state is State.WAITING
    assert found.waits[0].kind == Kind.BACKUP
    assert "Velero has not begun" in found.description


def test_while_velero_collects_all_seen_is_not_yet_all() -> None:
    found = judge(*three(upload), plane=hcp(ha=True), of=backup("InProgress"))
    assert found.state is State.WAITING
    assert (found.completed, found.total) == (3, 3)
    assert found.flags.pv_backup_finished
    assert found.flags.du_finished
    assert found.description == "3 of 3 volumes moved so far; Velero is still collecting what is backed up"


@pytest.mark.parametrize(
    "phase",
    [
        "WaitingForPluginOperations",
        "WaitingForPluginOperationsPartiallyFailed",
        "Finalizing",
        "FinalizingPartiallyFailed",
        "Completed",
        "PartiallyFailed",
        "Deleting",
    ],
)
def test_after_velero_has_collected_what_is_there_is_all(phase: str) -> None:
    assert judge(upload(), of=backup(phase)).state is State.MOVED
    assert judge(upload(phase="InProgress"), of=backup(phase)).state is State.WAITING
    assert judge(of=backup(phase)).state is State.NOTHING_TO_MOVE


@pytest.mark.parametrize("phase", ["Failed", "FailedValidation"])
@pytest.mark.parametrize("objects", [(), (upload(),), (upload(phase="InProgress"),)])
def test_a_backup_that_broke_off_has_failed_whatever_was_moved(phase: str, objects: Any) -> None:
    # Velero marks a backup so that was being collected when Velero was restarted
    found = judge(
        *objects,
        of=backup(phase, status={"failure_reason": "found a backup with status InProgress during the server starting"}),
    )
    assert found.state is State.FAILED
    assert found.error.startswith(f"backup test-backup is {phase}: found a backup with status InProgress")
    assert all(wait.kind != Kind.BACKUP for wait in found.waits)


def test_a_backup_that_is_not_valid_says_why() -> None:
    found = judge(of=backup("FailedValidation", status={"validation_errors": ("no storage location",)}))
    assert found.error == "backup test-backup is FailedValidation: no storage location"
    assert judge(of=backup("Failed")).error == "backup test-backup is Failed: it does not say why"


# --- complaints of storage drivers ---------------------------------------------------------------------------------

COMPLAINTS = [
    ("content", (snapshot(ready=False), content(ready=False, error="rpc timeout")), Kind.CONTENT, "volumeSnapshotContent"),
    ("content, readyToUse not said", (snapshot(ready=None), content(ready=None, error="rpc timeout")), Kind.CONTENT, "volumeSnapshotContent"),
    ("snapshot", (snapshot(ready=False, error="rpc timeout"), content()), Kind.SNAPSHOT, "VolumeSnapshot"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("objects", "kind", "word"), [row[1:] for row in COMPLAINTS], ids=[row[0] for row in COMPLAINTS]
)
def test_a_complaint_is_borne_until_the_snapshot_timeout_and_then_fails(objects: Any, kind: str, word: str) -> None:
    only = backup(move=False, csi_snapshot_timeout="5m0s")
    before = judge(*objects, of=only, configuration=UNSET, now=at(4.99))
    assert (before.state, before.waits[0].kind, before.waits[0].phase) == (State.WAITING, kind, "Error")
    assert before.waits[0].deadline == at(5)
    assert "rpc timeout" in before.description
    after = judge(*objects, of=only, configuration=UNSET, now=at(5))
    assert after.state is State.FAILED
    assert f"{word} failed. Name: " in after.error
    assert "Status: rpc timeout, backup: test-backup" in after.error


def test_a_complaint_of_what_is_ready_is_none() -> None:
    found = judge(snapshot(error="once"), content(error="once"), of=backup(move=False), now=at(1000))
    assert found.state is State.MOVED


def test_a_complaint_without_words_is_one() -> None:
    found = judge(snapshot(ready=False, error=""), content(), of=backup(move=False))
    assert "no message" in found.waits[0].sentence


def test_a_limit_that_was_set_holds_for_complaints_too() -> None:
    objects = (snapshot(ready=False), content(ready=False, error="x"))
    configuration = Configuration.read({"dataUploadTimeout": "3"})
    assert judge(*objects, of=backup(move=False), configuration=configuration, now=at(3)).state is State.FAILED


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [63, 64, 200, 253])
def test_long_names_are_found_by_their_shortened_label(length: int) -> None:
    long = backup(name="b" * length)
    assert judge(upload(of=long), of=long).state is State.MOVED
    only = backup(name="b" * length, move=False)
    assert judge(snapshot(of=only), content(), of=only).state is State.MOVED
    pods = backup(name="b" * length, fs=True)
    assert judge(pod_volume_backup(of=pods), of=pods).state is State.MOVED


def test_long_names_that_begin_alike_are_two_backups() -> None:
    one, other = (backup(name="b" * 100 + end, move=False) for end in ("1", "2"))
    assert judge(snapshot(of=other), content(), of=one).state is State.NOTHING_TO_MOVE


@pytest.mark.parametrize(("mine", "theirs"), [("b", "b-hourly"), ("b-hourly", "b")])
def test_names_that_begin_with_another(mine: str, theirs: str) -> None:
    own, other = backup(name=mine, uid="m"), backup(name=theirs, uid="t")
    assert judge(upload(of=other, phase="Failed"), upload(of=own), of=own).state is State.MOVED
    assert judge(upload(of=other), of=own).state is State.NOTHING_TO_MOVE


def test_without_a_uid_label_the_name_tells() -> None:
    labels = {"velero.io/backup-name": "test-backup"}
    assert judge(upload(labels=labels)).state is State.MOVED
    assert judge(upload(labels={})).state is State.NOTHING_TO_MOVE
    assert (
        judge(upload(labels={"velero.io/backup-name": "test-backup", "velero.io/backup-uid": ""})).state is State.MOVED
    )


def test_a_backup_of_the_same_name_before_this_one_is_another() -> None:
    before = backup(uid="before")
    assert judge(upload(of=before, phase="Failed"), upload(name="new")).state is State.MOVED
    only = backup(move=False)
    old = snapshot("old", ready=False, created=BEGAN - timedelta(seconds=1))
    assert judge(old, snapshot(), content(), of=only).state is State.MOVED


def test_a_snapshot_that_a_restore_has_made_anew_is_not_the_backups() -> None:
    over = backup("Completed", move=False, status={"completion_timestamp": seconds(at(3))})
    assert judge(snapshot(), content(), of=over, now=at(60)).state is State.MOVED
    again = snapshot("again", ready=False, created=at(20))
    assert judge(snapshot(), content(), again, of=over, now=at(60)).state is State.MOVED
    # two clocks: a little later is no proof
    near = snapshot("near", ready=False, created=at(7))
    assert judge(snapshot(), content(), near, of=over, now=at(7)).state is State.WAITING


@pytest.mark.parametrize(
    "phase", [None, "New", "Accepted", "Prepared", "InProgress", "Canceling", "Canceled", "Completed", "Failed"]
)
@pytest.mark.parametrize("asked", [None, False, True])
def test_who_cancels_tells_all_that_have_not_ended_and_were_not_told(phase: str | None, asked: bool | None) -> None:
    chosen = backup()
    other = backup(name="other", uid="o")
    seen = cluster(
        upload(phase=phase, cancel=asked),
        upload(of=other, phase="InProgress"),
        upload(namespace="clusters-other", name="x", phase="InProgress"),
        pod_volume_backup(phase=phase, of=chosen),
    )
    found = to_cancel(select(chosen, namespace=HOSTED, seen=seen))
    going = phase not in ("Canceled", "Completed", "Failed")
    wanted = ["DataUpload"] * (going and not asked) + ["PodVolumeBackup"] * going
    assert [each.resource.kind for each in found] == wanted


# --- two backups, two control planes, namespaces -------------------------------------------------------------------


def test_two_backups_at_once() -> None:
    one, two = backup(name="one", uid="1"), backup(name="two", uid="2")
    objects = (upload(of=one), upload(of=two, phase="InProgress"))
    assert judge(*objects, of=one).state is State.MOVED
    assert judge(*objects, of=two).state is State.WAITING


def test_two_control_planes_in_one_backup() -> None:
    other = hcp(namespace="clusters-other", name="other")
    objects = (upload(), upload(namespace="clusters-other", name="x", phase="InProgress"))
    assert judge(*objects).state is State.MOVED
    assert judge(*objects, plane=other).state is State.WAITING
    pods = (pod_volume_backup(), pod_volume_backup("etcd-1", "Failed", namespace="clusters-other"))
    assert judge(*pods, of=backup(fs=True)).state is State.MOVED
    assert judge(*pods, of=backup(fs=True), plane=other).state is State.FAILED


def test_uploads_of_another_velero_are_not_ours() -> None:
    elsewhere = Backup(
        metadata=ObjectMeta(name="test-backup", namespace="velero2", uid=backup().metadata.uid), spec=backup().spec
    )
    assert judge(upload(of=elsewhere)).state is State.NOTHING_TO_MOVE


NAMESPACES = [
    (None, None, True),
    ((), (), True),
    (("*",), None, True),
    ((HOSTED,), None, True),
    (("clusters-*",), None, True),
    (("clusters-test-hc[op]",), None, True),
    (("clusters",), None, False),
    (("other-*",), None, False),
    (("*",), (HOSTED,), False),
    (None, (HOSTED,), False),
    (None, ("clusters-*",), False),
    (None, ("*",), False),
    ((HOSTED,), ("other",), True),
    (("[",), None, False),
    (("*" * 1_000_000,), None, False),
    (("*a" * 100,), None, False),
]


@pytest.mark.parametrize(("included", "excluded", "expected"), NAMESPACES)
def test_which_namespaces_a_backup_has_in_it(included: Any, excluded: Any, expected: bool) -> None:
    found = backup(included_namespaces=included, excluded_namespaces=excluded)
    assert includes(found, HOSTED) is expected
    assert includes(Backup(), HOSTED)


@pytest.mark.parametrize("phase", [None, "InProgress", "WaitingForPluginOperations"])
def test_a_control_plane_that_is_not_in_the_backup_has_nothing_to_move(phase: str | None) -> None:
    found = judge(of=backup(phase, excluded_namespaces=(HOSTED,)))
    assert found.state is State.NOTHING_TO_MOVE
    assert found.description == f"nothing of namespace {HOSTED} is to be moved: the backup does not include it"


def test_all_namespaces_by_a_star_move_the_control_plane() -> None:
    assert judge(upload(phase="InProgress"), of=backup(included_namespaces=("*",))).state is State.WAITING


# --- how many claims -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("ha", [False, True])
def test_any_number_of_claims(number: int, ha: bool) -> None:
    objects = [upload(f"claim-{index}") for index in range(number)]
    found = judge(*objects, plane=hcp(ha=ha))
    assert (found.state, found.completed, found.total) == (State.MOVED, number, number)
    assert len(found.rows) == number
    assert bool(found.warnings) is (ha and number < 3)
    late = judge(*objects[1:], upload("claim-0", "InProgress"), plane=hcp(ha=ha))
    assert (late.state, late.completed, late.total) == (State.WAITING, number - 1, number)


def test_claims_of_which_nothing_is_left_are_named_and_those_that_came_later_are_not() -> None:
    """Velero may give up on one of them, or the backup leave it out: that looks the same, and is no failure of what is moved."""
    others = [claim(f"lost-{index}", created=BEGAN - timedelta(days=1)) for index in range(10)]
    found = judge(upload("moved"), claim("moved"), *others, claim("young", created=BEGAN + timedelta(seconds=1)))
    assert found.state is State.MOVED
    [warning] = found.warnings
    assert "nothing of 10 claims was snapshotted or moved (lost-0, lost-1" in warning
    assert "lost-7 and 2 more)" in warning
    assert "young" not in warning
    assert found.description.startswith("all of 1 volume moved")
    assert "; nothing was taken of 10 other claims (lost-0, lost-1" in found.description
    [only] = judge(upload("moved"), others[0]).warnings
    assert "nothing of 1 claim was snapshotted or moved (lost-0)" in only
    assert not judge(upload("moved"), *others, of=backup(phase="InProgress")).warnings
    image = claim("image", created=BEGAN - timedelta(days=1), labels={RHCOS_LABEL: "true"})
    assert not judge(upload("moved"), image).warnings


@pytest.mark.parametrize("ha", [False, True])
def test_no_claim_is_nothing_to_move_and_is_told(ha: bool) -> None:
    found = judge(plane=hcp(ha=ha))
    assert (found.state, found.completed, found.total) == (State.NOTHING_TO_MOVE, 0, 0)
    assert "has left no snapshot, no upload and no pod volume backup of it" in found.description
    assert "availability policy" in found.warnings[0]


def test_what_was_left_out_is_told_however_long_the_names_are() -> None:
    others = [claim(f"{index}-{'x' * 250}", created=BEGAN - timedelta(days=1)) for index in range(9)]
    description = judge(upload("moved"), *others).description
    assert len(description) <= 1024
    assert description.startswith("all of 1 volume moved")
    assert "nothing was taken of 9 other claims (0-xxx" in description
    kept = judge(content("moved"), snapshot("moved"), others[0], of=backup(move=False)).description
    assert "nothing was taken of 1 other claim (0-xxx" in kept


def test_claims_of_which_nothing_is_seen_are_rows_and_fail_nothing() -> None:
    rhcos = claim("rhcos", labels={RHCOS_LABEL: "true"})
    found = judge(upload(), claim(), claim("cache"), rhcos, claim("far", namespace="other"))
    assert found.state is State.MOVED
    assert [(row.claim, row.phase) for row in found.rows] == [
        ("cache", "NotSeen"),
        ("rhcos", "Skipped"),
        ("data-etcd-0", "Completed"),
    ]


IMAGE = {RHCOS_LABEL: "true"}


@pytest.mark.parametrize("phase", ["New", "InProgress", "Failed", "Canceled", "Completed"])
def test_an_image_of_a_node_that_velero_moves_all_the_same_decides_nothing(phase: str) -> None:
    image = claim("rhcos", labels=IMAGE)
    found = judge(upload(), upload("rhcos", phase, done=5, total=9), claim(), image, plane=hcp("KubeVirt"))
    assert (found.state, found.completed, found.total, found.bytes_total) == (State.MOVED, 1, 1, 0)
    assert {row.claim: row.phase for row in found.rows} == {"rhcos": "Skipped", "data-etcd-0": "Completed"}
    assert any("1 image of an operating system is moved as well" in warning for warning in found.warnings)
    assert not judge(upload(), claim(), image).warnings


def test_images_of_nodes_are_no_members_of_etcd() -> None:
    images = [claim(name, labels=IMAGE) for name in ("a", "b")]
    found = judge(upload(), upload("a"), upload("b"), *images, plane=hcp("KubeVirt", ha=True), of=backup("InProgress"))
    assert (found.completed, found.total, found.flags.du_finished) == (1, 3, False)


def test_an_image_is_known_by_its_snapshot_where_claims_may_not_be_read() -> None:
    taken = snapshot("rhcos", ready=False)
    labels = {**(taken.metadata.labels or {}), **IMAGE}
    taken = replace(taken, metadata=replace(taken.metadata, labels=labels))
    objects = (snapshot(), content(), taken)
    assert judge(*objects, of=backup(move=False), unread=(Unread(Kind.CLAIM, "no"),)).state is State.MOVED
    pods = (pod_volume_backup("virt-launcher-x", "Failed", claim="rhcos"), pod_volume_backup())
    assert judge(*pods, claim("rhcos", labels=IMAGE), of=backup(fs=True)).state is State.MOVED


def test_who_cancels_reaches_images_too_and_only_what_carries_the_uid() -> None:
    seen = cluster(upload("rhcos", "InProgress"), claim("rhcos", labels=IMAGE))
    assert [each.metadata.name for each in to_cancel(select(backup(), namespace=HOSTED, seen=seen))] == [
        "test-backup-rhcos"
    ]
    named = {"velero.io/backup-name": "test-backup"}
    older = cluster(upload(phase="InProgress", labels=named))
    assert to_cancel(select(backup(), namespace=HOSTED, seen=older)) == ()


def test_a_claim_is_known_by_its_uid_where_the_upload_does_not_name_it() -> None:
    found = judge(pod_volume_backup(), of=backup(fs=True))
    assert found.rows[0].claim == "etcd-0/data"
    labelled = pod_volume_backup()
    labels = {**(labelled.metadata.labels or {}), "velero.io/pvc-uid": "uid-data-etcd-0"}
    named = type(labelled)(
        metadata=ObjectMeta(name="p", namespace=labelled.metadata.namespace, labels=labels), spec=labelled.spec, status=labelled.status
    )  # fmt: skip
    assert judge(named, claim(), of=backup(fs=True)).rows[0].claim == "data-etcd-0"


# --- snapshots and uploads -----------------------------------------------------------------------------------------


def test_a_snapshot_that_vanishes_while_it_is_moved_is_the_uploads() -> None:
    for phase in ("Accepted", "Prepared", "InProgress"):
        with_it, without = judge(*SNAPPED, upload(phase=phase)), judge(upload(phase=phase))
        assert with_it.state is without.state is State.WAITING
        assert with_it.waits == without.waits
        assert without.flags.pv_backup_finished


def test_an_upload_has_the_last_word_on_its_snapshot() -> None:
    broken = (snapshot(ready=False, error="x"), content(ready=False, error="x"))
    assert judge(*broken, upload(), now=at(1000)).state is State.MOVED


SNAPPED = (snapshot(), content())


def test_a_snapshot_without_an_upload_waits_for_it_as_long_as_velero_collects() -> None:
    found = judge(*SNAPPED, of=backup("InProgress"), now=at(60))
    assert (found.state, found.completed) == (State.WAITING, 0)


def test_a_snapshot_of_which_no_upload_was_made_is_borne_for_the_snapshot_timeout_and_then_fails() -> None:
    before = judge(*SNAPPED, now=at(9.99))
    assert (before.state, before.waits[0].kind, before.waits[0].phase) == (State.WAITING, Kind.UPLOAD, "Missing")
    after = judge(*SNAPPED, upload("data-etcd-1"), now=at(10))
    assert after.state is State.FAILED
    assert after.error == (
        f"{FAILS}data upload: dataUpload failed. Name: (none of VolumeSnapshot velero-data-etcd-0-x) Status: Missing, backup: test-backup"
    )


def test_azure_with_snapshot_move_data_waits_for_the_uploads_that_velero_makes() -> None:
    azure = hcp("Azure")
    assert judge(*SNAPPED, upload(phase="InProgress"), plane=azure).state is State.WAITING
    assert judge(upload(phase="Failed"), plane=azure).error.startswith(
        "error reconciling Azure data mover: error reconciling data upload: dataUpload failed."
    )
    found = judge(upload(), plane=azure)
    assert found.state is State.MOVED
    assert "no upload is required" in found.warnings[0]


def test_azure_with_snapshot_move_data_and_no_upload_is_satisfied_with_snapshots_once_velero_has_collected() -> None:
    azure = hcp("Azure")
    assert judge(*SNAPPED, plane=azure, of=backup("InProgress")).state is State.WAITING
    found = judge(*SNAPPED, plane=azure)
    assert found.state is State.MOVED
    assert "nothing else is required on this platform" in found.description


@pytest.mark.parametrize("move", [False, None])
def test_aws_without_snapshot_move_data_has_nothing_to_upload(move: bool | None) -> None:
    found = judge(*SNAPPED, of=backup(move=move))
    assert (found.state, found.completed, found.total) == (State.MOVED, 1, 1)
    assert "snapshotMoveData is not true" in found.description
    assert "nothing is uploaded" in found.warnings[0]
    assert found.flags.du_finished
    assert not found.flags.du_started


def test_snapshots_that_velero_has_removed_at_the_end_are_told() -> None:
    found = judge(of=backup("Completed", move=False, status={"csi_volume_snapshots_attempted": 3}))
    assert found.state is State.NOTHING_TO_MOVE
    assert "took 3 snapshots in all its namespaces, and Velero removes them at its end" in found.description
    off = judge(of=backup(snapshot_volumes=False))
    assert "snapshotVolumes is false" in off.description


def test_volumes_of_both_kinds_are_all_waited_for() -> None:
    mixed = (upload(), pod_volume_backup(of=backup(), phase="InProgress"))
    for fs in (False, True):
        found = judge(*mixed, of=backup(fs=fs))
        assert (found.state, found.completed, found.total) == (State.WAITING, 1, 2)
    late = judge(pod_volume_backup(), snapshot("other", ready=False), content("other"), of=backup(fs=True, move=False))
    assert (late.state, late.waits[0].kind) == (State.WAITING, Kind.SNAPSHOT)


def test_two_uploads_of_one_claim_are_both_waited_for() -> None:
    found = judge(upload(), upload(name="again", phase="InProgress"))
    assert (found.state, found.completed, found.total) == (State.WAITING, 0, 1)


# --- time and restarts ---------------------------------------------------------------------------------------------


def test_a_restart_changes_no_verdict() -> None:
    # of the plugin (each look is a new process), and of Velero while it waits for operations: nothing is remembered
    objects = (upload(phase="InProgress", done=5, total=10), upload("data-etcd-1"))
    assert judge(*objects) == judge(*objects)


def test_a_configuration_that_is_changed_meanwhile_is_the_next_backups() -> None:
    begun = Operation(backup_uid="u", namespace=HOSTED, name="test-hcp", started=BEGAN, configuration=FIFTEEN).encode()
    later = Configuration.read({"dataUploadTimeout": "1"})
    assert judge(upload(phase="InProgress"), configuration=later).state is State.FAILED
    assert judge(upload(phase="InProgress"), configuration=decode(begun).configuration).state is State.WAITING


def test_a_good_backup_that_takes_long_stays_one_where_nobody_has_set_a_limit() -> None:
    slow = upload(phase="InProgress")
    assert judge(slow, configuration=UNSET, now=at(239.9)).state is State.WAITING
    assert judge(slow, configuration=UNSET, now=at(240)).timed_out
    longer = backup(item_operation_timeout="10h0m0s")
    assert judge(slow, of=longer, configuration=UNSET, now=at(599)).state is State.WAITING
    shorter = backup(item_operation_timeout="1m0s")
    assert judge(slow, of=shorter, configuration=UNSET, now=at(29.9)).state is State.WAITING
    assert judge(slow, of=longer, configuration=FIFTEEN, now=at(15)).timed_out


def test_the_limit_counts_from_the_creation_of_each() -> None:
    late = upload("data-etcd-1", "InProgress", created=at(10))
    assert judge(upload(), late, now=at(24.9)).state is State.WAITING
    found = judge(upload(), late, now=at(25))
    assert found.timed_out
    assert found.waits[0].deadline == at(25)


def test_while_velero_collects_it_gives_up_on_a_snapshot_without_a_handle_long_before_its_operations() -> None:
    """That is when it is told to be given up; it fails when Velero has done so."""
    collects = backup("InProgress", csi_snapshot_timeout="10m0s")
    for objects in (
        (snapshot(ready=False), content(ready=False)),
        (snapshot(ready=None, bound=False),),
        (snapshot(ready=False),),
    ):
        found = judge(*objects, of=collects, configuration=UNSET, now=at(11))
        assert (found.state, found.waits[0].deadline) == (State.WAITING, at(10))
        assert judge(*objects, of=backup(move=False), configuration=UNSET).waits[0].deadline == at(240)
    with_handle = (snapshot(ready=False), content(ready=False, handle="h"))
    assert judge(*with_handle, of=collects, configuration=UNSET).waits[0].deadline == at(240)
    sooner = Configuration.read({"dataUploadTimeout": "5"})
    assert judge(snapshot(ready=False), content(ready=False), of=collects, configuration=sooner).waits[
        0
    ].deadline == at(5)


@pytest.mark.parametrize("text", ["", "soon", "-4h", "0s", "4 hours", "9" * 5000, "2562047h47m16.854775807s"])
def test_a_timeout_of_velero_that_is_none_is_its_default(text: str) -> None:
    strange = backup(item_operation_timeout=text, csi_snapshot_timeout=text)
    found = judge(upload(phase="InProgress"), of=strange, configuration=UNSET)
    assert found.state is State.WAITING


def test_whoever_has_waited_long_enough_gives_up_in_the_documents_words() -> None:
    cases: list[tuple[Any, str]] = [
        ((snapshot(ready=None, bound=False),), f"{FAILS}volume snapshot content: giving up, volumeSnapshotContent was"),
        ((snapshot(ready=False), content()), f"{FAILS}volume snapshots: giving up, VolumeSnapshot was"),
        ((upload(phase="New"),), f"{FAILS}data upload: giving up, dataUpload was"),
    ]
    for objects, text in cases:
        found = give_up(judge(*objects))
        assert (found.state, found.timed_out) == (State.FAILED, True)
        assert found.error == f"{text} not finished in the expected timeout. Err: context deadline exceeded"
    pods = give_up(judge(pod_volume_backup(phase="New"), of=backup(fs=True)))
    assert pods.error == "giving up waiting podVolumeBackup. Err: context deadline exceeded"
    nothing = give_up(judge(of=backup("InProgress")))
    assert nothing.error == "error reconciling standard data mover: context deadline exceeded"
    moved = judge(upload())
    assert give_up(moved) is moved


# --- what cannot be read -------------------------------------------------------------------------------------------

FORBIDDEN = "forbidden: no right to list them"
UNREADABLE = [
    ("uploads, nothing else seen", (), Kind.UPLOAD, backup(), State.UNKNOWN),
    ("uploads, snapshots can be used", SNAPPED, Kind.UPLOAD, backup(), State.UNKNOWN),
    ("uploads that nobody asked for", SNAPPED, Kind.UPLOAD, backup(move=False), State.MOVED),
    ("snapshots, uploads are done", (upload(),), Kind.SNAPSHOT, backup(), State.MOVED),
    ("snapshots, nothing else seen", (), Kind.SNAPSHOT, backup(), State.UNKNOWN),
    (
        "snapshots, nothing else seen, none are taken",
        (),
        Kind.SNAPSHOT,
        backup(snapshot_volumes=False),
        State.NOTHING_TO_MOVE,
    ),
    ("contents, snapshots can be used", SNAPPED[:1], Kind.CONTENT, backup(move=False), State.MOVED),
    ("pod volume backups of a backup of Pods", (), Kind.POD_VOLUME_BACKUP, backup(fs=True), State.UNKNOWN),
    ("pod volume backups of another", (upload(),), Kind.POD_VOLUME_BACKUP, backup(), State.MOVED),
    ("claims", (upload(),), Kind.CLAIM, backup(), State.MOVED),
    ("pods", (upload(),), Kind.POD, backup(), State.MOVED),
    ("uploads, while Velero collects", (), Kind.UPLOAD, backup("InProgress"), State.WAITING),
]


@pytest.mark.parametrize(
    ("objects", "kind", "chosen", "state"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
def test_what_cannot_be_read_is_told_and_is_never_none_and_never_a_failure(
    objects: Any, kind: str, chosen: Backup, state: State
) -> None:
    for minutes in (2, 10_000):
        found = judge(*objects, of=chosen, unread=(Unread(kind, FORBIDDEN),), now=at(minutes))
        assert (found.state, found.error) == (state, "")
        assert f"{kind} cannot be read: {FORBIDDEN}" in found.warnings
        assert state is not State.UNKNOWN or FORBIDDEN in found.description


# --- the mover's Pod -----------------------------------------------------------------------------------------------


def pod(name: str, *, labels: dict[str, str] | None = None, namespace: str = "openshift-adp", **status: Any) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace=namespace, labels=labels), status=PodStatus(**status))


UNSCHEDULABLE = (
    PodCondition(type="PodScheduled", status="False", reason="Unschedulable", message="0/3 nodes are available"),
)


@pytest.mark.parametrize(
    ("labels", "name"),
    [({"velero.io/data-upload": "test-backup-data-etcd-0"}, "any"), (None, "test-backup-data-etcd-0")],
)
def test_a_mover_that_no_node_takes_is_told(labels: Any, name: str) -> None:
    found = judge(
        upload(phase="Accepted", accepted_by_node="n1"), pods=(pod(name, labels=labels, conditions=UNSCHEDULABLE),)
    )
    assert (found.waits[0].pod, found.waits[0].node) == (name, "n1")
    assert f"; Pod {name}: Unschedulable: 0/3 nodes are available" in found.description
    assert "on node n1" in found.description


def test_a_mover_whose_image_cannot_be_had_is_told() -> None:
    waiting = ContainerState(waiting=ContainerStateWaiting(reason="ImagePullBackOff", message="no such image"))
    broken = pod("test-backup-data-etcd-0", container_statuses=(ContainerStatus(state=waiting),))
    assert "ImagePullBackOff: no such image" in judge(upload(phase="Accepted"), pods=(broken,)).description
    failed = pod("test-backup-data-etcd-0", phase="Failed")
    assert "it has failed" in judge(upload(phase="Accepted"), pods=(failed,)).description
    creating = ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))
    fine = pod("test-backup-data-etcd-0", container_statuses=(ContainerStatus(state=creating),))
    assert "; Pod" not in judge(upload(phase="Accepted"), pods=(fine,)).description


def test_a_pod_of_another_namespace_is_nobodys_mover() -> None:
    found = judge(upload(phase="Accepted"), pods=(pod("test-backup-data-etcd-0", namespace=HOSTED),))
    assert found.waits[0].pod == ""
    assert judge(upload(), pods=(pod("test-backup-data-etcd-0", conditions=UNSCHEDULABLE),)).rows[0].pod == ""


# --- what is shown -------------------------------------------------------------------------------------------------


def test_amounts_and_moments_are_told() -> None:
    found = judge(
        upload(phase="Completed", done=3 * 2**20, total=3 * 2**20, completion_timestamp=seconds(at(1))),
        upload("data-etcd-1", "InProgress", done=2**20, total=4 * 2**20, start_timestamp=seconds(at(1.5)), node="n2"),
    )
    assert (found.bytes_done, found.bytes_total) == (4 * 2**20, 7 * 2**20)
    assert (found.started, found.updated) == (BEGAN, at(1.5))
    assert (found.waits[0].since, found.waits[0].deadline, found.waits[0].node) == (at(1.5), at(15), "n2")
    assert found.description == (
        "1 of 2 volumes moved; waiting for DataUpload test-backup-data-etcd-1 of claim data-etcd-1 (InProgress): "
        "it is moved on node n2: 1.0 MiB of 4.0 MiB"
    )
    assert [row.claim for row in found.rows] == ["data-etcd-1", "data-etcd-0"]
    assert [row.finished for row in found.rows] == [False, True]


def test_of_several_waits_the_first_is_told_and_the_others_are_counted() -> None:
    found = judge(*three(upload, "New"), plane=hcp(ha=True))
    assert found.description.endswith("; and 2 more")
    assert len(found.waits) == 3


def test_a_moved_backup_says_so() -> None:
    assert judge(upload(done=1024, total=1024)).description == "all of 1 volume moved (1.0 KiB)"


def test_a_clock_without_a_zone_is_utc() -> None:
    assert judge(upload(phase="New"), now=NOW.replace(tzinfo=None)) == judge(upload(phase="New"))
    assert datetime.now(UTC).tzinfo is not None
