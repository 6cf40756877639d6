"""Attempts that are ended, politely or not. Real engine, real servers."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.proxy import Proxy
from support.s3 import S3Server, wait_for


def wait_until_gone(pids: list[int]) -> None:
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), seconds=5)


def test_sigterm_amid_a_large_file_leaves_no_pending_upload(any_container: Container, any_s3: S3Server) -> None:
    (any_container.data / "large").write_bytes(os.urandom(1 << 20) * 60)
    with (
        Proxy(any_s3.port, rate=5_000_000) as proxy,
        any_container.start(
            BUCKET_PORT=str(proxy.port), RCLONE_S3_UPLOAD_CUTOFF="5M", RCLONE_S3_CHUNK_SIZE="5M"
        ) as running,
    ):
        wait_for(lambda: '"phase":"syncing"' in running.output)
        if any_s3.name == "versitygw":
            wait_for(lambda: any_s3.pending_uploads() > 0)
        else:
            time.sleep(1.5)
        running.terminate()
        ended = running.wait(timeout=30)
    assert ended.code == transfer.EXIT_SIGTERM
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.INTERRUPTED, transfer.REASON_INTERRUPTED)
    assert outcome.retryable
    assert any_s3.pending_uploads() == 0
    assert any_s3.objects() == {}


@pytest.mark.parametrize("mode", ["false", "true"])
def test_kill_9_and_another_attempt_end_in_one_whole_copy(container: Container, s3: S3Server, mode: str) -> None:
    for number in range(200):
        (container.data / f"file-{number:03}").write_bytes(bytes(3000))
    same = {"DATAMOVER_RUN_ID": "run-1", "DATAMOVER_TIMESTAMP": "2024-08-06-143052", "ADD_TIMESTAMP_PREFIX": mode}
    for _ in range(3):
        with (
            Proxy(s3.port, rate=400_000) as proxy,
            container.start(BUCKET_PORT=str(proxy.port), RCLONE_TRANSFERS="2", RCLONE_VERBOSE="1", **same) as running,
        ):
            wait_for(lambda: running.output.count("Copied (new)") > 20 or "There was nothing" in running.output)
            children = running.children()
            running.process.kill()
            running.process.wait()
            if shutil.which("setpriv"):
                wait_until_gone(children)
    ended = container.run(**same)
    assert ended.code == 0, ended.output
    folder = "2024-08-06-143052" if mode == "true" else ""
    assert len(s3.objects(folder)) == 200
    assert len(s3.objects()) == 200
    assert ended.outcome.transferred_files < 200


@pytest.mark.parametrize("any_s3", ["versitygw"], indirect=True)  # the other one does not show its pending uploads
def test_another_attempt_clears_the_uploads_that_a_killed_one_left_in_its_folder(
    any_container: Container, any_s3: S3Server
) -> None:
    (any_container.data / "large").write_bytes(os.urandom(1 << 20) * 40)
    same = {
        "ADD_TIMESTAMP_PREFIX": "true",
        "DATAMOVER_RUN_ID": "run-1",
        "RCLONE_S3_UPLOAD_CUTOFF": "5M",
        "RCLONE_S3_CHUNK_SIZE": "5M",
    }
    with (
        Proxy(any_s3.port, rate=5_000_000) as proxy,
        any_container.start(BUCKET_PORT=str(proxy.port), **same) as running,
    ):
        wait_for(lambda: any_s3.pending_uploads() > 0)
        for pid in running.children():
            os.kill(pid, signal.SIGKILL)
        running.process.kill()
    assert any_s3.pending_uploads() > 0
    time.sleep(1.1)  # uploads of the last second are left alone
    ended = any_container.run(**same)
    assert ended.code == 0, ended.output
    assert any_s3.pending_uploads() == 0
    assert len(any_s3.objects()) == 1


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
def test_no_engine_outlives_its_agent(container: Container, s3: S3Server) -> None:
    (container.data / "large").write_bytes(bytes(20_000_000))
    with (
        Proxy(s3.port, rate=1_000_000) as proxy,
        container.start(BUCKET_PORT=str(proxy.port)) as running,
    ):
        wait_for(lambda: '"phase":"syncing"' in running.output and len(running.children()) >= 2)
        children = running.children()
        running.process.kill()
        wait_until_gone(children)


def test_sigint_is_told_as_an_interruption_too(container: Container, s3: S3Server) -> None:
    (container.data / "large").write_bytes(bytes(20_000_000))
    with Proxy(s3.port, rate=1_000_000) as proxy, container.start(BUCKET_PORT=str(proxy.port)) as running:
        wait_for(lambda: '"phase":"syncing"' in running.output)
        running.process.send_signal(signal.SIGINT)
        ended = running.wait(timeout=30)
    assert ended.code == 130
    assert ended.outcome.failure_class == transfer.INTERRUPTED


def test_a_mirror_that_failed_half_way_goes_on_with_a_new_run(container: Container, s3: S3Server) -> None:
    for number in range(100):
        (container.data / f"file-{number:03}").write_bytes(bytes(3000))
    with (
        Proxy(s3.port, rate=200_000) as proxy,
        container.start(
            BUCKET_PORT=str(proxy.port), RCLONE_TRANSFERS="2", RCLONE_VERBOSE="1", DATAMOVER_RUN_ID="run-1"
        ) as running,
    ):
        wait_for(lambda: running.output.count("Copied (new)") > 5)
        running.terminate()
        running.wait()
    moved = sorted(s3.objects())
    (
        container.data / moved[0]
    ).unlink()  # what an unfinished run moved is known to be ours, and goes when the source lets it go
    ended = container.run(DATAMOVER_RUN_ID="run-2")
    assert ended.code == 0, ended.output
    assert ended.outcome.deleted == 1
    assert len(s3.objects()) == 99
