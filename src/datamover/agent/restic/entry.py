"""restic as an engine of the agent's shell: one attempt, from the environment and a list of actions to its outcome."""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from datamover.agent import debugging
from datamover.agent.excerpt import Excerpt
from datamover.agent.restic import classify
from datamover.agent.restic.attempt import Attempt, check_volume
from datamover.agent.restic.process import Restic, find_restic, read_version
from datamover.agent.restic.progress import Reporter
from datamover.agent.restic.settings import Settings, read_settings
from datamover.agent.shell import Engine, Surroundings, Task
from datamover.api import transfer

SUMMARY: Final = re.compile(
    r"processed.*files|snapshot.*saved|restoring.*|created restic repository|Initialize Dir|No data will be restored"
    r"|RESTORE_OPTIONS|Restic completed in"
)
"""Lines that a success is told by; users look for these words (documents)."""


def engine_for(actions: Sequence[str]) -> Engine:
    """Return the engine that carries out these actions."""

    def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:  # noqa: ARG001 - nothing is left undecided
        settings = read_settings(environ, actions)
        debug = debugging.is_asked(environ)
        return Task(
            config=settings.temporary,
            deadline=settings.deadline,
            grace=settings.grace,
            notices=settings.notices,
            run=debugging.wait_for_the_end if debug else lambda given: _run(settings, given),
        )

    return prepare


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    variables = settings.variables
    if settings.is_behind_rclone:
        from datamover.agent.restic import behind_rclone  # hardly any repository is, and it takes time to load

        variables, given = behind_rclone.prepare(settings, given)
    log = Excerpt(success=SUMMARY, show=given.say, redact=given.redact)
    report = Reporter(settings.run_id, tell=given.tell, monotonic=time.monotonic)
    engine = Restic(
        find_restic(settings.engine, search=variables.get("PATH")),
        variables=variables,
        folder=settings.data,
        scratch=given.scratch,
        stop=given.stop,
        redact=given.redact,
        say=log.say,
        hopeless=classify.is_hopeless,
    )
    check_volume(settings.data)
    version = read_version(engine)
    place = given.redact(settings.place)
    attempt = Attempt(settings, engine=engine, report=report, say=log.say, check=given.stop.check, place=place)

    def so_far() -> transfer.Outcome:
        facts = attempt.facts
        return msgspec.structs.replace(
            given.begun,
            run_id=settings.run_id,
            destination=place,
            files=facts.files,
            bytes=facts.bytes,
            transferred_files=facts.transferred_files,
            transferred_bytes=facts.transferred_bytes,
            deleted=facts.deleted,
            engine=version,
        )

    def to_the_end() -> transfer.Outcome:
        message = attempt.run()
        return msgspec.structs.replace(so_far(), succeeded=True, reason=transfer.REASON_SUCCEEDED, message=message)

    return given.conclude(to_the_end, so_far=so_far, trouble=lambda: report.trouble, log=log)
