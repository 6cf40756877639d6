"""What the ConfigMap of a backup says: read within limits, for anybody may have written there; written within those of the API server. Pure.

It is all that is remembered: what was told already, and since when something has not gone on. Losing it costs one more telling.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from datamover.api.hosted_control_plane import STATUS_MAPS, DataKey, StatusMap, status_labels, status_name
from datamover.api.outside import Count, Decoder, Unusable
from datamover.api.velero.backup import BACKUPS, Backup
from datamover.verdicts.document import Plane, Volume
from datamover.verdicts.readings import name
from datamover.verdicts.verdict import State
from kubekit.words.meta import Manifest, owner_reference
from kubekit.words.text import clean

PLANES: Final = 64
"""Control planes of one backup that are followed."""
_LIMIT: Final = 768 << 10
"""Bytes of the record. A ConfigMap may have 1 MiB in all."""
_VOLUMES: Final = (256, 64, 16, 4, 0)
"""Volumes of each control plane that are kept: the most that the record has room for."""
SENTENCE: Final = 400
"""Characters of a sentence in the record."""


class FollowedVolume(Volume, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A volume, since when it has not gone on, and whether that is too long ago."""

    progressed: str | None = None
    stalled: bool = False


class FollowedPlane(Plane, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A control plane. `final` tells that nothing of it is looked at any more, since the moment `ended`."""

    volumes: tuple[FollowedVolume, ...] = ()
    final: bool = False
    ended: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """All of it. `began` is when Velero began, `updated` when it was written, `left_off` the number of control planes that are not followed."""

    began: str | None = None
    updated: str = ""
    backup: str = ""
    control_planes: tuple[FollowedPlane, ...] = ()
    left_off: Count = 0
    notes: tuple[str, ...] = ()

    @property
    def final(self) -> bool:
        """Tell whether nothing is looked at any more."""
        return bool(self.control_planes) and all(each.final for each in self.control_planes)

    def plane(self, place: tuple[str, str]) -> FollowedPlane | None:
        """Return what was written of a control plane."""
        return next((each for each in self.control_planes if each.place == place), None)


_decode: Final = Decoder(Record, limit=1 << 20)
_WORST_FIRST: Final = (
    State.FAILED,
    State.UNSUPPORTED,
    State.UNKNOWN,
    State.WAITING,
    State.MOVED,
    State.NOTHING_TO_MOVE,
)


def read(status: StatusMap | None, *, of: Backup) -> Record | None:
    """Return what was written of this very backup; None where that is nothing, or nothing that can be read."""
    if status is None or not status.metadata.owned_by(of.metadata.uid):
        return None
    try:
        found = _decode((status.data or {}).get(DataKey.STATUS, "").encode())
    except Unusable:
        return None
    planes = found.control_planes
    return found if len(planes) <= PLANES and all(map(_is_possible, planes)) else None


def _is_possible(plane: FollowedPlane) -> bool:
    """Tell whether an operator may have written this: its names become labels of metrics, and its state a word of ours."""
    words = (plane.namespace, plane.name, plane.platform)
    return plane.state in State.__members__ and all(each == name(each) for each in words)


def write(record: Record) -> dict[str, str]:
    """Return what the ConfigMap is to say."""
    return {**words_of(record), DataKey.STATUS: msgspec.json.encode(record).decode()}


def words_of(record: Record) -> dict[str, str]:
    """Return what of it is for people."""
    worst = worst_of(record.control_planes)
    return {DataKey.STATE: worst.state if worst is not None else "", DataKey.MESSAGE: summarise(record)}


def build(of: Backup, record: Record) -> Manifest:
    """Return the ConfigMap. It belongs to the Backup, and goes with it."""
    meta = of.metadata
    return {
        "apiVersion": STATUS_MAPS.api_version,
        "kind": STATUS_MAPS.kind,
        "metadata": {
            "name": status_name(meta.name),
            "namespace": meta.namespace,
            "labels": status_labels(meta.name),
            "ownerReferences": [owner_reference(BACKUPS, meta, controller=False)],
        },
        "data": write(record),
    }


def change(of: Backup, record: Record) -> Manifest:
    """Return what is written over the ConfigMap: its labels too, for without them it is not seen after a restart."""
    return {"metadata": {"labels": status_labels(of.metadata.name)}, "data": write(record)}


def worst_of(planes: Iterable[FollowedPlane]) -> FollowedPlane | None:
    """Return the control plane that needs somebody most; None where there is none."""
    return min(planes, key=lambda each: _WORST_FIRST.index(State[each.state]), default=None)


def summarise(record: Record) -> str:
    """Return one sentence on all of them: of several how many stand where, and what is the matter with the worst."""
    planes, worst = record.control_planes, worst_of(record.control_planes)
    if worst is None:
        return ""
    if len(planes) == 1:
        return worst.description
    counts = {state.name: sum(each.state == state.name for each in planes) for state in _WORST_FIRST}
    told = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    return clean(f"{told}; {worst.namespace}/{worst.name}: {worst.description}")


def fit(record: Record) -> Record:
    """Return a record as it is kept: with as many volumes of each control plane as there is room for. What is unfinished comes first."""
    fitting = record
    for most in _VOLUMES:
        kept = tuple(replace(each, volumes=each.volumes[:most]) for each in record.control_planes)
        fitting = replace(record, control_planes=kept)
        if len(msgspec.json.encode(fitting)) <= _LIMIT:
            break
    return fitting
