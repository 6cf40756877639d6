"""The kind StorageProfile: what the reconciler of any kind needs of it. The only writer of its status."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from datamover.api.cdi.definition import storage_profile_crd
from datamover.api.cdi.storage_profile import STORAGE_PROFILES, StorageProfile, StorageProfileStatus
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.steps import Emit, Plan, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.storage_profile.decide import Facts, decide
from datamover.reconcilers.storage_profile.existence import ACTION
from kubekit.client.client import Client
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.meta import HasMeta

_BROKEN: Final = "InternalError"


class StorageProfileKind(Kind[StorageProfile, StorageProfileStatus, Facts]):
    """Says in each profile what is known of its class."""

    resource = STORAGE_PROFILES
    optional = True

    def __init__(self, client: Client, *, view: View) -> None:
        self.objects = Part(client, view.cluster.whole(STORAGE_PROFILES), select=lambda _: True)
        self.definition = storage_profile_crd()
        self._view = view

    def gather(self, obj: StorageProfile, *, known: Known, now: datetime) -> Facts:
        """Return what there is to know about a profile."""
        del now
        return Facts(obj, self._view.storage_class(obj.metadata.name), self._view.snapshot_classes(), known)

    def decide(self, facts: Facts) -> Plan[StorageProfileStatus]:
        """Return what to do next."""
        return decide(facts)

    def broken(self, obj: StorageProfile, message: str, *, now: datetime) -> tuple[Step[StorageProfileStatus], ...]:
        """Return the event that tells of a defect of ours: the status has no words for it."""
        del obj, now
        return (Emit("Warning", _BROKEN, message, ACTION),)

    def connect(self, controller: Controller) -> None:
        """Wake a profile when its class changes, and all when snapshot classes do."""
        controller.watch(self._view.cluster.classes, _same_name)
        controller.watch(self._view.cluster.snapshot_classes, self._all)

    def _all(self, old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
        del old, new
        return tuple(self.objects.store.keys())


def _same_name(old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
    found = new or old
    return (key_of(found.metadata),) if found is not None else ()
