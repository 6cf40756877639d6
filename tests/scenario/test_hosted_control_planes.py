"""Our plugin in a real, unchanged Velero: it is loaded by Velero's own server, and backups are started, moved, failed, cancelled and interrupted.

The uploads' phases are played (`support.velero_actor`); all that decides on a backup is Velero and the plugin. One Velero serves all cases, and those that do not
disturb each other run at the same time: Velero looks at its backups one after another, and starts all plugins anew for each look.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from support.hosting import HYPERSHIFT, make_claims, make_control_plane, make_namespace, make_pod
from support.kubernetes import ADMIN_GROUP, ControlPlane, wait_for
from support.velero_stage import ACTION, PLUGIN_USER, RHCOS_ACTION, VeleroStage, open_velero
from support.watcher import watching

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero")]

PLATFORMS = ("AWS", "Azure", "IBMCloud", "KubeVirt", "OpenStack", "Agent", "None")
UNSUPPORTED = ("PowerVS", "GCP", "Moon")
MEMBERS = ("data-etcd-0", "data-etcd-1", "data-etcd-2")
AVAILABLE = "HighlyAvailable"
LONG = "b" * 200
WATCHER = "watcher"
WRITING = {"create", "update", "patch", "delete", "deletecollection"}
IMAGE = {"hypershift.openshift.io/is-kubevirt-rhcos": "true"}
NO_IMAGES = {"version": "v1", "volumePolicies": [{"conditions": {"pvcLabels": IMAGE}, "action": {"type": "skip"}}]}
"""The volume policy of which docs/hosted-control-planes.md speaks."""


@pytest.fixture(scope="module")
def stage(kubernetes: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VeleroStage]:
    with open_velero(kubernetes, tmp_path_factory.mktemp("velero"), plugin=True) as found:
        yield found


@dataclass(frozen=True, slots=True)
class Hosted:
    """A namespace with a HostedControlPlane."""

    stage: VeleroStage
    namespace: str
    claims: tuple[str, ...]

    def play(self, *claims: str, **script: Any) -> None:
        self.stage.actor.play(self.namespace, claims or self.claims, **script)

    def back_up(self, name: str, **spec: Any) -> str:
        self.stage.velero.back_up(name, self.namespace, **{"snapshotMoveData": True} | spec)
        return name


def host(stage: VeleroStage, platform: str = "AWS", *, claims: tuple[str, ...] = MEMBERS[:1], **options: Any) -> Hosted:
    namespace = make_namespace(stage.plane)
    policy = AVAILABLE if len(claims) > 2 else "SingleReplica"
    make_control_plane(stage.plane, namespace, platform, policy=policy, **options)
    return Hosted(stage, namespace, tuple(make_claims(stage.plane, namespace, *claims)))


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
def begun(stage: VeleroStage) -> None:
    """Backups that are left to themselves, all begun at once; each is a test's."""
    for platform in (*PLATFORMS, *UNSUPPORTED):
        host(stage, platform).back_up(f"on-{platform.lower()}")
    for platform in ("AWS", "Azure"):
        host(stage, platform).back_up(f"snapshots-{platform.lower()}", snapshotMoveData=False)
    failing = host(stage, claims=MEMBERS)
    failing.play(MEMBERS[2], walk=("Accepted", "Prepared", "Failed"), message="no room in the store")
    failing.back_up("failing")
    untaken = host(stage)
    untaken.play(handle=False, error="quota of the array")
    untaken.back_up("untaken", csiSnapshotTimeout="2s")
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


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_backup_of_each_platform_is_completed_when_its_data_is_moved(
    stage: VeleroStage, begun: None, platform: str
) -> None:
    name = f"on-{platform.lower()}"

    status = stage.velero.wait_for_phase(name, "Completed", seconds=90)["status"]

    assert (status["backupItemOperationsAttempted"], status["backupItemOperationsCompleted"]) == (2, 2)
    assert status.get("errors", 0) == 0
    told = progress(stage, name)
    assert (told["phase"], told["nCompleted"], told["nTotal"], told["operationUnits"]) == ("Completed", 1, 1, "volumes")
    assert stage.upload_phases(name) == {MEMBERS[0]: "Completed"}


