"""Is it moved? The document's entry points, as pure functions: `ValidateDataMover`, `reconcileStandardDataMover`, `reconcileAzureDataMover`.

The cluster is looked at once, and answers once: nobody waits in here, and nothing is remembered. Who wants to wait asks again.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from datamover.api.hypershift import HostedControlPlane
from datamover.api.outside import INT64, clean
from datamover.api.velero.backup import Backup
from datamover.api.velero.phases import BROKEN, NOT_BEGUN
from datamover.verdicts import platform, sentences
from datamover.verdicts.claims import grouped, rows_of
from datamover.verdicts.configuration import Configuration
from datamover.verdicts.filters import includes
from datamover.verdicts.limits import Limits
from datamover.verdicts.omissions import Omissions, lost_error, omissions_of
from datamover.verdicts.platform import Strategy
from datamover.verdicts.readings import DEADLINE, Reading, gave_up, name, said
from datamover.verdicts.selection import select
from datamover.verdicts.stages import (
    Look,
    Stage,
    check_pod_volume_backups,
    reconcile_data_upload,
    reconcile_volume_snapshot_content,
    reconcile_volume_snapshots,
)
from datamover.verdicts.verdict import SHOWN_LIMIT, ClusterSnapshot, Flags, Kind, State, Verdict, Wait
from kubekit.words.text import MESSAGE_LIMIT

NO_CONTROL_PLANE: Final = "no HostedControlPlane found"
NO_NAMESPACE: Final = "error getting HCP namespace: the HostedControlPlane has none"
NO_BACKUP: Final = "no Backup found"


def validate_data_mover(
    *,
    hcp: HostedControlPlane | None,
    backup: Backup | None,
    seen: ClusterSnapshot,
    configuration: Configuration,
    now: datetime,
) -> Verdict:
    """Return how the backup of a control plane stands (document: `ValidateDataMover`).

    What is missing (None) is an error of the verdict, and raises nothing. A backup that copies volumes out of running Pods
    (`defaultVolumesToFsBackup`) has no platform's rule: its pod volume backups are all that counts.
    """
    missing = (
        NO_CONTROL_PLANE
        if hcp is None
        else NO_NAMESPACE
        if not hcp.metadata.namespace
        else NO_BACKUP
        if backup is None
        else ""
    )
    if missing or hcp is None or backup is None:
        return Verdict(state=State.FAILED, error=missing, description=missing, log=(missing,))
    rule = platform.rule_of(hcp.platform)
    if rule is None and not backup.copies_from_pods:
        error = platform.unsupported(hcp.platform)
        return Verdict(
            state=State.UNSUPPORTED,
            platform=_shown(hcp.platform),
            error=error,
            description=sentences.unsupported(error),
            log=(error,),
        )
    limits = Limits.of(backup, configuration=configuration, now=now)
    look = Look(
        hcp=hcp,
        backup=backup,
        rule=rule,
        selection=select(backup, namespace=hcp.metadata.namespace or "", seen=seen),
        seen=seen,
        limits=limits,
    )
    if backup.copies_from_pods:
        return reconcile_pod_volume_backups(look)
    if rule is not None and rule.strategy is Strategy.AZURE:
        return reconcile_azure_data_mover(look)
    return reconcile_standard_data_mover(look)


def reconcile_standard_data_mover(look: Look) -> Verdict:
    """Return how a backup stands whose snapshots have to be uploaded (document: `reconcileStandardDataMover`)."""
    return _reconcile(look, Strategy.STANDARD)


def reconcile_azure_data_mover(look: Look) -> Verdict:
    """Return how a backup stands whose snapshots suffice (document: `reconcileAzureDataMover`). Uploads that are there are waited for all the same."""
    return _reconcile(look, Strategy.AZURE)


def reconcile_pod_volume_backups(look: Look) -> Verdict:
    """Return how a backup stands that copies volumes out of running Pods (document: PodVolumeBackup logic).

    A volume of it may be snapshotted all the same, by a policy or its Pod's annotation: what is there is waited for.
    """
    steps = [_Step(None, "PodVolumeBackup is done", check_pod_volume_backups(look))]
    if look.snapshots:
        steps += _snapshot_steps(look)
    if look.uploads:
        steps.append(_Step(_UPLOAD, "DataUpload is done", reconcile_data_upload(look)))
    return _verdict(look, steps, prefix="", log=[])


@dataclass(frozen=True, slots=True)
class _Step:
    """A stage in the document's flow: how its errors begin, what is logged when it is finished, and how far it is."""

    wrap: str | None
    done: str
    stage: Stage


