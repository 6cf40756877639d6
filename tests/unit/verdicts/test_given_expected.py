"""The behaviour that the original's tests fix, a row a case, and where ours is another one by design: then the case says so and why.

In the original the checks answer (started, finished, error); here a stage does. "Design" in a name marks a row that is answered in another way.
"""

from typing import Any

import pytest

from datamover.api.hypershift import HostedControlPlane
from datamover.api.velero.backup import Backup
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.limits import Limits
from datamover.verdicts.platform import rule_of
from datamover.verdicts.selection import select
from datamover.verdicts.stages import (
    Look,
    check_pod_volume_backups,
    reconcile_data_upload,
    reconcile_volume_snapshot_content,
    reconcile_volume_snapshots,
)
from datamover.verdicts.validate import validate_data_mover
from datamover.verdicts.verdict import ClusterSnapshot, Flags, State
from kubekit.words.core import ObjectReference
from support.control_planes import (
    BEGAN,
    COLLECTED,
    HOSTED,
    at,
    backup,
    cluster,
    content,
    hcp,
    judge,
    pod_volume_backup,
    snapshot,
    three,
    upload,
)

SEVEN = ["AWS", "Azure", "IBMCloud", "KubeVirt", "OpenStack", "Agent", "None"]
SIX = [each for each in SEVEN if each != "Azure"]
SNAPPED = (snapshot(), content())
ALL = Flags(pv_backup_started=True, pv_backup_finished=True, du_started=True, du_finished=True)


def look(*objects: Any, of: Backup | None = None, plane: HostedControlPlane | None = None, minutes: float = 2) -> Look:
    chosen, target, seen = of or backup(), plane or hcp(), cluster(*objects)
    configuration = Configuration.read({"dataUploadTimeout": "15"})
    limits = Limits.of(chosen, configuration=configuration, now=at(minutes))
    return Look(
        hcp=target,
        backup=chosen,
        rule=rule_of(target.platform),
        selection=select(chosen, namespace=target.metadata.namespace or "", seen=seen),
        seen=seen,
        limits=limits,
    )


# --- ValidateDataMover ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", SIX)
def test_both_finished_is_no_error_and_an_early_return(platform: str) -> None:
    found = judge(upload(), plane=hcp(platform))
    assert (found.state, found.error, found.flags) == (State.MOVED, "", ALL)


def test_azure_pv_finished_du_not_is_no_error() -> None:
    found = judge(*SNAPPED, plane=hcp("Azure"), of=backup(move=False))
    assert (found.state, found.error) == (State.MOVED, "")
    assert found.flags.pv_backup_finished
    assert not found.flags.du_started


@pytest.mark.parametrize(
    "platform", ["UnsupportedPlatform", "PowerVS", "GCP", "aws", "azure", "IBM Cloud", "Kubevirt", "none"]
)
def test_an_unknown_type_is_the_documented_error(platform: str) -> None:
    found = judge(upload(), plane=hcp(platform))
    assert found.state is State.UNSUPPORTED
    assert found.error == f"unsupported platform type {platform}"
    assert found.item_error == f"error validating DataMover: unsupported platform type {platform}"


@pytest.mark.parametrize("platform", [None, ""])
def test_no_type_is_unsupported_too(platform: str | None) -> None:
    assert judge(plane=hcp(platform)).error == "unsupported platform type (none is set)"
    assert judge(plane=HostedControlPlane(metadata=hcp().metadata)).state is State.UNSUPPORTED


@pytest.mark.parametrize("platform", SEVEN)
def test_each_of_seven_platforms_both_finished(platform: str) -> None:
    found = judge(*SNAPPED, upload(), plane=hcp(platform))
    assert (found.state, found.error, found.flags) == (State.MOVED, "", ALL)


EMPTY_CLUSTER = [
    ("AWS, PV finished, DU not", "AWS", False),
    ("Azure, nothing finished", "Azure", False),
    ("AWS, nothing finished", "AWS", False),
    ("the same, HA", "AWS", True),
]


