"""Conditions of the kinds of cdi.kubevirt.io, which have a heartbeat. Pure.

A condition keeps its transition time while its status stays, and its heartbeat while nothing of it changes: an unchanged state is an unchanged
status, and nothing is written (law L9).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from datamover.api.cdi.data_volume import DataVolumeCondition
from datamover.api.outside import clean
from kubekit.words.timestamps import seconds


class Said(NamedTuple):
    """What a condition is to say."""

    status: str
    reason: str
    message: str


def merge(
    current: Iterable[DataVolumeCondition] | None, wanted: Mapping[str, Said], *, order: Sequence[str], now: datetime
) -> tuple[DataVolumeCondition, ...]:
    """Return the conditions with the wanted ones set, those of `order` first. What others have set stays."""
    by_type = {each.type: each for each in current or ()}
    for type_, said in wanted.items():
        by_type[type_] = _set(by_type.get(type_), type_, said, now=now)
    place = {type_: index for index, type_ in enumerate(order)}
    return tuple(sorted(by_type.values(), key=lambda each: (place.get(each.type, len(place)), each.type)))


def _set(old: DataVolumeCondition | None, type_: str, said: Said, *, now: datetime) -> DataVolumeCondition:
    message = clean(said.message)
    if old is not None and (old.status, old.reason or "", old.message or "") == (said.status, said.reason, message):
        return old
    moment = seconds(now)
    since = old.last_transition_time if old is not None and old.status == said.status else None
    made = DataVolumeCondition(type=type_, status=said.status, reason=said.reason, message=message)
    return replace(made, last_transition_time=since or moment, last_heartbeat_time=moment)
