"""Claims that were there when the backup began, and of which Velero, once it has processed all items, has left nothing. Pure.

Whether such a claim is lost is not seen of the claim: filters, policies and kinds of volumes leave some out rightly, and where Velero gives up on a
snapshot it removes all traces of it. What tells them apart is whether Velero had errors while it processed the items. In a backup without errors nothing
is lost. In one with errors a claim is, that has a volume and that nothing takes out of the backup; the backup is `PartiallyFailed` already.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from datamover.api.amounts import count
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import OVER, BackupPhase
from datamover.verdicts.claims import NOT_SEEN
from datamover.verdicts.filters import is_taken
from datamover.verdicts.limits import SKEW, later, stamp
from datamover.verdicts.readings import name
from datamover.verdicts.stages import Look
from datamover.verdicts.verdict import SHOWN_LIMIT, Kind, Wait
from kubekit.words.core import PersistentVolumeClaim

_TRACES: Final = (Kind.UPLOAD, Kind.SNAPSHOT, Kind.POD_VOLUME_BACKUP)
_NAMED: Final = 8
"""So many claims are named; the table shows the others."""
SENTENCE: Final = "Velero had errors, and has left neither a snapshot nor an upload of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Omissions:
    """Names of claims, in their order. `doubt` says why it cannot be told whether any is lost, or whether what is seen is all; empty where it can."""

    lost: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def waits(self) -> tuple[Wait, ...]:
        """What is lost, as what has failed."""
        return tuple(
            Wait(kind=Kind.CLAIM, name=name(each), claim=name(each), phase=NOT_SEEN, sentence=SENTENCE)
            for each in self.lost[:SHOWN_LIMIT]
        )


def omissions_of(look: Look, *, seen: Collection[str]) -> Omissions:
    """Return what a backup has left nothing of. `seen` are the claims of which something was snapshotted or moved."""
    if not look.limits.collected:
        return Omissions()
    missing = [each for each in look.claims.all.values() if _was_there(each, look) and each.metadata.name not in seen]
    suspects = {each.metadata.name for each in missing if is_taken(look.backup, each)}
    doubt = _elsewhere(look.backup) or (_doubt(look, suspects) if look.backup.had_errors else "")
    is_lost = look.backup.had_errors and not doubt and not _takes_native_snapshots(look.backup)
    lost = suspects if is_lost else set[str]()
    others = set[str]() if _elsewhere(look.backup) else {each.metadata.name for each in missing} - lost
    return Omissions(lost=tuple(sorted(lost)), left_out=tuple(sorted(others)), doubt=doubt)


def _was_there(claim: PersistentVolumeClaim, look: Look) -> bool:
    """Tell whether a claim, which is no image of a node, was there before Velero began: the API server's clock says when Backup and claim were made, Velero's when it began."""
    meta, status = look.backup.metadata, look.backup.status
    made, created = stamp(claim.metadata.creation_timestamp), stamp(meta.creation_timestamp)
    began = later(stamp(status.start_timestamp if status is not None else None), -SKEW)
    since = max((each for each in (created, began) if each is not None), default=None)
    return made is not None and since is not None and made <= since and claim.metadata.name not in look.images


def _doubt(look: Look, suspects: Collection[str]) -> str:
    """Return why it cannot be told, of a backup with errors, whether any claim is lost."""
    kinds = [each for each in look.seen.unread if each.kind == Kind.CLAIM or (suspects and each.kind in _TRACES)]
    if kinds:
        return "the backup had errors, and what of it is lost cannot be told"
    if suspects and not look.asked and look.backup.phase != BackupPhase.WAITING_PARTIALLY_FAILED:
        return "the backup had errors, and Velero removes snapshots at its end, so that what was not taken looks the same as what was"
    return ""


def _elsewhere(backup: Backup) -> str:
    """Return why nothing can be told of a Backup that was made after its own end: Velero makes them of what it finds at a storage location."""
    made = stamp(backup.metadata.creation_timestamp)
    ended = later(stamp(backup.status.completion_timestamp if backup.status is not None else None), SKEW)
    if backup.phase not in OVER or made is None or ended is None or made <= ended:
        return ""
    return "Velero has read this backup back from its storage location, so that what moved it was in another cluster, or was deleted with the first Backup"


def _takes_native_snapshots(backup: Backup) -> bool:
    """Tell whether a plugin for volumes that are no CSI volumes took snapshots: they leave no objects."""
    return bool(backup.status is not None and backup.status.volume_snapshots_attempted)


def lost_error(look: Look, omissions: Omissions) -> str:
    """Return the error for what is lost, without what stands before it, in the document's words for what Velero does then; empty where nothing is."""
    if not omissions.lost:
        return ""
    backup = name(look.backup.metadata.name)
    word = "claim" if len(omissions.lost) == 1 else "claims"
    which = f"{word} {named(omissions.lost)}"
    why = f"its errors say why (velero backup describe {backup} --details; velero backup logs {backup})"
    if look.backup.copies_from_pods:
        return f"PodVolumeBackup failed. Name: (none) Status: {NOT_SEEN}, backup: {backup}: Velero has left nothing of {which}; {why}"
    return (
        f"giving up, VolumeSnapshot was not finished in the expected timeout: Velero has left nothing of {which}; {why}"
    )


def left_out_warning(omissions: Omissions) -> str:
    """Return the warning of what may rightly be left out; empty where nothing is."""
    left = omissions.left_out
    if not left:
        return ""
    return (
        f"nothing of {count(len(left), 'claim')} was snapshotted or moved ({named(left)}): the backup's filters leave them out, or Velero has given up "
        "on them, as its log says then"
    )


def named(claims: Sequence[str]) -> str:
    """Return the first of them."""
    more = f" and {len(claims) - _NAMED} more" if len(claims) > _NAMED else ""
    return f"{', '.join(map(name, claims[:_NAMED]))}{more}"
