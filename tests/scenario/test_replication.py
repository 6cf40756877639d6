"""ReplicationSources and ReplicationDestinations with everything real: restic, rclone, a directory, an S3 server; in both worlds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api import names, reasons
from datamover.api.copy_trigger import LATEST_ANNOTATION, STATUS_ANNOTATION, TRIGGER_ANNOTATION, USE_ANNOTATION, Status
from datamover.api.volsync import names as words
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.kinds import KINDS, REPLICATION_KINDS
from datamover.runs import pause
from kubekit.client.errors import NotFound
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, SERVICE_ACCOUNTS
from kubekit.words.meta import Resource
from kubekit.words.rbac import ROLE_BINDINGS, ROLES
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.engines import find_engine
from support.restic import PASSWORD, make_key_cheap
from support.s3 import BUCKET, S3Server, run_server
from support.scenario import AGENT, CLASS, PATIENCE, TREE, Cluster, embedded_cluster, real_cluster

DOCUMENT = """
apiVersion: volsync.backube/v1alpha1
kind: ReplicationSource
metadata:
  name: test-rs
  namespace: test-ns
spec:
  sourcePVC: data-pvc
  trigger:
    schedule: "*/30 * * * *"
  restic:
    pruneIntervalDays: 1
    repository: restic-secret
    retain:
      hourly: 3
      daily: 2
      monthly: 1
    copyMethod: Snapshot
    cacheCapacity: 1Gi
"""
"""The example of the document on copy triggers, as printed."""
CHANGED = {**TREE, "app/config.json": b'{"answer": 43}\n', "new": b"new"}


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator reconciles replication, and whose movers find restic."""
    images = {names.DEFAULT_IMAGE_REPOSITORY: ("env", f"DATAMOVER_RESTIC={find_engine('restic')}", *AGENT)}
    kinds = (*KINDS, *REPLICATION_KINDS)
    if request.param == "embedded":
        async with embedded_cluster(tmp_path, kinds=kinds, images=images) as found:
            yield found
    else:
        plane = request.getfixturevalue("kubernetes")
        space = request.getfixturevalue("namespace")
        async with real_cluster(plane, space, tmp_path, kinds=kinds, images=images) as found:
            yield found


@pytest.fixture
def versity(tmp_path: Path) -> Iterator[S3Server]:
    for server in run_server("versitygw", tmp_path):
        server.bucket()
        yield server


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "repository" / "restic"


async def get(cluster: Cluster, resource: Resource[Any], name: str) -> Any:
    try:
        return await cluster.client.get(resource, name, namespace=cluster.namespace)
    except NotFound:
        return None


async def wait(cluster: Cluster, resource: Resource[Any], name: str, holds: Callable[[Any], Any]) -> Any:
    """Wait until something holds of a status; the last one is the failure's message."""
    end, status = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        found = await get(cluster, resource, name)
        status = found.status if found is not None else None
        if status is not None and holds(status):
            return status
        await asyncio.sleep(0.05)
    raise AssertionError(f"after {PATIENCE} s: {status}")


def synced(manual: str) -> Callable[[Any], bool]:
    return lambda status: status.last_manual_sync == manual and status.last_sync_start_time is None


def failed(status: Any) -> bool:
    return status.latest_mover_status is not None and status.latest_mover_status.result == "Failed"


def ready(reason: str) -> Callable[[Any], bool]:
    return lambda status: (found := status.condition("Ready")) is not None and found.reason == reason


async def set_spec(cluster: Cluster, resource: Resource[Any], name: str, spec: dict[str, Any]) -> None:
    await cluster.client.patch(resource, name, {"spec": spec}, namespace=cluster.namespace, field_manager="its-user")


async def annotate(cluster: Cluster, claim: str, values: dict[str, str | None]) -> None:
    await cluster.client.patch(
        PERSISTENT_VOLUME_CLAIMS,
        claim,
        {"metadata": {"annotations": values}},
        namespace=cluster.namespace,
        field_manager="its-user",
    )


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


