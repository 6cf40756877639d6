# ruff: noqa: PTH202, PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""Replacing objects by the changed files of a live source (copyMethod Direct) so that nothing whole goes before its successor is (law L3).

The engine puts a file over the object that is there, compares checksums, and removes the object when they differ. Of a file that is being
written nothing would be left. So of a live source it moves only what is new, names what has changed, and that goes another way:

    source ─copy─> .datamover/runs/<run id>/arriving/<word>/ ─copy at the store─> root

Guarantees: an object that was there is replaced only by what was read without the file's changing and arrived with its checksum, in one
request: whoever dies at any moment leaves the old one or the new one. What arrived beside is removed in the end; a killed attempt's is
removed by the next run (see `records.State.arriving`).
Caveats: a file that is changed twice within one tick of its file system's clock looks unchanged; only VERIFY_BACKUP sees that.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.files import names
from datamover.agent.printing import quote_names
from datamover.agent.rclone.changes import has_changed, is_there
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.options import without_filters
from datamover.agent.rclone.sync import Sync
from datamover.api import transfer

ONE_THREAD = {"RCLONE_MULTI_THREAD_STREAMS": "0"}
"""The engine reads with several threads without looking whether the file changes; one is slower and sees it."""
_ON = frozenset({"1", "t", "true"})
# what is copied at the store is whole already, and the engine is not to remove it whatever it thinks of it
_AS_IT_IS = {"RCLONE_IGNORE_CHECKSUM": "true", "RCLONE_IGNORE_SIZE": "true", "RCLONE_IMMUTABLE": "false"}
SPARING = frozenset({transfer.SOURCE_CHANGED, transfer.SOURCE_UNREADABLE, transfer.VERIFY})
"""Classes of failure that are about some files and say nothing about the others."""


class Replacement:
    """The changed files of one attempt. `folder` is where they arrive, below the root, and nothing else is there."""

    def __init__(
        self,
        *,
        sync: Sync,
        destination: Destination,
        ledger: Ledger,
        source: bytes,
        prefix_size: int,
        folder: str,
        scratch: str,
    ) -> None:
        """`prefix_size` is what the destination puts before `folder`, in bytes."""
        self._sync = sync
        self._destination = destination
        self._ledger = ledger
        self._source = source
        self._room = names.KEY_LIMIT - prefix_size - len(folder.encode())
        self._folder = folder
        self._list = f"{scratch}/changed"
        self._arrived = f"{scratch}/arrived"
        self._too_long: list[bytes] = []
        for path in (self._list, self._arrived):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))

    def set_apart(self, name: str) -> None:
        """Take note of an object that is there and of which the file has changed."""
        keys = self._ledger.spelled_all(name) if "\ufffd" in name else [name.encode()]
        with open(self._list, "ab") as file:
            for key in keys:
                if names.stored_size(names.raw_of(key)) > self._room:
                    self._too_long.append(key)
                else:
                    file.write(key + b"\n")

    def run(
        self,
        source: str,
        target: str,
        *,
        environment: Mapping[str, str],
        uploaded: Callable[[str, int], None],
        gone: Callable[[str], None],
    ) -> None:
        """Replace what was set apart. Raises Failure when some of it stays as it was; the rest is replaced all the same. `gone` as for `Sync.copy`."""
        self._leave_out_gone(gone)
        if os.path.getsize(self._list):
            self._replace(source, target, environment=environment, uploaded=uploaded, gone=gone)
        if self._too_long:
            those = [printing.readable(key) for key in self._too_long]
            raise Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_NAME_TOO_LONG,
                f"{len(those)} changed file(s) of the live source have paths so long that their new contents cannot be put beside the old ones before"
                f" they replace them: {quote_names(those, len(those))}. The old ones stay. Back up a clone or a snapshot (copyMethod), or shorten the"
                f" names or {transfer.CUSTOM_PATH_PREFIX}.",
                problems=tuple(those[:5]),
            )

    def _replace(
        self,
        source: str,
        target: str,
        *,
        environment: Mapping[str, str],
        uploaded: Callable[[str, int], None],
        gone: Callable[[str], None],
    ) -> None:
        beside = self._destination.remote(self._folder)
        environment = without_filters(environment)
        unsure = is_on(environment, "RCLONE_IGNORE_CHECKSUM")
        trouble: Failure | None = None
        try:
            self._sync.copy(
                source,
                beside,
                environment=environment,
                extra=["--files-from-raw", self._list],
                uploaded=self._note,
                gone=gone,
                arriving=True,
            )
        except Failure as failure:
            if failure.failure_class not in SPARING:
                raise
            trouble = failure
        if unsure:
            trouble = self._keep_unchanged() or trouble
        # when all is well the list is not needed: there is nothing else
        only = ["--files-from-raw", self._arrived] if trouble else []
        try:
            if not trouble or os.path.getsize(self._arrived):
                self._sync.copy(
                    beside,
                    target,
                    environment=environment | _AS_IT_IS,
                    extra=["--no-check-dest", *only],
                    uploaded=uploaded,
                )
        finally:
            with suppress(Failure):  # what stays there costs space until the next run removes it
                self._destination.purge(self._folder)
        if trouble:
            raise trouble

    def _leave_out_gone(self, gone: Callable[[str], None]) -> None:
        """Take what is gone by now off the list: an engine that finds nothing of what it is to copy breaks its listing off, and calls that a failure."""
        with open(self._list, "rb") as file:
            keys = [line.rstrip(b"\n") for line in file]
        with open(self._list, "wb") as file:
            for key in keys:
                if is_there(self._source, key):
                    file.write(key + b"\n")
                else:
                    gone(key.decode())

    def _note(self, name: str, size: int) -> None:
        del size
        if "\ufffd" not in name:  # of one that the log spells like others nobody knows whether it arrived
            with open(self._arrived, "ab") as file:
                file.write(name.encode() + b"\n")

    def _keep_unchanged(self) -> Failure | None:
        """Leave in the list of what arrived only what looks unchanged: the engine was told to compare nothing."""
        with open(self._arrived, "rb") as file:
            keys = [line.rstrip(b"\n") for line in file]
        changed = [key for key in keys if has_changed(self._source, key, self._ledger)]
        with open(self._arrived, "wb") as file:
            file.writelines(key + b"\n" for key in keys if key not in changed)
        return changed_meanwhile(changed) if changed else None


def is_on(environment: Mapping[str, str], variable: str) -> bool:
    """Tell whether a switch of the engine is on."""
    return environment.get(variable, "").strip().lower() in _ON


def changed_meanwhile(keys: list[bytes], *, count: int = 0, said: str = "") -> Failure:
    """Return what to tell of files that changed while they were read, `count` if those are more than the keys; `said` by the engine."""
    those = [printing.readable(key) for key in keys]
    return Failure(
        transfer.SOURCE_CHANGED,
        transfer.REASON_SOURCE_CHANGED,
        f"Files of the source changed while they were read: {quote_names(those, count or len(those))}. What the destination had of them stays. Back up a clone"
        f" or a snapshot (copyMethod), or stop what writes.{said}",
        problems=tuple(those[:5]),
    )
