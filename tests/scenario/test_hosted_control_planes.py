"""Our plugin in a real, unchanged Velero: it is loaded by Velero's own server, and backups are started, moved, failed, cancelled and interrupted.

The uploads' phases are played (`support.velero_actor`); all that decides on a backup is Velero and the plugin. One Velero serves all cases, and those that do not
disturb each other run at the same time: Velero looks at its backups one after another, and starts all plugins anew for each look.
"""

import json
import time
from typing import Any

import pytest
import yaml

from support.hosted_planes import Hosted, host
from support.hosting import CLASS, HYPERSHIFT, make_claims, make_namespace, make_pod
from support.kubernetes import ADMIN_GROUP, wait_for
from support.plugin_rights import VELERO, Right, granted
from support.request_counts import AuditEntry
from support.velero import LOCATION, NODE
from support.velero_stage import ACTION, PLUGIN_USER, RHCOS_ACTION, VeleroStage
from support.watcher import watching

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero"), pytest.mark.timeout(300)]

PLATFORMS = ("AWS", "Azure", "IBMCloud", "KubeVirt", "OpenStack", "Agent", "None")
UNSUPPORTED = ("PowerVS", "GCP", "Moon")
MEMBERS = ("data-etcd-0", "data-etcd-1", "data-etcd-2")
LONG = "b" * 200
WATCHER = "watcher"
WRITING = {"create", "update", "patch", "delete", "deletecollection"}
IMAGE = {"hypershift.openshift.io/is-kubevirt-rhcos": "true"}
NO_IMAGES = {"version": "v1", "volumePolicies": [{"conditions": {"pvcLabels": IMAGE}, "action": {"type": "skip"}}]}
"""The volume policy of which docs/hosted-control-planes.md speaks."""


@pytest.fixture(scope="module")
def stage(velero_with_plugin: VeleroStage) -> VeleroStage:
    return velero_with_plugin


def progress(stage: VeleroStage, backup: str) -> dict[str, Any]:
    return stage.operation(backup, ACTION)["status"]


def test_velero_loads_the_plugin_and_lists_its_actions(stage: VeleroStage) -> None:
    listed = stage.velero.plugins_loaded()

    assert (ACTION, "BackupItemActionV2") in listed
    assert (RHCOS_ACTION, "BackupItemActionV2") in listed
    assert any(kind == "RestoreItemActionV2" and name.startswith("datamover.") for name, kind in listed)
    assert ("velero.io/aws", "ObjectStore") in listed


def test_a_backup_without_a_hosted_control_plane_does_not_notice_the_plugin(stage: VeleroStage) -> None:
    namespace = make_namespace(stage.plane)
    make_claims(stage.plane, namespace, "data")
    asked = len(stage.plane.audit(user=PLUGIN_USER))

    stage.velero.back_up("plain", namespace, snapshotMoveData=True)

    status = stage.velero.wait_for_phase("plain", "Completed")["status"]
    assert (status["backupItemOperationsAttempted"], status.get("warnings", 0)) == (1, 0)
    assert stage.plane.audit(user=PLUGIN_USER)[asked:] == (), "nothing was asked of the API server"
    assert ACTION not in stage.operations_of("plain")