@pytest.mark.parametrize(("platform", "ha"), [row[1:] for row in EMPTY_CLUSTER], ids=[row[0] for row in EMPTY_CLUSTER])
def test_an_empty_cluster_is_no_error_and_goes_on(platform: str, ha: bool) -> None:
    # while Velero collects, none seen is not yet known; afterwards it is nothing to move. The original never asserts how it goes on
    for phase, state in ((None, State.WAITING), ("InProgress", State.WAITING), (COLLECTED, State.NOTHING_TO_MOVE)):
        found = judge(plane=hcp(platform, ha=ha), of=backup(phase))
        assert (found.state, found.error) == (state, "")
        assert not found.flags.pv_backup_finished


@pytest.mark.parametrize(("timeout", "pace"), [("5", "10"), ("60", "60"), ("0", "0")])
def test_timeouts_over_an_empty_cluster_are_no_error(timeout: str, pace: str) -> None:
    configuration = Configuration.read({"dataUploadTimeout": timeout, "dataUploadCheckPace": pace})
    assert judge(configuration=configuration, of=backup("InProgress"), now=at(1000)).error == ""


@pytest.mark.parametrize(
    ("target", "chosen", "error"),
    [
        (None, backup(), "no HostedControlPlane found"),
        (hcp(), None, "no Backup found"),
        (None, None, "no HostedControlPlane found"),
        (hcp(namespace=None), backup(), "error getting HCP namespace: the HostedControlPlane has none"),
        (HostedControlPlane(), Backup(), "error getting HCP namespace: the HostedControlPlane has none"),
    ],
)
def test_design_nil_inputs_are_a_clear_error_where_the_original_panics(
    target: HostedControlPlane | None, chosen: Backup | None, error: str
) -> None:
    found = validate_data_mover(
        hcp=target, backup=chosen, seen=ClusterSnapshot(), configuration=Configuration(), now=BEGAN
    )
    assert (found.state, found.error, found.description) == (State.FAILED, error, error)


def test_design_a_backup_that_says_nothing_is_waited_for() -> None:
    found = judge(of=Backup())
    assert (found.state, found.error) == (State.WAITING, "")


def test_aws_one_ready_vsc_and_one_ready_vs() -> None:
    found = judge(*SNAPPED)
    assert (found.state, found.error) == (State.WAITING, "")
    assert found.flags == Flags(pv_backup_started=True, pv_backup_finished=True)


def test_aws_one_completed_du_only() -> None:
    found = judge(upload())
    assert (found.state, found.error, found.flags) == (State.MOVED, "", ALL)


def test_aws_ready_vsc_vs_and_completed_du() -> None:
    found = judge(*SNAPPED, upload())
    assert (found.state, found.error, found.flags) == (State.MOVED, "", ALL)


# --- PodVolumeBackups ----------------------------------------------------------------------------------------------

HA = hcp(ha=True)
FS = backup(fs=True)
PODS = tuple(pod_volume_backup(f"etcd-{member}") for member in range(3))

PVB_CHECK = [
    ("none", (), hcp(), (False, False, False)),
    ("InProgress", (pod_volume_backup(phase="InProgress"),), hcp(), (True, False, False)),
    ("Completed of volume data", (pod_volume_backup(),), hcp(), (True, True, False)),
    ("HA, 3 Completed", PODS, HA, (True, True, False)),
    ("Failed", (pod_volume_backup(phase="Failed"),), hcp(), (True, False, True)),
    # design: what is there has begun; HA asks for a minimum, and only as long as more may come
    ("design: HA with 1 of 3 while collecting", PODS[:1], HA, (True, False, False)),
    ("design: another volume than data counts too", (pod_volume_backup(volume="logs"),), hcp(), (True, True, False)),
    ("design: Canceled is an error", (pod_volume_backup(phase="Canceled"),), hcp(), (True, False, True)),
]


@pytest.mark.parametrize(
    ("objects", "plane", "expected"), [row[1:] for row in PVB_CHECK], ids=[row[0] for row in PVB_CHECK]
)
def test_the_check_of_pod_volume_backups(objects: Any, plane: Any, expected: tuple[bool, bool, bool]) -> None:
    stage = check_pod_volume_backups(look(*objects, of=backup("InProgress", fs=True), plane=plane))
    assert (stage.started, stage.finished, bool(stage.error)) == expected


