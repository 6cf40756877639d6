"""Keeping on disk what the embedded API server holds: regularly, and before every effect that relies on it (law L6).

Guarantees: the file is complete at every moment, and a save that has returned survives a crash of the machine. A save that fails stops
nothing: it is logged and tried again until it works. Whoever waits in `settle` begins nothing new until then.
Assumptions: one event loop, and one `Saver` for each file.
"""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from kubekit.words.core import SECRETS
from localkube.store.apiserver import ApiServer

_log = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between two looks at whether there is anything to save."""
PAUSE: Final = 1.0
"""Seconds after a save that failed."""


class Saver:
    """Saves a server's objects to `path`, all but Secrets: they come with the manifests of each run (law L8)."""

    def __init__(self, server: ApiServer, path: Path, *, pause: float | None = None) -> None:
        self._server = server
        self._path = path
        self._pause = PAUSE if pause is None else pause
        self._saved = -1
        self._saving = asyncio.Lock()
        self._trouble = ""

    async def run(self) -> None:
        """Save what changes, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.settle()

    async def settle(self) -> None:
        """Return when all that the server holds now is on disk. Those who wait at the same time share one save."""
        revision = self._server.storage.revision
        while self._saved < revision:
            try:
                await self.save(revision)
            except OSError as error:
                self._tell(error)
                await asyncio.sleep(self._pause)

    async def save(self, revision: int | None = None) -> None:
        """Save once, unless `revision` and all before it is on disk. Raises OSError."""
        async with self._saving:
            if revision is not None and self._saved >= revision:
                return
            taken = self._server.storage.revision
            captured = self._server.capture(without={SECRETS.group_resource})
            writing = asyncio.ensure_future(asyncio.to_thread(lambda: write_whole(self._path, captured.encode())))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:  # a thread cannot be left behind: the next save has the same draft
                with suppress(OSError):
                    await writing
                raise
            self._saved = taken
            if self._trouble:
                _log.error("the state is saved again")
                self._trouble = ""

    def _tell(self, error: OSError) -> None:
        trouble = error.strerror or str(error)
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error(
                "%s cannot be saved: %s: mend that; until then nothing new is begun, and it is tried again",
                self._path,
                trouble,
            )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, readable by its owner only, and sync it and its folder to disk. Raises OSError."""
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
