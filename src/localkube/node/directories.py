"""Volumes and snapshots as directories below one root.

Layout: `<root>/<name>/` is a volume or snapshot that is complete. Names that begin with a dot are the node's own: `.making-<name>` is being
filled, `.removing-<name>` is going, `.report-<name>` says how a copy came about.

Guarantees: a directory appears complete, by one rename, or not at all; the name decides the place, so a repeated or resumed request finds
what is there and never makes a second one; nothing outside the root is ever removed (laws L1, L2): places are made from checked
names, never taken from an API object; what a crash left half-made or half-removed is cleared by `open`; before anything is made or removed,
what the API server holds is durable (`settle`), for it is what says whose the directory is and that it may go (law L6).
Assumptions: one node serves the root (`localkube.node.process` sees to that).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from localkube.node.trees import CopyReport, copy_tree
from localkube.node.walking import remove_tree

COPIES = 4
_THREADS = 4
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


Settle = Callable[[], Awaitable[None]]
"""Returns when all that the API server has told so far survives a crash of it."""


async def settled() -> None:
    """For an API server that answers only when a write is durable, as those on etcd do: there is nothing to wait for."""


class InUse(Exception):  # noqa: N818 - says what is the matter
    """The directory is being copied from; try again later."""


class Directories:
    """See the module's docstring. What touches the disk runs in a thread, and at most `COPIES` trees are copied at a time.

    `mark` marks what copies them, so that it is found again when this process is killed (`localkube.node.leftovers`).
    """

    def __init__(self, root: Path, *, reflink: bool = True, settle: Settle = settled, mark: str = "") -> None:
        self.root = root
        self._settle = settle
        self._reflink = reflink
        self._mark = mark
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="volumes")
        self._copies = asyncio.Semaphore(COPIES)
        self._readers: dict[Path, int] = {}
        self._making: dict[str, asyncio.Lock] = {}
        self._stopping = asyncio.Event()

    async def open(self) -> None:
        """Make the root and clear what a crash left half-made."""
        await self._in_thread(self._sweep)

    def call_off(self) -> None:
        """Have running copies end early (with `Stopped`) and refuse new ones."""
        self._stopping.set()

    async def close(self) -> None:
        """Call off running copies and wait for them. Safe to call twice."""
        self.call_off()
        await asyncio.to_thread(self._threads.shutdown)

    def place(self, name: str) -> Path:
        """Return where a volume or snapshot is, or would be. Raises ValueError for a name that is none."""
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError(f"{name!r} is not the name of a volume")
        return self.root / name

    async def names(self) -> list[str]:
        """Return the names of all volumes and snapshots that are complete."""
        return await self._in_thread(lambda: sorted(e.name for e in self.root.iterdir() if not e.name.startswith(".")))

    async def create(self, name: str) -> Path:
        """Make an empty directory unless it is there, and return its place."""
        place = self.place(name)
        async with self._lock(name):
            await self._settle()
            await self._in_thread(place.mkdir, 0o777, exist_ok=True)
        return place

    async def copy(self, name: str, source: Path) -> tuple[Path, CopyReport]:
        """Make a copy of the directory `source` unless it is there; return its place and how it came about.

        Raises the errors of `localkube.node.trees`, and OSError.
        """
        place = self.place(name)
        async with self._lock(name):
            await self._settle()
            self._readers[source] = self._readers.get(source, 0) + 1
            try:
                return place, await self._copy(place, source)
            finally:
                self._readers[source] -= 1
                if not self._readers[source]:
                    del self._readers[source]

    async def remove(self, name: str) -> None:
        """Remove a volume or snapshot; a missing one is fine. Raises InUse, OSError."""
        place = self.place(name)
        async with self._lock(name):
            await self._settle()
            if place in self._readers:
                raise InUse(f"{name} is being copied")
            await self._in_thread(self._remove, place)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._making.setdefault(name, asyncio.Lock())

    async def _in_thread(self, work: Any, *arguments: Any, **named: Any) -> Any:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, lambda: work(*arguments, **named))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._stopping.set()  # whoever cancels is shutting the node down; a thread cannot be left behind
            with suppress(Exception):
                await future
            raise

    def _sweep(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for entry in self.root.iterdir():
            if entry.name.startswith((".making-", ".removing-")):
                remove_tree(entry)
            elif entry.name.startswith(".report-") and not (self.root / entry.name.removeprefix(".report-")).exists():
                entry.unlink(missing_ok=True)

    async def _copy(self, place: Path, source: Path) -> CopyReport:
        note = self.root / f".report-{place.name}"
        if await self._in_thread(place.is_dir):
            return await self._in_thread(_read_report, note)
        making = self.root / f".making-{place.name}"
        try:
            async with self._copies:
                await self._in_thread(remove_tree, making)  # what an attempt left that was killed
                report = await copy_tree(source, making, reflink=self._reflink, stop=self._stopping, mark=self._mark)
                await self._in_thread(_publish, making, place, note, report)
        except BaseException:
            await self._in_thread(remove_tree, making)
            raise
        return report

    def _remove(self, place: Path) -> None:
        removing = self.root / f".removing-{place.name}"
        remove_tree(removing)
        with suppress(FileNotFoundError):
            place.rename(removing)
        remove_tree(removing)
        (self.root / f".report-{place.name}").unlink(missing_ok=True)


def _publish(making: Path, place: Path, note: Path, report: CopyReport) -> None:
    note.write_bytes(msgspec.json.encode(report))
    making.rename(place)


def _read_report(note: Path) -> CopyReport:
    try:
        return msgspec.json.decode(note.read_bytes(), type=CopyReport)
    except (OSError, msgspec.MsgspecError):
        return CopyReport()
