"""Backups and restores that are cancelled on their way, in both worlds: by `spec.cancel`, asked for as `datamover cancel` does."""

from typing import Any

from datamover.api import names, reasons
from datamover.api.names import ConditionType, Phase, RestorePhase
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES
from datamover.cli.cancelling import Exit, cancel
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.s3 import S3Server
from support.scenario import Cluster

SECRET = "storage-credentials"
FILES = {f"file-{number}": bytes([number]) * 200_000 for number in range(8)}
SLOW = [{"name": "RCLONE_BWLIMIT", "value": "100k"}, {"name": "RCLONE_TRANSFERS", "value": "1"}]


async def ask_for_its_end(cluster: Cluster, kind: str, name: str) -> Any:
    told = await cancel(cluster.client, kind, name, namespace=cluster.namespace, wait=True)
    assert told.code is Exit.CANCELLED, told.sentence
    assert "cancelled by spec.cancel" in told.sentence
    return told.found


async def test_a_backup_that_is_cancelled_leaves_nothing_temporary_and_the_next_one_goes_on(
    cluster: Cluster, s3: S3Server
) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data", FILES)
    await cluster.create_mover("nightly", deletePvcAfterBackup=True, additionalEnv=SLOW)
    await cluster.wait_mover(
        "nightly", lambda mover: bool(mover.status and mover.status.run and mover.status.run.files)
    )

    ended = await ask_for_its_end(cluster, "datamover", "nightly")

    assert ended.status.phase == Phase.FAILED
    for condition, status in ((ConditionType.COMPLETE, "False"), (ConditionType.FAILED, "True")):
        found = ended.status.condition(condition)
        assert (found.status, found.reason) == (status, reasons.CANCELLED)
    assert not any((await cluster.children()).values()), "clone, snapshot and Job are gone"
    assert cluster.metric("datamover_data_sync_operations_total", status="cancelled") == 1
    assert cluster.metric("datamover_data_sync_operations_total", status="failure") == 0
    assert (
        await cluster.client.get(PERSISTENT_VOLUME_CLAIMS, "app-data", namespace=cluster.namespace)
    ).status.phase == "Bound"
    again = await cancel(cluster.client, "datamover", "nightly", namespace=cluster.namespace, wait=False)
    assert again.code is Exit.CANCELLED, "asked twice, it still is cancelled"

    await cluster.create_mover("next", deletePvcAfterBackup=True)
    await cluster.wait_phase("next", Phase.COMPLETED)
    assert {key: (s3.bucket() / key).read_bytes() for key in FILES} == FILES


async def test_a_restore_that_is_cancelled_leaves_its_claim_marked_and_a_retry_makes_it_whole(
    cluster: Cluster, s3: S3Server
) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data", FILES)
    await cluster.create_mover("nightly", deletePvcAfterBackup=True)
    await cluster.wait_phase("nightly", Phase.COMPLETED)
    place = await cluster.create_volume("restored", {})
    wanted = {"source": {"dataMover": "nightly"}, "target": {"claimName": "restored"}, "additionalEnv": SLOW}
    await cluster.create(DATA_MOVER_RESTORES, "back", spec=wanted)

    async def is_marked() -> bool:
        return (place / ".datamover-restore").exists()

    await cluster.wait_for(is_marked)

    ended = await ask_for_its_end(cluster, "datamoverrestore", "back")

    assert (ended.status.phase, ended.status.run.target) == (RestorePhase.FAILED, "marked")
    assert (place / ".datamover-restore").exists()
    assert not any((await cluster.children()).values())
    again = {
        "metadata": {"annotations": {names.RETRY_ANNOTATION: "1"}},
        "spec": {"cancel": False, "additionalEnv": []},
    }
    await cluster.client.patch(
        DATA_MOVER_RESTORES, "back", again, namespace=cluster.namespace, field_manager="somebody"
    )

    async def is_whole() -> bool:
        found = await cluster.client.get(DATA_MOVER_RESTORES, "back", namespace=cluster.namespace)
        return found.status.phase == RestorePhase.COMPLETED

    await cluster.wait_for(is_whole)
    assert {each.name: each.read_bytes() for each in place.iterdir()} == FILES
