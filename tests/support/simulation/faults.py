"""What may go wrong between one operator and the API server, as data; and scripts that say when."""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from kubekit.client.transport import Response
from support.simulation.calls import Call


class Fault(StrEnum):
    """What becomes of one request."""

    CONFLICT = "409"
    GONE = "410"
    THROTTLED = "429"
    BROKEN = "500"
    UNAVAILABLE = "503"
    RESET = "reset before the effect"
    LOST = "answer lost after the effect"
    SILENT = "no answer, no effect"
    LATE = "no answer, effect later"
    STALE = "listed from an old cache"
    KILL_BEFORE = "killed before it is sent"
    KILL_AFTER = "killed when it has taken effect"


ANSWERS: Mapping[Fault, tuple[int, str, str]] = {
    Fault.CONFLICT: (409, "Conflict", "the object has been modified; please apply your changes to the latest version"),
    Fault.GONE: (410, "Expired", "too old resource version"),
    Fault.THROTTLED: (429, "TooManyRequests", "the server has received too many requests"),
    Fault.BROKEN: (500, "InternalError", "Internal error occurred: etcdserver: leader changed"),
    Fault.UNAVAILABLE: (503, "ServiceUnavailable", "the server is currently unable to handle the request"),
}
NETWORK = (*ANSWERS, Fault.RESET, Fault.LOST, Fault.SILENT)
"""Every fault that a live operator meets at one request."""
KILLS = (Fault.KILL_BEFORE, Fault.KILL_AFTER)


def answer(fault: Fault) -> Response:
    """Return the error that a fault is answered with."""
    code, reason, message = ANSWERS[fault]
    headers = {"content-type": "application/json"}
    if fault in (Fault.THROTTLED, Fault.UNAVAILABLE):
        headers["retry-after"] = "1"
    return Response(code, headers, status(code, reason, message))


def status(code: int, reason: str, message: str) -> bytes:
    """Return the JSON of a Status."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return json.dumps({**body, "message": message}).encode()


@dataclass(frozen=True)
class Disturbance:
    """What becomes of one watch. Times in seconds, shares from 0 to 1.

    `lag` is how late an event comes; `overtaken` is the share of events that others overtake by up to `hold` (events of one object keep
    their order, and no bookmark overtakes an event); `repeated` the share that comes twice. After `length` events it ends as `end` says:
    "cut", "expired" (an ERROR event with 410) or "silent" (nothing more comes, and the stream stays open).
    """

    lag: tuple[float, float] = (0.0, 0.0)
    overtaken: float = 0.0
    hold: float = 0.0
    repeated: float = 0.0
    bookmarks: bool = True
    length: int | None = None
    end: str = "cut"

    def __str__(self) -> str:
        words = [f"late by up to {self.lag[1]} s"] if self.lag[1] else []
        words += [f"{self.overtaken:.0%} overtaken within {self.hold} s"] if self.overtaken else []
        words += [f"{self.repeated:.0%} twice"] if self.repeated else []
        words += [] if self.bookmarks else ["no bookmarks"]
        words += [f"{self.end} after {self.length} events"] if self.length is not None else []
        return ", ".join(words) or "as ever"

    @property
    def harmless(self) -> bool:
        return self == _HARMLESS


_HARMLESS = Disturbance()


class Script(Protocol):
    """What goes wrong when. Calls are numbered from 1, over all operators of a history."""

    def on_call(self, number: int, call: Call) -> Fault | None: ...

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None: ...

    def latency(self) -> float:
        """Seconds that a message takes."""
        ...


class Calm:
    """Nothing goes wrong; a message takes two milliseconds."""

    def on_call(self, number: int, call: Call) -> Fault | None:
        return None

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None:
        return None

    def latency(self) -> float:
        return 0.002


class Once(Calm):
    """One fault, at one call. A watch that the fault cannot befall is disturbed in the nearest way."""

    def __init__(self, number: int, fault: Fault) -> None:
        self._number = number
        self._fault = fault
        self.struck: Call | None = None

    def on_call(self, number: int, call: Call) -> Fault | None:
        if number != self._number or (self._fault is Fault.STALE and call.verb != "list"):
            return None
        self.struck = call
        return self._fault

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None:
        fault = self.on_call(number, call)
        if fault in (Fault.LOST, Fault.LATE, Fault.KILL_AFTER):
            return Disturbance(length=1, end="cut")
        return fault


class Lagging(Calm):
    """Every request is answered well; but lists may be old, and each watch brings everything late in its own way."""

    def __init__(self, dice: random.Random, time: Callable[[], float], *, calm_from: float) -> None:
        self._dice = dice
        self._time = time
        self._calm_from = max(calm_from, 30.0)

    def on_call(self, number: int, call: Call) -> Fault | None:
        lags = self._time() < self._calm_from and call.verb == "list" and self._dice.random() < 0.5
        return Fault.STALE if lags else None

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None:
        most = self._dice.choice((0.0, 1.0, 8.0, 20.0))
        return Disturbance(lag=(0.0, most)) if self._time() < self._calm_from else None


class Storm:
    """Everything goes wrong, as often as `dice` says, until `calm_from` (virtual seconds)."""

    def __init__(self, dice: random.Random, time: Callable[[], float], *, calm_from: float) -> None:
        self._dice = dice
        self._time = time
        self._calm_from = calm_from
        self._calls = dice.choice((0.0, 0.05, 0.15, 0.4))
        self._watches = dice.choice((0.0, 0.3, 0.8))
        self._lag = dice.choice((0.0, 0.05, 1.0, 8.0))
        self._slow = dice.choice((0.002, 0.02, 0.3))
        self._kinds = dice.sample((*NETWORK, Fault.STALE, Fault.LATE), k=dice.randint(1, 4))

    def on_call(self, number: int, call: Call) -> Fault | None:
        if self._time() >= self._calm_from or self._dice.random() >= self._calls:
            return None
        fault = self._dice.choice(self._kinds)
        return None if fault is Fault.STALE and call.verb != "list" else fault

    def on_watch(self, number: int, call: Call) -> Fault | Disturbance | None:
        dice = self._dice
        if self._time() >= self._calm_from:
            return None
        usual = Disturbance(lag=(0.0, self._lag))
        if dice.random() >= self._watches:
            return usual
        if dice.random() < 0.2:
            return dice.choice(NETWORK[:-2])
        return replace(
            usual,
            overtaken=dice.choice((0.0, 0.3)),
            hold=dice.choice((0.5, 5.0)),
            repeated=dice.choice((0.0, 0.3)),
            bookmarks=dice.random() < 0.7,
            length=dice.choice((None, 1, 2, 5, 20)),
            end=dice.choice(("cut", "cut", "expired", "silent")),
        )

    def latency(self) -> float:
        return self._dice.uniform(0.0, self._slow)
