"""A cluster with Velero's and HyperShift's kinds in which nobody but the test works on them, and an operator that follows the backups: what it asks is counted.

The definitions keep every field and check none: what matters here is who writes what, and when.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from datamover.api.hosted_control_plane import STATUS_MAPS, DataKey, StatusMap, status_name
from datamover.api.hypershift import HOSTED_CONTROL_PLANES
from datamover.api.velero.backup import BACKUPS, Backup
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.cli.options import HostedControlPlaneOptions, Options
from datamover.cli.surroundings import AnyKind, Surroundings
from datamover.metrics.hosted_control_planes import HostedControlPlaneMetrics
from datamover.reconcilers.cluster import View
from datamover.reconcilers.hosted_control_plane.facts import PATIENT, Pace
from datamover.reconcilers.hosted_control_plane.gather import Around
from datamover.reconcilers.hosted_control_plane.kind import HostedControlPlaneKind
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import AlreadyExists, NotFound
from kubekit.client.http import HttpTransport
from kubekit.client.transport import Request, Response, Stream, Transport
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.core import NAMESPACE_METAS, PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport
from support import control_planes
from support.definitions import snapshot_definitions
from support.kubernetes import ControlPlane, MissingPrograms, find_programs
from support.scenario import Crew

KINDS: dict[str, Resource[Any]] = {
    each.type.__name__: each
    for each in (BACKUPS, HOSTED_CONTROL_PLANES, DATA_UPLOADS, POD_VOLUME_BACKUPS, VOLUME_SNAPSHOTS, VOLUME_SNAPSHOT_CONTENTS, PERSISTENT_VOLUME_CLAIMS, PODS)
}  # fmt: skip
PATIENCE = 30.0


def definition(resource: Resource[Any]) -> dict[str, Any]:
    """Return a definition of a kind that keeps every field of `spec` and `status`, and checks none."""
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.group_resource},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced",
            "names": {"plural": resource.plural, "singular": resource.kind.lower(), "kind": resource.kind},
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": kept, "status": kept}}},
                }
            ],
        },
    }


DEFINITIONS = [definition(each) for each in (BACKUPS, DATA_UPLOADS, POD_VOLUME_BACKUPS, HOSTED_CONTROL_PLANES)]


def run_velero_plane(place: Path) -> Iterator[ControlPlane]:
    """A control plane with these kinds. Its garbage collector knows them from the first moment. Skips the test where it cannot be had."""
    try:
        programs = find_programs()
    except MissingPrograms as missing:
        pytest.skip(str(missing))
    plane = ControlPlane(programs, logs=place)
    plane.start(manifests=[*DEFINITIONS, *snapshot_definitions()])
    try:
        yield plane
    finally:
        plane.stop()


class Asked:
    """The way of an operator, and what went over it. Lists that a watch begins with are not counted.

    Watches of `late`, a plural, tell nothing.
    """

    def __init__(self, inner: Transport, *, late: str = "") -> None:
        self.writes: list[tuple[str, str]] = []
        self.gets: list[str] = []
        self._inner = inner
        self._late = late

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        if request.method != "GET":
            self.writes.append((request.method, request.path))
        elif "limit" not in dict(request.query):
            self.gets.append(request.path)
        return await self._inner.request(request, timeout=timeout)

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float | None = None) -> AsyncIterator[Stream]:
        if self._late and request.path.endswith(f"/{self._late}"):
            await asyncio.Event().wait()
        async with self._inner.stream(request, idle_timeout=idle_timeout) as found:
            yield found

    async def close(self) -> None:
        """What is below is closed by who opened it."""


class BackupWorld:
    """See the module's docstring. The objects are those of `support.control_planes`, in namespaces of this world."""

    def __init__(self, client: Client, crew: Crew, ways: list[Asked], *, velero: str, hosted: str) -> None:
        self.client, self.crew = client, crew
        self.velero, self.hosted = velero, hosted
        self.registry: Any = None
        self._ways = ways

    @property
    def asked(self) -> Asked:
        """What the present operator has asked."""
        return self._ways[-1]

    def begin(self) -> None:
        """Let an operator work that knows nothing of one before it."""
        operator = self.crew.hire()
        self.registry = operator.registry
        self.crew.begin(operator)

    async def put(self, obj: Any) -> Any:
        """Create an object with its status, or bring one that is there to this state; return it as the server has it."""
        resource = KINDS[type(obj).__name__]
        manifest: dict[str, Any] = json.loads(msgspec.json.encode(obj))
        for key in ("uid", "creationTimestamp", "resourceVersion"):
            manifest["metadata"].pop(key, None)
        status = manifest.pop("status", None)
        name = obj.metadata.name
        where: dict[str, Any] = {"namespace": self._namespace(obj), "field_manager": "velero"}
        try:
            found = await self.client.create(resource, manifest | {"metadata": manifest["metadata"] | {"namespace": where["namespace"]}}, namespace=where["namespace"])  # fmt: skip
        except AlreadyExists:
            found = await self.client.patch(resource, name, {"spec": manifest.get("spec")}, **where)
        if status is not None:
            found = await self.client.patch(resource, name, {"status": status}, subresource="status", **where)
        return found

    async def back_up(self, name: str = "nightly", phase: str | None = "InProgress", **options: Any) -> Backup:
        """Put a Backup of this world's control plane, and return it."""
        spaces = options.pop("included_namespaces", (self.hosted,))
        made = control_planes.backup(phase, name=name, included_namespaces=spaces, **options)
        return await self.put(replace(made, metadata=replace(made.metadata, namespace=self.velero)))

    async def host(self, platform: str = "AWS", *, ha: bool = False) -> None:
        """Put the HostedControlPlane."""
        await self.put(control_planes.hcp(platform, ha=ha, namespace=self.hosted))

    async def upload(self, of: Backup, claim: str, phase: str, **options: Any) -> None:
        """Put an upload of a claim for a backup."""
        await self.put(control_planes.upload(claim, phase, of=of, namespace=self.hosted, **options))

    async def status(self, backup: str = "nightly") -> StatusMap | None:
        """Return the ConfigMap of a backup."""
        try:
            return await self.client.get(STATUS_MAPS, status_name(backup), namespace=self.velero)
        except NotFound:
            return None

    async def said(self, backup: str = "nightly") -> dict[str, Any]:
        """Return what its record says; empty where there is none."""
        found = await self.status(backup)
        return json.loads((found.data or {})[DataKey.STATUS]) if found is not None else {}

    async def until(self, holds: Callable[[dict[str, Any]], Any], backup: str = "nightly") -> dict[str, Any]:
        """Wait until something holds of the record of a backup, and return it."""
        found: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while not (found := await self.said(backup)) or not holds(found):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"never: the last record is {found}") from None
        return found

    async def until_state(self, state: str, backup: str = "nightly") -> dict[str, Any]:
        """Wait for the state of the only control plane."""
        return await self.until(lambda found: found["controlPlanes"][0]["state"] == state, backup)

    async def events(self, backup: str = "nightly") -> list[tuple[str, str]]:
        """Return type and reason of the events of a Backup."""
        path = f"/apis/events.k8s.io/v1/namespaces/{self.velero}/events"
        found = (await self.client.request_json("GET", path))["items"]
        return [
            (each["type"], each["reason"])
            for each in found
            if (each["regarding"]["kind"], each["regarding"]["name"]) == ("Backup", backup)
        ]

    async def until_told(self, *reasons: str, backup: str = "nightly") -> None:
        """Wait until these are the reasons of all its events."""
        async with asyncio.timeout(PATIENCE):
            while sorted(reason for _, reason in await self.events(backup)) != sorted(reasons):
                await asyncio.sleep(0.05)

    async def until_gone(self, backup: str = "nightly") -> None:
        """Wait until the ConfigMap of a backup is gone."""
        async with asyncio.timeout(PATIENCE):
            while await self.status(backup) is not None:
                await asyncio.sleep(0.05)

    async def until_asleep(self, *, asleep: bool) -> None:
        """Wait until the watcher sleeps, or does not."""
        labels = {"controller": "hosted-control-plane", "gate": "definition"}
        async with asyncio.timeout(PATIENCE):
            while self.registry.get_sample_value("datamover_controller_asleep", labels) != (1 if asleep else 0):
                await asyncio.sleep(0.05)

    async def nothing_is_asked(self, *, seconds: float = 2.0) -> None:
        """Look for a while: nothing is written, and nothing is read beside the watches."""
        asked = self.asked
        await asyncio.sleep(seconds / 2)  # an event may still be on its way
        writes, gets = len(asked.writes), len(asked.gets)
        await asyncio.sleep(seconds)
        assert asked.writes[writes:] == []
        assert asked.gets[gets:] == []

    def _namespace(self, obj: Any) -> str | None:
        resource = KINDS[type(obj).__name__]
        if not resource.namespaced:
            return None
        given = obj.metadata.namespace
        return {control_planes.VELERO: self.velero, control_planes.HOSTED: self.hosted}.get(given, given)


