"""Answers that go on: watches and logs."""

import random
from collections.abc import AsyncIterator, Callable

from kubekit.client.transport import Request, Stream
from kubekit.runtime.clock import Clock
from localkube.store import answers
from localkube.store.calls import Call
from localkube.store.kinds import Kind
from localkube.store.objects import ObjectStore
from localkube.store.pod_logs import LogReader, choose_container, no_log, read_log_options
from localkube.store.reading import Reader
from localkube.store.statuses import StatusError, no_route
from localkube.store.storage import Storage
from localkube.store.strategies.base import ServerView
from localkube.store.trees import Tree, encode, look
from localkube.store.watching import Delivery, Render, Watch

_SHORTEST, _SPREAD = 1800.0, 1800.0
"""A watch that names no timeout ends between these, as a real server's does; in seconds."""


class Streams:
    """Opens watches and logs, and knows which watches are open."""

    def __init__(
        self,
        storage: Storage,
        *,
        reader: Reader,
        objects: ObjectStore,
        clock: Clock,
        dice: random.Random,
        server: ServerView,
    ) -> None:
        self.log_reader: LogReader | None = None
        self.deliver: Delivery | None = None
        self.expired_as_status = False
        self._storage = storage
        self._reader = reader
        self._objects = objects
        self._clock = clock
        self._dice = dice
        self._server = server
        self._watches: dict[Watch, None] = {}

    def watch(self, call: Call) -> Stream:
        """Open a watch. Raises StatusError 400, 422; 410 for a history that does not reach back, unless that is told as an event."""
        if call.verb != "watch":
            raise no_route()
        kind = call.kind
        form = answers.read_format(call.headers.get("accept", ""))
        selector = self._reader.selector(call)
        revision, initial = self._reader.watch_start(call)
        expired = None if initial else self._reader.too_old(kind, revision)
        if expired is not None and self.expired_as_status:
            raise expired
        timeout = call.number("timeoutSeconds")
        collection = self._storage.collection(kind.collection)
        watch = Watch(
            self._storage,
            collection,
            resource=kind.resource,
            namespace=call.namespace,
            selector=selector,
            clock=self._clock,
            timeout=float(timeout) if timeout else _SHORTEST + _SPREAD * self._dice.random(),
            bookmark=_bookmark(kind) if call.flag("allowWatchBookmarks") else None,
            render=self._render(kind, form, call),
            deliver=self.deliver,
            on_close=self._forget,
        )
        self._watches[watch] = None
        if expired is not None:
            watch.fail(expired)
        elif initial:
            records = self._reader.select(call, selector, revision=revision)
            watch.begin_with(records, revision=revision, announce_end=call.flag("sendInitialEvents"))
        else:
            watch.replay(revision)
        return Stream(200, {"content-type": answers.JSON, "cache-control": "no-cache, private"}, watch)

    async def log(self, call: Call) -> Stream:
        """Open a container's log. Raises StatusError: 400, 404, 503 without a node."""
        if call.verb != "get":
            raise no_route()
        options = read_log_options(call)
        pod = self._objects.read(call.kind, self._reader.get(call))
        container = choose_container(pod, call.query.get("container", ""))
        if not look(pod, "spec", "nodeName"):
            return Stream(200, {"content-type": "text/plain"}, Single(b""))
        if self.log_reader is None:
            raise StatusError(503, "ServiceUnavailable", "no node keeps logs here")
        try:
            chunks = await self.log_reader(call.namespace, call.name, container, options)
        except KeyError:
            raise no_log(pod, container, previous=options.previous) from None
        return Stream(200, {"content-type": "text/plain"}, chunks)

    def open_watches(self, resource: str | None = None) -> list[Watch]:
        """Return the open watches, of a `plural.group` or all."""
        return [watch for watch in self._watches if resource in {None, watch.resource}]

    def _forget(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def _render(self, kind: Kind, form: answers.Format, call: Call) -> Render | None:
        if form.word == "object":
            return None if answers.plain(kind) else lambda data: answers.to_served(kind, data)
        include = call.query.get("includeObject", "")
        shown: list[bool] = []

        def render(data: bytes) -> bytes:
            # only the first table of a stream says its columns
            columns = not shown
            shown[:] = [True]
            return answers.rendered(kind, data, form, include=include, now=self._server.now(), columns=columns)

        return render


def _bookmark(kind: Kind) -> Callable[[int, bool], bytes]:
    def bookmark(revision: int, ends_initial: bool) -> bytes:
        meta: Tree = {"resourceVersion": str(revision), "creationTimestamp": None}
        if ends_initial:
            meta["annotations"] = {"k8s.io/initial-events-end": "true"}
        shown = encode({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta})
        return b'{"type":"BOOKMARK","object":%s}\n' % shown

    return bookmark


def is_log(request: Request) -> bool:
    """Tell whether a request is for a log."""
    parts = request.path.rstrip("/").split("/")
    return request.method == "GET" and parts[-1] == "log" and parts[-3:-2] == ["pods"]


class Single:
    """A stream of one chunk: how an error answers a request for a stream."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._body is None:
            raise StopAsyncIteration
        body, self._body = self._body, None
        return body

    async def aclose(self) -> None:
        """Drop the chunk."""
        self._body = None
