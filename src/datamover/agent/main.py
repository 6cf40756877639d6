# ruff: noqa: PTH102  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""`datamover-agent`: one attempt to move one volume, inside a mover container or on its own.

`datamover-agent apply-manifest` is for people: see `restoration`.

Guarantees: whatever happens, there is an outcome, in the termination message and as the last line of standard output, and an exit code that
belongs to it; no secret is printed.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import msgspec

from datamover.agent import outcome
from datamover.agent.errors import AgentError, Failure, Misconfigured, Stopped
from datamover.agent.files import names
from datamover.agent.output import Output
from datamover.agent.progress import Reporter
from datamover.agent.rclone import logs, process
from datamover.agent.rclone.options import Options, engine_options, file_lists
from datamover.agent.rclone.settings import Settings, read_settings
from datamover.agent.redaction import Redactor
from datamover.api import outside, transfer


def main() -> int:
    """Run one attempt in this process's environment, or the subcommand that is named; return the exit code."""
    if sys.argv[1:2] == ["apply-manifest"]:
        from datamover.agent.files import restoration

        return restoration.main(sys.argv[2:])
    if sys.argv[1:]:
        return _usage(sys.argv[1])
    redact = Redactor(os.environ)
    output = Output(sys.stdout.buffer, redact=redact)
    told = _run(os.environ, output=output, redact=redact)
    return told.exit_code if told.failure_class != transfer.INTERRUPTED else 128 + _signal


_USAGE = """\
Usage: datamover-agent
       datamover-agent apply-manifest MANIFEST DIRECTORY

One attempt to move one volume. It takes no options: everything is environment, as the operator gives it to a mover's container.

  DATAMOVER_ROOT         where /data and /config are to be found, / by default
  BUCKET_HOST, BUCKET_PORT, BUCKET_NAME, TLS_HOST, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
                         the destination, the keys of a DataMover's Secret
  DATAMOVER_OWNER_PVC    the volume that the mirror is of

All of them, and the exit codes, are in docs/mover.md. `apply-manifest` gives restored files their modes, owners, times and links again.
"""


def _usage(word: str) -> int:
    """Answer what is no attempt. Nothing is moved for a word that was meant otherwise."""
    asked = word in ("-h", "--help")
    stream = sys.stdout if asked else sys.stderr
    with suppress(OSError):
        stream.write(
            _USAGE if asked else f"datamover-agent: {word!a} is no argument that there is: see datamover-agent --help\n"
        )
        stream.flush()
    return 0 if asked else 2


_signal = int(signal.SIGTERM)


def _run(environ: Mapping[str, str], *, output: Output, redact: Redactor) -> transfer.Outcome:
    started = datetime.now(UTC)
    result = transfer.Outcome(
        run_id=environ.get(transfer.RUN_ID, ""), started_at=_rfc3339(started), reason=transfer.REASON_INTERNAL_ERROR
    )
    termination = environ.get(transfer.ROOT, "/").rstrip("/") + transfer.TERMINATION_PATH
    try:
        settings = read_settings(environ, now=started, token=os.urandom(3).hex())
        for notice in settings.notices:
            output.say(f"Note: {notice}.")
        result = _move(settings, environ, begun=result, output=output, redact=redact)
    except Failure as failure:
        result = _failed(result, failure)
    except Exception as error:  # noqa: BLE001 - whatever it is, it becomes an outcome (law L10)
        result = _broken(result, error, write=output.say)
    result = msgspec.structs.replace(_clean(result, redact), finished_at=_rfc3339(datetime.now(UTC)))
    outcome.tell(result, path=termination, write=output.tell)
    return result


