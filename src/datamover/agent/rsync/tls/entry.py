"""rsync-tls as an engine of the agent's shell: one attempt, source or destination, from the environment to its outcome."""

from collections.abc import Mapping
from datetime import datetime

from datamover.agent import debugging
from datamover.agent.rsync.tls.settings import Settings, read_settings
from datamover.agent.rsync.volume import find_volume
from datamover.agent.shell import Surroundings, Task
from datamover.api import transfer


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
    """Return the attempt that the environment asks for. Raises Misconfigured."""
    settings = read_settings(environ, now=now, token=token)
    return Task(
        config=settings.temporary,
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        run=lambda given: _run(settings, given),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    from datamover.agent.rsync.tls.work import Work

    if settings.debug:
        debugging.wait_for_the_end(given)
    work = Work(settings, given)
    volume = find_volume(settings.root)
    match settings.is_source, volume.is_device:
        case True, True:
            from datamover.agent.rsync.tls.device_source import DeviceSource as Side
        case True, False:
            from datamover.agent.rsync.tls.source import Source as Side
        case False, True:
            from datamover.agent.rsync.tls.device_destination import DeviceDestination as Side
        case _:
            from datamover.agent.rsync.tls.destination import Destination as Side
    side = Side(work, volume)
    return given.conclude(side.run, so_far=work.so_far, trouble=lambda: work.report.trouble, log=work.log)
