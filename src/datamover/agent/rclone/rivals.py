"""Two runs that mirror to one place: seeing the other one, giving way to it, and waiting until it has (laws L3, L4).

Each run puts its records there and then looks for those of others, before its first byte. Whoever finds one that began at the same time or
later gives way. So of two runs the one that looks last is refused before it moves anything; what is left is a run that moves files already
when a newer one begins:

    older   ... moves ── looks every LOOK_SECONDS ── sees the newer one ── ends its engine ── says that it has stopped
    newer   puts its records ── waits for that, or for as long as it can take ── looks once more ── moves

Caveats: an older run that is frozen for longer than that, engine and all, and then goes on, is not waited for. A run of an earlier
version does not look; it stops when it has moved all its files.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.rclone import guards, records
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.settings import Settings
from datamover.api import outside, transfer

if TYPE_CHECKING:
    from datamover.agent.rclone.listing import Listing

LOOK_SECONDS = 5.0
"""How often a run that moves files looks whether a newer one has begun."""
_MARGIN = 5.0
"""Seconds that a look, and the last words of whoever gives way, may take besides."""
_POLL = 1.0


class Rivals:
    """The other runs, as one attempt to mirror sees them. `place` is the attempt's own in the mirror's history, `moving` whether it has
    begun to move or delete; `done` says what it has done so far.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        settings: Settings,
        done: Callable[[], str],
        wait: Callable[[str], None],
        pause: Callable[[float], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.place = 1
        self.moving = False
        self._destination = destination
        self._settings = settings
        self._done = done
        self._wait = wait
        self._pause = pause
        self._monotonic = monotonic
        self._looked = monotonic()
        self._listing: Listing | None = None

    def look(self, *, demand: bool = False) -> records.State:
        """List the records again and refuse to go on beside another run: what was listed before may be hours old. Raises Failure.

        `demand`: refuse as well where they lack what this run has put there.
        """
        folder = f"{records.FOLDER}/"
        found = self._destination.sizes_below(folder, deep=True)
        if demand:
            self._destination.demand(folder, found)
        state = records.read_state((folder + name).encode() for name in found)
        self.refuse(state)
        return state

    def refuse(self, state: records.State) -> None:
        """Raise Failure when these records show a run that this one gives way to."""
        found = state.rivals(self.place, besides=self._settings.run_id)
        if self.moving and found and all(map(self._has_given_way, found)):
            return
        failure = guards.check_busy(found, self._destination.place)
        if failure:
            failure.message = failure.message.replace("Nothing was deleted", self._done())
            raise failure

    def _has_given_way(self, run_id: str) -> bool:
        """Tell whether a run that was not there before this one's first byte moves an older copy of this volume: then it has seen this
        run's records before its own first byte, and was refused.
        """
        try:
            header = manifest.read_header(self._destination.fetch(f"{records.FOLDER}/runs/{run_id}/{records.MANIFEST}"))
        except ValueError:
            return False
        settings = self._settings
        return header.source == settings.owner and "" < header.copied_at < settings.copied_at

    def outlast(self, state: records.State) -> None:
        """Wait until the runs that began before this one, and may still be moving files, have stopped or have had the time to. Raises Failure."""
        last = self._monotonic() + LOOK_SECONDS + self._settings.grace + _MARGIN
        while older := state.unended(self.place, besides=self._settings.run_id):
            if self._monotonic() >= last:
                break
            shown = ", ".join(outside.clean(run_id, limit=outside.NAME_LIMIT) for run_id in older[:3])
            self._wait(f"waiting for an earlier run that has not ended to give way: {shown}")
            self._pause(_POLL)
            state = self.look()
        self._wait("")
        self._looked = self._monotonic()

    def glance(self) -> Failure | None:
        """Return why this run must stop moving files, if it must. Never waits; asked about once a second."""
        now = self._monotonic()
        if self._listing is None:
            if now - self._looked >= LOOK_SECONDS:
                self._looked = now
                self._listing = self._destination.start_listing(f"{records.FOLDER}/runs/", patient=False)
            return None
        if not self._listing.child.ended:
            return None
        listing, self._listing = self._listing, None
        try:
            self._destination.finish(listing)
            runs = f"{records.FOLDER}/runs/".encode()
            self.refuse(records.read_state(runs + key for key, _ in listing.lines()))
        except Failure as failure:
            # what is wrong with the server is for others to notice
            return failure if failure.reason == transfer.REASON_DESTINATION_BUSY else None
        return None

    def close(self) -> None:
        """End a look that is still under way."""
        if self._listing is not None:
            self._listing.child.close()
            self._listing = None
