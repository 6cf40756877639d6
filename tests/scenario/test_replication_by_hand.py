"""ReplicationSources and -Destinations on a real API server where nothing else works: storage and Jobs are played by hand, as in the recording.

The definitions are as strict as VolSync's own: every field of a condition must be there.
"""

import asyncio
import copy
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.kinds import KINDS, REPLICATION_KINDS
from datamover.cli.operator import Operator, find_cluster, new_metrics
from datamover.cli.options import Options
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from kubekit.words.meta import Manifest
from support.definitions import own_definitions, snapshot_definitions
from support.golden import RECORDED, SECRETS, by_name, claims_of, statuses
from support.kubernetes import ControlPlane, MissingPrograms, find_programs

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

PATHS = {
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "VolumeSnapshot": "/apis/snapshot.storage.k8s.io/v1/namespaces/{}/volumesnapshots",
    "Service": "/api/v1/namespaces/{}/services",
    "ReplicationSource": "/apis/volsync.backube/v1alpha1/namespaces/{}/replicationsources",
    "ReplicationDestination": "/apis/volsync.backube/v1alpha1/namespaces/{}/replicationdestinations",
}
FIELDS = ["type", "status", "reason", "message", "lastTransitionTime"]
SPACES = ("golden", "golden-priv")
CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "2Gi"}},
    "storageClassName": "fast",
}


def strict(definition: Manifest) -> Manifest:
    """Return a definition whose conditions are `metav1.Condition`, as VolSync's are."""
    changed = copy.deepcopy(definition)
    if changed["spec"]["group"] == "volsync.backube":
        for version in changed["spec"]["versions"]:
            conditions = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
            conditions["items"]["required"] = FIELDS
            conditions["items"]["properties"]["reason"] |= {
                "minLength": 1,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            }
    return changed


class Desk:
    """Whoever plays storage and Jobs by hand."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    async def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        code, answer = await asyncio.to_thread(self.plane.call, method, path, body, kind=kind)
        assert code < 300, (method, path, code, answer)
        return answer

    async def create(self, kind: str, space: str, name: str, **fields: Any) -> None:
        path = f"{PATHS[kind].format(space)}?fieldValidation=Strict"
        version = "v1" if kind == "PersistentVolumeClaim" else "volsync.backube/v1alpha1"
        await self.call("POST", path, {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields})

    async def list(self, kind: str, space: str) -> list[Manifest]:
        found = await self.call("GET", PATHS[kind].format(space))
        return [{"kind": kind, **each} for each in found["items"]]

    async def play(self, kind: str, space: str, status: Mapping[str, Any], *, name: str = "") -> None:
        """Give all objects of a kind, or the one of a name, this status, but those that have it."""
        for each in await self.list(kind, space):
            if name not in ("", each["metadata"]["name"]) or status.items() <= (each.get("status") or {}).items():
                continue
            path = f"{PATHS[kind].format(space)}/{each['metadata']['name']}/status"
            await self.call("PATCH", path, {"status": status}, kind="application/merge-patch+json")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server of its own: nobody else must make claims bound, or Jobs run."""
    try:
        programs = find_programs()
    except MissingPrograms as missing:
        if os.environ.get("DATAMOVER_REQUIRE_KUBERNETES") == "1":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    found = ControlPlane(
        programs,
        logs=tmp_path_factory.mktemp("by-hand"),
        controllers=("garbage-collector-controller", "serviceaccount-controller"),
    )
    found.start(manifests=[*map(strict, own_definitions()), *snapshot_definitions()])
    try:
        for space in SPACES:
            found.create_namespace(space)
        asyncio.run(prepare(Desk(found)))
        yield found
    finally:
        found.stop()


@asynccontextmanager
async def operator_on(plane: ControlPlane) -> AsyncIterator[Operator]:
    """Our operator, and nothing else."""
    registry, metrics = new_metrics()
    transport = HttpTransport(load_config(plane.admin_kubeconfig))
    client = Client(transport, user_agent="operator", observe=metrics.request)
    operator = Operator(
        client,
        cluster=await find_cluster(client),
        options=Options(mover_image="example.com/mover:1"),
        registry=registry,
        metrics=metrics,
        kinds=(*KINDS, *REPLICATION_KINDS),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(operator.run(stop))
    try:
        yield operator
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)
        await transport.close()


def writes(operator: Operator) -> dict[str, float]:
    """Return what the operator has written, by what; its events count as well."""
    found: dict[str, float] = {}
    for metric in operator.registry.collect():
        for sample in metric.samples:
            if sample.name == "datamover_api_requests_total" and sample.labels["verb"] not in ("get", "list", "watch"):
                key = f"{sample.labels['verb']} {sample.labels['resource']} {sample.labels['code']}"
                found[key] = found.get(key, 0) + sample.value
    return found


