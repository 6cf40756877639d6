"""One object, read: how far it is, what that means, and whether it can still come to a good end. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from datamover.api.amounts import size
from datamover.api.outside import INT64, clean
from datamover.api.signed import redact_signed
from datamover.api.velero import names
from datamover.api.velero.phases import ENDED, UNSUCCESSFUL, UploadPhase
from datamover.api.velero.uploads import DataUpload, PodVolumeBackup, UploadProgress, UploadStatus
from datamover.verdicts.limits import Limits, later, moment_at
from datamover.verdicts.pods import Mover, Movers
from datamover.verdicts.selection import content_name
from datamover.verdicts.verdict import NAME_LIMIT, Kind, Wait
from kubekit.words.meta import ObjectMeta
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotContent, VolumeSnapshotError

_SAID: Final = 400
"""Characters of other people's words within a sentence."""
DEADLINE: Final = "context deadline exceeded"
READY: Final = "Ready"
NOT_READY: Final = "NotReady"
NOT_BOUND: Final = "NotBound"
MISSING: Final = "Missing"
REFUSED: Final = "Error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """An object as it stands. `key` is the claim that it is about, as it is; `wait` shows it. `error` is the document's; empty where none is.

    `started` and `updated` are the first and the last moment that it tells of itself.
    """

    key: str
    wait: Wait
    done: bool = False
    error: str = ""
    timed_out: bool = False
    bytes_done: int = 0
    bytes_total: int = 0
    started: datetime | None = None
    updated: datetime | None = None

    @property
    def is_snapshot(self) -> bool:
        """Tell whether it is a snapshot, or the driver's side of one."""
        return self.wait.kind in (Kind.SNAPSHOT, Kind.CONTENT)


def name(text: str | None) -> str:
    """Return a name fit to be shown."""
    return clean(text or "", limit=NAME_LIMIT)


def said(text: str | None) -> str:
    """Return other people's words fit to stand in a sentence: without what looks like a secret (law L8), for errors of a store quote what was asked."""
    return clean(redact_signed(text or ""), limit=_SAID)


def gave_up(what: str) -> str:
    """Return the document's error for what was not finished in time."""
    return f"giving up, {what} was not finished in the expected timeout. Err: {DEADLINE}"


# --- uploads -------------------------------------------------------------------------------------------------------


def read_upload(upload: DataUpload, *, key: str, backup: str, limits: Limits, movers: Movers) -> Reading:
    """Return how far an upload is."""
    found = _read_move(Kind.UPLOAD, upload.metadata, upload.status, key=key, limits=limits, movers=movers)
    if upload.phase in UNSUCCESSFUL:
        text = f"dataUpload failed. Name: {found.wait.name} Status: {found.wait.phase}, backup: {name(backup)}"
        return replace(found, error=text)
    if not found.done and limits.passed(found.wait.deadline):
        return replace(found, error=gave_up("dataUpload"), timed_out=True)
    cancelled = upload.spec is not None and upload.spec.cancel and not found.done
    return _cancelled(found) if cancelled else found


def read_pod_volume_backup(found: PodVolumeBackup, *, key: str, backup: str, limits: Limits, movers: Movers) -> Reading:
    """Return how far a pod volume backup is."""
    reading = _read_move(Kind.POD_VOLUME_BACKUP, found.metadata, found.status, key=key, limits=limits, movers=movers)
    if found.phase in UNSUCCESSFUL:
        pod = found.spec.pod if found.spec is not None else None
        text = (
            f"PodVolumeBackup failed. Name: {reading.wait.name} Status: {reading.wait.phase} "
            f"Pod: {name(pod.name if pod is not None else None)}, backup: {name(backup)}"
        )
        return replace(reading, error=text)
    if not reading.done and limits.passed(reading.wait.deadline):
        return replace(reading, error=f"giving up waiting podVolumeBackup. Err: {DEADLINE}", timed_out=True)
    cancelled = found.spec is not None and found.spec.cancel and not reading.done
    return _cancelled(reading) if cancelled else reading


def _cancelled(found: Reading) -> Reading:
    sentence = f"{found.wait.sentence}; somebody has asked for its cancellation"
    return replace(found, wait=replace(found.wait, sentence=sentence))


