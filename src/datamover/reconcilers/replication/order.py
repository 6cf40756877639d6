"""An object as an order: what it asks of a run, and how far its status and its children say that it is. Pure."""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from datamover.api import reasons
from datamover.api.fields import Fields
from datamover.api.names import RUN_ID_LABEL, CopyMethod
from datamover.api.ownership import Owner
from datamover.api.volsync import names
from datamover.api.volsync.common import CommonStatus
from datamover.api.volsync.names import ConditionType, EventReason
from datamover.movers.replication import Movement, complete_identity, temporary_labels
from datamover.reconcilers.replication.ask import FIELDS, Ask, Replication
from datamover.reconcilers.replication.facts import Facts, Settings
from datamover.reconcilers.replication.failures import told_failures
from datamover.reconcilers.replication.jobs import build_job, notes_of
from datamover.reconcilers.replication.mounts import more_volumes, mount
from datamover.reconcilers.replication.needs import account_of, is_privileged, is_restricted
from datamover.runs.order import Copy, Order, Readable, Transfer, Unheard
from datamover.runs.record import Record, Stage
from datamover.runs.trigger import CopyTrigger, told_by
from datamover.volumes.binding import is_read_only
from datamover.volumes.copy_trigger import Sharer, Told
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, Manifest
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.timestamps import compact, folder, moment_of, parse

_HOST_LABEL: Final = "kubernetes.io/hostname"
_REFUSALS: Final = frozenset({reasons.CHILD_REFUSED, reasons.PERMISSION_MISSING, reasons.NAME_TAKEN})
_ATTEMPT: Final = re.compile(r"attempt ([0-9]{1,6}) of the mover")
NOTHING_COPIED: Final = "nothing was copied yet"
"""What `CopyReady` says at the beginning, and when a copy that nobody could make is asked for otherwise."""
ANOTHER_MOVER: Final = "another mover follows, on the same volume"
"""What `CopyReady` says while a failed Job is kept, and when it was removed: nobody has lost it then."""


UNHEARD: Final = {
    VOLUME_SNAPSHOTS.kind: Unheard(30.0, EventReason.SNAPSHOT_NOT_BOUND),
    PERSISTENT_VOLUME_CLAIMS.kind: Unheard(120.0, EventReason.CLAIM_NOT_BOUND),
}


def status_of(obj: Replication) -> CommonStatus:
    """Return what the status of either kind says."""
    return obj.status or CommonStatus()


def run_id_of(obj: Replication) -> str:
    """Return the id of the synchronisation that is under way; of the next one where none is."""
    begun = begun_of(obj)
    return f"{compact(begun)}-{obj.metadata.uid.replace('-', '')[:8]}"


def owner_of(obj: Replication, ask: Ask) -> Owner:
    """Return whose the temporary children are."""
    return Owner(ask.resource, obj.metadata, temporary_labels(obj.metadata.uid, run_id=run_id_of(obj)))


def copy_of(ask: Ask, *, sharers: tuple[Sharer, ...] = ()) -> Copy:
    """Return the copy of a source, or the claim that a destination writes: which is used as it is, like a source with Direct.

    `sharers` are who else copies the source, and may wait for the same copy trigger.
    """
    options, name = ask.options, ask.metadata.name
    if not ask.is_source:
        return Copy(CopyMethod.DIRECT, ask.destination, None)
    direct = ask.copy_method == CopyMethod.DIRECT
    copy = names.copy_name(name)
    return Copy(
        ask.copy_method,
        ask.claim or "",
        None if direct else copy,
        copy if ask.copy_method == CopyMethod.SNAPSHOT else None,
        storage_class=options.storage_class_name,
        snapshot_class=options.volume_snapshot_class_name,
        size=options.capacity,
        access_modes=options.access_modes,
        round=run_id_of(ask.obj),
        gate=None if direct else CopyTrigger(begun_of(ask.obj), told_of(ask.obj), sharers),
        blocks=ask.moves_blocks,
    )


def job_of(ask: Ask) -> str:
    """Return the name of the mover's Job."""
    return names.job_name(ask.method, ask.role, ask.metadata.name)


def order_of(ask: Ask, facts: Facts, settings: Settings) -> Order:
    """Return what is asked of a run."""
    job = job_of(ask)

    def make(readable: Readable) -> Manifest:
        return build_job(ask, facts, _movement(ask, facts, settings, readable))

    return Order(
        owner_of(facts.obj, ask),
        copy_of(ask, sharers=facts.sharers),
        (Transfer(job, ask.method, make, deadline=settings.deadline),),
        _record_of(facts),
        fields_of(ask),
        UNHEARD,
    )


def fields_of(ask: Ask) -> Fields:
    """Return how the kind calls what its user can change."""
    method = f"spec.{FIELDS[ask.method]}"
    return Fields(
        kind=ask.resource.kind,
        source="spec.sourcePVC" if ask.is_source else f"{method}.destinationPVC",
        storage_class=f"{method}.storageClassName",
        snapshot_class=f"{method}.volumeSnapshotClassName",
        method=f"{method}.copyMethod",
        method_is_kept=False,
        without_snapshots=CopyMethod.CLONE if ask.is_source else CopyMethod.DIRECT,
        image="the operator's mover image",
        pull_secrets="the operator's default for image pull secrets",
        memory=f"{method}.moverResources.limits.memory",
        deadline="the operator's deadline for synchronisations",
        suspend="spec.paused",
        keeps="it is kept",
        verify="what the method compares",
    )


