"""What keeps a backup from being followed: objects that nobody can read are not taken for absent, and what hinders is counted by its reason."""

from typing import Any

import pytest

from datamover.api.velero.backup import Backup
from datamover.plans.known import Refusal
from datamover.plans.learned import Learned
from datamover.plans.steps import Emit
from datamover.reconcilers.hosted_control_plane.announcements import ACTION
from kubekit.words.core import ConfigMap
from support.control_planes import UID, at, backup, claim, content, pod_volume_backup, snapshot, upload
from support.following import Following

MOVED = (snapshot(), content(), upload())
GARBLED: list[tuple[str, Any, tuple[Any, ...], Backup, str]] = [
    ("an upload", upload("data-etcd-1"), MOVED, backup(), "DataUpload"),
    ("a snapshot", snapshot("data-etcd-1"), MOVED[:2], backup(move=False), "VolumeSnapshot"),
    ("a copy of a Pod's volume", pod_volume_backup("data-etcd-1"), (pod_volume_backup(),), backup(fs=True), "PodVolumeBackup"),
    ("a claim", claim("data-etcd-1"), MOVED, backup("PartiallyFailed", status={"errors": 1}), "PersistentVolumeClaim"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("garbled", "others", "of", "kind"), [each[1:] for each in GARBLED], ids=[each[0] for each in GARBLED]
)
def test_what_cannot_be_read_is_not_taken_for_absent(
    garbled: Any, others: tuple[Any, ...], of: Backup, kind: str
) -> None:
    """One that is there as nobody knows what may be the one that has failed: nothing is said to be moved (law L4)."""
    world = Following(*others, of=of)
    assert state_of(world) == "MOVED", "without it"
    world = Following(*others, of=of)
    world.garble(garbled)
    assert state_of(world) == "UNKNOWN"
    (plane,) = world.record().control_planes
    assert f"{kind}: 1 object cannot be understood" in plane.description


def test_an_upload_that_can_be_read_again_is_followed_again() -> None:
    world = Following(*MOVED)
    world.garble(upload("data-etcd-1"))
    assert state_of(world) == "UNKNOWN"
    world.put(upload("data-etcd-1"))
    assert state_of(world, minutes=3) == "MOVED"


def state_of(world: Following, *, minutes: float = 2) -> str:
    """Look once, and return what is written."""
    world.look(at(minutes))
    (plane,) = world.record().control_planes
    return plane.state


OTHERS: list[tuple[str, Any]] = [
    ("an upload of another backup", upload("data-etcd-1", of=backup(name="another", uid="another"))),
    ("a claim of another namespace", claim("data-etcd-1", namespace="shop")),
]


@pytest.mark.parametrize("garbled", [each[1] for each in OTHERS], ids=[each[0] for each in OTHERS])
def test_what_cannot_be_read_of_others_hinders_nothing(garbled: Any) -> None:
    world = Following(snapshot(), content(), upload())
    world.garble(garbled)
    world.look(at(2))
    assert world.record().control_planes[0].state == "MOVED"


def test_what_hinders_is_counted_by_its_reason() -> None:
    world = Following(upload(phase="InProgress"))
    (followed,) = world.kind.objects.store.list()
    assert followed.metadata.uid == UID
    refused: Learned[Any, Any] = Learned(refusal=Refusal("PermissionMissing", "no"))
    world.kind.report(refused, followed, now=at(2))
    world.kind.report(refused, followed, now=at(3))
    assert world.count("hindrances_total", reason="PermissionMissing") == 2
    told: Learned[Any, Any] = Learned(told=Emit("Warning", "NameTaken", "somebody has it", ACTION))
    world.kind.report(told, followed, now=at(4))
    assert world.count("hindrances_total", reason="NameTaken") == 1
    world.kind.report(Learned(told=Emit("Warning", "Failed", "no space", ACTION)), followed, now=at(5))
    assert world.count("hindrances_total", reason="Failed") is None, "that is a verdict"


def test_a_wrong_configuration_is_counted_although_more_is_told_with_it() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    world.put(upload())
    world.view.configuration = ConfigMap(data={"dataUploadTimeout": "15m"})
    world.look(at(3))
    assert world.reasons == ["Moved", "InvalidConfiguration"]
    assert world.count("hindrances_total", reason="InvalidConfiguration") == 1
