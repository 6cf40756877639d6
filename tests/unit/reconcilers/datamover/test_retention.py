"""What a policy of Retain leaves on the storage is told, with the way to free it; it is never deleted here."""

import pytest

from datamover.api import reasons
from datamover.api.names import Phase
from datamover.plans.known import Seen
from datamover.plans.steps import Delete, Emit, WriteStatus
from datamover.reconcilers.datamover.facts import Facts
from support import builders
from support.builders import CLONE, NOW, SETTINGS, decide

KEPT = builders.persistent_volume(persistent_volume_reclaim_policy="Retain")
RETAINING = builders.volume_snapshot_class(name="keeps", deletion_policy="Retain")


def ending(*, method: str = "Clone", deletes: bool = True, **known) -> Facts:
    status = builders.status(Phase.CLEANING_UP, run=builders.run(copy_method=method, files=3, bytes=9))
    mover = builders.data_mover(status=status, copy_method=method, delete_pvc_after_backup=deletes)
    return builders.facts(mover, **known)


def end(known: Facts) -> tuple[str, str, str, list[str]]:
    """Status, reason and message of `CleanedUp`, and the warnings."""
    plan = decide(known, now=NOW, settings=SETTINGS)
    assert not any(isinstance(step, Delete) for step in plan.steps), "never deleted by us"
    status = next(step.status for step in plan.steps if isinstance(step, WriteStatus))
    assert status.phase == Phase.COMPLETED
    assert status.condition("Complete").status == "True"
    found = status.condition("CleanedUp")
    warnings = [step.reason for step in plan.steps if isinstance(step, Emit) and step.type == "Warning"]
    return found.status, found.reason, found.message, warnings


def test_the_volume_of_the_clone_is_named_with_the_command_that_frees_it() -> None:
    status, reason, message, warnings = end(ending(volumes=(KEPT,)))
    assert (status, reason, warnings) == ("False", reasons.VOLUME_RETAINED, [reasons.VOLUME_RETAINED])
    assert "PersistentVolume pv-1 of the clone stays" in message
    assert """kubectl patch pv pv-1 -p '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'""" in message
    assert "spec.storageClassName" in message


def test_a_volume_that_the_operator_may_not_see_is_known_by_its_class() -> None:
    hidden = Seen(builders.SEEN.children, volume="pv-7")
    storage = builders.storage_class(reclaim_policy="Retain")
    assert "PersistentVolume pv-7" in end(ending(seen=hidden, clone_class=storage))[2]
    seen = Seen(builders.SEEN.children | {("PersistentVolume", "pv-7")}, volume="pv-7")
    assert end(ending(seen=seen, clone_class=storage))[1] == reasons.CLEANED_UP, "somebody freed it meanwhile"


def test_a_clone_that_is_kept_has_a_volume_that_is_meant_to_be_there() -> None:
    assert end(ending(deletes=False, clone=builders.clone(), volumes=(KEPT,)))[1:] == (
        reasons.CLONE_KEPT,
        "the clone is kept: spec.deletePvcAfterBackup is false",
        [],
    )


@pytest.mark.parametrize("deletes", [True, False])
def test_the_content_of_the_snapshot_is_named(deletes: bool) -> None:
    seen = Seen(builders.SEEN.children, content="snapcontent-1", snapshot_class="keeps")
    known = ending(
        method="Snapshot",
        deletes=deletes,
        clone=None if deletes else builders.clone(),
        snapshot_classes=(RETAINING, builders.volume_snapshot_class()),
        seen=seen,
    )
    status, reason, message, warnings = end(known)
    assert (status, warnings) == ("False", [reasons.VOLUME_RETAINED])
    assert reason == (reasons.VOLUME_RETAINED if deletes else reasons.CLONE_KEPT)
    resource = "volumesnapshotcontents.snapshot.storage.k8s.io"
    for words in (
        "VolumeSnapshotContent snapcontent-1 stays",
        "VolumeSnapshotClass keeps has deletionPolicy Retain",
        f"""kubectl patch {resource} snapcontent-1 --type merge -p '{{"spec":{{"deletionPolicy":"Delete"}}}}'""",
        f"kubectl delete {resource} snapcontent-1",
        "spec.volumeSnapshotClassName",
    ):
        assert words in message


def test_after_a_restart_the_content_is_found_by_the_name_of_its_snapshot() -> None:
    known = ending(method="Snapshot", snapshot_classes=(RETAINING,), seen=Seen())
    message = end(known)[2]
    assert f"the VolumeSnapshotContent of {CLONE}" in message
    assert "kubectl get volumesnapshotcontents.snapshot.storage.k8s.io shows its NAME" in message


@pytest.mark.parametrize("method", ["Clone", "Snapshot", "Direct"])
def test_where_nothing_is_retained_nothing_is_said(method: str) -> None:
    status, _, _, warnings = end(ending(method=method))
    assert (status, warnings) == ("True", [])
