"""The engine as the agent's shell runs it: from the environment to the outcome."""

import os
from collections.abc import Mapping
from datetime import datetime

import msgspec

from datamover.agent import debugging, outcome
from datamover.agent.children import find_wrapper
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone import process
from datamover.agent.rclone.configuration import copy_configuration, read_configuration
from datamover.agent.rclone_conf.attempt import Attempt
from datamover.agent.rclone_conf.settings import Settings, place_of, read_settings
from datamover.agent.rclone_conf.variables import engine_variables
from datamover.agent.shell import Surroundings, Task
from datamover.api import transfer


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
    """Return the attempt that the environment asks for. Raises Misconfigured."""
    del now
    settings = read_settings(environ, token=token)
    return Task(
        config=settings.temporary,
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        run=debugging.wait_for_the_end if debugging.is_asked(environ) else lambda given: _run(settings, given),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    config = f"{given.scratch}/rclone.conf"
    copy_configuration(settings.config, config)
    environment = engine_variables(
        given.environ, config=config, scratch=given.scratch, authorities=settings.authorities
    )
    engine = _find_engine(settings, given)
    configuration = read_configuration(engine, environment=environment)
    configuration.demand(settings.section, given.environ)
    if problems := configuration.problems():
        raise Misconfigured(f"rclone.conf is not used: {'; '.join(problems)}.")
    if not settings.root:
        configuration.demand_lasting(f"{settings.section}:{settings.path}", given.environ)
    given = configuration.hide(given)
    # On one machine it is a link to the volume's folder, which rclone would take for a link of the volume.
    there = msgspec.structs.replace(settings, mount=os.path.realpath(settings.mount))
    attempt = Attempt(
        there,
        place=place_of(settings, kind=configuration.kind(settings.section, given.environ)),
        environment=environment,
        engine=_find_engine(settings, given),
        version=configuration.engine,
        given=given,
    )

    def to_the_end() -> transfer.Outcome:
        attempt.run()
        return msgspec.structs.replace(
            attempt.so_far(),
            succeeded=True,
            reason=transfer.REASON_SUCCEEDED,
            message=attempt.summary(),
        )

    result = given.conclude(
        to_the_end, so_far=attempt.so_far, trouble=lambda: attempt.report.trouble, log=attempt.excerpt
    )
    return outcome.clean(result, given.redact)


def _find_engine(settings: Settings, given: Surroundings) -> process.Engine:
    search = given.environ.get("PATH")
    program = process.find_engine(settings.engine, search=search)
    return process.Engine(program, stop=given.stop, wrapper=find_wrapper(search=search), redact=given.redact)
