"""What the kind watches beside its objects, and when."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from datamover.api.volsync.replication_source import REPLICATION_SOURCES, ReplicationSource
from datamover.metrics.replication import ReplicationMetrics
from datamover.reconcilers.replication.kind import ReplicationKind
from kubekit.runtime.store import Key
from support.theatre import KEYS, SETTINGS

NOW = datetime(2026, 11, 29, tzinfo=UTC)
KEY = Key("shop", "nightly")


class Named:
    """Remembers who wants what."""

    def __init__(self) -> None:
        self.wanted: dict[Any, tuple[Key, ...]] = {}

    def want(self, owner: Any, keys: Any) -> None:
        self.wanted[owner] = tuple(keys)


class Cluster:
    """What the kind needs of the shared caches."""

    def __init__(self) -> None:
        self.secrets, self.config_maps, self.namespaces = Named(), Named(), Named()
        self.copiers: list[Any] = []


class View:
    def __init__(self) -> None:
        self.cluster = Cluster()


def source(status: dict[str, Any] | None) -> ReplicationSource:
    spec = {
        "sourcePVC": "data",
        "trigger": {"manual": "t1"},
        "restic": {
            "copyMethod": "Clone",
            "repository": "restic-secret",
            "customCA": {"configMapName": "ca", "key": "ca.crt"},
        },
    }
    meta = {"name": "nightly", "namespace": "shop", "uid": "u"}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status or {}}, ReplicationSource)


UNDER_WAY = {"lastSyncStartTime": "2026-11-29T11:12:51Z"}
OVER = {"lastSyncTime": "2026-11-28T11:12:51Z", "lastManualSync": "t1"}


@pytest.fixture
def kind() -> ReplicationKind:
    meter = ReplicationMetrics(CollectorRegistry(), now=NOW.timestamp)
    objects: Any = None
    view: Any = View()
    return ReplicationKind(
        REPLICATION_SOURCES, objects, view=view, meter=meter, settings=SETTINGS, keys=KEYS, now=lambda: NOW
    )


@pytest.mark.parametrize(
    ("status", "watched"), [(UNDER_WAY, True), (OVER, False), (None, False)], ids=["under way", "over", "new"]
)
def test_what_an_object_points_to_is_watched_while_a_synchronisation_needs_it(
    kind: ReplicationKind, status: dict[str, Any] | None, watched: bool
) -> None:
    kind.notice(KEY, source(status))

    cluster: Any = kind._view.cluster
    owner = ("ReplicationSource", KEY)
    assert cluster.secrets.wanted[owner] == ((Key("shop", "restic-secret"),) if watched else ())
    assert cluster.config_maps.wanted[owner] == ((Key("shop", "ca"),) if watched else ())
    assert cluster.namespaces.wanted[owner] == ((Key("", "shop"),) if watched else ())


def test_the_gauge_of_an_object_says_since_when_it_is_in_sync(kind: ReplicationKind) -> None:
    registry = CollectorRegistry()
    kind._meter = ReplicationMetrics(registry, now=NOW.timestamp)
    labels = {"obj_name": "nightly", "obj_namespace": "shop", "role": "source", "method": "restic"}

    kind.notice(KEY, source(None))
    new = registry.get_sample_value("volsync_volume_out_of_sync", labels)
    kind.notice(KEY, source(OVER))

    assert (new, registry.get_sample_value("volsync_volume_out_of_sync", labels)) == (1, 0)
