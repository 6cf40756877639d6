"""Raw HTTP against an API server, whichever it is: the embedded one in the process, or a real one."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from kubekit.client.auth import Identity, StaticIdentity
from kubekit.client.client import Client
from kubekit.client.config import ClusterConfig
from kubekit.client.http import HttpTransport
from kubekit.client.transport import Request, Stream, Transport
from localkube.controllers.suite import LocalControllers
from localkube.http_server import serve
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport
from support.kubernetes import ControlPlane, wait_for
from support.widgets import API_VERSION, PLURAL, WIDGET_DEFINITION

JSON = "application/json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

_ROOTS = {
    PLURAL: f"/apis/{API_VERSION}",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "storageclasses": "/apis/storage.k8s.io/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
    "volumesnapshots": "/apis/snapshot.storage.k8s.io/v1",
    "volumesnapshotclasses": "/apis/snapshot.storage.k8s.io/v1",
    "volumesnapshotcontents": "/apis/snapshot.storage.k8s.io/v1",
}
_CLUSTER_WIDE = frozenset(
    {
        "namespaces",
        "nodes",
        "persistentvolumes",
        "storageclasses",
        "customresourcedefinitions",
        "volumesnapshotclasses",
        "volumesnapshotcontents",
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers (lower-case names), and the JSON, or the text where it is none."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def reason(self) -> str | None:
        """The reason of a Status."""
        return self.body.get("reason") if isinstance(self.body, dict) else None

    @property
    def message(self) -> str:
        """The message of a Status, or the whole text."""
        return self.body.get("message", "") if isinstance(self.body, dict) else str(self.body)

    @property
    def details(self) -> dict[str, Any]:
        """The details of a Status."""
        return self.body.get("details") or {}

    @property
    def causes(self) -> set[tuple[str, str]]:
        """Reason and field of each cause of a Status."""
        return {(each.get("reason", ""), each.get("field", "")) for each in self.details.get("causes", ())}

    def expect(self, status: int, reason: str | None = None) -> "Answer":
        """Hold the status (and the reason of the Status) against what is wanted; the whole body is the assertion's message."""
        assert (self.status, self.reason if reason else None) == (status, reason), str(self.body)[:1500]
        return self


class Watch:
    """The events of one watch."""

    def __init__(self, stream: Stream) -> None:
        self.status = stream.status
        self._chunks = stream.chunks
        self._buffer = b""

    async def next(self, seconds: float = 10) -> dict[str, Any]:
        """Return the next event. Raises StopAsyncIteration when the server ended the stream, TimeoutError when nothing comes."""
        async with asyncio.timeout(seconds):
            while b"\n" not in self._buffer:
                self._buffer += await anext(self._chunks)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def take(self, count: int, *, bookmarks: bool = False) -> list[dict[str, Any]]:
        """Return the next `count` events; bookmarks are left out unless they are wanted."""
        events: list[dict[str, Any]] = []
        while len(events) < count:
            event = await self.next()
            if bookmarks or event["type"] != "BOOKMARK":
                events.append(event)
        return events

    async def rest(self, seconds: float = 10) -> list[dict[str, Any]]:
        """Return all events up to the server's end of the stream."""
        events: list[dict[str, Any]] = []
        try:
            while True:
                events.append(await self.next(seconds))
        except StopAsyncIteration:
            return events

    async def body(self) -> Any:
        """Return the JSON of an answer that is no stream of events."""
        chunks = [self._buffer]
        async with asyncio.timeout(10):
            chunks.extend([chunk async for chunk in self._chunks])
        return json.loads(b"".join(chunks))


