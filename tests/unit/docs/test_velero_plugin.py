"""docs/velero-plugin.md: what it says of the image is the image's, and the rights that it names are those that the plugin uses."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from datamover.api.hypershift import CONFIG_MAP, Key
from datamover.velero.assembly import assemble
from datamover.velero.logs import Log
from datamover.velero.settings import Settings
from datamover.verdicts.configuration import Configuration
from support.plugin_rights import PAGE, Right, granted, objects
from support.velero_cluster import running_cluster
from support.velero_host import VeleroHost, environment

ROOT = Path(__file__).resolve().parents[3]
CONTAINERFILE = (ROOT / "deploy/images/Containerfile").read_text(encoding="utf-8")
FILE = "/plugins/datamover-velero-plugin"
PLACE = re.search(r'ENTRYPOINT \["/plugins.*\nCMD \["(.+)"\]', CONTAINERFILE)
ACTION = "datamover.a-cup-of.coffee/hosted-control-plane"
UID = "0a1b2c3d-0000-4000-8000-000000000001"
PLANES = "/apis/hypershift.openshift.io/v1beta1/namespaces/clusters-a/hostedcontrolplanes"
SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/clusters-a/volumesnapshots"
UPLOADS = "/apis/velero.io/v2alpha1/namespaces/velero/datauploads"
COPIES = "/apis/velero.io/v1/namespaces/velero/podvolumebackups"


# --- the image ---


def test_the_init_container_mounts_where_the_image_writes_and_velero_looks() -> None:
    assert PLACE is not None
    [deployment] = objects("Deployment")
    [container] = deployment["spec"]["template"]["spec"]["initContainers"]
    assert container["volumeMounts"] == [{"name": "plugins", "mountPath": PLACE[1]}], "Velero's own names of both"
    assert f"mounted at `{PLACE[1]}`" in PAGE
    assert "command" not in container
    assert "args" not in container
    assert "USER 65532:65532\nENTRYPOINT" in CONTAINERFILE
    assert container["securityContext"]["runAsNonRoot"] is True


def test_an_init_container_of_oadp_has_a_name_and_an_image() -> None:
    [application] = objects("DataProtectionApplication")
    assert application["apiVersion"] == "oadp.openshift.io/v1alpha1"
    assert list(application["spec"]) == ["configuration"]
    [plugin] = application["spec"]["configuration"]["velero"]["customPlugins"]
    assert set(plugin) == {"name", "image"}
    assert plugin["image"] == objects("Deployment")[0]["spec"]["template"]["spec"]["initContainers"][0]["image"]


def test_the_recipe_takes_the_file_from_where_it_is_into_the_folder_that_velero_is_told() -> None:
    [recipe] = re.findall(r"^```dockerfile\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    copied = re.findall(r"^COPY --from=(\S+) (\S+) (\S+)$", recipe, re.MULTILINE)
    assert ("datamover", FILE, "/velero-plugins/") in copied
    assert {folder for _, _, folder in copied} == {"/velero-plugins/"}
    assert "--plugin-dir=/velero-plugins" in PAGE
    assert f"/root-of-image{FILE}" in CONTAINERFILE


def test_the_actions_are_those_that_velero_lists() -> None:
    [shown] = re.findall(r"^\$ velero plugin get\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    rows = [line.split() for line in shown.splitlines()[1:]]
    named = assemble(Settings(command="x"), Log("error")).names()
    assert {(kind, name) for name, kind in rows} == set(named)


def test_the_configuration_is_one_that_the_plugin_reads() -> None:
    [configuration] = objects("ConfigMap")
    assert configuration["metadata"]["name"] == CONFIG_MAP
    read = Configuration.read(configuration["data"])
    assert read.timeout_set
    assert set(configuration["data"]) <= {value for name, value in vars(Key).items() if name.isupper()}


# --- the rights ---


def needed(method: str, path: str, rights: set[Right]) -> Right | None:
    """Return the right that a request uses, or None where there is none."""
    found = re.fullmatch(r"/apis?/(?:([^/]+\.[^/]+)/)?v\w+/(?:namespaces/([^/]+)/)?([^/]+)(?:/([^/]+))?", path)
    assert found, path
    group, namespace, resource, name = (part or "" for part in found.groups())
    verb = {"GET": "get" if name else "list", "PATCH": "patch"}[method]
    asked = Right(namespace, group, resource, verb, name)
    return next((right for right in rights if right.allows(asked)), None)


def requests(place: Path) -> Iterator[tuple[str, str]]:
    """Yield what the plugin asks while it follows a backup and cancels it, with everything there that it may ask about."""
    with running_cluster(place) as cluster:
        spec = {"platform": {"type": "AWS"}, "controllerAvailabilityPolicy": "SingleReplica"}
        plane = cluster.create(PLANES, "hosted", spec=spec)
        labels = {"velero.io/backup-name": "nightly", "velero.io/backup-uid": UID}
        source = {"source": {"persistentVolumeClaimName": "data"}}
        bound = {"boundVolumeSnapshotContentName": "content"}
        cluster.create(SNAPSHOTS, "snapshot", metadata={"labels": labels}, spec=source, status=bound)
        upload = {"sourceNamespace": "clusters-a", "sourcePVC": "data", "snapshotType": "CSI"}
        cluster.create(UPLOADS, "upload", metadata={"labels": labels}, spec=upload)
        copy = {"pod": {"namespace": "clusters-a", "name": "etcd-0"}, "volume": "data"}
        cluster.create(COPIES, "copy", metadata={"labels": labels}, spec=copy)
        backup = {
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {"name": "nightly", "namespace": "velero", "uid": UID, "creationTimestamp": "2026-11-30T00:00:00Z"},
            "spec": {"includedNamespaces": ["clusters-a"], "snapshotMoveData": True},
            "status": {"phase": "InProgress", "startTimestamp": "2026-11-30T00:00:00Z"},
        }  # fmt: skip
        with VeleroHost(environ=environment(KUBECONFIG=str(cluster.kubeconfig))) as host:
            _, operation = host.backup(ACTION, plane, backup)
            host.progress(ACTION, operation, backup)
            host.cancel(ACTION, operation, backup)
            host.restore(ACTION, {"kind": "Pod", "metadata": {"name": "a", "namespace": "clusters-a"}}, {})
        yield from cluster.requests


def test_the_rights_are_all_that_the_plugin_uses_and_no_other(tmp_path: Path) -> None:
    rights = granted()
    used = {(method, path): needed(method, path, rights) for method, path in requests(tmp_path)}
    assert [asked for asked, right in used.items() if right is None] == []
    assert rights - set(used.values()) == set(), "these are granted, and nothing uses them"


def test_the_rights_are_bound_to_veleros_account_and_each_has_a_reason() -> None:
    for kind in ("ClusterRole", "Role"):
        [role], [binding] = objects(kind), objects(f"{kind}Binding")
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["roleRef"]["kind"] == kind
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "velero", "namespace": "velero"}]
    rows = [row.split("|")[1] for row in PAGE.splitlines() if row.startswith("| `")]
    for right in granted():
        assert any(f"`{right.resource}`" in row and right.verb in row for row in rows), json.dumps(right)
