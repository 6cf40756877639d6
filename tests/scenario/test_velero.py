"""Velero itself, with its own plugin alone: what the scenarios of our plugin stand on is held to be true of it first.

The cluster has no HostedControlPlanes, and does not even know them. Then our plugin is put beside Velero's: nothing may be any different. At the end it is there as
it is delivered, put there as an init container does it. The scenarios of test_hosted_control_planes.py run the same code by this interpreter, which starts in less time.
"""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.hosting import HYPERSHIFT, make_claims, make_control_plane, make_namespace, make_running_pod
from support.kubernetes import ADMIN_GROUP, ControlPlane, wait_for
from support.one_file import one_file
from support.velero import workload
from support.velero_definitions import define_hosted
from support.velero_stage import ACTION, PLUGIN, PLUGIN_USER, RHCOS_ACTION, VeleroStage, add_plugin, open_velero

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero")]

PAGE = (Path(__file__).resolve().parents[2] / "docs/velero-plugin.md").read_text(encoding="utf-8")
COMMANDS = [line.split() for line in re.findall(r"^(velero plugin (?:add|remove) .*)$", PAGE, re.MULTILINE)]


@pytest.fixture(scope="module")
def stage(kubernetes: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VeleroStage]:
    with open_velero(kubernetes, tmp_path_factory.mktemp("velero")) as found:
        yield found


def test_a_backup_of_a_namespace_without_volumes_is_completed(stage: VeleroStage) -> None:
    namespace = make_namespace(stage.plane)

    stage.velero.back_up("plain", namespace)

    status = stage.velero.wait_for_phase("plain", "Completed")["status"]
    assert status.get("errors", 0) == 0
    assert status.get("backupItemOperationsAttempted", 0) == 0
    assert {"plain.tar.gz", "velero-backup.json"} <= set(stage.velero.stored("plain"))


def test_a_backup_that_moves_data_waits_until_the_node_agent_has_moved_it(stage: VeleroStage) -> None:
    namespace = make_namespace(stage.plane)
    claims = make_claims(stage.plane, namespace, "data")
    stage.actor.play(namespace, claims, hold="InProgress")

    stage.velero.back_up("moving", namespace, snapshotMoveData=True)
    stage.velero.wait_for_phase("moving", "WaitingForPluginOperations")
    wait_for(lambda: stage.upload_phases("moving") == {"data": "InProgress"}, what="the upload")
    time.sleep(2)  # two looks of Velero at the operation

    assert stage.velero.phase("moving") == "WaitingForPluginOperations"
    assert stage.snapshots(namespace) == []  # taken over by the node-agent

    stage.actor.play(namespace, claims, hold="")
    status = stage.velero.wait_for_phase("moving", "Completed")["status"]
    assert (status["backupItemOperationsAttempted"], status["backupItemOperationsCompleted"]) == (1, 1)
    assert [
        each for each in stage.snapshots(stage.velero.namespace) if each in str(stage.velero.uploads("moving"))
    ] == []


def test_an_upload_that_fails_makes_the_backup_partially_failed(stage: VeleroStage) -> None:
    namespace = make_namespace(stage.plane)
    claims = make_claims(stage.plane, namespace, "data")
    stage.actor.play(namespace, claims, walk=("Accepted", "Failed"), message="the store is full")

    stage.velero.back_up("failing", namespace, snapshotMoveData=True)

    status = stage.velero.wait_for_phase("failing", "PartiallyFailed")["status"]
    assert (status["backupItemOperationsFailed"], status["errors"]) == (1, 1)
    assert "the store is full" in stage.log_of("failing") + stage.operations_of("failing")


RESTORED = ("configmaps", "secrets", "services", "pods")


def taken(stage: VeleroStage, namespace: str, name: str) -> tuple[list[bytes], dict[str, list[Any]]]:
    """Back a namespace up and restore it into another one; return the entries of the archive, and what there is afterwards."""
    stage.velero.back_up(name, namespace, snapshotVolumes=False)
    status = stage.velero.wait_for_phase(name, "Completed")["status"]
    assert (status.get("errors", 0), status.get("warnings", 0)) == (0, 0)
    there = f"{namespace}-{name}"
    volumes = ["persistentvolumeclaims", "persistentvolumes"]
    restore = stage.restore(name, namespaceMapping={namespace: there}, excludedResources=volumes)
    assert restore["status"]["phase"] == "Completed", restore["status"]
    found = {kind: stage.plane.call("GET", f"/api/v1/namespaces/{there}/{kind}")[1]["items"] for kind in RESTORED}
    lasting = {kind: [_lasting(each) for each in found[kind]] for kind in found}
    return stage.entries_of(name), lasting


