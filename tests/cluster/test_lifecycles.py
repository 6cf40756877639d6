"""What people do around a run: delete what it works on, upgrade the operator, take it away and bring it back."""

import re

import pytest
import yaml

from cluster.certificates import Authority
from datamover.api import reasons
from datamover.api.names import Phase
from support.cluster import OPERATOR_NAMESPACE, wait_for
from support.definitions import original_definition
from support.kubernetes import REPOSITORY
from support.leftovers import demand_no_uploads
from support.place import LASTING, PHASES, SLOWLY, TREE, Place, class_for, digests_of, mover_manifest


def test_deleting_a_datamover_in_any_phase_leaves_nothing(place: Place) -> None:
    """One for each phase, one after the other, into a bucket of its own."""
    sources = {class_for(phase) for phase in place.phases()}
    for source in sources:
        place.create_volume(source, storage_class=source)
    place.create_buckets(*(phase.lower() for phase in place.phases()))
    for phase in place.phases():
        name = phase.lower()
        place.create_mover(name, source=class_for(phase), secret=name, deletePvcAfterBackup=True, additionalEnv=SLOWLY)
        place.wait_phase(name, phase)
        place.run("delete", f"datamover/{name}", "--wait=true")
        wait_for(lambda: not place.kubectl.items("jobs,pods", "-n", place.namespace))
        wait_for(lambda: place.claims() == sources)
        demand_no_uploads(place, bucket=place.bucket_of(name))


@pytest.mark.parametrize("phase", sorted(LASTING, key=PHASES.index))
def test_a_namespace_that_is_deleted_in_any_phase_goes_with_all_that_is_in_it(place: Place, phase: str) -> None:
    with place.beside("inner") as inner:
        inner.create_volume(storage_class=class_for(phase))
        inner.create_secret()
        inner.create_mover("backup", deletePvcAfterBackup=True, additionalEnv=SLOWLY)
        inner.wait_phase("backup", phase)
        place.kubectl.run("delete", "namespace", inner.namespace, "--wait=true", "--timeout=90s")


@pytest.mark.parametrize("phase", sorted(LASTING, key=PHASES.index))
def test_a_source_that_is_deleted_in_any_phase_is_backed_up_from_its_clone(place: Place, phase: str) -> None:
    place.create_volume(storage_class=class_for(phase))
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, additionalEnv=SLOWLY)
    place.wait_phase("backup", phase)
    place.run("delete", "pvc/app-data", "--wait=true", "--timeout=60s")
    place.wait_complete("backup")
    assert place.store.digests(place.bucket) == digests_of(TREE)
    assert not place.claims()


def test_a_block_volume_is_refused_clearly(place: Place) -> None:
    place.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "app-data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "volumeMode": "Block",
                "storageClassName": place.cluster.storage_class("rig"),
                "resources": {"requests": {"storage": "64Mi"}},
            },
        },
        namespace=place.namespace,
    )
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True)
    ready = place.wait_reason("backup", reasons.BLOCK_NOT_SUPPORTED)
    assert "app-data" in ready["message"]
    assert place.claims() == {"app-data"}, "a clone was made for nothing"


def test_two_runs_of_one_source_in_one_second_are_two_runs(place: Place) -> None:
    place.create_volume(tree={"a": b"a"})
    place.create_secret()
    names, wanted = ("first", "second"), {"deletePvcAfterBackup": True, "addTimestampPrefix": True}
    place.kubectl.apply(*(mover_manifest(name, **wanted) for name in names), namespace=place.namespace)
    stamps = {place.wait_complete(name)["status"]["run"]["timestamp"] for name in ("first", "second")}
    assert len(stamps) == 2
    assert {key.split("/", 1)[0] for key in place.store.digests(place.bucket)} == stamps


@pytest.mark.disrupts
def test_an_upgrade_of_the_chart_does_not_disturb_a_mover_at_work(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True, additionalEnv=SLOWLY)
    place.wait_running()
    place.cluster.install("log.level=debug")
    try:
        place.demand_one_run("backup", movers=1)
    finally:
        place.cluster.install()


@pytest.mark.disrupts
def test_the_original_definition_applied_over_ours_stops_the_work_until_ours_is_back(place: Place) -> None:
    """Its schema knows no status but the phase: whoever wrote over it would forget what runs."""
    place.create_volume()
    place.create_secret()
    place.create_mover("before", deletePvcAfterBackup=True, addTimestampPrefix=True)
    before = place.wait_complete("before")["status"]["run"]
    apply = ("apply", "--server-side", "--force-conflicts", "-f")
    try:
        place.kubectl.run(*apply, "-", text=yaml.safe_dump(original_definition()))
        wait_for(lambda: "it has no status" in place.cluster.operator_log(), what=place.cluster.operator_log)
        wait_for(lambda: not place.cluster.ready_pods(), what=place.cluster.describe_operator)
        place.create_mover("meanwhile", deletePvcAfterBackup=True, addTimestampPrefix=True)
    finally:
        place.kubectl.run(*apply, str(REPOSITORY / "deploy" / "crds"))
    place.wait_complete("meanwhile")
    assert place.mover("before")["status"]["run"] == before, "what the older schema hid is back"
    wait_for(lambda: len(place.cluster.ready_pods()) == 2)


