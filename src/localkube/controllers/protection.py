"""Keeps claims that Pods use, and volumes that claims use, from going: the finalizers `pvc-protection` and `pv-protection`.

As kube-controller-manager does it: a claim in use is one that a *scheduled* Pod refers to, finished Pods included, until the Pod object is
gone. Unlike there, the cache alone is asked: listing all Pods at every deletion costs too much here. What it may not know yet is a Pod
that was bound a moment ago, and no node starts a Pod whose claim is being deleted.
"""

from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, Controller, Result
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words.meta import HasMeta, Resource
from localkube.controllers import constants
from localkube.node.conflicts import done_on_conflict
from localkube.node.kinds import CLAIMS, VOLUMES, Claim, PersistentVolume
from localkube.node.pod_kinds import PODS, Pod


def uses(pod: Pod, claim: Claim) -> bool:
    """Tell whether a Pod keeps a claim from going."""
    return bool(pod.node) and pod.metadata.namespace == claim.metadata.namespace and claim.metadata.name in pod.claims


class ProtectionController:
    """Two controllers, for claims and for volumes. Shares the caches of the binding controller."""

    def __init__(
        self, client: Client, *, clock: Clock, claims: Informer[Claim], volumes: Informer[PersistentVolume]
    ) -> None:
        self._client = client
        self._claims = claims
        self._volumes = volumes
        self.pods: Informer[Pod] = Informer(
            client, PODS, clock=clock, indexes={"claim": lambda p: [f"{p.metadata.namespace}/{c}" for c in p.claims]}
        )
        self.informers = (self.pods,)
        self._claim_controller = Controller(
            "claim protection",
            reconcile=done_on_conflict(self.reconcile_claim),
            queue=Workqueue("claim protection", clock=clock, base_delay=0.05, max_delay=60.0),
            workers=2,
            clock=clock,
        )
        self._volume_controller = Controller(
            "volume protection",
            reconcile=done_on_conflict(self.reconcile_volume),
            queue=Workqueue("volume protection", clock=clock, base_delay=0.05, max_delay=60.0),
            workers=2,
            clock=clock,
        )
        self.controllers = (self._claim_controller, self._volume_controller)
        self._claim_controller.watch(claims, lambda _, new: [key_of(new.metadata)] if new is not None else [])
        self._claim_controller.watch(self.pods, self._claims_of_gone_pod)
        self._volume_controller.watch(volumes, lambda _, new: [key_of(new.metadata)] if new is not None else [])

    def _claims_of_gone_pod(self, old: Pod | None, new: Pod | None) -> list[Key]:
        if new is not None or old is None:
            return []
        return [Key(old.metadata.namespace or "", claim) for claim in old.claims]

    async def reconcile_claim(self, key: Key) -> Result:
        """Give a claim the finalizer, or drop it from one that goes and is not in use."""
        claim = self._claims.store.get(key)
        if claim is None:
            return DONE
        protected = constants.CLAIM_PROTECTION in (claim.metadata.finalizers or ())
        if not claim.metadata.terminating:
            if not protected:
                await self._put(CLAIMS, claim, [*(claim.metadata.finalizers or ()), constants.CLAIM_PROTECTION])
        elif protected and not self._in_use(claim):
            kept = [f for f in claim.metadata.finalizers or () if f != constants.CLAIM_PROTECTION]
            await self._put(CLAIMS, claim, kept)
        return DONE

    async def reconcile_volume(self, key: Key) -> Result:
        """The same for a volume: in use while it is Bound."""
        volume = self._volumes.store.get(key)
        if volume is None:
            return DONE
        protected = constants.VOLUME_PROTECTION in (volume.metadata.finalizers or ())
        if not volume.metadata.terminating:
            if not protected:
                await self._put(VOLUMES, volume, [*(volume.metadata.finalizers or ()), constants.VOLUME_PROTECTION])
        elif protected and volume.phase != "Bound":
            kept = [f for f in volume.metadata.finalizers or () if f != constants.VOLUME_PROTECTION]
            await self._put(VOLUMES, volume, kept)
        return DONE

    def _in_use(self, claim: Claim) -> bool:
        index = f"{claim.metadata.namespace}/{claim.metadata.name}"
        return any(uses(pod, claim) for pod in self.pods.store.by_index("claim", index))

    async def _put(self, resource: Resource[Any], thing: HasMeta, finalizers: list[str]) -> None:
        meta = thing.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        try:
            await self._client.patch(
                resource, meta.name, patch, namespace=meta.namespace, field_manager=constants.FIELD_MANAGER
            )
        except NotFound:
            return
