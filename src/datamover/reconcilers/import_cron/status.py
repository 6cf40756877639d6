"""The only module that writes the status of a DataImportCron."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from datamover.api.cdi.conditions import Said, merge
from datamover.api.cdi.data_import_cron import DataImportCron, DataImportCronStatus, ImportStatus
from datamover.api.cdi.data_volume import DataVolumeCondition
from datamover.plans.steps import Emit, Step, WriteStatus
from datamover.reconcilers.import_cron.asking import Reason
from kubekit.words.timestamps import seconds

PROGRESSING: Final = "Progressing"
UP_TO_DATE: Final = "UpToDate"
POLLED: Final = "Polled"
_ORDER: Final = (PROGRESSING, UP_TO_DATE, POLLED)
ACTION: Final = "Import"
_NOTHING: Final[Mapping[str, Any]] = {}
Steps = tuple[Step[DataImportCronStatus], ...]
_CALM: Final = frozenset({Reason.UP_TO_DATE, Reason.OUTDATED, Reason.IMPORTING, Reason.NO_DIGEST, Reason.UNSUPPORTED})
"""Reasons that nobody has to be warned of."""


def tell(
    cron: DataImportCron,
    reason: Reason,
    message: str,
    *,
    now: datetime,
    progressing: Said | None = None,
    fields: Mapping[str, Any] = _NOTHING,
) -> Steps:
    """Return the steps that say how far it is; none when it is said already. `fields` are further ones of the status.

    An event goes with each new reason.
    """
    current = cron.status or DataImportCronStatus()
    up_to_date = Said("True" if reason is Reason.UP_TO_DATE else "False", reason, message)
    said = {
        PROGRESSING: progressing or Said("False", Reason.NO_IMPORT, "no import is under way"),
        UP_TO_DATE: up_to_date,
    }
    conditions = merge(current.conditions, said, order=_ORDER, now=now)
    status = replace(current, conditions=conditions, **{"source_format": "pvc", **fields})
    if status == cron.status:
        return ()
    before = next((each.reason for each in current.conditions or () if each.type == UP_TO_DATE), None)
    if before == reason:
        return (WriteStatus(status),)
    return (WriteStatus(status), Emit("Normal" if reason in _CALM else "Warning", reason, message, ACTION))


def record_poll(cron: DataImportCron, *, problem: str, now: datetime) -> Steps:
    """Return the step that says when the source was looked at, and why nothing was to be seen; `problem` is empty where all went well.

    The heartbeat of the condition is the moment of the last answer; where it is False, its transition is the first failure since.
    """
    current, moment = cron.status or DataImportCronStatus(), seconds(now)
    said = Said("False", Reason.POLL_FAILED, problem) if problem else Said("True", Reason.POLLED, "the server answers")
    conditions = tuple(
        replace(each, last_heartbeat_time=moment) if each.type == POLLED else each
        for each in merge(current.conditions, {POLLED: said}, order=_ORDER, now=now)
    )
    return (WriteStatus(replace(current, conditions=conditions, last_execution_timestamp=moment)),)


def find_poll(status: DataImportCronStatus | None) -> DataVolumeCondition | None:
    """Return what is said of the last time the source was looked at; None when it never was."""
    conditions = (status.conditions if status is not None else None) or ()
    return next((each for each in conditions if each.type == POLLED), None)


def current_of(cron: DataImportCron) -> ImportStatus | None:
    """Return the import that is under way, or was the last one."""
    found = cron.status.current_imports if cron.status is not None else None
    return found[0] if found and found[0].data_volume_name else None


def last_imported(cron: DataImportCron) -> str:
    """Return the claim that was imported last; empty when none was."""
    found = cron.status.last_imported_pvc if cron.status is not None else None
    return found.name if found is not None else ""


def is_up_to_date(status: DataImportCronStatus | None) -> str:
    """Return the status of the condition UpToDate; empty when nothing was said."""
    conditions = (status.conditions if status is not None else None) or ()
    return next((each.status for each in conditions if each.type == UP_TO_DATE), "")
