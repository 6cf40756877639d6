"""What to do for a claim that is to be filled. Pure.

Where it is follows from what is there: no temporary claim (it waits, or begins), one that has no volume yet, one whose volume is to be handed
over, one that has given it away. Each of these is reached again after any crash.
"""

from typing import Any, Literal

from datamover.api.volsync.names import POPULATED_FROM_ANNOTATION, PopulatorReason, in_use_label
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS, Image, ReplicationDestination
from datamover.plans.known import Diagnosis
from datamover.plans.refusals import grant, right
from datamover.plans.steps import REST, Create, Delete, Emit, Inquire, Patch, Plan, Rebind, Step
from datamover.reconcilers.population.facts import Facts
from datamover.reconcilers.population.gather import destination_of
from datamover.runs.facts import Unread
from datamover.runs.relocation import give_node_back
from datamover.runs.wait import LITTLE, age_of
from datamover.volumes.binding import binds_on_use, is_bound, is_foreign, is_lost, is_snapshot_ready
from datamover.volumes.population import (
    SNAPSHOT_KIND,
    build_prime,
    find_fault,
    find_shortage,
    image_of,
    label_value,
    node_of,
    owner_of,
)
from datamover.volumes.rebinding import Standing, holder_of, standing_of
from kubekit.words.core import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
)
from kubekit.words.meta import Reference, Resource
from kubekit.words.snapshot import GROUP as SNAPSHOT_GROUP
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot

Decision = Plan[PersistentVolumeClaimStatus]
Steps = tuple[Step[PersistentVolumeClaimStatus], ...]

ACTION = "Populate"
INQUIRE_AFTER = 60.0
"""Seconds after which a driver is asked why it does not get on."""
INQUIRE_INTERVAL = 300.0


def decide(facts: Facts) -> Decision:
    """Return what to do next."""
    claim, prime = facts.claim, facts.prime
    if prime is not None and not _is_made_by(claim, prime):
        return REST if is_bound(claim) else _refuse(facts, _whose(prime))
    if is_bound(claim) or is_lost(claim):
        return _finish(facts, prime)
    if claim.metadata.terminating:
        return _let_go(facts, prime)
    refusal = facts.known.refusal
    if refusal is not None and refusal.fresh:
        return _say(facts, PopulatorReason.ERROR, refusal.message, wake_after=refusal.retry_after)
    return _begin(facts) if prime is None else _follow(facts, prime)


# Waiting, and beginning.


def _begin(facts: Facts) -> Decision:
    """Wait for an image that can be filled from, then begin."""
    claim, found = facts.claim, facts.destination
    if claim.spec is not None and claim.spec.volume_name:
        return REST  # its user has chosen a volume, which Kubernetes is about to bind
    name = destination_of(claim)
    source = claim.spec.data_source_ref if claim.spec is not None else None
    if not name:
        where = source.namespace if source is not None else ""
        return _refuse(
            facts,
            f"it is not filled: dataSourceRef names a {REPLICATION_DESTINATIONS.kind} of namespace {where}, and a claim is filled from one of "
            f"its own namespace only; create the claim beside it",
        )
    if found is Unread.NOT_SYNCED:
        return REST
    if found is Unread.FORBIDDEN:
        return _refuse(facts, _lacks("get", REPLICATION_DESTINATIONS, facts))
    if isinstance(found, Unread) or found.metadata.terminating:
        state = "is being deleted" if isinstance(found, ReplicationDestination) else "does not exist"
        message = (
            f"waiting for {REPLICATION_DESTINATIONS.kind} {name}, which {state}; create it, or correct dataSourceRef"
        )
        return _say(facts, PopulatorReason.DESTINATION_MISSING, message)
    fault = find_fault(claim.spec and claim.spec.storage_class_name, facts.storage_class)
    if fault is not None:
        return _refuse(facts, f"it is not filled: {fault}")
    latest = found.status.latest_image if found.status is not None else None
    if latest is None or not latest.name:
        message = f"waiting for the first image of {REPLICATION_DESTINATIONS.kind} {name}; see its status"
        return _say(facts, PopulatorReason.NO_IMAGE, message, type_="Normal")
    return _begin_with(facts, latest)


