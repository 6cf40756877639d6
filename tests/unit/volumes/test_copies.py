"""Clones and snapshots as they are asked for."""

from datamover.reconcilers.datamover.order import owner_of
from datamover.volumes.copies import build_clone, build_snapshot
from support import builders
from support.builders import CLONE, RUN_ID, data_mover, persistent_volume_claim, run, volume_snapshot

OWNER = owner_of(data_mover(), run())


def clone(source=None, **fields):
    given = {"name": CLONE, "source": source or persistent_volume_claim(), "storage_class": "fast"}
    return build_clone(OWNER, **{**given, **fields})


def test_a_clone_as_a_whole() -> None:
    assert clone(persistent_volume_claim(access_modes=("ReadWriteOncePod",))) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "restored-app-data-20240806143052",
            "namespace": "default",
            "labels": {
                "app.kubernetes.io/created-by": "datamover-operator",
                "app.kubernetes.io/managed-by": "datamover-operator",
                "app.kubernetes.io/part-of": "datamover",
                "app.kubernetes.io/component": "point-in-time-copy",
                "datamover.a-cup-of.coffee/owner-uid": builders.MOVER_UID,
                "datamover.a-cup-of.coffee/run-id": RUN_ID,
                "velero.io/exclude-from-backup": "true",
            },
            "ownerReferences": [
                {
                    "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
                    "kind": "DataMover",
                    "name": "nightly",
                    "uid": builders.MOVER_UID,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "accessModes": ["ReadWriteOncePod"],
            "resources": {"requests": {"storage": "10Gi"}},
            "volumeMode": "Filesystem",
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "app-data"},
            "storageClassName": "fast",
        },
    }


def test_a_clone_is_as_large_as_what_the_source_has_got() -> None:
    rounded_up = persistent_volume_claim(storage="9500Mi", capacity="10Gi")
    assert clone(rounded_up)["spec"]["resources"]["requests"]["storage"] == "10Gi"
    shrunk = persistent_volume_claim(storage="20Gi", capacity="10Gi")
    assert clone(shrunk)["spec"]["resources"]["requests"]["storage"] == "20Gi"


def test_a_clone_keeps_the_volume_mode_and_may_leave_the_class_to_the_cluster() -> None:
    spec = clone(persistent_volume_claim(volume_mode="Block"), storage_class=None)["spec"]
    assert spec["volumeMode"] == "Block"
    assert "storageClassName" not in spec


def test_the_empty_class_is_a_class() -> None:
    assert clone(storage_class="")["spec"]["storageClassName"] == ""


def test_a_clone_of_a_snapshot_names_it_and_is_large_enough_for_it() -> None:
    spec = clone(snapshot=volume_snapshot(restore_size="12Gi"))["spec"]
    assert spec["dataSource"] == {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": CLONE}
    assert spec["resources"]["requests"]["storage"] == "12Gi"


def test_a_snapshot_as_a_whole() -> None:
    made = build_snapshot(OWNER, name=CLONE, source="app-data", snapshot_class="snapshots")
    assert (made["apiVersion"], made["kind"]) == ("snapshot.storage.k8s.io/v1", "VolumeSnapshot")
    assert made["metadata"] == clone()["metadata"]
    assert made["spec"] == {
        "source": {"persistentVolumeClaimName": "app-data"},
        "volumeSnapshotClassName": "snapshots",
    }
    bare = build_snapshot(OWNER, name=CLONE, source="app-data", snapshot_class=None)
    assert bare["spec"] == {"source": {"persistentVolumeClaimName": "app-data"}}


def test_what_is_made_goes_with_its_datamover_and_is_found_by_the_documented_label() -> None:
    for made in (clone(), build_snapshot(OWNER, name=CLONE, source="s", snapshot_class=None)):
        assert made["metadata"]["ownerReferences"][0]["uid"] == builders.MOVER_UID
        assert made["metadata"]["labels"]["app.kubernetes.io/created-by"] == "datamover-operator"