@pytest.fixture(scope="module")
def begun(stage: VeleroStage) -> dict[str, str]:
    """Backups that are left to themselves, all begun at once; each is a test's. Those of platforms are one for many: returned is each platform's namespace."""
    where: dict[str, str] = {}
    for name, platforms in (("supported", PLATFORMS), ("unsupported", UNSUPPORTED)):
        planes = [host(stage, platform, name=platform.lower()) for platform in platforms]
        where |= dict(zip(platforms, (each.namespace for each in planes), strict=True))
        stage.velero.back_up(name, *(each.namespace for each in planes), snapshotMoveData=True)
    planes = [host(stage, platform) for platform in ("AWS", "Azure")]
    stage.velero.back_up("snapshots", *(each.namespace for each in planes))
    failing = host(stage, claims=MEMBERS)
    failing.play(MEMBERS[2], walk=("Accepted", "Prepared", "Failed"), message="no room in the store")
    failing.back_up("failing")
    for name, claims in (("untaken", MEMBERS), ("untaken-alone", MEMBERS[2:])):
        untaken = host(stage, claims=claims)
        make_claims(stage.plane, untaken.namespace, "scratch", labels={"velero.io/exclude-from-backup": "true"})
        untaken.play(MEMBERS[2], handle=False, error="quota of the array")
        untaken.back_up(name, csiSnapshotTimeout="2s")
    host(stage, name="h" * 200).back_up(LONG)
    stage.plane.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "no-images", "namespace": stage.velero.namespace},
            "data": {"policies.yaml": yaml.safe_dump(NO_IMAGES)},
        }
    )
    policy = {"resourcePolicy": {"kind": "configmap", "name": "no-images"}}
    for name, spec in (("machines", {}), ("machines-by-policy", policy)):
        machines = host(stage, "KubeVirt")
        make_claims(stage.plane, machines.namespace, "rhcos", labels=IMAGE)
        machines.back_up(name, **spec)
    return where


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_control_plane_of_each_platform_is_completed_when_its_data_is_moved(
    stage: VeleroStage, begun: dict[str, str], platform: str
) -> None:
    status = stage.velero.wait_for_phase("supported", "Completed")["status"]

    every = 2 * len(PLATFORMS)
    assert (status["backupItemOperationsAttempted"], status["backupItemOperationsCompleted"]) == (every, every)
    assert (status.get("errors", 0), status.get("warnings", 0)) == (0, 0)
    told = stage.operations("supported", ACTION)[begun[platform]]["status"]
    assert (told["phase"], told["nCompleted"], told["nTotal"], told["operationUnits"]) == ("Completed", 1, 1, "volumes")
    (upload,) = [
        each for each in stage.velero.uploads("supported") if each["spec"]["sourceNamespace"] == begun[platform]
    ]
    assert (upload["spec"]["sourcePVC"], upload["status"]["phase"]) == (MEMBERS[0], "Completed")


@pytest.mark.parametrize("platform", UNSUPPORTED)
def test_a_platform_without_a_rule_fails_the_control_planes_item_and_says_so(
    stage: VeleroStage, begun: dict[str, str], platform: str
) -> None:
    status = stage.velero.wait_for_phase("unsupported", "PartiallyFailed")["status"]

    assert status["errors"] == len(UNSUPPORTED)
    (said,) = [each for each in stage.errors_of("unsupported") if f"name: /{platform.lower()} " in each]
    assert f"error validating DataMover: unsupported platform type {platform}" in said
    phases = [each["status"]["phase"] for each in stage.velero.uploads("unsupported")]
    assert phases == ["Completed"] * len(UNSUPPORTED), "the rest of the backup goes on"


@pytest.fixture(scope="module")
def held(stage: VeleroStage) -> dict[str, Hosted]:
    """Backups that wait until a test lets them go on; all begun at once, of which each is a test's. They are returned by name."""
    found = {name: host(stage, claims=MEMBERS) for name in ("members", "cancelled", "late")}
    found["members"].play(MEMBERS[1], hold="Accepted")
    found["cancelled"].play(hold="InProgress")
    found["late"].play(hold="InProgress", deaf=True)
    for name, spec in (("members", {}), ("cancelled", {}), ("late", {"itemOperationTimeout": "4s"})):
        found[name].back_up(name, **spec)
    leave_behind(stage, "late", found["late"])
    found["twin"] = host(stage)
    found["twin"].play(backup="twin", hold="InProgress")
    found["twin"].back_up("twin")
    found["twin"].back_up("twin-hourly")
    return found


def leave_behind(stage: VeleroStage, backup: str, hosted: Hosted) -> None:
    """Make an upload and a PodVolumeBackup of a backup that Velero does not follow: of its own it waits for these, and cancels those."""
    hosted.play("left", hold="InProgress")
    hosted.play("left-upload", hold="New")
    meta = stage.velero.backup(backup)["metadata"]
    labels = {"velero.io/backup-name": backup, "velero.io/backup-uid": meta["uid"]}
    pod = {"kind": "Pod", "namespace": hosted.namespace, "name": "etcd-0"}
    copied = {"node": NODE, "pod": pod, "volume": "left", "repoIdentifier": "", "uploaderType": "kopia"}
    moved = {
        "snapshotType": "CSI",
        "csiSnapshot": {"volumeSnapshot": "gone", "storageClass": CLASS},
        "sourceNamespace": hosted.namespace,
        "sourcePVC": "left-upload",
        "operationTimeout": "10m",
    }
    for version, kind, spec in (("v1", "PodVolumeBackup", copied), ("v2alpha1", "DataUpload", moved)):
        stage.plane.create(
            {
                "apiVersion": f"velero.io/{version}",
                "kind": kind,
                "metadata": {"name": f"{backup}-left", "namespace": stage.velero.namespace, "labels": labels},
                "spec": spec | {"backupStorageLocation": LOCATION},
            }
        )


