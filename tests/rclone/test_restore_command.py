"""`datamover restore` as a process: a Secret in a file, a bucket and nothing else. Real engine and server."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from datamover.api import transfer
from support.agent import Container
from support.fidelity import fingerprint
from support.memory_s3 import MemoryS3
from support.points import datamover, environment, write_secret
from support.s3 import S3Server

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")
RUN = "20240801143052-run"
MARK = ".datamover-restore"


class Command:
    """The command line over one bucket; `changes` are other keys of its Secret, and variables of ours."""

    def __init__(self, server: S3Server | MemoryS3, folder: Path, **changes: str) -> None:
        self.ours = {name: value for name, value in changes.items() if name.startswith(("DATAMOVER_", "TMPDIR"))}
        theirs = {name: value for name, value in changes.items() if name not in self.ours}
        self.secret = write_secret(folder / "secret.yaml", server.secret(**theirs))

    def start(self, *arguments: str | Path) -> subprocess.Popen[bytes]:
        source = str(Path(transfer.__file__).parents[2])
        return subprocess.Popen(
            [sys.executable, "-m", "datamover.cli.main", "restore", "--secret", self.secret, *arguments],
            env=environment(self.ours, PYTHONPATH=source, HOME=str(self.secret.parent)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, errors = process.communicate(timeout=90)
        assert b"Traceback" not in out + errors, errors.decode()
        return process.returncode, out.decode(), errors.decode()

    def document(self, *arguments: str | Path) -> dict[str, Any]:
        code, out, errors = self.run(*arguments, "-o", "json")
        found = json.loads(out)
        assert found["exitCode"] == code, errors
        return found


@pytest.fixture
def command(s3: S3Server, tmp_path: Path) -> Command:
    return Command(s3, tmp_path)


def back_up(container: Container, **changes: str | None) -> None:
    ended = container.run(DATAMOVER_RUN_ID=RUN, DATAMOVER_TIMESTAMP="2024-08-01-143052", **changes)
    assert ended.code == 0, ended.output


@pytest.fixture
def before(container: Container) -> dict[bytes, Any]:
    """What was backed up: three hundred small files and a large one."""
    for number in range(300):
        folder = container.data / f"{number % 10}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}").write_bytes(b"%d" % number * 100)
    (container.data / "large").write_bytes(os.urandom(20 << 20))
    (container.data / "link").symlink_to("large")
    found = fingerprint(container.data)
    back_up(container)
    return found


@needs_root
def test_a_bucket_and_its_key_bring_everything_back(command: Command, before: dict[bytes, Any], tmp_path: Path) -> None:
    code, out, errors = command.run("latest", tmp_path / "target")
    assert (code, errors) == (0, "")
    assert fingerprint(tmp_path / "target") == before
    assert out.splitlines()[-1].startswith(
        f"Restored 2024-08-01-143052 of production/app-data into {tmp_path}/target: 301 files (20.0 MiB), every one compared with the manifest by its checksum."
    )
    told = command.document(RUN, tmp_path / "other", "--path", "3/13")
    assert (told["target"], told["files"], told["path"], told["losses"]) == ("whole", 1, "3/13", [])
    assert told["point"] == {
        "run": RUN,
        "moment": "2024-08-01-143052",
        "volume": "production/app-data",
        "state": "complete",
    }


def test_what_cannot_be_restored_or_restored_into_ends_with_two_and_a_document(
    command: Command, before: dict[bytes, Any], tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    (tmp_path / "link").symlink_to("full")
    for arguments, reason in (
        (("latest", tmp_path / "full"), transfer.REASON_TARGET_NOT_EMPTY),
        (("latest", tmp_path / "link"), transfer.REASON_TARGET_UNUSABLE),
        (("2023-01-01-000000", tmp_path / "target"), transfer.REASON_POINT_NOT_FOUND),
        (("latest", tmp_path / "target", "--path", "nowhere"), transfer.REASON_PATH_NOT_FOUND),
    ):
        told = command.document(*arguments)
        assert told["exitCode"] == 2, told
        assert (told["reason"], told["target"]) == (reason, "untouched")
    assert not (tmp_path / "target").exists()
    assert os.listdir(tmp_path / "full") == ["mine"]
    # one that was marked before is not called untouched
    (tmp_path / "begun" / MARK).mkdir(parents=True)
    (tmp_path / "begun" / MARK / "marker.json").write_text("nothing that can be read")
    for point, reason in (
        ("latest", transfer.REASON_TARGET_UNFINISHED),
        ("2023-01-01-000000", transfer.REASON_POINT_NOT_FOUND),
    ):
        told = command.document(point, tmp_path / "begun")
        assert (told["exitCode"], told["reason"], told["target"]) == (2, reason, "marked")


def wait_for_files(target: Path, process: subprocess.Popen[bytes], least: int) -> None:
    end = time.monotonic() + 60
    while sum(len(files) for _, _, files in os.walk(target / MARK / "files")) < least:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_in_the_middle_the_directory_is_marked_and_the_same_command_goes_on(
    command: Command, before: dict[bytes, Any], tmp_path: Path, number: int
) -> None:
    target = tmp_path / "target"
    with command.start("latest", target, "-o", "json") as process:
        wait_for_files(target, process, 30)
        process.send_signal(number)
        out, _ = process.communicate(timeout=60)
    assert json.loads((target / MARK / "marker.json").read_text())["run"] == RUN
    if number == signal.SIGKILL:
        assert (process.returncode, out) == (-signal.SIGKILL, b"")
    else:
        told = json.loads(out)
        assert (process.returncode, told["exitCode"]) == (128 + number, 128 + number)
        assert (told["reason"], told["target"]) == (transfer.REASON_INTERRUPTED, "marked")
    told = command.document("latest", target)
    assert (told["exitCode"], told["target"], told["resumed"]) == (0, "whole", True)
    assert fingerprint(target) == before


def test_a_server_that_is_away_is_waited_for_and_that_is_said(s3: S3Server, tmp_path: Path) -> None:
    given = s3.secret(BUCKET_PORT="1")
    write_secret(tmp_path / "secret.yaml", given)
    said = datamover(
        *("restore", "--secret", tmp_path / "secret.yaml", "latest", tmp_path / "target"),
        environ={"DATAMOVER_OUTAGE_LIMIT": "3"},
    )
    assert said.code == 3
    assert said.text.splitlines()[0] == "asking the store"
    assert said.errors.startswith("waiting: ")
    assert not (tmp_path / "target").exists()