@asynccontextmanager
async def backup_world(
    plane: ControlPlane | None,
    *,
    pace: Pace = PATIENT,
    rights: Callable[[str], Path] | None = None,
    late: str = "",
) -> AsyncIterator[BackupWorld]:
    """A world on a real control plane, or on an embedded one.

    `rights` grants the operator what it may, in a cluster with Velero in the namespace that it is given, and returns its kubeconfig; without, it is an
    administrator. Its watches of `late`, a plural, tell it nothing.
    """
    mark = secrets.token_hex(4)
    velero, hosted = f"velero-{mark}", f"clusters-{mark}"
    kubeconfig: Path | None = None
    opened: list[Transport] = []
    server = ApiServer() if plane is None else None

    def open_way(config: Path | None = None) -> Transport:
        if server is not None or plane is None:
            assert server is not None
            way: Transport = LocalTransport(server)
        else:
            way = HttpTransport(load_config(config or plane.admin_kubeconfig))
        opened.append(way)
        return way

    ways: list[Asked] = []

    def lead(metrics: Any) -> Client:
        ways.append(Asked(open_way(kubeconfig), late=late))
        return Client(ways[-1], user_agent="operator", observe=metrics.request)

    def follow(around: Surroundings) -> AnyKind:
        return HostedControlPlaneKind(
            around.client,
            around=Around(View(around.cluster), velero=velero),
            meter=HostedControlPlaneMetrics(around.registry),
            clock=around.clock,
            pace=pace,
        )

    options = Options(hosted_control_planes=HostedControlPlaneOptions(enabled=True, velero_namespace=velero))
    crew = Crew(lead, cluster="test", options=options, kinds=(follow,))
    client = Client(open_way(), user_agent="test")
    if server is not None:
        for each in DEFINITIONS:
            await client.create(CUSTOM_RESOURCE_DEFINITIONS, each)
    for namespace in (velero, hosted):
        await client.create(NAMESPACE_METAS, {"metadata": {"name": namespace}})
    kubeconfig = rights(velero) if rights is not None else None
    collecting = asyncio.create_task(server.collect()) if server is not None else None
    try:
        yield BackupWorld(client, crew, ways, velero=velero, hosted=hosted)
    finally:
        await crew.end()
        if collecting is not None:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)
        for each in opened:
            await each.close()