def test_three_members_are_waited_for_by_name_until_the_last_is_moved(
    stage: VeleroStage, held: dict[str, Hosted]
) -> None:
    stage.velero.wait_for_phase("members", "WaitingForPluginOperations")

    def two_are_moved() -> bool:
        return stage.operation_now("members", ACTION)["status"].get("nCompleted") == 2

    wait_for(two_are_moved, what="two of three", seconds=60)
    told = stage.operation_now("members", ACTION)["status"]
    assert (told["nTotal"], told["operationUnits"]) == (3, "volumes")
    assert MEMBERS[1] in told["description"]
    assert "Accepted" in told["description"]

    held["members"].play(MEMBERS[1], hold="")
    stage.velero.wait_for_phase("members", "Completed")
    assert (progress(stage, "members")["nCompleted"], progress(stage, "members")["nTotal"]) == (3, 3)


def test_snapshots_that_stay_where_they_are_suffice_where_no_data_is_to_be_moved(
    stage: VeleroStage, begun: dict[str, str]
) -> None:
    status = stage.velero.wait_for_phase("snapshots", "Completed")["status"]

    assert status["csiVolumeSnapshotsCompleted"] == 2
    told = {namespace: each["status"]["phase"] for namespace, each in stage.operations("snapshots", ACTION).items()}
    assert list(told.values()) == ["Completed", "Completed"]
    assert stage.velero.uploads("snapshots") == []


def test_an_upload_that_fails_fails_the_control_plane_with_its_name_and_reason(
    stage: VeleroStage, begun: dict[str, str]
) -> None:
    name = "failing"

    status = stage.velero.wait_for_phase(name, "PartiallyFailed")["status"]
    (upload,) = [each for each in stage.velero.uploads(name) if each["spec"]["sourcePVC"] == MEMBERS[2]]
    told = progress(stage, name)
    assert (told["phase"], status["backupItemOperationsFailed"]) == ("Failed", 2)
    assert "dataUpload failed" in told["error"]
    assert upload["metadata"]["name"] in told["error"]


def test_an_upload_that_its_user_cancels_fails_the_control_plane_at_once(
    stage: VeleroStage, held: dict[str, Hosted]
) -> None:
    stage.velero.wait_for_phase("cancelled", "WaitingForPluginOperations")
    (upload,) = [each for each in stage.velero.uploads("cancelled") if each["spec"]["sourcePVC"] == MEMBERS[1]]

    stage.cancel(upload)

    wait_for(
        lambda: stage.operation_now("cancelled", ACTION)["status"]["phase"] == "Failed", what="the failure", seconds=60
    )
    assert set(stage.upload_phases("cancelled").values()) == {"InProgress", "Canceled"}, "the others are not waited for"
    held["cancelled"].play(hold="")
    stage.velero.wait_for_phase("cancelled", "PartiallyFailed")
    told = progress(stage, "cancelled")
    assert told["phase"] == "Failed"
    assert "Canceled" in told["error"]
    assert upload["metadata"]["name"] in told["error"]


def test_a_backup_that_takes_too_long_is_cancelled_with_all_its_uploads_and_copies(
    stage: VeleroStage, held: dict[str, Hosted]
) -> None:
    """Velero cancels the uploads that it follows, which take their time to end; the others are the plugin's."""
    stage.velero.wait_for_phase("late", "PartiallyFailed")

    assert all(each["spec"].get("cancel") for each in stage.velero.uploads("late"))
    assert "timed out" in progress(stage, "late")["error"]
    wait_for(lambda: stage.copy_phases("late") == {"left": "Canceled"}, what="the end of the copy")
    held["late"].play(deaf=False)
    every = dict.fromkeys((*MEMBERS, "left-upload"), "Canceled")
    wait_for(lambda: stage.upload_phases("late") == every, what="the end of the uploads")


