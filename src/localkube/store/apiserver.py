"""The API server in the process: one request in, one answer or one stream out.

Guarantees: HTTP semantics of a Kubernetes API server for the kinds that it serves (`localkube.store.builtin_kinds`, the snapshot kinds, and the CRDs that it
was given); a conformance suite holds it to the real one.
Assumptions: everything runs on one event loop; a request is handled without interruption, so writes are strictly ordered.
Caveats: CEL rules, webhooks, quota and authorization are not carried out: whoever reaches the server may do everything. The operator checks the rules of its own
kinds itself. Requests may be JSON, YAML or (built-in kinds) protobuf; answers are JSON or YAML.
"""

import contextlib
import inspect
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime

from kubekit.client.transport import Request, Response, Stream
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.words import timestamps
from localkube.store import answers, crds, persistence
from localkube.store.background import BackgroundWork
from localkube.store.bootstrap import bootstrap_objects
from localkube.store.builtin_kinds import builtin_kinds
from localkube.store.calls import Call, read_call, read_query
from localkube.store.deletion import Deleter
from localkube.store.dispatch import Dispatcher
from localkube.store.editor import Editor
from localkube.store.endpoints import Endpoints
from localkube.store.expiry import Expiry
from localkube.store.kinds import Kind, Registry
from localkube.store.metadata import name_of
from localkube.store.objects import ObjectStore
from localkube.store.pod_logs import LogReader
from localkube.store.reading import Reader
from localkube.store.statuses import StatusError, expired, internal, no_route
from localkube.store.storage import Storage
from localkube.store.streams import Single, Streams, is_log
from localkube.store.trees import Tree, decode, encode, look, mapping, text
from localkube.store.watching import Delivery
from localkube.store.writing import Writer

Intercept = Callable[[Request], Response | Awaitable[Response | None] | None]
"""Fault hook before handling: an answer in place of the server's, None to go on, or an exception that the caller gets."""

After = Callable[[Request, Response], Response | Awaitable[Response | None] | None]
"""Fault hook after the effect: another answer, None for the server's own, or an exception (the answer is lost)."""

_log = logging.getLogger(__name__)
_EVENTS = "events"
_TRUE = frozenset({"1", "true", "True", ""})