def _begin_with(facts: Facts, latest: Image) -> Decision:
    """Begin with the latest image, once it is whole and the claim can take it."""
    claim, image = facts.claim, facts.image
    if (latest.kind, latest.api_group) != (SNAPSHOT_KIND, SNAPSHOT_GROUP):
        return _refuse(
            facts,
            f"it is not filled: the latest image of {destination_of(claim)} is {latest.kind} {latest.name}, which is written to again in the "
            f"next synchronisation; set copyMethod: Snapshot there",
        )
    if image is Unread.NOT_SYNCED:
        return REST
    if image is Unread.FORBIDDEN:
        return _refuse(facts, _lacks("get", VOLUME_SNAPSHOTS, facts))
    problem = _find_problem(image)
    if isinstance(image, Unread) or problem is not None:
        return _say(
            facts, PopulatorReason.IMAGE_NOT_READY, f"waiting for VolumeSnapshot {latest.name}, {problem or _MISSING}"
        )
    needed = find_shortage(claim, image)
    if needed is not None:
        return _refuse(
            facts,
            f"it is not filled: VolumeSnapshot {latest.name} needs a volume of {needed}; create the claim with a request of at least that",
        )
    late, node = binds_on_use(facts.storage_class), node_of(claim)
    if late and node is None:
        message = "waiting for the first Pod that uses it: its StorageClass makes volumes where that is to run"
        return _say(facts, PopulatorReason.WAITING_FOR_CONSUMER, message, type_="Normal")
    of_class = (claim.spec and claim.spec.storage_class_name) or ""
    manifest = build_prime(claim, image=latest.name, storage_class=of_class, node=node if late else None)
    return Plan(
        (
            *_mark(facts),
            Create(PERSISTENT_VOLUME_CLAIMS, manifest),
            *_tell(
                facts,
                PopulatorReason.CLAIM_CREATED,
                f"filling {manifest['metadata']['name']} from VolumeSnapshot {latest.name}",
                type_="Normal",
                related=Reference(VOLUME_SNAPSHOTS, image.metadata),
            ),
        )
    )


_MISSING = "which does not exist; the next synchronisation makes another"


def _find_problem(image: VolumeSnapshot | Unread) -> str | None:
    """Return why nothing is made of an image now, in words that follow its name."""
    if isinstance(image, Unread):
        return _MISSING
    if image.metadata.terminating:
        return "which is being deleted; the next synchronisation makes another"
    if is_snapshot_ready(image):
        return None
    error = image.status.error if image.status is not None else None
    return f"whose driver says: {error.message}" if error is not None and error.message else "which is not readyToUse"


# While the driver works, and after.


def _follow(facts: Facts, prime: PersistentVolumeClaim) -> Decision:
    """Go on with what was begun."""
    if prime.metadata.terminating:
        return REST  # when it is gone, it is begun anew
    if image_of(prime) is None:
        return _refuse(
            facts, f"{prime.metadata.name} has no snapshot as its dataSource, so it would be empty: delete it"
        )
    if is_bound(prime):
        return _hand_over(facts, prime)
    if is_lost(prime):
        return REST if _is_handed_over(facts) else _begin_anew(facts, prime, "has lost its volume")
    return _await_volume(facts, prime)


def _await_volume(facts: Facts, prime: PersistentVolumeClaim) -> Decision:
    """Wait for the driver."""
    claim, image = facts.claim, facts.image
    if image is Unread.MISSING:
        return _begin_anew(facts, prime, f"cannot be filled: VolumeSnapshot {image_of(prime)} is gone")
    if binds_on_use(facts.storage_class) and node_of(prime) is None:
        return _choose_another_node(facts, prime)
    marks = _mark(facts)
    if marks:
        return Plan(marks)
    age, asked = age_of(prime.metadata.creation_timestamp, facts.now), _asked(facts, prime)
    if asked is None and age < INQUIRE_AFTER:
        return Plan(wake_after=INQUIRE_AFTER - age + LITTLE)
    if asked is None or asked.age >= INQUIRE_INTERVAL:
        return Plan((Inquire(PERSISTENT_VOLUME_CLAIMS.kind, prime.metadata),), INQUIRE_INTERVAL)
    if asked.text and isinstance(image, VolumeSnapshot) and image.metadata.terminating:
        # a driver makes nothing of a snapshot that is going, which stays as long as this claim waits for it
        return _begin_anew(facts, prime, f"cannot be filled, for VolumeSnapshot {image.metadata.name} is being deleted")
    why = asked.text or "nothing is said of it; is the driver of its StorageClass at work?"
    message = f"{prime.metadata.name}, by which {claim.metadata.name} is filled, has no volume yet: {why}"
    return _say(facts, PopulatorReason.NOT_BOUND, message, wake_after=INQUIRE_INTERVAL - asked.age + LITTLE)


def _choose_another_node(facts: Facts, prime: PersistentVolumeClaim) -> Decision:
    """The driver has taken the node away, for it can make no volume there."""
    node, steps = node_of(facts.claim), give_node_back(facts.claim, prime)
    if node is None:
        return Plan(steps)
    message = f"the driver could make no volume on node {node}: the scheduler chooses another one"
    return Plan((*steps, *_tell(facts, PopulatorReason.NOT_BOUND, message)))


