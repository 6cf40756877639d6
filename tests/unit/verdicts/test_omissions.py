"""Claims of which a backup has left nothing: where Velero had errors they are lost, otherwise its filters may have left them out."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api.hypershift import RHCOS_LABEL
from datamover.api.velero.backup import Backup
from datamover.verdicts.verdict import Kind, State, Unread
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.selectors import Selector
from kubekit.words.timestamps import seconds
from support.control_planes import (
    BEGAN,
    at,
    backup,
    claim,
    content,
    hcp,
    held,
    judge,
    pod_volume_backup,
    snapshot,
    three,
    upload,
)

PARTLY = ["WaitingForPluginOperationsPartiallyFailed", "FinalizingPartiallyFailed", "PartiallyFailed"]
FAULTLESS = ["WaitingForPluginOperations", "Finalizing", "Completed"]
ERRORS = {"errors": 2}
LOST = "error reconciling standard data mover: error reconciling volume snapshots: giving up, VolumeSnapshot was not finished in the expected timeout"


def broken(phase: str = PARTLY[0], **others: Any) -> Backup:
    return backup(phase, status=others.pop("status", ERRORS), **others)


@pytest.mark.parametrize("phase", PARTLY)
def test_a_claim_of_which_nothing_is_left_fails_a_backup_with_errors_and_is_named(phase: str) -> None:
    found = judge(upload("data-etcd-0"), upload("data-etcd-1"), *three(held), of=broken(phase), plane=hcp(ha=True))
    assert (found.state, found.completed, found.total, found.timed_out) == (State.FAILED, 2, 3, False)
    assert found.error.startswith(LOST)
    for word in ("claim data-etcd-2", "velero backup describe test-backup --details", "velero backup logs test-backup"):
        assert word in found.error
    assert found.item_error.startswith("error validating DataMover: error reconciling standard data mover: ")
    assert (found.waits[0].kind, found.waits[0].claim, found.waits[0].phase) == (Kind.CLAIM, "data-etcd-2", "NotSeen")
    assert next((row.claim, row.phase, row.finished) for row in found.rows) == ("data-etcd-2", "NotSeen", False)
    assert "had errors" in found.rows[0].sentence
    assert not any("data-etcd-2" in warning for warning in found.warnings)


@pytest.mark.parametrize("phase", FAULTLESS)
def test_in_a_backup_without_errors_the_same_claim_is_a_warning(phase: str) -> None:
    found = judge(upload("data-etcd-0"), *three(held), of=backup(phase))
    assert (found.state, found.completed, found.total) == (State.MOVED, 1, 1)
    assert any("nothing of 2 claims was snapshotted or moved (data-etcd-1, data-etcd-2)" in each for each in found.warnings)  # fmt: skip


def test_it_fails_at_once_although_others_are_still_moved_and_also_where_nothing_else_is() -> None:
    assert judge(upload("data-etcd-0", "InProgress"), *three(held), of=broken()).state is State.FAILED
    alone = judge(held(), of=broken())
    assert (alone.state, alone.completed, alone.total) == (State.FAILED, 0, 1)


def test_what_has_failed_by_name_is_told_before_what_is_missing() -> None:
    found = judge(upload("data-etcd-0", "Failed"), held("data-etcd-0"), held("data-etcd-1"), of=broken())
    assert "dataUpload failed. Name: test-backup-data-etcd-0" in found.error
    assert {wait.claim for wait in found.waits} == {"data-etcd-0", "data-etcd-1"}


def test_of_many_claims_the_first_are_named_and_the_others_counted() -> None:
    found = judge(upload("moved"), *(held(f"lost-{index}") for index in range(300)), of=broken())
    assert "claims lost-0, lost-1, lost-10, " in found.error
    assert "and 292 more" in found.error
    assert found.total == 301
    assert len(found.waits) == len(found.rows) == 256


LEFT_OUT: list[tuple[str, PersistentVolumeClaim, dict[str, Any]]] = [
    ("an image of a node", held("c", labels={RHCOS_LABEL: "true"}), {}),
    ("a label", held("c", labels={"velero.io/exclude-from-backup": "true"}), {}),
    ("an annotation", held("c", annotations={"velero.io/skip-from-backup": "true"}), {}),
    ("a selector", held("c"), {"label_selector": Selector(match_labels={"app": "etcd"})}),
    (
        "one of several selectors",
        held("c", labels={"app": "x"}),
        {"or_label_selectors": (Selector(match_labels={"app": "etcd"}), Selector(match_labels={"app": "kas"}))},
    ),
    ("resources that are included", held("c"), {"included_resources": ("pods",)}),
    ("resources that are excluded", held("c"), {"excluded_resources": ("PersistentVolumeClaims",)}),
    ("resources that are excluded, in short", held("c"), {"excluded_resources": ("pvc",)}),
    ("resources of namespaces", held("c"), {"included_namespace_scoped_resources": ("secrets",)}),
    ("excluded resources of namespaces", held("c"), {"excluded_namespace_scoped_resources": ("*",)}),
    ("no snapshots at all", held("c"), {"snapshot_volumes": False}),
    ("no volume yet", claim("c", created=BEGAN - timedelta(days=1), phase="Pending"), {}),
    ("no volume any more", claim("c", created=BEGAN - timedelta(days=1), phase="Lost"), {}),
    ("nobody says whether it has a volume", claim("c", created=BEGAN - timedelta(days=1)), {}),
    ("made during the backup", held("c", created=at(1)), {}),
    ("nobody knows since when it is there", claim("c", phase="Bound"), {}),
    ("being deleted", held("c", deleted=BEGAN), {}),
    ("another namespace", held("c", namespace="clusters-other"), {}),
]


@pytest.mark.parametrize(("left", "spec"), [row[1:] for row in LEFT_OUT], ids=[row[0] for row in LEFT_OUT])
def test_what_a_backup_leaves_out_rightly_is_not_lost(left: PersistentVolumeClaim, spec: dict[str, Any]) -> None:
    found = judge(upload("moved"), left, of=broken(**spec))
    assert (found.state, found.error, found.total) == (State.MOVED, "", 1)


@pytest.mark.parametrize(
    "spec",
    [
        {"label_selector": Selector(match_labels={"app": "etcd"})},
        {"or_label_selectors": (Selector(match_labels={"app": "x"}), Selector(match_labels={"app": "etcd"}))},
        {"included_resources": ("*",), "excluded_resources": ("secrets",)},
        {"included_resources": ("pods", "persistentvolumeclaims")},
        {"included_namespace_scoped_resources": ("*",)},
        {"snapshot_volumes": True},
    ],
)
def test_what_a_backup_takes_in_is_lost(spec: dict[str, Any]) -> None:
    taken = held("c", labels={"app": "etcd", "velero.io/exclude-from-backup": "false"})
    assert judge(upload("moved"), taken, of=broken(**spec)).state is State.FAILED


def test_errors_that_are_all_of_operations_say_nothing_of_the_collecting() -> None:
    """An upload of another control plane of the backup has failed: what a policy leaves out here is not lost for that."""
    of_operations = {"errors": 2, "backup_item_operations_failed": 2}
    found = judge(upload("moved"), held("c"), of=broken(status=of_operations))
    assert found.state is State.MOVED
    both = {"errors": 3, "backup_item_operations_failed": 2}
    assert judge(upload("moved"), held("c"), of=broken(status=both)).state is State.FAILED
    assert judge(upload("moved"), held("c"), of=broken(status={})).state is State.FAILED, "the phase alone says it"


@pytest.mark.parametrize("moved", [upload("c"), upload("c", "InProgress"), snapshot("c"), pod_volume_backup(claim="c", of=backup())])  # fmt: skip
def test_a_claim_of_which_something_is_left_is_not_lost(moved: Any) -> None:
    found = judge(moved, content("c"), held("c"), of=broken())
    assert found.state is not State.FAILED


def test_a_claim_that_is_known_by_its_uid_alone_is_not_lost() -> None:
    copy = pod_volume_backup(of=backup())
    labels = {**(copy.metadata.labels or {}), "velero.io/pvc-uid": "uid-c"}
    copy = replace(copy, metadata=replace(copy.metadata, labels=labels))
    assert judge(copy, held("c"), of=broken()).state is State.MOVED


def test_a_backup_that_copies_out_of_pods_says_it_in_their_words() -> None:
    found = judge(pod_volume_backup(claim="data-etcd-0"), held("data-etcd-0"), held("data-etcd-1"), of=broken(fs=True))
    assert found.state is State.FAILED
    assert found.error.startswith("PodVolumeBackup failed. Name: (none) Status: NotSeen")
    assert "claim data-etcd-1" in found.error
    without = judge(held("data-etcd-1"), of=broken(fs=True, snapshot_volumes=False))
    assert without.state is State.FAILED


def test_azure_says_it_in_its_own_words() -> None:
    found = judge(held(), of=broken(), plane=hcp("Azure"))
    assert found.error.startswith("error reconciling Azure data mover: error reconciling volume snapshots: giving up")


# --- what cannot be told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.UPLOAD, Kind.SNAPSHOT, Kind.POD_VOLUME_BACKUP, Kind.CLAIM])
def test_what_cannot_be_read_is_never_taken_for_lost_nor_for_moved(kind: str) -> None:
    claims = () if kind == Kind.CLAIM else (held("moved"), held("c"))
    seen = (upload("moved"),) if kind != Kind.UPLOAD else ()
    found = judge(*seen, *claims, of=broken(), unread=(Unread(kind, "forbidden"),))
    assert (found.state, found.error) == (State.UNKNOWN, "")
    assert "forbidden" in found.description


def test_of_a_backup_with_errors_nothing_is_called_moved_while_something_that_tells_cannot_be_read() -> None:
    whole = (*three(upload), *three(held))
    assert judge(*whole, of=broken()).state is State.MOVED
    for kind, state in ((Kind.SNAPSHOT, State.UNKNOWN), (Kind.CONTENT, State.MOVED), (Kind.POD, State.MOVED)):
        assert judge(*whole, of=broken(), unread=(Unread(kind, "forbidden"),)).state is state


@pytest.mark.parametrize("phase", PARTLY[1:])
@pytest.mark.parametrize("left", [(), (snapshot("a"), content("a"))])
def test_snapshots_that_velero_removes_at_the_end_are_no_loss_and_no_success(phase: str, left: Any) -> None:
    of = broken(phase, move=False)
    found = judge(*left, held("a"), held("b"), of=of)
    assert (found.state, found.error) == (State.UNKNOWN, "")
    assert "removes" in found.description
    waiting = judge(snapshot("a"), content("a"), held("a"), held("b"), of=broken(move=False))
    assert waiting.state is State.FAILED


def test_snapshots_of_another_kind_leave_nothing_here() -> None:
    native = {**ERRORS, "volume_snapshots_attempted": 1}
    found = judge(upload("moved"), held("c"), of=broken(status=native))
    assert found.state is State.MOVED
    assert found.warnings


def test_a_backup_that_was_read_back_from_its_storage_location_has_its_objects_elsewhere() -> None:
    """Velero makes Backups anew of what it finds at a storage location, in every cluster that has it."""
    ended = seconds(BEGAN - timedelta(days=2))
    old = {"start_timestamp": seconds(BEGAN - timedelta(days=2, hours=1)), "completion_timestamp": ended}
    for phase in ("Completed", "PartiallyFailed"):
        of = backup(phase)
        assert of.status is not None
        of = replace(of, status=replace(of.status, errors=2, **old))
        found = judge(held("c", created=BEGAN - timedelta(days=9)), of=of)
        assert (found.state, found.error) == (State.UNKNOWN, "")
        assert "another cluster" in found.description
