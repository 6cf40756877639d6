"""What a client says, and what it is answered: one request of HTTP/1.1 for each connection. Pure."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec

from datamover.api import upload

HEAD_LIMIT: Final = 1 << 14
"""Bytes of the request line and all headers."""
_MOST_HEADERS: Final = 100
_LINE: Final = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,2048}) HTTP/1\.[01]")
_HEADER: Final = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}):[ \t]*([\t -~\x80-\xff]*)")
_SINGLE: Final = frozenset(
    {
        "content-length",
        "content-encoding",
        "transfer-encoding",
        "authorization",
        upload.TOKEN_HEADER.lower(),
        upload.CHECKSUM_HEADER.lower(),
    }
)
"""Headers that may come once: of two, a proxy might believe the other one."""
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip"})
"""What the bytes may be called: gzip shows itself, and is unpacked like any file that is."""
_CHECKSUM: Final = re.compile(r"sha256:[0-9a-fA-F]{64}")
_BEARER: Final = "bearer "
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Refusal(Exception):  # noqa: N818 - it is the word for what is answered
    """A request is answered with an error, and nothing was done. The message is a sentence for people."""

    def __init__(
        self, status: HTTPStatus, reason: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.headers = headers or {}


class Head(msgspec.Struct, frozen=True):
    """A request before its body. Names of headers are in small letters; `path` has no query."""

    method: str
    path: str
    headers: dict[str, str]

    @property
    def token(self) -> str:
        """The token; empty when there is none."""
        own = self.headers.get(upload.TOKEN_HEADER.lower(), "")
        given = self.headers.get("authorization", "")
        return own or (given[len(_BEARER) :].strip() if given.lower().startswith(_BEARER) else "")

    @property
    def expects(self) -> bool:
        """Whether the client waits for our word before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"


def parse(raw: bytes | None) -> Head:
    """Return what a client says in these bytes, which end before the empty line; None stands for more than `HEAD_LIMIT`. Raises Refusal."""
    if raw is None:
        raise Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            upload.REASON_BAD_REQUEST,
            f"the headers are longer than {HEAD_LIMIT} bytes",
        )
    first, *rest = raw.split(b"\r\n")
    line = _LINE.fullmatch(first)
    if line is None:
        raise _bad("the request line is none of HTTP/1.1")
    if len(rest) > _MOST_HEADERS:
        raise _bad(f"there are more than {_MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for each in rest:
        match = _HEADER.fullmatch(each)
        if match is None:
            raise _bad("a header is not `Name: value`")
        name, value = match[1].decode().lower(), match[2].decode("latin-1").strip()
        if name in headers and name in _SINGLE:
            raise _bad(f"the header {name} comes twice")
        headers[name] = value
    path = line[2].decode().partition("?")[0]
    return Head(line[1].decode(), upload.ALIASES.get(path, path), headers)


def length_of(head: Head) -> int | None:
    """Return how many bytes the body has, None where it comes in chunks that tell. Raises Refusal."""
    if head.headers.get("content-encoding", "").lower() not in _CODINGS:
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            upload.REASON_BAD_REQUEST,
            "this Content-Encoding is not taken off here: send the disk as it is, or packed with gzip or xz",
        )
    coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length")
    if coding is not None:
        if length is not None or coding.lower() != "chunked":
            raise _bad("send either Content-Length or Transfer-Encoding: chunked")
        return None
    if length is None:
        raise Refusal(
            HTTPStatus.LENGTH_REQUIRED,
            upload.REASON_BAD_REQUEST,
            "say how many bytes come, by Content-Length, or send them in chunks",
        )
    if not _LENGTH.fullmatch(length):
        raise _bad("Content-Length is no number")
    return int(length)


def checksum_of(head: Head) -> str:
    """Return the digits that the client says the bytes have; empty where it says none. Raises Refusal."""
    text = head.headers.get(upload.CHECKSUM_HEADER.lower(), "")
    if text and not _CHECKSUM.fullmatch(text):
        raise _bad(f"{upload.CHECKSUM_HEADER} is not sha256: and 64 hexadecimal digits")
    return text.partition(":")[2].lower()


def write(
    status: HTTPStatus, answer: upload.Received, *, headers: Mapping[str, str] | None = None, body: bool = True
) -> bytes:
    """Return an answer as it is sent. The connection ends with it."""
    content = msgspec.json.encode(answer) + b"\n"
    lines = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "Connection": "close",
        "Cache-Control": "no-store",
        **({upload.CHECKSUM_HEADER: answer.checksum} if answer.checksum else {}),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{head}\r\n".encode() + (content if body else b"")


def _bad(message: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, upload.REASON_BAD_REQUEST, f"this is no request that can be read: {message}")
