"""When a completed DataVolume may be collected: whose setting counts, and from which moment. Pure.

The namespace's label comes before the operator's own setting, and that before CDIConfig. Unset or negative is never, 0 at once. What cannot be
read counts as never, and is told.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from kubekit.words.timestamps import parse

_NUMBER: Final = re.compile(r"-?[0-9]{1,9}")
"""Ten digits are 31 years and more: nobody means that, and no date is overrun by less."""
NEVER: Final = "never"
"""What a namespace's label says in the place of a negative number: Kubernetes takes no label that begins with `-`."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds that a completed DataVolume stays, None for ever, and who has said so; `problem` is what could not be read."""

    seconds: int | None
    said_by: str
    problem: str = ""


def find_lifetime(*, label: str | None, own: int | None, config: CDIConfig | None) -> Lifetime:
    """Return how long completed DataVolumes of a namespace stay. `label` is the namespace's, `own` the operator's setting."""
    if label is not None:
        where = f"label {names.TTL_LABEL} of the namespace"
        if label == NEVER:
            return Lifetime(None, where)
        if _NUMBER.fullmatch(label) is None:
            problem = f"{where} is {label[:63]!r}, which is no number of seconds of at most nine digits: set it to one, to {NEVER!r}, or remove it"
            return Lifetime(None, where, problem)
        return Lifetime(_none_if_negative(int(label)), where)
    if own is not None:
        return Lifetime(_none_if_negative(own), "the operator's setting")
    said = config.spec.data_volume_ttl_seconds if config is not None and config.spec is not None else None
    return Lifetime(_none_if_negative(said), "CDIConfig config")


def _none_if_negative(seconds: int | None) -> int | None:
    return None if seconds is None or seconds < 0 else seconds


def due_at(volume: DataVolume, lifetime: int) -> datetime | None:
    """Return when a DataVolume may go: so many seconds after it became Ready. None where it does not say when that was."""
    ready = volume.status.condition(names.ConditionType.READY) if volume.status is not None else None
    try:
        return parse((ready.last_transition_time if ready is not None else None) or "") + timedelta(seconds=lifetime)
    except (ValueError, OverflowError):
        return None