PVB_WAIT = [
    ("1 Completed", (pod_volume_backup(),), hcp(), 2, State.MOVED, ""),
    ("HA, 3 Completed", PODS, HA, 2, State.MOVED, ""),
    (
        "Failed",
        (pod_volume_backup(phase="Failed"),),
        hcp(),
        2,
        State.FAILED,
        "PodVolumeBackup failed. Name: test-backup-etcd-0-data Status: Failed Pod: etcd-0, backup: test-backup",
    ),
    ("InProgress within the limit", (pod_volume_backup(phase="InProgress"),), hcp(), 14.9, State.WAITING, ""),
    (
        "InProgress at the limit",
        (pod_volume_backup(phase="InProgress"),),
        hcp(),
        15,
        State.FAILED,
        "giving up waiting podVolumeBackup. Err: context deadline exceeded",
    ),
]


@pytest.mark.parametrize(
    ("objects", "plane", "minutes", "state", "error"), [row[1:] for row in PVB_WAIT], ids=[row[0] for row in PVB_WAIT]
)
def test_the_wait_for_pod_volume_backups(objects: Any, plane: Any, minutes: float, state: State, error: str) -> None:
    found = judge(*objects, of=FS, plane=plane, now=at(minutes))
    assert (found.state, found.error) == (state, error)


# --- DataUploads ---------------------------------------------------------------------------------------------------

DU_CHECK = [
    ("none", (), hcp(), (False, False, False)),
    ("InProgress", (upload(phase="InProgress"),), hcp(), (True, False, False)),
    ("Completed", (upload(),), hcp(), (True, True, False)),
    ("HA, 3 Completed", three(upload), HA, (True, True, False)),
    ("Failed", (upload(phase="Failed"),), hcp(), (True, False, True)),
    # design: what is there has begun
    ("design: HA, 1 of 3 while collecting", (upload(),), HA, (True, False, False)),
    # design: the labels say whose it is, not the beginning of a name; the original starts on it
    ("design: Completed of another backup", (upload(of=backup(name="other", uid="o")),), hcp(), (False, False, False)),
    ("design: Canceled is an error", (upload(phase="Canceled"),), hcp(), (True, False, True)),
    ("New", (upload(phase="New"),), hcp(), (True, False, False)),
    ("Accepted", (upload(phase="Accepted"),), hcp(), (True, False, False)),
    ("Prepared", (upload(phase="Prepared"),), hcp(), (True, False, False)),
    ("Canceling", (upload(phase="Canceling"),), hcp(), (True, False, False)),
    ("without a status", (upload(phase=None),), hcp(), (True, False, False)),
    ("a phase that nobody knows", (upload(phase="Floating"),), hcp(), (True, False, False)),
]


@pytest.mark.parametrize(
    ("objects", "plane", "expected"), [row[1:] for row in DU_CHECK], ids=[row[0] for row in DU_CHECK]
)
def test_the_check_of_data_uploads(objects: Any, plane: Any, expected: tuple[bool, bool, bool]) -> None:
    stage = reconcile_data_upload(look(*objects, of=backup("InProgress"), plane=plane))
    assert (stage.started, stage.finished, bool(stage.error)) == expected


UPLOAD = "error reconciling standard data mover: error reconciling data upload: "
DU_WAIT = [
    ("Completed", (upload(),), hcp(), 2, State.MOVED, ""),
    ("HA, 3 Completed", three(upload), HA, 2, State.MOVED, ""),
    (
        "Failed",
        (upload(phase="Failed"),),
        hcp(),
        2,
        State.FAILED,
        f"{UPLOAD}dataUpload failed. Name: test-backup-data-etcd-0 Status: Failed, backup: test-backup",
    ),
    ("InProgress within the limit", (upload(phase="InProgress"),), hcp(), 14.9, State.WAITING, ""),
    (
        "InProgress at the limit",
        (upload(phase="InProgress"),),
        hcp(),
        15,
        State.FAILED,
        f"{UPLOAD}giving up, dataUpload was not finished in the expected timeout. Err: context deadline exceeded",
    ),
]


