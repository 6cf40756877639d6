"""A server that slow, silent, many and endless clients do not bring down. Real sockets; limits are set low in the place of long waits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from kubekit.runtime.listening import Limits, Listener

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Guest:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    async def status(self) -> int:
        """Read one answer, its body included."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await self.reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1])

    async def ended(self) -> bool:
        """Wait for the end of the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass
        return True


class Place:
    """A running server of one handler, and connections to it."""

    def __init__(self) -> None:
        self.busy = asyncio.Event()
        self.go_on = asyncio.Event()
        self.address = ("", 0)
        self.guests: list[Guest] = []

    async def handle(self, request: web.Request) -> web.Response:
        if request.path == "/slow":
            self.busy.set()
            await self.go_on.wait()
        return web.Response(text="here")

    async def connect(self) -> Guest:
        guest = Guest(*await asyncio.open_connection(*self.address))
        self.guests.append(guest)
        return guest


@contextlib.asynccontextmanager
async def serving(limits: Limits) -> AsyncIterator[Place]:
    place = Place()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", place.handle)
    listener = Listener(application, limits=limits)
    place.address = await listener.open(("127.0.0.1", 0), tls=None)
    try:
        yield place
    finally:
        place.go_on.set()
        for guest in place.guests:
            guest.writer.close()
            with contextlib.suppress(ConnectionError):
                await guest.writer.wait_closed()
        await listener.close()
        await listener.close()  # a second time does no harm


@pytest.mark.parametrize("words", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "line", "head"])
async def test_a_request_that_never_comes_whole_ends_its_connection(words: bytes) -> None:
    async with serving(Limits(idle=0.2)) as place:
        guest = await place.connect()
        await guest.send(words)
        assert await guest.ended()


async def test_dripping_does_not_make_the_time_longer() -> None:
    async with serving(Limits(idle=0.3)) as place:
        guest = await place.connect()
        await guest.send(b"GET / HTTP/1.1\r\n")

        async def drip() -> None:
            for number in range(1000):
                await guest.send(b"X-%d: y\r\n" % number)
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await guest.ended()
        dripping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await dripping


async def test_a_connection_that_is_not_used_any_more_is_closed() -> None:
    async with serving(Limits(idle=0.2)) as place:
        guest = await place.connect()
        await guest.send(REQUEST)
        assert await guest.status() == 200
        assert await guest.ended()


async def test_of_too_many_the_one_that_was_silent_longest_goes_and_the_new_one_is_served() -> None:
    async with serving(Limits(connections=3, idle=60)) as place:
        held = [await place.connect() for _ in range(3)]
        for guest in held[1:]:
            await guest.send(REQUEST)  # these have spoken since
            assert await guest.status() == 200
        late = await place.connect()
        await late.send(REQUEST)
        assert await late.status() == 200
        assert await held[0].ended()
        await held[1].send(REQUEST)
        assert await held[1].status() == 200


async def test_a_request_that_is_being_answered_keeps_its_connection_however_many_come() -> None:
    async with serving(Limits(connections=2, idle=0.2)) as place:
        busy = await place.connect()
        await busy.send(REQUEST.replace(b"/ ", b"/slow ", 1))
        await place.busy.wait()
        for _ in range(6):
            await place.connect()
        last = await place.connect()
        await last.send(REQUEST)
        assert await last.status() == 200
        place.go_on.set()
        assert await busy.status() == 200


async def test_a_body_that_nobody_asked_for_is_not_read() -> None:
    async with serving(Limits(idle=60)) as place:
        guest = await place.connect()
        await guest.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 1000)
        assert await guest.status() == 200
        assert await guest.ended()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n",
    ],
    ids=["line", "field", "fields"],
)
async def test_a_head_that_is_too_large_is_refused(head: bytes) -> None:
    async with serving(Limits(idle=60)) as place:
        guest = await place.connect()
        await guest.send(head)
        assert await guest.status() == 400
        assert await guest.ended()


async def test_a_place_that_is_taken_is_said() -> None:
    async with serving(Limits()) as place:
        listener = Listener(web.Application(), limits=Limits())
        with pytest.raises(OSError, match="in use"):
            await listener.open(place.address, tls=None)
