"""`datamover restore`: what it does, prints, and ends with."""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from rich.console import Console

from datamover.agent.children import Stop
from datamover.agent.errors import Failure, Stopped
from datamover.agent.files.losses import Loss
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point  # noqa: TC001 - beside the other names of that room
from datamover.agent.printing import printable, quote_names, readable
from datamover.agent.restore import reasons
from datamover.agent.restore.attempt import Facts
from datamover.agent.restore.candidate import look, what_is_left
from datamover.agent.restore.entry import prepare_attempt
from datamover.agent.restore.order import Order
from datamover.agent.restore.progress import Reporter
from datamover.api import amounts, transfer
from datamover.api.restore import MARKED, tell_comparison
from datamover.cli.manifests import ManifestError
from datamover.cli.points.meter import Meter
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, Say, describe_error, exit_of, open_place
from datamover.cli.terminal import open_console, print_document, say, warn

_GRACE: Final = 10.0
"""Seconds that the engine gets to end by itself."""
_PRIVATE: Final = 0o077


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line."""

    place: Place
    point: str
    order: Order
    disturbed: bool
    machine: bool


class _Restore:
    """One restore, and what is known of it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.facts = Facts()
        self.begun = False
        self.point: Point | None = None
        self.stop = Stop(grace=_GRACE)
        self.console = open_console(stderr=request.machine)

    def run(self) -> None:
        """Restore. Raises AgentError, ManifestError, OSError."""
        request = self.request
        meter = Meter(self.console, quiet=request.machine)
        # a directory that cannot be used is told before anything is asked of the store
        self.begun = look(request.order.directory).begun
        with _private_files(), open_place(request.place, stop=self.stop) as (bucket, say), meter:
            meter.begin()
            self._restore(bucket, meter=meter, show=say)

    @property
    def left(self) -> str:
        """What the directory is now."""
        return what_is_left(self.facts.target, begun=self.begun)

    def _restore(self, bucket: Bucket, *, meter: Meter, show: Say) -> None:
        request = self.request
        self.point = bucket.choose(request.point, source=request.place.source, disturbed=request.disturbed)
        attempt = prepare_attempt(
            bucket,
            self.point,
            request.order,
            stop=self.stop,
            grace=_GRACE,
            scratch=bucket.scratch,
            say=show,
            report=Reporter(self.point.run_id, write=show, tell=meter.tell, monotonic=time.monotonic),
        )
        self.facts = attempt.facts
        try:
            attempt.run()
        finally:
            attempt.close()


def perform(request: Request) -> int:
    """Restore, print, and return the exit code. With `machine` a document is printed whatever happens."""
    restore = _Restore(request)
    with _listening(restore.stop):
        try:
            restore.run()
        except Failure as failure:
            code = (
                Exit.DIFFERENT
                if restore.facts.target == MARKED and exit_of(failure) is Exit.USAGE
                else exit_of(failure)
            )
            return _end(restore, code, failure.reason, failure.message, problems=failure.problems)
        except Stopped:
            left = reasons.MARKED if restore.left == MARKED else reasons.UNTOUCHED
            code = 128 + restore.stop.signal
            return _end(restore, code, transfer.REASON_INTERRUPTED, f"Interrupted. {left}")
        except ManifestError as error:
            return _end(restore, Exit.USAGE, transfer.REASON_INVALID_CONFIGURATION, str(error))
        except OSError as error:
            code = Exit.DIFFERENT if restore.facts.target == MARKED else Exit.USAGE
            return _end(restore, code, transfer.REASON_INVALID_CONFIGURATION, describe_error(error))
    if request.machine:
        _print(restore, Exit.DONE, transfer.REASON_SUCCEEDED, _summary(restore))
    else:
        _tell(restore.console, restore)
    return Exit.DONE


def _end(restore: _Restore, code: int, reason: str, message: str, *, problems: tuple[str, ...] = ()) -> int:
    shown = printable(message)
    warn(f"datamover restore: {shown}")
    if restore.request.machine:
        _print(restore, code, reason, shown, problems=problems)
    return code


def _summary(restore: _Restore) -> str:
    facts, point = restore.facts, restore.point
    path = restore.request.order.path
    what = f"'{readable(path)}' of " if path else ""
    of = f" of {point.volume}" if point and point.volume else ""
    name = f"{point.name}{of}" if point else ""
    compared = tell_comparison(by_checksum=facts.files - facts.by_size, by_size=facts.by_size)
    return f"Restored {what}{name} into {printable(restore.request.order.directory)}: {amounts.count(facts.files, 'file')} ({amounts.size(facts.bytes)}), {compared}."


def _tell(console: Console, restore: _Restore) -> None:
    facts = restore.facts
    say(console, _summary(restore))
    if facts.kept:
        say(console, f"{amounts.count(facts.kept, 'file')} of them had been there already and right.")
    for loss in facts.lost:
        say(console, f"lost: {_line(loss)}")
    for loss in facts.left_out:
        say(console, f"not in the backup: {_line(loss)}")
    for note in facts.notes:
        say(console, f"note: {note}.")


def _line(loss: Loss) -> str:
    return f"{loss.kind} ({amounts.count(loss.count, 'path')}): {quote_names(loss.examples, loss.count)}"


def _print(restore: _Restore, code: int, reason: str, message: str, *, problems: tuple[str, ...] = ()) -> None:
    facts, point = restore.facts, restore.point
    document: dict[str, Any] = {
        "exitCode": int(code),
        "reason": reason,
        "message": message,
        "directory": printable(restore.request.order.directory),
        "target": restore.left,
        "resumed": facts.resumed,
        "path": readable(restore.request.order.path),
        "point": None
        if point is None
        else {"run": point.run_id, "moment": point.moment, "volume": point.volume, "state": point.state},
        "files": facts.files,
        "bytes": facts.bytes,
        "fetchedFiles": facts.fetched,
        "fetchedBytes": facts.fetched_bytes,
        "keptFiles": facts.kept,
        "linkedFiles": facts.linked,
        "comparedBySizeAlone": facts.by_size,
        "losses": [msgspec.structs.asdict(loss) for loss in facts.lost],
        "notInBackup": [msgspec.structs.asdict(loss) for loss in facts.left_out],
        "notes": list(facts.notes),
        "problems": list(problems),
    }
    print_document(msgspec.json.format(msgspec.json.encode(document), indent=2))


@contextmanager
def _private_files() -> Generator[None]:
    """Let nobody else read what has not got its mode yet."""
    before = os.umask(_PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _listening(stop: Stop) -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the restore in order."""

    def hear(number: int, _frame: object) -> None:
        stop.signal = number
        stop.request(transfer.INTERRUPTED)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
