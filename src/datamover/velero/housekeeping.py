"""What every plugin serves besides its actions: its list, its health, its end, and a stream of what was printed (never anything)."""

import threading
from collections.abc import Callable, Iterator, Sequence

import grpc
from google.protobuf.empty_pb2 import Empty

from datamover.velero.generated import control_pb2, health_pb2, lister_pb2, shared_pb2
from datamover.velero.wire import Method, Stream, Unread, refuse, serve

HEALTHY = "plugin"
"""The service that the host asks for; it means the whole process."""
_STREAMS = 4
"""Streams that may be open at once. Each keeps a thread; a host opens one of each kind."""


class Housekeeping:
    """The list, the health, the end."""

    def __init__(self, command: str, names: Sequence[tuple[str, str]], *, end: Callable[[], None]) -> None:
        """`command` is what the host runs later to reach the actions; `names` are their kinds and names; `end` is called when the host wants the process to end."""
        self._listed = lister_pb2.ListPluginsResponse(
            plugins=[lister_pb2.PluginIdentifier(command=command, kind=kind, name=name) for kind, name in names]
        )
        self._end = end
        self._lock = threading.Lock()
        self._open: set[threading.Event] = set()
        self._closed = False

    def services(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return the services."""
        check = health_pb2.HealthCheckRequest
        return (
            serve("generated.PluginLister", {"ListPlugins": Method(shared_pb2.Empty, self._list)}),
            serve("grpc.health.v1.Health", {"Check": Method(check, self._check), "Watch": Stream(check, self._watch)}),
            serve("plugin.GRPCController", {"Shutdown": Method(control_pb2.Empty, self._shutdown)}),
            serve("plugin.GRPCStdio", {"StreamStdio": Stream(Empty, self._stream)}),
        )

    def _list(self, *_: object) -> lister_pb2.ListPluginsResponse:
        return self._listed

    def _check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in ("", HEALTHY):
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    def _watch(
        self, request: health_pb2.HealthCheckRequest | Unread, context: grpc.ServicerContext
    ) -> Iterator[health_pb2.HealthCheckResponse]:
        status = health_pb2.HealthCheckResponse.ServingStatus
        known = not isinstance(request, Unread) and request.service in ("", HEALTHY)
        yield health_pb2.HealthCheckResponse(status=status.SERVING if known else status.SERVICE_UNKNOWN)
        self._park(context)

    def _stream(self, _: object, context: grpc.ServicerContext) -> Iterator[control_pb2.StdioData]:
        self._park(context)
        yield from ()

    def _park(self, context: grpc.ServicerContext) -> None:
        """Keep a stream open until the host or this process is done with it."""
        over = threading.Event()
        with self._lock:
            refused = self._closed or len(self._open) >= _STREAMS
            if not refused:
                self._open.add(over)
        if refused:
            refuse(context, "too many streams are open, or the process is ending")
        if context.add_callback(over.set):
            over.wait()
        with self._lock:
            self._open.discard(over)

    def close(self) -> None:
        """End all streams."""
        with self._lock:
            self._closed = True
            for over in self._open:
                over.set()

    def _shutdown(self, *_: object) -> control_pb2.Empty:
        self._end()
        return control_pb2.Empty()
