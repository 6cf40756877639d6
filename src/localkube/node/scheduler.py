"""Binds Pods to this node when they fit, and says why when they do not.

Stands where kube-scheduler stands, for one node: node selector and affinity, taints, resources, number of Pods, and claims. For a claim
that waits for its first consumer it reserves a volume that fits, or asks the provisioner for one on this node, and binds the Pod when
the claim is bound.
"""

from dataclasses import dataclass
from enum import Enum

from kubekit.client.client import Client
from kubekit.client.errors import Conflict, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, Controller, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words import timestamps
from localkube.node.fit import misfit
from localkube.node.kinds import CLAIMS, VOLUMES, Claim, Node, PersistentVolume, StorageClass
from localkube.node.matching import candidates, class_name, find_match, reachable
from localkube.node.names import FIELD_MANAGER, NO_PROVISIONER, SELECTED_NODE
from localkube.node.pod_kinds import PODS, Pod
from localkube.node.racing import yielding

DEFAULT_SCHEDULER = "default-scheduler"
_EVERYBODY = Key("", "*")
"""Wakes all that wait."""
_FIRST_TRIES = 8
_LATER = 2.0


class Awaits(Enum):
    """What an unschedulable Pod waits for: news of anything else do not wake it."""

    NODE = "node"
    ROOM = "room"
    VOLUMES = "volumes"


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """Why a Pod cannot be bound now. `on_node` when it is the node that it does not fit."""

    message: str
    on_node: bool = True
    awaits: Awaits = Awaits.NODE

    @property
    def sentence(self) -> str:
        """kube-scheduler's words for a cluster of one node."""
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


def decide_claims(
    pod: Pod,
    claims: dict[str, Claim],
    classes: dict[str, StorageClass],
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
                return Unschedulable("node(s) didn't match PersistentVolume's node affinity", awaits=Awaits.VOLUMES)
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
        return Unschedulable("node(s) didn't find available persistent volumes to bind", awaits=Awaits.VOLUMES)
    return Select(claim)


class Scheduler:
    """See the module's docstring."""

    def __init__(
        self,
        client: Client,
        *,
        node: str,
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
        self._clock = clock
        self._events = events
        self._pods = pods
        self._claims = claims
        self._volumes = volumes
        self._classes = classes
        self._nodes = nodes
        self._waiting: dict[Key, Awaits] = {}
        self.controller = Controller(
            "scheduler",
            reconcile=yielding(self.reconcile),
            queue=Workqueue("scheduler", clock=clock, base_delay=0.05, max_delay=60.0),
            workers=1,  # one at a time, so that what is bound is counted before the next
            clock=clock,
        )
        self.controller.watch(pods, self._keys_for_pod)
        self.controller.watch(claims, self._keys_for_claim)
        self.controller.watch(volumes, self._keys_for_volume)
        self.controller.watch(classes, lambda _old, _new: list(self._waiting))
        self.controller.watch(nodes, self._keys_for_node)

    def _keys_for_pod(self, old: Pod | None, new: Pod | None) -> list[Key]:
        if new is not None and not new.finished:
            return [key_of(new.metadata)] if _wants_scheduling(new) else []
        left = new or old
        if left is None or left.node != self._node or (old is not None and old.finished):
            return []
        # Room was made. The longest waiting are tried at once, all of them a little later: else a thousand Pods that wait would
        # be looked at a thousand times.
        self.controller.queue.add_after(_EVERYBODY, _LATER)
        return self._awaiting(Awaits.ROOM)[:_FIRST_TRIES]

    def _awaiting(self, what: Awaits) -> list[Key]:
        return [key for key, awaits in self._waiting.items() if awaits is what]

    def _keys_for_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> list[Key]:
        return self._awaiting(Awaits.VOLUMES) if new is not None and (old is None or old.phase != new.phase) else []

    def _keys_for_claim(self, old: Claim | None, new: Claim | None) -> list[Key]:
        claim = new or old
        if claim is None:
            return []
        index = f"{claim.metadata.namespace}/{claim.metadata.name}"
        return [key_of(pod.metadata) for pod in self._pods.store.by_index("claim", index) if _wants_scheduling(pod)]

    def _keys_for_node(self, old: Node | None, new: Node | None) -> list[Key]:
        if old is not None and new is not None and _what_counts(old) == _what_counts(new):
            return []
        return [key_of(pod.metadata) for pod in self._pods.store.by_index("node", "")]

    async def reconcile(self, key: Key) -> Result:
        """Bind one Pod, or say why not."""
        if key == _EVERYBODY:
            for waiting in self._waiting:
                self.controller.queue.add(waiting)
            return DONE
        pod = self._pods.store.get(key)
        node = self._nodes.store.get(Key("", self._node))
        if pod is None or not _wants_scheduling(pod):
            self._waiting.pop(key, None)
            return DONE
        if node is None:
            return DONE  # its registration brings us back
        if pod.spec is not None and pod.spec.scheduling_gates:
            return DONE
        problem = misfit(pod, node, self._pods.store.by_index("node", self._node))
        step: Step = _no_fit(problem) if problem is not None else self._decide_claims(pod, node)
        match step:
            case None:
                await self._bind(pod)
            case Unschedulable():
                self._waiting.pop(key, None)  # to the end of the line: whoever waits longer is tried first
                self._waiting[key] = step.awaits
                await self._say_unschedulable(pod, step.sentence)
            case Reserve(claim, volume):
                await self._reserve(claim, volume)
            case Select(claim):
                await self._select(claim)
            case AwaitBinding():
                pass
        return DONE

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
        self._waiting.pop(key_of(meta), None)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name, "namespace": meta.namespace, "uid": meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node},
        }
        path = PODS.path(namespace=meta.namespace, name=meta.name, subresource="binding")
        try:
            await self._client.request_json("POST", path, body=binding)
            self._pods.store.observe(await self._client.get(PODS, meta.name, namespace=meta.namespace))
        except (NotFound, Conflict):
            return  # gone, or bound by now
        message = f"Successfully assigned {key_of(meta)} to {self._node}"
        self._events.record(meta, PODS, "Normal", "Scheduled", message, "Binding")

    async def _say_unschedulable(self, pod: Pod, sentence: str) -> None:
        self._events.record(pod.metadata, PODS, "Warning", "FailedScheduling", sentence, "Scheduling")
        conditions = list((pod.status.conditions if pod.status else None) or ())
        known = next((c for c in conditions if c.get("type") == "PodScheduled"), None)
        if known is not None and (known.get("status"), known.get("message")) == ("False", sentence):
            return
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
        try:
            await self._client.patch(
                PODS, meta.name, patch, namespace=meta.namespace, subresource="status", field_manager=FIELD_MANAGER
            )
        except (NotFound, Conflict):
            return

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


def _no_fit(problem: str) -> Unschedulable:
    room = problem.startswith(("Too many", "Insufficient"))
    return Unschedulable(problem, awaits=Awaits.ROOM if room else Awaits.NODE)


def _wants_scheduling(pod: Pod) -> bool:
    name = (pod.spec.scheduler_name if pod.spec else None) or DEFAULT_SCHEDULER
    return not pod.node and not pod.finished and not pod.metadata.terminating and name == DEFAULT_SCHEDULER


def _what_counts(node: Node) -> tuple[object, ...]:
    return node.metadata.labels, node.spec, node.status and node.status.allocatable