_CONTENT: Final = "error reconciling volume snapshot content"
_SNAPSHOTS: Final = "error reconciling volume snapshots"
_UPLOAD: Final = "error reconciling data upload"


def _snapshot_steps(look: Look) -> list[_Step]:
    return [
        _Step(_CONTENT, "VolumeSnapshotContent is done", reconcile_volume_snapshot_content(look)),
        _Step(_SNAPSHOTS, "VolumeSnapshot is done", reconcile_volume_snapshots(look)),
    ]


def _reconcile(look: Look, strategy: Strategy) -> Verdict:
    steps = _snapshot_steps(look)
    if strategy is Strategy.STANDARD or look.uploads:
        steps.append(_Step(_UPLOAD, "DataUpload is done", reconcile_data_upload(look)))
    if look.pod_volume_backups:
        steps.append(_Step(None, "PodVolumeBackup is done", check_pod_volume_backups(look)))
    return _verdict(
        look,
        steps,
        prefix=f"error reconciling {strategy.value} data mover: ",
        log=[f"Reconciling {strategy.value} data mover for HCP"],
    )


def _verdict(look: Look, steps: list[_Step], *, prefix: str, log: list[str]) -> Verdict:
    readings = (*look.uploads, *look.missing, *look.pod_volume_backups, *look.contents, *look.snapshots)
    by_claim = grouped(readings)
    finished = frozenset(key for key, found in by_claim.items() if _is_moved(look, found))
    seen, completed = len(by_claim), len(finished)
    collected = look.limits.collected
    total = seen if collected else max(seen, look.minimum)
    failed = next((step for step in steps if step.stage.error), None)
    error = ""
    if failed is not None:
        error = prefix + (f"{failed.wrap}: " if failed.wrap else "") + failed.stage.error
    omissions = omissions_of(look, seen=by_claim.keys())
    if lost := lost_error(look, omissions):
        wrap = "" if look.backup.copies_from_pods else f"{_SNAPSHOTS}: "
        error = error or f"{prefix}{wrap}{lost}"
    if look.backup.phase in BROKEN:
        error = error or _broken(look.backup)
    total += len(omissions.lost)
    waits = _waits(look, steps, failed, omissions)
    undone = [each for each in readings if not each.done and not (look.blind and each.is_snapshot)]
    state = _state(look, error=error, seen=seen, undone=bool(undone), completed=completed, doubt=omissions.doubt)
    bytes_total = min(sum(each.bytes_total for each in readings), INT64)
    description = {
        State.WAITING: lambda: sentences.waiting(completed=completed, total=total, waits=waits),
        State.MOVED: lambda: sentences.moved(look, omissions=omissions, total=total, size_of_all=bytes_total),
        State.NOTHING_TO_MOVE: lambda: sentences.nothing(look),
        State.UNKNOWN: lambda: sentences.unknown(look, omissions),
        State.FAILED: lambda: sentences.failed(error, waits=waits, completed=completed, total=total),
    }[state]()
    return Verdict(
        state=state,
        flags=_flags(look, steps),
        platform=_shown(look.hcp.platform),
        completed=completed,
        total=total,
        bytes_done=min(sum(each.bytes_done for each in readings), INT64),
        bytes_total=bytes_total,
        error=clean(error, limit=MESSAGE_LIMIT),
        timed_out=failed is not None and failed.stage.timed_out,
        description=clean(description, limit=MESSAGE_LIMIT),
        warnings=sentences.warnings(look, seen=by_claim.keys(), omissions=omissions),
        waits=waits if state in (State.WAITING, State.FAILED) else (),
        rows=rows_of(by_claim, finished=finished, claims=look.claims, lost=omissions.waits, collected=collected),
        log=_log(steps, log, error, collected=collected),
        started=min((each.started for each in readings if each.started is not None), default=look.limits.began),
        updated=max((each.updated for each in readings if each.updated is not None), default=look.limits.began),
    )


def _is_moved(look: Look, readings: list[Reading]) -> bool:
    """Tell whether a claim is moved: all that moves it is done. A snapshot alone is enough where no upload of it is to come."""
    if not all(each.done for each in readings):
        return False
    if any(each.wait.kind in (Kind.UPLOAD, Kind.POD_VOLUME_BACKUP) for each in readings):
        return True
    return not look.asked or (look.limits.collected and Kind.UPLOAD not in look.unread)


def _state(look: Look, *, error: str, seen: int, undone: bool, completed: int, doubt: str) -> State:
    if error:
        return State.FAILED
    if not seen and not includes(look.backup, look.hcp.metadata.namespace or ""):
        return State.NOTHING_TO_MOVE
    if not look.limits.collected:
        return State.WAITING
    if completed < seen:
        return State.WAITING if undone else State.UNKNOWN
    if doubt or _hidden(look):
        return State.UNKNOWN
    return State.MOVED if seen else State.NOTHING_TO_MOVE


