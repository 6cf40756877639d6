"""An API server (the embedded one, mostly) with what a test wants to run on it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.words.meta import Manifest, Resource
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport

PATIENCE = 20.0


class Embedded:
    """One API server, one client, and the tasks that run beside a test."""

    def __init__(self, client: Client, server: ApiServer | None = None, *, namespace: str = "default") -> None:
        """`server` is the embedded API server; without one (a real one stands behind `client`) its counters cannot be asked."""
        self.namespace = namespace
        self.client = client
        self.server = server
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, work: Callable[[], Awaitable[None]]) -> "asyncio.Task[None]":
        """Run something until the test ends or `stop` ends it."""
        task = asyncio.create_task(_awaited(work()))
        self._tasks.append(task)
        return task

    async def stop(self, task: "asyncio.Task[None]") -> None:
        """End something that was started with `run`."""
        self._tasks.remove(task)
        await _ended(task)

    async def close(self) -> None:
        """End everything."""
        for task in reversed(self._tasks):
            await _ended(task)
        self._tasks.clear()

    async def create(self, resource: Resource[Any], manifest: Manifest, *, namespace: str | None = None) -> Any:
        """Create an object, in this world's namespace unless told otherwise."""
        where = (namespace or self.namespace) if resource.namespaced else None
        return await self.client.create(resource, manifest, namespace=where)

    async def get(self, resource: Resource[Any], name: str, *, namespace: str | None = None) -> Any:
        """Return an object, or None."""
        where = (namespace or self.namespace) if resource.namespaced else None
        try:
            return await self.client.get(resource, name, namespace=where)
        except NotFound:
            return None

    async def patch(
        self, resource: Resource[Any], name: str, patch: Any, *, status: bool = False, namespace: str | None = None
    ) -> Any:
        """Merge into an object, or into its status."""
        return await self.client.patch(
            resource,
            name,
            {"status": patch} if status else patch,
            namespace=(namespace or self.namespace) if resource.namespaced else None,
            subresource="status" if status else None,
            field_manager="test",
        )

    async def delete(self, resource: Resource[Any], name: str, **options: Any) -> None:
        """Delete an object in this world's namespace."""
        await self.client.delete(resource, name, namespace=self.namespace if resource.namespaced else None, **options)

    async def events(self) -> list[tuple[str, str, str]]:
        """Return (kind, reason, note) of every Event of the embedded world, or of this namespace of a real one."""
        where = "" if self.server is not None else f"/namespaces/{self.namespace}"
        listing = await self.client.request_json("GET", f"/apis/events.k8s.io/v1{where}/events")
        return [(e["regarding"]["kind"], e["reason"], e.get("note", "")) for e in listing["items"]]

    async def until(self, holds: Callable[[], Awaitable[Any]], *, what: str = "") -> Any:
        """Wait until `holds()` is true and return that; what runs beside the test must not fail meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for task in self._tasks:
                if task.done():
                    task.result()
                    raise AssertionError(f"{task.get_name()} has ended")
            found = await holds()
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what or holds}")
            await asyncio.sleep(0.005)

    async def until_gone(self, resource: Resource[Any], name: str, *, namespace: str | None = None) -> None:
        """Wait until an object is gone."""

        async def gone() -> bool:
            return await self.get(resource, name, namespace=namespace) is None

        await self.until(gone, what=f"{resource.plural} {name} is gone")

    async def quiet(self, seconds: float = 0.1) -> None:
        """Wait until nothing is written for a while."""
        assert self.server is not None
        while True:
            before = self.writes()
            await asyncio.sleep(seconds)
            if self.writes() == before:
                return

    def writes(self) -> int:
        """How many writes the server has accepted or refused, events aside."""
        assert self.server is not None
        reads = {"get", "list", "watch"}
        return sum(
            count
            for (verb, resource, _), count in self.server.requests.items()
            if verb not in reads and "events" not in resource
        )


@asynccontextmanager
async def embedded() -> AsyncIterator[Embedded]:
    """A fresh embedded API server; what runs on it is ended afterwards."""
    server = ApiServer()
    client = Client(LocalTransport(server))
    world = Embedded(client, server)
    try:
        yield world
    finally:
        await world.close()
        await client.close()


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
