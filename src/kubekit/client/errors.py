"""Errors of talking to an API server.

KubeError
├── TransportError            no answer: refused, reset, TLS
│   └── TransportTimeout      no answer in time; the request may have taken effect
├── ConfigError               kubeconfig or in-cluster credentials cannot be used
├── DecodeError               an answer arrived that cannot be understood
│   └── UnfitObject           one object of a list
└── ApiError                  the server answered with an error (status, reason, message, details)
    ├── BadRequest            400
    ├── Unauthorized          401
    ├── Forbidden             403
    ├── NotFound              404
    ├── AlreadyExists         409 AlreadyExists
    ├── Conflict              409 anything else: a precondition or a resourceVersion did not hold
    ├── Gone                  410 the resourceVersion or continue token is too old
    ├── Invalid               422
    ├── TooManyRequests       429 (retry_after in seconds)
    └── ServerError           5xx (retry_after in seconds, when given)
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kubekit.words.text import clean


class KubeError(Exception):
    """Anything that goes wrong between us and an API server."""


class TransportError(KubeError):
    """No answer arrived."""


class TransportTimeout(TransportError):  # noqa: N818 - reads as what happened
    """No answer arrived in time."""


class DecodeError(KubeError):
    """The answer is not what its type says. The message names the field and quotes no value."""


class UnfitObject(DecodeError):  # noqa: N818 - reads as what came
    """One object of a list is not what its type says, and stays so until somebody changes it."""


class ConfigError(KubeError):
    """Credentials or configuration cannot be used. The message says which file and what to do."""


class ApiError(KubeError):
    """The server answered with an error status."""

    status = 0

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status if status is not None else type(self).status
        self.reason = reason
        self.details: Mapping[str, Any] = details or {}
        self.retry_after = retry_after


class BadRequest(ApiError):  # noqa: N818 - the field's own names, as in the Kubernetes API conventions
    """400: the request itself is malformed."""

    status = 400


class Unauthorized(ApiError):  # noqa: N818
    """401: the credentials were not accepted."""

    status = 401


class Forbidden(ApiError):  # noqa: N818
    """403: RBAC or admission refuses. A quota that is exceeded arrives as this."""

    status = 403


class NotFound(ApiError):  # noqa: N818
    """404: no such object, or no such kind on this server."""

    status = 404


class AlreadyExists(ApiError):  # noqa: N818
    """409 on create: the name is taken."""

    status = 409


class Conflict(ApiError):  # noqa: N818
    """409: the object changed since it was read, or a precondition did not hold."""

    status = 409


class Gone(ApiError):  # noqa: N818
    """410: the resourceVersion or continue token is too old; list anew."""

    status = 410


class Invalid(ApiError):  # noqa: N818
    """422: the object does not satisfy its schema."""

    status = 422


class TooManyRequests(ApiError):  # noqa: N818
    """429: wait `retry_after` seconds."""

    status = 429


class ServerError(ApiError):
    """5xx: the server is in trouble; the request may or may not have taken effect."""

    status = 500


_BY_STATUS: dict[int, type[ApiError]] = {
    cls.status: cls for cls in (BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Gone, Invalid, TooManyRequests)
}


class _Status(msgspec.Struct, gc=False, rename="camel"):
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: dict[str, Any] | None = None


def api_error(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """Return the error for an answer. `headers` have lower-case names; a body that is not a Status is quoted, cut to 200 bytes. What it says
    is clean and has an end (law L11): it goes into logs, and anybody may stand between us and the server, or be its webhook.
    """
    try:
        parsed = msgspec.json.decode(body, type=_Status)
    except (ValueError, RecursionError):  # a proxy may answer anything
        parsed = _Status(message=body[:200].decode("utf-8", "replace").strip() or f"HTTP {status}")
    reason = parsed.reason or ""
    cls = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if status == 409 and reason == "AlreadyExists":
        cls = AlreadyExists
    return cls(
        clean(parsed.message or f"HTTP {status}", limit=LONGEST_MESSAGE),
        status=status,
        reason=reason,
        details=parsed.details,
        retry_after=_retry_after(headers.get("retry-after") or (parsed.details or {}).get("retryAfterSeconds")),
    )


LONGEST_MESSAGE: Final = 4096
"""Longest error message, in characters; of an object with many mistakes the server says about a hundred for each."""
LONGEST_RETRY_AFTER: Final = 600.0
"""Longest pause in seconds that a server can ask for."""


def _retry_after(value: Any) -> float | None:
    try:
        return min(max(0.0, float(value)), LONGEST_RETRY_AFTER) if value else None
    except (TypeError, ValueError):
        return None
