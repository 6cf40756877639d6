"""Images that are kept up to date, on a real API server: its validation, its columns and its binders, our node as kubelet, the real worker.

`test_image_crons` has the same cases on the embedded one. Time passes by an older `lastExecutionTimestamp`: no schedule is finer than a minute.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datamover.api.cdi import names
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS, DataImportCron
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.status import to_manifest
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from support import cdi_objects
from support.image_cron import LABEL, digest, name_of
from support.image_server import Plain, serving
from support.importing import noise
from support.kubernetes import ControlPlane
from support.scenario import CLASS, Cluster
from support.standalone import MIB, STORAGE, define, read_disk, standalone, trees

pytestmark = pytest.mark.kubernetes


@pytest.fixture
async def world(kubernetes: ControlPlane, namespace: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator fills DataVolumes and collects them at once."""
    async with standalone(kubernetes, namespace, tmp_path) as found:
        yield found


async def make_cron(world: Cluster, source: Any, **spec: Any) -> None:
    template = {
        "metadata": {"annotations": {names.DELETE_AFTER_COMPLETION: "true"}},
        "spec": {"source": source, "storage": STORAGE},
    }
    given = {"managedDataSource": "fedora", "schedule": "", "importsToKeep": 2, "template": template, **spec}
    await world.create(DATA_IMPORT_CRONS, "cron", spec=given)


async def cron(world: Cluster) -> DataImportCron:
    return await world.client.get(DATA_IMPORT_CRONS, "cron", namespace=world.namespace)


async def patch(world: Cluster, resource: Resource[Any], name: str, change: Any, **more: Any) -> None:
    await world.client.patch(resource, name, change, namespace=world.namespace, field_manager="test", **more)


async def desire(world: Cluster, number: int) -> None:
    said = {"metadata": {"annotations": {names.DESIRED_DIGEST: digest(number)}}}
    await patch(world, DATA_IMPORT_CRONS, "cron", said)


async def until_newest(world: Cluster, *, other_than: str = "") -> str:
    """Wait until an import is recorded, its DataSource stands for it, and its DataVolume is collected; return its name."""

    async def is_there() -> bool:
        status = (await cron(world)).status
        last = status.last_imported_pvc.name if status is not None and status.last_imported_pvc is not None else ""
        source = (await trees(world, DATA_SOURCES)).get("fedora", {})
        stands_for = source.get("status", {}).get("source", {}).get("pvc", {}).get("name")
        return last not in ("", other_than) and stands_for == last and last not in await trees(world, DATA_VOLUMES)

    await world.wait_for(is_there)
    status = (await cron(world)).status
    assert status is not None
    assert status.last_imported_pvc is not None
    return status.last_imported_pvc.name


async def until_claims(world: Cluster, wanted: set[str]) -> None:
    async def are_there() -> bool:
        return set(await trees(world, PERSISTENT_VOLUME_CLAIMS)) == wanted

    await world.wait_for(are_there)


async def give_claims(world: Cluster, *claims: str, **meta: Any) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": CLASS}
    for name in claims:
        await world.create(PERSISTENT_VOLUME_CLAIMS, name, metadata=dict(meta), spec=spec)

    async def bound() -> bool:
        found = await trees(world, PERSISTENT_VOLUME_CLAIMS)
        return all(found[name]["status"].get("phase") == "Bound" for name in claims)

    await world.wait_for(bound)


async def poll_again(world: Cluster) -> None:
    """Let a day pass: wait until the server was asked once more, and its Job is gone."""
    before = "2026-01-01T00:00:00Z"
    await patch(world, DATA_IMPORT_CRONS, "cron", {"status": {"lastExecutionTimestamp": before}}, subresource="status")

    async def is_asked() -> bool:
        status = (await cron(world)).status
        return bool(status and status.last_execution_timestamp != before) and not await trees(world, JOBS)

    await world.wait_for(is_asked)


def made(plane: ControlPlane, world: Cluster) -> list[str]:
    """Return the imports that were ever made, in their order."""
    uris = [
        each
        for each in plane.audit(since=0)
        if (each.verb, each.resource, each.namespace, each.code) == ("create", "datavolumes", world.namespace, 201)
    ]
    return [each.name for each in uris if each.name.startswith("fedora-")]


