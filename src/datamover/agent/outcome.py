"""The outcome of an attempt: what it says of each way to end, and telling it.

It is told in the termination message and as the last line of standard output.
"""

import os
from collections.abc import Callable

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure, Stopped
from datamover.api import outside, transfer
from datamover.api.restore import clean_restored
from datamover.api.verification import clean_compared


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What a stopped attempt leaves, and what sets its deadline, in words that go on a sentence."""

    left: str = "What arrived stays, and another one goes on from there"
    setting: str = "the deadline"


def tell(outcome: transfer.Outcome, *, path: str, write: Callable[[str], None]) -> None:
    """Write the outcome into the termination message at `path`, where there is one, and to standard output.

    Without the file (a stand-alone run) or the right to write it, standard output is all there is; that is not an error.
    """
    encoded = transfer.encode_outcome(outcome)
    # the kubelet makes the file; a stray one in a laptop's own /dev would help nobody
    create = 0 if path == transfer.TERMINATION_PATH else os.O_CREAT
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | create, 0o644)
    except OSError:
        handle = None
    if handle is not None:
        try:
            os.write(handle, encoded)
        finally:
            os.close(handle)
    write(encoded.decode())


def clean(told: transfer.Outcome, redact: Callable[[str], str]) -> transfer.Outcome:
    """Return an outcome as it may leave the mover: without secrets, and only then clean and with long names cut."""
    return msgspec.structs.replace(
        told,
        message=outside.clean(printing.printable(redact(told.message)), limit=transfer.OUTCOME_LIMIT),
        destination=outside.clean(printing.printable(redact(told.destination)), limit=transfer.OUTCOME_LIMIT),
        problems=printing.shorten(printing.printable(redact(problem)) for problem in told.problems),
        log=transfer.clean_log("\n".join(printing.printable(redact(line)) for line in told.log.splitlines())),
        restored=told.restored
        if told.restoration is None
        else clean_restored(told.restoration, tidy=lambda word: printing.printable(redact(word))),
        compared=told.compared
        if told.comparison_made is None
        else clean_compared(told.comparison_made, tidy=lambda word: printing.printable(redact(word))),
    )


def failed(so_far: transfer.Outcome, failure: Failure) -> transfer.Outcome:
    """Return the outcome of an attempt that ended with a failure."""
    return msgspec.structs.replace(
        so_far,
        failure_class=failure.failure_class,
        reason=failure.reason,
        message=failure.message,
        retryable=failure.retryable,
        problems=failure.problems,
    )


def stopped(
    so_far: transfer.Outcome, why: Stopped, *, deadline: float, trouble: str, rest: Rest | None = None
) -> transfer.Outcome:
    """Return the outcome of an attempt that was asked to end. `trouble` is what it was waiting for, or empty."""
    rest = rest or Rest()
    waiting = f" It was waiting for the server: {trouble}" if trouble else ""
    if why.why == transfer.DEADLINE_EXCEEDED:
        failure = Failure(
            transfer.DEADLINE_EXCEEDED,
            transfer.REASON_DEADLINE_EXCEEDED,
            f"The run did not end within its deadline of {deadline:g} s. {rest.left}; raise {rest.setting}, or look at what is slow.{waiting}",
        )
    else:
        failure = Failure(
            transfer.INTERRUPTED,
            transfer.REASON_INTERRUPTED,
            f"The mover was told to stop. {rest.left}.{waiting}",
        )
    return failed(so_far, failure)


def broken(so_far: transfer.Outcome, error: BaseException, *, write: Callable[[str], None]) -> transfer.Outcome:
    """Return the outcome of an attempt that ended with an error nobody expected; its trace goes to `write`."""
    import errno
    import traceback

    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or "disk is full" in str(
        error
    ):  # the latter are SQLite's words, in which the rclone engine keeps its ledger
        return failed(
            so_far,
            Failure(
                transfer.NO_SPACE,
                transfer.REASON_NO_LOCAL_SPACE,
                "No space left on device in the mover's own scratch space (/config or /tmp): give it more (about 200 bytes a file).",
            ),
        )
    write("".join(traceback.format_exception(error)).rstrip())
    return failed(
        so_far,
        Failure(
            transfer.INTERNAL,
            transfer.REASON_INTERNAL_ERROR,
            f"The agent failed: {type(error).__name__}: {error}. This is a defect of datamover; its log has the trace.",
        ),
    )
