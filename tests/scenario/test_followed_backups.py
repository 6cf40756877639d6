"""Backups of hosted control planes are followed by an operator, on the embedded API server and on a real one: what it writes, tells and counts; and that it is
still when nothing happens, and after a restart."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from datamover.api.velero.backup import BACKUPS
from datamover.reconcilers.hosted_control_plane.facts import Pace
from kubekit.words.timestamps import seconds
from support.backup_world import DEFINITIONS, BackupWorld, backup_world, run_velero_plane
from support.control_planes import pod_volume_backup
from support.kubernetes import ControlPlane

pytestmark = pytest.mark.xdist_group("velero-kinds")

MEMBERS = ("data-etcd-0", "data-etcd-1", "data-etcd-2")
AT_ONCE = Pace(soon=timedelta(0), interval=timedelta(0))
IMPATIENT = Pace(soon=timedelta(0), interval=timedelta(0), stall=timedelta(seconds=2))
"""For what is about stalls alone: on a slow machine anything else takes two seconds as well."""
PREFIX = "datamover_hosted_control_plane_"
Open = Callable[..., AbstractAsyncContextManager[BackupWorld]]


@pytest.fixture(scope="module")
def velero_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    yield from run_velero_plane(tmp_path_factory.mktemp("velero-kinds"))


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
def world(request: pytest.FixtureRequest) -> Open:
    plane = None if request.param == "embedded" else request.getfixturevalue("velero_plane")
    return partial(backup_world, plane)


def over() -> dict[str, str]:
    """What a backup says that is over now."""
    return {"completion_timestamp": seconds(datetime.now(UTC))}


def count(found: BackupWorld, name: str, **labels: str) -> float | None:
    return found.registry.get_sample_value(PREFIX + name, labels)


async def test_three_volumes_from_the_first_snapshot_to_the_last_upload(world: Open) -> None:
    async with world(pace=AT_ONCE) as found:
        found.begin()
        await found.host(ha=True)
        backup = await found.back_up()
        await found.until_state("WAITING")
        for member in MEMBERS:
            await found.upload(backup, member, "Accepted")
        await found.until(lambda said: said["controlPlanes"][0]["total"] == 3)
        await found.back_up(phase="WaitingForPluginOperations")
        for member in MEMBERS:
            await found.upload(backup, member, "InProgress", done=1, total=10, node="worker-1")
        for member in MEMBERS:
            await found.upload(backup, member, "Completed", done=10, total=10)
        said = await found.until_state("MOVED")
        (plane,) = said["controlPlanes"]
        assert (plane["completed"], plane["total"], plane["final"]) == (3, 3, True)
        assert plane["flags"]["DUFinished"] is True
        assert [each["phase"] for each in plane["volumes"]] == ["Completed"] * 3
        await found.until_told("Moved")
        assert {path.split("/")[-2] for method, path in found.asked.writes if method == "PATCH"} <= {"configmaps"}
        assert not [path for _, path in found.asked.writes if "velero.io" in path], "Velero's objects are never written"
        await found.nothing_is_asked()
        # what is counted is counted after it was written
        assert count(found, "reconciliation_duration_seconds_count", platform="AWS", result="MOVED") == 1
        assert count(found, "resources_total", platform="AWS", kind="DataUpload", result="completed") == 3


async def test_a_restart_over_backups_that_are_over_writes_nothing(world: Open) -> None:
    async with world() as found:
        await found.host()
        for number in range(5):
            await found.back_up(f"old-{number}", "Completed", status={"completion_timestamp": "2020-01-01T00:00:00Z"})
        backup = await found.back_up()
        await found.upload(backup, MEMBERS[0], "Completed")
        found.begin()
        await found.back_up(phase="WaitingForPluginOperations")
        await found.until_state("MOVED")
        await found.back_up(phase="Completed", status=over())
        await found.until_told("Moved")
        assert [await found.status(f"old-{number}") for number in range(5)] == [None] * 5
        await found.nothing_is_asked()
        await found.crew.kill()
        found.begin()
        await found.nothing_is_asked()
        assert found.asked.writes == []
        assert count(found, "reconciliation_duration_seconds_count", platform="AWS", result="MOVED") is None


async def test_one_under_way_is_gone_on_with_after_a_restart_and_its_failure_told_once(world: Open) -> None:
    async with world() as found:
        await found.host()
        backup = await found.back_up(phase="WaitingForPluginOperations")
        await found.upload(backup, MEMBERS[0], "InProgress", done=1, total=2)
        found.begin()
        await found.until_state("WAITING")
        await found.crew.kill()
        await found.upload(backup, MEMBERS[0], "Failed", message="no space left")
        found.begin()
        said = await found.until_state("FAILED")
        assert "no space left" in said["controlPlanes"][0]["description"]
        await found.until_told("Failed")
        await found.back_up(phase="PartiallyFailed", status=over())
        await found.until(lambda said: said["controlPlanes"][0].get("final"))
        await found.nothing_is_asked()  # what is counted is counted after it was written
        assert count(found, "errors_total", platform="AWS", reason="Failed") == 1
        assert await found.events() == [("Warning", "Failed")]


async def test_what_stands_still_is_told_and_not_given_up(world: Open) -> None:
    async with world(pace=IMPATIENT) as found:
        found.begin()
        await found.host()
        backup = await found.back_up()
        await found.upload(backup, MEMBERS[0], "InProgress", done=1, total=2)
        await found.back_up(phase="WaitingForPluginOperations")  # as Velero does: nothing new comes after that
        await found.until(lambda said: said["controlPlanes"][0]["volumes"][0].get("stalled"))
        await found.until_told("Stalled")
        await found.nothing_is_asked()
        assert count(found, "volumes_stalled", namespace=found.hosted, backup="nightly") == 1
        await found.upload(backup, MEMBERS[0], "Completed", done=2, total=2)
        await found.until_state("MOVED")
        await found.until_told("Stalled", "Moved")


@pytest.mark.parametrize("kind", ["datauploads", "podvolumebackups"])
async def test_an_upload_that_a_late_watch_hides_is_not_overlooked(world: Open, kind: str) -> None:
    async with world(late=kind) as found:
        found.begin()
        await found.host()
        await found.back_up()
        await found.until_state("WAITING")
        if kind == "datauploads":
            await found.upload(await found.back_up(), MEMBERS[0], "InProgress")
        else:
            await found.put(pod_volume_backup(phase="InProgress", of=await found.back_up(), namespace=found.hosted))
        await found.back_up(phase="WaitingForPluginOperations")
        said = await found.until(
            lambda said: said["controlPlanes"][0]["total"] == 1 and said["controlPlanes"][0].get("volumes")
        )
        assert said["controlPlanes"][0]["state"] == "WAITING"
        assert await found.events() == []


async def test_the_config_map_goes_with_its_backup(world: Open) -> None:
    async with world() as found:
        found.begin()
        await found.host()
        await found.back_up()
        await found.until_state("WAITING")
        await found.client.delete(BACKUPS, "nightly", namespace=found.velero)
        await found.until_gone()
        again = await found.back_up()
        await found.until_state("WAITING")
        status = await found.status()
        assert status is not None
        assert status.metadata.owned_by(again.metadata.uid)


async def test_two_backups_at_once_know_their_own(world: Open) -> None:
    async with world(pace=AT_ONCE) as found:
        found.begin()
        await found.host()
        names = ("nightly", "x" * 200)
        for name in names:
            backup = await found.back_up(name)
            await found.upload(backup, MEMBERS[0], "Completed" if name == "nightly" else "InProgress")
            await found.back_up(name, "WaitingForPluginOperations")
        await found.until_state("MOVED")
        await found.until_state("WAITING", names[1])
        await found.until_told("Moved")
        assert await found.events(names[1]) == []


async def test_a_backup_without_a_control_plane_is_left_alone(world: Open) -> None:
    async with world() as found:
        found.begin()
        await found.host()
        await found.back_up("shop", included_namespaces=("shop",))
        await found.back_up()
        await found.until_state("WAITING")
        await found.nothing_is_asked()
        assert await found.status("shop") is None


async def test_it_sleeps_until_velero_is_there() -> None:
    async with backup_world(None) as found:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{DEFINITIONS[0]['metadata']['name']}"
        await found.client.request_json("DELETE", path)
        found.begin()
        await found.until_asleep(asleep=True)
        await found.client.request_json("POST", path.rpartition("/")[0], body=DEFINITIONS[0])
        await found.until_asleep(asleep=False)
        await found.host()
        await found.back_up()
        await found.until_state("WAITING")


async def test_a_backup_that_ended_while_no_operator_ran_is_told(world: Open) -> None:
    async with world() as found:
        await found.host()
        backup = await found.back_up()
        await found.upload(backup, MEMBERS[0], "Completed")
        await found.back_up(phase="Completed", status=over())
        found.begin()
        await found.until_state("MOVED")
        await found.until_told("Moved")


async def test_a_backup_whose_end_comes_while_no_operator_runs_is_told(world: Open) -> None:
    async with world() as found:
        found.begin()
        await found.host()
        backup = await found.back_up()
        await found.upload(backup, MEMBERS[0], "InProgress", done=1, total=2)
        await found.until(lambda said: said["controlPlanes"][0].get("volumes"))
        await found.crew.kill()
        await found.upload(backup, MEMBERS[0], "Failed")
        await found.back_up(phase="PartiallyFailed", status=over())
        found.begin()
        said = await found.until_state("FAILED")
        assert said["controlPlanes"][0]["final"]
        await found.until_told("Failed")
