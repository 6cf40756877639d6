"""Moving the files: rclone copies, the agent watches.

A mirror with records uses `rclone copy`, never `rclone sync`: what is to be deleted is decided by the ledger (law L3), after everything
arrived. `rclone sync` is for destinations that are mirrors by another project's contract.

Guarantees: statistics become progress; an outage of the server ends the run after `outage_limit` seconds, whatever the engine's own retries
would do; errors that cannot heal by themselves end it after a few dozen; an engine that hangs is ended (see `Child.follow`).
Caveats: an agent that is killed with -9 may leave an upload in parts pending. The next attempt of a timestamped run aborts those in its own
folder; below a mirror's prefix there may be others' uploads, so there only a lifecycle rule of the bucket removes them.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.rclone import asking, classify, logs, process
from datamover.agent.rclone.options import SILENCE
from datamover.agent.rclone.outage import Outage, Server
from datamover.agent.rclone.progress import Reporter
from datamover.api import transfer

_HOPELESS = 40
"""Errors of a class that concerns every file alike, after which there is no point in going on."""
_HOPELESS_CLASSES = (transfer.CONFIG, transfer.CREDENTIALS, transfer.DENIED, transfer.NOT_FOUND)
_FULL = 3
"""Uploads that a full destination refuses, after which there is no point: each may be a large file, sent whole before it is refused."""

_DIFFERING = (1, 6)
"""Exit codes of an engine that has only found files which it may not replace, or that are gone."""

SIZE_ONLY = "Size of src and dst objects identical"
"""What the engine logs, at debug level, when it took a file for unchanged without a checksum to go by."""
APART = "Source and destination exist but do not match: immutable file modified"
"""What it logs, as an error, for a file that differs from the object that is there, when it may replace none."""
_MOVED = "Copied ("
"""What it logs for a file that it moved; before it may be `Multi-thread `."""
_REMOVED = "Removing failed copy"
"""What it logs before it removes an object that has another checksum than what it sent. What was there before is gone then."""


class Moved(msgspec.Struct):
    """What the engine did so far, all passes together. What it sent and did not see arrive is not moved."""

    files: int = 0
    bytes: int = 0
    compared: int = 0
    deleted: int = 0


class Sync:
    """Runs the engine for data. `counts_bytes`: bytes that move are an advance as well, though no file is done; see `_Watch.tick`."""

    def __init__(
        self,
        engine: process.Engine,
        *,
        destination: Server,
        report: Reporter,
        show: Callable[[logs.Line], None],
        outage_limit: float,
        grace: float,
        silence: float = SILENCE,
        monotonic: Callable[[], float] = time.monotonic,
        counts_bytes: bool = False,
    ) -> None:
        self._silence = silence
        self._engine = engine
        self._counts_bytes = counts_bytes
        self._destination = destination
        self._report = report
        self._show = show
        self._outage_limit = outage_limit
        self._grace = grace
        self._monotonic = monotonic
        self.moved = Moved()
        self.interrupt: Callable[[], Failure | None] = _no_interruption
        """Asked about once a second while files move; what it returns ends that."""
        self.counted: Callable[[logs.Stats], None] = _ignore
        """Told the engine's statistics about once a second while files move."""

    def copy(
        self,
        source: str,
        target: str,
        *,
        environment: Mapping[str, str],
        extra: Iterable[str] = (),
        total: Callable[[], int | None] = lambda: None,
        by_size: Callable[[str], None] | None = None,
        asked: Callable[[str], None] | None = None,
        uploaded: Callable[[str, int], None] | None = None,
        apart: Callable[[str], None] | None = None,
        removed: Callable[[str], None] | None = None,
        gone: Callable[[str], None] | None = None,
        arriving: bool = False,
        largest: int | None = None,
        statistics: Callable[[logs.Line], None] | None = None,
        verb: str = "copy",
    ) -> None:
        """Copy `source`, of `total` files where that is known by then, to `target`. Raises Failure when anything did not arrive.

        `by_size` gets the names of files that were taken for unchanged by their size alone, `asked` the engine's requests for single objects (see `asking`), `uploaded` those that were moved, with their
        sizes, `removed` those that arrived otherwise and were removed again, and `apart` those that an engine which may replace nothing (`--immutable`) found to have changed. `gone` gets those that the engine listed and found no more when it was to read them: who asks for it looks whether
        they are gone, so that it is no failure here. `arriving`: what is moved is
        not yet where it shall be, and does not count. `largest`: no file is written beyond so many bytes. `statistics` gets the engine's, where they are not about the work of the run. `verb`: `sync` deletes at the target what the source does not have.
        """
        last: list[logs.Line] = []
        watch = _Watch(
            self._destination,
            limit=self._outage_limit,
            grace=self._grace,
            monotonic=self._monotonic,
            wait=self._report.wait,
            total=total,
            counts_bytes=self._counts_bytes,
        )
        # debug lines come by the million: only those that are asked for are read, unless the user wants to see them all
        wanted = None if environment.get("RCLONE_LOG_LEVEL") == "DEBUG" else (SIZE_ONLY.encode(), asking.WORD)
        if asked is not None:
            environment = dict(environment) | asking.TELLING
        if by_size is not None:
            environment = dict(environment) | {"RCLONE_LOG_LEVEL": "DEBUG"}
        child = self._engine.start([verb, *extra, source, target], environment=environment, on_line=None)
        child.errors.replaces_nothing = apart is not None
        child.errors.spares_vanished = gone is not None
        if largest is not None:
            child.limit_files(largest)

        spared = 0

        def on_line(line: logs.Line) -> None:
            nonlocal spared
            if told := _spared(line, apart=apart, gone=gone):
                spared += 1
                told(line.object)
                return
            if spared and (classify.is_about_replacing(line.msg) or classify.is_about_vanished(line.msg)):
                return
            if line.stats is not None:
                line, stats = logs.without_errors(line, line.stats, spared)
                last[:] = [line]
                (statistics or self._report.statistics)(line)
                self.counted(stats)
                watch.tick(stats, child)
                watch.stop_for(self.interrupt, child)
                return
            if asked is not None and asking.is_asking(line.msg):
                asked(line.msg)
                return
            if line.level == "info" and _MOVED in line.msg:
                if not arriving:
                    self.moved.files += 1
                    self.moved.bytes += line.size
                if uploaded is not None:
                    uploaded(line.object, line.size)
            _hear(line, by_size=by_size, removed=removed)
            self._show(line)

        try:
            code = child.follow(on_line, wanted=wanted, silence=self._silence)
        finally:
            watch.close()
            child.close()
            if last and last[0].stats:
                self.moved.compared += last[0].stats.checks
                self.moved.deleted += last[0].stats.deletes
                self._report.show(last[0])
        failure = watch.failure
        if failure is None and code and not (spared and child.errors.none and code in _DIFFERING):
            failure = self._destination.explain(child.errors, code, total=total())
        if failure is not None:
            arrived = self.moved.files
            what = f"{arrived} file{'' if arrived == 1 else 's'} arrived in this attempt; what arrived stays."
            failure.message = f"{failure.message} {what if arrived else 'No file arrived in this attempt.'}"
            raise failure


