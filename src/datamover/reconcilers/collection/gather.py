"""From the caches to one frozen Facts. Reads nothing but caches."""

from datetime import datetime
from typing import Any, Final, Protocol

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS, CDIS, CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.kubevirt import KUBEVIRTS
from datamover.plans.known import Known
from datamover.reconcilers.cluster import View
from datamover.reconcilers.collection.facts import Facts, Settings
from datamover.reconcilers.collection.neighbours import find_collector, find_kubevirt
from datamover.reconcilers.collection.since import Record, find_since, read_record
from datamover.reconcilers.projection import project_partial
from datamover.runs.facts import Unread
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key
from kubekit.words.core import CONFIG_MAPS, NAMESPACE_METAS, ConfigMap, PersistentVolumeClaim
from kubekit.words.meta import HasMeta, PartialObject, Resource

CONFIG: Final = Key("", names.CONFIG_NAME)
SINCE_NAME: Final = "datamover-datavolume-collection"
"""The ConfigMap that says since when a lifetime is set."""


class Belongings(Protocol):
    """What belongs to an owner, as `View` reads it."""

    def belongings_of(self, owner_uid: str) -> tuple[tuple[Resource[Any], HasMeta], ...]:
        """All that is ours and belongs to an owner."""
        ...


class Around:
    """What is read beside a DataVolume and its claim: of its namespace, of the cluster's configuration, of the programs beside us.

    Of namespaces only those are watched that bear our label.
    """

    def __init__(self, view: View, *, home: str) -> None:
        """`home` is the operator's own namespace. To be made while kinds are made."""
        cluster = view.cluster
        self.view = view
        self.since_key = Key(home, SINCE_NAME)
        self.spaces: Informer[PartialObject] = cluster.whole(
            NAMESPACE_METAS, label_selector=names.TTL_LABEL, project=project_partial
        )
        self.kubevirts = cluster.whole(KUBEVIRTS, everywhere=True)
        self.cdis = cluster.whole(CDIS)
        self.configs = cluster.by_name(CDI_CONFIGS)
        self.records = cluster.by_name(CONFIG_MAPS)
        self._read: tuple[str, Record] = ("", {})

    def namespace(self, name: str) -> PartialObject | Unread:
        """A namespace, as far as its label goes: one that has none is an empty object."""
        state = _readable(self.spaces)
        if state is not None:
            return state
        return self.spaces.store.get(Key("", name)) or PartialObject()

    def config(self) -> CDIConfig | Unread:
        """The cluster's CDIConfig."""
        return self.view.named(CDI_CONFIGS, "", names.CONFIG_NAME)

    def kubevirt(self) -> str | Unread:
        """The version of the cluster's KubeVirt. Where that may not be looked for it is not known; a cluster without the kind has none."""
        state = _readable(self.kubevirts)
        return "" if state is not None else find_kubevirt(self.kubevirts.store.list())

    def collector(self) -> str:
        """A CDI that collects by itself."""
        return find_collector(self.cdis.store.list(), self.config())

    def record(self) -> ConfigMap | Unread:
        """What says since when a lifetime is set."""
        return self.view.named(CONFIG_MAPS, self.since_key.namespace, self.since_key.name)

    def since(self, namespace: str) -> datetime | None:
        """Since when a lifetime is set for a namespace."""
        found = self.record()
        if isinstance(found, Unread):
            return None
        if self._read[0] != found.metadata.resource_version:
            self._read = (found.metadata.resource_version, read_record(found.data))
        space = self.namespace(namespace)
        labelled = isinstance(space, PartialObject) and space.metadata.label(names.TTL_LABEL) is not None
        return find_since(self._read[1], namespace, labelled=labelled)


def gather(volume: DataVolume, *, around: Around, settings: Settings, known: Known, now: datetime) -> Facts:
    """Return what there is to know about the collection of a DataVolume."""
    namespace = volume.metadata.namespace or ""
    claim = around.view.claim(namespace, volume.metadata.name)
    return Facts(
        now,
        volume,
        claim,
        settings,
        namespace=around.namespace(namespace),
        config=around.config(),
        owners=known.owners.found if known.owners is not None else None,
        kubevirt=around.kubevirt(),
        collector=around.collector(),
        since=around.since(namespace),
        leftovers=find_leftovers(claim, around.view),
        known=known,
    )


def find_leftovers(claim: PersistentVolumeClaim | None, view: Belongings) -> tuple[str, ...]:
    """Return what belongs to the claim and is ours: the DataVolume is the last that lets anybody look after it."""
    found = view.belongings_of(claim.metadata.uid) if claim is not None else ()
    return tuple(f"{resource.kind} {child.metadata.name}" for resource, child in found)


def _readable(informer: Informer[Any]) -> Unread | None:
    """Return why nothing is known of a kind; None when all is."""
    if informer.state is State.FORBIDDEN:
        return Unread.FORBIDDEN
    if informer.state is State.ABSENT or informer.synced.is_set():
        return None
    return Unread.NOT_SYNCED
