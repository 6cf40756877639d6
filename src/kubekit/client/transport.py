"""The interface below the client: one request with one answer, or with one stream.

`HttpTransport` (module `kubekit.client.http`) speaks to a real server; the embedded world implements the same protocol in the
process. Nothing above this module knows which one it talks to.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """One API request. `query` keeps its order; header names are compared case-insensitively by the receiver."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body arrives in chunks of any size. `chunks` ends when the server closes."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """What a client needs of the way to a server.

    Both calls raise `kubekit.client.errors.TransportError` when no answer arrives; an HTTP error status is an answer.
    """

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:  # noqa: ASYNC109 - the transport owns its deadline
        """Send one request and read the whole answer. `timeout` in seconds; None is the transport's default."""
        ...

    def stream(self, request: Request, *, idle_timeout: float | None = None) -> AbstractAsyncContextManager[Stream]:
        """Open a stream; leaving the context closes it. Raises TransportError when it is silent for `idle_timeout` seconds."""
        ...

    async def close(self) -> None:
        """Close pooled connections. Safe to call twice."""
        ...
