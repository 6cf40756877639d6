"""What a state directory keeps, and freeing it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.embedded.state import WorldError, read_identity
from datamover.cli.embedded.world import EmbeddedWorld, WorldOptions, adopt_volume, start_world
from datamover.cli.main import main
from datamover.cli.volumes import Volume
from datamover.volumes.binding import is_bound
from datamover.volumes.handover import build_patch, record_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from localkube.node.kinds import VOLUMES
from localkube.node.snapshot_kinds import CONTENTS, SNAPSHOTS

SPEC = {"sourcePvc": "app-data", "secretName": "credentials"}


async def leave(state: Path, data: Path, **phases: str) -> str:
    """Leave a state in which DataMovers of these names and phases have a clone each; return the identity."""
    data.mkdir()
    (data / "file").write_text("x" * 2048)
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        await adopt_volume(world, Volume("app-data", data), namespace="default")
        for name, phase in phases.items():
            await _leave_one(world, name, phase)
        while not all(is_bound(claim) for claim in await world.client.list(PERSISTENT_VOLUME_CLAIMS)):
            await _tick(world)
    (state / "node" / "volumes" / "pvc-nobody").mkdir()
    return read_identity(state) or ""


async def _tick(world: EmbeddedWorld) -> None:
    import asyncio

    world.check()
    await asyncio.sleep(0.02)


async def _leave_one(world: EmbeddedWorld, name: str, phase: str) -> None:
    meta = {"name": name, "namespace": "default"}
    made = await world.client.create(DATA_MOVERS, {"metadata": meta, "spec": SPEC})
    status = {"status": {"phase": phase}}
    await world.client.patch(DATA_MOVERS, name, status, namespace="default", subresource="status", field_manager="test")
    owner = {"apiVersion": DATA_MOVERS.api_version, "kind": "DataMover", "name": name, "uid": made.metadata.uid}
    claim = {
        "metadata": {**meta, "name": f"clone-of-{name}", "ownerReferences": [owner]},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}},
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "app-data"},
        },
    }
    await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim)


def ask(state: Path, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["state", "--state", str(state), *arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    place = tmp_path / "state"
    await leave(place, tmp_path / "data", failed="Failed", under="CreatingPod")
    return place


async def in_thread(*arguments: object) -> tuple[int, str, str]:
    """The command starts a loop of its own."""
    import asyncio

    return await asyncio.to_thread(ask, *arguments)  # type: ignore[arg-type]


async def test_what_is_kept_is_shown_with_its_size(state: Path) -> None:
    code, out, _ = await in_thread(state, "-o", "json")
    document = json.loads(out)
    assert code == 0
    assert document["identity"] == read_identity(state)
    assert [(m["name"], m["phase"], m["bytes"], len(m["copies"])) for m in document["dataMovers"]] == [
        ("failed", "Failed", 2048, 1),
        ("under", "CreatingPod", 2048, 1),
    ]
    assert document["others"] == [{"directory": "pvc-nobody", "claim": None, "bytes": 0}]
    code, out, _ = await in_thread(state)
    assert "default/failed" in out
    assert "2.0 KiB" in out
    assert "pvc-nobody, which no object knows" in out


async def _leave_replication(world: EmbeddedWorld, resource: Resource[Any], name: str, claim: str) -> None:
    """Leave an object whose synchronisation is over, with a claim of its own."""
    meta = {"name": name, "namespace": "default"}
    made = await world.client.create(resource, {"metadata": meta, "spec": {"trigger": {"manual": "t1"}}})
    waiting = {
        "type": "Synchronizing",
        "status": "False",
        "reason": "WaitingForManual",
        "message": "Waiting for manual trigger",
        "lastTransitionTime": "2026-11-29T11:12:51Z",
    }
    status = {"status": {"lastSyncTime": "2026-11-29T11:12:51Z", "conditions": [waiting]}}
    await world.client.patch(resource, name, status, namespace="default", subresource="status", field_manager="test")
    owner = {"apiVersion": resource.api_version, "kind": resource.kind, "name": name, "uid": made.metadata.uid}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "resources": {"requests": {"storage": "1Gi"}},
        "dataSource": {"kind": "PersistentVolumeClaim", "name": "app-data"},
    }
    await world.client.create(
        PERSISTENT_VOLUME_CLAIMS,
        {"metadata": {**meta, "name": claim, "ownerReferences": [owner]}, "spec": spec},
    )


@pytest.fixture
async def replicated(tmp_path: Path) -> Path:
    """A state with a source and a destination of one name; of the destination's volume there is an image."""
    state, data = tmp_path / "state", tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("x" * 1024)
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        await adopt_volume(world, Volume("app-data", data), namespace="default")
        await _leave_replication(world, REPLICATION_SOURCES, "app", "volsync-src-app-cache")
        await _leave_replication(world, REPLICATION_DESTINATIONS, "app", "volsync-app-dest")
        while not all(is_bound(claim) for claim in await world.client.list(PERSISTENT_VOLUME_CLAIMS)):
            await _tick(world)
        made = await world.client.get(REPLICATION_DESTINATIONS, "app", namespace="default")
        owner = {
            "apiVersion": REPLICATION_DESTINATIONS.api_version,
            "kind": REPLICATION_DESTINATIONS.kind,
            "name": "app",
            "uid": made.metadata.uid,
        }
        snapshot = {
            "metadata": {"name": "image", "namespace": "default", "ownerReferences": [owner]},
            "spec": {"source": {"persistentVolumeClaimName": "volsync-app-dest"}},
        }
        await world.client.create(SNAPSHOTS, snapshot)
        while not [each for each in await world.client.list(CONTENTS) if each.status.ready_to_use]:
            await _tick(world)
    return state


