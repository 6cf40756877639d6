"""What speaks against the collection of a DataVolume. Pure.

In doubt it stays: its claim is a disk, and the disk may be the only copy of somebody's data.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec.structs import replace as changed

from datamover.api.cdi import names
from datamover.api.cdi.names import ConditionType, Phase
from datamover.api.kubevirt import GROUP as KUBEVIRT_GROUP
from datamover.api.outside import clean
from datamover.reconcilers.collection.facts import Facts, Machines
from datamover.reconcilers.collection.neighbours import is_tolerant
from datamover.runs.facts import Unread
from datamover.volumes.asking import Asked, find_manager, who_asks
from datamover.volumes.binding import is_bound
from datamover.volumes.handover import ANNOTATIONS_ROOM, is_detached, read_record, was_collected
from kubekit.words.meta import ANNOTATIONS_LIMIT, OwnerReference


class Reason(StrEnum):
    """Why a DataVolume is not collected. Stable: programs rely on them, and the metric counts by them."""

    NOT_ASKED = "NotAsked"
    REFUSED = "Refused"
    NOT_SUCCEEDED = "NotSucceeded"
    PAUSED = "Paused"
    NOT_READY = "NotReady"
    OFF = "Off"
    TTL = "TTL"
    TTL_INVALID = "InvalidTTL"
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_NOT_BOUND = "ClaimNotBound"
    CLAIM_NOT_OURS = "ClaimNotOurs"
    CLAIM_FULL = "ClaimAnnotationsFull"
    ALREADY_COLLECTED = "AlreadyCollectedOnce"
    GITOPS = "GitOpsManaged"
    MACHINE = "VirtualMachineOwned"
    OWNER_GONE = "OwnerGone"
    OWNER_UNKNOWN = "OwnerUnknown"
    FINALIZER_FORBIDDEN = "FinalizerForbidden"
    FINALIZER = "ForeignFinalizer"
    OLD_CDI = "OldCDICollects"
    LEFTOVERS = "Leftovers"
    DRY_RUN = "DryRun"
    TTL_UNKNOWN = "TTLUnknown"
    REQUEST_REFUSED = "RequestRefused"


QUIET: Final = frozenset({Reason.NOT_ASKED, Reason.OFF})
"""Reasons that are not told on the object: most DataVolumes of a cluster are not to be collected, and nobody asks why."""


MOST_HEIRS: Final = 64
"""Owners that are looked up for one DataVolume: each costs a request, and whoever may write a DataVolume may name thousands."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why it stays, and what to do."""

    reason: Reason
    message: str


def find_obstacle(facts: Facts) -> Obstacle | None:
    """Return the first thing that speaks against it, if it is asked for and whatever the time is; None when nothing does."""
    return next((found for check in _CHECKS if (found := check(facts)) is not None), None)


def find_refusal(facts: Facts) -> Obstacle | None:
    """Return that nobody asks for it, or that its user refuses it; None when it is asked for."""
    asked = who_asks(facts.volume.metadata.annotations or {})
    if asked is Asked.NO:
        return Obstacle(
            Reason.NOT_ASKED, f'nobody asks for it: set the annotation {names.DELETE_AFTER_COMPLETION} to "true"'
        )
    if asked is Asked.REFUSED:
        keys = " or ".join(key for key in names.ASKING_KEYS if facts.volume.metadata.annotation(key) == "false")
        return Obstacle(Reason.REFUSED, f'its annotation {keys} is "false": set it to "true" to have it collected')
    return None


def _completed(facts: Facts) -> Obstacle | None:
    status = facts.volume.status
    phase = (status.phase if status is not None else None) or ""
    if phase == Phase.PAUSED:
        return Obstacle(
            Reason.PAUSED, "it is paused, and more may be imported: it is never collected before it has Succeeded"
        )
    if status is None or phase != Phase.SUCCEEDED:
        return Obstacle(
            Reason.NOT_SUCCEEDED, f"its phase is {phase or 'not set'}: it is collected when that is Succeeded"
        )
    ready = status.condition(ConditionType.READY)
    if ready is None or ready.status != "True" or not ready.last_transition_time:
        said = "it has no condition Ready" if ready is None else f"its condition Ready is {ready.status or 'not set'}"
        return Obstacle(Reason.NOT_READY, f"{said}, so that nobody knows whether its disk can be used, nor since when")
    return None