def is_of_this_round(child: HasMeta, obj: Replication) -> bool:
    """Tell whether a temporary child was made for the synchronisation that is under way.

    One that carries no run id was made by the original operator: its age tells. Timestamps have whole seconds, so one of the same second may be
    of this round.
    """
    run_id = child.metadata.label(RUN_ID_LABEL)
    if run_id is not None:
        return run_id == run_id_of(obj)
    made = moment_of(child.metadata.creation_timestamp, default=0.0)
    return made >= moment_of(status_of(obj).last_sync_start_time, default=0.0)


def _movement(ask: Ask, facts: Facts, settings: Settings, readable: Readable) -> Movement:
    options, mover, metadata = ask.options, ask.mover, ask.metadata
    chosen = mover.mover_security_context if mover is not None else None
    claim = facts.run.claim if ask.is_source and readable.claim != ask.claim else facts.run.source
    placement = facts.run.known.placement
    return Movement(
        owner_of(facts.obj, ask),
        ask.role,
        run_id_of(facts.obj),
        job_of(ask),
        readable.claim,
        claim.metadata.uid if claim is not None else "",
        account_of(ask),
        settings.mover_image,
        settings.mover_pull_policy,
        # a source that is read directly is not the operator's to say so: the node would relabel it for everybody
        read_only=readable.read_only and (claim is None or is_read_only(claim)),
        block=_is_block(claim),
        privileged=is_privileged(facts),
        paused=ask.paused,
        debug=metadata.annotation(names.DEBUG_ANNOTATION) is not None,
        identity=complete_identity(_plain(chosen), restricted=is_restricted(facts)),
        pod_labels=options.mover_pod_labels or {},
        resources=_plain(options.mover_resources),
        affinity=mover.mover_affinity if mover is not None else None,
        node_selector={_HOST_LABEL: placement.node} if placement is not None and placement.node else None,
        tolerations=placement.tolerations if placement is not None else (),
        volumes=tuple(mount(volume) for volume in more_volumes(ask)),
        environment=settings.environment,
        allow_empty_source=metadata.annotation(names.ALLOW_EMPTY_ANNOTATION) == "true",
        failures=told_failures(status_of(facts.obj)),
        notes=notes_of(ask, facts, settings),
        deadline_seconds=settings.deadline,
        defaults=settings.mover_defaults,
    )


def _plain(value: Any) -> Any:
    return None if value is None else msgspec.to_builtins(value)


def _is_block(claim: PersistentVolumeClaim | None) -> bool:
    return claim is not None and claim.spec is not None and claim.spec.volume_mode == "Block"


def is_halted(status: CommonStatus) -> bool:
    """Tell whether the last that was told is that something stands in its way. Failures stay told while the next mover is on its way."""
    ready, stalled = status.condition(ConditionType.READY), status.condition(ConditionType.STALLED)
    return ready is not None and stalled is not None and stalled.status == "True" and ready.reason == stalled.reason


def _has_failed(status: CommonStatus) -> bool:
    """Tell whether the last that was told is that a mover failed."""
    return told_failures(status) > 0 and is_halted(status)


def _record_of(facts: Facts) -> Record:
    """Return how far it is: a Job of this round means that a mover was started; people's conditions say the rest."""
    obj, job = facts.obj, facts.run.job
    status = status_of(obj)
    ready, copy = status.condition(ConditionType.READY), status.condition(ConditionType.COPY_READY)
    started = copy is not None and (copy.message == ANOTHER_MOVER or _ATTEMPT.search(copy.message) is not None)
    ours = job is not None and job.metadata.owned_by(obj.metadata.uid)  # another's Job is no start of ours
    refused = ready is not None and ready.reason in _REFUSALS
    tries = _ATTEMPT.search(copy.message) if copy is not None else None
    return Record(
        # What is copied needs no write of its own: the next one says that a mover was started.
        stage=Stage.MOVING if ours or started else Stage.COPIED,
        begun=folder(begun_of(obj)),
        reason=ready.reason if ready is not None else "",
        halted=is_halted(status),
        # A Job that failed was removed by us, so that the next one can be made, and one that was refused was never there: neither is missed.
        attempts=int(tries[1]) if tries and not (job is None and (refused or _has_failed(status))) else 0,
    )


def told_of(obj: Replication) -> Told:
    """Return what the status says of the copy trigger of the synchronisation that is under way."""
    said = status_of(obj).condition(ConditionType.COPY_TRIGGERED)
    return told_by(said.reason if said is not None else None)


def begun_of(obj: Replication) -> datetime:
    """Return when the synchronisation that is under way began."""
    stamp = status_of(obj).last_sync_start_time
    return parse(stamp) if moment_of(stamp, default=None) is not None and stamp else datetime.fromtimestamp(0, UTC)
