"""Snapshots: VolumeSnapshots to VolumeSnapshotContents to directories, and back when they go.

Stands where external-snapshotter's controller and sidecar stand. A snapshot is a full copy of the volume's directory by the rules of
`localkube.node.trees`: cheap with reflink, a plain copy without, and not of one moment while somebody writes.
The kinds are custom resources: on a server that does not have them, this part sleeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import AlreadyExists, Conflict, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result, own_key
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words import timestamps
from kubekit.words.meta import HasMeta, Manifest, Resource
from kubekit.words.quantity import parse_quantity
from kubekit.words.snapshot import IS_DEFAULT_CLASS, VOLUME_SNAPSHOT_CLASSES, VolumeSnapshotClass
from localkube.node.conflicts import done_on_conflict
from localkube.node.directories import Directories, InUse
from localkube.node.kinds import Claim, PersistentVolume
from localkube.node.names import DRIVER, FIELD_MANAGER
from localkube.node.snapshot_kinds import CONTENTS, SNAPSHOTS, VolumeSnapshot, VolumeSnapshotContent
from localkube.node.trees import Stopped, TreeError

_GROUP = "snapshot.storage.kubernetes.io"
SOURCE_FINALIZER = f"{_GROUP}/volumesnapshot-as-source-protection"
BOUND_FINALIZER = f"{_GROUP}/volumesnapshot-bound-protection"
CONTENT_FINALIZER = f"{_GROUP}/volumesnapshotcontent-bound-protection"
_SNAPSHOT_FINALIZERS = (SOURCE_FINALIZER, BOUND_FINALIZER)
_RETRY = 5.0


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot as a restore needs it."""

    handle: str | None
    restore_size: str | int | None
    driver: str
    ready: bool


