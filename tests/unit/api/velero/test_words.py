"""Objects of Velero and HyperShift, as an API server sends them."""

from typing import Any

import msgspec
import pytest

from datamover.api.hypershift import HOSTED_CONTROL_PLANES, HostedControlPlane
from datamover.api.velero.backup import BACKUPS, RESTORES, Backup, Restore
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS, DataUpload, PodVolumeBackup
from kubekit.words.snapshot import VolumeSnapshotContent


def test_a_backup_says_what_is_moved() -> None:
    raw = b"""{"kind":"Backup","metadata":{"name":"b","namespace":"velero","uid":"u"},"spec":{"includedNamespaces":["c","c-h"],
    "snapshotMoveData":true,"defaultVolumesToFsBackup":false,"csiSnapshotTimeout":"10m0s","itemOperationTimeout":"4h0m0s","datamover":"velero",
    "hooks":{},"ttl":"720h0m0s"},"status":{"phase":"InProgress","startTimestamp":"2026-01-01T00:00:00Z","csiVolumeSnapshotsAttempted":3}}"""
    backup = msgspec.json.decode(raw, type=Backup)
    assert backup.spec is not None
    assert backup.spec.included_namespaces == ("c", "c-h")
    assert backup.spec.snapshot_move_data is True
    assert backup.spec.default_volumes_to_fs_backup is False
    assert backup.spec.csi_snapshot_timeout == "10m0s"
    assert backup.phase == "InProgress"
    assert backup.status is not None
    assert backup.status.csi_volume_snapshots_attempted == 3


def test_an_upload_says_whose_it_is_and_how_far() -> None:
    raw = b"""{"metadata":{"name":"b-1","namespace":"velero","labels":{"velero.io/pvc-uid":"p"}},"spec":{"snapshotType":"CSI","csiSnapshot":
    {"volumeSnapshot":"velero-data-1","storageClass":"s","snapshotClass":"c"},"sourcePVC":"data-etcd-0","sourceNamespace":"c-h","cancel":true,
    "backupStorageLocation":"default","operationTimeout":"10m0s"},"status":{"phase":"InProgress","snapshotID":"k1","node":"n","acceptedByNode":"m",
    "acceptedTimestamp":"2026-01-01T00:00:00Z","progress":{"totalBytes":10,"bytesDone":5}}}"""
    upload = msgspec.json.decode(raw, type=DataUpload)
    assert upload.spec is not None
    assert upload.spec.source_claim == "data-etcd-0"
    assert upload.spec.csi_snapshot is not None
    assert upload.spec.csi_snapshot.volume_snapshot == "velero-data-1"
    assert upload.spec.cancel is True
    assert upload.status is not None
    assert (upload.status.snapshot_id, upload.status.node, upload.status.accepted_by_node) == ("k1", "n", "m")
    assert upload.status.progress is not None
    assert (upload.status.progress.bytes_done, upload.status.progress.total_bytes) == (5, 10)


def test_a_pod_volume_backup_names_its_pod() -> None:
    raw = b'{"metadata":{"name":"b-x"},"spec":{"node":"n","pod":{"kind":"Pod","namespace":"c-h","name":"etcd-0"},"volume":"data"},"status":{}}'
    found = msgspec.json.decode(raw, type=PodVolumeBackup)
    assert found.spec is not None
    assert found.spec.pod is not None
    assert (found.spec.pod.namespace, found.spec.pod.name, found.spec.volume) == ("c-h", "etcd-0", "data")
    assert found.phase == ""


def test_a_restore_names_its_backup() -> None:
    found = msgspec.json.decode(
        b'{"metadata":{"name":"r"},"spec":{"backupName":"b","namespaceMapping":{"a":"c"}}}', type=Restore
    )
    assert found.spec is not None
    assert (found.spec.backup_name, found.spec.namespace_mapping) == ("b", {"a": "c"})


@pytest.mark.parametrize(
    ("policy", "expected"), [("HighlyAvailable", True), ("SingleReplica", False), (None, False), ("x", False)]
)
def test_a_control_plane_says_its_platform_and_whether_it_is_highly_available(
    policy: str | None, expected: bool
) -> None:
    raw = msgspec.json.encode(
        {"spec": {"platform": {"type": "AWS", "aws": {}}, "controllerAvailabilityPolicy": policy}}
    )
    found = msgspec.json.decode(raw, type=HostedControlPlane)
    assert found.platform == "AWS"
    assert found.highly_available is expected


def test_a_content_names_its_snapshot() -> None:
    raw = b"""{"metadata":{"name":"c"},"spec":{"driver":"d","volumeSnapshotRef":{"namespace":"c-h","name":"s","uid":"u"}},
    "status":{"readyToUse":true,"snapshotHandle":"h","error":{"message":"m","time":"2026-01-01T00:00:00Z"}}}"""
    found = msgspec.json.decode(raw, type=VolumeSnapshotContent)
    assert found.spec is not None
    assert found.spec.volume_snapshot_ref is not None
    assert found.spec.volume_snapshot_ref.name == "s"
    assert found.status is not None
    assert (found.status.ready_to_use, found.status.snapshot_handle) == (True, "h")
    assert found.status.error is not None
    assert found.status.error.message == "m"


@pytest.mark.parametrize(
    "kind", [Backup, Restore, DataUpload, PodVolumeBackup, HostedControlPlane, VolumeSnapshotContent]
)
@pytest.mark.parametrize("raw", [b"{}", b'{"metadata":{},"spec":null,"status":null}', b'{"spec":{},"status":{}}'])
def test_what_says_nothing_is_read(kind: Any, raw: bytes) -> None:
    found = msgspec.json.decode(raw, type=kind)
    assert found.metadata.name == ""
    assert getattr(found, "phase", "") == ""
    assert getattr(found, "platform", "") == ""


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (BACKUPS, "/apis/velero.io/v1/namespaces/velero/backups/b"),
        (RESTORES, "/apis/velero.io/v1/namespaces/velero/restores/b"),
        (DATA_UPLOADS, "/apis/velero.io/v2alpha1/namespaces/velero/datauploads/b"),
        (POD_VOLUME_BACKUPS, "/apis/velero.io/v1/namespaces/velero/podvolumebackups/b"),
        (HOSTED_CONTROL_PLANES, "/apis/hypershift.openshift.io/v1beta1/namespaces/velero/hostedcontrolplanes/b"),
    ],
)
def test_where_they_are(resource: Any, path: str) -> None:
    assert resource.path(namespace="velero", name="b") == path
