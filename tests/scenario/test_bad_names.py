"""Names at their limits, and names that somebody else holds. Nothing of anybody else's is ever touched (law L2)."""

import asyncio
from typing import Any

import pytest

from datamover.api import names, reasons
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.volumes.naming import clone_name, job_name
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.timestamps import parse
from support.scenario import CLASS, TREE
from support.stage import SOURCE, Act, Stage, run_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("bad names")]

SOURCES = {
    "200 characters": "a" * 200,
    "253 characters": "b" * 253,
    "dots": "my.app-data.v1.2",
    "a dash where the name is cut": "c" * 40 + "-" * 3 + "d" * 40,
    "digits": "0",
    "our own prefix": "verify-restored-data",
}


@pytest.mark.parametrize("case", SOURCES)
async def test_a_source_with_such_a_name_is_backed_up(case: str, stage: Stage) -> None:
    source = SOURCES[case]
    async with stage.act(f"a source of {case}") as act:
        await act.create_secret()
        await act.create_volume(source, {"file": case.encode()})
        await act.start(sourcePvc=source)
        mover = await act.expect_completed()
        assert await act.copied() == {"file": case.encode()}
        assert mover.status is not None
        clone, job = mover.status.restored_pvc_name or "", run_of(mover).job_name or ""
        assert clone.startswith("restored-")
        assert len(clone) <= 253
        assert job.startswith("verify-restored-")
        assert len(job) <= 63
        assert (await act.cluster.children())["PersistentVolumeClaim"] == [clone]


@pytest.mark.parametrize("length", [63, 253])
async def test_a_datamover_with_the_longest_name_is_like_any_other(length: int, stage: Stage) -> None:
    async with stage.act(f"a DataMover of {length}") as act:
        await act.create_secret()
        name = "m" * length
        await act.start(name)
        assert await act.copied(name) == TREE
        assert ("Normal", "Completed") in await events_of(act, name)


async def events_of(act: Act, name: str) -> list[tuple[str, str]]:
    """Events are written behind."""
    for _ in range(100):
        found = await act.cluster.events(name)
        if ("Normal", "Completed") in found:
            return found
        await asyncio.sleep(0.05)
    return await act.cluster.events(name)


async def test_two_datamovers_of_one_source_in_one_second(stage: Stage) -> None:
    async with stage.act("twins") as act:
        await act.create_secret()
        act.remember()
        await asyncio.gather(
            *(
                act.cluster.create_mover(name, addTimestampPrefix=True, deletePvcAfterBackup=True)
                for name in ("one", "two")
            )
        )
        done = [await act.expect_completed(name=name) for name in ("one", "two")]
        assert len({mover.status.restored_pvc_name for mover in done if mover.status}) == 2
        assert [await act.copied(name) for name in ("one", "two")] == [TREE, TREE]


# --- names that are taken -----------------------------------------------------------------------------------------------


async def create_held(act: Act) -> tuple[DataMover, str, str]:
    """Create a DataMover that does not begin yet; return it with the name that its clone will want, and the one after that."""
    await act.create_secret()
    mover = await act.start(suspend=True)
    created = parse(mover.metadata.creation_timestamp or "")
    await act.cluster.wait_reason("mover", reasons.SUSPENDED)
    return (
        mover,
        clone_name(SOURCE, created=created),
        clone_name(SOURCE, created=created, taken_for=mover.metadata.uid),
    )


async def let_go(act: Act) -> None:
    await act.client.patch(
        DATA_MOVERS, "mover", {"spec": {"suspend": False}}, namespace=act.namespace, field_manager="test"
    )


async def create_foreign_claim(act: Act, name: str, **metadata: Any) -> str:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": CLASS,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = await act.cluster.create(PERSISTENT_VOLUME_CLAIMS, name, metadata=metadata, spec=spec)
    return str(claim.metadata.uid)


OURS = {"labels": {names.CREATED_BY_LABEL: names.CREATED_BY_VALUE}}


@pytest.mark.parametrize("metadata", [{}, OURS], ids=["somebody's", "with our label"])
async def test_a_clones_name_that_is_taken_is_left_alone_and_another_one_used(
    metadata: dict[str, Any], stage: Stage
) -> None:
    async with stage.act(f"a taken clone name {bool(metadata)}") as act:
        _, wanted, other = await create_held(act)
        uid = await create_foreign_claim(act, wanted, **metadata)
        await let_go(act)
        mover = await act.expect_completed()
        assert mover.status is not None
        assert mover.status.restored_pvc_name == other
        assert await act.copied() == TREE
        still = await act.client.get(PERSISTENT_VOLUME_CLAIMS, wanted, namespace=act.namespace)
        assert (still.metadata.uid, still.metadata.terminating) == (uid, False)
        await act.client.delete(PERSISTENT_VOLUME_CLAIMS, wanted, namespace=act.namespace)


async def test_both_names_of_a_clone_are_taken_and_one_gets_free(stage: Stage) -> None:
    async with stage.act("two taken clone names") as act:
        _, wanted, other = await create_held(act)
        for name in (wanted, other):
            await create_foreign_claim(act, name)
        await let_go(act)
        await act.expect_blocked(
            reasons.NAME_TAKEN, other, "is not this DataMover's", "delete or rename it", left=("PersistentVolume",)
        )
        for name in (wanted, other):
            await act.client.delete(PERSISTENT_VOLUME_CLAIMS, name, namespace=act.namespace)
        assert await act.copied() == TREE


@pytest.mark.parametrize("metadata", [{}, OURS], ids=["somebody's", "with our label"])
async def test_a_jobs_name_that_is_taken_is_told_and_the_job_left_alone(metadata: dict[str, Any], stage: Stage) -> None:
    async with stage.act(f"a taken job name {bool(metadata)}") as act:
        _, wanted, _ = await create_held(act)
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/theirs"}]}
        foreign = await act.cluster.create(
            JOBS, job_name(wanted), metadata=metadata, spec={"suspend": True, "template": {"spec": pod}}
        )
        await let_go(act)
        # with our label it is in our caches, so it is known before anything is made
        left = ("Job",) if metadata else ("PersistentVolume", "PersistentVolumeClaim")
        await act.expect_blocked(
            reasons.NAME_TAKEN, f"Job {job_name(wanted)}", "is not this DataMover's", "delete or rename it", left=left
        )
        still = await act.client.get(JOBS, job_name(wanted), namespace=act.namespace)
        assert still.metadata.uid == foreign.metadata.uid
        await act.client.delete(JOBS, job_name(wanted), namespace=act.namespace)


async def test_a_datamover_of_one_namespace_reaches_nothing_of_another(stage: Stage) -> None:
    async with stage.act("the owner of a volume") as owner, stage.act("a stranger") as stranger:
        await owner.create_volume("theirs", {"private.txt": b"private"})
        await owner.cluster.create_secret("their-credentials", owner.secret())
        await stranger.create_secret()
        await stranger.start("claim", sourcePvc="theirs")
        await stranger.expect_blocked(reasons.SOURCE_NOT_FOUND, "in this namespace", name="claim")
        await stranger.start("secret", secretName="their-credentials")
        await stranger.expect_blocked(reasons.SECRET_NOT_FOUND, "in this namespace", name="secret")
        owner.remember()