async def test_what_replication_keeps_is_shown_as_its_own(replicated: Path) -> None:
    _, out, _ = await in_thread(replicated, "-o", "json")
    document = json.loads(out)
    kept = {kind: document[kind] for kind in ("dataMovers", "replicationSources", "replicationDestinations")}
    assert {kind: [(run["name"], run["phase"], run["bytes"]) for run in runs] for kind, runs in kept.items()} == {
        "dataMovers": [],
        "replicationSources": [("app", "Completed", 1024)],
        "replicationDestinations": [("app", "Completed", 2048)],
    }
    assert document["others"] == []
    _, out, _ = await in_thread(replicated)
    assert "ReplicationSource default/app" in out


async def test_what_a_destination_has_received_goes_only_by_its_name(replicated: Path) -> None:
    code, _, err = await in_thread(replicated, "--free", "app")
    assert code == 2
    assert "app is ReplicationSource/default/app and ReplicationDestination/default/app: give the kind" in err
    code, out, err = await in_thread(replicated, "--free-ended", "-o", "json")
    assert (code, err) == (0, "freed: ReplicationSource default/app, 1.0 KiB\n")
    document = json.loads(out)
    assert document["replicationSources"] == []
    assert [run["bytes"] for run in document["replicationDestinations"]] == [2048]
    code, out, err = await in_thread(replicated, "--free", "replicationdestination/app")
    assert (code, err) == (0, "")
    assert "nothing is kept" in out
    assert not [each for each in (replicated / "node" / "volumes").iterdir() if each.name.startswith(("pvc-", "snap"))]


async def test_freeing_keeps_the_identity_and_what_is_under_way(state: Path) -> None:
    before = read_identity(state)
    code, out, err = await in_thread(state, "--free-ended")
    assert (code, err) == (0, "")
    assert "freed: default/failed, 2.0 KiB" in out
    code, out, _ = await in_thread(state, "-o", "json")
    document = json.loads(out)
    assert [mover["name"] for mover in document["dataMovers"]] == ["under"]
    assert document["others"] == []
    assert read_identity(state) == before == document["identity"]

    code, out, _ = await in_thread(state, "--free", "under")
    assert "nothing is kept" in out
    assert read_identity(state) == before
    assert (state.parent / "data" / "file").exists()


async def test_a_copy_that_its_class_retains_can_be_freed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await leave(state, tmp_path / "data", failed="Failed")
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "clone-of-failed", namespace="default")
        assert claim.spec is not None
        name = str(claim.spec.volume_name)
        await world.client.patch(
            VOLUMES, name, {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}, field_manager="test"
        )
        await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "clone-of-failed", namespace="default")
        while (await world.client.get(VOLUMES, name)).phase != "Released":
            await _tick(world)
    code, out, err = await in_thread(state, "--free-ended")
    assert (code, err) == (0, "")
    assert "freed: default/failed, 2.0 KiB" in out
    assert not (state / "node" / "volumes" / name).exists()
    assert (tmp_path / "data" / "file").exists()


