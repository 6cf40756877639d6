"""The kind of snapshots that are marked as in use by a claim which is being filled: takes away marks of claims that are filled, or gone.

Whoever fills a claim takes its mark away himself. But a claim may be deleted at any moment, and has no finalizer that would wait for us;
and who is killed between the mark and the temporary claim may go on with another image. A mark that stays keeps its snapshot for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from datamover.api.volsync.names import (
    CREATED_BY_VALUE,
    POPULATING_LABEL_PREFIX,
    PRIME_PREFIX,
    PopulatorReason,
    prime_name,
)
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.steps import REST, Emit, Patch, Plan, Step
from datamover.reconcilers.cluster import View
from datamover.volumes.binding import is_bound, is_lost
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.core import PersistentVolumeClaim
from kubekit.words.snapshot import VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotStatus

_BY_CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Marks:
    """A snapshot, and the labels of claims that need it no longer."""

    snapshot: VolumeSnapshot
    stale: tuple[str, ...]


def decide(facts: Marks) -> Plan[VolumeSnapshotStatus]:
    """Return what to do about a snapshot's marks."""
    meta = facts.snapshot.metadata
    if not facts.stale or meta.terminating:
        return REST
    return Plan((Patch(VOLUME_SNAPSHOTS, meta, {"metadata": {"labels": dict.fromkeys(facts.stale)}}),))


def users_of(snapshot: VolumeSnapshot) -> tuple[str, ...]:
    """Return the UIDs of the claims that a snapshot is marked as in use by."""
    labels = snapshot.metadata.labels or {}
    return tuple(key.removeprefix(POPULATING_LABEL_PREFIX) for key in labels if key.startswith(POPULATING_LABEL_PREFIX))


class ReleaseKind(Kind[VolumeSnapshot, VolumeSnapshotStatus, Marks]):
    """Works on the part of the snapshots of ours that are marked."""

    resource = VOLUME_SNAPSHOTS
    created_by = (CREATED_BY_VALUE,)
    name = "image-in-use"
    speaks_by_events = True

    def __init__(self, client: Client, *, view: View) -> None:
        self.objects = Part(
            client, view.cluster.snapshots, select=lambda each: bool(users_of(each)), indexes={_BY_CLAIM: users_of}
        )
        self._view = view

    def gather(self, obj: VolumeSnapshot, *, known: Known, now: datetime) -> Marks:
        """Return whose marks are no longer needed."""
        del known, now
        namespace = obj.metadata.namespace or ""
        stale = (uid for uid in users_of(obj) if not self._is_needed(namespace, uid))
        return Marks(obj, tuple(f"{POPULATING_LABEL_PREFIX}{uid}" for uid in stale))

    def decide(self, facts: Marks) -> Plan[VolumeSnapshotStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(self, obj: VolumeSnapshot, message: str, *, now: datetime) -> tuple[Step[VolumeSnapshotStatus], ...]:
        """Return the event that tells of a defect of ours."""
        del obj, now
        return (Emit("Warning", PopulatorReason.ERROR, message, "Release"),)

    def connect(self, controller: Controller) -> None:
        """Wake a snapshot when a claim that is filled from it, or the temporary one, changes."""
        controller.watch(self._view.cluster.claims, self._of_claim)

    def _is_needed(self, namespace: str, uid: str) -> bool:
        """Tell whether a claim is still being filled. The temporary one is looked at too, for it may outlive the user's."""
        claim = self._view.populated(uid)
        filling = claim is not None and not (is_bound(claim) or is_lost(claim))
        return filling or self._view.claim(namespace, prime_name(uid)) is not None

    def _of_claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> Iterable[Key]:
        found = new or old
        if found is None:
            return ()
        meta = found.metadata
        uid = meta.name.removeprefix(PRIME_PREFIX) if meta.name.startswith(PRIME_PREFIX) else meta.uid
        return tuple(key_of(each.metadata) for each in self.objects.store.by_index(_BY_CLAIM, uid))