@pytest.mark.parametrize(
    ("objects", "plane", "minutes", "state", "error"), [row[1:] for row in DU_WAIT], ids=[row[0] for row in DU_WAIT]
)
def test_the_wait_for_data_uploads(objects: Any, plane: Any, minutes: float, state: State, error: str) -> None:
    found = judge(*objects, plane=plane, now=at(minutes))
    assert (found.state, found.error) == (state, error)
    assert found.timed_out is ("deadline" in error)


# --- VolumeSnapshots -----------------------------------------------------------------------------------------------

VS_CHECK = [
    # first version F,F, last version T,T; design: none seen is not finished, whatever else it is
    ("design: none", (), hcp(), (False, False)),
    ("not ready", (snapshot(ready=False),), hcp(), (True, False)),
    ("ready", (snapshot(),), hcp(), (True, True)),
    ("HA, 3 ready", three(snapshot), HA, (True, True)),
    ("already finished: an upload has it behind it", (upload(),), hcp(), (True, True)),
    ("readyToUse not said", (snapshot(ready=None),), hcp(), (True, False)),
    # design: the original crashes
    ("design: without a status", (snapshot(status=False),), hcp(), (True, False)),
    # design: the original takes the first ready one for all
    ("design: one of two ready", (snapshot(), snapshot("data-etcd-1", ready=False)), hcp(), (True, False)),
    ("of another namespace", (snapshot(namespace="clusters-other"),), hcp(), (False, False)),
    ("of another backup", (snapshot(of=backup(name="other", uid="o")),), hcp(), (False, False)),
]


@pytest.mark.parametrize(
    ("objects", "plane", "expected"), [row[1:] for row in VS_CHECK], ids=[row[0] for row in VS_CHECK]
)
def test_the_check_of_volume_snapshots(objects: Any, plane: Any, expected: tuple[bool, bool]) -> None:
    stage = reconcile_volume_snapshots(look(*objects, plane=plane))
    assert (stage.started, stage.finished) == expected
    assert stage.error == ""


def test_an_empty_namespace_of_the_control_plane_finds_no_snapshot() -> None:
    # original: F,F. Here validate_data_mover refuses it before; the stage finds nothing, even of snapshots without a namespace
    stage = reconcile_volume_snapshots(look(snapshot(), plane=hcp(namespace="")))
    assert (stage.started, stage.finished) == (False, False)


SNAPSHOTS_ONLY = backup(move=False)
GAVE_UP = "giving up, VolumeSnapshot was not finished in the expected timeout. Err: context deadline exceeded"
VS_WAIT = [
    ("ready", (snapshot(), content()), hcp(), 2, State.MOVED, ""),
    ("HA, 3 ready", (*three(snapshot), *three(content)), HA, 2, State.MOVED, ""),
    (
        "never ready",
        (snapshot(ready=False), content()),
        hcp(),
        15,
        State.FAILED,
        f"error reconciling standard data mover: error reconciling volume snapshots: {GAVE_UP}",
    ),
    ("already finished", (upload(),), hcp(), 15, State.MOVED, ""),
]


@pytest.mark.parametrize(
    ("objects", "plane", "minutes", "state", "error"), [row[1:] for row in VS_WAIT], ids=[row[0] for row in VS_WAIT]
)
def test_the_wait_for_volume_snapshots(objects: Any, plane: Any, minutes: float, state: State, error: str) -> None:
    found = judge(*objects, of=SNAPSHOTS_ONLY, plane=plane, now=at(minutes))
    assert (found.state, found.error) == (state, error)


# --- VolumeSnapshotContents ----------------------------------------------------------------------------------------

ELSEWHERE = ObjectReference(namespace="clusters-other", name="velero-data-etcd-0-x")
VSC_CHECK = [
    # first version F,F, last version T,T
    ("design: none", (), hcp(), (False, False)),
    ("not ready", (snapshot(), content(ready=False)), hcp(), (True, False)),
    ("ready", (snapshot(), content()), hcp(), (True, True)),
    ("HA, 3 ready", (*three(snapshot), *three(content)), HA, (True, True)),
    ("already finished: an upload has it behind it", (upload(),), hcp(), (True, True)),
    # design: a content carries no mark of a backup; without its VolumeSnapshot it may be of any
    ("design: ready without its VolumeSnapshot", (content(),), hcp(), (False, False)),
    # first version F,F, last version T,T; design: the snapshot is there and has no content of its own
    ("design: content of another namespace", (snapshot(), content(refers=ELSEWHERE)), hcp(), (True, False)),
    ("content of another namespace alone", (content(refers=ELSEWHERE),), hcp(), (False, False)),
    (
        "design: content with an empty namespace in its reference",
        (snapshot(), content(refers=ObjectReference(name="velero-data-etcd-0-x"))),
        hcp(),
        (True, False),
    ),
    ("design: content without a status", (snapshot(), content(status=False)), hcp(), (True, False)),
    ("readyToUse not said", (snapshot(), content(ready=None)), hcp(), (True, False)),
]


