"""How far a restore is, over all the runs of the engine that it takes."""

from datamover.agent.rclone import logs, progress


class Reporter(progress.Reporter):
    """Adds up: what is in its place, and what the engine says of the files that it is at."""

    _files = 0
    _bytes = 0
    _all_files = 0
    _all_bytes = 0

    def begin(self, *, files: int, size: int) -> None:
        """So many files and bytes are wanted in all."""
        self._all_files, self._all_bytes = files, size
        self.settled(files=0, size=0)

    def settled(self, *, files: int, size: int) -> None:
        """So many of them are in their places."""
        self._files, self._bytes = files, size
        self.arrived(0, speed=self._now.speed)

    def arrived(self, size: int, *, files: int = 0, speed: float, errors: int = 0) -> None:
        """So much has come of what is on its way."""
        self.advance(
            files=min(self._all_files, max(self._now.files, self._files + files)),
            size=min(self._all_bytes, max(self._now.bytes, self._bytes + size)),
            total_files=self._all_files,
            total_size=self._all_bytes,
            speed=speed,
            errors=errors,
        )

    def statistics(self, line: logs.Line) -> None:
        """The engine's statistics while it brings files."""
        if line.stats is not None:
            self.arrived(
                line.stats.bytes, files=line.stats.transfers, speed=round(line.stats.speed, 1), errors=line.stats.errors
            )

    def show(self, line: logs.Line) -> None:
        """Show nothing: people see the sums."""
