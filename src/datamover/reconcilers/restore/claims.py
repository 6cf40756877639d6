"""Telling at a claim, by its events, what becomes of its filling by a DataMoverRestore. The restore does the work; its user looks at the claim.

Nothing is written but events, each of them once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from datamover.api import names, reasons
from datamover.api.names import ConditionType, FillingReason, RestorePhase
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore
from datamover.plans.kind import Kind
from datamover.plans.known import UNKNOWN, Known
from datamover.plans.refusals import grant, right
from datamover.plans.steps import REST, Emit, Plan, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.restore.population import ACTION, is_for_restores
from datamover.runs.facts import Unread
from datamover.volumes.binding import is_bound, is_lost
from datamover.volumes.population import filled_from
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolumeClaim, PersistentVolumeClaimStatus

_KIND = DATA_MOVER_RESTORES.kind
_TOLD = frozenset({reasons.WAITING_FOR_CONSUMER, reasons.SUSPENDED})
"""Reasons of a restore at work that are worth telling at its claim."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A claim that names a restore, and that one."""

    claim: PersistentVolumeClaim
    restore: DataMoverRestore | Unread = Unread.NOT_SYNCED
    known: Known = UNKNOWN


def decide(facts: Facts) -> Plan[PersistentVolumeClaimStatus]:
    """Return what to tell of a claim that has no volume yet."""
    claim, restore = facts.claim, facts.restore
    named = claim.spec is not None and bool(claim.spec.volume_name)
    if is_bound(claim) or is_lost(claim) or named or claim.metadata.terminating:
        return REST
    name = filled_from(claim)
    if not name:
        message = f"it is not filled: dataSourceRef names a {_KIND} of another namespace, and a claim is filled by one of its own only; create the claim beside it"
        return _tell(facts, FillingReason.NOT_FOR_CLAIM, message)
    if restore is Unread.NOT_SYNCED:
        return REST
    if restore is Unread.FORBIDDEN:
        needed = right("get", DATA_MOVER_RESTORES, claim.metadata.namespace)
        return _tell(
            facts,
            reasons.PERMISSION_MISSING,
            f"it is not filled, for the operator may not read {_KIND} {name}: {grant(needed)}",
        )
    if isinstance(restore, Unread) or restore.spec is None or restore.metadata.terminating:
        state = (
            "is being deleted"
            if isinstance(restore, DataMoverRestore) and restore.metadata.terminating
            else "does not exist"
        )
        message = f"waiting for {_KIND} {name}, which {state}; create it with spec.target.claimName: {claim.metadata.name}, or correct dataSourceRef"
        return _tell(facts, FillingReason.RESTORE_NOT_FOUND, message)
    status = restore.status
    target = status.run.claim if status is not None and status.run is not None else restore.spec.target.claim_name
    if target != claim.metadata.name:
        message = (
            f"it is not filled: {_KIND} {name} restores into PersistentVolumeClaim {target}; create one with spec.target.claimName: {claim.metadata.name}, "
            "and name it in dataSourceRef"
        )
        return _tell(facts, FillingReason.NOT_FOR_CLAIM, message)
    if status is None:
        return REST
    return _tell_of(facts, restore)


def _tell_of(facts: Facts, restore: DataMoverRestore) -> Plan[PersistentVolumeClaimStatus]:
    """Tell how the restore stands, where somebody may have to do something."""
    status, name = restore.status, restore.metadata.name
    ready = status.condition(ConditionType.READY) if status is not None else None
    stalled = status.condition(ConditionType.STALLED) if status is not None else None
    if status is None or ready is None:
        return REST
    if status.phase == RestorePhase.COMPLETED:
        run = status.run
        if run is not None and run.claim_uid == facts.claim.metadata.uid:
            return REST  # its volume is about to be shown
        message = f"it is not filled: {_KIND} {name} is complete, and restores nothing more; create another one, and the claim anew with that in dataSourceRef"
        return _tell(facts, FillingReason.OVER, message)
    if status.phase == RestorePhase.FAILED:
        return _tell(facts, ready.reason, f"it is not filled, for {_KIND} {name} has failed: {status.message or ''}")
    if stalled is not None and stalled.status == "True":
        return _tell(facts, stalled.reason, f"{_KIND} {name} waits: {stalled.message}")
    if ready.reason in _TOLD:
        return _tell(facts, ready.reason, f"{_KIND} {name} waits: {ready.message}", type_="Normal")
    return REST


def _tell(
    facts: Facts, reason: str, message: str, *, type_: Literal["Normal", "Warning"] = "Warning"
) -> Plan[PersistentVolumeClaimStatus]:
    return Plan(facts.known.untold(Emit(type_, reason, message, ACTION)))


@dataclass(frozen=True, slots=True)
class _Asks:
    """Who wants a restore to be watched: other kinds may have claims of the same key."""

    key: Key


class ClaimKind(Kind[PersistentVolumeClaim, PersistentVolumeClaimStatus, Facts]):
    """Looks at the part of the shared claims that name a DataMoverRestore as the source of their data."""

    resource = PERSISTENT_VOLUME_CLAIMS
    name = "restored-claim"
    speaks_by_events = True

    def __init__(self, client: Client, *, view: View) -> None:
        self.objects = Part(client, view.cluster.claims, select=is_for_restores)
        self._view = view
        self._restores = view.cluster.by_name(DATA_MOVER_RESTORES)

    def gather(self, obj: PersistentVolumeClaim, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a claim."""
        del now
        name = filled_from(obj)
        found = self._view.named(DATA_MOVER_RESTORES, obj.metadata.namespace or "", name) if name else Unread.MISSING
        return Facts(obj, found, known)

    def decide(self, facts: Facts) -> Plan[PersistentVolumeClaimStatus]:
        """Return what to tell."""
        return decide(facts)

    def broken(
        self, obj: PersistentVolumeClaim, message: str, *, now: datetime
    ) -> tuple[Step[PersistentVolumeClaimStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", names.OPERATOR_DEFECT, message, ACTION),)

    def is_over(self, obj: PersistentVolumeClaim) -> bool:
        """Tell whether a claim has a volume."""
        return is_bound(obj) or is_lost(obj)

    def connect(self, controller: Controller) -> None:
        """Wake a claim when its restore changes."""
        self._restores.add_handler(lambda key: controller.wake(self._waiting_for(key)))

    def notice(self, key: Key, obj: PersistentVolumeClaim) -> None:
        """Watch the restore until the claim has a volume."""
        name = filled_from(obj)
        waits = name and not self.is_over(obj) and not obj.metadata.terminating
        self._restores.want(_Asks(key), (Key(key.namespace, name),) if waits else ())

    def forget(self, key: Key) -> None:
        """End the watch."""
        self._restores.want(_Asks(key), ())

    def _waiting_for(self, key: Key) -> Iterable[Key]:
        return tuple(owner.key for owner in self._restores.owners(key) if isinstance(owner, _Asks))