class World:
    """One API server and one fresh namespace on it.

    `age` makes every resource version before the present one too old for a list of its moment and for a watch; `kubeconfig` opens
    a way in over HTTP for other programs.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        namespace: str,
        has_controllers: bool,
        age: Callable[[], Awaitable[None]],
        kubeconfig: Callable[[], AbstractAsyncContextManager[dict[str, Any]]],
    ) -> None:
        self.name = name
        self.transport = transport
        self.namespace = namespace
        self.has_controllers = has_controllers
        self.age = age
        self.kubeconfig = kubeconfig

    def path(
        self, plural: str, name: str | None = None, subresource: str | None = None, *, namespace: str | None = None
    ) -> str:
        """Return the path of a collection, an object or a subresource, in the fresh namespace unless told otherwise.

        `namespace=""` is the path over all namespaces.
        """
        parts = [_ROOTS.get(plural, "/api/v1")]
        where = self.namespace if namespace is None else namespace
        if where and plural not in _CLUSTER_WIDE:
            parts += ["namespaces", where]
        parts.append(plural)
        parts += [each for each in (name, subresource) if each]
        return "/".join(parts)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = JSON,
        accept: str = JSON,
        **query: Any,
    ) -> Answer:
        """Send one request. A `bytes` body goes as it is; a query value that is a list is repeated."""
        payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {"accept": accept}
        if payload:
            headers["content-type"] = kind
        response = await self.transport.request(
            Request(method, path, query=_query(query), headers=headers, body=payload), timeout=30
        )
        try:
            parsed = json.loads(response.body)
        except ValueError:
            parsed = response.body.decode()
        return Answer(response.status, {key.lower(): value for key, value in response.headers.items()}, parsed)

    async def create(self, plural: str, manifest: dict[str, Any], **query: Any) -> dict[str, Any]:
        """Create and return the object; anything but 201 fails the test."""
        return (await self.send("POST", self.path(plural), manifest, **query)).expect(201).body

    async def post(self, plural: str, manifest: Any, **options: Any) -> Answer:
        """Ask for a creation."""
        return await self.send("POST", self.path(plural), manifest, **options)

    async def read(self, plural: str, name: str, **options: Any) -> dict[str, Any]:
        """Return the object; anything but 200 fails the test."""
        return (await self.send("GET", self.path(plural, name), **options)).expect(200).body

    async def get(self, plural: str, name: str | None = None, **options: Any) -> Answer:
        """Ask for an object or a collection."""
        return await self.send("GET", self.path(plural, name), **options)

    async def names(self, plural: str, **query: Any) -> list[str]:
        """Return the names of a listed collection, in its order."""
        answer = (await self.get(plural, **query)).expect(200)
        return [item["metadata"]["name"] for item in answer.body["items"]]

    async def put(
        self, plural: str, manifest: dict[str, Any], *, name: str | None = None, sub: str | None = None, **options: Any
    ) -> Answer:
        """Ask for a replacement."""
        path = self.path(plural, name or manifest["metadata"]["name"], sub)
        return await self.send("PUT", path, manifest, **options)

    async def patch(
        self, plural: str, name: str, patch: Any, *, kind: str = MERGE, sub: str | None = None, **options: Any
    ) -> Answer:
        """Ask for a patch."""
        return await self.send("PATCH", self.path(plural, name, sub), patch, kind=kind, **options)

    async def apply(
        self, plural: str, manifest: dict[str, Any], *, manager: str = "alice", sub: str | None = None, **options: Any
    ) -> Answer:
        """Ask for a server-side apply as `manager`."""
        path = self.path(plural, manifest["metadata"]["name"], sub)
        return await self.send("PATCH", path, manifest, kind=APPLY, fieldManager=manager, **options)

    async def delete(self, plural: str, name: str | None = None, options: Any = None, **query: Any) -> Answer:
        """Ask for a deletion; `options` is the body."""
        body = None if options is None else {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        return await self.send("DELETE", self.path(plural, name), body, **query)

    @asynccontextmanager
    async def watch(self, path: str, *, accept: str = JSON, **query: Any) -> AsyncIterator[Watch]:
        """Open a watch on a collection's path."""
        request = Request("GET", path, query=_query({"watch": "1", **query}), headers={"accept": accept})
        async with self.transport.stream(request, idle_timeout=30) as stream:
            yield Watch(stream)

    async def new_namespace(self) -> str:
        """Create another namespace and return its name."""
        name = f"other-{secrets.token_hex(4)}"
        await self.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    async def eventually(
        self, condition: Callable[[], Awaitable[Any]], *, seconds: float = 20, what: str = "the condition"
    ) -> Any:
        """Poll until `condition` returns something true, and return that; fails the test when time is up."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (value := await condition()):
            assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true in {seconds:.0f} s"
            await asyncio.sleep(0.05)
        return value

    async def gone(self, plural: str, name: str, *, seconds: float = 20) -> None:
        """Wait until the object is gone."""

        async def missing() -> bool:
            return (await self.get(plural, name)).status == 404

        await self.eventually(missing, seconds=seconds, what=f"the end of {plural} {name}")


@asynccontextmanager
async def real_world(plane: ControlPlane, namespace: str) -> AsyncIterator[World]:
    """The real API server, as administrator."""
    pair = plane.authority.client("conformance", ["system:masters"])
    config = ClusterConfig(
        server=plane.url,
        auth=StaticIdentity(Identity(certificate=pair.certificate, key=pair.key)),
        ca=plane.authority.pem,
        source="tests",
    )

    async def age() -> None:
        await asyncio.to_thread(plane.compact)
        await asyncio.to_thread(plane.restart_api_server)  # else its watch cache goes on to know the past
        cached = f"/apis/{API_VERSION}/{PLURAL}?watch=1&resourceVersion=0&timeoutSeconds=1"
        await asyncio.to_thread(wait_for, lambda: plane.call("GET", cached)[0] == 200, what="the watch cache")

    @asynccontextmanager
    async def kubeconfig() -> AsyncIterator[dict[str, Any]]:
        yield yaml.safe_load(plane.admin_kubeconfig.read_text())

    transport = HttpTransport(config)
    try:
        yield World(
            "real",
            transport,
            namespace=namespace,
            has_controllers=plane.controller_manager is not None,
            age=age,
            kubeconfig=kubeconfig,
        )
    finally:
        await transport.close()


def _query(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            pairs.append((key, str(each).lower() if isinstance(each, bool) else str(each)))
    return tuple(pairs)


@asynccontextmanager
async def embedded_world() -> AsyncIterator[World]:
    """The embedded API server with its controllers, new and in the process."""
    server = ApiServer()
    transport = LocalTransport(server)
    controllers = asyncio.create_task(LocalControllers(Client(transport), server=server).run())

    async def age() -> None:
        server.compact()

    @asynccontextmanager
    async def kubeconfig() -> AsyncIterator[dict[str, Any]]:
        face = await serve(server)
        try:
            yield face.kubeconfig()
        finally:
            await face.close()

    world = World("embedded", transport, namespace="conformance", has_controllers=True, age=age, kubeconfig=kubeconfig)
    await world.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}})
    await world.create("customresourcedefinitions", WIDGET_DEFINITION)
    try:
        yield world
    finally:
        controllers.cancel()
        await asyncio.gather(controllers, return_exceptions=True)
        server.close()