async def test_a_directory_is_let_go_so_that_another_takes_its_place(state: Path, tmp_path: Path) -> None:
    before = read_identity(state)
    moved = tmp_path / "moved"
    moved.mkdir()

    async def adopt() -> None:
        async with start_world(WorldOptions(state=state, operator=None)) as world:
            await adopt_volume(world, Volume("app-data", moved), namespace="default")

    with pytest.raises(WorldError, match="datamover state --free-volume default/app-data"):
        await adopt()
    code, out, err = await in_thread(state, "--free-volume", "app-data")
    assert (code, err) == (0, "")
    assert f"let go: default/app-data; {tmp_path / 'data'} is as it was" in out
    assert (tmp_path / "data" / "file").read_text() == "x" * 2048, "law L1"
    await adopt()
    _, out, _ = await in_thread(state, "-o", "json")
    document = json.loads(out)
    assert document["volumes"] == [{"name": "app-data", "namespace": "default", "directory": str(moved)}]
    assert [mover["name"] for mover in document["dataMovers"]] == ["failed", "under"], "nothing else goes"
    assert read_identity(state) == before


async def test_what_is_not_there_is_told(state: Path, tmp_path: Path) -> None:
    code, out, err = await in_thread(state, "--free", "other", "-o", "json")
    assert code == 2
    assert "there is no object other" in err
    assert "it keeps DataMover/default/failed, DataMover/default/under" in err
    assert json.loads(out)["exitCode"] == 2
    code, _, err = await in_thread(state, "--free-volume", "other")
    assert (code, "there is no volume other" in err, "it keeps default/app-data" in err) == (2, True, True)
    code, _, err = await in_thread(tmp_path / "none")
    assert (code, "nothing was run with it yet" in err) == (2, True)
    assert not (tmp_path / "none").exists()


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """A state with a DataVolume that is filled, and one that was collected."""
    state = tmp_path / "state"
    async with start_world(WorldOptions(state=state, operator=None)) as world:
        for name in ("kept", "collected"):
            await _leave_volume(world, name)
        while not all(is_bound(claim) for claim in await world.client.list(PERSISTENT_VOLUME_CLAIMS)):
            await _tick(world)
        gone = await world.client.get(DATA_VOLUMES, "collected", namespace="default")
        claim = await world.client.get(PERSISTENT_VOLUME_CLAIMS, "collected", namespace="default")
        record = record_of(gone, collected="2026-01-31T00:00:00Z")
        patch = build_patch(claim, gone, heirs=(), record=record, demoted=frozenset())
        await world.client.patch(
            PERSISTENT_VOLUME_CLAIMS, "collected", patch, namespace="default", field_manager="test"
        )
        await world.client.delete(DATA_VOLUMES, "collected", namespace="default")
    return state


async def _leave_volume(world: EmbeddedWorld, name: str) -> None:
    meta = {"name": name, "namespace": "default"}
    made = await world.client.create(DATA_VOLUMES, {"metadata": meta, "spec": {"source": {"blank": {}}}})
    status = {"status": {"phase": "Succeeded"}}
    await world.client.patch(
        DATA_VOLUMES, name, status, namespace="default", subresource="status", field_manager="test"
    )
    owner = {"apiVersion": DATA_VOLUMES.api_version, "kind": "DataVolume", "name": name, "uid": made.metadata.uid}
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "local",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    manifest = {"metadata": {**meta, "ownerReferences": [owner]}, "spec": spec}
    await world.client.create(PERSISTENT_VOLUME_CLAIMS, manifest)


async def test_disks_stay_until_they_are_named_also_of_a_datavolume_that_was_collected(filled: Path) -> None:
    _, out, _ = await in_thread(filled, "--free-ended", "-o", "json")
    kept = {each["name"]: (each["phase"], len(each["copies"])) for each in json.loads(out)["dataVolumes"]}
    assert kept == {"kept": ("Completed", 1), "collected": ("Collected", 1)}
    code, out, err = await in_thread(filled, "--free", "DataVolume/kept", "--free", "collected", "-o", "json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["dataVolumes"], document["others"]) == ([], [])
    assert list((filled / "node" / "volumes").glob("pvc-*")) == []
