"""What is counted of backups, by what their records say: nothing is counted that was not written, and nothing twice."""

from typing import Final, Protocol

from datamover.api.hosted_control_plane import Reason
from datamover.api.velero.phases import UNSUCCESSFUL
from datamover.metrics.hosted_control_planes import Ended
from datamover.reconcilers.hosted_control_plane.announcements import reason_of
from datamover.reconcilers.hosted_control_plane.record import FollowedPlane, Record
from datamover.verdicts.limits import stamp
from datamover.verdicts.readings import REFUSED
from datamover.verdicts.verdict import Kind, State
from kubekit.runtime.store import Key, key_of
from kubekit.words.meta import ObjectMeta

_ERRORS: Final = frozenset({Reason.FAILED, Reason.TIMED_OUT, Reason.UNSUPPORTED})
_FAILED: Final = UNSUCCESSFUL | {REFUSED}
_COUNTED: Final = frozenset({Kind.CONTENT, Kind.SNAPSHOT, Kind.UPLOAD, Kind.POD_VOLUME_BACKUP})
"""Others that a record names are claims of which nothing was seen, or somebody's invention: every kind has series of its own."""


class Meter(Protocol):
    """What is needed of `datamover.metrics`."""

    def stands(self, namespace: str, backup: str, *, moved: int, expected: int, stalled: int) -> None:
        """A backup of the control plane in `namespace` is not over; so far it is."""
        ...

    def forget(self, namespace: str, backup: str) -> None:
        """It is over, or gone."""
        ...

    def hindered(self, reason: str) -> None:
        """Something keeps a backup from being followed as it should."""
        ...

    def ended(
        self,
        platform: str,
        *,
        result: str,
        seconds: float | None,
        resources: tuple[Ended, ...] = (),
        error: str = "",
        timed_out: bool = False,
    ) -> None:
        """A verdict is final."""
        ...


class Counts:
    """Follows the records of backups. One of the same name and another UID is another backup."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._records: dict[Key, tuple[str, Record]] = {}

    def learn(self, backup: ObjectMeta, record: Record) -> None:
        """Take note of what was written before we began: what is under way is shown, and nothing is counted."""
        self._keep(backup, record)

    def follow(self, backup: ObjectMeta, record: Record | None) -> None:
        """Take note of what is written now: what has become final since the last time is counted."""
        before = self._of(backup)
        if record is None or record == before:
            return
        for plane in record.control_planes:
            old = before.plane(plane.place) if before is not None else None
            if plane.final and (old is None or not old.final):
                self._count(plane, began=record.began)
        self._keep(backup, record)

    def hinder(self, reason: str) -> None:
        """Count what keeps a backup from being followed as it should."""
        self._meter.hindered(reason)

    def is_told(self, backup: ObjectMeta) -> bool:
        """Tell whether the end of a backup was written."""
        record = self._of(backup)
        return record is not None and record.final

    def forget(self, key: Key) -> None:
        """The backup is gone."""
        _, record = self._records.pop(key, ("", None))
        for plane in record.control_planes if record is not None else ():
            self._meter.forget(plane.namespace, key.name)

    def _of(self, backup: ObjectMeta) -> Record | None:
        uid, record = self._records.get(key_of(backup), ("", None))
        return record if uid == backup.uid else None

    def _keep(self, backup: ObjectMeta, record: Record) -> None:
        key = key_of(backup)
        shown = {each.namespace for each in record.control_planes if not each.final}
        _, before = self._records.get(key, ("", None))
        for plane in before.control_planes if before is not None else ():
            if plane.namespace not in shown:
                self._meter.forget(plane.namespace, key.name)
        self._records[key] = backup.uid, record
        for plane in record.control_planes:
            if not plane.final:
                stalled = sum(each.stalled for each in plane.volumes)
                self._meter.stands(
                    plane.namespace, key.name, moved=plane.completed, expected=plane.total, stalled=stalled
                )

    def _count(self, plane: FollowedPlane, *, began: str | None) -> None:
        reason = reason_of(plane)
        start, end = stamp(began), stamp(plane.ended)
        self._meter.ended(
            plane.platform,
            result=State[plane.state].name,
            seconds=(end - start).total_seconds() if start is not None and end is not None else None,
            resources=_resources(plane),
            error=reason.value if reason in _ERRORS and reason is not None else "",
            timed_out=plane.timed_out,
        )


def _resources(plane: FollowedPlane) -> tuple[Ended, ...]:
    """Return how many objects of each kind came to their end, by the volumes that the record has."""
    ended: dict[str, tuple[int, int]] = {}
    for volume in plane.volumes:
        good, bad = ended.get(volume.kind, (0, 0))
        if volume.kind not in _COUNTED:
            continue
        if volume.finished:
            ended[volume.kind] = good + 1, bad
        elif volume.phase in _FAILED:
            ended[volume.kind] = good, bad + 1
    return tuple(Ended(kind, good, bad) for kind, (good, bad) in sorted(ended.items()))