async def test_n15_an_image_is_imported_followed_and_pruned_and_nothing_is_imported_twice(
    world: Cluster, kubernetes: ControlPlane
) -> None:
    first, second = noise(MIB), bytes(reversed(noise(MIB)))
    with serving() as server:
        server.objects["/disk.img"] = Plain(first)
        await make_cron(world, {"http": {"url": server.url("/disk.img")}}, schedule="0 3 * * *", importsToKeep=1)
        old = await until_newest(world)
        assert (await read_disk(world, old))[:MIB] == first
        await until_claims(world, {old})
        waited = await asyncio.to_thread(
            kubernetes.kubectl, "-n", world.namespace, "wait", "dic/cron", "--for=condition=UpToDate", "--timeout=10s"
        )
        assert waited.returncode == 0, waited.stderr
        waited = await asyncio.to_thread(
            kubernetes.kubectl, "-n", world.namespace, "wait", "das/fedora", "--for=condition=Ready", "--timeout=10s"
        )
        assert waited.returncode == 0, waited.stderr
        await poll_again(world)
        assert made(kubernetes, world) == [old], "the same object"
        for number in range(2):  # by way of the DataSource, whose import was collected
            await world.create(
                DATA_VOLUMES,
                f"vm-{number}",
                spec={"sourceRef": {"kind": "DataSource", "name": "fedora"}, "storage": STORAGE},
            )
        await until_claims(world, {old, "vm-0", "vm-1"})
        await until_succeeded(world, "vm-0", "vm-1")
        assert (await read_disk(world, "vm-1"))[:MIB] == first

        server.objects["/disk.img"] = Plain(second)
        await poll_again(world)
        new = await until_newest(world, other_than=old)
        await until_claims(world, {new, "vm-0", "vm-1"})
        assert (await read_disk(world, new))[:MIB] == second
        assert (await read_disk(world, "vm-0"))[:MIB] == first
        await poll_again(world)
        assert made(kubernetes, world) == [old, new], "nothing is imported twice"
        del server.objects["/disk.img"]
        await poll_fails(world)
    shown = await asyncio.to_thread(kubernetes.kubectl, "-n", world.namespace, "get", "dic,das", "-o", "wide")
    assert all(each in shown.stdout for each in ("FORMAT", "pvc", "MESSAGE", "is the newest", "CLAIM", new)), (
        shown.stdout
    )


async def poll_fails(world: Cluster) -> None:
    before = "2026-01-01T00:00:00Z"
    await patch(world, DATA_IMPORT_CRONS, "cron", {"status": {"lastExecutionTimestamp": before}}, subresource="status")

    async def is_told() -> bool:
        status = (await cron(world)).status
        conditions = {each.type: each for each in (status and status.conditions) or ()}
        failed = "Polled" in conditions and conditions["Polled"].status == "False"
        return failed and "is not known" in (conditions["UpToDate"].message or "")

    await world.wait_for(is_told)


async def until_succeeded(world: Cluster, *wanted: str) -> None:
    """Wait until DataVolumes are done, whose claims are there. With a TTL of 0 such a one is collected as soon as it has Succeeded."""

    async def have() -> bool:
        found = await trees(world, DATA_VOLUMES)
        return all(name not in found or found[name].get("status", {}).get("phase") == "Succeeded" for name in wanted)

    await world.wait_for(have)


async def test_g15_digests_that_were_imported_before_are_used_again(world: Cluster, kubernetes: ControlPlane) -> None:
    await give_claims(world, *(name_of(number) for number in range(3)))
    await make_cron(world, {"registry": {"url": "docker://quay.example/fedora"}})
    used = [""]
    for number in (0, 1, 0, 2):
        await desire(world, number)
        before = name_of(1) if number == 0 else name_of(0)
        assert await until_newest(world, other_than=before) == name_of(number)
        found = (await trees(world, PERSISTENT_VOLUME_CLAIMS))[name_of(number)]
        used.append(found["metadata"]["annotations"][names.LAST_USE])
    assert used == sorted(set(used))
    await until_claims(world, {name_of(0), name_of(2)})
    assert made(kubernetes, world) == []


