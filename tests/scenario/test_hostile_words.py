"""What a mover says is believed only as far as it can be read: the run ends, with a reason, whatever it says. In both worlds."""

import pytest

from datamover.api import outside, reasons, transfer
from datamover.api.v1alpha1.datamover import DataMover
from kubekit.words.core import EVENTS
from support.s3 import S3Server
from support.scenario import TALKER, Cluster, ready_reason

OUTCOME = '{"datamover":"outcome",'
HOSTILE = {
    "too deep": OUTCOME + '"x":[@3000',
    "a number that no field holds": OUTCOME + '"files":1e26}',
    "a number that no field holds, in digits": OUTCOME + '"bytes":' + "9" * 26 + "}",
    "a negative number": OUTCOME + '"transferredBytes":-5}',
    "half of a letter": OUTCOME + '"message":"\\ud800"}',
}


async def end(cluster: Cluster, s3: S3Server, *, words: str, code: int, log: str = "") -> DataMover:
    await cluster.create_secret("storage-credentials", s3.secret())
    await cluster.create_volume("app-data")
    said = {"WORDS": words, "CODE": str(code), "LOG": log}
    await cluster.create_mover(
        "talks",
        image={"repository": TALKER},
        additionalEnv=[{"name": name, "value": value} for name, value in said.items()],
    )
    return await cluster.wait_phase("talks", "Failed", "Completed")


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_success_whose_outcome_cannot_be_read_is_told_as_unverified(
    case: str, cluster: Cluster, s3: S3Server
) -> None:
    done = await end(cluster, s3, words=HOSTILE[case], code=0)

    assert done.status is not None
    verified = done.status.condition("Verified")
    assert verified is not None
    assert (done.status.phase, verified.status, verified.reason) == ("Completed", "Unknown", reasons.OUTCOME_MISSING)
    assert "left an outcome that cannot be used: it " in (verified.message or "")
    assert done.status.run is not None
    assert done.status.run.files is None


async def test_a_failure_whose_outcome_cannot_be_read_has_a_reason(cluster: Cluster, s3: S3Server) -> None:
    failed = await end(cluster, s3, words=HOSTILE["too deep"], code=transfer.TERMINAL_EXIT_CODES[0])

    assert failed.status is not None
    assert ready_reason(failed) in (reasons.MOVER_FAILED, reasons.BACKOFF_LIMIT_EXCEEDED)
    assert "left an outcome that cannot be used: it has more than" in (failed.status.message or "")


async def test_what_a_mover_says_cannot_move_the_cursor_of_whoever_reads_it(cluster: Cluster, s3: S3Server) -> None:
    words = OUTCOME + '"class":"network","reason":"ServerUnreachable","message":"\\u001b[2J\\u202eall is well\\n"}'
    failed = await end(cluster, s3, words=words, code=transfer.TERMINAL_EXIT_CODES[0])

    assert failed.status is not None
    texts = [failed.status.message or "", *(said.message or "" for said in failed.status.conditions or ())]
    texts += [event.message or "" for event in await cluster.client.list(EVENTS, namespace=cluster.namespace)]
    assert any("\\x1b[2J\\u202eall is well" in text for text in texts)
    for text in texts:
        assert outside.clean(text) == text


async def test_progress_is_found_however_many_files_are_told_one_by_one(cluster: Cluster, s3: S3Server) -> None:
    await cluster.create_secret("storage-credentials", s3.secret())
    await cluster.create_volume("app-data", {f"folder-{n % 20}/file-{n}": b"x" for n in range(600)})
    slow = {"RCLONE_VERBOSE": "1", "RCLONE_TPSLIMIT": "150"}
    await cluster.create_mover("talks", additionalEnv=[{"name": name, "value": value} for name, value in slow.items()])
    moving = await cluster.wait_mover(
        "talks", lambda mover: bool(mover.status and mover.status.run and "%" in (mover.status.run.progress or ""))
    )
    assert moving.status is not None
    assert moving.status.run is not None
    assert moving.status.run.total_files == 600
    assert (await cluster.wait_phase("talks", "Completed")).status is not None
