"""`datamover run` as its users run it: a process, real rclone, a real S3 server."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from support.documents import DOCUMENTS
from support.s3 import S3Server

CANARY = "canary-4f9c1b7e-not-to-be-seen"
MIRROR = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: mirror}
spec: {sourcePvc: production-data, secretName: backup-credentials, deletePvcAfterBackup: true}
"""


@dataclass
class Desk:
    """A directory with a volume, manifests and a state directory."""

    place: Path

    @property
    def volume(self) -> Path:
        return self.place / "data"

    def secret(self, values: dict[str, str]) -> Path:
        path = self.place / "secret.yaml"
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "backup-credentials"},
            "stringData": values,
        }
        path.write_text(yaml.safe_dump(manifest))
        return path

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "datamover.cli.main", "run", "--state", str(self.place / "state")),
            *("--volume", f"production-data={self.volume}", *arguments),
        ]

    def run(self, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, text=True, timeout=90, check=False
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path)
    found.volume.mkdir()
    for index in range(20):
        (found.volume / f"file-{index}.txt").write_text(f"content {index}")
    return found


def test_the_documents_example_ends_with_zero_and_shows_the_phases_in_order(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret())

    ended = desk.run("-f", str(DOCUMENTS / "nightly-backup.yaml"), "-f", str(secret))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    phases = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("default/nightly-backup")]
    seen = list(dict.fromkeys(phases))
    assert seen == ["CreatingClonedPVC", "ClonedPVCReady", "CreatingPod", "CleaningUp", "Completed"]
    assert "\x1b[" not in ended.stdout, "no colours in a pipe"
    assert str(desk.place / "state") in ended.stdout
    assert len(s3.objects()) == 20


def test_a_second_run_is_incremental_and_json_is_one_document(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret())
    assert desk.run("-f", "-", "-f", str(secret), stdin=MIRROR).returncode == 0
    (desk.volume / "file-3.txt").write_text("changed")
    (desk.volume / "file-4.txt").unlink()

    ended = desk.run("-f", "-", "-f", str(secret), "-o", "json", stdin=MIRROR)

    result = json.loads(ended.stdout)
    run = result["dataMovers"][0]["status"]["run"]
    assert (ended.returncode, result["exitCode"]) == (0, 0)
    assert (run["transferredFiles"], run["deleted"], run["files"]) == (1, 1, 19)
    assert s3.objects()["file-3.txt"] == b"changed"


def test_a_failed_run_ends_with_one_and_says_why(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret(AWS_SECRET_ACCESS_KEY="wrong"))

    ended = desk.run("-f", "-", "-f", str(secret), stdin=MIRROR)

    assert ended.returncode == 1, ended.stdout
    assert "AWS_SECRET_ACCESS_KEY" in ended.stdout
    assert "run the same command" in ended.stdout
    assert s3.objects() == {}


def test_something_that_nobody_will_bring_ends_with_three(desk: Desk) -> None:
    ended = desk.run("-f", "-", stdin=MIRROR)

    assert ended.returncode == 3, ended.stdout
    assert "Secret backup-credentials does not exist" in ended.stdout


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        ("", "holds no object"),
        ("a: [", "is not YAML"),
        ("- 1", "not an object"),
        (MIRROR + "---" + MIRROR, "is there twice"),
        ("{apiVersion: v1, kind: Secret, metadata: {name: x}, stringData: {a: b}}", "nothing to run"),
        (MIRROR.replace("v1alpha1", "v9"), "v9"),
        (MIRROR.replace("sourcePvc: production-data,", ""), "sourcePvc"),
    ],
)
def test_a_manifest_that_is_wrong_ends_with_two_and_one_clear_line(desk: Desk, manifest: str, sentence: str) -> None:
    ended = desk.run("-f", "-", stdin=manifest)

    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_interrupted_run_ends_in_order_and_the_same_command_goes_on(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret())
    (desk.volume / "large.bin").write_bytes(os.urandom(3_000_000))
    slow = MIRROR.replace("spec: {", 'spec: {additionalEnv: [{name: RCLONE_BWLIMIT, value: "500k"}], ')
    (desk.place / "mover.yaml").write_text(slow)
    command = desk.command("-f", str(desk.place / "mover.yaml"), "-f", str(secret))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "CreatingPod" in line:
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)
    assert process.returncode == 130

    (desk.place / "mover.yaml").write_text(MIRROR)
    ended = desk.run("-f", str(desk.place / "mover.yaml"), "-f", str(secret))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(s3.objects()) == 21


def test_a_secret_is_nowhere_on_disk_after_a_run_and_in_no_output(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret(RCLONE_VERBOSE="2", CANARY_TOKEN=CANARY))

    ended = desk.run("-f", "-", "-f", str(secret), "-v", stdin=MIRROR)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    for value in (CANARY, s3.secret_key):
        assert value not in ended.stdout + ended.stderr
        for path in (desk.place / "state").rglob("*"):
            if path.is_file():
                assert value.encode() not in path.read_bytes(), path
    assert (desk.place / "state").stat().st_mode & 0o077 == 0


def test_a_state_directory_in_use_is_refused_with_the_holder(desk: Desk) -> None:
    import fcntl

    state = desk.place / "state"
    state.mkdir()
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = desk.run("-f", "-", stdin=MIRROR)
    assert ended.returncode == 2
    assert "is used by another datamover" in ended.stderr
