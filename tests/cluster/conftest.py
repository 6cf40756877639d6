"""One cluster, one operator installed by its chart, and one S3 server for all scenarios; a namespace and a bucket for each.

Scenarios run side by side in some workers, because most of their time is waiting. Those that are marked `disrupts` take the operator or a
part of the cluster away: they come last, and run alone. When one fails, a bundle of objects, events and logs is written before anything is
taken away (`support.bundle`).
"""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from datamover.api.v1alpha1.datamover import DATA_MOVERS
from support.bundle import clear_bundles, write_bundle
from support.cluster import (
    OPERATOR_NAMESPACE,
    STORE_NAMESPACE,
    TEST_LABEL,
    VELERO_NAMESPACE,
    Images,
    Kubectl,
    RealCluster,
    find_cluster,
    wait_for,
)
from support.enforcement import forget_policy
from support.images import find_images
from support.leftovers import (
    cluster_wide,
    demand_cleaned_up,
    demand_good_log,
    demand_no_children,
    demand_no_secret,
    demand_no_uploads,
    demand_nothing,
)
from support.place import OWNERS, Place
from support.request_counts import count_audit_lines
from support.store import Store, create_store, forwarded_port
from support.turns import shared, turn
from support.witness import Witness

ALONE = "alone"
_TEST_LABELS = ",".join(f"{key}={value}" for key, value in TEST_LABEL.items())
_OWN_NAMESPACES = (OPERATOR_NAMESPACE, STORE_NAMESPACE, VELERO_NAMESPACE)
_STORY = pytest.StashKey[str]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what disrupts last, in one worker, and the rights after it: they look back at all the others.

    The longest scenarios come first, so that no worker is left with one of them when the others have nothing to do.
    """
    here = f"{Path(__file__).parent}{os.sep}"  # a text: paths that are compared 13,000 times take half a second
    mine = [item for item in items if str(item.path).startswith(here)]
    for item in mine:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(600))
        if item.path.name == "test_rights.py":
            item.add_marker(pytest.mark.disrupts)
        if item.get_closest_marker("disrupts"):
            item.add_marker(pytest.mark.xdist_group(ALONE))
    order = {item: _turn_of(item) for item in mine}
    items.sort(key=lambda item: order.get(item, (False, False, False)))


def _turn_of(item: pytest.Item) -> tuple[bool, bool, bool]:
    name = item.path.name
    long = name.startswith(("test_hosted_control_planes", "test_replication"))
    return bool(item.get_closest_marker("disrupts")), name == "test_rights.py", not long


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory that all workers of the session share."""
    mine = tmp_path_factory.getbasetemp()
    return mine if worker_id == "master" else mine.parent


@pytest.fixture(scope="session")
def installation(common: Path) -> Iterator[dict[str, Any]]:
    """The operator and the S3 server, put up by the first worker and taken away by the last one."""
    kubeconfig, rig, kubectl, helm = find_cluster()

    def make() -> dict[str, Any]:
        found = RealCluster(Kubectl(kubectl, kubeconfig), find_images(rig), helm, rig)
        _clear_away(found.kubectl)
        if rig is not None:
            forget_policy()
        clear_bundles()
        _demand_own_cluster(found.kubectl)
        audit = count_audit_lines(rig.layout.audit) if rig is not None else 0
        found.create_namespace(OPERATOR_NAMESPACE)
        found.create_namespace(VELERO_NAMESPACE, restricted=False)
        found.install()
        found.create_namespace(STORE_NAMESPACE)
        store = create_store(found, STORE_NAMESPACE, scratch=common)
        return {
            "images": asdict(found.images),
            "store": {"authority": store.authority, "address": store.address},
            "audit": audit,
            "before": sorted(cluster_wide(found.kubectl)),
        }

    def remove(made: dict[str, Any]) -> None:
        found = RealCluster(Kubectl(kubectl, kubeconfig), Images(**made["images"]), helm, rig)
        _delete_labelled(found.kubectl, "crd")  # of kinds that scenarios have brought
        try:
            before = set(made["before"])
            wait_for(
                lambda: cluster_wide(found.kubectl) <= before,
                seconds=30,
                what=lambda: (
                    f"left in no namespace by all the scenarios: {sorted(cluster_wide(found.kubectl) - before)}"
                ),
            )
        finally:
            found.run_helm("uninstall", "datamover", "--wait", "--timeout", "90s")
            found.kubectl.run("delete", "namespace", *_OWN_NAMESPACES, "--timeout=90s")
            wait_for(lambda: not [pv for pv in found.kubectl.items("pv") if _is_of_store(pv)], seconds=30)

    with shared(common, make=make, remove=remove) as made:
        yield made


def _demand_own_cluster(kubectl: Kubectl) -> None:
    """Refuse to install over somebody's operator, whom these tests would kill, upgrade and uninstall."""
    for namespace in _OWN_NAMESPACES:
        if kubectl.get("namespace", namespace):
            pytest.fail(
                f"namespace {namespace} is not these tests' own: they want a cluster without datamover", pytrace=False
            )
    if kubectl.get("crd", DATA_MOVERS.group_resource) and kubectl.items("datamovers", "--all-namespaces"):
        pytest.fail("there are DataMovers in this cluster, whom these tests would disturb", pytrace=False)


