"""One attempt: the volume becomes what the remote is, or the remote what the volume is, and modes and ACLs go with it as a file.

A mirror by another project's contract: nothing of ours is written to the remote, and what its user put there by hand goes, as it always did.
The one thing that is refused is that nothing at all replaces something (law L3).
"""

import errno
import os
import re
import time
from collections.abc import Callable, Iterable

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.excerpt import Excerpt
from datamover.agent.files.emptiness import has_content, has_file
from datamover.agent.files.flushing import flush_file_system
from datamover.agent.files.unfinished import refuse_unfinished
from datamover.agent.files.walk import Tally
from datamover.agent.rclone import logs, process
from datamover.agent.rclone.options import keeps_links, wanted_level
from datamover.agent.rclone.progress import Reporter
from datamover.agent.rclone.sync import Moved, Sync
from datamover.agent.rclone_conf import links, modes, words
from datamover.agent.rclone_conf.remote import Remote
from datamover.agent.rclone_conf.settings import Settings
from datamover.agent.shell import Surroundings
from datamover.api import amounts, transfer
from datamover.api.rclone_conf import ACL_FILE

SUMMARY = re.compile(r"Transferred:|Elapsed time:|Rclone completed in")
"""The lines of the log that tell of a success; users search for these words."""
_NO_HASHES = "no hashes in common"
_CHECKSUM = "RCLONE_CHECKSUM"
_OFF = frozenset({"", "false", "0", "f"})
_FOLLOWS = ("RCLONE_COPY_LINKS", "RCLONE_LOCAL_COPY_LINKS")