class Snapshots:
    """Two controllers: snapshots and contents."""

    def __init__(
        self,
        client: Client,
        *,
        directories: Directories,
        clock: Clock,
        events: EventRecorder,
        claims: Informer[Claim],
        volumes: Informer[PersistentVolume],
    ) -> None:
        self._client = client
        self._directories = directories
        self._clock = clock
        self._events = events
        self._claims = claims
        self._volumes = volumes
        self._hearers: list[Callable[[Key], None]] = []
        self.snapshots: Informer[VolumeSnapshot] = Informer(
            client,
            SNAPSHOTS,
            clock=clock,
            optional=True,
            indexes={"claim": lambda s: [f"{s.metadata.namespace}/{s.spec.source.persistent_volume_claim_name}"]},
        )
        self.contents: Informer[VolumeSnapshotContent] = Informer(client, CONTENTS, clock=clock, optional=True)
        self.classes: Informer[VolumeSnapshotClass] = Informer(
            client, VOLUME_SNAPSHOT_CLASSES, clock=clock, optional=True
        )
        self.informers = (self.snapshots, self.contents, self.classes)
        self._snapshot_controller = Controller(
            "snapshot",
            reconcile=done_on_conflict(self.reconcile_snapshot),
            queue=Workqueue("snapshot", clock=clock, base_delay=0.1, max_delay=60.0),
            workers=2,
            clock=clock,
        )
        self._content_controller = Controller(
            "snapshot content",
            reconcile=done_on_conflict(self.reconcile_content),
            queue=Workqueue("snapshot content", clock=clock, base_delay=0.1, max_delay=60.0),
            workers=4,
            clock=clock,
        )
        self.controllers = (self._snapshot_controller, self._content_controller)
        self._snapshot_controller.watch(self.snapshots)
        self._snapshot_controller.watch(self.contents, _snapshot_key)
        self._snapshot_controller.watch(claims, self._snapshots_of_claim)
        self._snapshot_controller.watch(self.classes, self._snapshots_of_class)
        self._content_controller.watch(self.contents)
        self._content_controller.watch(self.snapshots, _content_keys)
        self.snapshots.add_handler(self._tell_change)
        self.contents.add_handler(self._tell_content_change)

    def on_change(self, hear: Callable[[Key], None]) -> None:
        """Have `hear` called with the key of a VolumeSnapshot when it, or its content, changed."""
        self._hearers.append(hear)

    def find(self, key: Key) -> Found | None:
        """Return a snapshot with what its content says, or None when there is none."""
        snapshot = self.snapshots.store.get(key)
        if snapshot is None:
            return None
        content = self.contents.store.get(Key("", snapshot.status.bound_volume_snapshot_content_name or ""))
        return Found(
            handle=content.status.snapshot_handle if content else None,
            restore_size=snapshot.status.restore_size,
            driver=content.spec.driver if content else "",
            ready=bool(snapshot.status.ready_to_use) and not snapshot.metadata.terminating,
        )

    def _tell_change(self, old: VolumeSnapshot | None, new: VolumeSnapshot | None) -> None:
        for key in own_key(old, new):
            for hear in self._hearers:
                hear(key)

    def _tell_content_change(self, old: VolumeSnapshotContent | None, new: VolumeSnapshotContent | None) -> None:
        for key in _snapshot_key(old, new):
            for hear in self._hearers:
                hear(key)

    def _snapshots_of_class(self, _old: VolumeSnapshotClass | None, _new: VolumeSnapshotClass | None) -> list[Key]:
        waiting = (s for s in self.snapshots.store.list() if not s.status.bound_volume_snapshot_content_name)
        return [key_of(snapshot.metadata) for snapshot in waiting]

    def _snapshots_of_claim(self, old: Claim | None, new: Claim | None) -> list[Key]:
        claim = new or old
        if claim is None:
            return []
        index = f"{claim.metadata.namespace}/{claim.metadata.name}"
        return [key_of(s.metadata) for s in self.snapshots.store.by_index("claim", index)]

    async def reconcile_snapshot(self, key: Key) -> Result:
        """Give a snapshot its content and copy the content's state, or take both away."""
        snapshot = self.snapshots.store.get(key)
        if snapshot is None:
            return DONE
        if snapshot.metadata.terminating:
            return await self._remove_snapshot(snapshot)
        name = snapshot.spec.source.volume_snapshot_content_name or f"snapcontent-{snapshot.metadata.uid}"
        content = self.contents.store.get(Key("", name))
        if content is None:
            return await self._make_content(snapshot, name)
        if content.spec.driver != DRIVER:
            return DONE
        if not _refers(content, snapshot):
            message = f"snapshot {key} is bound to a content {name} that belongs to another snapshot"
            return await self._fail(snapshot, "SnapshotContentMisbound", message)
        snapshot = await self._protect(snapshot)
        await self._set_status(SNAPSHOTS, snapshot, _snapshot_status(content))
        return DONE

    async def _make_content(self, snapshot: VolumeSnapshot, name: str) -> Result:
        key = key_of(snapshot.metadata)
        if snapshot.spec.source.volume_snapshot_content_name is not None:
            return await self._fail(snapshot, "SnapshotContentMissing", f"VolumeSnapshotContent {name} is missing")
        class_ = self._class_of(snapshot)
        if isinstance(class_, str):
            return await self._fail(snapshot, "GetSnapshotClassFailed", class_)
        if class_.driver != DRIVER:
            return DONE
        claim_name = snapshot.spec.source.persistent_volume_claim_name or ""
        claim = self._claims.store.get(Key(key.namespace, claim_name))
        volume = self._volumes.store.get(Key("", claim.volume_name)) if claim is not None else None
        if claim is None or volume is None or claim.phase != "Bound":
            state = "not found" if claim is None else f"{claim.phase}, and only a bound one can be snapshotted"
            return await self._fail(
                snapshot, "SnapshotContentCreationFailed", f"the source claim {claim_name} is {state}"
            )
        if not volume.directory:
            message = f"volume {volume.metadata.name} of the source claim is not a directory of this node"
            return await self._fail(snapshot, "SnapshotContentCreationFailed", message)
        snapshot = await self._protect(snapshot)
        try:
            content = await self._client.create(
                CONTENTS, _content_manifest(snapshot, class_, name, volume.metadata.name), field_manager=FIELD_MANAGER
            )
        except AlreadyExists:
            return After(0.1)
        self.contents.store.observe(content)
        self._tell(
            snapshot, "Normal", "CreatingSnapshot", f"Waiting for a snapshot {key} to be created by the CSI driver."
        )
        return DONE

    def _class_of(self, snapshot: VolumeSnapshot) -> VolumeSnapshotClass | str:
        wanted = snapshot.spec.volume_snapshot_class_name
        if wanted:
            return self.classes.store.get(Key("", wanted)) or f'volumesnapshotclass "{wanted}" not found'
        defaults = [
            c
            for c in self.classes.store.list()
            if c.metadata.annotation(IS_DEFAULT_CLASS) == "true" and c.driver == DRIVER
        ]
        if len(defaults) == 1:
            return defaults[0]
        return f"{len(defaults)} default snapshot classes for driver {DRIVER}; name one in volumeSnapshotClassName"

    async def _protect(self, snapshot: VolumeSnapshot) -> VolumeSnapshot:
        missing = [f for f in _SNAPSHOT_FINALIZERS if f not in (snapshot.metadata.finalizers or ())]
        if not missing:
            return snapshot
        after = await self._set_finalizers(SNAPSHOTS, snapshot, [*(snapshot.metadata.finalizers or ()), *missing])
        self.snapshots.store.observe(after)
        return after

    async def _remove_snapshot(self, snapshot: VolumeSnapshot) -> Result:
        ours = [f for f in snapshot.metadata.finalizers or () if f in _SNAPSHOT_FINALIZERS]
        if not ours:
            return DONE
        name = snapshot.status.bound_volume_snapshot_content_name or f"snapcontent-{snapshot.metadata.uid}"
        content = self.contents.store.get(Key("", name))
        if content is not None and _refers(content, snapshot) and content.spec.deletion_policy == "Delete":
            if not content.metadata.terminating:
                await self._delete_content(content)
            return DONE  # the content's end brings us back
        if content is not None and _refers(content, snapshot):
            await self._release_content(content)
        kept = [f for f in snapshot.metadata.finalizers or () if f not in _SNAPSHOT_FINALIZERS]
        await self._set_finalizers(SNAPSHOTS, snapshot, kept)
        return DONE

    async def _delete_content(self, content: VolumeSnapshotContent) -> None:
        try:
            await self._client.delete(CONTENTS, content.metadata.name, uid=content.metadata.uid)
        except (NotFound, Conflict):
            return

    async def _release_content(self, content: VolumeSnapshotContent) -> None:
        """With deletionPolicy Retain the content stays, and nothing of the snapshot holds it any more."""
        kept = [f for f in content.metadata.finalizers or () if f != CONTENT_FINALIZER]
        if len(kept) != len(content.metadata.finalizers or ()):
            self.contents.store.observe(await self._set_finalizers(CONTENTS, content, kept))

    async def reconcile_content(self, key: Key) -> Result:
        """Make or remove the directory behind a content."""
        content = self.contents.store.get(key)
        if content is None or content.spec.driver != DRIVER:
            return DONE
        if content.metadata.terminating:
            return await self._remove_content(content)
        if content.status.ready_to_use:
            return DONE
        if content.spec.source.snapshot_handle is not None:
            return await self._find_existing(content, content.spec.source.snapshot_handle)
        volume = self._volumes.store.get(Key("", content.spec.source.volume_handle or ""))
        if volume is None or not volume.directory:
            return await self._content_failed(content, f"volume {content.spec.source.volume_handle} not found")
        created = self._clock.now()
        try:
            await self._directories.copy(content.metadata.name, Path(volume.directory))
        except Stopped:
            return DONE
        except (TreeError, OSError) as error:
            return await self._content_failed(content, str(error))
        await self._set_ready(content, content.metadata.name, str(volume.capacity), created)
        return DONE

    async def _find_existing(self, content: VolumeSnapshotContent, handle: str) -> Result:
        if not self._directories.place(handle).is_dir():
            return await self._content_failed(content, f"snapshot {handle} does not exist on this node")
        await self._set_ready(content, handle, "0", self._clock.now())
        return DONE

    async def _set_ready(self, content: VolumeSnapshotContent, handle: str, size: str, created: datetime) -> None:
        status = {
            "snapshotHandle": handle,
            "readyToUse": True,
            "restoreSize": int(parse_quantity(size)),
            "creationTime": int(created.timestamp() * 1_000_000_000),
            "error": None,
        }
        await self._set_status(CONTENTS, content, status)

    async def _content_failed(self, content: VolumeSnapshotContent, message: str) -> Result:
        error = {"message": f"Failed to take snapshot: {message}", "time": timestamps.seconds(self._clock.now())}
        self._events.record(
            content.metadata, CONTENTS, "Warning", "SnapshotCreationFailed", error["message"], "Snapshot"
        )
        if (content.status.error or {}).get("message") != error["message"]:
            await self._set_status(CONTENTS, content, {"readyToUse": False, "error": error})
        return After(_RETRY)

    async def _remove_content(self, content: VolumeSnapshotContent) -> Result:
        if CONTENT_FINALIZER not in (content.metadata.finalizers or ()):
            return DONE
        handle = content.status.snapshot_handle or content.metadata.name
        if content.spec.deletion_policy == "Delete":
            try:
                await self._directories.remove(handle)
            except InUse:
                return After(1.0)
        kept = [f for f in content.metadata.finalizers or () if f != CONTENT_FINALIZER]
        await self._set_finalizers(CONTENTS, content, kept)
        return DONE

    async def _fail(self, snapshot: VolumeSnapshot, reason: str, message: str) -> Result:
        self._tell(snapshot, "Warning", reason, message)
        if (snapshot.status.error or {}).get("message") != message:
            error = {"message": message, "time": timestamps.seconds(self._clock.now())}
            await self._set_status(SNAPSHOTS, snapshot, {"readyToUse": False, "error": error})
        return After(_RETRY)

    async def _set_status(
        self, resource: Resource[Any], thing: VolumeSnapshot | VolumeSnapshotContent, status: Manifest
    ) -> None:
        known: dict[str, Any] = {
            "boundVolumeSnapshotContentName": getattr(thing.status, "bound_volume_snapshot_content_name", None),
            "snapshotHandle": getattr(thing.status, "snapshot_handle", None),
            "readyToUse": thing.status.ready_to_use,
            "restoreSize": thing.status.restore_size,
            "creationTime": thing.status.creation_time,
            "error": thing.status.error,
        }
        if all(known.get(key) == value for key, value in status.items()):
            return
        meta = thing.metadata
        after = await self._client.patch(
            resource,
            meta.name,
            {"metadata": {"uid": meta.uid}, "status": status},
            namespace=meta.namespace,
            subresource="status",
            field_manager=FIELD_MANAGER,
        )
        (self.snapshots if resource is SNAPSHOTS else self.contents).store.observe(after)

    async def _set_finalizers(self, resource: Resource[Any], thing: HasMeta, finalizers: list[str]) -> Any:
        meta = thing.metadata
        patch = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": finalizers}}
        return await self._client.patch(
            resource, meta.name, patch, namespace=meta.namespace, field_manager=FIELD_MANAGER
        )

    def _tell(self, snapshot: VolumeSnapshot, type_: str, reason: str, message: str) -> None:
        self._events.record(snapshot.metadata, SNAPSHOTS, type_, reason, message, "Snapshot")