@pytest.mark.parametrize("platform", UNSUPPORTED)
def test_a_platform_without_a_rule_fails_the_control_planes_item_and_says_so(
    stage: VeleroStage, begun: None, platform: str
) -> None:
    name = f"on-{platform.lower()}"

    status = stage.velero.wait_for_phase(name, "PartiallyFailed", seconds=90)["status"]

    assert status["errors"] == 1
    assert f"unsupported platform type {platform}" in stage.log_of(name)
    assert stage.upload_phases(name) == {MEMBERS[0]: "Completed"}, "the rest of the backup goes on"


def test_three_members_are_waited_for_by_name_until_the_last_is_moved(stage: VeleroStage) -> None:
    hosted = host(stage, claims=MEMBERS)
    hosted.play(MEMBERS[1], hold="Accepted")
    name = hosted.back_up("members")
    stage.velero.wait_for_phase(name, "WaitingForPluginOperations")

    def two_are_moved() -> bool:
        return stage.operation_now(name, ACTION)["status"].get("nCompleted") == 2

    wait_for(two_are_moved, what="two of three")
    told = stage.operation_now(name, ACTION)["status"]
    assert (told["nTotal"], told["operationUnits"]) == (3, "volumes")
    assert MEMBERS[1] in told["description"]
    assert "Accepted" in told["description"]

    hosted.play(MEMBERS[1], hold="")
    stage.velero.wait_for_phase(name, "Completed")
    assert (progress(stage, name)["nCompleted"], progress(stage, name)["nTotal"]) == (3, 3)


@pytest.mark.parametrize("platform", ["AWS", "Azure"])
def test_snapshots_that_stay_where_they_are_suffice_where_no_data_is_to_be_moved(
    stage: VeleroStage, begun: None, platform: str
) -> None:
    name = f"snapshots-{platform.lower()}"

    status = stage.velero.wait_for_phase(name, "Completed")["status"]
    assert status["csiVolumeSnapshotsCompleted"] == 1
    assert progress(stage, name)["phase"] == "Completed"


def test_an_upload_that_fails_fails_the_control_plane_with_its_name_and_reason(stage: VeleroStage, begun: None) -> None:
    name = "failing"

    status = stage.velero.wait_for_phase(name, "PartiallyFailed", seconds=90)["status"]
    (upload,) = [each for each in stage.velero.uploads(name) if each["spec"]["sourcePVC"] == MEMBERS[2]]
    told = progress(stage, name)
    assert (told["phase"], status["backupItemOperationsFailed"]) == ("Failed", 2)
    assert "dataUpload failed" in told["error"]
    assert upload["metadata"]["name"] in told["error"]


def test_an_upload_that_its_user_cancels_fails_the_control_plane_at_once(stage: VeleroStage) -> None:
    hosted = host(stage)
    hosted.play(hold="InProgress")
    name = hosted.back_up("cancelled")
    stage.velero.wait_for_phase(name, "WaitingForPluginOperations")

    stage.cancel(stage.velero.uploads(name)[0])

    stage.velero.wait_for_phase(name, "PartiallyFailed")
    told = progress(stage, name)
    assert told["phase"] == "Failed"
    assert "Canceled" in told["error"]


def test_a_backup_that_takes_too_long_is_cancelled_with_all_its_uploads(stage: VeleroStage) -> None:
    hosted = host(stage, claims=MEMBERS)
    hosted.play(hold="InProgress")
    asked = len(stage.plane.audit(user=PLUGIN_USER))

    name = hosted.back_up("late", itemOperationTimeout="4s")

    stage.velero.wait_for_phase(name, "PartiallyFailed")
    wait_for(lambda: set(stage.upload_phases(name).values()) == {"Canceled"}, what="the end of the uploads")
    written = [each for each in stage.plane.audit(user=PLUGIN_USER)[asked:] if each.verb not in ("get", "list")]
    assert {each.resource for each in written} <= {"datauploads"}
    assert progress(stage, name)["phase"] == "Failed"


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