class Attempt:
    """See the module. `environment` is rclone's, `version` its name and version; `given` redacts the secrets of rclone.conf as well."""

    def __init__(
        self,
        settings: Settings,
        *,
        place: str,
        environment: dict[str, str],
        engine: process.Engine,
        version: str,
        given: Surroundings,
    ) -> None:
        self.place = place
        self.tally = Tally()
        self.excerpt = Excerpt(success=SUMMARY, show=given.say, redact=given.redact)
        self.report = Reporter(
            settings.run_id,
            write=self.excerpt.say,
            tell=given.tell,
            monotonic=time.monotonic,
            interval=settings.interval,
        )
        self.remarks: list[str] = []
        self._settings = settings
        self._environment = environment
        self._given = given
        self._level = wanted_level(given.environ)
        self._started = time.monotonic()
        self._without_hashes = False
        self._by_size = False
        self._walked = False
        self._remote = Remote(
            engine,
            place=place,
            environment=environment,
            scratch=given.scratch,
            is_source=settings.is_source,
            show=self._show,
            wait=self.report.wait,
            outage_limit=settings.outage_limit,
        )
        self._sync = Sync(
            engine,
            destination=self._remote,
            report=self.report,
            show=self._show,
            outage_limit=settings.outage_limit,
            grace=settings.grace,
        )
        self._version = version

    @property
    def moved(self) -> Moved:
        """What rclone did so far."""
        return self._sync.moved

    def run(self) -> None:
        """Move everything. Raises AgentError."""
        if self._settings.is_source:
            self._send()
        else:
            self._fetch()
        self.excerpt.say(f"Rclone completed in {time.monotonic() - self._started:.0f}s")

    def summary(self) -> str:
        """Return what was done."""
        moved = self.moved
        done = f"{amounts.count(moved.files, 'file')} ({amounts.size(moved.bytes)}) moved, {moved.deleted} deleted, {moved.compared} compared"
        ends = (
            f"{self._settings.volume} is mirrored at {self.place}"
            if self._settings.is_source
            else f"{self.place} is in the volume"
        )
        return ". ".join((f"{ends}: {done}", *self.remarks)) + "."

    def _send(self) -> None:
        settings = self._settings
        refuse_unfinished(settings.mount, volume=settings.volume)
        folder = f"{self._given.scratch}/beside"
        os.mkdir(folder)  # noqa: PTH102 - as everywhere in the agent
        self.report.phase(transfer.WALKING)
        with_links = self._moves_links()
        if os.path.lexists(f"{settings.mount}/{ACL_FILE}"):
            self._remark([words.about_own_file()])
        has_content = self._volume_has_content(links=with_links)
        # rclone waits for the server most of its time, so the volume is walked meanwhile
        with modes.Beside(lambda tick: self._write_modes(folder, tick), check=self._given.stop.check) as walk:
            try:
                if not has_content and not settings.allow_empty:
                    walk.finish()
                    self._refuse_when(there=True, message=words.refuse_empty_source(self.place))
                self._sync.interrupt = self._tell_totals
                self._mirror(settings.mount, self.place)
                walk.finish()
            finally:
                self._remark(words.about_source(self.tally, links=with_links))
        self._tell_totals()
        self.report.finish(files=self.tally.files, size=self.tally.bytes)
        if os.stat(f"{folder}/{ACL_FILE}").st_size > modes.LIMIT:  # noqa: PTH116
            self._remark([words.about_size()])
        self.report.phase(transfer.RECORDING)
        self._remote.put(folder)

    def _fetch(self) -> None:
        settings = self._settings
        self.report.phase(transfer.WALKING)
        if not settings.allow_empty and self._volume_has_file():
            self._refuse_when(there=False, message=words.refuse_empty_remote(self.place))
        self._replace_links()
        self._mirror(self.place, settings.mount)
        self.report.phase(transfer.RECORDING)
        self._restore_modes()
        try:
            flush_file_system(settings.mount)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise Failure(
                transfer.NO_SPACE if full else transfer.INTERNAL,
                transfer.REASON_NO_SPACE if full else transfer.REASON_ENGINE_FAILED,
                f"What was restored cannot be brought to the volume's disk: {error.strerror}. Look at the storage, and at the volume's capacity.",
            ) from error

    def _replace_links(self) -> None:
        """Let no link of the volume lead what is restored out of it."""
        settings = self._settings
        if not (found := links.find_links(settings.mount, tick=self._given.stop.check)):
            return
        listed = f"{self._given.scratch}/folders"
        self._remote.list_folders(listed)
        try:
            removed = links.replace_links(settings.mount, found, listed=listed)
        except OSError as error:
            raise Failure(transfer.DENIED, transfer.REASON_ACCESS_DENIED, words.about_link(error)) from error
        if removed:
            self._remark(
                [
                    f"{amounts.count(removed, 'symbolic link')} to a folder replaced by the folder that the remote has there"
                ]
            )

    def _restore_modes(self) -> None:
        settings = self._settings
        file = f"{self._given.scratch}/{ACL_FILE}"
        there = self._remote.get(ACL_FILE, file, limit=modes.LIMIT)
        if there and os.stat(file).st_size > modes.LIMIT:  # noqa: PTH116 - as everywhere in the agent
            self._remark([words.about_size()])
            return
        if not there:
            self._remark([f"there is no {ACL_FILE} at {self.place}, so modes, owners and ACLs are those of new files"])
            return
        lost = modes.apply_modes(settings.mount, file, volume=settings.volume, tick=self._given.stop.check)
        self._remark(f"not restored: {line}" for line in lost.lines())

    def _write_modes(self, folder: str, tick: Callable[[], None]) -> None:
        settings = self._settings
        modes.write_modes(settings.mount, f"{folder}/{ACL_FILE}", volume=settings.volume, tally=self.tally, tick=tick)

        self._walked = True

    def _total(self) -> int | None:
        return self.tally.files if self._walked else None

    def _tell_totals(self) -> None:
        self.report.found(files=self.tally.files, size=self.tally.bytes)

    def _volume_has_content(self, *, links: bool) -> bool:
        """Tell whether the volume has anything that rclone moves. Raises Failure when it cannot be read."""
        return self._look(
            lambda: has_content(self._settings.mount, links=links, but=ACL_FILE.encode(), tick=self._given.stop.check)
        )

    def _volume_has_file(self) -> bool:
        """Tell whether the volume has any file. Raises Failure when it cannot be read."""
        return self._look(lambda: has_file(self._settings.mount, tick=self._given.stop.check))

    def _look(self, look: Callable[[], bool]) -> bool:
        try:
            return look()
        except OSError as error:
            raise Failure(
                transfer.SOURCE_UNREADABLE,
                transfer.REASON_SOURCE_NOT_FOUND,
                f"The volume at {self._settings.volume} cannot be read: {error.strerror}. Give the mover's user the right to (moverSecurityContext).",
            ) from error

    def _refuse_when(self, *, there: bool, message: str) -> None:
        """Raise Failure when the remote has a file (`there`), or has none."""
        self.report.phase(transfer.PROBING)
        if self._remote.has_file() == there:
            raise Failure(transfer.GUARD, transfer.REASON_EMPTY_SOURCE, message)

    def _mirror(self, source: str, target: str) -> None:
        self.report.phase(transfer.SYNCING)
        self._sync.copy(source, target, environment=self._environment, extra=["--"], total=self._total, verb="sync")
        if self._without_hashes and _CHECKSUM not in self._given.environ:
            # by size alone, a change that keeps it would never be moved
            if not self._moves_everything() and not self._remote.keeps_times():
                # there is nothing else that a second pass could go by
                self._by_size = True
                self._remark([words.about_sizes(self.place)])
                return
            self._remark([words.about_hashes()])
            by_time = self._environment | {_CHECKSUM: "false"}
            self._sync.copy(source, target, environment=by_time, extra=["--"], total=self._total, verb="sync")

    def _moves_links(self) -> bool:
        environment = self._environment
        return keeps_links(environment) or any(
            environment.get(name, "").strip().lower() not in _OFF for name in _FOLLOWS
        )

    def _moves_everything(self) -> bool:
        return self._environment.get("RCLONE_IGNORE_TIMES", "").strip().lower() not in _OFF

    def _show(self, line: logs.Line) -> None:
        if _NO_HASHES in line.msg:
            self._without_hashes = True
        if logs.shown(line, level=self._level):
            self.excerpt.say(logs.written(line))

    def _remark(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.remarks.append(line)
            self.excerpt.say(f"Note: {line}.")

    def _comparison(self) -> str:
        if _CHECKSUM in self._given.environ:
            return "user"
        return "size" if self._by_size else "time" if self._without_hashes else "checksum"

    def so_far(self) -> transfer.Outcome:
        """Return the outcome as far as it is known, without an end."""
        settings, moved = self._settings, self.moved
        files = self.tally.files if settings.is_source else moved.files + moved.compared
        return msgspec.structs.replace(
            self._given.begun,
            run_id=settings.run_id,
            destination=self.place,
            files=files,
            bytes=self.tally.bytes if settings.is_source else moved.bytes,
            transferred_files=moved.files,
            transferred_bytes=moved.bytes,
            deleted=moved.deleted,
            skipped_special=self.tally.special,
            symlinks=self.tally.symlinks,
            comparison=self._comparison(),
            engine=self._version,
        )
