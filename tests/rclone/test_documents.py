"""What the synchronization document says, word for word: variables, debug settings, greps. And that no secret is ever seen."""

import contextlib
import os
import re
import time
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.proxy import Proxy
from support.s3 import S3Server, wait_for

CANARY_TOKEN = "FwoGZXIvYXdzEcanary0123456789"


def fill(container: Container, count: int = 4) -> None:
    for number in range(count):
        (container.data / f"file-{number}").write_bytes(bytes(1000))


def test_the_documents_debug_settings_work_and_show_no_secret(container: Container, s3: S3Server) -> None:
    fill(container)
    for changes in ({}, {"AWS_SECRET_ACCESS_KEY": "wrong/but+secret=0123456789"}, {"AWS_SESSION_TOKEN": CANARY_TOKEN}):
        ended = container.run(RCLONE_VERBOSE="2", RCLONE_LOG_LEVEL="DEBUG", RCLONE_DUMP="headers", **changes)
        told = ended.output + ended.errors + ended.message.decode()
        for secret in (s3.secret_key, s3.access_key, CANARY_TOKEN, "wrong/but+secret=0123456789"):
            assert secret not in told
        assert "DEBUG" in ended.said
        assert "HTTP REQUEST" in ended.said
        assert not re.search(r"Signature=(?!\[redacted)[0-9a-f]", told)
        if "AWS_SECRET_ACCESS_KEY" not in changes and "AWS_SESSION_TOKEN" not in changes:
            assert ended.code == 0, ended.said[-2000:]


def test_no_secret_is_on_a_command_line_or_in_a_file(container: Container, s3: S3Server) -> None:
    (container.data / "large").write_bytes(bytes(5_000_000))
    seen: list[bytes] = []
    with Proxy(s3.port, rate=2_000_000) as proxy, container.start(BUCKET_PORT=str(proxy.port)) as running:
        while running.process.poll() is None:
            for pid in [running.process.pid, *running.children()]:
                try:
                    seen.append(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue
            for folder, _, files in os.walk(container.root / "config"):  # which passes over what goes meanwhile
                for path in (Path(folder) / name for name in files):
                    with contextlib.suppress(FileNotFoundError):
                        if path.is_file():  # there is a socket as well
                            seen.append(path.read_bytes())
            time.sleep(0.02)
        assert running.wait().code == 0
    everything = b"\n".join(seen)
    assert b"rclone" in everything
    assert b"s3generic:backups/" in everything
    assert s3.secret_key.encode() not in everything
    assert s3.access_key.encode() not in everything


@pytest.mark.parametrize(
    "level", [{}, {"RCLONE_LOG_LEVEL": "ERROR"}, {"RCLONE_QUIET": "true"}, {"RCLONE_PROGRESS": "true"}]
)
def test_the_documented_grep_finds_the_statistics(container: Container, level: dict[str, str]) -> None:
    fill(container)
    ended = container.run(**level)
    assert ended.code == 0
    found = [line for line in ended.output.splitlines() if "Transferred:" in line]
    assert any(re.match(r"Transferred:\s+3\.906 KiB / 3\.906 KiB, 100%, .*ETA", line) for line in found)
    assert any(re.match(r"Transferred:\s+4 / 4, 100%", line) for line in found)


def test_engine_variables_of_the_user_win(container: Container) -> None:
    fill(container)
    ended = container.run(RCLONE_TRANSFERS="8", RCLONE_CHECKERS="16", RCLONE_LOG_LEVEL="DEBUG", RCLONE_SIZE_ONLY="true")
    assert ended.code == 0
    assert 'RCLONE_TRANSFERS="8"' in ended.said
    assert 'RCLONE_CHECKERS="16"' in ended.said
    assert "RCLONE_CHECKSUM" not in ended.said
    assert ended.outcome.comparison == "user"


def test_options_of_the_remote_can_be_overridden_by_its_name(container: Container, s3: S3Server) -> None:
    fill(container)
    ended = container.run(BUCKET_PORT="1", RCLONE_CONFIG_S3GENERIC_ENDPOINT=f"http://127.0.0.1:{s3.port}")
    assert ended.code == 0, ended.output
    assert len(s3.objects()) == 4


def test_the_documents_word_for_bandwidth_limits_it(container: Container) -> None:
    (container.data / "file").write_bytes(bytes(600_000))
    begun = time.monotonic()
    assert container.run(RCLONE_BW_LIMIT="200k").code == 0
    assert time.monotonic() - begun > 2


def test_large_file_settings_of_the_documents_are_accepted(container: Container) -> None:
    fill(container)
    assert container.run(RCLONE_MULTI_THREAD_CUTOFF="50M", RCLONE_MULTI_THREAD_STREAMS="4").code == 0


def test_progress_is_told_once_a_second_and_ends_complete(container: Container, s3: S3Server) -> None:
    for number in range(30):
        (container.data / f"file-{number}").write_bytes(bytes(50_000))
    with Proxy(s3.port, rate=500_000) as proxy:
        ended = container.run(BUCKET_PORT=str(proxy.port), RCLONE_TRANSFERS="1", DATAMOVER_RUN_ID="run-1")
    assert ended.code == 0
    told = ended.progress
    assert {progress.run_id for progress in told} == {"run-1"}
    syncing = [progress for progress in told if progress.phase == transfer.SYNCING]
    assert len(syncing) >= 3
    assert len(syncing) <= syncing[-1].elapsed - syncing[0].elapsed + 2
    assert [progress.bytes for progress in syncing] == sorted(progress.bytes for progress in syncing)
    assert all(progress.total_files == 30 and progress.total_bytes == 1_500_000 for progress in syncing)
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases == [transfer.PROBING, transfer.WALKING, transfer.SYNCING, transfer.VERIFYING, transfer.RECORDING]
    assert (told[-1].files, told[-1].bytes) == (30, 1_500_000)


def test_white_space_around_a_secret_is_no_reason_to_fail(container: Container, s3: S3Server) -> None:
    fill(container)
    ended = container.run(AWS_SECRET_ACCESS_KEY=f"{s3.secret_key}\n", BUCKET_HOST="127.0.0.1 ")
    assert ended.code == 0, ended.output
    assert "AWS_SECRET_ACCESS_KEY has white space" in ended.said


def test_nothing_of_ours_is_left_in_the_container(container: Container) -> None:
    fill(container)
    container.run()
    assert {path.name for path in (container.root / "config").iterdir()} <= {"rclone.conf"}


def test_a_run_without_a_termination_file_tells_its_outcome_on_standard_output(container: Container) -> None:
    fill(container)
    with container.start() as running:
        (container.root / "dev" / "termination-log").unlink()
        (container.root / "dev").rmdir()
        wait_for(lambda: running.process.poll() is not None)
        outcome = transfer.decode_outcome(running.output.splitlines()[-1])
        (container.root / "dev").mkdir()
        (container.root / "dev" / "termination-log").touch()
    assert outcome is not None
    assert outcome.succeeded
