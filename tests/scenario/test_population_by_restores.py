"""Claims that are filled by a DataMoverRestore, in both worlds: real binders, a real garbage collector, our node as the driver, the real mover and rclone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names, reasons
from datamover.api.names import RESTORE_POPULATOR_NAME, FillingReason, RestorePhase
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore
from kubekit.client.errors import NotFound
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, SELECTED_NODE
from kubekit.words.populator import VOLUME_POPULATORS
from support.definitions import POPULATORS
from support.filling import VOLUMES
from support.s3 import S3Server
from support.scenario import CLASS, TREE, Cluster, embedded_cluster

SECRET = "storage-credentials"
LATE = f"{CLASS}-late"


async def back_up(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data")
    await cluster.create_mover("nightly", deletePvcAfterBackup=True)
    await cluster.wait_phase("nightly", "Completed")


async def ask(cluster: Cluster, *, storage_class: str = CLASS, restore: str = "back", **spec: Any) -> Any:
    """Create the claim."""
    source = {"apiGroup": names.GROUP, "kind": "DataMoverRestore", "name": restore}
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": "2Gi"}},
        "dataSourceRef": source,
        **spec,
    }
    return await cluster.create(PERSISTENT_VOLUME_CLAIMS, "data", spec=wanted)


async def restore(cluster: Cluster, **spec: Any) -> None:
    wanted = {"source": {"dataMover": "nightly"}, "target": {"claimName": "data"}, **spec}
    await cluster.create(DATA_MOVER_RESTORES, "back", spec=wanted)


async def use(cluster: Cluster) -> None:
    """Say where the first Pod of the claim is to run, as the scheduler does."""
    patch = {"metadata": {"annotations": {SELECTED_NODE: cluster.node.name}}}
    await cluster.client.patch(
        PERSISTENT_VOLUME_CLAIMS, "data", patch, namespace=cluster.namespace, field_manager="scheduler"
    )


async def seen(cluster: Cluster, holds: Callable[[DataMoverRestore], bool]) -> DataMoverRestore:
    found: list[DataMoverRestore] = []

    async def is_so() -> bool:
        found[:] = [await cluster.client.get(DATA_MOVER_RESTORES, "back", namespace=cluster.namespace)]
        return holds(found[0])

    try:
        await cluster.wait_for(is_so, seconds=60)
    except AssertionError:
        raise AssertionError(found[0].status) from None
    return found[0]


def at(*phases: str) -> Callable[[DataMoverRestore], bool]:
    return lambda each: each.status is not None and each.status.phase in phases


def because(reason: str) -> Callable[[DataMoverRestore], bool]:
    def holds(each: DataMoverRestore) -> bool:
        ready = each.status.condition("Ready") if each.status is not None else None
        return ready is not None and ready.reason == reason

    return holds


async def told(cluster: Cluster, reason: str) -> None:
    async def is_told() -> bool:
        return reason in {each for _, each in await cluster.events("data")}

    await cluster.wait_for(is_told)


async def files(cluster: Cluster) -> dict[str, bytes]:
    """Return what is in the claim, which is bound."""
    claim = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=cluster.namespace)
    assert claim.status.phase == "Bound"
    volume = await cluster.client.get(VOLUMES, claim.spec.volume_name)
    top = Path(volume.directory)
    return {str(each.relative_to(top)): each.read_bytes() for each in top.rglob("*") if each.is_file()}


async def phase_of_claim(cluster: Cluster) -> str:
    claim = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=cluster.namespace)
    return claim.status.phase or ""


async def temporaries(cluster: Cluster) -> list[str]:
    claims = await cluster.client.list(PERSISTENT_VOLUME_CLAIMS, namespace=cluster.namespace)
    jobs = await cluster.client.list(JOBS, namespace=cluster.namespace)
    return [
        each.metadata.name
        for each in (*claims, *jobs)
        if each.metadata.name.startswith((names.RESTORE_PRIME_PREFIX, names.RESTORE_PREFIX))
        and each.metadata.name != "restore"
    ]


async def nothing_left(cluster: Cluster) -> None:
    async def is_gone() -> bool:
        return not await temporaries(cluster)

    await cluster.wait_for(is_gone)


@pytest.mark.parametrize("first", ["claim", "restore"])
async def test_a_claim_has_its_volume_when_all_is_there_whatever_was_created_first(
    cluster: Cluster, s3: S3Server, first: str
) -> None:
    await back_up(cluster, s3)
    if first == "claim":
        await ask(cluster)
        await told(cluster, FillingReason.RESTORE_NOT_FOUND)
        await restore(cluster)
    else:
        await restore(cluster)
        await seen(cluster, because(reasons.TARGET_NOT_FOUND))
        await ask(cluster)

    done = await seen(cluster, at(RestorePhase.COMPLETED, RestorePhase.FAILED))

    assert because(reasons.COMPLETED)(done), done.status
    assert await files(cluster) == TREE
    assert not await temporaries(cluster)
    await told(cluster, FillingReason.POPULATED)
    claim = await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "data", namespace=cluster.namespace)
    volume = await cluster.client.get(PERSISTENT_VOLUMES, claim.spec.volume_name)
    assert done.status is not None
    assert done.status.run is not None
    assert (done.status.run.claim_uid, done.status.run.claim) == (claim.metadata.uid, "data")
    assert volume.metadata.annotation(names.POPULATED_BY_ANNOTATION) == done.metadata.uid
    await cluster.client.delete(DATA_MOVER_RESTORES, "back", namespace=cluster.namespace)
    await cluster.wait_gone(DATA_MOVER_RESTORES, "back")
    assert await files(cluster) == TREE, "the claim is its user's"


async def test_a_class_that_binds_on_first_use_is_filled_where_the_first_pod_is_to_run(
    cluster: Cluster, s3: S3Server
) -> None:
    await back_up(cluster, s3)
    await ask(cluster, storage_class=LATE)
    await restore(cluster)
    await seen(cluster, because(reasons.WAITING_FOR_CONSUMER))
    await told(cluster, reasons.WAITING_FOR_CONSUMER)
    assert not await temporaries(cluster)
    await use(cluster)

    done = await seen(cluster, at(RestorePhase.COMPLETED, RestorePhase.FAILED))

    assert because(reasons.COMPLETED)(done), done.status
    assert await files(cluster) == TREE
    assert not await temporaries(cluster)


async def test_a_failure_leaves_the_claim_without_a_volume_and_says_so_there(cluster: Cluster, s3: S3Server) -> None:
    await back_up(cluster, s3)
    await ask(cluster)
    await restore(cluster, point="2001-01-01-000000")
    failed = await seen(cluster, at(RestorePhase.COMPLETED, RestorePhase.FAILED))
    assert at(RestorePhase.FAILED)(failed), failed.status
    assert failed.status is not None
    await told(cluster, (failed.status.condition("Ready") or pytest.fail("says nothing")).reason)
    assert await phase_of_claim(cluster) == "Pending"
    (prime, *_) = [each for each in await temporaries(cluster) if each.startswith(names.RESTORE_PRIME_PREFIX)]
    assert prime == f"{names.RESTORE_PRIME_PREFIX}{failed.metadata.uid}"
    # the claim goes: so does what was made for it
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace=cluster.namespace)
    await nothing_left(cluster)


async def test_a_retry_of_a_restore_that_failed_fills_the_claim(cluster: Cluster, s3: S3Server) -> None:
    await back_up(cluster, s3)
    key = {"name": "AWS_SECRET_ACCESS_KEY", "value": "another-one"}
    await ask(cluster)
    await restore(cluster, additionalEnv=[key])
    failed = await seen(cluster, at(RestorePhase.COMPLETED, RestorePhase.FAILED))
    assert at(RestorePhase.FAILED)(failed), failed.status
    assert await phase_of_claim(cluster) == "Pending"

    again = {"metadata": {"annotations": {names.RETRY_ANNOTATION: "1"}}, "spec": {"additionalEnv": []}}
    await cluster.client.patch(
        DATA_MOVER_RESTORES, "back", again, namespace=cluster.namespace, field_manager="somebody"
    )

    done = await seen(cluster, lambda each: at(RestorePhase.COMPLETED)(each) or because(reasons.COMPLETED)(each))
    assert because(reasons.COMPLETED)(done), done.status
    assert await files(cluster) == TREE
    assert not await temporaries(cluster)


async def test_a_claim_that_is_deleted_in_the_middle_takes_along_what_was_made_for_it(
    cluster: Cluster, s3: S3Server
) -> None:
    await back_up(cluster, s3)
    await ask(cluster)
    await restore(cluster, additionalEnv=[{"name": "RCLONE_BWLIMIT", "value": "20k"}])
    await seen(cluster, at(RestorePhase.RESTORING))
    await cluster.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace=cluster.namespace)
    await seen(cluster, because(reasons.TARGET_LOST))
    await nothing_left(cluster)


async def test_a_restore_into_another_claim_is_told_at_the_claim_that_names_it(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await ask(cluster)
    await restore(cluster, source={"bucket": {"secretName": SECRET}}, target={"claimName": "other"})
    await told(cluster, FillingReason.NOT_FOR_CLAIM)
    assert await phase_of_claim(cluster) == "Pending"


@pytest.mark.parametrize("moment", ["prime made", "mover started", "clean-up"])
async def test_an_operator_that_is_killed_is_gone_on_from(tmp_path: Path, s3: S3Server, moment: str) -> None:
    async with embedded_cluster(tmp_path) as cluster:
        await back_up(cluster, s3)
        await ask(cluster)
        await restore(cluster)

        async def come() -> bool:
            found = await cluster.client.get(DATA_MOVER_RESTORES, "back", namespace=cluster.namespace)
            phase = found.status.phase if found.status is not None else ""
            if moment == "prime made":
                return bool(await temporaries(cluster))
            wanted = RestorePhase.RESTORING if moment == "mover started" else RestorePhase.CLEANING_UP
            return phase in (wanted, RestorePhase.COMPLETED)

        await cluster.wait_for(come)
        await cluster.crew.kill()
        cluster.crew.begin(cluster.crew.hire())
        done = await seen(cluster, at(RestorePhase.COMPLETED, RestorePhase.FAILED))
        assert because(reasons.COMPLETED)(done), done.status
        assert await files(cluster) == TREE
        assert not await temporaries(cluster)


async def test_the_cluster_is_told_that_such_claims_are_filled(cluster: Cluster) -> None:
    name = POPULATORS["metadata"]["name"]
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, POPULATORS)
    try:

        async def registered() -> bool:
            try:
                found = await cluster.client.get(VOLUME_POPULATORS, RESTORE_POPULATOR_NAME)
            except NotFound:
                return False
            kind = found.source_kind
            return kind is not None and (kind.group, kind.kind) == (names.GROUP, "DataMoverRestore")

        await cluster.wait_for(registered)
    finally:
        await cluster.client.delete(CUSTOM_RESOURCE_DEFINITIONS, name)
        await cluster.wait_gone(CUSTOM_RESOURCE_DEFINITIONS, name)
