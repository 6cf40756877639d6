"""Signatures of requests to S3 servers (version 4 of AWS). Pure: the moment is given.

The body is not part of the signature, for a request that reads has none.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote

_UNSIGNED = "UNSIGNED-PAYLOAD"


def sign(
    method: str,
    *,
    authority: str,
    target: str,
    key: str,
    secret: str,
    region: str,
    moment: datetime,
) -> Mapping[str, str]:
    """Return the headers that a request needs: its signature, and what it says of itself. `moment` is in UTC."""
    stamp = f"{moment:%Y%m%dT%H%M%SZ}"
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    headers = {"host": authority, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": stamp}
    names = ";".join(headers)
    path, _, query = target.partition("?")
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"{method}\n{_path(path)}\n{_query(query)}\n{lines}\n{names}\n{_UNSIGNED}"
    signed = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    derived = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), signed):
        derived = hmac.digest(derived, part.encode(), "sha256")
    authorization = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={derived.hex()}"
    return {
        "x-amz-content-sha256": _UNSIGNED,
        "x-amz-date": stamp,
        "Authorization": authorization,
    }


def canonical(target: str) -> str:
    """Return a target as it must be sent, so that the server signs the same letters: percent-encoded as the signature has it."""
    path, mark, query = target.partition("?")
    return f"{_path(path)}{mark}{_query(query)}"


def _path(path: str) -> str:
    return quote(unquote(path, errors="surrogateescape"), safe="/~", errors="surrogateescape")


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs))
