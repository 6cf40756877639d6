"""The engine as the agent's shell runs it: from the environment to the outcome."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

from datamover.agent import outcome
from datamover.agent.importer.attempt import Attempt
from datamover.agent.importer.settings import Settings, read_settings
from datamover.agent.shell import Surroundings, Task
from datamover.api import importer, transfer

_REST: Final = outcome.Rest(
    left="Nothing of it is kept, and another attempt begins anew",
    setting="the operator's --datavolume-deadline (dataVolumes.population.deadline in the chart)",
)


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
    """Return the attempt that the environment asks for. Raises Misconfigured."""
    del now
    settings = read_settings(environ, token=token)
    return Task(
        config=settings.place(importer.SCRATCH_PATH),
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        rest=_REST,
        run=lambda given: _run(settings, given),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    attempt = Attempt(settings, given)

    def to_the_end() -> transfer.Outcome:
        attempt.run()
        return msgspec.structs.replace(
            attempt.so_far(), succeeded=True, reason=transfer.REASON_SUCCEEDED, message=attempt.summary()
        )

    result = given.conclude(to_the_end, so_far=attempt.so_far, trouble=lambda: attempt.report.trouble)
    return outcome.clean(result, given.redact)
