"""Watches: streams of changes from a revision on, with bookmarks, a deadline, and selectors that turn changes into comings and goings.

Guarantees: events come in the order of revisions, each once; a bookmark's revision is never ahead of an event that is still to come.
Caveats: with a delivery hook (fault simulation) events may come late, twice or out of order between objects, which a real server never does within one watch.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from kubekit.runtime.clock import Clock
from localkube.store.selectors import Selector
from localkube.store.statuses import StatusError
from localkube.store.storage import Change, Collection, Record, Storage, watch_line
from localkube.store.trees import decode, encode, mapping

BOOKMARK_SECONDS = 60.0
"""How often a watch that allows bookmarks gets one."""

_BACKLOG = 100_000
"""Events that a reader may be behind before its watch is closed, as a real server closes it."""

_BACKLOG_BYTES = 256 * 1024 * 1024
"""The same in bytes."""

Render = Callable[[bytes], bytes]
"""Turns a stored object into what the watch's media type asks for."""

Delivery = Callable[["Watch", str, Record], Sequence[float]]
"""Fault simulation: given a watch, the event's type and the object, when to deliver copies, in seconds from now. `(0.0,)` is normal, `()` loses the event."""


class Watch:
    """One watch: an iterator of chunks, each one or more whole lines. `aclose` must be called."""

    def __init__(
        self,
        storage: Storage,
        collection: Collection,
        *,
        resource: str,
        namespace: str,
        selector: Selector,
        clock: Clock,
        timeout: float,
        bookmark: Callable[[int, bool], bytes] | None,
        render: Render | None,
        deliver: Delivery | None,
        on_close: Callable[["Watch"], None],
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.selector = selector
        self._storage = storage
        self._collection = collection
        self._clock = clock
        self._timeout = timeout
        self._bookmark = bookmark
        self._render = render
        self._deliver = deliver
        self._on_close = on_close
        self._lines: deque[bytes] = deque()
        self._waiting = 0
        self._wake: asyncio.Event = asyncio.Event()
        self._timer: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._due: dict[str, float] = {}
        self._after = 0
        self._ended = False
        self._closed = False
        collection.listen(self, namespace=namespace, name=selector.name)

    # --- filling --------------------------------------------------------------------------------

    def begin_with(self, records: Sequence[Record], *, revision: int, announce_end: bool) -> None:
        """Start with the present state as ADDED events; `announce_end` adds the bookmark that ends them."""
        for record in records:
            self._send("ADDED", record, None)
        if announce_end and self._bookmark is not None:
            self._push(self._bookmark(revision, True))

    def replay(self, revision: int) -> None:
        """Start with the remembered events after `revision`; one in the future is waited for in silence."""
        self._after = revision
        for event in self._collection.events_after(revision):
            if self._concerns(event):
                self.offer(event)

    def _concerns(self, event: Change) -> bool:
        name = self.selector.name
        return (not self.namespace or event.after.namespace == self.namespace) and (
            name is None or event.after.name == name
        )

    def offer(self, event: Change) -> None:
        """Take an event of the collection: pass it on, turned as the selector sees it."""
        if event.revision <= self._after:
            return
        selector = self.selector
        after, before = event.after, event.before
        was = before is not None and (not selector or selector.matches(before))
        now = not event.deleted and (not selector or selector.matches(after))
        if now:
            self._send("MODIFIED" if was else "ADDED", after, event)
        elif was:
            self._send(
                "DELETED",
                after if event.deleted or before is None else _restamped(before, event.revision),
                event if event.deleted else None,
            )

    def _send(self, word: str, record: Record, event: Change | None) -> None:
        if self._render is not None:
            line = watch_line(word, self._render(record.data))
        elif event is not None:
            line = event.line(word)
        else:
            line = watch_line(word, record.data)
        if self._deliver is None:
            self._push(line)
            return
        now = self._clock.monotonic()
        for delay in self._deliver(self, word, record):
            due = max(now + delay, self._due.get(record.key, 0.0))
            self._due[record.key] = due
            if due <= now:
                self._push(line)
            else:
                task = asyncio.get_running_loop().create_task(self._push_later(line, due - now))
                self._late.add(task)
                task.add_done_callback(self._late.discard)

    async def _push_later(self, line: bytes, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._push(line)

    def _push(self, line: bytes) -> None:
        if self._ended:
            return
        self._lines.append(line)
        self._waiting += len(line)
        self._wake.set()
        if len(self._lines) > _BACKLOG or self._waiting > _BACKLOG_BYTES:
            self.end()

    # --- reading --------------------------------------------------------------------------------

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> bytes:
        if self._timer is None and not self._ended:
            self._timer = asyncio.get_running_loop().create_task(self._tick())
        while True:
            if self._lines:
                chunk = b"".join(self._lines) if len(self._lines) > 1 else self._lines[0]
                self._lines.clear()
                self._waiting = 0
                return chunk
            if self._ended:
                await self.aclose()
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()

    async def _tick(self) -> None:
        remaining = self._timeout
        while remaining > 0:
            pause = min(BOOKMARK_SECONDS, remaining)
            await self._clock.sleep(pause)
            remaining -= pause
            if self._bookmark is not None and not self._late:
                self._push(self._bookmark(self._storage.revision, False))
        self.end()

    # --- ending ---------------------------------------------------------------------------------

    def fail(self, error: StatusError) -> None:
        """End the stream with an ERROR event."""
        self._push(watch_line("ERROR", error.body()))
        self.end()

    def end(self) -> None:
        """End the stream after what is already in it. Safe to call twice."""
        self._ended = True
        self._collection.leave(self, namespace=self.namespace, name=self.selector.name)
        self._on_close(self)
        self._wake.set()

    def cut(self) -> None:
        """End the stream at once and lose what is in it, as a broken connection does."""
        self._lines.clear()
        self.end()

    async def aclose(self) -> None:
        """Release everything. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self.end()
        tasks = [*self._late, *([self._timer] if self._timer else [])]
        current = asyncio.current_task()
        for task in tasks:
            if task is not current:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not current), return_exceptions=True)


def _restamped(record: Record, revision: int) -> Record:
    """Return the record as it leaves a selection: its former state under the revision of the change."""
    tree = mapping(decode(record.data))
    mapping(tree["metadata"])["resourceVersion"] = str(revision)
    return Record(
        namespace=record.namespace,
        name=record.name,
        uid=record.uid,
        revision=revision,
        data=encode(tree),
        labels=record.labels,
        fields=record.fields,
    )
