"""A web server on loopback that hands out images, and misbehaves in every way that a test asks for."""

import contextlib
import hashlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Request:
    """What was asked: `headers` have small letters."""

    target: str
    headers: dict[str, str]
    number: int

    @property
    def first(self) -> int:
        """The place from which on the object is wanted."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(match[1]) if match else 0


@dataclass
class Plain:
    """An object as a good server has it: ranges, an ETag, a length. The fields let it be a bad one.

    `cut_after`: bytes of each answer before the connection ends, for the first `cuts` answers. `slowly`: seconds before each piece of `piece` bytes.
    """

    body: bytes
    etag: str | None = None
    changed: str | None = None
    ranges: bool = True
    length: int | None = None
    chunked: bool = False
    cut_after: int | None = None
    cuts: int = 1
    slowly: float = 0.0
    piece: int = 1 << 16
    more: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.etag is None:
            self.etag = f'"{hashlib.md5(self.body).hexdigest()}"'

    def answer(self, request: Request, send: Callable[[bytes], None]) -> None:
        first = request.first if self.ranges else 0
        body, head = self.body[first:], [f"HTTP/1.1 {'206 Partial Content' if first else '200 OK'}"]
        if first:
            head.append(f"Content-Range: bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        if self.etag:
            head.append(f"ETag: {self.etag}")
        if self.changed:
            head.append(f"Last-Modified: {self.changed}")
        if self.chunked:
            head.append("Transfer-Encoding: chunked")
        elif self.length != -1:
            head.append(f"Content-Length: {len(body) if self.length is None else self.length}")
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        send("\r\n".join([*head, "", ""]).encode())
        limit = len(body)
        if self.cut_after is not None and self.cuts > 0:
            self.cuts -= 1
            limit = min(limit, self.cut_after)
        for begin in range(0, limit, self.piece):
            time.sleep(self.slowly)
            part = body[begin : min(limit, begin + self.piece)]
            send(b"%x\r\n%s\r\n" % (len(part), part) if self.chunked else part)
        if limit < len(body):
            raise ConnectionError("cut")
        send(b"0\r\n\r\n" if self.chunked else self.more)


@dataclass
class Says:
    """An answer that is none of an object."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"no"
    times: int = -1

    def answer(self, request: Request, send: Callable[[bytes], None]) -> None:
        lines = [f"HTTP/1.1 {self.status} Word", *(f"{name}: {value}" for name, value in self.headers.items())]
        send("\r\n".join([*lines, f"Content-Length: {len(self.body)}", "", ""]).encode() + self.body)


Behaviour = Plain | Says | Callable[[Request, Callable[[bytes], None]], None]


class ImageServer:
    """It answers each path by its behaviour; a list of them is used up from its beginning, but for the last."""

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self.objects: dict[str, Behaviour | list[Behaviour]] = {}
        self.requests: list[Request] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self.port: int = self._listener.getsockname()[1]
        self._over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        return f"{'https' if self._context else 'http'}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._over:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError), client:
            connected = self._context.wrap_socket(client, server_side=True) if self._context else client
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connected.recv(1 << 16)
                if not piece:
                    return
                head += piece
            first, *lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            pairs = [line.split(":", 1) for line in lines]
            headers = {name.lower(): value.strip() for name, value in pairs}
            request = Request(first.split(" ")[1], headers, len(self.requests))
            self.requests.append(request)
            behaviour = self._behaviour(request.target)
            answer = behaviour.answer if isinstance(behaviour, Plain | Says) else behaviour
            try:
                answer(request, connected.sendall)
            finally:
                with contextlib.suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)
                connected.close()

    def _behaviour(self, target: str) -> Behaviour:
        found = self.objects.get(target.partition("?")[0], Says(404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found


@contextlib.contextmanager
def serving(*, tls: tuple[Path, Path] | None = None) -> Iterator[ImageServer]:
    server = ImageServer(tls=tls)
    try:
        yield server
    finally:
        server.close()
