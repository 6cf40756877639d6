"""Which volume fits a claim: the rules of Kubernetes' volume binder. Pure."""

from collections.abc import Callable, Iterable, Mapping

from kubekit.runtime.store import Store
from kubekit.words.quantity import parse_quantity
from kubekit.words.selectors import requirement_holds, selects
from localkube.node.kinds import Claim, NodeSelectorTerm, PersistentVolume


def belongs_to(volume: PersistentVolume, claim: Claim) -> bool:
    """Tell whether a volume is reserved for, or bound to, this very claim."""
    reference = volume.claim_ref
    if reference is None or reference.name != claim.metadata.name or reference.namespace != claim.metadata.namespace:
        return False
    return not reference.uid or reference.uid == claim.metadata.uid


def volume_indexes() -> dict[str, Callable[[PersistentVolume], list[str]]]:
    """Return the indexes that `candidates` looks into, so that matching costs nothing for volumes that are taken."""
    return {
        "free": lambda v: [(v.spec.storage_class_name if v.spec else None) or ""] if v.claim_ref is None else [],
        "claim": lambda v: [f"{v.claim_ref.namespace}/{v.claim_ref.name}"] if v.claim_ref is not None else [],
    }


def candidates(claim: Claim, volumes: Store[PersistentVolume]) -> tuple[PersistentVolume, ...]:
    """Return the volumes that may be bound to a claim: reserved for it, or free and of its class."""
    meta = claim.metadata
    reserved = volumes.by_index("claim", f"{meta.namespace}/{meta.name}")
    return (*reserved, *volumes.by_index("free", class_name(claim)))


def class_name(claim: Claim) -> str:
    """Return the claim's class; empty when it wants none."""
    return (claim.spec.storage_class_name if claim.spec else None) or ""


def find_match(
    claim: Claim,
    volumes: Iterable[PersistentVolume],
    *,
    node_labels: Mapping[str, str] | None = None,
    waits: bool = False,
) -> PersistentVolume | None:
    """Return the volume to bind a claim to: one that is reserved for it, else the smallest available that fits; or None.

    With `waits` (WaitForFirstConsumer) and without a node only reserved volumes come into question. With `node_labels` a
    volume must be reachable from that node.
    """
    fitting: list[PersistentVolume] = []
    for volume in volumes:
        if volume.metadata.terminating or not _large_enough(volume, claim) or _mode(volume) != _mode(claim):
            continue
        if belongs_to(volume, claim):
            if node_labels is None or reachable(volume, node_labels):
                return volume
            continue
        if waits and node_labels is None:
            continue
        if volume.claim_ref is None and volume.phase == "Available" and _fits(volume, claim, node_labels):
            fitting.append(volume)
    return min(fitting, key=lambda volume: (parse_quantity(volume.capacity), volume.metadata.name), default=None)


def mismatch(claim: Claim, volume: PersistentVolume) -> str | None:
    """Say why a volume that a claim names cannot be bound to it, in kube-controller-manager's words; None when it can."""
    spec = volume.spec
    if volume.metadata.terminating:
        return "the volume is marked for deletion"
    if not _large_enough(volume, claim):
        return "requested PV is too small"
    if ((spec.storage_class_name if spec else None) or "") != class_name(claim):
        return "storageClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not _modes_fit(volume, claim):
        return "incompatible accessMode"
    return None


def reachable(volume: PersistentVolume, node_labels: Mapping[str, str]) -> bool:
    """Tell whether a node with these labels can use the volume."""
    affinity = volume.spec.node_affinity if volume.spec else None
    if affinity is None or affinity.required is None:
        return True
    return matches_any(affinity.required.node_selector_terms or (), node_labels)


def matches_any(
    terms: Iterable[NodeSelectorTerm], labels: Mapping[str, str], fields: Mapping[str, str] | None = None
) -> bool:
    """Tell whether one of the node selector terms holds. A term without any requirement matches nothing."""
    return any(_matches(term, labels, fields or {}) for term in terms)


def _matches(term: NodeSelectorTerm, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    expressions, on_fields = term.match_expressions or (), term.match_fields or ()
    if not expressions and not on_fields:
        return False
    return all(requirement_holds(e, labels) for e in expressions) and all(
        requirement_holds(f, fields) for f in on_fields
    )


def _fits(volume: PersistentVolume, claim: Claim, node_labels: Mapping[str, str] | None) -> bool:
    spec = volume.spec
    if spec is None or (spec.storage_class_name or "") != class_name(claim):
        return False
    if not selects(claim.spec.selector if claim.spec else None, volume.metadata.labels or {}):
        return False
    if not _modes_fit(volume, claim):
        return False
    return node_labels is None or reachable(volume, node_labels)


def _large_enough(volume: PersistentVolume, claim: Claim) -> bool:
    try:
        return parse_quantity(volume.capacity) >= parse_quantity(claim.request)
    except ValueError:
        return False


def _modes_fit(volume: PersistentVolume, claim: Claim) -> bool:
    wanted = set((claim.spec.access_modes if claim.spec else None) or ())
    return wanted <= set((volume.spec.access_modes if volume.spec else None) or ())


def _mode(thing: PersistentVolume | Claim) -> str:
    return (thing.spec.volume_mode if thing.spec else None) or "Filesystem"