@pytest.mark.parametrize(
    ("objects", "plane", "expected"), [row[1:] for row in VSC_CHECK], ids=[row[0] for row in VSC_CHECK]
)
def test_the_check_of_volume_snapshot_contents(objects: Any, plane: Any, expected: tuple[bool, bool]) -> None:
    stage = reconcile_volume_snapshot_content(look(*objects, plane=plane))
    assert (stage.started, stage.finished) == expected
    assert stage.error == ""


VSC_GAVE_UP = (
    "giving up, volumeSnapshotContent was not finished in the expected timeout. Err: context deadline exceeded"
)
VSC_WAIT = [
    ("ready", (snapshot(), content()), hcp(), 2, State.MOVED, ""),
    ("HA, 3 ready", (*three(snapshot), *three(content)), HA, 2, State.MOVED, ""),
    (
        "never ready",
        (snapshot(), content(ready=False)),
        hcp(),
        15,
        State.FAILED,
        f"error reconciling standard data mover: error reconciling volume snapshot content: {VSC_GAVE_UP}",
    ),
    (
        "never bound",
        (snapshot(ready=None, bound=False),),
        hcp("Azure"),
        15,
        State.FAILED,
        f"error reconciling Azure data mover: error reconciling volume snapshot content: {VSC_GAVE_UP}",
    ),
    ("already finished", (upload(),), hcp(), 15, State.MOVED, ""),
]


@pytest.mark.parametrize(
    ("objects", "plane", "minutes", "state", "error"), [row[1:] for row in VSC_WAIT], ids=[row[0] for row in VSC_WAIT]
)
def test_the_wait_for_volume_snapshot_contents(
    objects: Any, plane: Any, minutes: float, state: State, error: str
) -> None:
    found = judge(*objects, of=SNAPSHOTS_ONLY, plane=plane, now=at(minutes))
    assert (found.state, found.error) == (state, error)
    assert found.timed_out is bool(error)


# --- Reconcile -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [reconcile_volume_snapshot_content, reconcile_volume_snapshots])
@pytest.mark.parametrize("objects", [(upload(),), SNAPPED], ids=["already finished", "ready while not started"])
def test_reconcile_finished_or_ready_is_finished(stage: Any, objects: Any) -> None:
    assert stage(look(*objects)).finished


# --- what the last version changed ---------------------------------------------------------------------------------


def test_design_nothing_there_is_never_finished() -> None:
    # last version: T,T, a false success
    for stage in (reconcile_volume_snapshot_content, reconcile_volume_snapshots, check_pod_volume_backups):
        assert not stage(look()).finished


def test_design_nothing_is_ignored_because_it_was_seen_before() -> None:
    # last version: what was there at the start goes on a list in the process; here each look is like the first
    assert judge(*SNAPPED, upload(phase="InProgress")) == judge(*SNAPPED, upload(phase="InProgress"))


def test_unrelated_uploads_are_ignored() -> None:
    assert judge(upload(), upload("other", phase="Failed", of=backup(name="older", uid="o"))).state is State.MOVED


def test_design_ha_is_a_minimum_as_long_as_more_may_come_and_a_warning_afterwards() -> None:
    # first version: exactly 3; last version: not looked at
    assert judge(upload(), plane=HA, of=backup("InProgress")).state is State.WAITING
    found = judge(upload(), plane=HA)
    assert found.state is State.MOVED
    assert found.warnings == (
        "the control plane has 3 members of etcd by its availability policy, but the backup has 1 volume of it",
    )
    assert HOSTED not in found.error
