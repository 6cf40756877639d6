"""Progress as restic's own lines tell it, of a backup or of a restore."""

from datamover.agent import progress
from datamover.agent.restic import classify
from datamover.agent.restic.messages import Message


class Reporter(progress.Reporter):
    """Says how far restic is. restic looks for files while it moves them, so that the total grows at first."""

    def take(self, message: Message) -> None:
        """Take a line of restic into account."""
        if message.is_progress:
            self.advance(
                files=max(message.files_done, message.files_restored),
                size=max(message.bytes_done, message.bytes_restored),
                total_files=message.total_files,
                total_size=message.total_bytes,
                speed=self.speed,
                errors=0,
            )
        elif not message.message_type and classify.is_retrying(message):
            self.wait(message.text)
        elif not message.message_type and classify.is_recovered(message):
            self.wait("")

    @property
    def speed(self) -> float:
        """Bytes a second on average, for restic tells none."""
        elapsed = self._monotonic() - self._started
        return round(self._now.bytes / elapsed, 1) if elapsed > 0 else 0.0
