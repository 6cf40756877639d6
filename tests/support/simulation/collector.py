"""The garbage collector: what has lost all its owners is deleted."""

from typing import Any

from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, SERVICE_ACCOUNTS, SERVICES
from kubekit.words.meta import Resource
from kubekit.words.rbac import ROLE_BINDINGS, ROLES
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.simulation.calls import Tree
from support.simulation.cluster import Cluster
from support.simulation.trees import finalizers_of, is_going, name_of, owners_of, space_of, uid_of

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
DEPENDENTS = (
    PERSISTENT_VOLUME_CLAIMS,
    VOLUME_SNAPSHOTS,
    JOBS,
    PODS,
    SECRETS,
    SERVICES,
    SERVICE_ACCOUNTS,
    ROLES,
    ROLE_BINDINGS,
)


class Collector:
    """See the module's docstring. Owners that are deleted in the foreground wait for nobody: no child of ours blocks them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._hand = cluster.hand

    @property
    def _kinds(self) -> tuple[Resource[Any], ...]:
        return (*DEPENDENTS, *self._cluster.dependents)

    def look(self) -> None:
        for kind, owner in [(each, owner) for each in self._cluster.owners for owner in self._hand.all(each)]:
            if ORPHAN in finalizers_of(owner):
                self._orphan(kind, owner)
        living = self._living()
        for resource in self._kinds:
            for obj in self._hand.all(resource):
                if is_going(obj) or not owners_of(obj) or living.intersection(owners_of(obj)):
                    continue
                self._cluster.later(
                    "collect", uid_of(obj), self._cluster.conduct.removal, self._collection(resource, obj)
                )
        for kind, owner in [(each, owner) for each in self._cluster.owners for owner in self._hand.all(each)]:
            if kind is JOBS or FOREGROUND not in finalizers_of(owner):
                continue
            if not any(
                uid_of(owner) in owners_of(obj) and not is_going(obj)
                for resource in self._kinds
                for obj in self._hand.all(resource)
            ):
                kept = [finalizer for finalizer in finalizers_of(owner) if finalizer != FOREGROUND]
                self._hand.patch(kind, name_of(owner), {"metadata": {"finalizers": kept}}, space_of(owner))

    def _living(self) -> set[str]:
        owners = [owner for resource in self._cluster.owners for owner in self._hand.all(resource)]
        return {uid_of(owner) for owner in owners if FOREGROUND not in finalizers_of(owner)}

    def _orphan(self, kind, owner: Tree) -> None:
        """Take the owner from its children, and let it go."""
        for resource in self._kinds:
            for obj in self._hand.all(resource):
                if uid_of(owner) in owners_of(obj):
                    left = [each for each in obj["metadata"]["ownerReferences"] if each["uid"] != uid_of(owner)]
                    self._hand.patch(resource, name_of(obj), {"metadata": {"ownerReferences": left}}, space_of(obj))
        kept = [finalizer for finalizer in finalizers_of(owner) if finalizer != ORPHAN]
        self._hand.patch(kind, name_of(owner), {"metadata": {"finalizers": kept}}, space_of(owner))

    def _collection(self, resource, obj: Tree):
        def collect() -> None:
            now = self._hand.find(resource, name_of(obj), space_of(obj))
            if now is None or uid_of(now) != uid_of(obj) or is_going(now):
                return
            # It is looked at once more, as it is now: somebody may have taken it on meanwhile.
            if owners_of(now) and not self._living().intersection(owners_of(now)):
                self._hand.delete(resource, name_of(obj), space_of(obj))
                self._cluster.note(f"collected {resource.kind} {name_of(obj)}")

        return collect
