"""`datamover hcp explain`: what is read of a cluster, what is shown, and how it ends."""

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from datamover.api.hypershift import CONFIG_MAP, HOSTED_CONTROL_PLANES
from datamover.api.velero.backup import BACKUPS
from datamover.api.velero.uploads import DATA_UPLOADS, POD_VOLUME_BACKUPS
from datamover.cli.hcp import Exit, exit_of, show, to_json
from datamover.cli.hcp_look import ExplainError, Explanation, explain
from datamover.cli.main import main
from datamover.verdicts.verdict import State
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden
from kubekit.client.transport import Request, Response
from kubekit.words.core import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PODS
from kubekit.words.meta import Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS
from support.control_planes import (
    HOSTED,
    NOW,
    VELERO,
    at,
    backup,
    claim,
    content,
    hcp,
    pod_volume_backup,
    snapshot,
    upload,
)
from support.scripted_transport import failure
from support.tiny_server import TinyServer

KINDS: dict[str, Resource[Any]] = {
    each.type.__name__: each
    for each in (BACKUPS, HOSTED_CONTROL_PLANES, DATA_UPLOADS, POD_VOLUME_BACKUPS, VOLUME_SNAPSHOTS, VOLUME_SNAPSHOT_CONTENTS, PERSISTENT_VOLUME_CLAIMS, PODS)
}  # fmt: skip
NAMED = [BACKUPS, VOLUME_SNAPSHOT_CONTENTS, CONFIG_MAPS]


class Cluster:
    """An API server with these objects. `refused` are plurals that it does not let see, `absent` those that it does not serve."""

    def __init__(self, *objects: Any) -> None:
        self.server = TinyServer()
        self.refused: set[str] = set()
        self.absent: set[str] = set()
        self.client = Client(self.server.transport(self._interfere))
        for each in objects:
            self.put(each)

    def put(self, obj: Any) -> None:
        resource = KINDS[type(obj).__name__]
        fields = json.loads(msgspec.json.encode(obj))
        path = resource.path(namespace=obj.metadata.namespace)
        self.server.put(path, obj.metadata.name, **fields)

    def configure(self, **data: str) -> None:
        self.server.put(CONFIG_MAPS.path(namespace=VELERO), CONFIG_MAP, data=data)

    async def _interfere(self, request: Request) -> Response | None:
        assert request.method == "GET"
        for plural in self.refused:
            if f"/{plural}" in request.path:
                return failure(403, "Forbidden", f"you may not see {plural}")
        for plural in self.absent:
            if f"/{plural}" in request.path:
                return failure(404, "NotFound", "the server could not find the requested resource")
        single = request.path not in self.server.objects and any(
            request.path.rpartition("/")[0].endswith(f"/{each.plural}") for each in NAMED
        )
        return failure(404, "NotFound", "not found") if single else None

    async def explain(
        self,
        name: str = "test-backup",
        *,
        namespace: str | None = None,
        control_plane: str | None = None,
        now: datetime = NOW,
    ) -> Explanation:
        return await explain(self.client, name, namespace=namespace, control_plane=control_plane, now=now)


MOVING = (upload(done=2**20, total=2**20), upload("data-etcd-1", "InProgress", done=2**20, total=2**21, node="n1"))


async def test_each_volume_is_explained() -> None:
    cluster = Cluster(backup(), hcp(), *MOVING, claim(), claim("data-etcd-1"))
    found = await cluster.explain()
    assert exit_of(found) is Exit.WAITING
    console = Console(width=400, force_terminal=False)
    with console.capture() as shown:
        show(console, found, now=at(2))
    lines = shown.get().splitlines()
    assert lines[0] == "Backup openshift-adp/test-backup: WaitingForPluginOperations"
    assert lines[1].startswith(f"{HOSTED}/test-hcp (AWS): WAITING: 1 of 2 volumes moved; waiting for DataUpload")
    assert lines[2].split() == [
        "CLAIM",
        "PHASE",
        "SINCE",
        "MOVED",
        "OBJECT",
        "MOVER",
        "POD",
        "NODE",
        "DEADLINE",
        "WHAT",
    ]
    row = " ".join(lines[3].split())
    assert row.startswith(
        "data-etcd-1 InProgress 2m ago 1.0 MiB/2.0 MiB DataUpload test-backup-data-etcd-1 - n1 in 3h58m"
    )
    assert " ".join(lines[4].split()).startswith("data-etcd-0 Completed 2m ago 1.0 MiB/1.0 MiB")


async def test_it_is_told_as_json() -> None:
    cluster = Cluster(backup(), hcp(), *MOVING)
    cluster.configure(dataUploadTimeout="15")
    document = json.loads(to_json(await cluster.explain()))
    assert document["exitCode"] == 3
    assert document["backup"] == {
        "namespace": VELERO,
        "name": "test-backup",
        "uid": backup().metadata.uid,
        "phase": "WaitingForPluginOperations",
    }
    (plane,) = document["controlPlanes"]
    assert (plane["state"], plane["completed"], plane["total"]) == ("WAITING", 1, 2)
    assert plane["flags"] == {"PVBackupStarted": True, "PVBackupFinished": True, "DUStarted": True, "DUFinished": False}
    assert [(each["claim"], each["finished"], each["deadline"]) for each in plane["volumes"]] == [
        ("data-etcd-1", False, "2026-01-01T12:15:00Z"),
        ("data-etcd-0", True, None),
    ]
    assert plane["waits"][0]["node"] == "n1"