def test_velero_is_killed_while_it_waits_and_goes_on_where_it_was(stage: VeleroStage) -> None:
    hosted = host(stage, claims=MEMBERS)
    hosted.play(hold="InProgress")
    name = hosted.back_up("interrupted")
    stage.velero.wait_for_phase(name, "WaitingForPluginOperations")

    stage.velero.restart()
    assert stage.velero.phase(name) == "WaitingForPluginOperations"
    hosted.play(hold="")

    status = stage.velero.wait_for_phase(name, "Completed")["status"]
    assert (status["backupItemOperationsAttempted"], status["backupItemOperationsCompleted"]) == (4, 4)
    assert progress(stage, name)["nCompleted"] == 3


def test_two_backups_of_one_control_plane_do_not_see_each_other(stage: VeleroStage, held: dict[str, Hosted]) -> None:
    """One's name begins with the other's, and both have uploads of the same claim at the same time."""
    stage.velero.wait_for_phase("twin", "WaitingForPluginOperations")

    stage.velero.wait_for_phase("twin-hourly", "Completed")
    assert stage.velero.phase("twin") == "WaitingForPluginOperations"
    held["twin"].play(backup="twin", hold="", walk=("Accepted", "Prepared", "InProgress", "Failed"))

    stage.velero.wait_for_phase("twin", "PartiallyFailed")
    assert (progress(stage, "twin")["phase"], progress(stage, "twin-hourly")["phase"]) == ("Failed", "Completed")


def test_names_of_two_hundred_characters_are_found_by_their_shortened_labels(
    stage: VeleroStage, begun: dict[str, str]
) -> None:
    stage.velero.wait_for_phase(LONG, "Completed")

    assert (progress(stage, LONG)["nCompleted"], progress(stage, LONG)["nTotal"]) == (1, 1)


@pytest.mark.parametrize(("name", "moved"), [("untaken", MEMBERS[:2]), ("untaken-alone", ())])
def test_a_claim_whose_snapshot_is_never_taken_fails_the_control_plane_by_name(
    stage: VeleroStage, begun: dict[str, str], name: str, moved: tuple[str, ...]
) -> None:
    """Velero gives up on it, has an error, and leaves nothing of it. What a label leaves out is not missed."""
    status = stage.velero.wait_for_phase(name, "PartiallyFailed")["status"]

    told = progress(stage, name)
    assert (told["phase"], told.get("nCompleted", 0), told["nTotal"]) == ("Failed", len(moved), len(moved) + 1)
    assert "giving up, VolumeSnapshot was not finished in the expected timeout" in told["error"]
    assert f"nothing of claim {MEMBERS[2]};" in told["error"]
    assert f"velero backup describe {name} --details" in told["error"]
    assert status["errors"] > status["backupItemOperationsFailed"] == 1
    assert stage.upload_phases(name) == dict.fromkeys(moved, "Completed")


@pytest.mark.parametrize(
    ("name", "uploads"), [("machines", {MEMBERS[0], "rhcos"}), ("machines-by-policy", {MEMBERS[0]})]
)
def test_images_of_virtual_machines_are_not_among_what_is_restored(
    stage: VeleroStage, begun: dict[str, str], name: str, uploads: set[str]
) -> None:
    """Velero calls its own actions before ours: only its own policy keeps it from a snapshot of such a claim."""
    stage.velero.wait_for_phase(name, "Completed")

    assert progress(stage, name)["nTotal"] == 1, "an image is not counted"
    claims = [each for each in stage.items_of(name) if "/persistentvolumeclaims/namespaces/" in each]
    assert {each.rpartition("/")[2] for each in claims} == {f"{MEMBERS[0]}.json"}
    assert set(stage.upload_phases(name)) == uploads


def test_a_restore_brings_the_control_plane_as_it_was_and_no_pods_of_it(stage: VeleroStage) -> None:
    hosted = host(stage, claims=())
    for name, labels in (("etcd-0", {"hypershift.openshift.io/hosted-control-plane": hosted.namespace}), ("mine", {})):
        make_pod(stage.plane, hosted.namespace, name, labels=labels)
    backup = hosted.back_up("restored")
    stage.velero.wait_for_phase(backup, "Completed")

    restore = stage.restore(backup, namespaceMapping={hosted.namespace: f"{hosted.namespace}-copy"})

    assert restore["status"]["phase"] == "Completed", restore["status"]
    there = f"namespaces/{hosted.namespace}-copy"
    (plane,) = stage.plane.call("GET", f"/apis/{HYPERSHIFT}/{there}/hostedcontrolplanes")[1]["items"]
    assert plane["spec"] == {"platform": {"type": "AWS"}, "controllerAvailabilityPolicy": "SingleReplica"}
    pods = stage.plane.call("GET", f"/api/v1/{there}/pods")[1]["items"]
    assert [each["metadata"]["name"] for each in pods] == ["mine"]