def _claim(facts: Facts) -> Obstacle | None:
    volume, claim = facts.volume, facts.claim
    name = (volume.status.claim_name if volume.status is not None else None) or volume.metadata.name
    if name != volume.metadata.name:
        return Obstacle(
            Reason.CLAIM_NOT_OURS, f"its status names claim {name}, and the claim of a DataVolume has its own name"
        )
    if claim is None:
        return Obstacle(
            Reason.CLAIM_NOT_FOUND,
            f"there is no PersistentVolumeClaim {name}: without a disk there is nothing to hand over",
        )
    if claim.metadata.terminating or not is_bound(claim):
        phase = "being deleted" if claim.metadata.terminating else "not Bound"
        return Obstacle(
            Reason.CLAIM_NOT_BOUND, f"PersistentVolumeClaim {name} is {phase}: it is touched only while it is Bound"
        )
    if claim.metadata.annotation(names.FULL) is not None:
        return Obstacle(
            Reason.CLAIM_FULL,
            f"the annotations of PersistentVolumeClaim {name} leave no room for what is recorded on it: an API server takes {ANNOTATIONS_LIMIT} bytes of them, and "
            f"{ANNOTATIONS_ROOM} are kept free; remove some",
        )
    collected = was_collected(claim.metadata, uid=volume.metadata.uid)
    if collected:
        return Obstacle(
            Reason.ALREADY_COLLECTED,
            f"a DataVolume of claim {name} was collected at {clean(collected, limit=40)}, and this one was made again: whoever makes it would do so "
            f"each time. To have this one collected as well, remove the annotations {names.RECORD} and {names.GARBAGE_COLLECTED} from the claim",
        )
    record = read_record(claim.metadata)
    if record is None or record.returned or not is_detached(claim.metadata, uid=volume.metadata.uid):
        controller = next((each for each in claim.metadata.owner_references or () if each.controller), None)
        if controller is None or controller.uid != volume.metadata.uid:
            whose = f"{controller.kind} {controller.name}" if controller is not None else "nobody"
            return Obstacle(
                Reason.CLAIM_NOT_OURS, f"PersistentVolumeClaim {name} is controlled by {whose}, not by this DataVolume"
            )
    return None


def _managed(facts: Facts) -> Obstacle | None:
    asked = who_asks(facts.volume.metadata.annotations or {})
    manager = find_manager(facts.volume.metadata)
    if not manager or asked is Asked.BY_USER:
        return None
    return Obstacle(
        Reason.GITOPS,
        f'{manager} says that a program keeps it, and would make it again: set {names.DELETE_AFTER_COMPLETION} to "true" in its source to have it '
        f"collected all the same (and remove {names.STAMPED})",
    )


def _machine(facts: Facts) -> Obstacle | None:
    owner = machine_of(facts)
    if owner is None or facts.settings.machines is Machines.COLLECT or is_tolerant(facts.kubevirt):
        return None
    said = facts.kubevirt if isinstance(facts.kubevirt, str) else ""
    which = f"KubeVirt {said}" if said else "this cluster's KubeVirt, whose version is not known,"
    return Obstacle(
        Reason.MACHINE,
        f"{owner.kind} {owner.name} owns it, and {which} makes it again when it is gone. Versions 0.57 to 1.4 do not; to collect such "
        "DataVolumes all the same set dataVolumes.collection.virtualMachines to Collect",
    )


