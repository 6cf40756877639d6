"""Log lines as a Velero server reads them: one JSON object a line on standard error, and every value a string.

The host takes `@message`, `@level` and `@timestamp` for strings without looking; another type in one of them would end the Velero server itself.
It gives up on a line of 64 KiB. So everything is made a string here, and cut.

While it collects a backup the host counts the lines of level error, ours among them, and calls the backup PartiallyFailed for one of them. So an error is
only what fails the item or the operation anyhow; whatever else goes wrong, and whatever a library says, is a warning.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from datamover.api.signed import redact_signed
from kubekit.words.text import clean

LINE_LIMIT = 48 * 1024
"""Bytes of a line; the host takes less than 65,536."""
_MESSAGE_LIMIT = 8 * 1024
_FIELD_LIMIT = 1024
_FIELDS = 12
_RANKS = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4}


def _now() -> datetime:
    return datetime.now(UTC)


class Log:
    """Writes to one file descriptor. Safe for threads: no two lines mix. Whoever no longer listens is not an error."""

    def __init__(self, level: str, *, descriptor: int = 2, now: Callable[[], datetime] = _now) -> None:
        """`level` is the lowest that is written: trace, debug, info, warn or error."""
        self._lowest = _RANKS[level]
        self._descriptor = descriptor
        self._now = now
        self._lock = threading.Lock()

    def debug(self, message: str, **fields: object) -> None:
        """Say what only matters when something is looked into."""
        self.write("debug", message, **fields)

    def info(self, message: str, **fields: object) -> None:
        """Say what has been done."""
        self.write("info", message, **fields)

    def warning(self, message: str, **fields: object) -> None:
        """Say what somebody should look at."""
        self.write("warn", message, **fields)

    def error(self, message: str, **fields: object) -> None:
        """Say what fails the item, the operation or the program: the backup fails for it."""
        self.write("error", message, **fields)

    def write(self, level: str, message: str, **fields: object) -> None:
        """Write one line, at one of the five levels."""
        if _RANKS[level] < self._lowest:
            return
        line = compose(level, message, fields, self._now())
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                return


def compose(level: str, message: str, fields: dict[str, object], now: datetime) -> bytes:
    """Return one line with its end. Fields beyond twelve are left out, long texts are cut."""
    words = {
        "@level": level,
        "@message": clean(redact_signed(message), limit=_MESSAGE_LIMIT),
        "@timestamp": _stamp(now),
    }
    for name, value in list(fields.items())[:_FIELDS]:
        words.setdefault(name, clean(redact_signed(str(value)), limit=_FIELD_LIMIT))
    line = msgspec.json.encode(words)
    if len(line) >= LINE_LIMIT:  # letters that take several bytes each
        line = msgspec.json.encode({**words, "@message": clean(redact_signed(message), limit=_FIELD_LIMIT)})
    return line + b"\n"


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Bridge(logging.Handler):
    """Brings what libraries log by `logging` into the same lines; none of it is an error of a backup."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a message that cannot be put together is written as it is."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        self._log.write(_level(record.levelno), message, logger=record.name)


def _level(number: int) -> str:
    for level, lowest in (("warn", logging.WARNING), ("info", logging.INFO)):
        if number >= lowest:
            return level
    return "debug"
