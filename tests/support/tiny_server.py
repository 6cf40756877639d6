"""A very small API server in memory, with levers for everything that can go wrong: for tests of the runtime.

It knows no schemas, no kinds and no apply: objects are JSON under paths. What it does know is what informers, leases and events
live on: one revision, lists in pages, watches from a revision, bookmarks, 410, resourceVersion preconditions.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

from kubekit.client.errors import TransportError
from kubekit.client.transport import Request, Response, Stream

CUT = "cut"
BREAK = "break"

Interference = Callable[[Request], Awaitable[Response | None]]


class TinyServer:
    """The state. `transport` gives a way to it; several may be open, each with its own interference."""

    def __init__(self) -> None:
        self.revision = 100
        self.compacted = 0
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []
        self.streams: set[asyncio.Queue[Any]] = set()
        self.requests: list[Request] = []
        self.page_size = 1000
        self.muted = False
        """Changes do not reach open watches."""
        self.lag = 0
        """Lists that may come from any server's cache are so many revisions old."""
        self._uids = 0
        self._births = 5
        self._listed: dict[str, dict[str, dict[str, Any]]] = {}

    def transport(self, interfere: Interference | None = None) -> "TinyTransport":
        return TinyTransport(self, interfere)

    # What happens on the server.

    def put(self, collection: str, name: str, **fields: Any) -> dict[str, Any]:
        """Create or update an object in `collection`, a path such as /api/v1/namespaces/ns/pods."""
        path = f"{collection}/{name}"
        old = self.objects.get(path)
        meta = dict((old or {}).get("metadata") or {"name": name, "uid": self._uid(), **_namespace(collection)})
        meta.update(fields.pop("metadata", {}))
        return self._store("MODIFIED" if old else "ADDED", path, {**(old or {}), **fields, "metadata": meta})

    def delete(self, path: str) -> None:
        self._store("DELETED", path, self.objects[path])

    def compact(self) -> None:
        """Forget all history."""
        self.compacted = self.revision

    def rebirth(self) -> None:
        """Begin anew with an empty history and lower revisions, as after a restore of an old backup. Works four times."""
        if self._births == 1:
            return
        kept = list(self.objects.items())
        self._births -= 1
        self.revision, self.history, self.objects = 20 * self._births, [], {}
        for path, obj in kept:
            self.revision += 1
            self.objects[path] = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        self.compacted = self.revision
        self.send(CUT)

    def send(self, thing: Any) -> None:
        """Give every open watch an event (a dict), raw bytes, CUT (the stream ends) or BREAK (the connection fails)."""
        for stream in list(self.streams):
            stream.put_nowait(thing)

    def bookmark(self) -> None:
        self.send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.revision)}}})

    def _as_of(self, revision: int) -> dict[str, dict[str, Any]]:
        objects: dict[str, dict[str, Any]] = {}
        for at, type_, path, obj in self.history:
            if at <= revision:
                objects[path] = obj
                if type_ == "DELETED":
                    del objects[path]
        return objects

    def _uid(self) -> str:
        self._uids += 1
        return f"uid-{self._uids}"

    def _store(self, type_: str, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        self.revision += 1
        obj = deepcopy(obj)
        obj["metadata"]["resourceVersion"] = str(self.revision)
        if type_ == "DELETED":
            del self.objects[path]
        else:
            self.objects[path] = obj
        self.history.append((self.revision, type_, path, obj))
        if not self.muted:
            self.send({"type": type_, "object": obj, "path": path})
        return obj

    # What it answers.

    def handle(self, request: Request) -> Response:
        body = json.loads(request.body) if request.body else {}
        query = dict(request.query)
        try:
            return _json(*getattr(self, f"_{request.method.lower()}")(request.path, query, body))
        except _RefusedError as refused:
            return _json(*refused.args)

    def _get(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path in self.objects:
            return 200, self.objects[path]
        if path.rsplit("/", 2)[-2] in {"leases", "events"}:
            raise _refused(404, "NotFound")
        objects, revision = self.objects, str(self.revision)
        if query.get("resourceVersion") == "0" and self.lag:
            objects, revision = self._as_of(self.revision - self.lag), str(self.revision - self.lag)
        offset = "0"
        if "continue" in query:
            revision, _, offset = query["continue"].partition(":")
            if int(revision) < self.compacted:
                raise _refused(410, "Expired")
            objects = self._listed[revision]
        self._listed[revision] = dict(objects)
        matching = [(at, objects[at]) for at in sorted(objects) if _in(at, path, objects[at], query)]
        end = int(offset) + min(int(query.get("limit", 0)) or self.page_size, self.page_size)
        meta = {"resourceVersion": revision}
        if end < len(matching):
            meta["continue"] = f"{revision}:{end}"
        return 200, {"metadata": meta, "items": [obj for _, obj in matching[int(offset) : end]]}

    def _post(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        if f"{path}/{name}" in self.objects:
            raise _refused(409, "AlreadyExists")
        fields = {key: value for key, value in body.items() if key != "metadata"}
        return 201, self.put(path, name, metadata=body["metadata"], **fields)

    def _put(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path not in self.objects:
            raise _refused(404, "NotFound")
        wanted = body["metadata"].get("resourceVersion")
        if wanted and wanted != self.objects[path]["metadata"]["resourceVersion"]:
            raise _refused(409, "Conflict")
        return 200, self._store("MODIFIED", path, body)

    def _patch(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path not in self.objects:
            raise _refused(404, "NotFound")
        return 200, self._store("MODIFIED", path, {**self.objects[path], **body})

    def _delete(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path not in self.objects:
            raise _refused(404, "NotFound")
        self.delete(path)
        return 200, {}


class TinyTransport:
    """Fits `kubekit.client.transport.Transport`."""

    def __init__(self, server: TinyServer, interfere: Interference | None) -> None:
        self._server = server
        self._interfere = interfere

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        await asyncio.sleep(0)
        self._server.requests.append(request)
        if self._interfere is not None and (answer := await self._interfere(request)) is not None:
            return answer
        return self._server.handle(request)

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_timeout: float | None = None) -> AsyncIterator[Stream]:
        await asyncio.sleep(0)
        server = self._server
        server.requests.append(request)
        answer = await self._interfere(request) if self._interfere is not None else None
        query = dict(request.query)
        since = int(query["resourceVersion"] or 0)
        if answer is None and since < server.compacted:
            answer = _json(410, _status(410, "Expired"))
        if answer is None and since > server.revision:
            answer = _json(504, {**_status(504, "Timeout"), "message": "Too large resource version: 9, current: 1"})
        if answer is not None:
            yield Stream(answer.status, answer.headers, _once(answer.body))
            return
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for revision, type_, path, obj in server.history:
            if revision > since:
                queue.put_nowait({"type": type_, "object": obj, "path": path})
        server.streams.add(queue)
        try:
            yield Stream(200, {}, _follow(queue, request.path, query))
        finally:
            server.streams.discard(queue)

    async def close(self) -> None:
        pass


async def _follow(queue: "asyncio.Queue[Any]", path: str, query: dict[str, str]) -> AsyncIterator[bytes]:
    while True:
        thing = await queue.get()
        if thing == CUT:
            return
        if thing == BREAK:
            raise TransportError("the connection was reset")
        if isinstance(thing, bytes):
            yield thing
            continue
        at = thing.get("path")
        if at is None or _in(at, path, thing["object"], query):
            raw = json.dumps({"type": thing["type"], "object": thing["object"]}).encode() + b"\n"
            yield raw[:7]  # chunks do not respect lines
            yield raw[7:]


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _in(at: str, collection: str, obj: dict[str, Any], query: dict[str, str]) -> bool:
    parent, _, _ = at.rpartition("/")
    if parent != collection:  # of all namespaces?
        before, _, plural = collection.rpartition("/")
        if not (parent.startswith(f"{before}/namespaces/") and parent.endswith(f"/{plural}")):
            return False
    wanted = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return not wanted or obj["metadata"]["name"] == wanted


def _namespace(collection: str) -> dict[str, str]:
    parts = collection.split("/")
    return {"namespace": parts[parts.index("namespaces") + 1]} if "namespaces" in parts[:-1] else {}


class _RefusedError(Exception):
    pass


def _status(code: int, reason: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": reason}


def _refused(code: int, reason: str) -> _RefusedError:
    return _RefusedError(code, _status(code, reason))


def _json(status: int, body: Any) -> Response:
    return Response(status, {}, json.dumps(body).encode())