def _clean(told: transfer.Outcome, redact: Redactor) -> transfer.Outcome:
    """Return an outcome as it may leave: without secrets, and only then clean and with long names cut."""
    return msgspec.structs.replace(
        told,
        message=outside.clean(names.printable(redact(told.message)), limit=transfer.OUTCOME_LIMIT),
        destination=outside.clean(names.printable(redact(told.destination)), limit=transfer.OUTCOME_LIMIT),
        problems=logs.shorten(names.printable(redact(problem)) for problem in told.problems),
    )


def _move(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    begun: transfer.Outcome,
    output: Output,
    redact: Redactor,
) -> transfer.Outcome:
    stop = process.Stop(grace=settings.grace)
    _listen(stop, deadline=settings.deadline)
    with _scratch(settings) as scratch:
        config = _config_file(scratch)
        _check_lists(environ)
        authorities = f"{scratch}/authorities.pem"
        if settings.authorities:
            with open(authorities, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would take a tenth of the start-up budget
                file.write(f"{settings.authorities}\n")
        options = engine_options(
            environ,
            settings,
            config_file=config,
            temporary=scratch,
            authorities_file=authorities,
            now=datetime.now(UTC),
        )
        search = environ.get("PATH")
        engine = process.Engine(
            process.find_engine(settings.engine, search=search),
            stop=stop,
            wrapper=process.find_wrapper(search=search),
            redact=redact,
        )
        return _attempt(settings, options, engine, scratch=scratch, begun=begun, output=output, redact=redact)


def _attempt(
    settings: Settings,
    options: Options,
    engine: process.Engine,
    *,
    scratch: str,
    begun: transfer.Outcome,
    output: Output,
    redact: Redactor,
) -> transfer.Outcome:
    from datamover.agent.rclone.attempt import Surroundings

    if settings.add_timestamp:
        from datamover.agent.rclone.timestamped import Timestamped as Kind
    else:
        from datamover.agent.rclone.mirror import Mirror as Kind
    report = Reporter(settings.run_id, write=output.say, tell=output.tell, monotonic=time.monotonic)
    attempt = Kind(
        Surroundings(
            settings=settings,
            options=options,
            engine=engine,
            report=report,
            show=lambda line: output.say(logs.written(line)) if logs.shown(line, level=options.level) else None,
            say=output.say,
            scratch=scratch,
        )
    )

    def so_far() -> transfer.Outcome:
        files, size = attempt.ledger.sources()
        moved_files, moved_bytes = attempt.moving.moved
        return msgspec.structs.replace(
            begun,
            run_id=settings.run_id,
            destination=transfer.destination(
                settings.bucket, prefix=settings.prefix, timestamp=attempt.facts.timestamp
            ),
            timestamp=attempt.facts.timestamp,
            files=files,
            bytes=size,
            transferred_files=moved_files,
            transferred_bytes=moved_bytes,
            deleted=attempt.deletions.count + attempt.moving.removed,
            skipped_special=attempt.tally.special,
            symlinks=attempt.tally.symlinks,
            verified=attempt.facts.verified,
            verification=attempt.facts.verification,
            checked_files=attempt.facts.checked,
            read_files=attempt.facts.read,
            comparison=attempt.comparison,
            engine=attempt.engine_version(),
        )

    try:
        try:
            attempt.run()
            done = msgspec.structs.replace(
                so_far(),
                succeeded=True,
                reason=transfer.REASON_SUCCEEDED,
                message=attempt.summary(),
                problems=tuple(attempt.tally.special_names),
                finished_at=_rfc3339(datetime.now(UTC)),
            )
            done = _clean(done, redact)
            attempt.record(done)
        except Stopped as stopped:
            return _stopped(so_far(), stopped, settings, trouble=report.trouble)
        except Failure as failure:
            return _failed(so_far(), failure)
        except AgentError as error:
            return _broken(so_far(), error, write=output.say)
        else:
            return done
    finally:
        attempt.close()


def _listen(stop: process.Stop, *, deadline: float) -> None:
    """Let signals and the deadline end the attempt."""

    def on_signal(number: int, _frame: object) -> None:
        global _signal  # noqa: PLW0603 - the exit code is that of the signal
        _signal = number
        stop.request(transfer.INTERRUPTED, number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, on_signal)
    if deadline:
        timer = threading.Timer(deadline, stop.request, (transfer.DEADLINE_EXCEEDED,))
        timer.daemon = True
        timer.start()


@contextmanager
def _scratch(settings: Settings) -> Generator[str]:
    """Give a directory of our own below /config, or where temporary files go; it is gone afterwards."""
    import shutil

    name = f"datamover-{os.urandom(4).hex()}"
    for parent in (settings.config, os.environ.get("TMPDIR", ""), "/tmp"):  # noqa: S108 - our own folder in it, 0700
        if not parent:
            continue
        path = f"{parent}/{name}"
        try:
            os.mkdir(path, 0o700)
        except OSError:
            continue
        break
    else:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            f"There is no place for temporary files: neither {settings.config} nor /tmp can be written to. Mount an emptyDir at {transfer.CONFIG_PATH}.",
        )
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _check_lists(environ: Mapping[str, str]) -> None:
    """Open each file that an RCLONE_..._FROM variable names; the engine would only say that it cannot, and not why. Raises Misconfigured."""
    problems: list[str] = []
    for variable, path in file_lists(environ):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            problems.append(f"{variable} names the file {path!r}, which cannot be read: {error.strerror}")
    if problems:
        raise Misconfigured(
            f"The mover's environment is wrong: {'; '.join(problems)}. Mount the file into the mover's image, or give the rules themselves"
            " (such as RCLONE_EXCLUDE)."
        )


