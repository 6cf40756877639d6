"""Backups of hosted control planes through the real plugin process, with an API server behind it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from kubekit.client.transport import Request, Response
from support.velero_cluster import VeleroCluster, running_cluster
from support.velero_host import VeleroHost, environment

ACTION = "datamover.a-cup-of.coffee/hosted-control-plane"
RHCOS = "datamover.a-cup-of.coffee/kubevirt-rhcos"
NAMESPACE = "clusters-a"
HCPS = f"/apis/hypershift.openshift.io/v1beta1/namespaces/{NAMESPACE}/hostedcontrolplanes"
CLAIMS = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims"
UPLOADS = "/apis/velero.io/v2alpha1/namespaces/velero/datauploads"
COPIES = "/apis/velero.io/v1/namespaces/velero/podvolumebackups"
CONFIG = "/api/v1/namespaces/velero/configmaps"
BACKUP_UID = "0a1b2c3d-0000-4000-8000-000000000001"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[VeleroCluster]:
    with running_cluster(tmp_path) as found:
        yield found


@pytest.fixture
def host(cluster: VeleroCluster) -> Iterator[VeleroHost]:
    with started(cluster) as found:
        yield found


def started(cluster: VeleroCluster) -> VeleroHost:
    return VeleroHost(environ=environment(KUBECONFIG=str(cluster.kubeconfig), PYTHONUNBUFFERED="1"))


def backup(phase: str = "InProgress", *, name: str = "nightly", uid: str = BACKUP_UID, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {"name": name, "namespace": "velero", "uid": uid, "creationTimestamp": "2026-11-30T00:00:00Z"},
        "spec": {"includedNamespaces": [NAMESPACE], "snapshotMoveData": True, "csiSnapshotTimeout": "10m0s", **spec},
        "status": {"phase": phase, "startTimestamp": "2026-11-30T00:00:00Z"},
    }


WAITING = backup("WaitingForPluginOperations")


def control_plane(cluster: VeleroCluster, platform: str = "AWS", policy: str = "SingleReplica") -> dict[str, Any]:
    spec = {"platform": {"type": platform}, "controllerAvailabilityPolicy": policy}
    return cluster.create(HCPS, "hosted", spec=spec)


def upload(
    cluster: VeleroCluster,
    name: str,
    phase: str = "",
    *,
    uid: str = BACKUP_UID,
    namespace: str = NAMESPACE,
    **spec: Any,
) -> Any:
    return cluster.create(
        UPLOADS,
        name,
        metadata={"labels": {"velero.io/backup-name": "nightly", "velero.io/backup-uid": uid}},
        spec={"sourceNamespace": namespace, "sourcePVC": f"data-{name}", "snapshotType": "CSI", **spec},
        status={"phase": phase} if phase else None,
    )


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNKNOWN, error
    return error.details()


def test_the_flow_from_the_item_to_the_last_upload(cluster: VeleroCluster, host: VeleroHost):
    hcp = control_plane(cluster, policy="HighlyAvailable")
    item, operation = host.backup(ACTION, hcp, backup())
    assert item == hcp
    assert operation.startswith("hcp1-")
    for number in range(3):
        upload(cluster, f"u{number}")
    first = host.progress(ACTION, operation, WAITING)
    assert (first.completed, first.nCompleted, first.nTotal, first.operationUnits) == (False, 0, 3, "volumes")
    assert "data-u0" in first.description
    assert first.started.seconds > 0
    cluster.tell(UPLOADS, "u0", {"phase": "Completed"})
    cluster.tell(UPLOADS, "u1", {"phase": "InProgress", "node": "n1"})
    second = host.progress(ACTION, operation, WAITING)
    assert (second.completed, second.nCompleted, second.nTotal) == (False, 1, 3)
    assert host.progress(ACTION, operation, WAITING) == second  # nothing changed, so Velero stores nothing anew
    for number in range(3):
        cluster.tell(UPLOADS, f"u{number}", {"phase": "Completed"})
    last = host.progress(ACTION, operation, WAITING)
    assert (last.completed, last.err, last.nCompleted, last.nTotal) == (True, "", 3, 3)
    assert host.says("DataUpload is done", "info")
    assert cluster.writes() == []


def test_another_process_goes_on_where_the_first_ended(cluster: VeleroCluster):
    hcp = control_plane(cluster)
    upload(cluster, "u", "Completed")
    with started(cluster) as host:
        _, operation = host.backup(ACTION, hcp, backup())
    with started(cluster) as host:
        assert host.progress(ACTION, operation, WAITING).completed


def test_a_failed_upload_fails_it_at_once_with_the_documents_words(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    upload(cluster, "u", "InProgress")
    cluster.tell(UPLOADS, "u", {"phase": "Failed", "message": "disk on fire"})
    found = host.progress(ACTION, operation, WAITING)
    assert found.completed
    assert found.err.startswith(
        "error validating DataMover: error reconciling standard data mover: error reconciling data upload:"
    )
    assert "disk on fire" in found.description


@pytest.mark.parametrize("platform", ["PowerVS", "GCP", "Marsian", ""])
def test_a_platform_without_a_rule_is_refused(cluster: VeleroCluster, host: VeleroHost, platform: str):
    said = refused(host.backup, ACTION, control_plane(cluster, platform), backup())
    assert said.startswith(f"error validating DataMover: unsupported platform type {platform}")
    assert cluster.requests == []


@pytest.mark.parametrize("phase", ["Finalizing", "FinalizingPartiallyFailed"])
def test_nothing_is_begun_while_velero_finalizes(cluster: VeleroCluster, host: VeleroHost, phase: str):
    hcp = control_plane(cluster)
    assert host.backup(ACTION, hcp, backup(phase)) == (hcp, "")
    assert cluster.requests == []


def test_items_of_others_go_back_without_a_question(cluster: VeleroCluster, host: VeleroHost):
    for item in ({"kind": "Pod", "metadata": {"name": "a"}}, {"kind": "HostedCluster"}, {}, {"kind": 7}):
        assert host.backup(ACTION, item, backup()) == (item, "")
    host.backup(RHCOS, {"kind": "PersistentVolumeClaim", "metadata": {}}, backup())
    host.restore(ACTION, {"kind": "Pod", "metadata": {"name": "a", "namespace": NAMESPACE}}, {})
    assert cluster.requests == []
    assert host.resident() < 80_000_000


def test_memory_stays_small_with_the_cluster_in_use(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    for number in range(20):
        upload(cluster, f"u{number}")
    for _ in range(5):
        host.progress(ACTION, operation, WAITING)
    assert host.resident() < 80_000_000


# --- the configuration ---


def configure(cluster: VeleroCluster, **data: str) -> None:
    cluster.create(CONFIG, "hypershift-oadp-plugin-config", data=data)


def test_a_bad_number_is_told_with_its_key_and_only_to_control_planes(cluster: VeleroCluster, host: VeleroHost):
    configure(cluster, dataUploadTimeout="soon")
    said = refused(host.backup, ACTION, control_plane(cluster), backup())
    assert said.startswith("error validating DataMover: error parsing dataUploadTimeout: ")
    assert "velero/hypershift-oadp-plugin-config" in said
    pod = {"kind": "Pod", "metadata": {"name": "a"}}
    assert host.backup(ACTION, pod, backup()) == (pod, "")


def test_keys_of_nobody_are_warnings(cluster: VeleroCluster, host: VeleroHost):
    configure(cluster, dataUploadTimout="15")
    host.backup(ACTION, control_plane(cluster), backup())
    assert host.says("dataUploadTimout is not known", "warn")


def status(code: int, reason: str) -> Response:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": f"{reason} by the test",
    }
    return Response(code, {"content-type": "application/json"}, json.dumps(body).encode())


def test_a_configuration_that_cannot_be_read_is_a_warning_and_defaults_hold(cluster: VeleroCluster, host: VeleroHost):
    cluster.rule = lambda request: status(403, "Forbidden") if "configmaps" in request.path else None
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    assert operation
    assert host.says("cannot be read, so defaults hold: ", "warn")


def test_a_configuration_that_changes_later_is_that_of_the_next_backup(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    configure(cluster, dataUploadTimeout="soon")
    upload(cluster, "u", "Completed")
    assert host.progress(ACTION, operation, WAITING).completed


# --- what cannot be read ---


def test_without_a_cluster_a_backup_goes_on():
    with VeleroHost(environ=environment(KUBECONFIG="/nonexistent", HOME="/nonexistent")) as host:
        item = {
            "kind": "HostedControlPlane",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"platform": {"type": "AWS"}},
        }
        _, operation = host.backup(ACTION, item, backup())
        found = host.progress(ACTION, operation, WAITING)
        assert (found.completed, found.err) == (True, "")
        assert "cannot be read" in found.description
        assert host.says("cannot be read, so defaults hold", "warn")


def test_a_server_in_trouble_is_asked_again_and_fails_nothing(cluster: VeleroCluster, host: VeleroHost):
    hcp = control_plane(cluster)
    _, operation = host.backup(ACTION, hcp, backup())
    upload(cluster, "u", "Completed")
    cluster.rule = lambda request: status(500, "InternalError") if "datauploads" in request.path else None
    found = host.progress(ACTION, operation, WAITING)
    assert (found.completed, found.err) == (False, "")
    assert "looked at again" in found.description
    cluster.rule = lambda request: status(500, "InternalError")
    assert not host.progress(ACTION, operation, WAITING).completed
    cluster.rule = lambda _: None
    assert host.progress(ACTION, operation, WAITING).completed


def test_what_is_forbidden_is_told_and_fails_nothing(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    cluster.rule = lambda request: status(403, "Forbidden") if "datauploads" in request.path else None
    found = host.progress(ACTION, operation, WAITING)
    assert (found.completed, found.err) == (True, "")
    assert "Forbidden by the test" in found.description


def test_a_control_plane_that_is_gone_fails_nothing(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    cluster.ask("DELETE", f"{HCPS}/hosted")
    found = host.progress(ACTION, operation, WAITING)
    assert (found.completed, found.err) == (True, "")
    assert f"HostedControlPlane {NAMESPACE}/hosted is gone" in found.description


@pytest.mark.parametrize("operation", ["", "x", "hcp1-", "hcp1-%%%", "hcp9-e30", "x" * 1_000_000, "du-1.2"])
def test_operations_of_nobody_are_one_error_each(host: VeleroHost, operation: str):
    for call in (host.progress, host.cancel):
        assert "the operation “" in refused(call, ACTION, operation, WAITING)
    host.ping()


def test_an_operation_of_another_backup_is_refused(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    other = backup("WaitingForPluginOperations", uid="another")
    assert refused(host.progress, ACTION, operation, other) == "the operation is of another backup than nightly"
    assert refused(host.cancel, ACTION, operation, other) == "the operation is of another backup than nightly"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"metadata":7}', b"\xff"])
def test_backups_that_are_none_are_one_error_each(cluster: VeleroCluster, host: VeleroHost, raw: bytes):
    hcp = control_plane(cluster)
    _, operation = host.backup(ACTION, hcp, backup())
    assert "the backup cannot be read" in refused(host.backup, ACTION, hcp, raw)
    assert "the backup cannot be read" in refused(host.progress, ACTION, operation, raw)
    assert "the backup cannot be read" in refused(host.cancel, ACTION, operation, raw)


# --- cancelling ---


def test_cancel_reaches_the_unfinished_uploads_of_this_backup_and_nothing_else(
    cluster: VeleroCluster, host: VeleroHost
):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    upload(cluster, "new")
    upload(cluster, "running", "InProgress")
    upload(cluster, "done", "Completed")
    upload(cluster, "failed", "Failed")
    upload(cluster, "already", "InProgress", cancel=True)
    upload(cluster, "other-backup", "InProgress", uid="another")
    upload(cluster, "other-namespace", "InProgress", namespace="clusters-b")
    cluster.create(
        COPIES,
        "copy",
        metadata={"labels": {"velero.io/backup-name": "nightly", "velero.io/backup-uid": BACKUP_UID}},
        spec={"pod": {"namespace": NAMESPACE, "name": "etcd-0"}, "volume": "data"},
    )
    host.cancel(ACTION, operation, WAITING)
    found = cluster.ask("GET", UPLOADS)["items"] + cluster.ask("GET", COPIES)["items"]
    asked = {each["metadata"]["name"] for each in found if each["spec"].get("cancel")}
    assert asked == {"new", "running", "already", "copy"}
    assert sorted(cluster.writes()) == sorted(
        [("PATCH", f"{UPLOADS}/new"), ("PATCH", f"{UPLOADS}/running"), ("PATCH", f"{COPIES}/copy")]
    )
    host.cancel(ACTION, operation, WAITING)
    assert len(cluster.writes()) == 3


def test_an_upload_that_cannot_be_cancelled_is_told(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    upload(cluster, "u", "InProgress")
    cluster.rule = lambda request: status(403, "Forbidden") if request.method == "PATCH" else None
    said = refused(host.cancel, ACTION, operation, WAITING)
    assert "DataUpload u could not be cancelled" in said
    assert "Forbidden by the test" in said


def test_an_upload_that_cannot_be_seen_may_go_on_and_that_is_told(cluster: VeleroCluster, host: VeleroHost):
    _, operation = host.backup(ACTION, control_plane(cluster), backup())
    cluster.rule = lambda request: status(403, "Forbidden") if "datauploads" in request.path else None
    assert "DataUpload cannot be read" in refused(host.cancel, ACTION, operation, WAITING)


# --- waiting within Execute ---


def test_blocking_waits_for_what_has_been_begun(cluster: VeleroCluster, host: VeleroHost):
    configure(cluster, blocking="true", dataUploadCheckPace="1")
    hcp = control_plane(cluster)
    upload(cluster, "u", "InProgress")
    asked = cluster.requests

    def finish(request: Request) -> None:
        if len([path for _, path in asked if "datauploads" in path]) == 3:
            cluster.rule = lambda _: None
            cluster._loop.create_task(_complete(cluster))

    cluster.rule = finish
    begun = time.monotonic()
    _, operation = host.backup(ACTION, hcp, backup())
    assert time.monotonic() - begun > 1.5
    assert operation  # and Progress says the rest
    assert host.says("DataUpload is done", "info")


async def _complete(cluster: VeleroCluster) -> None:
    body = json.dumps({"status": {"phase": "Completed"}}).encode()
    headers = {"content-type": "application/merge-patch+json", "accept": "application/json"}
    await cluster._server.handle(Request("PATCH", f"{UPLOADS}/u/status", (), headers, body))


def test_blocking_with_nothing_begun_does_not_wait(cluster: VeleroCluster, host: VeleroHost):
    configure(cluster, blocking="true")
    _, operation = host.backup(ACTION, control_plane(cluster, policy="HighlyAvailable"), backup())
    assert operation


def test_blocking_fails_the_item_when_an_upload_fails(cluster: VeleroCluster, host: VeleroHost):
    configure(cluster, blocking="true")
    upload(cluster, "u", "Failed")
    assert refused(host.backup, ACTION, control_plane(cluster), backup()).startswith("error validating DataMover: ")


def test_who_waits_within_the_item_logs_no_error_that_velero_would_count(cluster: VeleroCluster, host: VeleroHost):
    """Velero counts lines of a backup's log by their level, and logs the error of the item itself."""
    configure(cluster, blocking="true")
    upload(cluster, "u", "Failed")
    said = refused(host.backup, ACTION, control_plane(cluster), backup())
    assert "dataUpload failed. Name: u Status: Failed" in said
    assert host.says("VolumeSnapshotContent is done", "info")
    assert host.messages("error") == []