@pytest.mark.disrupts
def test_the_plain_manifest_installs_an_operator_that_works(place: Place) -> None:
    cluster, kubectl = place.cluster, place.kubectl
    text = (REPOSITORY / "deploy" / "install.yaml").read_text()
    for target, image in (("operator", cluster.images.operator), ("mover", cluster.images.mover)):
        text = re.sub(rf"localhost/datamover/{target}:[^\s\"]+", image, text)
    kept = {"CustomResourceDefinition", "Namespace"}
    ours = [each for each in yaml.safe_load_all(text) if each and each["kind"] not in kept]
    cluster.run_helm("uninstall", "datamover", "--wait", "--timeout", "90s")
    try:
        apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")  # the definition is still Helm's
        kubectl.run(*apply, text=text)
        place.run_shell(
            "kubectl -n datamover-operator-system rollout status --timeout=90s deployment/datamover-operator-controller-manager",
            seconds=100,
        )
        place.create_volume()
        place.create_secret()
        place.create_mover("backup", deletePvcAfterBackup=True, addTimestampPrefix=True)
        place.demand_one_run("backup")
        before = cluster.operator_pods()
        kubectl.run(*apply, text=text)
        assert cluster.operator_pods() == before, "the same manifest once more has changed something"
    finally:
        kubectl.run("delete", "--ignore-not-found", "-f", "-", text=yaml.safe_dump_all(ours))
        cluster.install()


@pytest.mark.disrupts
def test_datamovers_outlive_the_operator_and_go_on_when_it_is_back(place: Place) -> None:
    place.create_volume()
    place.create_secret()
    place.create_mover("before", deletePvcAfterBackup=True, addTimestampPrefix=True)
    place.demand_one_run("before")
    place.cluster.run_helm("uninstall", "datamover", "--wait", "--timeout", "90s")
    try:
        assert place.mover("before")["status"]["phase"] == Phase.COMPLETED
        place.create_mover("meanwhile", deletePvcAfterBackup=True, addTimestampPrefix=True)
    finally:
        place.cluster.install()
    place.wait_complete("meanwhile")
    assert place.mover("before")["status"]["phase"] == Phase.COMPLETED
    wait_for(lambda: len({key.split("/", 1)[0] for key in place.store.digests(place.bucket)}) == 2)


@pytest.mark.disrupts
def test_metrics_are_served_to_those_who_may_read_them(place: Place) -> None:
    """With `metrics.secure`: over TLS, to a bearer of a token whose account may get /metrics, and to nobody else."""
    cluster, kubectl = place.cluster, place.kubectl
    if cluster.rig is None:
        pytest.skip("Pods are reached from the node")
    authority = Authority("datamover-test-metrics")
    pair = authority.server("metrics", ["metrics.test"])
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "metrics-tls"},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.certificate.decode(), "tls.key": pair.key.decode()},
    }
    kubectl.apply(secret, namespace=OPERATOR_NAMESPACE)
    trusted = place.scratch / "metrics.pem"
    trusted.write_bytes(authority.pem)
    for account in ("reader", "stranger"):
        place.run("create", "serviceaccount", account)
    reader = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"{place.namespace}-reader"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "datamover-metrics-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": place.namespace}],
    }
    cluster.install("metrics.secure=true", "metrics.tls.secretName=metrics-tls")
    try:
        kubectl.apply(reader)
        pods = kubectl.items("pods", "-n", OPERATOR_NAMESPACE, "-l", "app.kubernetes.io/name=datamover")
        address = next(pod["status"]["podIP"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
        curl = f"curl -sS -o answer -w '%{{http_code}}' --cacert {trusted} --resolve metrics.test:8082:{address}"
        url = "https://metrics.test:8082"

        def status(path: str, account: str = "") -> str:
            token = place.run("create", "token", account).strip() if account else ""
            header = f"-H 'Authorization: Bearer {token}'" if token else ""
            return place.run_shell(f"cd {place.scratch} && {curl} {header} {url}{path}")

        assert status("/readyz") == "200"
        assert status("/metrics") == "401"
        assert status("/metrics", "stranger") == "403"
        assert status("/metrics", "reader") == "200"
        assert "datamover_" in (place.scratch / "answer").read_text()
        refused = place.run_shell(f"curl -sS http://{address}:8082/metrics || true")
        assert "datamover_" not in refused
    finally:
        kubectl.run("delete", "clusterrolebinding", f"{place.namespace}-reader", "--ignore-not-found")
        cluster.install()
        kubectl.run("delete", "secret", "metrics-tls", "-n", OPERATOR_NAMESPACE)
