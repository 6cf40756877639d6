"""`datamover run` as its users run it: a process, real rclone, a real S3 server."""

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
import yaml

from datamover.api.transfer import REQUIRED_VARIABLES
from datamover.api.v1alpha1.datamover import DataMover
from datamover.cli import kinds, patience
from datamover.cli import run as command
from datamover.cli.display import NoDisplay
from datamover.cli.embedded.world import EmbeddedWorld, WorldOptions
from datamover.cli.exits import Exit
from datamover.cli.manifests import read_manifests
from datamover.cli.volumes import Volume
from datamover.runs.facts import Patience
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.documents import DOCUMENTS
from support.s3 import S3Server

CANARY = "canary-4f9c1b7e-not-to-be-seen"
MIRROR = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: mirror}
spec: {sourcePvc: production-data, secretName: backup-credentials, deletePvcAfterBackup: true}
"""
NOWHERE = "mover: {nodeSelector: {kind: moon}}"


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
    lines = [line.split() for line in ended.stdout.splitlines() if " default/nightly-backup" in line]
    phases = [words[2] for words in lines]
    assert all(datetime.fromisoformat(words[0]) for words in lines), "each line has its time"
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


class Holder(NoDisplay):
    """Somebody who holds the clone by a finalizer, and lets it go when the DataMover is said to wait for that."""

    def __init__(self, worlds: list[EmbeddedWorld]) -> None:
        self.waits: list[str] = []
        self._worlds = worlds
        self._tasks: list[asyncio.Task[None]] = []

    def update(self, movers: tuple[DataMover, ...]) -> None:
        """Hold or let go, by what is shown."""
        for mover in movers:
            phase = mover.status.phase if mover.status else None
            if phase == "CreatingPod" and not self._tasks:
                self._tasks.append(asyncio.create_task(self._set(mover, ["example.com/hold"])))
            reason = patience.held_by(mover)
            if reason is not None and not self.waits:
                self.waits.append(reason)
                self._tasks.append(asyncio.create_task(self._set(mover, [])))

    async def _set(self, mover: DataMover, finalizers: list[str]) -> None:
        assert mover.status is not None
        await self._worlds[0].client.patch(
            PERSISTENT_VOLUME_CLAIMS,
            mover.status.restored_pvc_name or "",
            {"metadata": {"finalizers": finalizers}},
            namespace="default",
            field_manager="test",
        )


async def test_a_good_backup_whose_clean_up_takes_long_ends_with_zero(
    desk: Desk, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds: list[EmbeddedWorld] = []

    @asynccontextmanager
    async def start_world(options: WorldOptions) -> AsyncIterator[EmbeddedWorld]:
        async with real_start(options) as world:
            worlds.append(world)
            yield world

    real_start = command.start_world
    monkeypatch.setattr(command, "start_world", start_world)
    # seconds until the wait is told: half a minute is too long for a test
    monkeypatch.setattr(kinds, "Patience", partial(Patience, removal=0.2))
    monkeypatch.setattr(patience, "PERSON_PATIENCE", 0.0)  # and what a person must end is given up at once
    manifests = read_manifests(("-", str(desk.secret(s3.secret()))), stdin=io.StringIO(MIRROR), namespace="default")
    options = command.RunOptions(
        sources=manifests,
        volumes=(Volume("production-data", desk.volume),),
        namespace="default",
        state=desk.place / "state",
    )
    holder = Holder(worlds)

    async with asyncio.timeout(60):
        result = await command.run(options, display=holder)

    assert holder.waits == ["WaitingForCloneRemoval"]
    assert result.code is Exit.COMPLETED
    assert len(s3.objects()) == 20


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [("suspend: true", "suspended: set spec.suspend to false to go on"), (NOWHERE, "no node takes the mover")],
)
def test_what_does_not_come_ends_with_three_and_says_how_to_go_on(desk: Desk, spec: str, sentence: str) -> None:
    secret = desk.secret(dict.fromkeys(REQUIRED_VARIABLES, "x"))
    manifest = MIRROR.replace("spec: {", f"spec: {{{spec}, ")

    ended = desk.run("-f", "-", "-f", str(secret), "--patience", "0.5", stdin=manifest)

    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert sentence in ended.stdout
    assert "gave up waiting; the same command goes on from here" in ended.stdout
    assert ("That may come right by itself." in ended.stdout) == (spec == NOWHERE)


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


def interrupt(desk: Desk, secret: Path) -> None:
    """Stop a run by Ctrl-C while its mover works."""
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


def test_an_interrupted_run_ends_in_order_and_the_same_command_goes_on(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret())
    interrupt(desk, secret)
    (desk.volume / "new.txt").write_text("of the next day")
    (desk.place / "mover.yaml").write_text(MIRROR)

    ended = desk.run("-f", str(desk.place / "mover.yaml"), "-f", str(secret))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(s3.objects()) == 21
    assert re.search(
        r"default/mirror: goes on with the run that was interrupted, from its copy of the volume of \d{4}-",
        ended.stdout,
    )


def test_an_interrupted_run_with_too_old_a_copy_is_given_up_for_a_fresh_one(desk: Desk, s3: S3Server) -> None:
    secret = desk.secret(s3.secret())
    interrupt(desk, secret)
    (desk.volume / "new.txt").write_text("of the next day")
    (desk.place / "mover.yaml").write_text(MIRROR)

    ended = desk.run("-f", str(desk.place / "mover.yaml"), "-f", str(secret), "--max-copy-age", "0")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert s3.objects()["new.txt"] == b"of the next day"
    assert "older than --max-copy-age 0s: it is given up, and a new run takes a fresh copy" in ended.stdout
    assert os.listdir(desk.place / "state" / "node" / "volumes") == []


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
