"""What to say of a DataSource. Pure.

Ready when the DataVolume of the claim has Succeeded, or when there is none and the claim exists: a DataVolume that was collected has filled it.
"""

from collections.abc import Mapping
from typing import Final

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.api.cdi.data_source import DATA_SOURCES, DataSourceStatus
from datamover.api.cdi.names import Phase
from datamover.plans.steps import REST, Patch, Plan
from datamover.reconcilers.data_source.facts import Facts
from datamover.reconcilers.data_source.resolve import Reason, Resolved, Unresolved
from datamover.reconcilers.data_source.status import Finding, tell
from datamover.runs.facts import Unread
from datamover.volumes.binding import is_lost, is_snapshot_ready
from kubekit.words.meta import ObjectMeta

Decision = Plan[DataSourceStatus]

_NOT_COPIED: Final = (
    names.GROUP,
    ours.GROUP,
    "k8s.io",
    "kubernetes.io",
    "helm.sh",
    "fluxcd.io",
    "argoproj.io",
    "velero.io",
)
"""Labels of these groups, and of groups within them, say who manages the claim, or what it is for: a DataSource with them would be theirs as well."""
_MOST: Final = 64
"""So many labels are copied at most."""


def decide(facts: Facts) -> Decision:
    """Return what to do next: the status first, then the labels."""
    meta, refusal = facts.source.metadata, facts.known.refusal
    if meta.terminating or (isinstance(facts.resolved, Unresolved) and facts.resolved.waits):
        return REST
    if facts.snapshot is Unread.NOT_SYNCED:
        return REST
    finding = find(facts)
    told = tell(facts.source, finding, now=facts.now)
    if told:
        return Plan(told)
    if refusal is not None and refusal.fresh:
        return Plan(wake_after=refusal.retry_after)  # of a label; the status says what it can
    labels = copy_labels(facts)
    return Plan((Patch(DATA_SOURCES, meta, {"metadata": labels}),)) if labels else REST


def find(facts: Facts) -> Finding:
    """Return what is the case."""
    resolved = facts.resolved
    if isinstance(resolved, Unresolved):
        return Finding(False, resolved.reason, resolved.message)
    reason, message = _judge_snapshot(facts, resolved) if resolved.is_snapshot else _judge_claim(facts, resolved)
    return Finding(reason is Reason.READY, reason, message, resolved.source)


def _judge_claim(facts: Facts, resolved: Resolved) -> tuple[Reason, str]:
    volume, claim, where = facts.volume, facts.claim, f"{resolved.namespace}/{resolved.name}"
    phase = volume.status.phase if volume is not None and volume.status is not None else None
    if volume is not None and phase != Phase.SUCCEEDED:
        return Reason.NOT_SUCCEEDED, f"DataVolume {where} fills it, and its phase is {phase or 'not set'}"
    if claim is None:
        return Reason.NOT_FOUND, f"PersistentVolumeClaim {where} does not exist: create it, or correct spec.source"
    if claim.metadata.terminating:
        return Reason.NOT_FOUND, f"PersistentVolumeClaim {where} is being deleted"
    if is_lost(claim):
        return Reason.LOST, f"PersistentVolumeClaim {where} has lost its volume"
    return Reason.READY, f"PersistentVolumeClaim {where} can be used"


def _judge_snapshot(facts: Facts, resolved: Resolved) -> tuple[Reason, str]:
    snapshot, where = facts.snapshot, f"{resolved.namespace}/{resolved.name}"
    if snapshot is Unread.FORBIDDEN:
        return Reason.FORBIDDEN, f"the operator may not get VolumeSnapshot {where}, or the cluster has no snapshots"
    if isinstance(snapshot, Unread):
        return Reason.NOT_FOUND, f"VolumeSnapshot {where} does not exist: create it, or correct spec.source"
    if snapshot.metadata.terminating:
        return Reason.NOT_FOUND, f"VolumeSnapshot {where} is being deleted"
    if not is_snapshot_ready(snapshot):
        return Reason.SNAPSHOT_NOT_READY, f"VolumeSnapshot {where} is not readyToUse"
    return Reason.READY, f"VolumeSnapshot {where} can be used"


# Labels.


def copy_labels(facts: Facts) -> dict[str, dict[str, str | None]]:
    """Return the change of metadata that copies the labels of what it stands for; empty when there is none.

    A label that its user has set stays. What was copied is written down, so that it follows its claim and goes with it.
    """
    meta = facts.source.metadata
    copied = _copied(meta)
    wanted = _wanted(facts, mine={key for key in meta.labels or {} if key not in copied})
    labels: dict[str, str | None] = {key: value for key, value in wanted.items() if meta.label(key) != value}
    labels |= {key: None for key in copied if key not in wanted and meta.label(key) is not None}
    record = ",".join(sorted(wanted)) or None
    annotations = {names.COPIED_LABELS: record} if record != meta.annotation(names.COPIED_LABELS) else {}
    changed: dict[str, dict[str, str | None]] = {}
    if labels:
        changed["labels"] = labels
    if annotations:
        changed["annotations"] = dict(annotations)
    return changed


def _copied(meta: ObjectMeta) -> frozenset[str]:
    """Return the labels that are ours by our own record. Whoever can write that can write the labels as well."""
    return frozenset(key for key in (meta.annotation(names.COPIED_LABELS) or "").split(",")[:_MOST] if _may_copy(key))


def _wanted(facts: Facts, *, mine: set[str]) -> Mapping[str, str]:
    """Return the labels of the claim and its DataVolume, of which the DataVolume's count more."""
    found = (facts.claim, facts.volume, None if isinstance(facts.snapshot, Unread) else facts.snapshot)
    labels: dict[str, str] = {}
    for each in found:
        labels |= (each.metadata.labels or {}) if each is not None else {}
    allowed = sorted(key for key in labels if _may_copy(key) and key not in mine)
    return {key: labels[key] for key in allowed[:_MOST]}


def _may_copy(key: str) -> bool:
    group, slash, _ = key.rpartition("/")
    return bool(key) and not (slash and any(group == each or group.endswith(f".{each}") for each in _NOT_COPIED))
