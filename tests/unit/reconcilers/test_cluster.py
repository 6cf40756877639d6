"""What the caches say of what they have not got."""

import pytest

from datamover.api import names
from datamover.api.cdi.data_volume import DATA_VOLUMES, DataVolume
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.datamover.facts import Unread
from kubekit.runtime.informer import Informer, State
from kubekit.words.core import PersistentVolume, Pod
from kubekit.words.meta import ObjectMeta
from support import builders
from support.clock import VirtualClock

SILENT = {
    None: Unread.NOT_SYNCED,
    State.WAITING: Unread.NOT_SYNCED,
    State.FORBIDDEN: Unread.FORBIDDEN,
    State.ABSENT: Unread.FORBIDDEN,
}


@pytest.mark.parametrize("outage", SILENT)
def test_a_volume_that_is_missing_is_not_seen_yet_unless_volumes_may_not_be_read(
    outage: State | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    caches = View(cluster)
    monkeypatch.setattr(Informer, "outage", property(lambda _: outage and (outage, 5.0)))
    assert caches.volume("pv-1") is SILENT[outage]
    cluster.volumes.store.put(builders.persistent_volume())
    assert isinstance(caches.volume("pv-1"), PersistentVolume), "what is known is believed"


def test_a_label_speaks_for_a_mover_in_the_namespace_of_its_owner_only() -> None:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    for namespace in ("shop", "elsewhere"):
        labels = {names.OWNER_UID_LABEL: "uid-1"}
        cluster.pods.store.put(
            Pod(metadata=ObjectMeta(name="mover", namespace=namespace, uid=namespace, labels=labels))
        )
    assert [pod.metadata.namespace for pod in View(cluster).pods_of_mover("shop", "uid-1")] == ["shop"]


def test_a_kind_that_several_read_is_watched_once_and_run_with_the_rest() -> None:
    cluster = Cluster(None, clock=VirtualClock())  # type: ignore[arg-type]
    assert not any(each.resource is DATA_VOLUMES for each in cluster.informers())
    found = cluster.whole(DATA_VOLUMES, indexes={"all": lambda _: ("x",)})
    assert cluster.whole(DATA_VOLUMES) is found
    assert found in cluster.informers()
    assert found.optional, "a cluster without the kind holds up nobody"
    assert cluster.observe(
        DATA_VOLUMES, DataVolume(metadata=ObjectMeta(name="disk", namespace="a", uid="1", resource_version="1"))
    )
    assert len(found.store.by_index("all", "x")) == 1
