"""Provisions volumes for claims as directories, clones and restores them, and removes them when they are released.

Stands where external-provisioner and a CSI driver stand: the same annotations, events and finalizer. What cannot be done is said in a
`ProvisioningFailed` event and tried again later, later each time, and at once when the source changes.
"""

import asyncio
import logging
from dataclasses import replace

from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from localkube.node.conflicts import done_on_conflict
from localkube.node.directories import Directories, InUse
from localkube.node.kinds import CLAIMS, VOLUMES, Claim, PersistentVolume, StorageClass
from localkube.node.names import (
    CLAIM_REF_FINALIZER,
    COPY_INCOMPLETE,
    COPY_NOT_CONSISTENT,
    DRIVER,
    FIELD_MANAGER,
    PROVISIONED_BY,
    PV_PROTECTION,
)
from localkube.node.provisioning import (
    CLAIM_KIND,
    SNAPSHOT_KIND,
    NotOurs,
    Provision,
    ProvisionFacts,
    Refused,
    Snapshot,
    belongs,
    decide,
    deletable,
    volume_manifest,
)
from localkube.node.snapshots import Snapshots
from localkube.node.trees import CopyReport, Stopped, TreeError
from localkube.node.walking import quote

_log = logging.getLogger(__name__)

WORKERS = 8
FIRST_PAUSE = 1.0
MAX_PAUSE = 300.0
_IN_USE_PAUSE = 1.0