def _hand_over(facts: Facts, prime: PersistentVolumeClaim) -> Decision:
    """Hand the volume over, which the driver has filled."""
    claim, volume = facts.claim, facts.volume
    if volume is Unread.FORBIDDEN:
        return _refuse(facts, _lacks("get", PERSISTENT_VOLUMES, facts))
    if not isinstance(volume, PersistentVolume):
        return REST  # its watch is late
    standing = standing_of(volume, prime, target=claim)
    if standing is Standing.GIVEN:
        return REST  # Kubernetes is about to bind it
    named = claim.spec.volume_name if claim.spec is not None else None
    if named and named != volume.metadata.name:
        return REST  # it is being bound to another volume: this one goes when it is
    if standing is Standing.GOING:
        return _begin_anew(facts, prime, f"has lost its volume {volume.metadata.name}")
    if standing is Standing.TAKEN:
        return _refuse(facts, f"PersistentVolume {volume.metadata.name}, which was made for it, is somebody else's now")
    if is_foreign(volume):
        return _refuse(
            facts,
            f"it is not filled: PersistentVolume {volume.metadata.name} is not of a CSI driver, so it is empty; create the claim with a class "
            f"of a CSI driver",
        )
    origin = f"{claim.metadata.namespace}/{destination_of(claim)}"
    return Plan((Rebind(volume.metadata, claim.metadata, {POPULATED_FROM_ANNOTATION: origin}),))


def _finish(facts: Facts, prime: PersistentVolumeClaim | None) -> Decision:
    """The claim has its volume: what is left goes."""
    if prime is None or prime.metadata.terminating:
        return REST
    claim, volume = facts.claim, facts.volume
    had = prime.spec.volume_name if prime.spec is not None else None
    filled = bool(had) and claim.spec is not None and claim.spec.volume_name == had
    if filled and isinstance(volume, PersistentVolume) and holder_of(volume) == prime.metadata.uid:
        return REST  # the caches contradict each other: as long as the volume may be this claim's, it would go with it
    if facts.image is Unread.NOT_SYNCED and image_of(prime) is not None:
        return REST  # its mark is to go first, for afterwards nobody knows its name
    message = "filled" if filled else "bound to another volume: the one that was made for it goes"
    told = _tell(facts, PopulatorReason.FINISHED, message, type_="Normal" if filled else "Warning")
    return Plan((*_unmark(facts), Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata), *told))


def _let_go(facts: Facts, prime: PersistentVolumeClaim | None) -> Decision:
    """The claim is being deleted, before it was bound."""
    if prime is None or prime.metadata.terminating:
        return REST
    return Plan((*_unmark(facts), Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata)))


def _begin_anew(facts: Facts, prime: PersistentVolumeClaim, why: str) -> Decision:
    told = _tell(
        facts,
        PopulatorReason.ERROR,
        f"{prime.metadata.name} {why}: it is deleted, and filling begins anew with the latest image",
    )
    return Plan((*_unmark(facts), Delete(PERSISTENT_VOLUME_CLAIMS, prime.metadata), *told))


# What is known.


def _is_made_by(claim: PersistentVolumeClaim, prime: PersistentVolumeClaim) -> bool:
    return owner_of(claim).owns(prime)


def _is_handed_over(facts: Facts) -> bool:
    volume = facts.volume
    return isinstance(volume, PersistentVolume) and holder_of(volume) == facts.claim.metadata.uid


def _asked(facts: Facts, prime: PersistentVolumeClaim) -> Diagnosis | None:
    found = facts.known.diagnosis
    return found if found is not None and found.target == prime.metadata.uid else None


def _whose(prime: PersistentVolumeClaim) -> str:
    return f"it is not filled: PersistentVolumeClaim {prime.metadata.name} exists and is not of its making; delete it"


def _lacks(verb: str, resource: Resource[Any], facts: Facts) -> str:
    needed = right(verb, resource, facts.claim.metadata.namespace)
    return f"it is not filled, for the operator may not read what it is filled from: {grant(needed)}"


# The mark of a snapshot in use.


def _mark(facts: Facts) -> Steps:
    """Mark the image as in use, so that its destination does not delete it."""
    image, key = facts.image, in_use_label(facts.claim.metadata.uid)
    if isinstance(image, Unread) or image.metadata.label(key) is not None:
        return ()
    return (_label(image, key, label_value(facts.claim)),)


def _unmark(facts: Facts) -> Steps:
    image, key = facts.image, in_use_label(facts.claim.metadata.uid)
    if isinstance(image, Unread) or image.metadata.label(key) is None:
        return ()
    return (_label(image, key, None),)


def _label(image: VolumeSnapshot, key: str, value: str | None) -> Patch:
    return Patch(VOLUME_SNAPSHOTS, image.metadata, {"metadata": {"labels": {key: value}}})


# Telling: the claim's status is Kubernetes', so all is said by events, and once.


def _refuse(facts: Facts, message: str) -> Decision:
    return _say(facts, PopulatorReason.ERROR, message)


def _say(
    facts: Facts,
    reason: str,
    message: str,
    *,
    type_: Literal["Normal", "Warning"] = "Warning",
    wake_after: float | None = None,
) -> Decision:
    """Say why it waits, unless that is what was said last."""
    return Plan(_tell(facts, reason, message, type_=type_), wake_after)


def _tell(
    facts: Facts,
    reason: str,
    message: str,
    *,
    type_: Literal["Normal", "Warning"] = "Warning",
    related: Reference | None = None,
) -> tuple[Emit, ...]:
    return facts.known.untold(Emit(type_, reason, message, ACTION, related))
