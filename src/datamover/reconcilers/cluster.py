"""The informers that all kinds share, and what is read of them: claims, volumes, classes, snapshots, Jobs and Pods, for each kind.

Children are watched by their created-by label, children of further kinds only where a kind has such. Secrets, ConfigMaps and namespaces are
watched one by one, while somebody needs them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from datamover.api import names
from datamover.api.cdi.names import CRON_LABEL
from datamover.api.copy_trigger import is_used
from datamover.api.ownership import select_children
from datamover.reconcilers.projection import project_claim, project_partial, project_volume
from datamover.runs.facts import Unread
from datamover.volumes.binding import is_bound, is_snapshot_ready
from datamover.volumes.copy_trigger import Sharer
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.instruments import SILENCE, InformerInstruments
from kubekit.runtime.named import Absence, NamedInformers
from kubekit.runtime.store import Index, Key
from kubekit.words.batch import JOBS, Job
from kubekit.words.core import (
    CONFIG_MAPS,
    NAMESPACE_METAS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SECRETS,
    ConfigMap,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    Secret,
    SecretKeys,
    config_map_keys,
    secret_keys,
    without_texts,
    without_values,
)
from kubekit.words.meta import HasMeta, PartialObject, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CLASSES, VOLUME_SNAPSHOTS, VolumeSnapshot, VolumeSnapshotClass
from kubekit.words.storage import STORAGE_CLASSES, StorageClass

T = TypeVar("T", bound=HasMeta)

_BY_CONTROLLER = "controller"
_BY_OWNER = "owner"
_BY_CLAIM = "claim"
_BY_POPULATED = "populated"
_BY_IMPORT = "import"

_UNREAD = {
    Absence.MISSING: Unread.MISSING,
    Absence.FORBIDDEN: Unread.FORBIDDEN,
    Absence.UNKNOWN: Unread.NOT_SYNCED,
}


Copiers = Callable[[str, str], Iterable[tuple[str, Sharer]]]
"""From namespace and name of a claim to the objects of a kind that copy it now: the UID of each, and what it has told."""


Writers = Callable[[str, str], Iterable[str]]
"""From namespace and name of a claim to what writes it now, in words such as `DataMoverRestore back`."""


class Cluster:
    """What is watched for all kinds together.

    `created_by` are the values of the created-by label of all their children. `children` are what these are, beside claims, snapshots and
    Jobs with their Pods. A cluster that does not let us watch those holds up nobody: a child that is not seen is met when it is made.
    Kinds that copy claims add themselves to `copiers`: all of them share the copy triggers of a claim. Kinds that write claims of users add
    themselves to `restorers`, so that nobody copies what is half there; and those that copy or read them to `readers`, as long as nothing else shows it.
    """

    def __init__(
        self,
        client: Client,
        *,
        clock: Clock,
        namespace: str | None = None,
        created_by: Collection[str] = (names.CREATED_BY_VALUE,),
        children: Collection[Resource[Any]] = (),
        metrics: InformerInstruments = SILENCE,
    ) -> None:
        def labelled(resource: Any, **extra: Any) -> Any:
            return Informer(
                client,
                resource,
                namespace=namespace,
                label_selector=select_children(created_by),
                clock=clock,
                metrics=metrics,
                **extra,
            )

        self.claims: Informer[PersistentVolumeClaim] = Informer(
            client,
            PERSISTENT_VOLUME_CLAIMS,
            namespace=namespace,
            project=project_claim,
            indexes={_BY_CONTROLLER: _controller_index, _BY_POPULATED: _populated_index, _BY_IMPORT: import_index},
            clock=clock,
            metrics=metrics,
        )
        self.volumes: Informer[PersistentVolume] = Informer(
            client,
            PERSISTENT_VOLUMES,
            project=project_volume,
            indexes={_BY_CLAIM: _claim_index},
            optional=True,
            clock=clock,
            metrics=metrics,
        )
        self.classes: Informer[StorageClass] = Informer(client, STORAGE_CLASSES, clock=clock, metrics=metrics)
        self.jobs: Informer[Job] = labelled(JOBS, indexes={_BY_CONTROLLER: _controller_index})
        self.pods: Informer[Pod] = labelled(PODS, indexes={_BY_CONTROLLER: _controller_index, _BY_OWNER: _owner_index})
        self.snapshots: Informer[VolumeSnapshot] = labelled(
            VOLUME_SNAPSHOTS, optional=True, indexes={_BY_CONTROLLER: _controller_index}
        )
        self.snapshot_classes: Informer[VolumeSnapshotClass] = Informer(
            client, VOLUME_SNAPSHOT_CLASSES, optional=True, clock=clock, metrics=metrics
        )
        self.secrets: NamedInformers[Secret] = NamedInformers(client, SECRETS, project=without_values, clock=clock)
        self.config_maps: NamedInformers[ConfigMap] = NamedInformers(
            client, CONFIG_MAPS, project=without_texts, clock=clock
        )
        self.namespaces: NamedInformers[PartialObject] = NamedInformers(client, NAMESPACE_METAS, clock=clock)
        self.copiers: list[Copiers] = []
        self.restorers: list[Writers] = []
        self.readers: list[Writers] = []
        self._by_name: dict[Resource[Any], NamedInformers[Any]] = {}
        self._whole: dict[tuple[Resource[Any], str | None, str | None], Informer[Any]] = {}
        self._client, self._clock, self._namespace, self._metrics = client, clock, namespace, metrics
        self._created_by = frozenset(created_by)
        always = (JOBS, PODS, VOLUME_SNAPSHOTS)
        further = [each for each in children if each not in (*always, PERSISTENT_VOLUME_CLAIMS)]
        self._further: dict[Resource[Any], Informer[Any]] = {
            each: labelled(
                each,
                optional=True,
                project=project_partial if each.type is PartialObject else None,
                indexes={_BY_CONTROLLER: _controller_index},
            )
            for each in sorted(further, key=lambda each: each.group_resource)
        }
        self._labelled = (*always, *self._further)

    def informers(self) -> tuple[Informer[Any], ...]:
        """All that the manager has to run."""
        return (
            self.claims,
            self.volumes,
            self.classes,
            self.jobs,
            self.pods,
            self.snapshots,
            self.snapshot_classes,
            *self._further.values(),
            *self._whole.values(),
        )

    def named(self) -> tuple[tuple[str, NamedInformers[Any]], ...]:
        """What the manager has to run of what is watched by name, each with its name. While nobody wants any of it, it costs nothing."""
        always = (("secrets", self.secrets), ("config maps", self.config_maps), ("namespaces", self.namespaces))
        return (*always, *((f"single {each.plural}", named) for each, named in self._by_name.items()))

    def by_name(self, resource: Resource[T]) -> NamedInformers[T]:
        """Return the watches of single objects of a kind, for kinds that point to such. To be asked while kinds are made."""
        if resource not in self._by_name:
            self._by_name[resource] = NamedInformers(self._client, resource, clock=self._clock)
        return self._by_name[resource]

    def whole(
        self,
        resource: Resource[T],
        *,
        indexes: Mapping[str, Index[T]] | None = None,
        project: Callable[[T], T] | None = None,
        label_selector: str | None = None,
        everywhere: bool = False,
        within: str | None = None,
    ) -> Informer[T]:
        """Return the watch of all objects of a kind that several kinds read; each that reconciles them takes a `Part`. To be asked while kinds
        are made; whoever asks first says what is kept, and looked up by. A cluster that does not serve the kind holds up nobody.

        `everywhere` also where the operator works in one namespace: for the few objects that say something of the whole cluster. `within` one
        namespace, wherever the operator works.
        """
        key = (resource, label_selector, within)
        if key not in self._whole:
            self._whole[key] = Informer(
                self._client,
                resource,
                namespace=within or (self._namespace if resource.namespaced and not everywhere else None),
                label_selector=label_selector,
                indexes=indexes,
                project=project,
                optional=True,
                clock=self._clock,
                metrics=self._metrics,
            )
        return self._whole[key]

    def children(self, resource: Resource[T]) -> Informer[T]:
        """Return the cache of children of a further kind. Raises KeyError where no kind has said that it has such."""
        return self._further[resource]

    def belongings(self) -> tuple[Informer[Any], ...]:
        """Return the caches of all that is made for an owner, but Pods: those are their Job's, and go with it."""
        return (self.jobs, self.claims, self.snapshots, *self._further.values())

    def observe(self, resource: Resource[Any], obj: Any) -> bool:
        """Take in what an answer of the server shows; tell whether it was news. What nobody watches is left out."""
        for informer in self.informers():
            if informer.resource is resource:
                return informer.store.observe(obj)
        return False

    def shows(self, resource: Resource[Any], obj: HasMeta) -> bool:
        """Tell whether the watch of this kind shows such an object."""
        return resource not in self._labelled or obj.metadata.label(names.CREATED_BY_LABEL) in self._created_by


