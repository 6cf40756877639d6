"""What a backup has left is verified again by the operator, in both worlds: a byte that turns over at the store is found, told, and found to be well again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from datamover.api.names import ConditionType, Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.plans.status import to_manifest
from kubekit.client.errors import Conflict
from kubekit.words.timestamps import moment_of, seconds
from support.s3 import S3Server
from support.scenario import Cluster

SECRET = "storage-credentials"
FILES = {f"file-{number}": bytes([number]) * 2_000 for number in range(4)}
LONG_AGO = seconds(datetime.now(UTC) - timedelta(days=8))


async def let_a_week_pass(cluster: Cluster, name: str) -> None:
    """Write the last verification, and the end of the one that was made again, into the past: nobody waits a week for a test.

    A second has to pass all the same: it is what the ids of two verifications differ by.
    """
    await asyncio.sleep(1.0)
    while True:
        mover = await cluster.mover(name)
        assert mover is not None
        assert mover.status is not None
        record = mover.status.verification
        past = replace(mover.status, last_verified=LONG_AGO, verification=record and replace(record, finished=LONG_AGO))
        try:
            await cluster.client.replace(
                DATA_MOVERS, to_manifest(DATA_MOVERS, mover, past), subresource="status", field_manager="a-test"
            )
        except Conflict:
            continue
        return


def ended_after(before: str | None) -> Any:
    """Tell whether another verification than this one has ended."""

    def holds(mover: DataMover) -> bool:
        record = mover.status.verification if mover.status is not None else None
        return record is not None and record.id not in (None, before) and record.finished is not None

    return holds


async def test_a_byte_that_turns_over_is_found_by_the_next_verification(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret(SECRET, s3.secret())
    await cluster.create_volume("app-data", FILES)
    await cluster.create_mover("nightly", deletePvcAfterBackup=True, verify={"method": "Download", "every": "7d"})
    done = await cluster.wait_phase("nightly", Phase.COMPLETED)
    assert done.status is not None
    assert done.status.verification is None, "what was just verified is not verified again"
    stored = s3.bucket() / "file-2"
    whole = stored.read_bytes()
    stored.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])

    await let_a_week_pass(cluster, "nightly")
    found = await cluster.wait_mover("nightly", ended_after(None), seconds=60)

    assert found.status is not None
    assert found.status.verification is not None
    verified = found.status.condition(ConditionType.VERIFIED)
    assert verified is not None
    assert (verified.status, verified.reason) == ("False", "BackupDamaged"), verified.message
    assert "take another one" in verified.message
    assert found.status.last_verified == LONG_AGO, "the last time that it was as it should be"
    assert found.status.phase == Phase.COMPLETED
    await cluster.wait_for(lambda: is_warned_of(cluster, "BackupDamaged"))
    await cluster.wait_for(lambda: is_told_damaged(cluster, True))
    assert cluster.metric("datamover_verifications_total", status="damaged") == 1
    await cluster.wait_for(lambda: is_bare(cluster))

    stored.write_bytes(whole)
    await let_a_week_pass(cluster, "nightly")
    again = await cluster.wait_mover("nightly", ended_after(found.status.verification.id), seconds=60)

    assert again.status is not None
    verified = again.status.condition(ConditionType.VERIFIED)
    assert verified is not None
    assert (verified.status, verified.reason) == ("True", "Verified"), verified.message
    assert again.status.last_verified_method == "Download"
    assert moment_of(again.status.last_verified, default=0.0) > moment_of(LONG_AGO, default=0.0)
    await cluster.wait_for(lambda: is_told_damaged(cluster, False))
    await cluster.wait_for(lambda: is_bare(cluster))
    assert {key: (s3.bucket() / key).read_bytes() for key in FILES} == FILES


async def is_bare(cluster: Cluster) -> bool:
    return not any((await cluster.children()).values())


async def is_told_damaged(cluster: Cluster, wanted: bool) -> bool:
    labels = {"namespace": cluster.namespace, "name": "nightly", "reason": "BackupDamaged"}
    return (
        cluster.registry.get_sample_value("datamover_backup_damaged_timestamp_seconds", labels) is not None
    ) is wanted


async def is_warned_of(cluster: Cluster, reason: str) -> bool:
    return ("Warning", reason) in await cluster.events("nightly")
