"""Filling a claim by a temporary one, whose volume is handed over when it is filled: nobody can use half a disk. Pure."""

from typing import Any

from datamover.api import names as ours
from datamover.api import reasons
from datamover.api.cdi import names
from datamover.api.cdi.names import Phase
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.plans.steps import REST, Create, Delete, Emit, Plan, Rebind
from datamover.reconcilers.datavolume.claims import Wanted
from datamover.reconcilers.datavolume.ending import is_made_by, stop
from datamover.reconcilers.datavolume.facts import Facts, Settings
from datamover.reconcilers.datavolume.filling import Filling
from datamover.reconcilers.datavolume.order import (
    owner_of,
    prime_of,
)
from datamover.reconcilers.datavolume.status import ACTION, NO_PROGRESS, Told, tell
from datamover.reconcilers.datavolume.waiting import MAY_NOT_READ, is_immediate, say
from datamover.reconcilers.datavolume.worker import work
from datamover.runs.facts import Unread
from datamover.volumes.binding import Obstacle, binds_on_use, is_bound, is_lost
from datamover.volumes.population import node_of
from datamover.volumes.prime import build_prime_of
from datamover.volumes.rebinding import Standing, standing_of
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PersistentVolume, PersistentVolumeClaim

Decision = Plan[Any]


def fill_by_rebinding(
    facts: Facts, claim: PersistentVolumeClaim, *, filling: Filling | Obstacle, wanted: Wanted, settings: Settings
) -> Decision:
    """Bring the filling of a claim one step on that gets its volume from a temporary one."""
    prime = facts.prime
    if prime is not None and not is_made_by(claim, prime):
        message = f"PersistentVolumeClaim {prime.metadata.name} exists and is not of this operator's making: delete it"
        return say(facts, None, reasons.NAME_TAKEN, message)
    volume = facts.prime_volume
    if (
        prime is not None
        and isinstance(volume, PersistentVolume)
        and standing_of(volume, prime, target=claim) is Standing.GIVEN
    ):
        return REST  # Kubernetes is about to bind it
    if isinstance(filling, Obstacle):
        return say(facts, None, filling.reason, filling.message)
    if prime is None:
        return _make_prime(facts, claim)
    if prime.metadata.terminating:
        # Its worker keeps it from going, and one that waits for an upload would do so for ever.
        message = f"PersistentVolumeClaim {prime.metadata.name} is being deleted: when it is gone, another one is made and filled"
        told = Told(filling.scheduled, Reason.CLAIM_TERMINATING, message, progress=NO_PROGRESS)
        return tell(facts.volume, claim, told, now=facts.run.now, after=stop(facts, claim))
    if is_lost(prime):
        told = Emit(
            "Warning",
            Reason.CLAIM_LOST,
            f"{prime.metadata.name} has lost its volume: it is made and filled anew",
            ACTION,
        )
        return Plan((Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata), *stop(facts, claim), told))
    return work(
        facts,
        claim,
        prime,
        filling=filling,
        wanted=wanted,
        settings=settings,
        done=lambda: _hand_over(facts, claim, prime),
    )


def _make_prime(facts: Facts, claim: PersistentVolumeClaim) -> Decision:
    late, node = binds_on_use(facts.storage_class), node_of(claim)
    if late and node is None and not is_immediate(facts):
        message = "it waits for the first Pod that uses its claim: the StorageClass makes volumes where that is to run"
        return say(facts, Phase.PENDING_POPULATION, Reason.WAITING_FOR_CONSUMER, message, kind="Normal")
    manifest = build_prime_of(
        owner_of(claim), claim, name=prime_of(claim), component=ours.COMPONENT_COPY, node=node if late else None
    )
    return Plan((Create(PERSISTENT_VOLUME_CLAIMS, manifest),))


def _hand_over(facts: Facts, claim: PersistentVolumeClaim, prime: PersistentVolumeClaim) -> Decision:
    """The worker has said that all is on the disk: the volume becomes the claim's."""
    volume, name = facts.prime_volume, claim.metadata.name
    if volume is Unread.FORBIDDEN:
        return say(facts, None, reasons.PERMISSION_MISSING, MAY_NOT_READ)
    if not isinstance(volume, PersistentVolume) or not is_bound(prime):
        return REST  # its watch is late
    standing = standing_of(volume, prime, target=claim)
    if standing is Standing.GOING:
        told = Emit(
            "Warning",
            Reason.CLAIM_LOST,
            f"{prime.metadata.name} has lost its volume: it is made and filled anew",
            ACTION,
        )
        return Plan((*stop(facts, claim), Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata), told))
    if standing is Standing.TAKEN:
        message = f"PersistentVolume {volume.metadata.name}, which was made for {name}, is somebody else's now: look who has taken it, and delete {prime.metadata.name} to begin anew"
        return say(facts, None, Reason.VOLUME_TAKEN, message)
    return Plan((Rebind(volume.metadata, claim.metadata, {names.POPULATED: claim.metadata.uid}),))