def _content_manifest(snapshot: VolumeSnapshot, class_: VolumeSnapshotClass, name: str, volume: str) -> Manifest:
    meta = snapshot.metadata
    return {
        "metadata": {"name": name, "finalizers": [CONTENT_FINALIZER]},
        "spec": {
            "driver": DRIVER,
            "deletionPolicy": class_.deletion_policy,
            "volumeSnapshotClassName": class_.metadata.name,
            "source": {"volumeHandle": volume},
            "volumeSnapshotRef": {
                "apiVersion": SNAPSHOTS.api_version,
                "kind": SNAPSHOTS.kind,
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
            },
        },
    }


def _snapshot_status(content: VolumeSnapshotContent) -> dict[str, Any]:
    status = content.status
    found: dict[str, Any] = {
        "boundVolumeSnapshotContentName": content.metadata.name,
        "readyToUse": bool(status.ready_to_use),
        "error": status.error,
    }
    if status.restore_size is not None:
        found["restoreSize"] = str(status.restore_size)
    if status.creation_time is not None:
        moment = datetime.fromtimestamp(status.creation_time / 1_000_000_000, tz=timestamps.UTC)
        found["creationTime"] = timestamps.seconds(moment)
    return found


def _refers(content: VolumeSnapshotContent, snapshot: VolumeSnapshot) -> bool:
    reference, meta = content.spec.volume_snapshot_ref, snapshot.metadata
    if (reference.namespace, reference.name) != (meta.namespace, meta.name):
        return False
    return not reference.uid or reference.uid == meta.uid


def _content_keys(old: VolumeSnapshot | None, new: VolumeSnapshot | None) -> list[Key]:
    named = (thing.status.bound_volume_snapshot_content_name for thing in (old, new) if thing is not None)
    return [Key("", name) for name in named if name]


def _snapshot_key(old: VolumeSnapshotContent | None, new: VolumeSnapshotContent | None) -> list[Key]:
    content = new or old
    reference = content.spec.volume_snapshot_ref if content is not None else None
    return [Key(reference.namespace or "", reference.name or "")] if reference is not None else []
