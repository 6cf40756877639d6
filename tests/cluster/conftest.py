"""One cluster, one operator installed by its chart, and one S3 server for all scenarios; a namespace and a bucket for each."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import (
    OPERATOR_NAMESPACE,
    STORE_NAMESPACE,
    Images,
    Kubectl,
    Place,
    RealCluster,
    Store,
    find_cluster,
    run_store,
)
from support.images import find_images
from support.leftovers import Leftovers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these want the one cluster, so one worker runs them all."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.name == "test_rights.py")  # it looks back at all the others
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(600))
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[RealCluster]:
    """The cluster, with the operator installed; both images are on its node."""
    kubeconfig, rig, kubectl, helm = find_cluster()
    images: Images = find_images(rig)
    found = RealCluster(Kubectl(kubectl, kubeconfig), images, helm, rig)
    found.create_namespace(OPERATOR_NAMESPACE)
    found.install()
    yield found
    found.run_helm("uninstall", "datamover", "--wait", "--timeout", "90s")
    found.kubectl.run("delete", "namespace", OPERATOR_NAMESPACE, "--wait=true", "--timeout=90s")


@pytest.fixture(scope="session")
def store(cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The S3 server in the cluster."""
    yield from run_store(cluster, tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def leftovers(cluster: RealCluster, store: Store) -> Leftovers:
    """The one check of what is left after a scenario."""
    return Leftovers(cluster, store, ignored=(OPERATOR_NAMESPACE, STORE_NAMESPACE))


@pytest.fixture
def place(cluster: RealCluster, store: Store, leftovers: Leftovers) -> Iterator[Place]:
    """A namespace under the restricted profile and a bucket; afterwards nothing is left of either, nor anywhere else."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.create_namespace(name)
    store.make_bucket(name)
    found = Place(cluster, store, name, name)
    yield found
    leftovers.demand_no_secret(found)
    found.remove()
    leftovers.demand_nothing(found)