async def test_g16_only_so_many_imports_are_left_after_a_new_one(world: Cluster) -> None:
    await give_claims(world, "old-0", "old-1", "old-2", labels={LABEL: "cron"})
    registry = {"source": {"registry": {"url": "docker://quay.example/old"}}, "storage": STORAGE}
    await world.create(DATA_VOLUMES, "ancient", metadata={"labels": {LABEL: "cron"}}, spec=registry)
    await give_claims(world, "mine")
    await make_cron(world, {"blank": {}})
    await desire(world, 7)
    assert await until_newest(world) == name_of(7)

    async def are_left() -> bool:
        claims, volumes = await trees(world, PERSISTENT_VOLUME_CLAIMS), await trees(world, DATA_VOLUMES)
        return len(claims) == 3 and {name_of(7), "mine"} < set(claims) and not volumes

    await world.wait_for(are_left)
    newest = (await trees(world, PERSISTENT_VOLUME_CLAIMS))[name_of(7)]
    assert names.LAST_USE in newest["metadata"]["annotations"]


async def test_g17_a_datasource_is_ready_when_its_claim_is_there(world: Cluster) -> None:
    async def until_ready(reason: str) -> None:
        async def is_said() -> bool:
            status = (await trees(world, DATA_SOURCES))["golden"].get("status", {})
            return any((each["type"], each["reason"]) == ("Ready", reason) for each in status.get("conditions", ()))

        await world.wait_for(is_said)

    await world.create(DATA_SOURCES, "golden", spec={"source": {"pvc": {"name": "disk", "namespace": world.namespace}}})
    await until_ready("NotFound")
    await give_claims(world, "disk", labels={"instancetype.kubevirt.io/default-preference": "fedora"})
    await until_ready("Ready")
    await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "disk", namespace=world.namespace)
    await until_ready("NotFound")


@pytest.mark.parametrize("written", cdi_objects.ALL, ids=[each["kind"] for each in cdi_objects.ALL])
async def test_what_a_cdi_writes_is_taken_read_and_written_again_without_loss(
    kubernetes: ControlPlane, namespace: str, written: dict[str, Any]
) -> None:
    define(kubernetes)
    resource = cdi_objects.RESOURCES[written["kind"]]
    space = namespace if resource.namespaced else None
    name = f"{namespace}-{resource.kind.lower()}"
    path = resource.path(namespace=space)
    manifest = {**written, "metadata": {**written["metadata"], "name": name}}
    transport = HttpTransport(load_config(kubernetes.admin_kubeconfig))
    try:
        code, answer = kubernetes.call("POST", f"{path}?fieldValidation=Strict", manifest)
        assert code == 201, answer
        if "status" not in answer:
            code, answer = kubernetes.call(
                "PATCH",
                f"{path}/{name}/status?fieldValidation=Strict",
                {"status": written["status"]},
                kind="application/merge-patch+json",
            )
            assert code == 200, answer
        assert {part: answer[part] for part in ("spec", "status")} == {
            part: written[part] for part in ("spec", "status")
        }
        client = Client(transport, user_agent="test")
        read = await client.get(resource, name, namespace=space)
        await client.replace(
            resource, to_manifest(resource, read, read.status), field_manager="test", subresource="status"
        )
        stored = kubernetes.call("GET", f"{path}/{name}")[1]
        assert {part: stored[part] for part in ("spec", "status")} == {
            part: written[part] for part in ("spec", "status")
        }
        again = msgspec.json.decode(msgspec.json.encode(read.spec))
        assert {key: written["spec"][key] for key in again} == again, "what is known of it is read as it is"
    finally:
        await transport.close()
        kubernetes.call("DELETE", f"{path}/{name}")


@pytest.mark.parametrize(
    ("kind", "field", "bad"),
    [
        ("DataVolume", "storage", "large"),
        ("DataSource", "source", []),
        ("DataImportCron", "importsToKeep", "three"),
        ("StorageProfile", "claimPropertySets", [{"accessModes": "ReadWriteOnce"}]),
        ("CDIConfig", "dataVolumeTTLSeconds", "soon"),
        ("CDI", "config", "none"),
    ],
)
def test_a_field_of_another_type_is_refused(
    kubernetes: ControlPlane, namespace: str, kind: str, field: str, bad: Any
) -> None:
    define(kubernetes)
    resource = cdi_objects.RESOURCES[kind]
    written = next(each for each in cdi_objects.ALL if each["kind"] == kind)
    manifest = {**written, "metadata": {"name": f"{namespace}-bad"}, "spec": {**written["spec"], field: bad}}
    path = resource.path(namespace=namespace if resource.namespaced else None)
    code, answer = kubernetes.call("POST", path, manifest)
    assert code == 422, answer
    assert field in answer["message"]
