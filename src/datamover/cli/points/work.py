"""One command over a bucket: it is opened, the work is done, and whatever went wrong becomes a sentence and an exit code."""

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import msgspec

from datamover.agent.children import Stop
from datamover.agent.errors import Failure, Stopped
from datamover.agent.points.bucket import Bucket, open_bucket
from datamover.agent.printing import printable, readable
from datamover.agent.redaction import Redactor
from datamover.agent.scratch import scratch_folder
from datamover.api import transfer
from datamover.cli.manifests import ManifestError
from datamover.cli.points.environment import ADVICE, read_environment
from datamover.cli.points.place import Place
from datamover.cli.terminal import print_document, warn


class Exit(IntEnum):
    """Exit codes, documented in docs/cli.md."""

    DONE = 0
    DIFFERENT = 1
    USAGE = 2
    UNREACHABLE = 3
    UNPROVED = 4
    """Nothing differs as far as it could be compared."""
    INTERRUPTED = 130


Say = Callable[[str], None]


@contextmanager
def open_place(place: Place, *, stop: Stop) -> Generator[tuple[Bucket, Say]]:
    """Give the bucket that was said on the command line, and what takes lines of the engine, which are shown if they are asked for. What people should
    know beside the answer is told, and what is waited for, in the same way by every command. Raises ManifestError, AgentError, OSError.
    """
    environ = read_environment(place, os.environ, stdin=sys.stdin)
    redact = Redactor(environ)

    def say(line: str) -> None:
        if place.verbose:
            warn(printable(redact(line)))

    with (
        scratch_folder("") as scratch,
        open_bucket(
            environ,
            scratch=scratch,
            stop=stop,
            redact=redact,
            say=say,
            wait=_Waiting(),
            tell=_tell_note,
            advice=ADVICE,
        ) as bucket,
    ):
        for notice in bucket.settings.notices:
            _tell_note(notice)
        yield bucket, say


def perform(command: str, place: Place, work: Callable[[Bucket], Exit], *, machine: bool = False) -> Exit:
    """Open the bucket, do the work and return the exit code. With `machine` a document is printed for whatever goes wrong."""
    try:
        with open_place(place, stop=Stop(grace=1.0)) as (bucket, _):
            return work(bucket)
    except Failure as failure:
        return _end(command, exit_of(failure), failure.message, reason=failure.reason, machine=machine)
    except ManifestError as error:
        return _end(command, Exit.USAGE, str(error), reason=transfer.REASON_INVALID_CONFIGURATION, machine=machine)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _end(
            command, Exit.USAGE, describe_error(error), reason=transfer.REASON_INVALID_CONFIGURATION, machine=machine
        )
    except (KeyboardInterrupt, Stopped):
        return _end(command, Exit.INTERRUPTED, "interrupted", reason=transfer.REASON_INTERRUPTED, machine=machine)


def describe_error(error: OSError) -> str:
    """Return what the operating system refused, and of which file, as people can read it."""
    if error.filename is None or isinstance(error.filename, int):
        return str(error)
    return f"{readable(os.fsencode(error.filename)) or 'an empty name'}: {error.strerror}"


def exit_of(failure: Failure) -> Exit:
    """Return the exit code of a failure: whether another try may help, whether something was found to be different, or neither."""
    if failure.failure_class == transfer.VERIFY:
        return Exit.DIFFERENT
    reached = failure.failure_class != transfer.NETWORK or not failure.retryable
    return Exit.USAGE if reached else Exit.UNREACHABLE


def _tell_note(note: str) -> None:
    """Say what people should know beside the answer: what was passed over, what is left out, what of the settings has no effect."""
    warn(f"note: {printable(note)}")


def _end(command: str, code: Exit, message: str, *, reason: str, machine: bool) -> Exit:
    shown = printable(message)
    warn(f"datamover {command}: {shown}")
    if machine:
        document: dict[str, Any] = {"exitCode": code, "reason": reason, "error": shown}
        print_document(msgspec.json.format(msgspec.json.encode(document), indent=2))
    return code


class _Waiting:
    """Says once what the server's trouble is, as every command that waits for one does."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, trouble: str) -> None:
        """Take what is the trouble, an empty text when it is over."""
        if trouble and trouble != self._told:
            warn(f"waiting: {printable(trouble)}")
        self._told = trouble or self._told