def _spared(
    line: logs.Line, *, apart: Callable[[str], None] | None, gone: Callable[[str], None] | None
) -> Callable[[str], None] | None:
    """Return who wants to know of an object about which the engine complains without its being a failure, if it is so."""
    if line.level != "error":
        return None
    if line.msg == APART:
        return apart
    return gone if line.object and gone and classify.is_about_vanished(line.msg) else None


def _hear(line: logs.Line, *, by_size: Callable[[str], None] | None, removed: Callable[[str], None] | None) -> None:
    """Tell who wants to know of what the engine logged of one object that it did not move."""
    if by_size is not None and line.level == "debug" and line.msg == SIZE_ONLY:
        by_size(line.object)
    elif removed is not None and line.level == "info" and line.msg == _REMOVED:
        removed(line.object)


def _no_interruption() -> None:
    return None


def _ignore(stats: logs.Stats) -> None:
    del stats


class _Watch:
    """Ends a copy that cannot come to anything. Ticks with every line of statistics, about once a second."""

    def __init__(
        self,
        destination: Server,
        *,
        limit: float,
        grace: float,
        monotonic: Callable[[], float],
        wait: Callable[[str], None],
        total: Callable[[], int | None],
        counts_bytes: bool = False,
    ) -> None:
        self._total = total
        self._counts_bytes = counts_bytes
        self.failure: Failure | None = None
        self._destination = destination
        self._grace = grace
        self._outage = Outage(destination, limit=limit, wait=wait, monotonic=monotonic)
        self._before: tuple[int, ...] = ()

    def tick(self, stats: logs.Stats, child: process.Child) -> None:
        """Look whether there was an advance, and ask the server when there was none for a while."""
        if self.failure is not None:
            return
        if not stats.transfers:
            for failure_class in _HOPELESS_CLASSES:
                if child.errors.amount(failure_class) >= _HOPELESS:
                    self._give_up(self._destination.explain(child.errors, 1, total=self._total()), child)
                    return
            if child.errors.amount(transfer.NO_SPACE) >= _FULL:
                self._give_up(self._destination.explain(child.errors, 1, total=self._total()), child)
                return
        # bytes say nothing of what is sent: they go on counting while the same file is tried again and again. What comes shows that the server answers, whatever
        # becomes of questions, and who brings it in vain is ended by the engine's own retries and whoever counts those
        state = (stats.checks, stats.transfers, stats.listed, stats.bytes if self._counts_bytes else 0)
        if state != self._before:
            self._before = state
            self._outage.advance()
        elif failure := self._outage.look():
            self._give_up(failure, child)

    def stop_for(self, interrupt: Callable[[], Failure | None], child: process.Child) -> None:
        """End the copy when there is a reason to that has nothing to do with it."""
        if self.failure is None and (failure := interrupt()):
            self._give_up(failure, child)

    def _give_up(self, failure: Failure, child: process.Child) -> None:
        self.failure = failure
        child.end(grace=self._grace)

    def close(self) -> None:
        """End a question that is still open."""
        self._outage.close()
