"""What the engine logs: reading it, and showing it to people. Pure.

The engine writes one JSON object a line. People get the classic form back (`2024/08/06 14:30:52 INFO  : name: Copied (new)`), so that
the documents' `grep "Transferred:"`, `AccessDenied: Access Denied` and `No space left on device` find what they look for.
"""

import msgspec

from datamover.agent.rclone.options import LEVELS
from datamover.api import outside
from datamover.api.outside import Unusable


class Stats(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The engine's statistics. Sizes in bytes, speed in bytes a second, eta in seconds."""

    bytes: int = 0
    total_bytes: int = 0
    checks: int = 0
    total_checks: int = 0
    transfers: int = 0
    total_transfers: int = 0
    deletes: int = 0
    errors: int = 0
    listed: int = 0
    speed: float = 0.0
    eta: float | None = None
    transfer_time: float = 0.0
    transferring: list[msgspec.Raw] | None = None


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line of the engine's log. `level` is lower-case, empty when the line was not JSON."""

    msg: str = ""
    level: str = ""
    object: str = ""
    time: str = ""
    size: int = 0
    stats: Stats | None = None


_decode = outside.Decoder(Line, limit=outside.LOG_LINE_LIMIT)


def read_line(raw: bytes) -> Line:
    """Return the line; what is not JSON (a Go panic, a word before the log is set up) comes as the message. Never raises."""
    if raw.startswith(b"{"):
        try:
            return _decode(raw)
        except Unusable:
            pass
    return Line(msg=raw.decode("utf-8", "replace").rstrip("\r\n"))


def shown(line: Line, *, level: str) -> bool:
    """Tell whether people who asked for `level` see this line."""
    name = line.level.upper()
    return name not in LEVELS or LEVELS.index(name) <= LEVELS.index(level)


def written(line: Line) -> str:
    """Return the line in the engine's classic form."""
    if not line.level:
        return line.msg
    date, _, clock = line.time.partition("T")
    name = f"{line.object}: " if line.object else ""
    return f"{date.replace('-', '/')} {clock[:8]} {line.level.upper():<6}: {name}{line.msg.rstrip()}"


def transferred(line: Line) -> list[str]:
    """Return the `Transferred:`, `Checks:` ... lines of a line with statistics, as the classic log shows them."""
    return [text.rstrip() for text in line.msg.partition("Transferring:")[0].splitlines() if text.strip()]


def without_errors(line: Line, stats: Stats, count: int) -> tuple[Line, Stats]:
    """Return a line and its statistics without `count` of its errors, which are none."""
    if not count:
        return line, stats
    stats = msgspec.structs.replace(stats, errors=max(0, stats.errors - count))
    shown = [text for text in line.msg.splitlines() if stats.errors or not text.startswith("Errors:")]
    return msgspec.structs.replace(line, msg="\n".join(shown), stats=stats), stats
