"""A proxy that gives answers of its own in the place of an S3 server."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from support.proxy import Proxy

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


@dataclass(frozen=True)
class Reply:
    """What is answered in the server's place."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def s3_error(status: int, code: str, message: str = "Something is wrong.") -> Reply:
    """Return an error as an S3 server writes it."""
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message><RequestId>R1</RequestId></Error>'
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


def web_page(status: int, title: str = "Something") -> Reply:
    """Return a page as a web server or a proxy writes it; as so often, it is no XML."""
    body = f"<html>\r\n<head><title>{title}</title></head>\r\n<body><center><h1>{title}</h1></center><hr><center>nginx</center></body></html>"
    return Reply(status, body.encode(), {"Content-Type": "text/html"})


@dataclass(frozen=True)
class Request:
    """A request: method, path with query, body length."""

    method: str
    path: str
    length: int

    @property
    def of_data(self) -> bool:
        """Whether it is about an object that is no record."""
        return "/.datamover/" not in self.path and "?" not in self.path.replace("?x-id=", "")


class Answering(Proxy):
    """Forwards to `target` what `rule` gives no reply for. `requests` has all that came, one for each connection."""

    def __init__(
        self, target: int, rule: Callable[[Request], Reply | None], *, reasons: Mapping[int, str] | None = None
    ) -> None:
        """`reasons` are the words behind the status; some clients tell nothing else of a proxy's answer."""
        super().__init__(target)
        self._rule = rule
        self._reasons = reasons or {}
        self.requests: list[Request] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            await self._end(writer)

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        self._open.discard(writer)
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        length = int(found[1]) if (found := _LENGTH.search(head)) else 0
        request = Request(method, path, length)
        self.requests.append(request)
        reply = self._rule(request)
        if b"100-continue" in head.lower() and reply is None:
            head = re.sub(rb"(?i)\r\nexpect: [^\r]*", b"", head)
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(length) if reply is None or b"100-continue" not in head.lower() else b""
        if reply is not None:
            lines = {"Connection": "close", "Content-Length": str(len(reply.body)), **reply.headers}
            written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(
                f"HTTP/1.1 {reply.status} {self._reasons.get(reply.status, 'Whatever')}\r\n{written}\r\n".encode()
            )
            writer.write(b"" if method == "HEAD" else reply.body)
            await writer.drain()
            return
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        self._open.add(upstream)
        try:
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            upstream.write(head + body)
            await upstream.drain()
            await self._pass_back(request, upstream_reader, writer)
        finally:
            await self._end(upstream)

    async def _pass_back(self, request: Request, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the server's answer back as it is."""
        while data := await upstream.read(1 << 16):
            writer.write(data)
            await writer.drain()


class Hiding(Answering):
    """Leaves out of its listings the objects whose keys `hidden` is true of. Asked for by name they are there."""

    def __init__(self, target: int, hidden: Callable[[str], bool]) -> None:
        super().__init__(target, lambda request: None)
        self._hidden = hidden

    async def _pass_back(self, request: Request, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.method != "GET" or ("list-type=" not in request.path and "max-keys=" not in request.path):
            await super()._pass_back(request, upstream, writer)
            return
        head, _, body = (await upstream.read(-1)).partition(b"\r\n\r\n")
        if b"chunked" in head.lower():
            body = _unchunked(body)

        def shown(found: re.Match[bytes]) -> bytes:
            return b"" if self._hidden(unquote(found[1].decode())) else found[0]

        body = re.sub(rb"<Contents>.*?<Key>(.*?)</Key>.*?</Contents>", shown, body, flags=re.DOTALL)
        lines = [line for line in head.split(b"\r\n") if not _FRAMING.match(line)]
        writer.write(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
        await writer.drain()


_FRAMING = re.compile(rb"(?i)(content-length|transfer-encoding):")


def _unchunked(body: bytes) -> bytes:
    parts: list[bytes] = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(body[:length])
        body = body[length + 2 :]
        if not length:
            break
    return b"".join(parts)
