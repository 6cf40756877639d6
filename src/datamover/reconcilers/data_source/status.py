"""The only module that writes the status of a DataSource."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from datamover.api.cdi.conditions import Said, merge
from datamover.api.cdi.data_source import DataSource, DataSourceSource, DataSourceStatus
from datamover.plans.steps import Emit, Step, WriteStatus
from datamover.reconcilers.data_source.resolve import Reason

ACTION: Final = "Resolve"
READY: Final = "Ready"
Steps = tuple[Step[DataSourceStatus], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is the case: whether it can be used, why, and what it comes to."""

    ready: bool
    reason: Reason
    message: str
    source: DataSourceSource | None = None


def tell(found: DataSource, finding: Finding, *, now: datetime) -> Steps:
    """Return the steps that say it; none when it is said already. An event goes with each change of the reason, never with a first wait."""
    current = found.status or DataSourceStatus()
    said = {READY: Said("True" if finding.ready else "False", finding.reason, finding.message)}
    conditions = merge(current.conditions, said, order=(READY,), now=now)
    status = replace(current, source=finding.source, conditions=conditions)
    if status == current and found.status is not None:
        return ()
    before = next((each.reason for each in current.conditions or () if each.type == READY), None)
    if before == finding.reason:
        return (WriteStatus(status),)
    type_ = "Normal" if finding.ready or before is None else "Warning"
    return (WriteStatus(status), Emit(type_, finding.reason, finding.message, ACTION))