def test_two_backups_of_one_control_plane_do_not_see_each_other(stage: VeleroStage) -> None:
    """One's name begins with the other's, and both have uploads of the same claim at the same time."""
    hosted = host(stage)
    hosted.play(backup="twin", hold="InProgress")
    first = hosted.back_up("twin")
    stage.velero.wait_for_phase(first, "WaitingForPluginOperations")

    second = hosted.back_up("twin-hourly")
    stage.velero.wait_for_phase(second, "Completed")
    assert stage.velero.phase(first) == "WaitingForPluginOperations"
    hosted.play(backup="twin", hold="", walk=("Accepted", "Prepared", "InProgress", "Failed"))

    stage.velero.wait_for_phase(first, "PartiallyFailed")
    assert (progress(stage, first)["phase"], progress(stage, second)["phase"]) == ("Failed", "Completed")


def test_names_of_two_hundred_characters_are_found_by_their_shortened_labels(stage: VeleroStage, begun: None) -> None:
    stage.velero.wait_for_phase(LONG, "Completed", seconds=90)

    assert (progress(stage, LONG)["nCompleted"], progress(stage, LONG)["nTotal"]) == (1, 1)


def test_a_claim_whose_snapshot_is_never_taken_is_told_by_velero_and_not_waited_for_by_us(
    stage: VeleroStage, begun: None
) -> None:
    stage.velero.wait_for_phase("untaken", "PartiallyFailed", seconds=90)

    assert progress(stage, "untaken")["phase"] == "Completed"
    assert stage.upload_phases("untaken") == {}


@pytest.mark.parametrize(
    ("name", "uploads"), [("machines", {MEMBERS[0], "rhcos"}), ("machines-by-policy", {MEMBERS[0]})]
)
def test_images_of_virtual_machines_are_not_among_what_is_restored(
    stage: VeleroStage, begun: None, name: str, uploads: set[str]
) -> None:
    """Velero calls its own actions before ours: only its own policy keeps it from a snapshot of such a claim."""
    stage.velero.wait_for_phase(name, "Completed", seconds=90)

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


def test_the_plugin_has_written_nothing_but_that_uploads_be_cancelled(stage: VeleroStage) -> None:
    """Over all that the tests above made of it."""
    written = [each for each in stage.plane.audit(user=PLUGIN_USER) if each.verb not in ("get", "list")]

    assert {(each.verb, each.resource) for each in written} <= {("patch", "datauploads")}


def followed(stage: VeleroStage, backup: str, state: str) -> dict[str, Any]:
    """Wait until the watcher says this of a backup, and return its ConfigMap."""
    path = f"/api/v1/namespaces/{stage.velero.namespace}/configmaps"
    selector = "labelSelector=app.kubernetes.io/component=hosted-control-planes"

    def said() -> dict[str, Any] | None:
        found = {each["metadata"]["ownerReferences"][0]["name"]: each for each in stage.plane.call("GET", f"{path}?{selector}")[1]["items"]}  # fmt: skip
        return found[backup] if backup in found and found[backup]["data"]["state"] == state else None

    return wait_for(said, what=f"{state} of {backup}", seconds=60)


def test_the_watcher_says_of_each_backup_what_the_plugin_said(stage: VeleroStage, begun: None) -> None:
    """Of those that were over before it came, and of one that it sees from its beginning."""
    kubeconfig = stage.plane.user_kubeconfig(WATCHER, [ADMIN_GROUP])
    said = {f"on-{each.lower()}": "MOVED" for each in PLATFORMS}
    said |= {f"on-{each.lower()}": "UNSUPPORTED" for each in UNSUPPORTED}
    said |= {"failing": "FAILED", LONG: "MOVED"}
    with watching(kubeconfig, stage.velero.namespace):
        for backup, state in said.items():
            followed(stage, backup, state)
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
