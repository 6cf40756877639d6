"""Binds Pods to the one node that there is, when their claims can be used there. No choice, no queue, no resources.

What a cluster's scheduler and volume binder do for a node is done here as far as one node needs it: for a claim that waits for its first consumer it
reserves a volume that fits, or asks the provisioner for one; a Pod that names another kind of node is told that there is none.
`max_pods` Pods run at once; the others are bound as those end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import Conflict, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, Controller, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words import timestamps
from localkube.node.kinds import CLAIMS, VOLUMES, Claim, Node, PersistentVolume, StorageClass
from localkube.node.matching import candidates, class_name, find_match, matches_any, reachable
from localkube.node.names import FIELD_MANAGER, NO_PROVISIONER, SELECTED_NODE
from localkube.node.pod_kinds import PODS, Pod

DEFAULT_SCHEDULER = "default-scheduler"
_ALL = Key("", "pods without a node")


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """Why a Pod cannot be bound now, in kube-scheduler's words. `on_node` when it is the node that it does not fit."""

    message: str
    on_node: bool = True

    @property
    def sentence(self) -> str:
        """kube-scheduler's sentence for a cluster of one node."""
        return f"0/1 nodes are available: {'1 ' if self.on_node else ''}{self.message}."


@dataclass(frozen=True, slots=True)
class Reserve:
    """Reserve this volume for the claim; the binder does the rest."""

    claim: Claim
    volume: PersistentVolume


