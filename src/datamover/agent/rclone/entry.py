"""rclone as an engine of the agent's shell: one attempt, a mirror or a timestamped copy, from the environment to its outcome."""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from datamover.agent import outcome
from datamover.agent.children import find_wrapper
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone import logs, process
from datamover.agent.rclone.options import Options, engine_options, file_lists
from datamover.agent.rclone.progress import Reporter
from datamover.agent.rclone.settings import Settings, read_settings
from datamover.agent.shell import Surroundings, Task, rfc3339
from datamover.api import transfer


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
    """Return the attempt that the environment asks for. Raises Misconfigured."""
    settings = read_settings(environ, now=now, token=token)
    return Task(
        config=settings.config,
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        run=lambda given: _run(settings, given),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    config = _config_file(given.scratch)
    _check_lists(given.environ)
    authorities = f"{given.scratch}/authorities.pem"
    if settings.authorities:
        with open(authorities, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would take a tenth of the start-up budget
            file.write(f"{settings.authorities}\n")
    options = engine_options(
        given.environ,
        settings,
        config_file=config,
        temporary=given.scratch,
        authorities_file=authorities,
        now=datetime.now(UTC),
    )
    search = given.environ.get("PATH")
    engine = process.Engine(
        process.find_engine(settings.engine, search=search),
        stop=given.stop,
        wrapper=find_wrapper(search=search),
        redact=given.redact,
    )
    return _attempt(settings, options, engine, given)


def _attempt(settings: Settings, options: Options, engine: process.Engine, given: Surroundings) -> transfer.Outcome:
    from datamover.agent.rclone.attempt import Equipment

    # only the one that is wanted: both would take a tenth of the start-up budget
    if settings.add_timestamp:
        from datamover.agent.rclone.timestamped import Timestamped as Kind
    else:
        from datamover.agent.rclone.mirror import Mirror as Kind
    report = Reporter(settings.run_id, write=given.say, tell=given.tell, monotonic=time.monotonic)
    attempt = Kind(
        Equipment(
            settings=settings,
            options=options,
            engine=engine,
            report=report,
            show=lambda line: given.say(logs.written(line)) if logs.shown(line, level=options.level) else None,
            say=given.say,
            scratch=given.scratch,
        )
    )

    def so_far() -> transfer.Outcome:
        files, size = attempt.ledger.sources()
        moved_files, moved_bytes = attempt.moving.moved
        return msgspec.structs.replace(
            given.begun,
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

    def to_the_end() -> transfer.Outcome:
        attempt.run()
        done = msgspec.structs.replace(
            so_far(),
            succeeded=True,
            reason=transfer.REASON_SUCCEEDED,
            message=attempt.summary(),
            problems=tuple(attempt.tally.special_names),
            finished_at=rfc3339(datetime.now(UTC)),
        )
        # what stays at the destination leaves the mover as well
        done = outcome.clean(done, given.redact)
        attempt.record(done)
        return done

    try:
        return given.conclude(to_the_end, so_far=so_far, trouble=lambda: report.trouble)
    finally:
        attempt.close()


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
