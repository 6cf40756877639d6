"""The claims that are moved: which they are, how many there have to be, and how each of them stands. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from datamover.api.hypershift import RHCOS_LABEL, HostedControlPlane
from datamover.api.velero import names
from datamover.api.velero.uploads import DataUpload, PodVolumeBackup
from datamover.verdicts.readings import Reading, claim_uid_of, name
from datamover.verdicts.verdict import SHOWN_LIMIT, Kind, Row, Wait
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.meta import ObjectMeta
from kubekit.words.snapshot import VolumeSnapshot

_ETCD_MEMBERS: Final = 3
NOT_SEEN: Final = "NotSeen"
SKIPPED: Final = "Skipped"


def minimum_of(hcp: HostedControlPlane) -> int:
    """Return how many claims there have to be at least: one for each member of etcd. There may be more, for other things have volumes too."""
    return _ETCD_MEMBERS if hcp.highly_available else 1


def is_image(meta: ObjectMeta) -> bool:
    """Tell whether a claim, or a snapshot of it, is of an image of an operating system. The label's value does not matter."""
    return meta.label(RHCOS_LABEL) is not None


class Claims:
    """The names of the claims of one namespace by their UIDs. What names no claim is a claim of its own, called after what names it."""

    def __init__(self, claims: Iterable[PersistentVolumeClaim], namespace: str) -> None:
        self.all: Mapping[str, PersistentVolumeClaim] = {
            each.metadata.name: each for each in claims if each.metadata.namespace == namespace
        }
        metas = [each.metadata for each in self.all.values()]
        self.images = frozenset(meta.name for meta in metas if is_image(meta))
        self._names = {meta.uid: meta.name for meta in metas if meta.uid}

    def of_upload(self, upload: DataUpload) -> str:
        """Return the claim that an upload moves."""
        said = upload.spec.source_claim if upload.spec is not None else None
        return said or self._by_uid(upload.metadata) or f"{Kind.UPLOAD}/{upload.metadata.name}"

    def of_pod_volume_backup(self, found: PodVolumeBackup) -> str:
        """Return the claim that a pod volume backup moves; `pod/volume` where its volume is none."""
        known = self._by_uid(found.metadata) or found.metadata.annotation(names.CLAIM_NAME_ANNOTATION)
        if known:
            return known
        spec = found.spec
        pod = spec.pod.name if spec is not None and spec.pod is not None else None
        volume = spec.volume if spec is not None else None
        return f"{pod}/{volume}" if pod and volume else f"{Kind.POD_VOLUME_BACKUP}/{found.metadata.name}"

    def of_snapshot(self, snapshot: VolumeSnapshot) -> str:
        """Return the claim that a snapshot is of."""
        source = snapshot.spec.source if snapshot.spec is not None else None
        said = source.persistent_volume_claim_name if source is not None else None
        return said or f"{Kind.SNAPSHOT}/{snapshot.metadata.name}"

    def _by_uid(self, meta: ObjectMeta) -> str:
        return self._names.get(claim_uid_of(meta), "")


def grouped(readings: Iterable[Reading]) -> Mapping[str, list[Reading]]:
    """Return the readings of each claim, in their order."""
    found: dict[str, list[Reading]] = {}
    for reading in readings:
        found.setdefault(reading.key, []).append(reading)
    return found


def rows_of(
    by_claim: Mapping[str, Sequence[Reading]],
    *,
    finished: frozenset[str],
    claims: Claims,
    lost: Sequence[Wait],
    collected: bool,
) -> tuple[Row, ...]:
    """Return a row for each claim, at most `SHOWN_LIMIT`: those that are unfinished first, then by name. `lost` are those of which nothing is left."""
    told = {wait.claim: wait for wait in lost}
    rows = [_row(readings, finished=key in finished) for key, readings in by_claim.items()]
    rows += [
        _unseen(each.metadata, lost=told.get(name(key)), collected=collected)
        for key, each in claims.all.items()
        if key not in by_claim
    ]
    return tuple(
        sorted(rows, key=lambda row: (row.finished, row.kind == Kind.CLAIM and row.claim not in told, row.claim))[
            :SHOWN_LIMIT
        ]
    )


def _row(readings: Sequence[Reading], *, finished: bool) -> Row:
    """Return the row of a claim: what is wrong with it, else what is waited for, else how it was moved."""
    worst = next((each for each in readings if each.error), None) or next(
        (each for each in readings if not each.done), readings[-1]
    )
    wait = worst.wait
    return Row(
        claim=wait.claim,
        kind=wait.kind,
        name=wait.name,
        phase=wait.phase,
        finished=finished,
        since=wait.since,
        deadline=wait.deadline,
        sentence=wait.sentence,
        node=wait.node,
        pod=wait.pod,
        bytes_done=sum(each.bytes_done for each in readings),
        bytes_total=sum(each.bytes_total for each in readings),
    )


def _unseen(meta: ObjectMeta, *, lost: Wait | None, collected: bool) -> Row:
    skipped = is_image(meta)
    if lost is not None:
        sentence = lost.sentence
    elif skipped:
        sentence = "it holds an image of the operating system, which is made anew and does not count"
    elif collected:
        sentence = "nothing of it was snapshotted or moved: the backup does not have it, or what moved it is gone"
    else:
        sentence = "nothing of it is seen yet"
    return Row(
        claim=name(meta.name),
        kind=Kind.CLAIM,
        name=name(meta.name),
        phase=SKIPPED if skipped else NOT_SEEN,
        finished=False,
        sentence=sentence,
    )
