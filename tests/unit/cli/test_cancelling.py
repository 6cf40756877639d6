"""`datamover cancel`: what is asked of a cluster, what is told, and how it ends."""

import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore
from datamover.cli.cancel_command import split_target
from datamover.cli.cancelling import CancelError, Exit, Told, cancel, to_json
from datamover.cli.main import main
from kubekit.client.client import Client
from kubekit.client.errors import Forbidden
from kubekit.client.transport import Request, Response
from support import builders, restores
from support.scripted_transport import failure
from support.tiny_server import TinyServer

MESSAGE = "cancelled by spec.cancel: no mover was started, so nothing was written to the destination."


class Cluster:
    """An API server with one DataMover and one DataMoverRestore. `ends` is the status of the DataMover once somebody has waited."""

    def __init__(self, status: Any = None) -> None:
        self.server, self.patches, self.slept = TinyServer(), 0, 0
        self.client = Client(self.server.transport(self._interfere))
        self.put(builders.data_mover(status=status))
        self.put(restores.restore())

    def put(self, obj: DataMover | DataMoverRestore) -> None:
        resource = DATA_MOVERS if isinstance(obj, DataMover) else DATA_MOVER_RESTORES
        self.server.put(resource.path(namespace="default"), obj.metadata.name, **json.loads(msgspec.json.encode(obj)))

    async def _interfere(self, request: Request) -> Response | None:
        if request.method == "PATCH":
            return self._merge(request)
        single = request.path not in self.server.objects
        return failure(404, "NotFound", "not found") if single and request.method == "GET" else None

    def _merge(self, request: Request) -> Response:
        self.patches += 1
        wish, obj = json.loads(request.body or b""), self.server.objects[request.path]
        assert wish["metadata"]["uid"] == obj["metadata"]["uid"], "the very object that was seen"
        obj["spec"] |= wish["spec"]
        return Response(200, {}, json.dumps(obj).encode())

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        if self.slept == 2:
            ended = builders.status(Phase.FAILED, reason="Cancelled", message=MESSAGE)
            self.put(builders.data_mover(status=ended, cancel=True))

    async def cancel(self, kind: str = "datamover", name: str = "nightly", *, wait: bool = False) -> Told:
        return await cancel(self.client, kind, name, namespace="default", wait=wait, sleep=self.sleep)

    def spec(self, resource: Any, name: str) -> dict[str, Any]:
        return self.server.objects[resource.path(namespace="default", name=name)]["spec"]


async def test_the_end_is_asked_for() -> None:
    cluster = Cluster(builders.status(Phase.CREATING_POD))
    told = await cluster.cancel()
    assert (told.code, cluster.slept) == (Exit.CANCELLED, 0)
    assert cluster.spec(DATA_MOVERS, "nightly")["cancel"] is True
    assert told.sentence == "DataMover default/nightly: to be cancelled; --wait shows its end"


async def test_of_a_restore_as_well() -> None:
    cluster = Cluster()
    told = await cluster.cancel("datamoverrestore", "back")
    assert told.code is Exit.CANCELLED
    assert cluster.spec(DATA_MOVER_RESTORES, "back")["cancel"] is True
    assert not cluster.spec(DATA_MOVERS, "nightly").get("cancel")


async def test_waiting_shows_the_end() -> None:
    cluster = Cluster(builders.status(Phase.CREATING_POD))
    told = await cluster.cancel(wait=True)
    assert (told.code, told.sentence) == (Exit.CANCELLED, f"DataMover default/nightly: {MESSAGE}")
    assert cluster.slept == 2


async def test_what_has_ended_is_left_as_it_is_and_said() -> None:
    for phase, reason in ((Phase.COMPLETED, "Completed"), (Phase.FAILED, "MoverFailed")):
        cluster = Cluster(builders.status(phase, reason=reason, message="it is over"))
        told = await cluster.cancel(wait=True)
        assert (told.code, cluster.patches) == (Exit.ENDED, 0)
        assert told.sentence == f"DataMover default/nightly has ended as {phase} ({reason}), and stays so: it is over"


async def test_what_was_cancelled_before_is_no_error() -> None:
    cluster = Cluster(builders.status(Phase.FAILED, reason="Cancelled", message=MESSAGE))
    assert (await cluster.cancel()).code is Exit.CANCELLED


async def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(CancelError, match="there is no DataMover other in namespace default"):
        await Cluster().cancel(name="other")


async def test_a_missing_right_is_told_in_the_servers_words() -> None:
    cluster = Cluster()

    async def forbid(request: Request) -> Response | None:
        return failure(403, "Forbidden", "you may not patch") if request.method == "PATCH" else None

    client = Client(cluster.server.transport(forbid))
    with pytest.raises(Forbidden, match="you may not patch"):
        await cancel(client, "datamover", "nightly", namespace="default", wait=False)


async def test_a_definition_that_does_not_know_the_field_is_told() -> None:
    cluster = Cluster()

    async def prune(request: Request) -> Response | None:
        if request.method != "PATCH":
            return None
        return Response(200, {}, msgspec.json.encode(builders.data_mover()))

    client = Client(cluster.server.transport(prune))
    with pytest.raises(CancelError, match=r"has no spec\.cancel: upgrade it"):
        await cancel(client, "datamover", "nightly", namespace="default", wait=False)


async def test_the_document_has_the_status() -> None:
    cluster = Cluster(builders.status(Phase.FAILED, reason="Cancelled", message=MESSAGE))
    document = json.loads(to_json(await cluster.cancel()))
    assert (document["exitCode"], document["kind"], document["name"]) == (0, "DataMover", "nightly")
    assert document["status"]["phase"] == Phase.FAILED


@pytest.mark.parametrize(
    ("target", "kind", "meant"),
    [
        ("a", None, ("datamover", "a")),
        ("a", "restore", ("datamoverrestore", "a")),
        ("datamoverrestore/a", None, ("datamoverrestore", "a")),
        ("dmr/a", "restore", ("datamoverrestore", "a")),
        ("dm/a", None, ("datamover", "a")),
    ],
)
def test_what_a_name_means(target: str, kind: str | None, meant: tuple[str, str]) -> None:
    assert split_target(target, kind) == meant


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["pod/a"], "names nothing"), (["datamover/"], "names nothing"), (["dm/a", "--kind", "restore"], "is no restore")],
)
def test_what_means_nothing_is_refused(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["cancel", *arguments])
    assert (result.exit_code, said in result.output) == (2, True)


def test_credentials_that_cannot_be_used_are_told(tmp_path: Any) -> None:
    result = CliRunner().invoke(main, ["cancel", "a", "--kubeconfig", str(tmp_path / "none"), "-o", "json"])
    assert result.exit_code == Exit.USAGE
