"""A TCP proxy on loopback with latency, a speed limit and outages; in a thread with an event loop of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Proxy:
    """Forwards to `target`. `delay` seconds are added each way; `rate` bytes a second is the limit of each connection towards the server.

    `watch` is shown what goes to the server, in the proxy's thread.

    While `cut`, connections are refused and the open ones have been reset.
    """

    def __init__(
        self,
        target: int,
        *,
        delay: float = 0.0,
        rate: float | None = None,
        watch: Callable[[bytes], None] | None = None,
    ) -> None:
        self.port = 0
        self._watch = watch
        self._target = target
        self._delay = delay
        self._rate = rate
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Begin an outage."""
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()

    def restore(self) -> None:
        """End an outage; the port is the same."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        ours = asyncio.current_task()
        while True:
            # what was accepted just before the end becomes a task of ours, and is not left behind half open
            for _ in range(3):
                await asyncio.sleep(0)
            for writer in self._open:
                writer.transport.abort()
            self._open.clear()
            tasks = asyncio.all_tasks() - {ours}
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # known from here on: a task that is cancelled before its first step closes nothing
        self._open.add(writer)
        serving = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None
        try:
            their_reader, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            self._open.add(upstream)
            await asyncio.gather(
                self._forward(reader, upstream, rate=self._rate, to_server=True),
                self._forward(their_reader, writer, rate=None, to_server=False),
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._open.discard(end)
                    end.close()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, rate: float | None, to_server: bool
    ) -> None:
        """Forward bytes, each `delay` after it came, without holding up those behind it."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)

        async def pour() -> None:
            while True:
                due, data = await queue.get()
                wait = due - loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    if writer.can_write_eof():
                        writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        pouring = asyncio.create_task(pour())
        try:
            while True:
                data = await reader.read(1 << 16)
                if self._watch is not None and to_server:
                    self._watch(data)
                await queue.put((loop.time() + self._delay, data))
                if not data:
                    break
                if rate:
                    await asyncio.sleep(len(data) / rate)
            await pouring
        finally:
            pouring.cancel()
            await asyncio.gather(pouring, return_exceptions=True)
