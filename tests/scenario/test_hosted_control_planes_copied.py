"""Hosted control planes whose volumes Velero copies out of running Pods (`defaultVolumesToFsBackup`): by a real Velero with our plugin.

The phases of the copies are played; Velero makes them, waits for them before it asks anybody, and keeps a real repository for each namespace.
"""

from typing import Any

import pytest

from support.hosted_planes import Hosted, host
from support.hosting import make_running_pod
from support.kubernetes import wait_for
from support.velero_actor import MERGE
from support.velero_stage import ACTION, VeleroStage

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero"), pytest.mark.timeout(300)]

CLAIMS = ("data-etcd-0", "data-etcd-1")
COPIED: dict[str, Any] = {"defaultVolumesToFsBackup": True, "snapshotMoveData": False}


@pytest.fixture(scope="module")
def stage(velero_with_plugin: VeleroStage) -> VeleroStage:
    return velero_with_plugin


def copied(stage: VeleroStage, platform: str = "AWS") -> Hosted:
    """Make a control plane with a Pod that runs and has both claims."""
    hosted = host(stage, platform, claims=CLAIMS)
    make_running_pod(stage.plane, hosted.namespace, "etcd-0", *CLAIMS)
    return hosted


@pytest.fixture(scope="module")
def lost(stage: VeleroStage) -> dict[str, Hosted]:
    """One backup of three control planes, of each of which a copy comes to another end; by the phase of that end, `user` for what its user cancels."""
    planes = {each: copied(stage) for each in ("Failed", "Canceled", "user")}
    planes["Failed"].play(CLAIMS[1], walk=("Accepted", "InProgress", "Failed"), message="no room in the store")
    planes["Canceled"].play(
        CLAIMS[1], walk=("Accepted", "InProgress", "Canceling", "Canceled"), message="node-agent was restarted"
    )
    planes["user"].play(CLAIMS[1], hold="InProgress")
    stage.velero.back_up("lost", *(each.namespace for each in planes.values()), **COPIED)
    return planes


@pytest.fixture(scope="module")
def phase_before_cancelling(stage: VeleroStage, lost: dict[str, Hosted]) -> str:
    """Cancel the copy that goes on, when it is the last one, and wait for the end of the backup; return the backup's phase before that."""
    namespace = lost["user"].namespace

    def held() -> dict[str, Any] | None:
        found = [each for each in stage.copies("lost") if each["spec"]["pod"]["namespace"] == namespace]
        phases = {each["spec"]["volume"]: each.get("status", {}).get("phase") for each in found}
        going_on = [each for each in found if each["spec"]["volume"] == CLAIMS[1]]
        return going_on[0] if phases == {CLAIMS[0]: "Completed", CLAIMS[1]: "InProgress"} else None

    copy = wait_for(held, what="the copy that goes on", seconds=90)
    before = stage.velero.phase("lost")
    path = f"/apis/velero.io/v1/namespaces/{stage.velero.namespace}/podvolumebackups/{copy['metadata']['name']}"
    assert stage.plane.call("PATCH", path, {"spec": {"cancel": True}}, kind=MERGE)[0] == 200
    stage.velero.wait_for_phase("lost", "PartiallyFailed")
    return before


def test_copies_that_are_completed_complete_the_control_plane_whatever_its_platform(
    stage: VeleroStage, lost: dict[str, Hosted]
) -> None:
    copied(stage, "Moon").back_up("copied", **COPIED)

    status = stage.velero.wait_for_phase("copied", "Completed")["status"]
    assert (status["backupItemOperationsAttempted"], status["backupItemOperationsCompleted"]) == (1, 1)
    assert (status.get("errors", 0), status.get("warnings", 0)) == (0, 0)
    assert stage.copy_phases("copied") == dict.fromkeys(CLAIMS, "Completed")
    told = stage.operation("copied", ACTION)["status"]
    assert (told["phase"], told["nCompleted"], told["nTotal"], told["operationUnits"]) == ("Completed", 2, 2, "volumes")


def test_a_copy_that_its_user_cancels_is_waited_for_by_velero_until_then(phase_before_cancelling: str) -> None:
    assert phase_before_cancelling == "InProgress"


@pytest.mark.parametrize(("end", "phase"), [("Failed", "Failed"), ("Canceled", "Canceled"), ("user", "Canceled")])
def test_a_copy_that_is_not_completed_fails_its_control_plane_in_the_documents_words(
    stage: VeleroStage, lost: dict[str, Hosted], phase_before_cancelling: str, end: str, phase: str
) -> None:
    namespace = lost[end].namespace
    (copy,) = [
        each
        for each in stage.copies("lost")
        if (each["spec"]["pod"]["namespace"], each["spec"]["volume"]) == (namespace, CLAIMS[1])
    ]

    told = stage.operations("lost", ACTION)[namespace]["status"]

    assert (copy["status"]["phase"], told["phase"], told["nCompleted"], told["nTotal"]) == (phase, "Failed", 1, 2)
    words = f"PodVolumeBackup failed. Name: {copy['metadata']['name']} Status: {phase} Pod: etcd-0, backup: lost"
    assert words in told["error"]
    assert copy["status"].get("message", "") in told["description"]