class View:
    """The caches read by name, as a decision about a run needs them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def claim(self, namespace: str, name: str) -> PersistentVolumeClaim | None:
        """A PersistentVolumeClaim."""
        return self.cluster.claims.store.get(Key(namespace, name))

    def volume(self, name: str) -> PersistentVolume | Unread:
        """A PersistentVolume. NOT_SYNCED: its watch has not shown it yet."""
        volumes = self.cluster.volumes
        found = volumes.store.get(Key("", name))
        if found is not None:
            return found
        outage = volumes.outage
        readable = outage is None or outage[0] not in (State.ABSENT, State.FORBIDDEN)
        return Unread.NOT_SYNCED if readable else Unread.FORBIDDEN

    def storage_class(self, name: str) -> StorageClass | None:
        """A StorageClass."""
        return self.cluster.classes.store.get(Key("", name))

    def storage_classes(self) -> tuple[StorageClass, ...]:
        """All StorageClasses."""
        return self.cluster.classes.store.list()

    def secret(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a Secret."""
        found = self.cluster.secrets.get(Key(namespace, name))
        if isinstance(found, Secret):
            return secret_keys(found)
        return _UNREAD[found]

    def config_map(self, namespace: str, name: str) -> SecretKeys | Unread:
        """What is known of a ConfigMap."""
        found = self.cluster.config_maps.get(Key(namespace, name))
        return config_map_keys(found) if isinstance(found, ConfigMap) else _UNREAD[found]

    def namespace(self, name: str) -> PartialObject | Unread:
        """A namespace, of which somebody wants to know the annotations."""
        found = self.cluster.namespaces.get(Key("", name))
        return found if isinstance(found, PartialObject) else _UNREAD[found]

    def child(self, resource: Resource[T], namespace: str, name: str) -> T | None:
        """A child of a further kind, such as a Service. Raises KeyError where no kind has said that it has such (`Kind.children`)."""
        return self.cluster.children(resource).store.get(Key(namespace, name))

    def snapshot(self, namespace: str, name: str) -> VolumeSnapshot | None:
        """A VolumeSnapshot of ours."""
        return self.cluster.snapshots.store.get(Key(namespace, name))

    def populated(self, uid: str) -> PersistentVolumeClaim | None:
        """The claim with this UID, if it names a populator as the source of its data."""
        found = self.cluster.claims.store.by_index(_BY_POPULATED, uid)
        return found[0] if found else None

    def imported(self, namespace: str, label: str) -> tuple[PersistentVolumeClaim, ...]:
        """The claims that the DataImportCron with this label has imported."""
        return self.cluster.claims.store.by_index(_BY_IMPORT, f"{namespace}/{label}")

    def clones(self, namespace: str) -> Iterable[tuple[str, PersistentVolumeClaim]]:
        """The claims of a namespace that a driver makes from another one and that have no volume yet, each with the name of that other one."""
        for claim in self.cluster.claims.store.list():
            source = claim.spec.data_source if claim.spec is not None else None
            if source is None or source.kind != PERSISTENT_VOLUME_CLAIMS.kind or is_bound(claim):
                continue
            if claim.metadata.namespace == namespace:
                yield source.name, claim

    def named(self, resource: Resource[T], namespace: str, name: str) -> T | Unread:
        """An object that somebody wants to know by its name (`Cluster.by_name`)."""
        found = self.cluster.by_name(resource).get(Key(namespace, name))
        return _UNREAD[found] if isinstance(found, Absence) else found

    def sharers(self, source: PersistentVolumeClaim | None, uid: str) -> tuple[Sharer, ...]:
        """The owners, of any kind, but the one with this UID, that copy a claim whose user triggers copies."""
        if source is None or not is_used(source.metadata.annotations or {}):
            return ()
        namespace, name = source.metadata.namespace or "", source.metadata.name
        found = (each for copiers in self.cluster.copiers for each in copiers(namespace, name))
        return tuple(sharer for other, sharer in found if other != uid)

    def restorers(self, namespace: str, claim: str) -> tuple[str, ...]:
        """What restores into a claim now, or has left it half restored."""
        return tuple(each for restorers in self.cluster.restorers for each in restorers(namespace, claim))

    def copies(self, namespace: str, claim: str, *, but: str = "") -> tuple[str, ...]:
        """The copies of a claim that are being made and are not there yet, in words: claims that a driver clones, and snapshots of ours; `but` those of the
        owner with this UID.
        """
        cloned = [
            f"PersistentVolumeClaim {copy.metadata.name} is not there yet"
            for of, copy in self.clones(namespace)
            if of == claim and not copy.metadata.owned_by(but)
        ]
        taken = [
            f"VolumeSnapshot {each.metadata.name} is not there yet"
            for each in self.cluster.snapshots.store.list()
            if each.metadata.namespace == namespace
            and _source_of(each) == claim
            and not is_snapshot_ready(each)
            and not each.metadata.owned_by(but)
        ]
        asked = (each for readers in self.cluster.readers for each in readers(namespace, claim))
        return tuple(sorted((*cloned, *taken, *asked)))

    def snapshot_classes(self) -> tuple[VolumeSnapshotClass, ...] | None:
        """All VolumeSnapshotClasses; None when the cluster has no snapshot API."""
        classes = self.cluster.snapshot_classes
        return None if classes.state in (State.ABSENT, State.FORBIDDEN) else classes.store.list()

    def job(self, namespace: str, name: str) -> Job | None:
        """A Job of ours."""
        return self.cluster.jobs.store.get(Key(namespace, name))

    def children_of(self, owner_uid: str) -> tuple[tuple[Resource[Any], HasMeta], ...]:
        """The Jobs, claims and snapshots of ours that an owner controls."""
        cluster = self.cluster
        return tuple(
            (informer.resource, child)
            for informer in (cluster.jobs, cluster.claims, cluster.snapshots)
            for child in informer.store.by_index(_BY_CONTROLLER, owner_uid)
        )

    def belongings_of(self, owner_uid: str) -> tuple[tuple[Resource[Any], HasMeta], ...]:
        """All that is ours and belongs to an owner, children of further kinds too."""
        return tuple(
            (informer.resource, child)
            for informer in self.cluster.belongings()
            for child in informer.store.by_index(_BY_CONTROLLER, owner_uid)
        )

    def pods_of(self, owner_uid: str) -> tuple[Pod, ...]:
        """The Pods that an owner controls."""
        return self.cluster.pods.store.by_index(_BY_CONTROLLER, owner_uid)

    def pods_of_mover(self, namespace: str, mover_uid: str) -> tuple[Pod, ...]:
        """The Pods of a namespace that carry the UID of the object whose run it is as a label, whatever has become of their Jobs."""
        found = self.cluster.pods.store.by_index(_BY_OWNER, mover_uid)
        return tuple(pod for pod in found if pod.metadata.namespace == namespace)

    def volumes_of(self, namespace: str, claim: str) -> tuple[PersistentVolume, ...]:
        """The PersistentVolumes bound to a claim of this name."""
        return self.cluster.volumes.store.by_index(_BY_CLAIM, f"{namespace}/{claim}")


