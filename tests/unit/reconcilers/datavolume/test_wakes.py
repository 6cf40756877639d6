"""Whom a change concerns: who copies by way of a DataSource, and who waits for the end of a Pod whose Job is gone."""

import itertools
from typing import Any

import msgspec
import pytest

from datamover.api import names as ours
from datamover.api.cdi.config import CDI_CONFIGS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from datamover.reconcilers.cluster import Cluster, View
from datamover.reconcilers.datavolume.facts import Settings
from datamover.reconcilers.datavolume.kind import DataVolumeKind
from datamover.reconcilers.disks import Disks
from kubekit.runtime.store import Key
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from support.clock import VirtualClock

DISK = Key("apps", "disk")


class Desk:
    """The caches, and one DataVolume of a DataSource."""

    def __init__(self) -> None:
        self.versions = itertools.count(1)
        self.cluster = Cluster(None, clock=VirtualClock(), created_by=(ours.CREATED_BY_VALUE,))  # type: ignore[arg-type]
        self.disks = Disks(self.cluster)
        for child in DataVolumeKind.children:
            self.cluster.whole(child)
        self.kind = DataVolumeKind(
            None,  # type: ignore[arg-type]
            view=View(self.cluster),
            disks=self.disks,
            settings=Settings(mover_image="example.com/mover:1"),
            meter=self,  # type: ignore[arg-type]
        )

    def put(self, informer: Any, resource: Any, key: Key, uid: str, **fields: Any) -> Any:
        meta = {"name": key.name, "namespace": key.namespace, "uid": uid, "resourceVersion": str(next(self.versions))}
        made = msgspec.convert({"metadata": {**meta, **fields.pop("metadata", {})}, **fields}, resource.type)
        informer.store.put(made)
        return informer.store.get(key)

    def ask_for(self, source: str) -> Any:
        spec = {"sourceRef": {"kind": "DataSource", "name": source}, "storage": {}}
        volume = self.put(self.disks.volumes, DATA_VOLUMES, DISK, "uid-volume", spec=spec)
        self.kind.objects.store.put(volume)
        return volume

    def stand_for(self, name: str, source: dict[str, Any]) -> None:
        self.put(self.disks.sources, DATA_SOURCES, Key("apps", name), f"uid-{name}", spec={"source": source})

    def __getattr__(self, name: str) -> Any:
        """Counts nothing."""
        return lambda *_, **__: None


@pytest.mark.parametrize("asked", ["golden", "alias"], ids=["a DataSource", "a DataSource of a DataSource"])
def test_who_copies_by_way_of_a_datasource_is_woken_by_what_it_stands_for(asked: str) -> None:
    desk = Desk()
    desk.ask_for(asked)
    desk.stand_for("golden", {"pvc": {"name": "fedora"}})
    desk.stand_for("alias", {"dataSource": {"name": "golden"}})
    claim = desk.put(desk.cluster.claims, PERSISTENT_VOLUME_CLAIMS, Key("apps", "fedora"), "uid-fedora")
    assert DISK in list(desk.kind._of_claim(None, claim))
    other = desk.put(desk.cluster.claims, PERSISTENT_VOLUME_CLAIMS, Key("apps", "debian"), "uid-debian")
    assert DISK not in list(desk.kind._of_claim(None, other))


def test_the_snapshot_that_a_datasource_stands_for_is_watched() -> None:
    desk = Desk()
    volume = desk.ask_for("golden")
    desk.stand_for("golden", {"snapshot": {"name": "yesterday"}})
    desk.kind.notice(DISK, volume)
    assert list(desk.cluster.by_name(VOLUME_SNAPSHOTS).owners(Key("apps", "yesterday")))


def test_what_is_needed_to_fill_a_claim_anew_is_watched_when_that_of_one_that_has_succeeded_is_gone() -> None:
    desk = Desk()
    claim = desk.put(desk.cluster.claims, PERSISTENT_VOLUME_CLAIMS, DISK, "uid-claim")
    spec = {"source": {"http": {"url": "https://a.example/d", "secretRef": "key"}}}
    spec |= {"storage": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}
    volume = desk.put(desk.disks.volumes, DATA_VOLUMES, DISK, "uid-volume", spec=spec, status={"phase": "Succeeded"})
    needed = {
        desk.cluster.by_name(CDI_CONFIGS): Key("", "config"),
        desk.cluster.by_name(STORAGE_PROFILES): Key("", "fast"),
        desk.cluster.secrets: Key("apps", "key"),
    }

    def watched() -> set[bool]:
        desk.kind.notice(DISK, volume)
        return {bool(named.owners(key)) for named, key in needed.items()}

    assert watched() == {False}
    desk.cluster.claims.store.remove(claim.metadata)
    assert watched() == {True}


def test_whether_a_claim_may_be_taken_over_is_watched_also_for_what_asks_for_nothing_that_can_be_done() -> None:
    desk = Desk()
    flawed = desk.put(desk.disks.volumes, DATA_VOLUMES, DISK, "uid-volume", spec={"storage": {}})
    desk.kind.notice(DISK, flawed)
    assert desk.cluster.by_name(CDI_CONFIGS).owners(Key("", "config"))


def test_the_end_of_a_pod_whose_job_is_gone_wakes_who_waits_for_it() -> None:
    desk = Desk()
    desk.ask_for("golden")
    desk.put(desk.cluster.claims, PERSISTENT_VOLUME_CLAIMS, DISK, "uid-claim")
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": "importer", "uid": "uid-job", "controller": True}]
    meta = {"labels": {ours.OWNER_UID_LABEL: "uid-claim"}, "ownerReferences": owners}
    pod = desk.put(desk.cluster.pods, PODS, Key("apps", "importer-x"), "uid-pod", metadata=meta)
    assert list(desk.kind._of_pod(pod, None)) == [DISK]
    foreign = {"labels": {ours.OWNER_UID_LABEL: "uid-other"}, "ownerReferences": owners}
    other = desk.put(desk.cluster.pods, PODS, Key("apps", "other"), "uid-pod-2", metadata=foreign)
    assert list(desk.kind._of_pod(other, None)) == []
