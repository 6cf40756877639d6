"""rclone as an engine of the agent's shell: one attempt, a mirror or a timestamped copy, from the environment to its outcome."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from datamover.agent import outcome
from datamover.agent.rclone import logs, process
from datamover.agent.rclone.access import prepare_engine
from datamover.agent.rclone.options import Options
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
    engine, options = prepare_engine(
        settings, given.environ, scratch=given.scratch, stop=given.stop, redact=given.redact
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
        copied_files, copied_bytes = attempt.ledger.taken_over()
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
            copied_files=copied_files,
            copied_bytes=copied_bytes,
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
