"""A watch that is disturbed on its way: late, out of order, twice, cut."""

import asyncio
import heapq
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import count

from kubekit.client.codec import LineSplitter
from kubekit.client.errors import TransportError
from support.simulation.faults import ANSWERS, Disturbance, Fault, status

_BOOKMARK = b'{"type":"BOOKMARK"'
_ERROR = b'{"type":"ERROR"'


class _Held:
    """Lines on their way, by the moment at which they are due."""

    def __init__(self, disturbance: Disturbance, dice: random.Random) -> None:
        self._disturbance = disturbance
        self._dice = dice
        self._lines: list[tuple[float, int, bytes]] = []
        self._order = count()
        self._by_object: dict[str, float] = {}
        self._last = 0.0
        self._latest = 0.0

    def take(self, line: bytes, now: float) -> None:
        disturbance, dice = self._disturbance, self._dice
        if line.startswith((_BOOKMARK, _ERROR)):
            if disturbance.bookmarks or line.startswith(_ERROR):
                self._push(line, max(now, self._latest))
            return
        due = max(now + dice.uniform(*disturbance.lag), self._last)
        if dice.random() < disturbance.overtaken:
            due += dice.uniform(0.0, disturbance.hold)
        else:
            self._last = due
        meta = json.loads(line)["object"]["metadata"]
        key = f"{meta.get('namespace')}/{meta['name']}"
        due = self._by_object[key] = max(due, self._by_object.get(key, 0.0))
        self._push(line, due)
        if dice.random() < disturbance.repeated:
            self._push(line, due + dice.choice((0.0, disturbance.hold)))

    def _push(self, line: bytes, due: float) -> None:
        self._latest = max(self._latest, due)
        heapq.heappush(self._lines, (due, next(self._order), line))

    def due(self) -> float | None:
        return self._lines[0][0] if self._lines else None

    def pop(self, now: float) -> bytes | None:
        return heapq.heappop(self._lines)[2] if self._lines and self._lines[0][0] <= now else None

    def rest(self) -> list[bytes]:
        rest = [line for _, _, line in sorted(self._lines)]
        self._lines.clear()
        return rest


async def disturb(
    chunks: AsyncIterator[bytes], disturbance: Disturbance, dice: random.Random, *, idle_timeout: float | None
) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a watch as the disturbance has it. Raises TransportError after `idle_timeout` seconds of silence.

    Where events overtake each other, what was overtaken still arrives before the stream ends: a server that sent a later version has
    sent all earlier ones.
    """
    time = asyncio.get_running_loop().time
    held = _Held(disturbance, dice)
    splitter = LineSplitter()
    heard, passed = time(), 0
    reading: asyncio.Future[bytes] | None = None
    try:
        while True:
            if reading is None:
                reading = asyncio.ensure_future(anext(chunks))
            while (line := held.pop(time())) is not None:
                heard = time()
                passed += not line.startswith(_BOOKMARK)
                yield line + b"\n"
                if disturbance.length is not None and passed >= disturbance.length:
                    async for last in _end(disturbance, held):
                        yield last
                    return
            moments = [moment for moment in (held.due(), idle_timeout and heard + idle_timeout) if moment is not None]
            await asyncio.wait([reading], timeout=max(0.0, min(moments) - time()) if moments else None)
            if reading.done():
                done, reading = reading, None
                try:
                    for line in splitter.feed(done.result()):
                        held.take(line, time())
                except StopAsyncIteration:
                    for rest in held.rest():
                        yield rest + b"\n"
                    return
            elif idle_timeout and time() >= heard + idle_timeout:
                raise TransportError(f"the stream was silent for {idle_timeout} s")
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _end(disturbance: Disturbance, held: _Held) -> AsyncGenerator[bytes, None]:
    if disturbance.overtaken:
        for line in held.rest():
            yield line + b"\n"
    if disturbance.end == "expired":
        yield b'{"type":"ERROR","object":%s}\n' % status(*ANSWERS[Fault.GONE])
    elif disturbance.end == "silent":
        await asyncio.sleep(150.0)
        raise TransportError("the stream was silent")
