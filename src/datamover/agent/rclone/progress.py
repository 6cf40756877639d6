"""Progress as rclone's statistics tell it: reckoned for the operator, and shown to people as `Transferred:` lines."""

from collections.abc import Callable

from datamover.agent import progress
from datamover.agent.rclone import logs

PEOPLE_INTERVAL = 10.0
"""Seconds between two blocks of `Transferred:` lines."""


class Reporter(progress.Reporter):
    """Says how far the attempt is, and takes it from the engine's statistics."""

    def __init__(
        self,
        run_id: str,
        *,
        write: Callable[[str], None],
        monotonic: Callable[[], float],
        tell: Callable[[str], None] | None = None,
        interval: float = PEOPLE_INTERVAL,
    ) -> None:
        """`write` takes lines for people, `tell` those for the operator (the same when it is None). `interval`: seconds between two blocks for
        people.
        """
        super().__init__(run_id, tell=tell or write, monotonic=monotonic)
        self._write = write
        self._shown = monotonic()
        self._interval = interval

    def statistics(self, line: logs.Line) -> None:
        """The engine's statistics while it moves files."""
        stats = line.stats
        if stats is None:
            return
        total_files = max(self._now.total_files, stats.transfers)
        total = max(self._now.total_bytes, stats.bytes)
        # unchanged files are known to be there too: of those that are not to be moved, what was compared and does not wait to be moved
        others = max(0, total_files - stats.total_transfers)
        there = min(others, max(0, stats.checks - (stats.total_transfers - stats.transfers)))
        # the engine tells no bytes of what it compares, so they are reckoned from the number of files
        unmoved = max(0, total - max(stats.total_bytes, stats.bytes))
        done = stats.bytes + (unmoved * there // others if others else 0)
        self.advance(
            files=min(total_files, max(stats.transfers + there, self._now.files)),
            size=min(total, max(done, self._now.bytes)),
            total_files=total_files,
            total_size=total,
            speed=round(stats.speed, 1),
            errors=stats.errors,
        )
        if self._monotonic() - self._shown >= self._interval:
            self.show(line)

    def copied(self, line: logs.Line) -> None:
        """The engine's statistics while it has the store copy files, which are no part of the work that is told afterwards."""
        if line.stats is not None:
            self.advance(
                files=min(line.stats.transfers, self._now.total_files),
                size=min(line.stats.bytes, self._now.total_bytes),
                total_files=self._now.total_files,
                total_size=self._now.total_bytes,
                speed=round(line.stats.speed, 1),
                errors=line.stats.errors,
            )

    def checked(self, line: logs.Line) -> None:
        """The engine's statistics while it compares files."""
        if line.stats is not None:
            files = min(line.stats.checks, self._now.total_files)
            share = self._now.total_bytes * files // self._now.total_files if self._now.total_files else 0
            self.advance(
                files=files,
                size=share,
                total_files=self._now.total_files,
                total_size=self._now.total_bytes,
                speed=0.0,
                errors=line.stats.errors,
            )

    def show(self, line: logs.Line) -> None:
        """Show the statistics to people."""
        self._shown = self._monotonic()
        for text in logs.transferred(line):
            self._write(text)
