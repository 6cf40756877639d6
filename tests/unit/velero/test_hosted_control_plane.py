"""What the action makes of what it sees, with a cluster that a test makes up. The way there through the process: tests/velero."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datamover.api.hypershift import HostedControlPlane, HostedControlPlaneSpec, HostedPlatform
from datamover.api.velero.uploads import DataUpload, DataUploadSpec, UploadStatus
from datamover.survey.control_plane import Look
from datamover.velero.actions import ActionError, Call
from datamover.velero.cluster import UnreadableError
from datamover.velero.hosted_control_plane import BackUpHostedControlPlane
from datamover.velero.logs import Log
from datamover.verdicts.operation import decode
from datamover.verdicts.verdict import ClusterSnapshot, Unread
from kubekit.words.meta import ObjectMeta

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
ITEM = {
    "kind": "HostedControlPlane",
    "metadata": {"name": "hosted", "namespace": "clusters-a"},
    "spec": {"platform": {"type": "AWS"}, "controllerAvailabilityPolicy": "SingleReplica", "pausedUntil": "kept"},
}


class Seen:
    """In the place of a cluster."""

    def __init__(self) -> None:
        self.data: Any = {}
        self.platform = "AWS"
        self.look_: Any = Look(ClusterSnapshot(), False)
        self.namespaces: list[str] = []

    def configuration(self, namespace: str) -> Any:
        self.namespaces.append(namespace)
        if isinstance(self.data, Exception):
            raise self.data
        return self.data

    def control_plane(self, namespace: str, name: str) -> HostedControlPlane:
        platform = HostedPlatform(type=self.platform)
        return HostedControlPlane(
            metadata=ObjectMeta(name=name, namespace=namespace), spec=HostedControlPlaneSpec(platform=platform)
        )

    def look(self, _: Any, *, velero: str, namespace: str) -> Look:
        self.namespaces.append(velero)
        if isinstance(self.look_, Exception):
            raise self.look_
        return self.look_


@pytest.fixture
def seen() -> Seen:
    return Seen()


class Moment:
    """The time that the action sees."""

    def __init__(self) -> None:
        self.now = NOW


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def action(seen: Seen, moment: Moment) -> BackUpHostedControlPlane:
    log = Log("error", descriptor=-1)
    return BackUpHostedControlPlane(seen, log, namespace="fallback", now=lambda: moment.now)  # type: ignore[arg-type]


def backup(phase: str = "InProgress", *, namespace: str | None = "velero", **spec: Any) -> bytes:
    metadata = {"name": "b", "uid": "uid-1", "creationTimestamp": "2026-11-30T11:59:00Z"}
    if namespace:
        metadata["namespace"] = namespace
    spec = {"includedNamespaces": ["clusters-a"], "snapshotMoveData": True, **spec}
    return json.dumps({"metadata": metadata, "spec": spec, "status": {"phase": phase}}).encode()


WAITING = backup("WaitingForPluginOperations")


def begin(action: BackUpHostedControlPlane, item: Any = ITEM, of: bytes | None = None) -> str:
    raw = json.dumps(item).encode()
    done = action.execute(raw, of or backup(), Call())
    assert done.item == raw  # nothing of it is changed, whatever happens
    return done.operation


def test_the_operation_has_all_that_another_process_needs(action: BackUpHostedControlPlane, seen: Seen):
    seen.data = {"dataUploadTimeout": "15", "dataUploadCheckPace": "30", "migration": "true"}
    found = decode(begin(action))
    assert (found.backup_uid, found.namespace, found.name, found.started) == ("uid-1", "clusters-a", "hosted", NOW)
    assert found.configuration.data_upload_timeout == timedelta(minutes=15)
    assert found.configuration.data_upload_check_pace == timedelta(seconds=30)
    assert found.configuration.migration


def test_the_configuration_is_that_of_the_backups_namespace_else_of_veleros(
    action: BackUpHostedControlPlane, seen: Seen
):
    begin(action)
    begin(action, of=backup(namespace=None))
    assert seen.namespaces == ["velero", "fallback"]


def test_a_backup_that_copies_out_of_pods_needs_no_rule_for_the_platform(action: BackUpHostedControlPlane):
    item = {**ITEM, "spec": {"platform": {"type": "PowerVS"}}}
    assert begin(action, item, backup(defaultVolumesToFsBackup=True))
    with pytest.raises(ActionError, match="error validating DataMover: unsupported platform type PowerVS"):
        begin(action, item)


def test_a_control_plane_without_a_namespace_is_told_in_the_documents_words(action: BackUpHostedControlPlane):
    with pytest.raises(ActionError, match="error validating DataMover: error getting HCP namespace"):
        begin(action, {**ITEM, "metadata": {"name": "hosted"}})


def test_names_that_kubernetes_does_not_give_begin_nothing(action: BackUpHostedControlPlane):
    with pytest.raises(ActionError, match="has no usable name"):
        begin(action, {**ITEM, "metadata": {"name": "../../x", "namespace": "clusters-a"}})


def upload(phase: str) -> DataUpload:
    meta = ObjectMeta(name="u", namespace="velero", uid="x", labels={"velero.io/backup-uid": "uid-1"})
    spec = DataUploadSpec(source_namespace="clusters-a", source_claim="data")
    return DataUpload(metadata=meta, spec=spec, status=UploadStatus(phase=phase))


def test_progress_is_the_verdict(action: BackUpHostedControlPlane, seen: Seen):
    operation = begin(action)
    seen.look_ = Look(ClusterSnapshot(data_uploads=(upload("InProgress"),)), False)
    found = action.progress(operation, WAITING, Call())
    assert (found.completed, found.error, found.done, found.total, found.units) == (False, "", 0, 1, "volumes")
    assert found.description
    seen.look_ = Look(ClusterSnapshot(data_uploads=(upload("Completed"),)), False)
    found = action.progress(operation, WAITING, Call())
    assert (found.completed, found.error, found.done, found.total) == (True, "", 1, 1)


def test_nothing_to_move_is_over_and_no_error(action: BackUpHostedControlPlane):
    found = action.progress(begin(action), WAITING, Call())
    assert (found.completed, found.error, found.done, found.total) == (True, "", 0, 0)
    assert found.description


HIDDEN = ClusterSnapshot(unread=(Unread("DataUpload", "trouble"),))


@pytest.mark.parametrize(
    "trouble", [UnreadableError("trouble", passing=True), Look(HIDDEN, True)], ids=["all", "uploads"]
)
@pytest.mark.parametrize(
    ("limit", "minutes"), [(None, 120), ("4h0m0s", 120), ("10m0s", 5), ("1s", 0.5 / 60), ("soon", 120)]
)
@pytest.mark.parametrize("timeout", [None, "15", "600"])
def test_what_may_pass_is_looked_at_again_and_ends_long_before_velero_would_fail_it(
    action: BackUpHostedControlPlane,
    seen: Seen,
    moment: Moment,
    trouble: Any,
    limit: str | None,
    minutes: float,
    timeout: str | None,
):
    seen.data = {"dataUploadTimeout": timeout} if timeout else {}
    operation = begin(action)
    seen.look_ = trouble
    waiting = backup("WaitingForPluginOperations", itemOperationTimeout=limit)
    moment.now = NOW + timedelta(minutes=minutes * 0.98)
    found = action.progress(operation, waiting, Call())
    assert (found.completed, found.error) == (False, "")
    assert "trouble" in found.description
    assert "It is looked at again" in found.description
    moment.now = NOW + timedelta(minutes=minutes * 1.02)
    found = action.progress(operation, waiting, Call())
    assert (found.completed, found.error) == (True, "")


@pytest.mark.parametrize("fault", [RuntimeError("a fault"), KeyError("x"), RecursionError()])
def test_a_fault_of_ours_fails_no_backup(action: BackUpHostedControlPlane, seen: Seen, moment: Moment, fault: Any):
    operation = begin(action)
    seen.look_ = fault
    found = action.progress(operation, WAITING, Call())
    assert (found.completed, found.error) == (False, "")
    assert type(fault).__name__ in found.description
    moment.now = NOW + timedelta(hours=3)
    found = action.progress(operation, WAITING, Call())
    assert (found.completed, found.error) == (True, "")


def test_nothing_is_logged_as_an_error_that_fails_nothing(seen: Seen, moment: Moment):
    """While it collects Velero takes each line of level error for an error of the backup."""
    read, write = os.pipe()
    action = BackUpHostedControlPlane(seen, Log("trace", descriptor=write), namespace="v", now=lambda: moment.now)  # type: ignore[arg-type]
    seen.data = UnreadableError("forbidden", passing=False)
    operation = begin(action)
    for trouble in (RuntimeError("a fault"), UnreadableError("trouble", passing=True), Look(HIDDEN, False)):
        seen.look_ = trouble
        for minutes in (0, 300):
            moment.now = NOW + timedelta(minutes=minutes)
            assert not action.progress(operation, backup("InProgress"), Call()).error
    seen.platform = "GCP"
    seen.look_ = Look(ClusterSnapshot(), False)
    assert not action.progress(operation, WAITING, Call()).error
    os.close(write)
    with os.fdopen(read) as told:
        levels = [json.loads(line)["@level"] for line in told]
    assert levels
    assert "error" not in levels


def test_an_id_of_the_last_year_that_there_is_fails_nothing(action: BackUpHostedControlPlane, seen: Seen):
    begun = decode(begin(action))
    far = replace(begun, started=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)).encode()
    for trouble in (UnreadableError("trouble", passing=True), RuntimeError("a fault")):
        seen.look_ = trouble
        found = action.progress(far, WAITING, Call())
        assert (found.completed, found.error) == (False, "")


def test_a_warning_is_told_once_it_is_over_and_not_at_every_look(seen: Seen, moment: Moment):
    read, write = os.pipe()
    action = BackUpHostedControlPlane(seen, Log("warn", descriptor=write), namespace="v", now=lambda: moment.now)  # type: ignore[arg-type]
    operation = begin(action)
    hidden = (Unread("Pod", "not allowed"),)
    for phase in ("InProgress", "InProgress", "Completed"):
        seen.look_ = Look(ClusterSnapshot(data_uploads=(upload(phase),), unread=hidden), False)
        action.progress(operation, WAITING, Call())
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read().count("Pod cannot be read: not allowed") == 1


@pytest.mark.parametrize(
    "trouble", [UnreadableError("forbidden", passing=False), Look(HIDDEN, False)], ids=["all", "uploads"]
)
def test_what_will_not_pass_is_told_at_once_and_fails_nothing(
    action: BackUpHostedControlPlane, seen: Seen, trouble: Any
):
    operation = begin(action)
    seen.look_ = trouble
    found = action.progress(operation, WAITING, Call())
    assert (found.completed, found.error) == (True, "")
    assert "looked at again" not in found.description


def test_a_platform_that_has_changed_since_fails_nothing(action: BackUpHostedControlPlane, seen: Seen):
    operation = begin(action)
    seen.platform = "GCP"
    found = action.progress(operation, WAITING, Call())
    assert (found.completed, found.error) == (True, "")
    assert "unsupported platform type GCP" in found.description


def test_blocking_looks_again_where_the_cluster_could_not_be_read(
    action: BackUpHostedControlPlane, seen: Seen, moment: Moment
):
    seen.data = {"blocking": "true", "dataUploadTimeout": "1", "dataUploadCheckPace": "20"}
    seen.look_ = UnreadableError("trouble", passing=True)
    call = Call()

    def sleep(seconds: float) -> None:
        moment.now += timedelta(seconds=seconds)

    call.sleep = sleep  # type: ignore[method-assign]
    done = action.execute(json.dumps(ITEM).encode(), backup(), call)
    assert moment.now - NOW == timedelta(minutes=1)
    assert done.operation  # what could not be seen fails nothing, and Progress looks again
    seen.look_ = UnreadableError("forbidden", passing=False)
    assert action.execute(json.dumps(ITEM).encode(), backup(), call).operation
    assert moment.now - NOW == timedelta(minutes=1)


def test_blocking_fails_the_item_when_what_has_begun_is_not_in_time(
    action: BackUpHostedControlPlane, seen: Seen, moment: Moment
):
    seen.data = {"blocking": "true", "dataUploadTimeout": "1", "dataUploadCheckPace": "20"}
    seen.look_ = Look(ClusterSnapshot(data_uploads=(upload("InProgress"),)), False)
    call = Call()

    def sleep(seconds: float) -> None:
        moment.now += timedelta(seconds=seconds)

    call.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(ActionError, match="giving up, dataUpload"):
        action.execute(json.dumps(ITEM).encode(), backup(), call)
    assert moment.now - NOW <= timedelta(minutes=1)
