"""What a CDI object says of itself: clients wait for its conditions and its phase. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from datamover import __version__
from datamover.api.cdi.conditions import Said, merge
from datamover.api.cdi.data_volume import DataVolumeCondition
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.steps import REST, Plan, WriteStatus
from datamover.reconcilers.cdi_config.objects import Stored, Tree, active_of

AVAILABLE: Final = "Available"
_ORDER: Final = (AVAILABLE, "Progressing", "Degraded")


@dataclass(frozen=True, slots=True)
class Facts:
    """A CDI object, and all of the cluster."""

    now: datetime
    found: Stored
    installations: tuple[Stored, ...] = ()
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[Tree]:
    """Say whether its configuration counts."""
    if facts.found.metadata.terminating:
        return REST
    status = describe(facts.found, find_said(facts), now=facts.now)
    return REST if status == (facts.found.status or {}) else Plan((WriteStatus(status),))


def find_said(facts: Facts) -> tuple[str, dict[str, Said]]:
    """Return its phase and its conditions."""
    active = active_of(facts.installations)
    if active is None or active.metadata.uid == facts.found.metadata.uid:
        message = "DataVolumes are populated by datamover, with the configuration of this object"
        return "Deployed", {
            AVAILABLE: Said("True", "DeployCompleted", message),
            "Progressing": Said("False", "DeployCompleted", message),
            "Degraded": Said("False", "DeployCompleted", message),
        }
    message = f"CDI {active.metadata.name} is older, and one counts: move the configuration there, and delete this one"
    return "Error", {
        AVAILABLE: Said("False", "AnotherExists", message),
        "Progressing": Said("False", "AnotherExists", message),
        "Degraded": Said("True", "AnotherExists", message),
    }


def describe(found: Stored, said: tuple[str, dict[str, Said]], *, now: datetime) -> Tree:
    """Return the status. What others have written there stays."""
    phase, conditions = said
    current = found.status or {}
    before = _read(current.get("conditions"))
    made = merge(before, conditions, order=_ORDER, now=now)
    versions = dict.fromkeys(("observedVersion", "operatorVersion", "targetVersion"), f"datamover-{__version__}")
    return {**current, "phase": phase, **versions, "conditions": [msgspec.to_builtins(each) for each in made]}


def _read(said: Any) -> tuple[DataVolumeCondition, ...]:
    """Return conditions that are stored; none where they cannot be read (law L11)."""
    try:
        return msgspec.convert(said or [], tuple[DataVolumeCondition, ...])
    except msgspec.ValidationError:
        return ()