def _hidden(look: Look) -> bool:
    """Tell whether a kind that cannot be read may hide something that is not moved."""
    if look.blind:
        return True
    spec, errors = look.backup.spec, look.backup.had_errors
    # Velero waits for these as long as it collects, and has an error for each that fails
    if Kind.POD_VOLUME_BACKUP in look.unread and (look.backup.copies_from_pods or errors):
        return True
    # of each snapshot that is to be moved it has made an upload, or has had an error
    if Kind.SNAPSHOT not in look.unread or (look.asked and look.uploads and not errors):
        return False
    return spec is None or spec.snapshot_volumes is not False


def _waits(look: Look, steps: list[_Step], failed: _Step | None, omissions: Omissions) -> tuple[Wait, ...]:
    """Return what is waited for in the order of the flow, what failed first; and Velero itself, as long as it collects."""
    ordered = sorted(steps, key=lambda step: step is not failed)
    found = [wait for step in ordered for wait in step.stage.waits]
    found = [*found, *omissions.waits] if failed is not None else [*omissions.waits, *found]
    found = found[:SHOWN_LIMIT]
    if not look.limits.collected and look.backup.phase not in BROKEN:
        phase = name(look.backup.phase)
        sentence = "Velero has not begun" if phase in NOT_BEGUN else "Velero is still collecting what is backed up"
        wait = Wait(
            kind=Kind.BACKUP,
            name=name(look.backup.metadata.name),
            phase=phase,
            since=look.limits.began,
            sentence=sentence,
        )
        found = [*found[: SHOWN_LIMIT - 1], wait]
    return tuple(found)


def _flags(look: Look, steps: list[_Step]) -> Flags:
    """Return the document's flags: PV for all that is no upload, DU for the uploads. On Azure nothing of the latter is asked for where none is there."""
    uploads = next((step.stage for step in steps if step.wrap == _UPLOAD), None) or reconcile_data_upload(look)
    others = [step.stage for step in steps if step.wrap != _UPLOAD]
    begun = [stage for stage in others if stage.started]
    return Flags(
        pv_backup_started=bool(begun),
        pv_backup_finished=bool(begun) and all(stage.finished for stage in begun),
        du_started=uploads.started,
        du_finished=uploads.finished,
    )


def _log(steps: list[_Step], log: list[str], error: str, *, collected: bool) -> tuple[str, ...]:
    """Return the document's lines that hold: the stages up to the first that is not finished, and the error. What will never begin says nothing."""
    lines = list(log)
    for step in steps:
        if step.stage.started and step.stage.finished:
            lines.append(step.done)
        elif step.stage.started or not collected:
            break
    if error:
        lines.append(clean(error, limit=MESSAGE_LIMIT))
    return tuple(lines)


def _broken(backup: Backup) -> str:
    status = backup.status
    reasons = (status.failure_reason or "; ".join((status.validation_errors or ())[:3])) if status is not None else ""
    return f"backup {name(backup.metadata.name)} is {name(backup.phase)}: {said(reasons) or 'it does not say why'}"


def _shown(text: str) -> str:
    return clean(text, limit=63)


def give_up(verdict: Verdict) -> Verdict:
    """Return the verdict of somebody who has waited for it as long as he may: what was waited for was not in time. Another than WAITING stays."""
    if verdict.state is not State.WAITING:
        return verdict
    first = verdict.waits[0].kind if verdict.waits else Kind.BACKUP
    rule = platform.rule_of(verdict.platform)
    prefix = f"error reconciling {rule.strategy.value} data mover: " if rule is not None else ""
    error = {
        Kind.CONTENT: f"{prefix}{_CONTENT}: {gave_up('volumeSnapshotContent')}",
        Kind.SNAPSHOT: f"{prefix}{_SNAPSHOTS}: {gave_up('VolumeSnapshot')}",
        Kind.UPLOAD: f"{prefix}{_UPLOAD}: {gave_up('dataUpload')}",
        Kind.POD_VOLUME_BACKUP: f"giving up waiting podVolumeBackup. Err: {DEADLINE}",
    }.get(first, f"{prefix}{DEADLINE}")
    return replace(
        verdict,
        state=State.FAILED,
        error=error,
        timed_out=True,
        description=clean(f"{error}: {verdict.description}", limit=MESSAGE_LIMIT),
        log=(*verdict.log, error),
    )