def _read_move(
    kind: str, meta: ObjectMeta, status: UploadStatus | None, *, key: str, limits: Limits, movers: Movers
) -> Reading:
    now = limits.now
    told = status or UploadStatus()
    phase = told.phase or ""
    done = phase == UploadPhase.COMPLETED
    bytes_done, bytes_total = amounts(told.progress, done=done)
    mover = movers.of(meta) if phase not in ENDED else None
    created = limits.created(meta)
    moments = [
        moment
        for stamp in (told.accepted_timestamp, told.start_timestamp, told.completion_timestamp)
        if (moment := moment_at(stamp, now=now)) is not None
    ]
    wait = Wait(
        kind=kind,
        name=name(meta.name),
        claim=name(key),
        phase=name(phase) or UploadPhase.NEW,
        since=_since(phase, told, now=now) or created,
        deadline=None if phase in ENDED else later(created, limits.move),
        sentence=_sentence(phase, told, mover, bytes_done, bytes_total),
        node=name(told.node or told.accepted_by_node),
        pod=name(mover.name) if mover is not None else "",
    )
    return Reading(
        key=key,
        wait=wait,
        done=done,
        bytes_done=bytes_done,
        bytes_total=bytes_total,
        started=min([*moments, created] if created is not None else moments, default=None),
        updated=max([*moments, created] if created is not None else moments, default=None),
    )


def _since(phase: str, told: UploadStatus, *, now: datetime) -> datetime | None:
    """Return since when it is in its phase, where it tells that."""
    if phase in ENDED:
        return moment_at(told.completion_timestamp, now=now)
    if phase in (UploadPhase.ACCEPTED, UploadPhase.PREPARED):
        return moment_at(told.accepted_timestamp, now=now)
    if phase in (UploadPhase.IN_PROGRESS, UploadPhase.CANCELING):
        return moment_at(told.start_timestamp, now=now)
    return None


def _sentence(phase: str, told: UploadStatus, mover: Mover | None, bytes_done: int, bytes_total: int) -> str:
    on = f" on node {name(told.node or told.accepted_by_node)}" if told.node or told.accepted_by_node else ""
    amount = f": {size(bytes_done)} of {size(bytes_total)}" if bytes_total else ""
    sentences = {
        "": "no node-agent has taken it yet",
        UploadPhase.NEW: "no node-agent has taken it yet",
        UploadPhase.ACCEPTED: f"it is being prepared{on}: a volume is made of the snapshot, and the mover's Pod is started",
        UploadPhase.PREPARED: f"it is ready{on} and waits for its turn: a node-agent moves only so many at a time",
        UploadPhase.IN_PROGRESS: f"it is moved{on}{amount}",
        UploadPhase.CANCELING: f"it is being cancelled{on}",
        UploadPhase.CANCELED: "it was cancelled",
        UploadPhase.COMPLETED: f"it is moved{amount}",
        UploadPhase.FAILED: "it has failed",
    }
    sentence = sentences.get(phase) or "its phase is not known here"
    if told.message and phase != UploadPhase.COMPLETED:
        sentence += f": {said(told.message)}"
    if mover is not None and mover.trouble:
        sentence += f"; Pod {name(mover.name)}: {mover.trouble}"
    return sentence


def amounts(progress: UploadProgress | None, *, done: bool) -> tuple[int, int]:
    """Return bytes done and bytes in all, neither negative nor more than 64 bits, and never more done than there are."""
    found, total = (0, 0) if progress is None else (_whole(progress.bytes_done), _whole(progress.total_bytes))
    total = max(found, total)
    return (total if done else found), total


def _whole(number: float | None) -> int:
    try:
        return min(max(int(number or 0), 0), INT64)
    except (ValueError, OverflowError):  # not a number, endless
        return 0


# --- snapshots -----------------------------------------------------------------------------------------------------


def read_snapshot(snapshot: VolumeSnapshot, *, key: str, backup: str, limits: Limits) -> Reading:
    """Return whether a VolumeSnapshot can be used."""
    status = snapshot.status
    return _read_snapshot(
        Kind.SNAPSHOT,
        "VolumeSnapshot",
        snapshot.metadata,
        ready=bool(status and status.ready_to_use),
        handle=bool(content_name(snapshot)),
        error=status.error if status is not None else None,
        key=key,
        backup=backup,
        limits=limits,
    )


