"""Our plugin in a real, unchanged Velero: it is loaded by Velero's own server, and backups are started and restored.

The uploads' phases are played (`support.velero_actor`); all that decides on a backup is Velero and the plugin. One Velero serves all cases.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support.hosting import HYPERSHIFT, make_claims, make_control_plane, make_namespace, make_pod
from support.kubernetes import ControlPlane
from support.velero_stage import ACTION, PLUGIN_USER, RHCOS_ACTION, VeleroStage, open_velero

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero")]

PLATFORMS = ("AWS", "Azure", "IBMCloud", "KubeVirt", "OpenStack", "Agent", "None")
UNSUPPORTED = ("PowerVS", "GCP", "Moon")
MEMBERS = ("data-etcd-0", "data-etcd-1", "data-etcd-2")
AVAILABLE = "HighlyAvailable"


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


def test_velero_loads_the_plugin_and_lists_its_actions(stage: VeleroStage) -> None:
    listed = stage.velero.plugins_loaded()

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


def test_images_of_virtual_machines_are_not_among_what_is_restored(stage: VeleroStage) -> None:
    """Velero calls its own actions before ours, so a snapshot of such a claim is taken nevertheless."""
    hosted = host(stage, "KubeVirt")
    make_claims(stage.plane, hosted.namespace, "rhcos", labels={"hypershift.openshift.io/is-kubevirt-rhcos": "true"})

    name = hosted.back_up("machines")

    stage.velero.wait_for_phase(name, "Completed")
    claims = [each for each in stage.items_of(name) if "/persistentvolumeclaims/namespaces/" in each]
    assert [each.rpartition("/")[2] for each in claims] == [f"{MEMBERS[0]}.json"]


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
