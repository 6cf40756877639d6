"""What happened, in order and with virtual times: what a person reads when a law was broken."""

from typing import Protocol


class Time(Protocol):
    """Where the time comes from."""

    def monotonic(self) -> float: ...


class LawBroken(AssertionError):
    """Laws of the design do not hold. The message names them and tells the whole history."""


class History:
    """Lines of who did what when. Only the last `most` are kept."""

    def __init__(self, clock: Time, *, most: int = 2000) -> None:
        self._clock = clock
        self._most = most
        self._lines: list[str] = []
        self._dropped = 0
        self.broken: list[str] = []

    def now(self) -> float:
        return self._clock.monotonic()

    def breaks(self, law: str, what: str) -> None:
        """A law is broken. Noted rather than raised, for the program under test catches what is raised below it."""
        self.broken.append(f"{law}: {what}")
        self.note("LAW", f"{law} IS BROKEN: {what}")

    def note(self, who: str, what: str) -> None:
        self._lines.append(f"{self._clock.monotonic():10.3f}  {who:<10} {what}")
        if len(self._lines) > 2 * self._most:
            self._dropped += len(self._lines) - self._most
            del self._lines[: -self._most]

    def __len__(self) -> int:
        return self._dropped + len(self._lines)

    def text(self) -> str:
        head = [f"... {self._dropped} lines before"] if self._dropped else []
        return "\n".join([*head, *self._lines])
