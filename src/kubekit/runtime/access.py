"""Who may read the metrics: the API server says, by TokenReview and SubjectAccessReview, as the ecosystem's proxies ask it.

A scraper sends a bearer token. TokenReview says whose it is; SubjectAccessReview says whether that user may `get` the non-resource URL.

Guarantees: no token is logged, kept or quoted (law L8): decisions are kept under a keyed hash, with a key of this process's own; each is
kept for a short time and their number is bounded; at most `MAX_REVIEWS` tokens are asked about at a time, whatever is sent.
Assumptions: the client may create both reviews. Where it may not, or where the server is away, nobody is let in.
Caveats: a right that is taken away is noticed after `ALLOWED_SECONDS`, one that is given after `REFUSED_SECONDS`.
"""

import hashlib
import logging
import secrets
from collections import OrderedDict
from enum import IntEnum

from kubekit.client.client import Client
from kubekit.client.errors import ApiError, KubeError
from kubekit.runtime.clock import Clock, SystemClock
from kubekit.words.authorization import ACCESS_REVIEWS, User, ask_access
from kubekit.words.meta import Model, Resource

_log = logging.getLogger(__name__)

ALLOWED_SECONDS = 60.0
REFUSED_SECONDS = 10.0
MAX_DECISIONS = 256
MAX_REVIEWS = 8
MAX_TOKEN = 16 * 1024
_COMPLAINT_SECONDS = 60.0


class Verdict(IntEnum):
    """The answer to a request, as an HTTP status."""

    ALLOWED = 200
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    UNKNOWN = 503
    """The API server could not be asked, or too many are asked about already."""


class _TokenStatus(Model, frozen=True):
    authenticated: bool | None = None
    user: User | None = None


class _TokenReview(Model, frozen=True):
    status: _TokenStatus | None = None


_TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", _TokenReview, namespaced=False)


class Gatekeeper:
    """Decides on requests for one non-resource URL. See the module's docstring."""

    def __init__(self, client: Client, *, path: str = "/metrics", clock: Clock | None = None) -> None:
        self._client = client
        self._path = path
        self._clock = clock or SystemClock()
        self._key = secrets.token_bytes(32)
        self._decisions: OrderedDict[bytes, tuple[Verdict, float]] = OrderedDict()
        self._reviews = 0
        self._silent_until = 0.0

    async def judge(self, authorization: str | None) -> Verdict:
        """Return the verdict on a request with this `Authorization` header. Raises nothing."""
        token = read_bearer(authorization)
        if token is None:
            return Verdict.UNAUTHENTICATED
        digest = hashlib.blake2b(token.encode(), key=self._key).digest()
        known = self._decisions.get(digest)
        if known is not None and self._clock.monotonic() < known[1]:
            return known[0]
        if self._reviews >= MAX_REVIEWS:
            return Verdict.UNKNOWN
        self._reviews += 1
        try:
            verdict = await self._review(token)
        except KubeError as error:
            self._complain(error)
            return Verdict.UNKNOWN
        finally:
            self._reviews -= 1
        self._keep(digest, verdict)
        return verdict

    async def _review(self, token: str) -> Verdict:
        asked = {"apiVersion": _TOKEN_REVIEWS.api_version, "kind": _TOKEN_REVIEWS.kind, "spec": {"token": token}}
        found = (await self._client.create(_TOKEN_REVIEWS, asked)).status
        if found is None or not found.authenticated or found.user is None:
            return Verdict.UNAUTHENTICATED
        asked = ask_access(found.user, nonResourceAttributes={"path": self._path, "verb": "get"})
        access = (await self._client.create(ACCESS_REVIEWS, asked)).status
        return Verdict.ALLOWED if access is not None and access.allowed else Verdict.FORBIDDEN

    def _keep(self, digest: bytes, verdict: Verdict) -> None:
        seconds = ALLOWED_SECONDS if verdict is Verdict.ALLOWED else REFUSED_SECONDS
        self._decisions[digest] = (verdict, self._clock.monotonic() + seconds)
        self._decisions.move_to_end(digest)
        if len(self._decisions) > MAX_DECISIONS:
            self._decisions.popitem(last=False)

    def _complain(self, error: KubeError) -> None:
        """Log what went wrong, at most once a minute. Not in the server's words: they might quote what was sent."""
        now = self._clock.monotonic()
        if now < self._silent_until:
            return
        self._silent_until = now + _COMPLAINT_SECONDS
        what = f"status {error.status}" if isinstance(error, ApiError) else type(error).__name__
        advice = (
            ": allow the operator to create tokenreviews and subjectaccessreviews"
            if isinstance(error, ApiError) and error.status == 403
            else ""
        )
        _log.error("nobody may read the metrics, for the API server cannot be asked who may (%s)%s", what, advice)


def read_bearer(authorization: str | None) -> str | None:
    """Return the token of an `Authorization` header, or None when there is none that could be one."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN:
        return None
    return token if token.isascii() and token.isprintable() and " " not in token else None