class ApiServer:
    """An API server. `history` is how many events each resource remembers for watches and pages; `random` makes UIDs and names.

    `requests` counts answers by (verb, resource, code): verbs as Kubernetes names them, with `apply` for server-side apply; a resource is `plural.group`, with
    `/subresource` behind it; what is no resource counts as its method and path. Tests and simulations may set `intercept`, `after` and `deliver`.
    """

    def __init__(self, *, clock: Clock | None = None, random: random.Random | None = None, history: int = 5000) -> None:
        self.clock = clock or SystemClock()
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.intercept: Intercept | None = None
        self.after: After | None = None
        self.storage = Storage(history=history)
        self.registry = Registry(builtin_kinds())
        dice = random or _system_random()
        self._dice = dice
        self._expiry = Expiry()
        self._objects = ObjectStore(self.storage, on_change=self._changed)
        self._writer = Writer(self._objects, self, choose=dice.choice)
        reader = Reader(self.storage)
        deleter = Deleter(self._objects, self)
        self._dispatcher = Dispatcher(reader=reader, writer=self._writer, deleter=deleter, server=self)
        self._editor = Editor(storage=self.storage, registry=self.registry, writer=self._writer, deleter=deleter)
        self._background = BackgroundWork(self._editor, clock=self.clock, server=self)
        self._streams = Streams(
            self.storage, reader=reader, objects=self._objects, clock=self.clock, dice=dice, server=self
        )
        self._endpoints = Endpoints(self.registry)
        self._moment = self.clock.now().replace(microsecond=0)
        self._stamp = timestamps.seconds(self._moment)
        self._bootstrap()

    # --- what strategies see --------------------------------------------------------------------

    def now(self) -> datetime:
        """The server's time."""
        return self.clock.now()

    def stamp(self) -> str:
        """Return the server's time as a `metav1.Time`; formatted once a second at most."""
        moment = self.clock.now().replace(microsecond=0)
        if moment != self._moment:
            self._moment, self._stamp = moment, timestamps.seconds(moment)
        return self._stamp

    def new_uid(self) -> str:
        """Return a fresh UID (version 4)."""
        bits = f"{self._dice.getrandbits(128):032x}"
        return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{'89ab'[int(bits[16], 16) & 3]}{bits[17:20]}-{bits[20:]}"

    def find(self, resource: str, namespace: str, name: str) -> Tree | None:
        """Return a copy of an object as it is stored, or None. `resource` is `plural.group`."""
        record = self.storage.collection(resource).get(namespace, name)
        return mapping(decode(record.data)) if record is not None else None

    def all(self, resource: str) -> Iterable[Tree]:
        """Yield copies of all objects of a resource."""
        for record in self.storage.collection(resource).scan(""):
            yield mapping(decode(record.data))

    # --- requests -------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Response:
        """Answer a request that is not a watch. Raises only what a fault hook raises."""
        response = await self._intercepted(request)
        if response is None:
            response = await self._whole_log(request) if is_log(request) else self.answer(request)
        if self.after is not None:
            changed = self.after(request, response)
            if inspect.isawaitable(changed):
                changed = await changed
            response = changed or response
        return response

    def streams(self, request: Request) -> bool:
        """Tell whether the answer is a stream: a watch or a log."""
        if request.method != "GET":
            return False
        if is_log(request):
            return True
        if read_query(request).get("watch", "false") not in _TRUE:
            return False
        with contextlib.suppress(StatusError):
            # a watch is of a collection; on one object the parameter means nothing
            call = read_call(request, self.registry)
            return call is not None and call.verb == "watch"
        return False

    async def stream(self, request: Request) -> Stream:
        """Answer a watch or a log; the caller must close `chunks` (`aclose`, where there is one). Errors are streams of one Status."""
        response = await self._intercepted(request)
        if response is None:
            try:
                return await self._open(request)
            except StatusError as error:
                response = answers.refuse(error)
        return Stream(response.status, response.headers, Single(response.body))

    def answer(self, request: Request) -> Response:
        """Answer a request that is not a stream, without hooks and without waiting."""
        verb, resource = request.method.lower(), request.path
        try:
            call = read_call(request, self.registry)
            if call is None:
                response = self._endpoints.answer(request)
            else:
                verb, resource = call.verb, call.resource
                response = self._dispatcher.answer(call)
        except StatusError as error:
            response = answers.refuse(error)
        except Exception as error:  # noqa: BLE001 - a bug of ours is a 500, as with any server; it must not end the server
            _log.exception("the embedded API server failed at %s %s", request.method, request.path)
            response = answers.refuse(internal(f"{type(error).__name__}: {error}"))
        self.requests[verb, resource, response.status] += 1
        return response

    async def _intercepted(self, request: Request) -> Response | None:
        if self.intercept is None:
            return None
        response = self.intercept(request)
        if inspect.isawaitable(response):
            response = await response
        if response is not None:
            call: Call | None = None
            with contextlib.suppress(StatusError):
                call = read_call(request, self.registry)
            key = (call.verb, call.resource) if call else (request.method.lower(), request.path)
            self.requests[*key, response.status] += 1
        return response

    async def _open(self, request: Request) -> Stream:
        key = (request.method.lower(), request.path)
        try:
            call = read_call(request, self.registry)
            if call is None:
                raise no_route()
            key = (call.verb, call.resource)
            opened = await self._streams.log(call) if call.subresource == "log" else self._streams.watch(call)
        except StatusError as error:
            self.requests[*key, error.code] += 1
            raise
        self.requests[*key, 200] += 1
        return opened

    async def _whole_log(self, request: Request) -> Response:
        try:
            opened = await self._open(request)
        except StatusError as error:
            return answers.refuse(error)
        return Response(200, opened.headers, b"".join([chunk async for chunk in opened.chunks]))

    # --- for the rest of the process --------------------------------------------------------------

    def set_log_reader(self, reader: LogReader | None) -> None:
        """Say where the logs of Pods come from."""
        self._streams.log_reader = reader

    def snapshot(self, *, without: Collection[str] = ()) -> bytes:
        """Return everything that the server holds but the resources (`plural.group`) in `without`, for `restore`."""
        return self.capture(without=without).encode()

    def capture(self, *, without: Collection[str] = ()) -> persistence.Captured:
        """The same, not encoded yet: that may be done in a thread."""
        return persistence.capture(self.storage, without=without)

    def take_identity(self, uid: str) -> None:
        """Be the cluster that this UID names: the namespace kube-system has it from now on. For a server that knows of nothing else yet."""
        kind = self.registry.of_resource("", "namespaces")
        record = self._objects.collection(kind).get("", "kube-system") if kind is not None else None
        if kind is None or record is None:
            raise RuntimeError("a server without the namespace kube-system has no identity")
        tree = mapping(decode(record.data))
        mapping(tree["metadata"])["uid"] = uid
        self._objects.commit_stored(kind, tree, record)

    def restore(self, data: bytes) -> None:
        """Hold what `snapshot` returned, and what a fresh server brings besides, in place of everything else.

        Ends all watches. Raises ValueError, and then nothing has changed.
        """
        revision, objects = persistence.load(data)
        self.close()
        self.storage.clear()
        for kind in [kind for kind in self.registry if kind.custom]:
            self.registry.remove(kind.group, kind.plural)
        lost = persistence.fill(self.storage, revision, objects, find=self._editor.kind, on_object=self._define)
        if lost:
            _log.warning("%d saved objects belong to kinds that are no longer served; they are gone", lost)
        self._bootstrap()
        self._background.look_at_everything()

    async def collect(self) -> None:
        """Carry out garbage collection by owner references and the deletion of namespaces, until cancelled."""
        await self._background.run()

    def close(self) -> None:
        """End all watches. The data stays, and new watches may come."""
        for watch in self._streams.open_watches():
            watch.end()

    # --- for tests and simulations --------------------------------------------------------------

    @property
    def deliver(self) -> Delivery | None:
        """Fault hook of watches: when each event arrives, if at all. It holds for watches that are opened after it was set."""
        return self._streams.deliver

    @deliver.setter
    def deliver(self, hook: Delivery | None) -> None:
        self._streams.deliver = hook

    @property
    def expired_as_status(self) -> bool:
        """Whether a watch from too long ago is answered with HTTP status 410. By default it is told by an ERROR event, as the real server does; clients must stand both."""
        return self._streams.expired_as_status

    @expired_as_status.setter
    def expired_as_status(self, value: bool) -> None:
        self._streams.expired_as_status = value

    def expire_watches(self, resource: str | None = None) -> int:
        """End all watches, or those of a `plural.group`, with an ERROR event 410, as a server does whose history was cut. Returns how many."""
        chosen = self._streams.open_watches(resource)
        for watch in chosen:
            watch.fail(expired("too old resource version"))
        return len(chosen)

    def cut_watches(self, resource: str | None = None) -> int:
        """Break all watches, or those of a `plural.group`, as a lost connection does. Returns how many."""
        chosen = self._streams.open_watches(resource)
        for watch in chosen:
            watch.cut()
        return len(chosen)

    def compact(self, revision: int | None = None) -> None:
        """Forget the history up to `revision` (all of it by default): what starts before answers 410."""
        self.storage.compact(self.storage.revision if revision is None else revision)

    # --- inside ---------------------------------------------------------------------------------

    def _bootstrap(self) -> None:
        for path, manifest in bootstrap_objects():
            request = Request("POST", path, headers={"user-agent": "kube-apiserver"}, body=encode(manifest))
            call = read_call(request, self.registry)
            if call is not None and self._objects.collection(call.kind).get("", name_of(manifest)) is None:
                self._writer.create(call)

    def _define(self, kind: Kind, tree: Tree) -> None:
        if kind.resource == crds.RESOURCE:
            for served in crds.kinds_of(tree):
                self.registry.add(served)

    def _changed(self, kind: Kind, tree: Tree, *, gone: bool) -> None:
        self._background.hear(kind, tree, gone=gone)
        if kind.collection == _EVENTS:
            self._age_events(kind, tree, gone=gone)
        if kind.resource != crds.RESOURCE:
            return
        if not gone:
            self._define(kind, tree)
            return
        spec = mapping(tree.get("spec"))
        group, plural = text(spec.get("group")), text(mapping(spec.get("names")).get("plural"))
        orphaned = self.registry.of_resource(group, plural)
        self.registry.remove(group, plural)
        if orphaned is not None:
            for record in self._objects.collection(orphaned).scan(""):
                self._objects.remove(orphaned, record)
            for watch in self._streams.open_watches(orphaned.resource):
                watch.end()

    def _age_events(self, kind: Kind, tree: Tree, *, gone: bool) -> None:
        namespace, name = text(look(tree, "metadata", "namespace")), name_of(tree)
        if gone:
            self._expiry.forget(namespace, name)
            return
        now = self.clock.monotonic()
        self._expiry.touch(namespace, name, now=now)
        for old in self._expiry.pop_due(now=now):
            record = self._objects.collection(kind).get(*old)
            if record is not None:
                self._objects.remove(kind, record)


def _system_random() -> random.Random:
    return random.SystemRandom()
