"""One gRPC method: a request that is read within a limit, a handler, one clear error. Shared by all services.

The library's own limit for what is received is off: it would answer a large item with words of its own. Ours is told in a sentence. What cannot be
read is told as well, instead of the library's "Exception deserializing request!".
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from datamover.velero.actions import ActionError
from kubekit.words.text import clean

MESSAGE_LIMIT = 32 << 20
"""Bytes of one request. An object of the API has at most 1.5 MiB, and a request carries two or three."""
ERROR_LIMIT = 2048
"""Characters of an error. Velero keeps it in the backup's log and in its status."""
UNLIMITED = -1

Handler = Callable[[Any, grpc.ServicerContext], Message]
"""Takes the request (a message) and the context of the call. Raises ActionError."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A request that could not be read, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Method:
    """One answer to one request."""

    request: type[Message]
    handler: Handler


@dataclass(frozen=True, slots=True)
class Stream:
    """Many answers to one request."""

    request: type[Message]
    handler: Callable[[Any, grpc.ServicerContext], Iterator[Message]]


def serve(name: str, methods: Mapping[str, Method | Stream]) -> grpc.GenericRpcHandler:
    """Return a service for `add_generic_rpc_handlers`. `name` is with its package."""
    return grpc.method_handlers_generic_handler(name, {word: _handler(method) for word, method in methods.items()})


def _handler(method: Method | Stream) -> "grpc.RpcMethodHandler[Any, Any]":
    read = _reader(method.request)
    if isinstance(method, Stream):
        return grpc.unary_stream_rpc_method_handler(method.handler, read, _write)
    return grpc.unary_unary_rpc_method_handler(_guarded(method.handler), read, _write)


def _guarded(handler: Handler) -> Callable[[Message | Unread, grpc.ServicerContext], Message]:
    def answer(request: Message | Unread, context: grpc.ServicerContext) -> Message:
        if isinstance(request, Unread):
            return refuse(context, request.reason)
        try:
            return handler(request, context)
        except ActionError as error:
            return refuse(context, str(error))

    return answer


def refuse(context: grpc.ServicerContext, sentence: str) -> Any:
    """End a call with an error as Velero expects it. Never returns."""
    return context.abort(grpc.StatusCode.UNKNOWN, clean(sentence, limit=ERROR_LIMIT) or "it failed without a word")


def _reader(kind: type[Message]) -> Callable[[bytes], Message | Unread]:
    def read(raw: bytes) -> Message | Unread:
        if len(raw) > MESSAGE_LIMIT:
            return Unread(f"the request has {len(raw)} bytes; this plugin reads at most {MESSAGE_LIMIT}")
        try:
            return kind.FromString(raw)
        except (DecodeError, ValueError):
            return Unread(f"the request is no {kind.DESCRIPTOR.full_name}")

    return read


def _write(message: Message) -> bytes:
    return message.SerializeToString()
