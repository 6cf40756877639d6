"""What the caches say of what they have not got."""

import pytest

from datamover.api import names
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