@dataclass(frozen=True, slots=True)
class Select:
    """Tell the provisioner of this claim that the volume is wanted on this node."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class AwaitBinding:
    """The claims are on their way."""


Step = Unschedulable | Reserve | Select | AwaitBinding | None


def misfit(pod: Pod, node: Node) -> str | None:
    """Say why a Pod does not want this node, or None when it does. Pure."""
    spec, labels = pod.spec, node.metadata.labels or {}
    wanted = (spec.node_selector if spec else None) or {}
    affinity = spec.affinity if spec else None
    required = affinity and affinity.node_affinity and affinity.node_affinity.required
    fields = {"metadata.name": node.metadata.name}
    if any(labels.get(key) != value for key, value in wanted.items()) or (
        required and not matches_any(required.node_selector_terms or (), labels, fields)
    ):
        return "node(s) didn't match Pod's node affinity/selector"
    if affinity and affinity.pod_affinity and affinity.pod_affinity.required:
        return "node(s) didn't match pod affinity rules: they are not evaluated here"
    return None


def decide_claims(
    pod: Pod,
    claims: Mapping[str, Claim],
    classes: Mapping[str, StorageClass],
    volumes: tuple[PersistentVolume, ...],
    node: Node,
) -> Step:
    """Return what the first claim that stands against binding needs; None when all are bound and reachable. Pure."""
    by_name = {volume.metadata.name: volume for volume in volumes}
    labels = node.metadata.labels or {}
    pending = False
    for name in pod.claims:
        claim = claims.get(name)
        if claim is None:
            return Unschedulable(f'persistentvolumeclaim "{name}" not found', on_node=False)
        if claim.metadata.terminating:
            return Unschedulable(f'persistentvolumeclaim "{name}" is being deleted', on_node=False)
        if claim.phase == "Lost":
            return Unschedulable(
                f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume_name}"',
                on_node=False,
            )
        if claim.phase == "Bound":
            volume = by_name.get(claim.volume_name)
            if volume is not None and not reachable(volume, labels):
                return Unschedulable("node(s) didn't match PersistentVolume's node affinity")
            continue
        if claim.volume_name:
            pending = True
            continue
        storage_class = classes.get(class_name(claim))
        if storage_class is None or not storage_class.waits:
            return Unschedulable("pod has unbound immediate PersistentVolumeClaims", on_node=False)
        step = _decide_waiting(claim, storage_class, volumes, node)
        if step is not None:
            return step
        pending = True
    return AwaitBinding() if pending else None


def _decide_waiting(
    claim: Claim, storage_class: StorageClass, volumes: tuple[PersistentVolume, ...], node: Node
) -> Step:
    labels = node.metadata.labels or {}
    if claim.metadata.annotation(SELECTED_NODE) == node.metadata.name:
        return None
    match = find_match(claim, volumes, node_labels=labels, waits=True)
    if match is not None:
        return Reserve(claim, match) if match.claim_ref is None else None
    if storage_class.provisioner == NO_PROVISIONER:
        return Unschedulable("node(s) didn't find available persistent volumes to bind")
    return Select(claim)


class Scheduler:
    """See the module's docstring. Whatever changes, one look goes over all Pods without a node: looks that are due at once are one."""

    def __init__(
        self,
        client: Client,
        *,
        node: str,
        max_pods: int,
        clock: Clock,
        events: EventRecorder,
        pods: Informer[Pod],
        claims: Informer[Claim],
        volumes: Informer[PersistentVolume],
        classes: Informer[StorageClass],
        nodes: Informer[Node],
    ) -> None:
        self._client = client
        self._node = node
        self._max_pods = max_pods
        self._clock = clock
        self._events = events
        self._pods = pods
        self._claims = claims
        self._volumes = volumes
        self._classes = classes
        self._nodes = nodes
        self.controller = Controller(
            "scheduler",
            reconcile=self.reconcile,
            queue=Workqueue("scheduler", clock=clock, base_delay=0.05, max_delay=60.0),
            workers=1,
            clock=clock,
        )
        self.controller.watch(pods, self._pod_changed)
        self.controller.watch(claims, self._something_changed)
        self.controller.watch(volumes, self._something_changed)
        self.controller.watch(classes, self._something_changed)
        self.controller.watch(nodes, self._something_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> list[Key]:
        is_to_bind = new is not None and _wants_scheduling(new)
        is_ended = old is not None and old.node == self._node and not old.finished and (new is None or new.finished)
        return [_ALL] if is_to_bind or is_ended else []

    def _something_changed(self, _old: Any, _new: Any) -> list[Key]:
        return [_ALL] if self._pods.store.by_index("node", "") else []

    async def reconcile(self, _key: Key) -> Result:
        """Bring each Pod without a node a step on: bind it, do what its claims need, or say what it waits for."""
        node = self._nodes.store.get(Key("", self._node))
        if node is None:
            return DONE  # its registration brings us back
        room = self._max_pods - len(self._pods.store.by_index("node", self._node))
        for pod in tuple(self._pods.store.by_index("node", "")):
            if not _wants_scheduling(pod):
                continue
            try:
                room -= await self._bring_on(pod, node, has_room=room > 0)
            except (NotFound, Conflict):
                continue  # what has changed meanwhile brings us back
        return DONE

    async def _bring_on(self, pod: Pod, node: Node, *, has_room: bool) -> bool:
        """Do the next step for a Pod. Return whether it has the node now."""
        problem = misfit(pod, node) if has_room else "Too many pods"
        match Unschedulable(problem) if problem is not None else self._decide_claims(pod, node):
            case None:
                await self._bind(pod)
                return True
            case Unschedulable() as why:
                await self._say_unschedulable(pod, why.sentence)
            case Reserve(claim, volume):
                await self._reserve(claim, volume)
            case Select(claim):
                await self._select(claim)
            case AwaitBinding():
                pass
        return False

    def _decide_claims(self, pod: Pod, node: Node) -> Step:
        namespace = pod.metadata.namespace or ""
        if not pod.claims:
            return None
        found = {name: self._claims.store.get(Key(namespace, name)) for name in pod.claims}
        return decide_claims(
            pod,
            {name: claim for name, claim in found.items() if claim is not None},
            {storage_class.metadata.name: storage_class for storage_class in self._classes.store.list()},
            self._candidates(found),
            node,
        )

    def _candidates(self, claims: dict[str, Claim | None]) -> tuple[PersistentVolume, ...]:
        """Return the volumes that the claims have, or could have."""
        names = {claim.volume_name for claim in claims.values() if claim is not None and claim.volume_name}
        bound = [self._volumes.store.get(Key("", name)) for name in names]
        unbound = [claim for claim in claims.values() if claim is not None and not claim.volume_name]
        return (
            *(volume for volume in bound if volume is not None),
            *(volume for claim in unbound for volume in candidates(claim, self._volumes.store)),
        )

    async def _bind(self, pod: Pod) -> None:
        meta = pod.metadata
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node},
        }
        path = PODS.path(namespace=meta.namespace, name=meta.name, subresource="binding")
        await self._client.request_json("POST", path, body=binding)
        self._pods.store.observe(await self._client.get(PODS, meta.name, namespace=meta.namespace))
        message = f"Successfully assigned {key_of(meta)} to {self._node}"
        self._events.record(meta, PODS, "Normal", "Scheduled", message, "Binding")

    async def _say_unschedulable(self, pod: Pod, sentence: str) -> None:
        conditions = list((pod.status.conditions if pod.status else None) or ())
        known = next((c for c in conditions if c.get("type") == "PodScheduled"), None)
        if known is not None and (known.get("status"), known.get("message")) == ("False", sentence):
            return  # it has been said, and a look that changes nothing writes nothing (law L9)
        wanted = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": sentence,
            "lastProbeTime": None,
            "lastTransitionTime": timestamps.seconds(self._clock.now()),
        }
        meta = pod.metadata
        patch = {
            "metadata": {"uid": meta.uid},
            "status": {"conditions": [*(c for c in conditions if c is not known), wanted]},
        }
        self._pods.store.observe(
            await self._client.patch(
                PODS, meta.name, patch, namespace=meta.namespace, subresource="status", field_manager=FIELD_MANAGER
            )
        )
        self._events.record(meta, PODS, "Warning", "FailedScheduling", sentence, "Scheduling")

    async def _reserve(self, claim: Claim, volume: PersistentVolume) -> None:
        meta = claim.metadata
        reference = {
            "apiVersion": "v1",
            "kind": CLAIMS.kind,
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        }
        patch = {"metadata": {"resourceVersion": volume.metadata.resource_version}, "spec": {"claimRef": reference}}
        self._volumes.store.observe(
            await self._client.patch(VOLUMES, volume.metadata.name, patch, field_manager=FIELD_MANAGER)
        )

    async def _select(self, claim: Claim) -> None:
        meta = claim.metadata
        patch = {"metadata": {"uid": meta.uid, "annotations": {SELECTED_NODE: self._node}}}
        self._claims.store.observe(
            await self._client.patch(CLAIMS, meta.name, patch, namespace=meta.namespace, field_manager=FIELD_MANAGER)
        )


def _wants_scheduling(pod: Pod) -> bool:
    spec = pod.spec
    name = (spec.scheduler_name if spec else None) or DEFAULT_SCHEDULER
    gated = bool(spec and spec.scheduling_gates)
    return not (pod.node or pod.finished or pod.metadata.terminating or gated) and name == DEFAULT_SCHEDULER
