"""What is counted of DataImportCrons."""

from typing import Protocol

from datamover.api.cdi.data_import_cron import DataImportCron, DataImportCronStatus
from datamover.plans.learned import Learned
from datamover.reconcilers.import_cron.asking import Reason
from datamover.reconcilers.import_cron.status import find_poll, is_up_to_date
from kubekit.runtime.store import Key
from kubekit.words.timestamps import moment_of


class Meter(Protocol):
    """Counts by namespace and name."""

    def standing(
        self,
        namespace: str,
        name: str,
        *,
        up_to_date: bool,
        failing: bool,
        imported: float | None,
        polled: float | None,
    ) -> None:
        """How one stands; `failing`: its server could not be asked the last time. Moments are in seconds since 1970."""
        ...

    def imported(self, namespace: str, name: str) -> None:
        """An import has come to its end."""
        ...

    def deleted(self, namespace: str, name: str, *, finished: bool) -> None:
        """An import was deleted."""
        ...

    def poll_failed(self, namespace: str, name: str) -> None:
        """The server could not be asked."""
        ...

    def forget(self, namespace: str, name: str) -> None:
        """One is gone."""
        ...


def show(key: Key, status: DataImportCronStatus | None, *, meter: Meter) -> None:
    """Show how a DataImportCron stands."""
    poll = find_poll(status)
    answered = (poll.last_heartbeat_time if poll.status == "True" else poll.last_transition_time) if poll else None
    meter.standing(
        key.namespace or "",
        key.name,
        up_to_date=is_up_to_date(status) == "True",
        failing=poll is not None and poll.status == "False",
        imported=moment_of(status.last_import_timestamp if status is not None else None, default=None),
        polled=moment_of(answered, default=None),
    )


def report(learned: Learned[DataImportCron, DataImportCronStatus], obj: DataImportCron, *, meter: Meter) -> None:
    """Count what was learnt in acting for a DataImportCron."""
    namespace, name = obj.metadata.namespace or "", obj.metadata.name
    for each in learned.written:
        before, now = each.before.status or DataImportCronStatus(), each.status
        if now.last_imported_pvc is not None and now.last_imported_pvc != before.last_imported_pvc:
            meter.imported(namespace, name)
        poll = find_poll(now)
        if now.last_execution_timestamp != before.last_execution_timestamp and poll and poll.status == "False":
            meter.poll_failed(namespace, name)
    told = learned.told.reason if learned.told is not None else ""
    if learned.deleted and told in (Reason.PRUNED, Reason.ABANDONED):
        meter.deleted(namespace, name, finished=told == Reason.PRUNED)
