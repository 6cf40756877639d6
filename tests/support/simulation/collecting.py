"""The decision about a collection, driven by the caches of the simulation: facts are gathered with nothing between them and the decision."""

from collections.abc import Iterable
from datetime import datetime

from datamover.api.cdi import names
from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume, DataVolumeStatus
from datamover.cli.surroundings import Surroundings
from datamover.plans.kind import Kind
from datamover.plans.known import Known
from datamover.plans.steps import Emit, Plan, Step
from datamover.reconcilers.cluster import View
from datamover.reconcilers.collection.decide import ACTION, decide
from datamover.reconcilers.collection.facts import Facts, Settings
from datamover.reconcilers.disks import share_volumes
from kubekit.runtime.controller import Controller
from kubekit.runtime.part import Part
from kubekit.runtime.store import Key, key_of
from kubekit.words.meta import HasMeta


class Collecting(Kind[DataVolume, DataVolumeStatus, Facts]):
    """See the module's docstring."""

    resource = DATA_VOLUMES
    name = "collection"
    speaks_by_events = True

    def __init__(self, around: Surroundings) -> None:
        self.objects = Part(around.client, share_volumes(around.cluster), select=lambda _: True)
        self._view = View(around.cluster)
        self._configs = around.cluster.by_name(CDI_CONFIGS)

    def gather(self, obj: DataVolume, *, known: Known, now: datetime) -> Facts:
        space, name = obj.metadata.namespace or "", obj.metadata.name
        return Facts(
            now,
            obj,
            self._view.claim(space, name),
            Settings(stamp=False),
            namespace=self._view.namespace(space),
            config=self._view.named(CDI_CONFIGS, "", names.CONFIG_NAME),
            owners=known.owners.found if known.owners is not None else None,
            known=known,
        )

    def decide(self, facts: Facts) -> Plan[DataVolumeStatus]:
        return decide(facts)

    def broken(self, obj: DataVolume, message: str, *, now: datetime) -> tuple[Step[DataVolumeStatus], ...]:
        return (Emit("Warning", "Broken", message, ACTION),)

    def connect(self, controller: Controller) -> None:
        def of_claim(old: HasMeta | None, new: HasMeta | None) -> Iterable[Key]:
            found = new or old
            return (key_of(found.metadata),) if found is not None else ()

        def wake_all(_: Key) -> None:
            for each in self.objects.store.list():
                controller.queue.add(key_of(each.metadata))

        controller.watch(self._view.cluster.claims, of_claim)
        self._configs.add_handler(wake_all)
        self._view.cluster.namespaces.add_handler(wake_all)

    def notice(self, key: Key, obj: DataVolume) -> None:
        self._configs.want(("collection", key), (Key("", names.CONFIG_NAME),))
        self._view.cluster.namespaces.want(("collection", key), (Key("", key.namespace),))

    def forget(self, key: Key) -> None:
        self._configs.want(("collection", key), ())
        self._view.cluster.namespaces.want(("collection", key), ())