@pytest.mark.parametrize(
    ("objects", "code"),
    [
        ((backup(), hcp(), upload()), Exit.MOVED),
        ((backup(), hcp()), Exit.MOVED),
        ((backup(), hcp(), upload(phase="Failed")), Exit.FAILED),
        ((backup(), hcp("GCP"), upload()), Exit.FAILED),
        ((backup(), hcp(), upload(phase="New")), Exit.WAITING),
        ((backup(move=False), hcp(), snapshot(), content()), Exit.MOVED),
        ((backup(move=False), hcp(), snapshot()), Exit.WAITING),
        ((backup(fs=True), hcp(), pod_volume_backup(phase="InProgress")), Exit.WAITING),
    ],
)
async def test_the_exit_code_is_the_verdicts(objects: Any, code: Exit) -> None:
    assert exit_of(await Cluster(*objects).explain()) is code


async def test_several_control_planes_end_with_the_worst() -> None:
    other = hcp(namespace="clusters-b", name="b")
    both = backup(included_namespaces=(HOSTED, "clusters-b"))
    cluster = Cluster(
        both,
        hcp(),
        other,
        hcp(namespace="clusters-c", name="c"),
        upload(),
        upload("x", "Failed", namespace="clusters-b"),
    )
    found = await cluster.explain()
    assert [each.hcp.metadata.name for each in found.planes] == ["b", "test-hcp"]
    assert [each.verdict.state for each in found.planes] == [State.FAILED, State.MOVED]
    assert exit_of(found) is Exit.FAILED
    one = await cluster.explain(control_plane=HOSTED)
    assert exit_of(one) is Exit.MOVED


async def test_what_may_not_be_read_is_named_and_is_not_taken_for_none() -> None:
    cluster = Cluster(backup(), hcp(), upload())
    cluster.refused = {"datauploads", "pods"}
    cluster.absent = {"volumesnapshots"}
    (plane,) = (await cluster.explain()).planes
    assert plane.verdict.state is State.UNKNOWN
    assert "you may not see datauploads" in plane.verdict.description
    assert len(plane.verdict.warnings) >= 3


async def test_the_configuration_counts_and_a_wrong_one_is_told() -> None:
    cluster = Cluster(backup(), hcp(), upload(phase="InProgress"))
    cluster.configure(dataUploadTimeout="1")
    assert exit_of(await cluster.explain()) is Exit.FAILED
    cluster.configure(dataUploadTimeout="soon")
    found = await cluster.explain()
    assert exit_of(found) is Exit.WAITING
    assert "error parsing dataUploadTimeout" in found.notes[0]
    cluster.configure(other="x")
    assert "key other is not known" in (await cluster.explain()).notes[0]
    cluster.refused = {"configmaps"}
    assert "defaults are shown" in (await cluster.explain()).notes[0]


@pytest.mark.parametrize(
    ("objects", "asked", "text"),
    [
        ((hcp(),), {}, "no namespace has a Backup test-backup"),
        ((hcp(),), {"namespace": VELERO}, "there is no Backup test-backup in namespace openshift-adp"),
        ((backup(),), {}, "no HostedControlPlane found in the namespaces of this backup"),
        ((backup(), hcp()), {"control_plane": "other"}, "no HostedControlPlane found in namespace other"),
        (
            (backup(included_namespaces=("shop",)), hcp()),
            {},
            "no HostedControlPlane found in the namespaces of this backup",
        ),
    ],
)
async def test_what_is_not_there_is_told(objects: Any, asked: Any, text: str) -> None:
    with pytest.raises(ExplainError, match=text):
        await Cluster(*objects).explain(**asked)


async def test_two_backups_of_one_name_want_a_namespace() -> None:
    cluster = Cluster(backup(), hcp(), upload())
    cluster.server.put(BACKUPS.path(namespace="velero"), "test-backup")
    with pytest.raises(ExplainError, match="in each of openshift-adp, velero: name Velero's namespace with -n"):
        await cluster.explain()
    assert exit_of(await cluster.explain(namespace=VELERO)) is Exit.MOVED


@pytest.mark.parametrize(("plural", "way"), [("backups", "-n"), ("hostedcontrolplanes", "--control-plane")])
async def test_who_may_not_see_all_namespaces_is_told_the_way(plural: str, way: str) -> None:
    cluster = Cluster(backup(), hcp())
    cluster.refused = {plural}
    with pytest.raises(ExplainError, match=way):
        await cluster.explain()
    with pytest.raises(Forbidden):
        await cluster.explain(namespace=VELERO, control_plane=HOSTED)
    cluster.refused, cluster.absent = set(), {plural}
    with pytest.raises(ExplainError, match="the cluster has no"):
        await cluster.explain()


async def test_many_contents_are_listed_and_few_are_read_one_by_one() -> None:
    few = Cluster(backup(move=False), hcp(), snapshot(), content())
    await few.explain()
    assert any(request.path.endswith(f"/snapcontent-{HOSTED}-data-etcd-0") for request in few.server.requests)
    names = [f"c-{index}" for index in range(40)]
    many = Cluster(backup(move=False), hcp(), *map(snapshot, names), *map(content, names))
    assert exit_of(await many.explain()) is Exit.MOVED
    assert sum("volumesnapshotcontents" in request.path for request in many.server.requests) == 1


def test_without_a_cluster_it_says_so_and_ends_with_2(tmp_path: Any) -> None:
    for output in ("table", "json"):
        result = CliRunner().invoke(main, ["hcp", "explain", "b", "--kubeconfig", str(tmp_path / "none"), "-o", output])
        assert result.exit_code == 2
        assert "datamover hcp explain: " in result.stderr
        assert (output == "json") is bool(result.stdout)
