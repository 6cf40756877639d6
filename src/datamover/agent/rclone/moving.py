# ruff: noqa: PTH202, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The passes in which one attempt moves its files, and what is known of them afterwards.

    all, by checksum ──> those without one at the store, by time of change ──> of a live source: what has changed (see `live`)
                    └──> what the store may have copied itself, without one: sent whatever it looks like

Guarantees: each file counts as moved once, however often it was sent; of a live source no pass replaces or removes an object that was
there (law L3); what of it was gone when the engine was to read it is no failure when it is gone now, and else is (law L4).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from datamover.agent.errors import Failure
from datamover.agent.rclone import asking
from datamover.agent.rclone.changes import has_changed, is_there
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.live import ONE_THREAD, SPARING, Replacement, changed_meanwhile, is_on
from datamover.agent.rclone.options import without_filters
from datamover.agent.rclone.records import arriving_folder
from datamover.agent.rclone.settings import Settings
from datamover.agent.rclone.sync import Sync
from datamover.api import transfer

_BATCH = 1 << 12


class Moving:
    """See the module. `scratch` is a directory of the attempt's own."""

    def __init__(
        self, sync: Sync, *, destination: Destination, ledger: Ledger, settings: Settings, source: bytes, scratch: str
    ) -> None:
        self._sync = sync
        self._destination = destination
        self._ledger = ledger
        self._settings = settings
        self._source = source
        self._scratch = scratch
        self._gone = f"{scratch}/gone"
        self._noted: list[tuple[bytes, int]] = []
        self._replacement: Replacement | None = None

    def run(
        self,
        folder: str,
        *,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        rehash: bool,
        doubted: range = range(0),
    ) -> None:
        """Move everything to `folder` below the root. `rehash`: objects without a checksum may be there, of the sizes of their files. `doubted`: what is
        there of these sizes is believed by the MD5 of its bytes alone, and sent where the store has none.

        Raises Failure when anything did not arrive.
        """
        if self._settings.direct:
            if not is_on(environment, "RCLONE_IMMUTABLE"):  # then the user wants nothing replaced at all
                self._replacement = self._open_replacement()
            environment = dict(environment) | ONE_THREAD
            os.close(os.open(self._gone, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        target = self._destination.remote(folder)
        doubts = bool(doubted) and self._ledger.has_there(doubted)
        listed, unproved = f"{self._scratch}/by-size", f"{self._scratch}/unproved"
        trouble: Failure | None = None
        with open(listed, "wb") as file, open(unproved, "wb") as without:

            def by_size(name: str) -> None:
                key = self._ledger.spelled(name) if "\ufffd" in name else name.encode()
                if key is not None:
                    file.write(key + b"\n")
                    without.write(key + b"\n")

            def asked(request: str) -> None:
                key = asking.key_of(request, target=target)
                if key is not None:
                    without.write(key + b"\n")

            trouble = self._pass(
                target,
                environment=environment,
                arguments=arguments,
                total=self._ledger.sources()[0],
                by_size=by_size if rehash or doubts else None,
                asked=asked if doubts else None,
            )
        if doubts:
            trouble = self._send_unproved(target, unproved, doubted, environment=environment) or trouble
        if os.path.getsize(listed):
            # no checksum at the store to go by: time of change decides for these, as the engine does by itself
            again = without_filters(environment) | {"RCLONE_CHECKSUM": "false"}
            trouble = self._pass(target, environment=again, arguments=["--files-from-raw", listed]) or trouble
        if self._replacement is not None:
            try:
                self._replacement.run(
                    os.fsdecode(self._source),
                    target,
                    environment=environment,
                    uploaded=self._note,
                    gone=self._note_gone,
                )
            except Failure as failure:
                trouble = self._judge(failure)
        if self._settings.direct:
            trouble = self._settle_gone() or trouble
        if trouble is not None:
            raise trouble

    def _send_unproved(
        self, target: str, listed: str, doubted: range, *, environment: Mapping[str, str]
    ) -> Failure | None:
        """Send what is there, is among these keys and of these sizes, and was not sent just now."""
        self.flush()
        again = f"{self._scratch}/again"
        with open(listed, "rb") as keys, open(again, "wb") as file:
            lines = (line.rstrip(b"\n") for line in keys)
            file.writelines(key + b"\n" for key in lines if self._ledger.is_there(key, doubted))
        if not os.path.getsize(again):
            return None
        anew = without_filters(environment) | {"RCLONE_IGNORE_TIMES": "true"}
        return self._pass(target, environment=anew, arguments=["--files-from-raw", again])

    def _pass(
        self,
        target: str,
        *,
        environment: Mapping[str, str],
        arguments: Sequence[str],
        total: int | None = None,
        by_size: Callable[[str], None] | None = None,
        asked: Callable[[str], None] | None = None,
    ) -> Failure | None:
        """Have the engine move once. Of a live source it replaces nothing, and what fails for some files is returned, not raised."""
        live = self._replacement
        try:
            self._sync.copy(
                os.fsdecode(self._source),
                target,
                environment=environment,
                extra=["--immutable", *arguments] if live else arguments,
                total=lambda: total,
                by_size=by_size,
                asked=asked,
                uploaded=self._note,
                apart=live.set_apart if live else None,
                removed=self._note_removed,
                gone=self._note_gone if self._settings.direct else None,
            )
        except Failure as failure:
            if count := self.removed:
                failure.message += (
                    f" rclone has removed {count} object(s) of the mirror whose new contents arrived otherwise than they were sent; their older ones had"
                    " been replaced, and only a bucket with versions still has them."
                )
            if live is None or failure.failure_class not in SPARING:
                raise
            return self._judge(failure)
        return None

    def _judge(self, failure: Failure) -> Failure:
        """Return what to tell of a live source's files that arrived otherwise than they were sent: they may have changed meanwhile."""
        keys = [name.encode() for name in failure.problems]
        if failure.failure_class != transfer.VERIFY or not keys:
            return failure
        if not all(has_changed(self._source, key, self._ledger) for key in keys):
            return failure
        return changed_meanwhile(keys, said=f" ({failure.message})")

    def _open_replacement(self) -> Replacement:
        settings = self._settings
        return Replacement(
            sync=self._sync,
            destination=self._destination,
            ledger=self._ledger,
            source=self._source,
            prefix_size=len(f"{settings.prefix}/".encode()) if settings.prefix else 0,
            folder=arriving_folder(settings.run_id, word=os.urandom(4).hex()),
            scratch=self._scratch,
        )

    def _note(self, name: str, size: int) -> None:
        self._noted.append((name.encode(), size))
        if len(self._noted) >= _BATCH:
            self.flush()

    def _note_gone(self, name: str) -> None:
        keys = self._ledger.spelled_all(name) if "\ufffd" in name else [name.encode()]
        with open(self._gone, "ab") as file:
            file.writelines(key + b"\n" for key in keys)

    def _settle_gone(self) -> Failure | None:
        """Let the ledger know which files were gone when they were to be read; return what to tell of those that are there again and were not moved
        since: what the destination has of them may be older.
        """
        self.flush()
        with open(self._gone, "rb") as file:
            self._ledger.add_gone(line.rstrip(b"\n") for line in file)
        back = (key for key in self._ledger.not_found() if is_there(self._source, key))
        examples = list(islice(back, 5))
        return changed_meanwhile(examples, count=len(examples) + sum(1 for _ in back)) if examples else None

    def _note_removed(self, name: str) -> None:
        self._ledger.add_removed(name.encode())

    @property
    def removed(self) -> int:
        """How many objects were there before and are not any more, although nobody asked for that."""
        self.flush()
        return self._ledger.removed_count()

    def flush(self) -> None:
        """Let the ledger know all that was moved so far."""
        self._ledger.add_moved(self._noted)
        self._noted.clear()

    @property
    def moved(self) -> tuple[int, int]:
        """Number and bytes of the files that arrived, each counted once."""
        self.flush()
        return self._ledger.moved()