def _config_file(scratch: str) -> str:
    """Return an empty configuration file for the engine, which would complain about a missing one. One that lies in /config already is
    not read: it could set any option in a way that nobody sees (law L4).
    """
    path = f"{scratch}/rclone.conf"
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return path


def _failed(begun: transfer.Outcome, failure: Failure) -> transfer.Outcome:
    return msgspec.structs.replace(
        begun,
        failure_class=failure.failure_class,
        reason=failure.reason,
        message=failure.message,
        retryable=failure.retryable,
        problems=failure.problems,
    )


def _stopped(begun: transfer.Outcome, stopped: Stopped, settings: Settings, *, trouble: str) -> transfer.Outcome:
    waiting = f" It was waiting for the server: {trouble}" if trouble else ""
    if stopped.why == transfer.DEADLINE_EXCEEDED:
        failure = Failure(
            transfer.DEADLINE_EXCEEDED,
            transfer.REASON_DEADLINE_EXCEEDED,
            f"The run did not end within its deadline of {settings.deadline:g} s. What arrived stays, and another run goes on from there; raise"
            f" the deadline, or look at what is slow.{waiting}",
        )
    else:
        failure = Failure(
            transfer.INTERRUPTED,
            transfer.REASON_INTERRUPTED,
            f"The mover was told to stop. What arrived stays, and another attempt goes on from there.{waiting}",
        )
    return _failed(begun, failure)


def _broken(begun: transfer.Outcome, error: BaseException, *, write: Callable[[str], None]) -> transfer.Outcome:
    import errno
    import traceback

    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    if full or "disk is full" in str(error):  # the latter are the ledger's words
        return _failed(
            begun,
            Failure(
                transfer.NO_SPACE,
                transfer.REASON_NO_LOCAL_SPACE,
                "No space left on device in the mover's own scratch space (/config or /tmp): give it more (about 200 bytes a file).",
            ),
        )
    write("".join(traceback.format_exception(error)).rstrip())
    return _failed(
        begun,
        Failure(
            transfer.INTERNAL,
            transfer.REASON_INTERNAL_ERROR,
            f"The agent failed: {type(error).__name__}: {error}. This is a defect of datamover; its log has the trace.",
        ),
    )


def _rfc3339(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


if __name__ == "__main__":
    sys.exit(main())