def _lasting(found: dict[str, Any]) -> dict[str, Any]:
    """Return of an object what does not differ from one restore to the next."""
    labels = {key: value for key, value in (found["metadata"].get("labels") or {}).items() if "velero.io" not in key}
    spec = {key: value for key, value in (found.get("spec") or {}).items() if not key.startswith("clusterIP")}
    return {
        "name": found["metadata"]["name"],
        "labels": labels,
        "annotations": found["metadata"].get("annotations"),
        "spec": spec,
        "data": found.get("data"),
    }


def test_where_there_is_no_hosted_control_plane_backups_and_restores_are_the_same_with_and_without_our_plugin(
    stage: VeleroStage,
) -> None:
    """To the byte; with no definition of HostedControlPlane, and with one of which there is no object. The plugin asks the API server nothing."""
    plane, namespace = stage.plane, make_namespace(stage.plane)
    labels = {"hypershift.openshift.io/hosted-control-plane": "another", "kubevirt.io": "virt-launcher"}
    make_claims(plane, namespace, "data", "rhcos")
    make_running_pod(plane, namespace, "app-0", "data", "rhcos", labels=labels)
    common = {"apiVersion": "v1", "metadata": {"name": "app", "namespace": namespace}}
    plane.create(common | {"kind": "Secret", "stringData": {"key": "value"}})
    plane.create(common | {"kind": "Service", "spec": {"selector": {"app": "app"}, "ports": [{"port": 80}]}})
    asked = len(plane.audit())
    without = taken(stage, namespace, "without")

    add_plugin(plane, stage.velero)
    stage.velero.restart()
    undefined = taken(stage, namespace, "undefined")
    define_hosted(plane)
    stage.velero.restart()
    assert ACTION in {name for name, _ in stage.velero.plugins_loaded()}
    unused = taken(stage, namespace, "unused")

    assert f"resources/pods/namespaces/{namespace}/app-0.json" in stage.items_of("without")
    assert [each["name"] for each in without[1]["pods"]] == ["app-0"]
    assert (undefined, unused) == (without, without)
    assert plane.call("GET", f"/apis/{HYPERSHIFT}/hostedcontrolplanes")[1]["items"] == []
    assert plane.audit(user=PLUGIN_USER, since=asked) == ()


def test_our_plugin_as_one_file_is_loaded_and_asked_until_the_data_is_moved(stage: VeleroStage) -> None:
    file = one_file()
    define_hosted(stage.plane)
    namespace = make_namespace(stage.plane)
    make_control_plane(stage.plane, namespace, "AWS")
    stage.actor.play(namespace, make_claims(stage.plane, namespace, "data-etcd-0"))
    subprocess.run([file, "install", stage.velero.plugins], check=True, timeout=60)
    assert (stage.velero.plugins / PLUGIN).read_bytes() == file.read_bytes()

    stage.velero.restart()

    loaded = stage.velero.plugins_loaded()
    assert {(ACTION, kind) for kind in ("BackupItemActionV2", "RestoreItemActionV2")} <= loaded
    assert (RHCOS_ACTION, "BackupItemActionV2") in loaded
    stage.velero.back_up("delivered", namespace, snapshotMoveData=True)
    stage.velero.wait_for_phase("delivered", "Completed")
    told = stage.operation("delivered", ACTION)["status"]
    assert (told["phase"], told["nCompleted"], told["nTotal"]) == ("Completed", 1, 1)


def test_the_documented_commands_put_the_image_in_change_its_version_and_take_it_out(stage: VeleroStage) -> None:
    namespace = make_namespace(stage.plane, "documented")
    deployment = workload("Deployment", "velero", namespace, labels={"component": "velero"})
    pod = deployment["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "plugins", "emptyDir": {}}]
    pod["containers"][0]["volumeMounts"] = [{"name": "plugins", "mountPath": "/plugins"}]
    stage.plane.create(deployment)
    kubeconfig = stage.plane.user_kubeconfig("documented", [ADMIN_GROUP])
    environment = {"KUBECONFIG": str(kubeconfig), "VELERO_NAMESPACE": namespace, "HOME": str(stage.velero.directory)}

    def images_after(words: list[str]) -> list[str]:
        command = [stage.velero.programs.server, *words[1:]]
        subprocess.run(command, env=environment, input="y\n", text=True, check=True, capture_output=True, timeout=60)
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/velero"
        found = stage.plane.call("GET", path)[1]["spec"]["template"]["spec"].get("initContainers", [])
        assert all(each["volumeMounts"] == [{"name": "plugins", "mountPath": "/target"}] for each in found)
        return [each["image"] for each in found]

    install, remove, add, away = COMMANDS
    image = "registry.example.com/team/velero-plugin"
    assert images_after(install) == [f"{image}:0.1.0"]
    assert images_after(remove) == []
    assert images_after(add) == [f"{image}:0.2.0"]
    assert images_after([*remove[:-1], add[-1]]) == []
    assert images_after(install) == [f"{image}:0.1.0"]
    assert images_after(away) == []
