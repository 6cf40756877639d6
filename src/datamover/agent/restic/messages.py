"""What restic says: lines of JSON on both of its outputs, and some of plain text between them. Pure.

Guarantees: whatever a line holds, it becomes a `Message` (law L11); numbers fit 64 bits; fields that another version adds are ignored.
"""

from typing import Final

import msgspec

from datamover.api import outside
from datamover.api.outside import Count, Unusable

STATUS: Final = "status"
SUMMARY: Final = "summary"
ERROR: Final = "error"
EXIT_ERROR: Final = "exit_error"
INITIALIZED: Final = "initialized"


class _Cause(msgspec.Struct, frozen=True, gc=False):
    message: str = ""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One line. `message_type` is empty for plain text, which is in `message` then.

    Of a status: how much is done of what is known so far. Of a summary: what a backup or a restore has done. Of an error: `item` is the path.
    """

    message_type: str = ""
    message: str = ""
    error: _Cause = msgspec.field(default_factory=_Cause)
    item: str = ""
    code: int = 0
    id: str = ""
    repository: str = ""
    # of a backup
    total_files: Count = 0
    files_done: Count = 0
    total_bytes: Count = 0
    bytes_done: Count = 0
    files_new: Count = 0
    files_changed: Count = 0
    files_unmodified: Count = 0
    total_files_processed: Count = 0
    total_bytes_processed: Count = 0
    data_added_packed: Count = 0
    data_added: Count = 0
    total_duration: float = 0.0
    snapshot_id: str = ""
    # of a restore
    files_restored: Count = 0
    files_skipped: Count = 0
    files_deleted: Count = 0
    bytes_restored: Count = 0
    bytes_skipped: Count = 0

    @property
    def is_progress(self) -> bool:
        """Whether it only says how far the work is."""
        return self.message_type == STATUS

    @property
    def text(self) -> str:
        """What is said, for people."""
        said = self.message or self.error.message
        return f"{self.item}: {said}" if self.item and self.item not in said else said


_decode = outside.Decoder(Message, limit=outside.LOG_LINE_LIMIT)


def read_line(raw: bytes) -> Message:
    """Return what a line says."""
    if raw.startswith(b'{"message_type"'):
        try:
            return _decode(raw)
        except Unusable:
            pass  # it is shown as it is
    return Message(message=raw.decode("utf-8", "backslashreplace").rstrip("\r\n"))


class _Summary(msgspec.Struct, frozen=True, gc=False):
    total_files_processed: Count | None = None


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A snapshot in a repository. Older versions of restic wrote no `summary`."""

    id: str
    time: str
    hostname: str = ""
    paths: tuple[str, ...] = ()
    username: str = ""
    summary: _Summary | None = None

    @property
    def is_without_files(self) -> bool:
        """Whether the snapshot itself says that it has no file."""
        return self.summary is not None and self.summary.total_files_processed == 0

    @property
    def short_id(self) -> str:
        """The id as people write it."""
        return self.id[:8]


class Forgotten(msgspec.Struct, frozen=True, gc=False):
    """What `forget` has done to one group of snapshots."""

    keep: tuple[Snapshot, ...] | None = None
    remove: tuple[Snapshot, ...] | None = None


class Lock(msgspec.Struct, frozen=True, gc=False):
    """A lock in a repository: who holds it, and when it was last renewed."""

    time: str
    exclusive: bool = False
    hostname: str = ""
    username: str = ""
    pid: int = 0


read_lock = outside.Decoder(Lock)
_snapshots = outside.Decoder(tuple[Snapshot, ...], limit=outside.ANSWER_LIMIT)
_forgotten = outside.Decoder(tuple[Forgotten, ...], limit=outside.ANSWER_LIMIT)


def read_snapshots(raw: bytes) -> tuple[Snapshot, ...]:
    """Return the snapshots of a listing. Raises Unusable."""
    return () if _is_nothing(raw) else _snapshots(raw)


def read_forgotten(raw: bytes) -> tuple[Forgotten, ...]:
    """Return what `forget` did. Raises Unusable."""
    return () if _is_nothing(raw) else _forgotten(raw)


def _is_nothing(raw: bytes) -> bool:
    return raw.strip() in (b"", b"null")