def test_the_plugin_uses_all_rights_that_its_page_names_and_wants_no_other(
    stage: VeleroStage, begun: dict[str, str], held: dict[str, Hosted]
) -> None:
    """Over all that the tests above made of it: `stage` gives it what docs/velero-plugin.md shows, word for word, and no more."""
    for name, phase in (("supported", "Completed"), ("snapshots", "Completed"), ("late", "PartiallyFailed")):
        stage.velero.wait_for_phase(name, phase)

    asked = stage.plane.audit(user=PLUGIN_USER)

    assert [each for each in asked if each.code == 403] == []
    rights = granted()
    used = {
        right
        for right in rights
        if any(right.allows(as_right(stage, each)) for each in asked if each.code in (200, 404))
    }
    assert rights - used == set(), "these are granted, and nothing uses them"
    written = {(each.verb, each.resource) for each in asked if each.verb not in ("get", "list")}
    assert written == {("patch", "datauploads"), ("patch", "podvolumebackups")}, "nothing else is ever written"


def as_right(stage: VeleroStage, asked: AuditEntry) -> Right:
    """Return what a request needs, with Velero's namespace as the page has it."""
    namespace = VELERO if asked.namespace == stage.velero.namespace else asked.namespace
    return Right(namespace, asked.group, asked.resource, asked.verb, asked.name)


def followed(stage: VeleroStage, backup: str, state: str) -> dict[str, Any]:
    """Wait until the watcher says this of a backup, and return its ConfigMap."""
    path = f"/api/v1/namespaces/{stage.velero.namespace}/configmaps"
    selector = "labelSelector=app.kubernetes.io/component=hosted-control-planes"

    def said() -> dict[str, Any] | None:
        found = {each["metadata"]["ownerReferences"][0]["name"]: each for each in stage.plane.call("GET", f"{path}?{selector}")[1]["items"]}  # fmt: skip
        return found[backup] if backup in found and found[backup]["data"]["state"] == state else None

    return wait_for(said, what=f"{state} of {backup}", seconds=60)


def test_the_watcher_says_of_each_backup_what_the_plugin_said(stage: VeleroStage, begun: dict[str, str]) -> None:
    """Of those that were over before it came, and of one that it sees from its beginning."""
    kubeconfig = stage.plane.user_kubeconfig(WATCHER, [ADMIN_GROUP])
    said = {"supported": "MOVED", "unsupported": "UNSUPPORTED", "failing": "FAILED", "untaken": "FAILED", LONG: "MOVED"}
    with watching(kubeconfig, stage.velero.namespace):
        for backup, state in said.items():
            planes = json.loads(followed(stage, backup, state)["data"]["status.json"])["controlPlanes"]
            assert {each["state"] for each in planes} == {state}, planes
            assert len(planes) == {"supported": len(PLATFORMS), "unsupported": len(UNSUPPORTED)}.get(backup, 1)
        hosted = host(stage, claims=MEMBERS)
        hosted.play(MEMBERS[2], hold="Accepted")
        name = hosted.back_up("watched")
        stage.velero.wait_for_phase(name, "WaitingForPluginOperations", seconds=60)
        wait_for(
            lambda: "2 of 3 volumes moved" in followed(stage, name, "WAITING")["data"]["message"], what="the third"
        )
        hosted.play(MEMBERS[2], hold="")
        stage.velero.wait_for_phase(name, "Completed", seconds=60)
        told = followed(stage, name, "MOVED")["data"]["message"]
    assert told == progress(stage, name)["description"]

    wrote = [each for each in stage.plane.audit(user=WATCHER) if each.verb in WRITING]
    assert {each.resource for each in wrote} == {"configmaps", "events"}, "Velero's objects are never written"
    before = len(stage.plane.audit(user=WATCHER))
    with watching(kubeconfig, stage.velero.namespace):
        time.sleep(5)
    assert [each for each in stage.plane.audit(user=WATCHER)[before:] if each.verb in WRITING] == []