def read_content(
    content: VolumeSnapshotContent | None, *, of: VolumeSnapshot, key: str, backup: str, limits: Limits
) -> Reading:
    """Return whether the driver's side of a VolumeSnapshot can be used; `content` is None where none belongs to it."""
    if content is None:
        bound = content_name(of)
        created = limits.created(of.metadata)
        deadline = later(created, limits.move)
        late = limits.passed(deadline)
        sentence = (
            f"VolumeSnapshot {name(of.metadata.name)} is bound to it, but it is not there or is another one's"
            if bound
            else f"VolumeSnapshot {name(of.metadata.name)} has none yet: does a snapshot controller run?"
        )
        return Reading(
            key=key,
            wait=Wait(
                kind=Kind.CONTENT,
                name=name(bound),
                claim=name(key),
                phase=MISSING if bound else NOT_BOUND,
                since=created,
                deadline=_told(deadline, created, handle=False, limits=limits),
                sentence=sentence,
            ),
            error=gave_up("volumeSnapshotContent") if late else "",
            timed_out=late,
            started=created,
            updated=created,
        )
    status = content.status
    return _read_snapshot(
        Kind.CONTENT,
        "volumeSnapshotContent",
        content.metadata,
        ready=bool(status and status.ready_to_use),
        handle=bool(status and status.snapshot_handle),
        error=status.error if status is not None else None,
        key=key,
        backup=backup,
        limits=limits,
    )


def _told(deadline: datetime | None, created: datetime | None, *, handle: bool, limits: Limits) -> datetime | None:
    """Return when a snapshot is given up: by Velero itself, as long as it collects, when it has no handle within `limits.snapshot`.

    That is told, and fails nothing here: Velero has an error when it has done so.
    """
    if handle or limits.collected:
        return deadline
    return min((each for each in (later(created, limits.snapshot), deadline) if each is not None), default=None)


def _read_snapshot(
    kind: str,
    word: str,
    meta: ObjectMeta,
    *,
    ready: bool,
    handle: bool,
    error: VolumeSnapshotError | None,
    key: str,
    backup: str,
    limits: Limits,
) -> Reading:
    """Return how a snapshot stands. Drivers complain of what they then do all the same: that is borne for `limits.snapshot`."""
    created = limits.created(meta)
    complaint = said(error.message) or "no message" if error is not None and not ready else ""
    deadline = None if ready else later(created, min(limits.snapshot, limits.move) if complaint else limits.move)
    sentence = "it can be used" if ready else "the storage driver has not finished it"
    if complaint:
        sentence = f"the storage driver complains: {complaint}"
    wait = Wait(
        kind=kind,
        name=name(meta.name),
        claim=name(key),
        phase=READY if ready else REFUSED if complaint else NOT_READY,
        since=created,
        deadline=None if ready else _told(deadline, created, handle=handle, limits=limits),
        sentence=sentence,
    )
    found = Reading(key=key, wait=wait, done=ready, started=created, updated=created)
    if ready or not limits.passed(deadline):
        return found
    if complaint:
        text = f"{word} failed. Name: {wait.name} Status: {complaint}, backup: {name(backup)}"
        return replace(found, error=text)
    return replace(found, error=gave_up(word), timed_out=True)


def read_missing_upload(snapshot: VolumeSnapshot, *, key: str, backup: str, limits: Limits) -> Reading:
    """Return that a snapshot was to be moved and has no upload, although no further one is made. Velero may be about to remove it."""
    created = limits.created(snapshot.metadata)
    deadline = later(created, limits.snapshot)
    shown = name(snapshot.metadata.name)
    late = limits.passed(deadline)
    return Reading(
        key=key,
        wait=Wait(
            kind=Kind.UPLOAD,
            name="",
            claim=name(key),
            phase=MISSING,
            since=created,
            deadline=deadline,
            sentence=f"Velero has made no upload of VolumeSnapshot {shown}: its log says why",
        ),
        error=f"dataUpload failed. Name: (none of VolumeSnapshot {shown}) Status: {MISSING}, backup: {name(backup)}"
        if late
        else "",
        started=created,
        updated=created,
    )


def claim_uid_of(meta: ObjectMeta) -> str:
    """Return the UID of the claim that an upload says it is about; empty where it says none."""
    return meta.label(names.PVC_UID_LABEL) or ""
