"""Binds claims and volumes to each other, and keeps their phases. The rules are kube-controller-manager's persistent-volume binder's.

A binding is four writes, each of which can be repeated: the volume's claimRef, the volume's phase, the claim's volumeName, the claim's
phase. Whatever is cut short, the next look finishes it. Volumes are made and removed by their provisioner, not here.
"""

from dataclasses import dataclass
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, Controller, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words.meta import ObjectMeta, Resource
from kubekit.words.storage import IS_DEFAULT_CLASS
from localkube.controllers import constants
from localkube.controllers.notice import Notice
from localkube.node.conflicts import done_on_conflict
from localkube.node.kinds import CLAIMS, STORAGE_CLASSES, VOLUMES, Claim, PersistentVolume, StorageClass
from localkube.node.matching import belongs_to, candidates, class_name, find_match, mismatch, volume_indexes
from localkube.node.names import (
    BETA_STORAGE_PROVISIONER,
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    NO_PROVISIONER,
    SELECTED_NODE,
    STORAGE_PROVISIONER,
)

_CONTROLLER_GAVE_VOLUME = {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind the claim to this volume."""

    volume: PersistentVolume


@dataclass(frozen=True, slots=True)
class AskProvisioner:
    """Tell the class's provisioner that a volume is wanted."""

    provisioner: str


@dataclass(frozen=True, slots=True)
class AssignClass:
    """The claim names no class: give it the default one."""

    name: str


@dataclass(frozen=True, slots=True)
class Lose:
    """The claim's volume is gone or belongs to another claim."""

    event: Notice


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do now; the event says for what."""

    event: Notice | None = None


ClaimStep = Bind | AskProvisioner | AssignClass | Lose | Wait


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """A claim and what it may be bound to. `named` is the volume of its spec.volumeName, when that exists."""

    claim: Claim
    storage_class: StorageClass | None
    default_class: str | None
    named: PersistentVolume | None
    volumes: tuple[PersistentVolume, ...]


def decide_claim(facts: ClaimFacts) -> ClaimStep:
    """Return what a claim needs next."""
    claim = facts.claim
    if claim.metadata.annotation(BIND_COMPLETED) is not None:
        return _decide_bound(facts)
    if claim.metadata.terminating:
        return Wait()
    if claim.volume_name:
        return _decide_named(facts)
    if claim.spec is not None and claim.spec.storage_class_name is None and facts.default_class is not None:
        return AssignClass(facts.default_class)
    waits = facts.storage_class is not None and facts.storage_class.waits
    selected = claim.metadata.annotation(SELECTED_NODE)
    match = find_match(claim, facts.volumes, waits=waits)
    if match is not None:
        return Bind(match)
    if waits and not selected:
        return Wait(Notice("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"))
    if facts.storage_class is None:
        name = class_name(claim)
        if name:
            return Wait(Notice("Warning", "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found'))
        return Wait(
            Notice(
                "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set"
            )
        )
    if facts.storage_class.provisioner == NO_PROVISIONER:
        return Wait(
            Notice(
                "Normal",
                "FailedBinding",
                "no persistent volumes available for this claim and its class provisions none",
            )
        )
    return AskProvisioner(facts.storage_class.provisioner)


def _decide_named(facts: ClaimFacts) -> ClaimStep:
    volume, claim = facts.named, facts.claim
    if volume is None:
        return Wait()
    if belongs_to(volume, claim):
        return Bind(volume)
    if volume.claim_ref is not None:
        return Wait(
            Notice("Warning", "FailedBinding", f'volume "{claim.volume_name}" already bound to a different claim.')
        )
    problem = mismatch(claim, volume)
    if problem is None:
        return Bind(volume)
    message = f'Cannot bind to requested volume "{claim.volume_name}": {problem}'
    return Wait(Notice("Warning", "VolumeMismatch", message))


def _decide_bound(facts: ClaimFacts) -> ClaimStep:
    volume, claim = facts.named, facts.claim
    if volume is None:
        return Lose(
            Notice("Warning", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
        )
    if volume.claim_ref is None or belongs_to(volume, claim):
        return Bind(volume)
    return Lose(
        Notice("Warning", "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
    )


def volume_phase(volume: PersistentVolume, claim: Claim | None) -> str | None:
    """Return the phase that a volume should have; None when binding the claim comes first.

    `claim` is the one that the volume's claimRef names, with that UID, or None when it is gone.
    """
    reference = volume.claim_ref
    if reference is None or not reference.uid:
        return "Available"
    if claim is None:
        return "Failed" if volume.phase == "Failed" else "Released"
    if not claim.volume_name:
        return None
    return "Bound" if claim.volume_name == volume.metadata.name else "Released"


class BindingController:
    """Two controllers over claims and volumes that share their caches."""

    def __init__(self, client: Client, *, clock: Clock, events: EventRecorder) -> None:
        self._client = client
        self._events = events
        self.claims: Informer[Claim] = Informer(
            client,
            CLAIMS,
            clock=clock,
            indexes={"class": lambda c: [class_name(c)], "volume": lambda c: [c.volume_name]},
        )
        self.volumes: Informer[PersistentVolume] = Informer(client, VOLUMES, clock=clock, indexes=volume_indexes())
        self.classes: Informer[StorageClass] = Informer(client, STORAGE_CLASSES, clock=clock)
        self.informers = (self.claims, self.volumes, self.classes)
        self._claim_controller = Controller(
            "claim binding",
            reconcile=done_on_conflict(self.reconcile_claim),
            queue=Workqueue("claim binding", clock=clock, base_delay=0.05, max_delay=60.0),
            clock=clock,
        )
        self._volume_controller = Controller(
            "volume phase",
            reconcile=done_on_conflict(self.reconcile_volume),
            queue=Workqueue("volume phase", clock=clock, base_delay=0.05, max_delay=60.0),
            clock=clock,
        )
        self.controllers = (self._claim_controller, self._volume_controller)
        self._claim_controller.watch(self.claims)
        self._claim_controller.watch(self.volumes, self._claims_for_volume)
        self._claim_controller.watch(self.classes, self._claims_for_class)
        self._volume_controller.watch(self.volumes)
        self._volume_controller.watch(self.claims, self._volumes_for_claim)

    def _claims_for_volume(self, old: PersistentVolume | None, new: PersistentVolume | None) -> list[Key]:
        volume = new or old
        if volume is None:
            return []
        reference = volume.claim_ref
        keys = [Key(reference.namespace or "", reference.name or "")] if reference is not None else []
        if new is not None and reference is None and new.phase == "Available":
            name = (new.spec.storage_class_name if new.spec else None) or ""
            keys += [key_of(c.metadata) for c in self.claims.store.by_index("class", name) if not c.volume_name]
        keys += [key_of(c.metadata) for c in self.claims.store.by_index("volume", volume.metadata.name)]
        return keys

    def _claims_for_class(self, old: StorageClass | None, new: StorageClass | None) -> list[Key]:
        names_ = {thing.metadata.name for thing in (old, new) if thing is not None} | {""}
        return [key_of(c.metadata) for n in names_ for c in self.claims.store.by_index("class", n) if not c.volume_name]

    def _volumes_for_claim(self, old: Claim | None, new: Claim | None) -> list[Key]:
        return [Key("", c.volume_name) for c in (old, new) if c is not None and c.volume_name] + (
            [key_of(v.metadata) for v in self.volumes.store.by_index("claim", str(key_of(old.metadata)))]
            if new is None and old is not None
            else []
        )

    async def reconcile_claim(self, key: Key) -> Result:
        """Bring one claim a step on."""
        claim = self.claims.store.get(key)
        if claim is None:
            return DONE
        name = class_name(claim)
        facts = ClaimFacts(
            claim=claim,
            storage_class=self.classes.store.get(Key("", name)) if name else None,
            default_class=self._default_class(),
            named=self.volumes.store.get(Key("", claim.volume_name)) if claim.volume_name else None,
            volumes=candidates(claim, self.volumes.store),
        )
        step = decide_claim(facts)
        match step:
            case Bind(volume):
                await self._bind(claim, volume)
            case AskProvisioner(provisioner):
                annotations = {STORAGE_PROVISIONER: provisioner, BETA_STORAGE_PROVISIONER: provisioner}
                await self._annotate(claim, annotations)
                self._tell(
                    claim.metadata,
                    Notice(
                        "Normal",
                        "ExternalProvisioning",
                        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually "
                        "by the system administrator. If volume creation is delayed, please verify that the provisioner is "
                        "running and correctly registered.",
                    ),
                )
            case AssignClass(default):
                self.claims.store.observe(await self._patch_claim(claim, {"spec": {"storageClassName": default}}))
            case Lose(event):
                await self._set_claim_phase(claim, {"phase": "Lost"})
                self._tell(claim.metadata, event)
            case Wait(event):
                await self._set_claim_phase(claim, {"phase": "Pending"} if claim.status is None else {})
                if event is not None:
                    self._tell(claim.metadata, event)
        return DONE

    async def reconcile_volume(self, key: Key) -> Result:
        """Give one volume its phase."""
        volume = self.volumes.store.get(key)
        if volume is None:
            return DONE
        reference = volume.claim_ref
        claim: Claim | None = None
        if reference is not None and reference.uid:
            found = Key(reference.namespace or "", reference.name or "")
            claim = self.claims.store.get(found)
            if claim is None and volume.phase != "Released":
                claim = await self._fetch_claim(found)
            if claim is not None and claim.metadata.uid != reference.uid:
                claim = None
        phase = volume_phase(volume, claim)
        if claim is not None and phase is None:
            self._claim_controller.queue.add(key_of(claim.metadata))
        elif phase is not None:
            await self._set_volume_phase(volume, phase)
        return DONE

    async def _fetch_claim(self, key: Key) -> Claim | None:
        """Ask the server before a volume is declared released: the cache may be behind."""
        try:
            return await self._client.get(CLAIMS, key.name, namespace=key.namespace)
        except NotFound:
            return None

    async def _bind(self, claim: Claim, volume: PersistentVolume) -> None:
        meta = claim.metadata
        reference = volume.claim_ref
        if reference is None or reference.uid != meta.uid:
            claim_ref = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            }
            annotations = {BOUND_BY_CONTROLLER: "yes"} if reference is None else {}
            patch = {
                "metadata": {"resourceVersion": volume.metadata.resource_version, "annotations": annotations},
                "spec": {"claimRef": claim_ref},
            }
            volume = await self._client.patch(
                VOLUMES, volume.metadata.name, patch, field_manager=constants.FIELD_MANAGER
            )
            self.volumes.store.observe(volume)
        await self._set_volume_phase(volume, "Bound")
        if claim.volume_name != volume.metadata.name or meta.annotation(BIND_COMPLETED) is None:
            annotations = {BIND_COMPLETED: "yes"} if claim.volume_name else _CONTROLLER_GAVE_VOLUME
            patch = {"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.metadata.name}}
            claim = await self._patch_claim(claim, patch)
            self.claims.store.observe(claim)
        spec = volume.spec
        await self._set_claim_phase(
            claim,
            {
                "phase": "Bound",
                "accessModes": list((spec.access_modes if spec else None) or ()),
                "capacity": dict((spec.capacity if spec else None) or {}),
            },
        )

    async def _annotate(self, claim: Claim, annotations: dict[str, str]) -> None:
        if any(claim.metadata.annotation(key) != value for key, value in annotations.items()):
            self.claims.store.observe(await self._patch_claim(claim, {"metadata": {"annotations": annotations}}))

    async def _patch_claim(self, claim: Claim, patch: dict[str, Any]) -> Claim:
        meta = claim.metadata
        guarded = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": meta.resource_version}}
        return await self._client.patch(
            CLAIMS, meta.name, guarded, namespace=meta.namespace, field_manager=constants.FIELD_MANAGER
        )

    async def _set_claim_phase(self, claim: Claim, status: dict[str, Any]) -> None:
        now = claim.status
        known = {
            "phase": now.phase if now else None,
            "accessModes": list((now.access_modes if now else None) or ()),
            "capacity": dict((now.capacity if now else None) or {}),
        }
        if all(known.get(key) == value for key, value in status.items()):
            return
        meta = claim.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": status}
        self.claims.store.observe(
            await self._client.patch(
                CLAIMS,
                meta.name,
                patch,
                namespace=meta.namespace,
                subresource="status",
                field_manager=constants.FIELD_MANAGER,
            )
        )

    async def _set_volume_phase(self, volume: PersistentVolume, phase: str) -> None:
        if volume.status is not None and volume.status.phase == phase:
            return
        meta = volume.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version}, "status": {"phase": phase}}
        self.volumes.store.observe(
            await self._client.patch(
                VOLUMES, meta.name, patch, subresource="status", field_manager=constants.FIELD_MANAGER
            )
        )

    def _default_class(self) -> str | None:
        defaults = [c.metadata for c in self.classes.store.list() if c.metadata.annotation(IS_DEFAULT_CLASS) == "true"]
        newest = max(defaults, key=lambda meta: (meta.creation_timestamp or "", meta.name), default=None)
        return newest.name if newest else None

    def _tell(self, meta: ObjectMeta, event: Notice, resource: Resource[Any] = CLAIMS) -> None:
        self._events.record(meta, resource, event.type, event.reason, event.message, "Bind")
