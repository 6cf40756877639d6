"""One look at all that moves the volumes of a hosted control plane for a backup.

It takes six requests, and one for each snapshot's content (of many, one for all). Control planes of one backup that are looked at in a row share the four
that are about the backup and not about the control plane: in a backup of 500 they would be two thousand requests, each answered with the uploads of all.
Who looks at one again gets new answers. They share nothing while Velero collects: an upload could be made, and its snapshot be removed, between an old answer and a new one, and neither be seen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from datamover.api.velero import names
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import COLLECTED
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS, DataUpload, PodVolumeBackup
from datamover.verdicts.selection import content_name
from datamover.verdicts.verdict import ClusterSnapshot, Kind, Unread
from kubekit.client.errors import (
    DecodeError,
    Gone,
    KubeError,
    NotFound,
    ServerError,
    TooManyRequests,
    TransportError,
    Unauthorized,
    UnfitObject,
)
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, Pod
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotContent
from kubekit.words.text import clean

if TYPE_CHECKING:
    from kubekit.client.client import Client

ANSWER_LIMIT: Final = 10.0
"""Seconds for one question; what has not come by then is unread."""
_CONTENT_LIMIT: Final = 7.0
"""Seconds for contents, which are asked for when the others have answered."""
_FRESH: Final = 5.0
"""Seconds for which an answer about the backup is good for the next of its control planes."""
_SINGLY: Final = 32
"""So many contents are read one by one; of more, all of the cluster are listed."""
_REASON_LIMIT: Final = 300

_PASSING: Final = (TimeoutError, TransportError, ServerError, TooManyRequests, DecodeError, Unauthorized, Gone)

T = TypeVar("T")


class Look(NamedTuple):
    """What was seen; `passing` tells that some of what is unread may well be readable at the next look."""

    seen: ClusterSnapshot
    passing: bool


class _Answer(NamedTuple):
    """Objects of one kind, or why there are none."""

    objects: tuple[Any, ...] = ()
    unread: Unread | None = None
    passing: bool = False


class _Moves(NamedTuple):
    """What is in Velero's namespace for a backup: uploads, pod volume backups, and the Pods that work for either."""

    uploads: _Answer
    copies: _Answer
    movers: _Answer
    copiers: _Answer


class _Kept(NamedTuple):
    """An answer, what it is about (Velero's namespace and the backup's mark), since when it is there, and the control planes that have had it."""

    about: tuple[str, str]
    moment: float
    moves: _Moves
    seen_by: set[str]


class Survey:
    """Looks at control planes through one client. For one event loop."""

    def __init__(self, client: "Client", *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic` is in seconds."""
        self._client = client
        self._monotonic = monotonic
        self._kept: _Kept | None = None

    async def look(self, backup: Backup, *, velero: str, namespace: str) -> Look:
        """Look at the control plane in `namespace`, and at Velero's namespace. Raises nothing for what cannot be read."""
        mark = f"{names.BACKUP_NAME_LABEL}={names.label_value(backup.metadata.name)}"
        moves, taken, claims = await asyncio.gather(
            self._moves(velero, mark, namespace, shared=backup.phase in COLLECTED),
            self._list(Kind.SNAPSHOT, VOLUME_SNAPSHOTS, namespace, mark),
            self._list(Kind.CLAIM, PERSISTENT_VOLUME_CLAIMS, namespace, None),
        )
        snapshots: tuple[VolumeSnapshot, ...] = taken.objects
        contents = await self._contents(snapshots)
        answers = (taken, moves.uploads, moves.copies, claims, moves.movers, moves.copiers, *contents)
        found: tuple[VolumeSnapshotContent, ...] = tuple(each for answer in contents for each in answer.objects)
        uploads: tuple[DataUpload, ...] = moves.uploads.objects
        copies: tuple[PodVolumeBackup, ...] = moves.copies.objects
        pods: tuple[Pod, ...] = (*moves.movers.objects, *moves.copiers.objects)
        seen = ClusterSnapshot(
            snapshots=snapshots,
            contents=found,
            data_uploads=uploads,
            pod_volume_backups=copies,
            claims=claims.objects,
            pods=pods,
            unread=tuple(dict.fromkeys(answer.unread for answer in answers if answer.unread is not None)),
        )
        return Look(seen, any(answer.passing for answer in answers))

    async def _moves(self, velero: str, mark: str, namespace: str, *, shared: bool) -> _Moves:
        kept = self._kept if shared else None
        if kept is not None and (kept.about != (velero, mark) or namespace in kept.seen_by):
            kept = None
        if kept is not None and self._monotonic() - kept.moment < _FRESH:
            kept.seen_by.add(namespace)
            return kept.moves
        moves = _Moves(
            *await asyncio.gather(
                self._list(Kind.UPLOAD, DATA_UPLOADS, velero, mark),
                self._list(Kind.POD_VOLUME_BACKUP, POD_VOLUME_BACKUPS, velero, mark),
                self._list(Kind.POD, PODS, velero, names.DATA_UPLOAD_LABEL),
                self._list(Kind.POD, PODS, velero, names.POD_VOLUME_BACKUP_LABEL),
            )
        )
        self._kept = _Kept((velero, mark), self._monotonic(), moves, {namespace})
        return moves

    async def _contents(self, snapshots: tuple[VolumeSnapshot, ...]) -> list[_Answer]:
        bound = sorted({content_name(each) for each in snapshots} - {""})
        if len(bound) > _SINGLY:
            return [await self._list(Kind.CONTENT, VOLUME_SNAPSHOT_CONTENTS, None, None)]
        return await asyncio.gather(*map(self._content, bound))

    async def _list(self, kind: str, resource: Resource[Any], namespace: str | None, labels: str | None) -> _Answer:
        asked = self._client.list(resource, namespace=namespace, label_selector=labels, whole=True)
        return await _answered(kind, asked, limit=_CONTENT_LIMIT if kind == Kind.CONTENT else ANSWER_LIMIT)

    async def _content(self, name: str) -> _Answer:
        async def asked() -> tuple[VolumeSnapshotContent, ...]:
            try:
                return (await self._client.get(VOLUME_SNAPSHOT_CONTENTS, name),)
            except NotFound:
                return ()  # it is gone, and is told as missing

        return await _answered(Kind.CONTENT, asked(), limit=_CONTENT_LIMIT)


async def _answered(kind: str, asked: Awaitable[tuple[Any, ...]], *, limit: float) -> _Answer:
    try:
        async with asyncio.timeout(limit):
            return _Answer(await asked)
    except (KubeError, TimeoutError) as error:
        return _Answer(unread=Unread(kind, reason_of(error)), passing=is_passing(error))


def reason_of(error: BaseException) -> str:
    """Return why something cannot be read, for people."""
    return clean(str(error), limit=_REASON_LIMIT) or "the API server did not answer in time"


def is_passing(error: BaseException) -> bool:
    """Tell whether another try may succeed: there was no answer, one that says "not now", or one of whoever stands before the API server."""
    if isinstance(error, UnfitObject):
        return False
    return isinstance(error, _PASSING)
