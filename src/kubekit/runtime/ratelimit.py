"""A token bucket: so many at once, then so many a second. Pure arithmetic on times that the caller gives."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenBucket:
    """`burst` tokens at first, `rate` new ones a second, never more than `burst`. Times are monotonic seconds."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        """Take a token if there is one; tell whether there was."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def reserve(self, now: float) -> float:
        """Take a token in advance; return the seconds until it is really there (0 when it is)."""
        self._refill(now)
        self._tokens -= 1
        return max(0.0, -self._tokens / self.rate)

    def _refill(self, now: float) -> None:
        if self._at is not None and now > self._at:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        if self._at is None or now > self._at:
            self._at = now
