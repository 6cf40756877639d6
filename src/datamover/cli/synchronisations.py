"""What a ReplicationSource or ReplicationDestination says of the one synchronisation that `datamover run` waits for. Pure.

Its status knows no phases. The words `Completed` and `Failed` are this command's: the first synchronisation is what counts, whatever the trigger.
"""

from datetime import datetime

from datamover.api.names import CopyMethod, Phase
from datamover.api.schedule import ScheduleError, parse
from datamover.api.volsync.common import Trigger
from datamover.api.volsync.names import ConditionType, MoverResult, Synchronizing
from datamover.api.volsync.replication_destination import ReplicationDestination
from datamover.api.waits import find_hold_of_sync
from datamover.cli.runnables import Replication
from datamover.reconcilers.replication.ask import Ask, ask_of
from datamover.reconcilers.replication.needs import serves
from datamover.reconcilers.replication.order import status_of
from kubekit.words import timestamps

PENDING = "Pending"


def phase_of(obj: Replication) -> str:
    """Return `Completed`, `Failed`, or the reason of its condition while the synchronisation goes on."""
    status = status_of(obj)
    if has_failed(obj):
        return Phase.FAILED
    told = status.condition(Synchronizing.TYPE)
    reason = told.reason if told is not None and told.reason else PENDING
    # What is temporary goes before the next one is waited for. Without a trigger nothing is waited for: the next one begins.
    cleaning = reason == Synchronizing.CLEANING_UP and obj.spec is not None and _is_triggered(obj.spec.trigger)
    return Phase.COMPLETED if status.last_sync_time and not status.last_sync_start_time and not cleaning else reason


def _is_triggered(trigger: Trigger | None) -> bool:
    return trigger is not None and bool(trigger.manual or trigger.schedule)


def has_failed(obj: Replication) -> bool:
    """Tell whether a mover has failed in the synchronisation that is under way."""
    status = status_of(obj)
    latest = status.latest_mover_status
    return bool(status.last_sync_start_time) and latest is not None and latest.result == MoverResult.FAILED


def is_over(obj: Replication) -> bool:
    """Tell whether nothing is under way that could be gone on with."""
    return not status_of(obj).last_sync_start_time or has_failed(obj)


def message_of(obj: Replication) -> str:
    """Return what goes on, or what came of it."""
    ready = status_of(obj).condition(ConditionType.READY)
    told = status_of(obj).condition(Synchronizing.TYPE)
    if told is not None and told.reason == Synchronizing.ERROR:
        return told.message or ""
    return (ready.message or "") if ready is not None else ""


def reason_of(obj: Replication) -> str:
    """Return the reason of that."""
    ready = status_of(obj).condition(ConditionType.READY)
    return (ready.reason or "") if ready is not None else ""


def hold_of(obj: Replication) -> str | None:
    """Return the reason why a synchronisation stands still; None while it works and when it is over."""
    if phase_of(obj) in Phase.TERMINAL:
        return None
    held = find_hold_of_sync(status_of(obj))
    return held.reason if held is not None else None


def logs_of(obj: Replication) -> str:
    """Return the end of the last mover's log."""
    latest = status_of(obj).latest_mover_status
    return (latest.logs or "").strip() if latest is not None else ""


def image_of(obj: Replication) -> str:
    """Return what a destination has received: the kind and name of its image."""
    if not isinstance(obj, ReplicationDestination) or obj.status is None or obj.status.latest_image is None:
        return ""
    return f"{obj.status.latest_image.kind}/{obj.status.latest_image.name}"


def begun_at(obj: Replication) -> datetime | None:
    """Return the time of the copy that is under way: that of its beginning. None where none is, and where no copy is made."""
    ask = ask_of(obj)
    if not isinstance(ask, Ask) or not ask.is_source or ask.copy_method == CopyMethod.DIRECT:
        return None
    start = status_of(obj).last_sync_start_time
    try:
        return timestamps.parse(start) if start else None
    except ValueError:
        return None


def is_copied(obj: Replication) -> bool:
    """Tell whether the copy of the synchronisation that is under way is there."""
    copied = status_of(obj).condition(ConditionType.COPY_READY)
    return copied is not None and copied.status == "True"


def claim_of(obj: Replication) -> str | None:
    """Return the claim that is read or written, where the user names one."""
    ask = ask_of(obj)
    return ask.claim if isinstance(ask, Ask) else None


def find_fault(obj: Replication) -> str | None:
    """Return why an object cannot be run in the embedded world, with the way out; None when it can."""
    ask = ask_of(obj)
    if isinstance(ask, str):
        return ask
    if serves(ask):
        return (
            f"its mover listens for the other side behind a Service, and the embedded world has none: move the volume with restic or rclone, "
            f"or by {ask.method} on a cluster"
        )
    try:
        if ask.trigger.schedule and not ask.trigger.manual:
            parse(ask.trigger.schedule)
    except ScheduleError as error:
        return f"spec.trigger.schedule: {error}"
    return None
