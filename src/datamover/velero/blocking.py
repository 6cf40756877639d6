"""Waiting within Execute, as the document draws it: asked for by the key `blocking` of the configuration, and bounded in time.

What is waited for is what has been begun when the control plane's turn comes: Velero processes claims and Pods before it, and will begin nothing else
while it waits for an answer. A wait for more than is there would be one for ever.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from datamover.api.velero.backup import Backup, BackupStatus
from datamover.api.velero.phases import BackupPhase
from datamover.velero.actions import Call
from datamover.velero.cluster import LOOK_LIMIT
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.limits import OPERATION_TIMEOUT
from datamover.verdicts.validate import give_up
from datamover.verdicts.verdict import State, Verdict

LONGEST = OPERATION_TIMEOUT
"""However long `dataUploadTimeout` is: Velero itself gives an operation no more, unless it is told to."""


def as_collected(backup: Backup) -> Backup:
    """Return the backup as if Velero had processed all items: what there is counts as all that there will be."""
    status = BackupStatus(
        phase=BackupPhase.WAITING, start_timestamp=backup.status.start_timestamp if backup.status is not None else None
    )
    return Backup(metadata=backup.metadata, spec=backup.spec, status=status)


def wait(
    look: Callable[[], Verdict],
    *,
    configuration: Configuration,
    call: Call,
    now: Callable[[], datetime],
) -> Verdict:
    """Look again and again until nothing is waited for, nobody waits for us any more, or `dataUploadTimeout` is over.

    In the last case the verdict is a failure, unless nothing could be seen.

    `look` returns the verdict of now.
    """
    limit = min(configuration.data_upload_timeout, LONGEST)
    pace = min(configuration.data_upload_check_pace, limit)
    end, slept = now() + limit, timedelta(0)
    while True:
        call.extend(LOOK_LIMIT * 2)
        verdict = look()
        if verdict.state is not State.WAITING or not call.wanted():
            return verdict
        left = min(end - now(), limit - slept)  # also where the clock is set back
        if left <= timedelta(0):
            return give_up(verdict) if verdict.waits else verdict  # what could not be seen is no failure
        seconds = min(pace, left).total_seconds()
        call.extend(seconds + LOOK_LIMIT * 2)
        call.sleep(seconds)
        slept += timedelta(seconds=seconds)
        if not call.wanted():
            return verdict