def find_heirs(facts: Facts) -> tuple[OwnerReference, ...]:
    """Return, once each, whose the claim will be: the owners of the DataVolume, and those that the claim has beside it.

    Of the claim's own nothing is changed, so that no right is needed to keep them from going first. But while the DataVolume owns it as well, it
    outlives them: one that is gone must not be all that is left.
    """
    meta, claim = facts.volume.metadata, facts.claim
    own = (claim.metadata.owner_references or ()) if claim is not None else ()
    others = (changed(each, block_owner_deletion=None) for each in own if each.uid != meta.uid)
    found: dict[str, OwnerReference] = {}
    for each in (*(meta.owner_references or ()), *others):
        found.setdefault(each.uid, each)
    return tuple(found.values())


def _owners(facts: Facts) -> Obstacle | None:
    heirs = find_heirs(facts)
    if len(heirs) > MOST_HEIRS:
        return Obstacle(
            Reason.OWNER_UNKNOWN,
            f"it and its claim have {len(heirs)} owners, and no more than {MOST_HEIRS} are looked up: a claim of an owner that is gone is deleted at once",
        )
    for owner in heirs:
        found = (facts.owners or {}).get(owner.uid)
        if found is None:
            continue  # not asked yet: it is before the first step
        its = "its" if facts.volume.metadata.owned_by(owner.uid) else "its claim's"
        whom = f"{owner.kind} {owner.name}"
        if found.alive is None:
            return Obstacle(
                Reason.OWNER_UNKNOWN,
                f"{its} owner {whom} cannot be seen ({found.problem}): a claim of an owner that is gone is deleted at once",
            )
        if not found.alive:
            return Obstacle(
                Reason.OWNER_GONE,
                f"{its} owner {whom} is {found.problem or 'gone'}: the claim would be deleted as soon as it were that one's alone",
            )
        if owner.block_owner_deletion and not found.may_block:
            return Obstacle(
                Reason.FINALIZER_FORBIDDEN,
                f"its owner {whom} must not be deleted before it, and the operator may not say that of the claim: let it update finalizers of "
                f"{owner.kind} ({owner.api_version}){f' ({found.problem})' if found.problem else ''}",
            )
    return None


def _finalizers(facts: Facts) -> Obstacle | None:
    foreign = [each for each in facts.volume.metadata.finalizers or () if each != names.FINALIZER]
    if not foreign:
        return None
    return Obstacle(
        Reason.FINALIZER,
        f"it has the finalizer {', '.join(foreign)[:200]} of another program, which waits for its end in its own way",
    )


def _collector(facts: Facts) -> Obstacle | None:
    if not facts.collector:
        return None
    return Obstacle(
        Reason.OLD_CDI,
        f"{facts.collector} collects by itself, by CDIConfig's dataVolumeTTLSeconds: set that to -1, and the time in datamover's own setting",
    )


def _leftovers(facts: Facts) -> Obstacle | None:
    """What filled the claim belongs to the claim, which outlives the DataVolume: whoever is to remove it does not look when that is gone."""
    if not facts.leftovers:
        return None
    return Obstacle(
        Reason.LEFTOVERS,
        f"{clean(facts.leftovers[0], limit=300)}, which was made to fill its claim, is still there: it is collected when nothing of that is left",
    )


_CHECKS: Final[tuple[Callable[[Facts], Obstacle | None], ...]] = (
    _completed,
    _claim,
    _collector,
    _managed,
    _machine,
    _finalizers,
    _leftovers,
    _owners,
)


def machine_of(facts: Facts) -> OwnerReference | None:
    """Return the virtual machine that controls a DataVolume."""
    return next(_machines(facts), None)


def _machines(facts: Facts) -> Iterator[OwnerReference]:
    for owner in facts.volume.metadata.owner_references or ():
        if owner.api_version.partition("/")[0] == KUBEVIRT_GROUP:
            yield owner


def find_demoted(facts: Facts) -> frozenset[str]:
    """Return the owners that must not control the claim: a KubeVirt that makes the DataVolume again lets it adopt the claim then.

    Where no KubeVirt is, nobody makes it again, and its machines are owners like any other.
    """
    if facts.kubevirt is Unread.MISSING or is_tolerant(facts.kubevirt):
        return frozenset()
    return frozenset(each.uid for each in _machines(facts))
