"""An API server in the process, with the widgets of the conformance suite, and a short way to talk to it."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from kubekit.client.transport import Request, Stream
from localkube.store.apiserver import ApiServer
from support.clock import VirtualClock
from support.widgets import WIDGET_DEFINITION

_PLACES = {
    "widgets": "/apis/testing.datamover.example/v1",
    "jobs": "/apis/batch/v1",
    "storageclasses": "/apis/storage.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "volumesnapshots": "/apis/snapshot.storage.k8s.io/v1",
    "newevents": "/apis/events.k8s.io/v1",
    "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1",
}
_CLUSTER = {"namespaces", "nodes", "persistentvolumes", "storageclasses", "customresourcedefinitions"}


class Api:
    """Requests in a namespace of their own. `body` of an answer is its JSON."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def path(self, plural: str, name: str = "", sub: str = "") -> str:
        place = _PLACES.get(plural, "/api/v1")
        plural = "events" if plural == "newevents" else plural
        where = "" if plural in _CLUSTER else "/namespaces/default"
        return f"{place}{where}/{plural}" + (f"/{name}" if name else "") + (f"/{sub}" if sub else "")

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "",
        **query: Any,
    ):
        headers = {"content-type": kind, "user-agent": "tester/1"} | ({"accept": accept} if accept else {})
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = self.server.answer(Request(method, path, tuple((k, str(v)) for k, v in query.items()), headers, data))
        return Answer(answer.status, dict(answer.headers), answer.body)

    def create(self, plural: str, manifest: dict[str, Any], **query: Any) -> dict[str, Any]:
        return self.send("POST", self.path(plural), manifest, **query).expect(201)

    def get(self, plural: str, name: str) -> dict[str, Any]:
        return self.send("GET", self.path(plural, name)).expect(200)

    def list(self, plural: str, **query: Any) -> dict[str, Any]:
        return self.send("GET", self.path(plural), **query).expect(200)

    def merge(self, plural: str, name: str, patch: dict[str, Any], sub: str = "", **query: Any):
        return self.send("PATCH", self.path(plural, name, sub), patch, kind="application/merge-patch+json", **query)

    def apply(self, plural: str, manifest: dict[str, Any], manager: str = "me", sub: str = "", **query: Any):
        path = self.path(plural, manifest["metadata"]["name"], sub)
        return self.send("PATCH", path, manifest, kind="application/apply-patch+yaml", fieldManager=manager, **query)

    def delete(self, plural: str, name: str, body: Any = None, **query: Any):
        return self.send("DELETE", self.path(plural, name), body, **query)

    @asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        """Let the server collect garbage and finish the deletion of namespaces meanwhile."""
        task = asyncio.create_task(self.server.collect())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def settle(self) -> None:
        """Return when the server has done what it has to do by itself."""
        before = None
        while before != self.server.storage.revision:
            before = self.server.storage.revision
            for _ in range(20):
                await asyncio.sleep(0)

    async def watch(self, plural: str, **query: Any) -> "Watched":
        items = (("watch", "1"), *((k, str(v)) for k, v in query.items()))
        return Watched(await self.server.stream(Request("GET", self.path(plural), items)))


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.raw = status, headers, body

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def fields(self) -> set[str]:
        return {cause["field"] for cause in self.body["details"]["causes"]}

    def expect(self, status: int) -> Any:
        assert self.status == status, self.raw[:1000]
        return self.body


class Watched:
    """The events of a watch, as (type, name) unless whole objects are wanted."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.status = stream.status
        self._buffer = b""

    async def next(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._buffer += await anext(self.stream.chunks)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def take(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    async def rest(self) -> list[dict[str, Any]]:
        events = []
        try:
            while True:
                events.append(await self.next())
        except StopAsyncIteration:
            return events

    async def close(self) -> None:
        await self.stream.chunks.aclose()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def server(clock: VirtualClock) -> ApiServer:
    return ApiServer(clock=clock, random=random.Random(1))


@pytest.fixture
def api(server: ApiServer) -> Api:
    api = Api(server)
    api.create("customresourcedefinitions", WIDGET_DEFINITION)
    return api
