"""A kind that the project does not have, in both worlds: the operator runs it beside DataMovers. And what a status keeps of others."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from datamover.api.names import FIELD_MANAGER
from datamover.cli.kinds import KINDS
from support.errand import ERRANDS, Errand, ErrandKind
from support.s3 import S3Server
from support.scenario import TREE, Cluster, embedded_cluster, real_cluster


class NewerErrand(ErrandKind):
    """The kind with the definition of a version to come, whose status has more fields than ours."""

    definition = copy.deepcopy(ErrandKind.definition)
    (_version,) = definition["spec"]["versions"]
    _status = _version["schema"]["openAPIV3Schema"]["properties"]["status"]
    for _each in (_status, _status["properties"]["conditions"]["items"]):
        _each["x-kubernetes-preserve-unknown-fields"] = True


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster whose operator knows both kinds."""
    kinds = (*KINDS, NewerErrand)
    if request.param == "embedded":
        async with embedded_cluster(tmp_path, kinds=kinds) as found:
            yield found
    else:
        plane = request.getfixturevalue("kubernetes")
        async with real_cluster(plane, request.getfixturevalue("namespace"), tmp_path, kinds=kinds) as found:
            yield found


async def errand(cluster: Cluster) -> Errand:
    return await cluster.client.get(ERRANDS, "errand", namespace=cluster.namespace)


async def test_it_moves_the_data_and_cleans_up_while_datamovers_go_on(both: Cluster, s3: S3Server) -> None:
    await both.create_secret("storage-credentials", s3.secret())
    await both.create_volume("app-data")
    await both.create(ERRANDS, "errand", spec={"source": "app-data", "secret": "storage-credentials"})

    async def over() -> bool:
        status = (await errand(both)).status
        return status is not None and status.stage in ("DONE", "FAILED")

    await both.wait_for(over)
    (told,) = (await errand(both)).status.conditions
    assert (told.type, told.status, told.reason) == ("Done", "True", "Completed"), told
    assert s3.objects() == TREE
    assert await both.children() == {}
    await both.create_mover("backup", source="nowhere")
    await both.wait_reason("backup", "SourceNotFound")


async def test_a_status_keeps_what_another_version_has_written_and_the_spec_stays(both: Cluster, s3: S3Server) -> None:
    """Whoever applied it on the server's side before: that was how statuses were written once."""
    await both.create_secret("storage-credentials", s3.secret())
    await both.create(ERRANDS, "errand", spec={"source": "app-data", "secret": "storage-credentials"})

    async def waits() -> bool:
        return bool((await errand(both)).status)

    await both.wait_for(waits)
    waiting = await errand(both)
    (told,) = msgspec.to_builtins(waiting.status.conditions)
    theirs = {"future": {"score": 3}, "conditions": [{**told, "severity": "high"}]}
    meta = {"name": "errand", "namespace": both.namespace}
    applied = {"metadata": meta, "status": theirs}
    await both.client.apply(ERRANDS, applied, field_manager=FIELD_MANAGER, subresource="status")

    await both.create_volume("app-data")

    async def over() -> bool:
        status = (await errand(both)).status
        return status is not None and status.stage == "DONE"

    await both.wait_for(over)
    path = ERRANDS.path(namespace=both.namespace, name="errand")
    found = await both.client.request_json("GET", path)
    assert found["status"]["future"] == {"score": 3}
    (condition,) = found["status"]["conditions"]
    assert (condition["status"], condition["reason"], condition["severity"]) == ("True", "Completed", "high")
    assert found["spec"] == {"source": "app-data", "secret": "storage-credentials"}
    assert found["metadata"]["generation"] == 1
    writers = {(each["manager"], each["operation"], each.get("subresource")) for each in managers(found)}
    assert (FIELD_MANAGER, "Update", "status") in writers


def managers(found: dict) -> list[dict]:
    return found["metadata"].get("managedFields", [])
