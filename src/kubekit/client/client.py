"""The client: typed reads, server-side apply, deletes with preconditions, lists in pages, watches.

Guarantees: every answer is observed once for each attempt; a request that the server turned away is repeated only when that
cannot take effect twice; poison objects are counted and logged once, never raised from a list or a watch.
Assumptions: the transport is safe for concurrent use and owns its time limits.
Caveats: a delete that is repeated after a lost answer may report NotFound although this call did the deletion.
"""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from kubekit.client import requests
from kubekit.client.codec import (
    LineSplitter,
    Page,
    Poison,
    WatchEvent,
    decode_any,
    decode_event,
    decode_object,
    decode_page,
    encode,
)
from kubekit.client.errors import Gone, KubeError, TransportError, UnfitObject, api_error
from kubekit.client.retries import MAX_ATTEMPTS, pause, repeatable
from kubekit.client.transport import Request, Response, Transport
from kubekit.words.meta import Manifest, Resource

_log = logging.getLogger(__name__)

T = TypeVar("T")
Observe = Callable[[str, str, int], None]
"""Called with verb, group resource and status code (0: no answer) for every attempt."""

DEFAULT_MANAGER = "kubekit"
PAGE_SIZE = 500

_MAX_ERROR_BODY = 64 * 1024
_MAX_SEEN = 1024


