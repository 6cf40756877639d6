"""Which requests may be sent again, and when. Pure."""

from typing import Any

from kubekit.client.errors import (
    ApiError,
    BadRequest,
    KubeError,
    ServerError,
    TooManyRequests,
    TransportError,
    TransportTimeout,
)

MAX_ATTEMPTS = 4
MAX_PAUSE = 30.0
FIRST_PAUSE = 0.2


def repeatable(error: KubeError, *, idempotent: bool) -> bool:
    """Tell whether the same request may be sent again.

    It may when the server turned it away unseen (429, or 503 with Retry-After), or when it does no harm to be seen twice. A
    request that got no answer in time is not: its caller has waited long enough.
    """
    if isinstance(error, TooManyRequests):
        return True
    if isinstance(error, TransportError):
        return idempotent and not isinstance(error, TransportTimeout)
    if not isinstance(error, ServerError):
        return False
    turned_away = error.status == 503 and error.retry_after is not None
    return turned_away or (idempotent and error.status != 501 and not too_large(error))


def pause(attempt: int, error: KubeError, jitter: float) -> float:
    """Return the seconds to wait after the n-th attempt: what the server says, else doubling; `jitter` in [0, 1) adds up to half."""
    asked = error.retry_after if isinstance(error, ApiError) else None
    wanted = FIRST_PAUSE * 2 ** (attempt - 1) if asked is None else asked
    return min(wanted, MAX_PAUSE) * (1 + 0.5 * jitter)


def too_large(error: KubeError) -> bool:
    """Tell whether the server has not reached the resourceVersion that was asked for: it may never do so."""
    if not isinstance(error, (ServerError, BadRequest)):
        return False
    causes: Any = error.details.get("causes") or ()
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes) or (
        "Too large resource version" in error.message
    )
