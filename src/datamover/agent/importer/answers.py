"""What an answer of a server that is not the object means, as a failure of the attempt. Pure."""

import re
from http.client import responses
from typing import Final

from datamover.agent.errors import Failure
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Another request may do better."""
LOST: Final = frozenset({401, 403, 404, 410})
"""What a place says that a redirection has led to, and that does not hold any longer."""
_CODE: Final = re.compile(rb"<Code>([A-Za-z.]{1,60})</Code>")


def failure_of(status: int, body: bytes, *, place: str, s3: bool) -> Failure:
    """Return what a final answer means. `place` is the address for people, `body` the beginning of what came with it."""
    code = error_code(body) if s3 else ""
    name = f"{status} {responses.get(status, '')}".rstrip()
    said = f"{place} answers {name}{f' ({code})' if code else ''}"
    where = "secretRef" if s3 else "secretRef (accessKeyId is the user, secretKey the password)"
    if code == "NoSuchBucket":
        return Failure(
            transfer.NOT_FOUND, transfer.REASON_BUCKET_NOT_FOUND, f"{said}: there is no such bucket. Look at the URL."
        )
    if status == 401 or code in {"InvalidAccessKeyId", "SignatureDoesNotMatch"}:
        return Failure(
            transfer.CREDENTIALS,
            transfer.REASON_WRONG_CREDENTIALS,
            f"{said}: it does not accept the credentials, or wants some. Look at the Secret of {where}.",
        )
    if status == 403:
        return Failure(
            transfer.DENIED,
            transfer.REASON_ACCESS_DENIED,
            f"{said}: it does not hand this out, or not without credentials. Look at the URL and at the Secret of {where}.",
        )
    if status in {404, 410}:
        return Failure(
            transfer.NOT_FOUND, transfer.REASON_SOURCE_NOT_FOUND, f"{said}: there is nothing. Look at the URL."
        )
    if status == 407:
        return Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            f"{said}: the proxy wants a login. The operator's HTTP_PROXY and HTTPS_PROXY may hold one.",
        )
    if status in PASSING:
        return Failure(
            transfer.NETWORK, transfer.REASON_SERVER_ERROR, f"{said}, again and again. It is tried again later."
        )
    return Failure(
        transfer.NETWORK,
        transfer.REASON_SERVER_ERROR,
        f"{said}, which is no image. Look at the URL, and at what the server's log says.",
        retryable=False,
    )


def error_code(body: bytes) -> str:
    """Return the code of an error of an S3 server."""
    found = _CODE.search(body)
    return outside.clean(found[1].decode(), limit=outside.NAME_LIMIT) if found else ""


def read_range(text: str) -> tuple[int, int | None] | None:
    """Return the place and the whole length that `Content-Range` says; None where it says something else."""
    unit, _, rest = text.partition(" ")
    span, slash, whole = rest.partition("/")
    first, dash, last = span.partition("-")
    if unit.lower() != "bytes" or not slash or not dash:
        return None
    try:
        begin, end, length = outside.integer(first), outside.integer(last), outside.integer(whole)
    except Unusable:
        return None
    return (begin, length) if end == length - 1 else None


def read_pause(text: str) -> float:
    """Return the seconds that `Retry-After` asks for, at most a minute; 0 where it says none."""
    try:
        return min(outside.number(text, low=0, high=1e6), 60.0)
    except Unusable:
        return 0.0
