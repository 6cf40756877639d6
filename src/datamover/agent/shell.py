"""The shell that every engine runs in: it reads nothing of what an engine moves, and tells how it ended.

What happens in one attempt:

1. Secrets are found in the environment, so that nothing is printed that holds one.
2. The engine reads the environment into a `Task`. What is wrong with it is the outcome.
3. From here on signals and the deadline request a stop, of which child processes hear.
4. The task gets a directory for temporary files and is run.
5. The outcome is cleaned and told, whatever happened.

Guarantees: whatever happens, there is an outcome, in the termination message and as the last line of standard output, and an exit code that
belongs to it; no secret is printed.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import BinaryIO, Protocol

import msgspec

from datamover.agent import outcome
from datamover.agent.children import Stop
from datamover.agent.errors import AgentError, Failure, Stopped
from datamover.agent.excerpt import Excerpt
from datamover.agent.output import Output
from datamover.agent.redaction import Redactor
from datamover.agent.scratch import scratch_folder
from datamover.api import transfer


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a task is given. `begun` is the outcome to fill in; `say` takes sentences for people, `tell` lines for the operator; `scratch` is a
    directory of its own.
    """

    environ: Mapping[str, str]
    begun: transfer.Outcome
    stop: Stop
    deadline: float
    rest: outcome.Rest
    scratch: str
    redact: Callable[[str], str]
    say: Callable[[str], None]
    tell: Callable[[str], None]

    def conclude(
        self,
        work: Callable[[], transfer.Outcome],
        *,
        so_far: Callable[[], transfer.Outcome],
        trouble: Callable[[], str] = str,
        log: Excerpt | None = None,
    ) -> transfer.Outcome:
        """Return what `work` returns, or, when it is stopped or fails, `so_far` with what happened, which is the last line of the `log` then.

        `trouble` says what the work waits for. Errors that are not the agent's own go on: nobody knows whether `so_far` could be asked then.
        """
        try:
            result = work()
        except Stopped as why:
            result = outcome.stopped(so_far(), why, deadline=self.deadline, trouble=trouble(), rest=self.rest)
        except Failure as failure:
            result = outcome.failed(so_far(), failure)
        except AgentError as error:
            result = outcome.broken(so_far(), error, write=self.say)
        if log is None:
            return result
        return msgspec.structs.replace(result, log=log.of_success() if result.succeeded else log.end(result.message))


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine has read from the environment and is about to do, and what the shell must know of it.

    `config` is a directory that may take temporary files; `deadline` (0: none) and `grace` are in seconds; `notices` are sentences for people,
    without their full stop; `rest` says what a stop leaves. `run` may raise anything: it becomes an outcome.
    """

    config: str
    deadline: float
    grace: float
    run: Callable[[Surroundings], transfer.Outcome]
    notices: tuple[str, ...] = ()
    rest: outcome.Rest = outcome.Rest()


class Engine(Protocol):
    """A way to move data."""

    def __call__(self, environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
        """Read the environment. `now` (UTC) and `token`, a few random letters, stand in for what nobody decided. Raises Misconfigured."""
        ...


def run(engine: Engine, environ: Mapping[str, str], *, stream: BinaryIO) -> int:
    """Run one attempt with this engine; return the exit code. `stream` is standard output."""
    redact = Redactor(environ)
    output = Output(stream, redact=redact)
    started = datetime.now(UTC)
    begun = transfer.Outcome(
        run_id=environ.get(transfer.RUN_ID, ""), started_at=rfc3339(started), reason=transfer.REASON_INTERNAL_ERROR
    )
    termination = environ.get(transfer.ROOT, "/").rstrip("/") + transfer.TERMINATION_PATH
    stop = Stop(grace=transfer.DEFAULT_GRACE_PERIOD)
    deadline = 0.0
    try:
        task = engine(environ, now=started, token=os.urandom(3).hex())
        for notice in task.notices:
            output.say(f"Note: {notice}.")
        stop.grace, deadline = task.grace, task.deadline
        _listen(stop, deadline=deadline)
        with scratch_folder(task.config) as scratch:
            result = task.run(
                Surroundings(
                    environ=environ,
                    begun=begun,
                    stop=stop,
                    deadline=deadline,
                    rest=task.rest,
                    scratch=scratch,
                    redact=redact,
                    say=output.say,
                    tell=output.tell,
                )
            )
    except Stopped as why:
        result = outcome.stopped(begun, why, deadline=deadline, trouble="")
    except Failure as failure:
        result = outcome.failed(begun, failure)
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an outcome (law L10)
        result = outcome.broken(begun, error, write=output.say)
    result = msgspec.structs.replace(outcome.clean(result, redact), finished_at=rfc3339(datetime.now(UTC)))
    outcome.tell(result, path=termination, write=output.tell)
    return result.exit_code if result.failure_class != transfer.INTERRUPTED else 128 + stop.signal


def _listen(stop: Stop, *, deadline: float) -> None:
    """Let signals and the deadline end the attempt."""

    def on_signal(number: int, _frame: object) -> None:
        stop.signal = number
        stop.request(transfer.INTERRUPTED)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
    if deadline:
        timer = threading.Timer(deadline, stop.request, (transfer.DEADLINE_EXCEEDED,))
        timer.daemon = True
        timer.start()


def rfc3339(moment: datetime) -> str:
    """Return a moment (UTC) as outcomes have it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