def find_owner(
    resource: Resource[Any], child: HasMeta | None, *, by_uid: Callable[[str], Iterable[Key]]
) -> Iterable[Key]:
    """Return whom of a kind a change of a child concerns. A child names its owner; a Pod, which its Job owns, carries the UID as a label."""
    if child is None:
        return ()
    meta = child.metadata
    for reference in meta.owner_references or ():
        if reference.kind == resource.kind and reference.api_version.partition("/")[0] == resource.group:
            return (Key(meta.namespace or "", reference.name),)
    uid = meta.label(names.OWNER_UID_LABEL)
    return by_uid(uid) if uid else ()


def _source_of(snapshot: VolumeSnapshot) -> str | None:
    source = snapshot.spec.source if snapshot.spec is not None else None
    return source.persistent_volume_claim_name if source is not None else None


def _controller_index(child: HasMeta) -> Iterable[str]:
    """Nobody asks for the owners of what is not ours: most claims are users'."""
    if child.metadata.label(names.CREATED_BY_LABEL) is None:
        return ()
    return (reference.uid for reference in child.metadata.owner_references or ())


def _owner_index(pod: Pod) -> Iterable[str]:
    uid = pod.metadata.label(names.OWNER_UID_LABEL)
    if uid:
        yield uid


def _populated_index(claim: PersistentVolumeClaim) -> Iterable[str]:
    if claim.spec is not None and claim.spec.data_source_ref is not None:
        yield claim.metadata.uid


def import_index(found: HasMeta) -> Iterable[str]:
    """Return where an object is found that a DataImportCron has made, by namespace and label of that one."""
    label = found.metadata.label(CRON_LABEL)
    if label:
        yield f"{found.metadata.namespace}/{label}"


def _claim_index(volume: PersistentVolume) -> Iterable[str]:
    claim = volume.spec and volume.spec.claim_ref
    if claim and claim.name:
        yield f"{claim.namespace}/{claim.name}"
