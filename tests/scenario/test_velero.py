"""Velero itself, with its own plugin alone: what the scenarios of our plugin stand on is held to be true of it first."""

import time
from collections.abc import Iterator

import pytest

from support.hosting import make_claims, make_namespace
from support.kubernetes import ControlPlane, wait_for
from support.velero_stage import VeleroStage, open_velero

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("velero")]


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
