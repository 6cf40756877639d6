"""Whom a change concerns."""

from typing import Any

import pytest

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.reconcilers.import_cron.kind import DataImportCronKind, indexes
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.meta import Resource
from support.clock import VirtualClock
from support.image_cron import NAMESPACE, Images, name_of

CRON = Key(NAMESPACE, "cron")


class Watches:
    """In the place of a controller."""

    def __init__(self) -> None:
        self.maps: list[tuple[Any, Any]] = []

    def watch(self, informer: Any, concerned: Any) -> None:
        self.maps.append((informer, concerned))

    def of(self, informer: Any, old: Any, new: Any) -> set[Key]:
        return {key for other, concerned in self.maps if other is informer for key in concerned(old, new)}


@pytest.fixture
def images() -> Images:
    made = Images()
    made.desire(1)
    made.settle()
    made.complete(name_of(1))
    made.settle()
    return made


def woken(images: Images, resource: Resource[Any], name: str) -> set[Key]:
    objects = Informer(None, DATA_IMPORT_CRONS, indexes=indexes(), clock=VirtualClock())  # type: ignore[arg-type]
    objects.store.put(images.cron)
    watches = Watches()
    DataImportCronKind(objects, view=images.view, disks=images.disks).connect(watches)  # type: ignore[arg-type]
    informer = next(each for each in images.cluster.informers() if each.resource is resource)
    found = informer.store.get(Key(NAMESPACE, name))
    assert watches.of(informer, None, found) == watches.of(informer, found, None)
    return watches.of(informer, None, found)


def test_its_imports_and_its_datasource_wake_it(images: Images) -> None:
    assert woken(images, PERSISTENT_VOLUME_CLAIMS, name_of(1)) == {CRON}
    assert woken(images, DATA_VOLUMES, name_of(1)) == {CRON}
    assert woken(images, DATA_SOURCES, "fedora") == {CRON}


def test_what_has_the_name_of_an_import_wakes_it_whatever_its_label(images: Images) -> None:
    images.desire(2)
    images.claim(name_of(2), label=None)
    assert woken(images, PERSISTENT_VOLUME_CLAIMS, name_of(2)) == {CRON}


def test_other_claims_of_the_namespace_wake_nobody(images: Images) -> None:
    images.claim("data", label=None)
    assert woken(images, PERSISTENT_VOLUME_CLAIMS, "data") == set()


@pytest.mark.parametrize(
    ("spec", "wakes"),
    [
        ({"source": {"pvc": {"name": name_of(1), "namespace": NAMESPACE}}}, True),
        ({"sourceRef": {"kind": "DataSource", "name": "fedora"}}, True),
        ({"sourceRef": {"kind": "DataSource", "name": "alias"}}, True),
        ({"sourceRef": {"kind": "DataSource", "name": "direct"}}, True),
        ({"source": {"pvc": {"name": "data"}}}, False),
        ({"source": {"blank": {}}}, False),
    ],
)
def test_whoever_is_filled_from_an_import_wakes_it(images: Images, spec: dict[str, Any], wakes: bool) -> None:
    images.put(DATA_SOURCES, "alias", spec={"source": {"dataSource": {"kind": "DataSource", "name": "fedora"}}})
    images.put(DATA_SOURCES, "direct", spec={"source": {"pvc": {"name": name_of(1)}}})
    images.put(DATA_VOLUMES, "clone", spec=spec)
    assert woken(images, DATA_VOLUMES, "clone") == ({CRON} if wakes else set())