def read(directory: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    found.pop("permissions.facl", None)  # where rclone's mover keeps modes, owners and ACLs
    return found


async def restic_secret(cluster: Cluster, where: str | Path, **changes: str) -> None:
    values = {"RESTIC_REPOSITORY": str(where), "RESTIC_PASSWORD": PASSWORD, **changes}
    await cluster.create_secret("restic-secret", values)


def restic(**fields: Any) -> dict[str, Any]:
    return {"repository": "restic-secret", "cacheStorageClassName": CLASS, **fields}


def rclone(**fields: Any) -> dict[str, Any]:
    return {
        "rcloneConfig": "rclone-secret",
        "rcloneConfigSection": "store",
        "rcloneDestPath": f"{BUCKET}/mirror",
        **fields,
    }


async def rclone_secret(cluster: Cluster, server: S3Server) -> None:
    lines = [
        "[store]",
        "type = s3",
        "provider = Other",
        f"access_key_id = {server.access_key}",
        f"secret_access_key = {server.secret_key}",
        f"endpoint = http://127.0.0.1:{server.port}",
        "region = us-east-1",
    ]
    await cluster.create_secret("rclone-secret", {"rclone.conf": "\n".join(lines) + "\n"})


async def create_source(cluster: Cluster, method: dict[str, Any], *, claim: str = "app-data", **spec: Any) -> None:
    given = {"trigger": {"manual": "one"}, **spec}
    await cluster.create(REPLICATION_SOURCES, "backup", spec={"sourcePVC": claim, **given, **method})


async def left_of(cluster: Cluster) -> set[tuple[str, str]]:
    """Return all that movers of the kinds need or make and that is there."""
    found: set[tuple[str, str]] = set()
    for resource in (PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS, JOBS, PODS, SERVICE_ACCOUNTS, ROLES, ROLE_BINDINGS):
        listed = await cluster.client.list(resource, namespace=cluster.namespace)
        found |= {(resource.kind, each.metadata.name) for each in listed if "volsync" in each.metadata.name}
    return found


@pytest.mark.parametrize(
    ("cluster", "method"),
    [("embedded", "Direct"), ("embedded", "Snapshot"), pytest.param("real", "Snapshot", marks=pytest.mark.kubernetes)],
    indirect=["cluster"],
)
async def test_restic_copies_twice_and_brings_the_last_copy_back(
    method: str, cluster: Cluster, repository: Path
) -> None:
    directory = await cluster.create_volume("app-data")
    repository.parent.mkdir()
    await cluster.create_volume("repository", {})
    kept = cluster.place / "volumes" / "repository" / "restic"
    volume = {"mountPath": "repo", "volumeSource": {"persistentVolumeClaim": {"claimName": "repository"}}}
    await restic_secret(cluster, "/mnt/repo/restic")
    chosen = restic(copyMethod=method, moverVolumes=[volume])
    await create_source(cluster, {"restic": chosen})
    first = await wait(cluster, REPLICATION_SOURCES, "backup", synced("one"))
    assert first.latest_mover_status.result == "Successful"
    assert "snapshot" in first.latest_mover_status.logs
    make_key_cheap(kept)

    write(directory, {"app/config.json": CHANGED["app/config.json"], "new": b"new"})
    await set_spec(cluster, REPLICATION_SOURCES, "backup", {"trigger": {"manual": "two"}})
    await wait(cluster, REPLICATION_SOURCES, "backup", synced("two"))

    back = await cluster.create_volume("back", {"stays": b"here"})
    target = {"destinationPVC": "back"}
    if method == "Snapshot":
        target |= {"volumeSnapshotClassName": CLASS}
    spec = {"trigger": {"manual": "one"}, "restic": {**chosen, **target}}
    await cluster.create(REPLICATION_DESTINATIONS, "restore", spec=spec)
    done = await wait(cluster, REPLICATION_DESTINATIONS, "restore", synced("one"))
    assert read(back) == {**CHANGED, "stays": b"here"}
    assert done.latest_image.kind == ("VolumeSnapshot" if method == "Snapshot" else "PersistentVolumeClaim")
    if method == "Snapshot":
        image = await get(cluster, VOLUME_SNAPSHOTS, done.latest_image.name)
        assert image.status.ready_to_use


@pytest.mark.parametrize(
    ("cluster", "method"),
    [("embedded", "Direct"), ("embedded", "Snapshot"), pytest.param("real", "Direct", marks=pytest.mark.kubernetes)],
    indirect=["cluster"],
)
async def test_rclone_mirrors_twice_keeps_the_mirror_of_a_source_that_is_empty_and_brings_it_back(
    method: str, cluster: Cluster, versity: S3Server
) -> None:
    directory = await cluster.create_volume("app-data")
    await rclone_secret(cluster, versity)
    await create_source(cluster, {"rclone": rclone(copyMethod=method)})
    await wait(cluster, REPLICATION_SOURCES, "backup", synced("one"))
    mirror = versity.directory / BUCKET / "mirror"
    assert read(mirror) == TREE

    write(directory, {"app/config.json": CHANGED["app/config.json"], "new": b"new"})
    await set_spec(cluster, REPLICATION_SOURCES, "backup", {"trigger": {"manual": "two"}})
    await wait(cluster, REPLICATION_SOURCES, "backup", synced("two"))
    assert read(mirror) == CHANGED

    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    await set_spec(cluster, REPLICATION_SOURCES, "backup", {"trigger": {"manual": "three"}})
    guarded = await wait(cluster, REPLICATION_SOURCES, "backup", failed)
    assert "empty" in guarded.condition("Ready").message
    assert read(mirror) == CHANGED, "law L3"

    back = await cluster.create_volume("back", {})
    target = {"destinationPVC": "back"}
    spec = {"trigger": {"manual": "one"}, "rclone": rclone(copyMethod="Direct", **target)}
    await cluster.create(REPLICATION_DESTINATIONS, "restore", spec=spec)
    await wait(cluster, REPLICATION_DESTINATIONS, "restore", synced("one"))
    assert read(back) == CHANGED


async def test_a_wrong_password_is_told_and_the_right_one_mends_it(
    cluster: Cluster, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.create_volume("app-data")
    await restic_secret(cluster, repository)
    await create_source(cluster, {"restic": restic(copyMethod="Direct")})
    await wait(cluster, REPLICATION_SOURCES, "backup", synced("one"))
    make_key_cheap(repository)
    await change_password(cluster, "another")
    await set_spec(cluster, REPLICATION_SOURCES, "backup", {"trigger": {"manual": "two"}})

    told = await wait(cluster, REPLICATION_SOURCES, "backup", failed)
    assert "password" in told.condition("Ready").message
    assert "another" not in told.condition("Ready").message
    assert told.condition("Stalled").status == "True"

    monkeypatch.setattr(pause, "FIRST", 0.0)  # the Secret's change brings the operator back, and it need not wait
    await change_password(cluster, PASSWORD)
    done = await wait(cluster, REPLICATION_SOURCES, "backup", synced("two"))
    assert done.latest_mover_status.result == "Successful"


async def change_password(cluster: Cluster, password: str) -> None:
    await cluster.client.patch(
        SECRETS,
        "restic-secret",
        {"stringData": {"RESTIC_PASSWORD": password}},
        namespace=cluster.namespace,
        field_manager="its-user",
    )


async def test_a_secret_that_comes_late_a_pause_and_a_new_operator_in_the_middle_lose_nothing(
    cluster: Cluster, versity: S3Server
) -> None:
    await cluster.create_volume("app-data")
    await create_source(cluster, {"rclone": rclone(copyMethod="Clone")}, paused=True)
    lacking = await wait(cluster, REPLICATION_SOURCES, "backup", ready(reasons.SECRET_NOT_FOUND))
    assert lacking.condition("Synchronizing").reason == "Error"
    assert 'Secret "rclone-secret" not found' in lacking.condition("Synchronizing").message

    await rclone_secret(cluster, versity)
    paused = await wait(cluster, REPLICATION_SOURCES, "backup", ready(reasons.SUSPENDED))
    assert paused.condition("Synchronizing").reason == "SyncInProgress"
    job = await get(cluster, JOBS, "volsync-rclone-src-backup")
    assert job.spec.parallelism == 0

    assert cluster.crew is not None
    await cluster.crew.kill()
    await set_spec(cluster, REPLICATION_SOURCES, "backup", {"paused": False})
    cluster.crew.begin(cluster.crew.hire())
    done = await wait(cluster, REPLICATION_SOURCES, "backup", synced("one"))
    assert done.latest_mover_status.result == "Successful"
    assert read(versity.directory / BUCKET / "mirror") == TREE


@pytest.mark.parametrize(
    "moment", ["before its copy", "while it waits for a trigger", "while its mover is", "afterwards"]
)
async def test_whoever_is_deleted_leaves_nothing_behind(moment: str, cluster: Cluster, repository: Path) -> None:
    await cluster.create_volume("app-data")
    if moment != "before its copy":
        await restic_secret(cluster, repository)
    spec: dict[str, Any] = {}
    if moment == "while it waits for a trigger":
        await annotate(cluster, "app-data", {USE_ANNOTATION: ""})
    if moment == "while its mover is":
        spec = {"paused": True}
    chosen = restic(copyMethod="Snapshot", volumeSnapshotClassName=CLASS)
    claim = "nothing" if moment == "before its copy" else "app-data"
    await create_source(cluster, {"restic": chosen}, claim=claim, **spec)
    reason = {
        "before its copy": reasons.SOURCE_NOT_FOUND,
        "while it waits for a trigger": reasons.COPY_TRIGGER_WAITING,
        "while its mover is": reasons.SUSPENDED,
        "afterwards": reasons.SYNCHRONIZED,
    }[moment]
    await wait(cluster, REPLICATION_SOURCES, "backup", ready(reason))
    await cluster.client.delete(REPLICATION_SOURCES, "backup", namespace=cluster.namespace)

    async def gone() -> bool:
        return not await left_of(cluster)

    await cluster.wait_for(gone)
    assert read(cluster.place / "volumes" / "app-data") == TREE


async def test_the_documents_example_copies_when_its_user_triggers_it(cluster: Cluster, repository: Path) -> None:
    manifest = yaml.safe_load(DOCUMENT)
    manifest["metadata"]["namespace"] = cluster.namespace
    if cluster.namespace != "default":  # the real API server of the tests has no default class for the cache
        manifest["spec"]["restic"]["cacheStorageClassName"] = CLASS
    directory = await cluster.create_volume("data-pvc")
    await annotate(cluster, "data-pvc", {USE_ANNOTATION: ""})
    await restic_secret(cluster, repository)
    await cluster.client.create(REPLICATION_SOURCES, manifest)

    async def told(expected: dict[str, str]) -> None:
        async def is_told() -> bool:
            claim = await get(cluster, PERSISTENT_VOLUME_CLAIMS, "data-pvc")
            said = claim.metadata.annotations or {}
            return expected.items() <= said.items()

        await cluster.wait_for(is_told)

    await told({STATUS_ANNOTATION: Status.WAITING})
    waiting = await wait(cluster, REPLICATION_SOURCES, "test-rs", ready(reasons.COPY_TRIGGER_WAITING))
    assert waiting.condition("Synchronizing").reason == words.Synchronizing.IN_PROGRESS
    write(directory, {"ledger": b"closed"})
    await annotate(cluster, "data-pvc", {TRIGGER_ANNOTATION: "trigger-1"})
    await told({STATUS_ANNOTATION: Status.COMPLETED, LATEST_ANNOTATION: "trigger-1"})
    write(directory, {"ledger": b"open again"})

    done = await wait(
        cluster, REPLICATION_SOURCES, "test-rs", lambda status: status.last_sync_time and status.next_sync_time
    )
    assert done.latest_mover_status.result == "Successful"
    assert done.next_sync_time[14:] in ("00:00Z", "30:00Z")
    back = await cluster.create_volume("back", {})
    spec = {"trigger": {"manual": "one"}, "restic": restic(copyMethod="Direct", destinationPVC="back")}
    await cluster.create(REPLICATION_DESTINATIONS, "restore", spec=spec)
    await wait(cluster, REPLICATION_DESTINATIONS, "restore", synced("one"))
    assert read(back) == {**TREE, "ledger": b"closed"}