class Sleeper(Protocol):
    """What the client needs of a clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class _AsyncioSleeper:
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Client:
    """Talks to one API server. Every method raises the tree of `kubekit.client.errors`."""

    def __init__(
        self,
        transport: Transport,
        *,
        user_agent: str = "kubekit",
        clock: Sleeper | None = None,
        observe: Observe | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` returns numbers in [0, 1) and spreads the pauses between attempts."""
        self._transport = transport
        self._user_agent = user_agent
        self._clock = clock or _AsyncioSleeper()
        self._observe = observe
        self._jitter = jitter
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    async def get(self, resource: Resource[T], name: str, *, namespace: str | None = None) -> T:
        """Return one object. Raises NotFound, and DecodeError when it does not fit its struct."""
        request = requests.read(resource, name, namespace)
        return await self._object("get", resource, request, idempotent=True)

    async def pages(
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE_SIZE,
        resource_version: str | None = None,
    ) -> AsyncIterator[Page[T]]:
        """Yield the pages of a list. Raises Gone when the list expires between two pages: begin anew then."""
        token = ""
        while True:
            request = requests.page(
                resource,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                limit=limit,
                token=token,
                resource_version=resource_version,
            )
            answer = await self._send("list", resource.group_resource, request, idempotent=True)
            page = decode_page(answer.body, resource.type)
            for poison in page.poison:
                self._report_poison(resource, poison)
            yield page
            token = page.token
            if not token:
                return

    async def list(
        self,
        resource: Resource[T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = PAGE_SIZE,
        whole: bool = False,
    ) -> tuple[T, ...]:
        """Return all objects of one consistent list. A list that expires half-way is read anew in one piece.

        An object that does not fit its struct is left out; with `whole` it raises UnfitObject.
        """
        try:
            return await self._collect(resource, namespace, label_selector, field_selector, limit, whole)
        except Gone:
            return await self._collect(resource, namespace, label_selector, field_selector, 0, whole)

    async def _collect(
        self,
        resource: Resource[T],
        namespace: str | None,
        labels: str | None,
        fields: str | None,
        limit: int,
        whole: bool,
    ) -> tuple[T, ...]:
        items: list[T] = []
        pages = self.pages(resource, namespace=namespace, label_selector=labels, field_selector=fields, limit=limit)
        async for page in pages:
            if whole and page.poison:
                raise UnfitObject(
                    f"{resource.kind} {page.poison[0].metadata.name or '(no name)'} cannot be read: {page.poison[0].problem}"
                )
            items.extend(page.items)
        return tuple(items)

    async def create(
        self,
        resource: Resource[T],
        manifest: Manifest,
        *,
        namespace: str | None = None,
        field_manager: str = DEFAULT_MANAGER,
    ) -> T:
        """Create an object and return it as stored. Raises AlreadyExists, Invalid, Forbidden."""
        request = requests.create(resource, manifest, namespace, field_manager)
        return await self._object("create", resource, request, idempotent=False)

    async def apply(
        self,
        resource: Resource[T],
        manifest: Manifest,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> T:
        """Server-side apply. A `metadata.resourceVersion` or `metadata.uid` in the manifest is a precondition.

        Raises Conflict when a precondition or, without `force`, another owner of a field stands against it.
        """
        request = requests.apply(resource, manifest, field_manager=field_manager, force=force, subresource=subresource)
        return await self._object("apply", resource, request, subresource=subresource, idempotent=True)

    async def patch(
        self,
        resource: Resource[T],
        name: str,
        patch: Any,
        *,
        field_manager: str,
        namespace: str | None = None,
        kind: Literal["merge", "json"] = "merge",
        subresource: str | None = None,
    ) -> T:
        """Send a merge patch (a dict) or a JSON patch (a list of operations). Not repeated on 5xx: it may not be idempotent."""
        request = requests.patch(
            resource, name, patch, namespace=namespace, kind=kind, subresource=subresource, manager=field_manager
        )
        return await self._object("patch", resource, request, subresource=subresource, idempotent=False)

    async def replace(
        self,
        resource: Resource[T],
        manifest: Manifest,
        *,
        field_manager: str,
        subresource: str | None = None,
        repeat: bool = False,
    ) -> T:
        """PUT an object, or its subresource, *complete*: fields that the manifest lacks are lost.

        What came from a narrow struct is not complete, unless its unknown fields are restored (`kubekit.words.unknown`). A
        `metadata.resourceVersion` or `metadata.uid` in the manifest is a precondition. Raises Conflict when one stands against it.

        `repeat`: try again when the first try may have taken effect. The manifest must then name a version, and the caller take into
        account that a Conflict may come from its own first try. Leader election does not: it reads first, and has no time for more.
        """
        request = requests.replace(resource, manifest, field_manager=field_manager, subresource=subresource)
        safe = repeat and bool(manifest["metadata"].get("resourceVersion"))
        return await self._object("update", resource, request, subresource=subresource, idempotent=safe)

    async def delete(
        self,
        resource: Resource[Any],
        name: str,
        *,
        namespace: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace_period_seconds: int | None = None,
    ) -> None:
        """Ask for deletion; `uid` and `resource_version` are preconditions (law L2). Raises NotFound, Conflict."""
        request = requests.delete(
            resource,
            name,
            namespace=namespace,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
        )
        await self._send("delete", resource.group_resource, request, idempotent=True)

    @asynccontextmanager
    async def watch(
        self,
        resource: Resource[T],
        *,
        resource_version: str,
        timeout_seconds: int,
        idle_timeout: float,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncGenerator[AsyncIterator[WatchEvent[T]], None]:
        """Open a watch with bookmarks after `resource_version`; leaving the context ends it.

        Raises Gone (status 410) and the other API errors on opening; a 410 within the stream arrives as an ERROR event.
        TransportError comes when the stream breaks or stays silent for `idle_timeout` seconds, DecodeError when a line is no
        event. Nothing is retried here.
        """
        request = requests.watch(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
        )
        answered = False
        try:
            async with self._transport.stream(self._signed(request), idle_timeout=idle_timeout) as stream:
                answered = True
                self._count("watch", resource.group_resource, stream.status)
                if stream.status != 200:
                    raise api_error(stream.status, await _read_some(stream.chunks), stream.headers)
                events = self._events(resource, stream.chunks)
                try:
                    yield events
                finally:
                    await events.aclose()
        except TransportError:
            if not answered:
                self._count("watch", resource.group_resource, 0)
            raise

    async def _events(self, resource: Resource[T], chunks: AsyncIterator[bytes]) -> AsyncGenerator[WatchEvent[T], None]:
        splitter = LineSplitter()
        async for chunk in chunks:
            for line in splitter.feed(chunk):
                event = decode_event(line, resource.type)
                if event.poison is not None:
                    self._report_poison(resource, event.poison)
                yield event

    async def logs(
        self,
        name: str,
        *,
        namespace: str,
        container: str | None = None,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
        limit_bytes: int | None = None,
    ) -> bytes:
        """Return a Pod's log as far as it is written. Raises NotFound, and BadRequest while the container waits to start."""
        options = {
            "container": container,
            "tailLines": tail_lines,
            "sinceSeconds": since_seconds,
            "limitBytes": limit_bytes,
        }
        request = requests.logs(name, namespace, options)
        return (await self._send("get", "pods/log", request, idempotent=False)).body

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        body: Any = None,
        content_type: str = requests.JSON,
    ) -> Any:
        """Send any request and return its JSON: discovery, `/version`. Counted under the method and the path's first part."""
        payload = b"" if body is None else encode(body)
        request = requests.build(method, path, query=query, body=payload, content_type=content_type)
        target = path.strip("/").partition("/")[0]
        return decode_any((await self._send(method.lower(), target, request, idempotent=method == "GET")).body)

    async def close(self) -> None:
        """Close the transport. Safe to call twice."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _object(
        self, verb: str, resource: Resource[T], request: Request, *, idempotent: bool, subresource: str | None = None
    ) -> T:
        answer = await self._send(verb, requests.target(resource, subresource), request, idempotent=idempotent)
        return decode_object(answer.body, resource.type)

    async def _send(self, verb: str, target: str, request: Request, *, idempotent: bool) -> Response:
        signed = self._signed(request)
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._try(verb, target, signed)
            except KubeError as error:
                if attempt >= MAX_ATTEMPTS or not repeatable(error, idempotent=idempotent):
                    raise
                wait = pause(attempt, error, self._jitter())
            await self._clock.sleep(wait)

    async def _try(self, verb: str, target: str, request: Request) -> Response:
        try:
            answer = await self._transport.request(request)
        except TransportError:
            self._count(verb, target, 0)
            raise
        self._count(verb, target, answer.status)
        self._report_warnings(answer.headers)
        if not 200 <= answer.status < 300:
            raise api_error(answer.status, answer.body, answer.headers)
        return answer

    def _signed(self, request: Request) -> Request:
        return replace(request, headers={**request.headers, "User-Agent": self._user_agent})

    def _count(self, verb: str, target: str, code: int) -> None:
        if self._observe is not None:
            self._observe(verb, target, code)

    def _first_time(self, what: str, detail: str) -> bool:
        if (what, detail) in self._seen:
            return False
        self._seen[what, detail] = None
        if len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        return True

    def _report_poison(self, resource: Resource[Any], poison: Poison) -> None:
        meta = poison.metadata
        if self._first_time(meta.uid or f"{resource.group_resource}/{meta.name}", meta.resource_version):
            _log.error(
                "%s %s/%s cannot be read and is left out: %s",
                resource.group_resource,
                meta.namespace or "",
                meta.name or "(no name)",
                poison.problem,
            )

    def _report_warnings(self, headers: Mapping[str, str]) -> None:
        text = headers.get("warning")
        if text and self._first_time("warning", text):
            _log.warning("the API server warns: %s", text)


async def _read_some(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) >= _MAX_ERROR_BODY:
            break
    return body
