"""rsync over ssh as an engine of the agent's shell: one attempt of a source or a destination, from the environment to its outcome."""

from collections.abc import Mapping
from datetime import datetime

from datamover.agent import debugging
from datamover.agent.rsync.ssh.settings import Settings, read_settings
from datamover.agent.shell import Surroundings, Task
from datamover.api import transfer


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:  # noqa: ARG001 - the interface of an engine
    """Return the attempt that the environment asks for. Raises Failure."""
    settings = read_settings(environ)
    return Task(
        # /tmp is the only place of the container where something may be written
        config=f"{settings.root}/tmp",  # noqa: S108 - the Pod's own volume
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        run=lambda given: _run(settings, given),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    if settings.debug:
        return given.conclude(lambda: debugging.wait_for_the_end(given), so_far=lambda: given.begun)
    if settings.is_source:
        from datamover.agent.rsync.ssh.source import Source as Side
    else:
        from datamover.agent.rsync.ssh.destination import Destination as Side
    return Side(settings, given).run()