async def until(holds: Any, *, seconds: float = 150) -> None:
    """Play on until something holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not await holds():
        assert asyncio.get_running_loop().time() < end, f"not within {seconds} s"
        await asyncio.sleep(0.2)


async def prepare(desk: Desk) -> None:
    """Make what the users of the recording had: Secrets, claims, classes, and a namespace that allows privileged movers."""
    await desk.call(
        "PATCH",
        "/api/v1/namespaces/golden-priv",
        {"metadata": {"annotations": {"volsync.backube/privileged-movers": "true"}}},
        kind="application/merge-patch+json",
    )
    driver = "csi.example.com"
    await desk.call(
        "POST",
        "/apis/storage.k8s.io/v1/storageclasses",
        {"metadata": {"name": "fast"}, "provisioner": driver, "volumeBindingMode": "Immediate"}
        | {"allowVolumeExpansion": True},
    )
    await desk.call(
        "POST",
        "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses",
        {"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": "snapc"}}
        | {"driver": driver, "deletionPolicy": "Delete"},
    )
    for space in SPACES:
        for name, keys in SECRETS.items():
            body = {"metadata": {"name": name}, "stringData": dict.fromkeys(keys, "x")}
            await desk.call("POST", f"/api/v1/namespaces/{space}/secrets", body)
    for case in RECORDED.values():
        for claim in claims_of(case["spec"]):
            await desk.create("PersistentVolumeClaim", case["namespace"], claim, spec=CLAIM)


async def play(desk: Desk) -> None:
    """Let storage do what it has to, and all Jobs succeed. Ready is seen before bound, as with a real driver."""
    for space in SPACES:
        ready = {"boundVolumeSnapshotContentName": "content", "readyToUse": True, "restoreSize": "3Gi"}
        await desk.play("VolumeSnapshot", space, ready)
        await desk.play("PersistentVolumeClaim", space, {"phase": "Bound"})
        await desk.play("Job", space, {"succeeded": 1})


async def objects(desk: Desk) -> dict[tuple[str, str], Manifest]:
    return {
        (space, each["metadata"]["name"]): each
        for space in SPACES
        for resource in (REPLICATION_SOURCES, REPLICATION_DESTINATIONS)
        for each in await desk.list(resource.kind, space)
    }


async def test_the_objects_of_the_recording_go_the_same_way_and_then_rest(plane: ControlPlane) -> None:
    desk = Desk(plane)
    async with operator_on(plane) as operator:
        for case in RECORDED.values():
            await desk.create(case["kind"], case["namespace"], case["name"], spec=case["spec"])
        for number in range(72):  # a hundred in all: these lack their Secret
            spec = {"sourcePVC": "data-rs-restic-direct", "trigger": {"manual": "t1"}}
            lacking = {"copyMethod": "Direct", "repository": f"absent-{number}"}
            await desk.create("ReplicationSource", "golden", f"idle-{number}", spec=spec | {"restic": lacking})

        async def over() -> bool:
            await play(desk)
            found = await objects(desk)
            return all(
                "lastSyncTime" in (found[case["namespace"], case["name"]].get("status") or {})
                for case in RECORDED.values()
            )

        await until(over)

        async def told() -> bool:
            reasons = [
                each["reason"]
                for found in (await objects(desk)).values()
                for each in (found.get("status") or {}).get("conditions", [])
                if each["type"] == "Synchronizing"
            ]
            return (reasons.count("WaitingForManual"), reasons.count("Error")) == (28, 72)

        await until(told)
        await asyncio.sleep(2)  # events and clean-ups that are on their way
        before = writes(operator)
        await asyncio.sleep(3)
        assert writes(operator) == before
        assert not [key for key in before if key.split()[-1] in ("400", "422")], before

        found = await objects(desk)
        for case in RECORDED.values():
            ours = found[case["namespace"], case["name"]]["status"]
            assert statuses([ours]) == statuses([case["last"]]), case["name"]
        for space in SPACES:
            assert await desk.list("Job", space) == []
            left = by_name(await desk.list("VolumeSnapshot", space))
            assert all(name.startswith("volsync-rd-") for _, name in left)


async def test_what_is_there_follows_what_its_object_says_now(plane: ControlPlane) -> None:
    """A Service gets another type, a cache grows, a mover is replaced: the API server takes each of these changes."""
    desk = Desk(plane)
    space, name = "golden", "changed"
    cache, job = f"volsync-dst-{name}-cache", f"volsync-dst-{name}"
    await desk.create("PersistentVolumeClaim", space, name, spec=CLAIM)
    trigger = {"manual": "t1"}

    async def change(of: str, spec: Manifest) -> None:
        path = f"{PATHS['ReplicationDestination'].format(space)}/{of}?fieldValidation=Strict"
        await desk.call("PATCH", path, {"spec": spec}, kind="application/merge-patch+json")

    async def find(kind: str, wanted: str) -> Manifest:
        found = [each for each in await desk.list(kind, space) if each["metadata"]["name"] == wanted]
        return found[0] if found else {}

    async with operator_on(plane) as operator:
        back = {"copyMethod": "Direct", "destinationPVC": name}
        tls = {"trigger": trigger, "rsyncTLS": back}
        cached = {"repository": "restic-secret", "cacheCapacity": "1Gi", "storageClassName": "fast"}
        restic = {"trigger": trigger, "restic": back | cached}
        await desk.create("ReplicationDestination", space, "listens", spec=tls)
        await desk.create("ReplicationDestination", space, name, spec=restic)

        async def begun() -> bool:
            await desk.play("PersistentVolumeClaim", space, {"phase": "Bound"})
            # A cache without a volume would be made anew, not grown.
            bound = (await find("PersistentVolumeClaim", cache)).get("status", {}).get("phase") == "Bound"
            return bound and bool(await find("Job", job)) and bool(await find("Job", "volsync-rsync-tls-dst-listens"))

        await until(begun)
        first = (await find("Job", job))["metadata"]["uid"]
        await change("listens", {"rsyncTLS": {"serviceType": "LoadBalancer", "serviceAnnotations": {"pool": "a"}}})
        await change(name, {"restic": {"cacheCapacity": "3Gi", "moverResources": {"limits": {"memory": "1Gi"}}}})

        async def followed() -> bool:
            await desk.play("PersistentVolumeClaim", space, {"phase": "Bound"})
            service = await find("Service", "volsync-rsync-tls-dst-listens")
            claim = await find("PersistentVolumeClaim", cache)
            another = await find("Job", job)
            return (
                service["spec"]["type"] == "LoadBalancer"
                and service["metadata"]["annotations"] == {"pool": "a"}
                and claim["spec"]["resources"]["requests"]["storage"] == "3Gi"
                and another.get("metadata", {}).get("uid", first) != first
            )

        await until(followed)
        container = (await find("Job", job))["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"]["limits"] == {"memory": "1Gi"}
        address = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}
        await desk.play("Service", space, address, name="volsync-rsync-tls-dst-listens")
        await change("listens", {"rsyncTLS": {"serviceType": "ClusterIP"}})

        async def over() -> bool:
            await desk.play("Job", space, {"succeeded": 1})
            found = await objects(desk)
            service = await find("Service", "volsync-rsync-tls-dst-listens")
            said = found[space, "listens"].get("status") or {}
            return (
                all("lastSyncTime" in (found[space, each].get("status") or {}) for each in ("listens", name))
                and said["rsyncTLS"]["address"] == service["spec"]["clusterIP"]
            )

        await until(over)
        await asyncio.sleep(2)
        before = writes(operator)
        await asyncio.sleep(2)
        assert writes(operator) == before
        assert not [key for key in before if key.split()[-1] in ("400", "403", "422")], before


async def test_what_an_older_definition_drops_makes_no_loop_of_writes(plane: ControlPlane) -> None:
    desk = Desk(plane)
    await drop(desk, "latestMoverStatus", "restic")
    await desk.create("PersistentVolumeClaim", "golden", "dropped", spec=CLAIM)
    async with operator_on(plane) as operator:
        asked = {"copyMethod": "Clone", "repository": "restic-secret"}
        spec = {"sourcePVC": "dropped", "trigger": {"manual": "t1"}, "restic": asked}
        await desk.create("ReplicationSource", "golden", "dropped", spec=spec)
        seen: set[str] = set()

        async def second() -> bool:
            await desk.play("PersistentVolumeClaim", "golden", {"phase": "Bound"})
            jobs = await desk.list("Job", "golden")
            seen.update(each["metadata"]["uid"] for each in jobs)
            if len(seen) == 1:
                await desk.play("Job", "golden", {"failed": 8})
            return len(seen) == 2

        await until(second)
        told = sum(count for key, count in writes(operator).items() if "replicationsources" in key)
        assert told <= 10, writes(operator)  # one for each turn of it, some of them twice; a loop makes dozens a second

        async def over() -> bool:
            await desk.play("Job", "golden", {"succeeded": 1})
            found = (await objects(desk))["golden", "dropped"]["status"]
            return "latestMoverStatus" not in found and "lastSyncTime" in found

        await until(over)
        await asyncio.sleep(2)
        before = writes(operator)
        await asyncio.sleep(3)
        assert writes(operator) == before


async def drop(desk: Desk, *fields: str) -> None:
    """Let the definition of ReplicationSource not know some fields of the status, and wait until the server has seen it."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/replicationsources.volsync.backube"
    definition = await desk.call("GET", path)
    for version in definition["spec"]["versions"]:
        for field in fields:
            del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"][field]
    await desk.call("PUT", path, definition)
    await asyncio.sleep(1)