class Provisioner:
    """Two controllers: claims that want volumes, volumes that are to go."""

    def __init__(
        self,
        client: Client,
        *,
        node: str,
        directories: Directories,
        clock: Clock,
        events: EventRecorder,
        claims: Informer[Claim],
        volumes: Informer[PersistentVolume],
        classes: Informer[StorageClass],
        snapshots: Snapshots,
    ) -> None:
        self._client = client
        self._node = node
        self._directories = directories
        self._clock = clock
        self._events = events
        self._claims = claims
        self._volumes = volumes
        self._classes = classes
        self._snapshots = snapshots
        self._failures: dict[Key, int] = {}
        self._begun: dict[str, float] = {}
        self.claim_controller = Controller(
            "provisioner",
            reconcile=done_on_conflict(self.reconcile_claim),
            queue=Workqueue("provisioner", clock=clock, base_delay=0.5, max_delay=MAX_PAUSE),
            workers=WORKERS,
            clock=clock,
        )
        self.volume_controller = Controller(
            "volume removal",
            reconcile=done_on_conflict(self.reconcile_volume),
            queue=Workqueue("volume removal", clock=clock, base_delay=0.5, max_delay=MAX_PAUSE),
            workers=2,
            clock=clock,
        )
        self.claim_controller.watch(claims, self._keys_for_claim)
        self.claim_controller.watch(classes, self._keys_for_class)
        self.volume_controller.watch(
            volumes, lambda _, new: [key_of(new.metadata)] if new is not None and _is_ours(new) else []
        )
        snapshots.on_change(self._snapshot_changed)

    def _keys_for_claim(self, old: Claim | None, new: Claim | None) -> list[Key]:
        claim = new or old
        if claim is None:
            return []
        return [key_of(claim.metadata), *self._waiting_for(CLAIM_KIND, key_of(claim.metadata))]

    def _keys_for_class(self, _old: StorageClass | None, new: StorageClass | None) -> list[Key]:
        if new is None:
            return []
        return [key_of(claim.metadata) for claim in self._claims.store.by_index("class", new.metadata.name)]

    def _snapshot_changed(self, key: Key) -> None:
        for claim in self._waiting_for(SNAPSHOT_KIND, key):
            self.claim_controller.queue.add(claim)

    def _waiting_for(self, kind: str, key: Key) -> list[Key]:
        """Return the unbound claims that are to be made from a source."""
        waiting = self._claims.store.by_index("source", f"{kind}/{key}")
        return [key_of(claim.metadata) for claim in waiting if not claim.volume_name]

    async def reconcile_claim(self, key: Key) -> Result:
        """Provision one claim, if it is for us to do."""
        claim = self._claims.store.get(key)
        facts = self._gather(claim) if claim is not None else None
        decision = decide(facts) if facts is not None else NotOurs()
        if claim is None or facts is None or facts.storage_class is None or isinstance(decision, NotOurs):
            self._failures.pop(key, None)
            if claim is not None:
                self._begun.pop(claim.metadata.uid, None)
            return DONE
        if isinstance(decision, Refused):
            return self._refuse(key, claim, decision.message)
        waiting = self._still_slow(claim, decision)
        if waiting > 0:
            return After(waiting)
        self._tell(claim, "Normal", "Provisioning", f'External provisioner is provisioning volume for claim "{key}"')
        try:
            return await self._provision(claim, facts.storage_class, decision)
        except Stopped:
            return DONE  # the node is shutting down
        except (TreeError, OSError, Forbidden, Invalid) as error:
            name = facts.storage_class.metadata.name
            return self._refuse(key, claim, f'failed to provision volume with StorageClass "{name}": {_explain(error)}')

    def _gather(self, claim: Claim) -> ProvisionFacts:
        class_name = (claim.spec.storage_class_name if claim.spec else None) or ""
        facts = ProvisionFacts(claim=claim, storage_class=self._classes.store.get(Key("", class_name)), node=self._node)
        source = (claim.spec.data_source_ref or claim.spec.data_source) if claim.spec else None
        if source is None:
            return facts
        key = Key(claim.metadata.namespace or "", source.name)
        if source.kind == CLAIM_KIND:
            found = self._claims.store.get(key)
            volume = self._volumes.store.get(Key("", found.volume_name)) if found is not None else None
            return replace(facts, source_claim=found, source_volume=volume)
        return replace(facts, source_snapshot=self._find_snapshot(key))

    def _find_snapshot(self, key: Key) -> Snapshot | None:
        found = self._snapshots.find(key)
        if found is None:
            return None
        directory = None
        if found.handle and found.driver == DRIVER:
            place = self._directories.place(found.handle)
            directory = str(place) if place.is_dir() else None
        return Snapshot(directory=directory, restore_size=found.restore_size, driver=found.driver, ready=found.ready)

    def _still_slow(self, claim: Claim, decision: Provision) -> float:
        """Return how many seconds a class with the parameter `slow` still takes."""
        if not decision.delay:
            return 0.0
        now = self._clock.monotonic()
        return self._begun.setdefault(claim.metadata.uid, now) + decision.delay - now

    def _refuse(self, key: Key, claim: Claim, message: str) -> Result:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._tell(claim, "Warning", "ProvisioningFailed", message)
        return After(min(FIRST_PAUSE * 2 ** min(failures - 1, 16), MAX_PAUSE))

    async def _provision(self, claim: Claim, storage_class: StorageClass, decision: Provision) -> Result:
        report: CopyReport | None = None
        if decision.source is None:
            directory = await self._directories.create(decision.name)
        else:
            directory, report = await self._directories.copy(decision.name, decision.source)
        manifest = volume_manifest(claim, storage_class, name=decision.name, directory=directory, node=self._node)
        try:
            self._volumes.store.observe(await self._client.create(VOLUMES, manifest, field_manager=FIELD_MANAGER))
        except AlreadyExists:
            _log.debug("%s is already there", decision.name)
        if report is not None:
            self._report_copy(claim, report)
        self._tell(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {decision.name}")
        return DONE

    def _report_copy(self, claim: Claim, report: CopyReport) -> None:
        if report.went.count:
            self._tell(
                claim,
                "Warning",
                COPY_NOT_CONSISTENT,
                f"{report.went.count} entries went or were replaced while they were copied ({report.went});"
                " the copy is not of one moment, stop the writer for a consistent one",
            )
        if report.lost_owners or report.unkept.count:
            details = f" ({report.unkept})" if report.unkept.count else ""
            self._tell(
                claim,
                "Warning",
                COPY_INCOMPLETE,
                f"{report.lost_owners} owners and {report.unkept.count} extended attributes could not be kept by this user{details}, so the"
                " backup does not have them; copyMethod: Direct has, or do it as root",
            )

    async def reconcile_volume(self, key: Key) -> Result:
        """Remove the directory of a volume that is to go, then the object."""
        volume = self._volumes.store.get(key)
        if volume is None or not _is_ours(volume):
            return DONE
        place = self._directories.place(volume.metadata.name)
        if deletable(volume, place) is not None:
            if belongs(volume, place) and not await asyncio.to_thread(place.is_dir):
                await self._lose(volume)
            elif (
                volume.metadata.terminating and volume.spec and volume.spec.persistent_volume_reclaim_policy == "Retain"
            ):
                await self._let_go(volume)
            return DONE
        if not volume.metadata.terminating and await self._claim_exists(volume):
            return DONE
        try:
            await self._directories.remove(volume.metadata.name)
        except InUse:
            return After(_IN_USE_PAUSE)
        except OSError as error:
            message = f"the volume's directory could not be removed: {_explain(error)}"
            self._events.record(volume.metadata, VOLUMES, "Warning", "VolumeFailedDelete", message, "Delete")
            raise
        try:
            await self._client.delete(VOLUMES, volume.metadata.name, uid=volume.metadata.uid)
        except (NotFound, Conflict):
            return DONE
        await self._let_go(volume)
        return DONE

    async def _lose(self, volume: PersistentVolume) -> None:
        """A volume without its directory is none: its claim must not look Bound, or its Pods would wait for ever (law L10).

        `pv-protection` would keep it as long as its claim exists; what it protects is gone.
        """
        reference = volume.claim_ref
        key = Key((reference.namespace if reference else None) or "", (reference.name if reference else None) or "")
        claim = self._claims.store.get(key)
        if claim is not None and claim.volume_name == volume.metadata.name:
            message = (
                f"the directory {quote(volume.directory)} of volume {volume.metadata.name} is gone, and with it what was in the volume: "
                "delete the claim and create it again; a backup or copy that used it has to run again"
            )
            self._tell(claim, "Warning", "VolumeLost", message)
        try:
            await self._client.delete(VOLUMES, volume.metadata.name, uid=volume.metadata.uid)
        except (NotFound, Conflict):
            return
        await self._let_go(volume, PV_PROTECTION)

    async def _claim_exists(self, volume: PersistentVolume) -> bool:
        """Ask the server before data is removed: the cache may be behind."""
        reference = volume.claim_ref
        if reference is None:
            return False
        try:
            claim = await self._client.get(CLAIMS, reference.name or "", namespace=reference.namespace)
        except NotFound:
            return False
        return claim.metadata.uid == reference.uid

    async def _let_go(self, volume: PersistentVolume, *also: str) -> None:
        """Drop our finalizer, and those that are named."""
        try:
            current = await self._client.get(VOLUMES, volume.metadata.name)
            kept = [f for f in current.metadata.finalizers or () if f not in (CLAIM_REF_FINALIZER, *also)]
            if current.metadata.uid != volume.metadata.uid or len(kept) == len(current.metadata.finalizers or ()):
                return
            patch = {"metadata": {"resourceVersion": current.metadata.resource_version, "finalizers": kept}}
            await self._client.patch(VOLUMES, volume.metadata.name, patch, field_manager=FIELD_MANAGER)
        except NotFound:
            return

    def _tell(self, claim: Claim, type_: str, reason: str, message: str) -> None:
        self._events.record(claim.metadata, CLAIMS, type_, reason, message, "Provision")


def source_index(claim: Claim) -> list[str]:
    """Index of claims by what they are to be made from."""
    source = (claim.spec.data_source_ref or claim.spec.data_source) if claim.spec else None
    return [f"{source.kind}/{Key(claim.metadata.namespace or '', source.name)}"] if source is not None else []


def _is_ours(volume: PersistentVolume) -> bool:
    return volume.metadata.annotation(PROVISIONED_BY) == DRIVER


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename!r}"
    return str(error)