def _clear_away(kubectl: Kubectl) -> None:
    """Delete what a session left that was killed, or whose teardown failed."""
    # with a kind that is there before its scenario, the operator would have registered itself at its start, or in the session before
    for kind in (each["metadata"]["name"] for each in kubectl.items("crd", "-l", _TEST_LABELS)):
        for each in kubectl.items(kind, "--all-namespaces"):
            meta = each["metadata"]
            if meta.get("finalizers"):  # whoever would have taken them away is gone
                where = ("-n", meta["namespace"]) if "namespace" in meta else ()
                free = '{"metadata":{"finalizers":null}}'
                kubectl.run("patch", kind, meta["name"], *where, "--type=merge", "-p", free, check=False)
    _delete_labelled(kubectl, "crd,clusterrolebindings")
    names = [each["metadata"]["name"] for each in kubectl.items("namespaces", "-l", _TEST_LABELS)]
    if names:
        kubectl.run("delete", "namespace", *names, "--wait=false")
        for claim in kubectl.items("pvc", "--all-namespaces"):
            name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
            if namespace in names:
                free = '{"metadata":{"finalizers":null}}'
                kubectl.run("patch", "pvc", name, "-n", namespace, "--type=merge", "-p", free, check=False)
        kubectl.run("wait", "--for=delete", "namespace", *names, "--timeout=120s", seconds=150)


def _delete_labelled(kubectl: Kubectl, kinds: str) -> None:
    """Delete what is in no namespace and has the label of tests' objects."""
    kubectl.run("delete", kinds, "-l", _TEST_LABELS, "--ignore-not-found", "--wait=true")


def _is_of_store(volume: dict[str, Any]) -> bool:
    return volume["spec"].get("claimRef", {}).get("namespace") == STORE_NAMESPACE


@pytest.fixture(scope="session")
def cluster(installation: dict[str, Any]) -> Iterator[RealCluster]:
    """The cluster, with the operator installed; both images are on its node."""
    kubeconfig, rig, kubectl, helm = find_cluster()
    with contextlib.ExitStack() as stack:
        witness = stack.enter_context(Witness(rig.layout, OPERATOR_NAMESPACE)) if rig else None
        yield RealCluster(Kubectl(kubectl, kubeconfig), Images(**installation["images"]), helm, rig, witness)


@pytest.fixture(scope="session")
def audited_since(installation: dict[str, Any]) -> int:
    """How many lines the API server's audit log had when the session began."""
    return int(installation["audit"])


@pytest.fixture(scope="session")
def store(
    cluster: RealCluster, installation: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """The S3 server that scenarios share."""
    made, scratch = installation["store"], tmp_path_factory.mktemp("store")
    if cluster.rig is not None:
        yield Store(cluster.kubectl, STORE_NAMESPACE, made["authority"], made["address"], scratch)
        return
    with forwarded_port(cluster.kubectl, namespace=STORE_NAMESPACE, target="pod/store", port=7070) as port:
        yield Store(cluster.kubectl, STORE_NAMESPACE, made["authority"], f"localhost:{port}", scratch)


@pytest.fixture
def place(
    request: pytest.FixtureRequest, cluster: RealCluster, store: Store, common: Path, tmp_path: Path
) -> Iterator[Place]:
    """A namespace under the restricted profile and a bucket; afterwards nothing is left of either, nor anywhere else."""
    name = f"test-{secrets.token_hex(4)}"
    disrupts = bool(request.node.get_closest_marker("disrupts"))
    own_store = request.node.get_closest_marker("own_store")
    if own_store and cluster.rig is None:
        pytest.skip("needs an S3 server of its own, whose Service is reached from the node")
    with contextlib.ExitStack() as stack:
        stack.enter_context(turn(common, alone=disrupts))
        witness = stack.enter_context(Witness(cluster.rig.layout, name)) if cluster.rig else None
        since = cluster.witness.mark() if cluster.witness else {}
        restarts = cluster.restarts()
        found = Place(cluster, store, name, name, tmp_path, witness)
        try:
            cluster.create_namespace(name)
            if own_store:
                size = own_store.kwargs.get("size", "1Gi")
                found.store = create_store(cluster, name, scratch=tmp_path, size=size)
            found.store.make_bucket(name)
            yield found
            if _STORY not in request.node.stash:
                _demand_clean_end(found)
                found.remove()
                demand_nothing(found)
                demand_good_log(cluster, since=since)
                assert disrupts or cluster.restarts() == restarts, "the operator has ended and begun again"
        finally:
            if story := request.node.stash.get(_STORY, None) or _story_of(sys.exc_info()[1]):
                directory = write_bundle(found, test=request.node.name, story=story)
                print(f"\n{directory}:\n{(directory / 'printed.txt').read_text()}")
                found.free_claims()
                found.remove()


def _demand_clean_end(place: Place) -> None:
    demand_cleaned_up(place)
    demand_no_secret(place)
    place.run("delete", OWNERS, "--all", "--wait=true", "--timeout=60s")
    demand_no_children(place)
    demand_no_uploads(place)


def _story_of(error: BaseException | None) -> str:
    return "" if error is None or isinstance(error, GeneratorExit) else f"after the test: {error}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Note how a test failed, for the bundle that its fixture writes."""
    report = yield
    if report.failed and report.when in {"setup", "call"}:
        item.stash[_STORY] = report.longreprtext
    return report
