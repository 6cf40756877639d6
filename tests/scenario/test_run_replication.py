"""`datamover run` with ReplicationSources and ReplicationDestinations, as its users run it: a process, real rclone, real restic."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from datamover.api.copy_trigger import TRIGGER_ANNOTATION, USE_ANNOTATION
from support.engines import find_engine
from support.restic import PASSWORD, make_key_cheap
from support.s3 import S3Server

CONFIGURATION = "[here]\ntype = local\n"


def replication(kind: str, spec: dict[str, Any], *, name: str = "backup") -> dict[str, Any]:
    return {"apiVersion": "volsync.backube/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def secret(name: str, **values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


@dataclass
class Desk:
    """A volume, a folder that is the mirror, and a state directory."""

    place: Path

    @property
    def mirror(self) -> Path:
        return self.place / "mirror"

    def rclone(self, **fields: Any) -> dict[str, Any]:
        return {
            "rclone": {
                "rcloneConfig": "conf",
                "rcloneConfigSection": "here",
                "rcloneDestPath": str(self.mirror),
                "copyMethod": "Clone",
                **fields,
            }
        }

    def source(self, **spec: Any) -> dict[str, Any]:
        return replication("ReplicationSource", {"sourcePVC": "app-data", **self.rclone(), **spec})

    def command(self, *objects: dict[str, Any], arguments: tuple[str, ...] = ()) -> list[str]:
        (self.place / "manifests.yaml").write_text(yaml.safe_dump_all(objects))
        return [
            *(sys.executable, "-m", "datamover.cli.main", "run", "--state", str(self.place / "state")),
            *("--volume", f"app-data={self.place / 'data'}", "--volume", f"back={self.place / 'back'}"),
            *("-f", str(self.place / "manifests.yaml"), *arguments),
        ]

    def run(self, *objects: dict[str, Any], arguments: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        command = self.command(*objects, arguments=arguments)
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)

    def files(self, folder: str) -> dict[str, str]:
        root = self.place / folder
        return {path.name: path.read_text() for path in root.rglob("*.txt") if path.is_file()}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    for name in ("data", "back"):
        (tmp_path / name).mkdir()
    for index in range(5):
        (tmp_path / "data" / f"file-{index}.txt").write_text(f"content {index}")
    return Desk(tmp_path)


CONF = secret("conf", **{"rclone.conf": CONFIGURATION})


def test_all_kinds_run_together_and_the_next_command_copies_again_whatever_the_trigger(
    desk: Desk, s3: S3Server
) -> None:
    mover = {
        "apiVersion": "datamover.a-cup-of.coffee/v1alpha1",
        "kind": "DataMover",
        "metadata": {"name": "backup"},
        "spec": {"sourcePvc": "app-data", "secretName": "credentials", "deletePvcAfterBackup": True},
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "app-data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
    }
    objects = (mover, secret("credentials", **s3.secret()), CONF, claim)
    scheduled = desk.source(trigger={"schedule": "0 3 * * *"})
    ended = desk.run(*objects, scheduled, arguments=("-o", "json"))
    document = json.loads(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (source,) = document["replicationSources"]
    assert (source["result"], source["status"]["latestMoverStatus"]["result"]) == ("Completed", "Successful")
    assert source["status"]["nextSyncTime"].endswith("T03:00:00Z")
    assert document["dataMovers"][0]["status"]["phase"] == "Completed"
    assert len(s3.objects()) == 5

    (desk.place / "data" / "file-0.txt").write_text("changed")
    back = replication(
        "ReplicationDestination", desk.rclone(copyMethod="Direct", destinationPVC="back"), name="restore"
    )
    again = desk.run(CONF, desk.source())
    assert again.returncode == 0, again.stdout + again.stderr
    assert "ReplicationSource default/backup  SyncInProgress" in again.stdout
    assert "backup  ReplicationSource  Completed" in again.stdout
    restored = desk.run(CONF, back)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert desk.files("back") == desk.files("data") == desk.files("mirror")


def test_a_copy_trigger_that_nobody_can_pull_is_told_and_one_in_the_manifest_is_pulled(desk: Desk) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "app-data", "annotations": {USE_ANNOTATION: ""}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    waits = desk.run(CONF, claim, desk.source(trigger={"manual": "one"}))
    assert waits.returncode == 3, waits.stdout + waits.stderr
    assert f"give the claim in a manifest, with {TRIGGER_ANNOTATION} and a new value" in waits.stdout
    assert desk.files("mirror") == {}

    claim["metadata"]["annotations"][TRIGGER_ANNOTATION] = "go1"  # type: ignore[index]
    goes = desk.run(CONF, claim, desk.source(trigger={"manual": "one"}))
    assert goes.returncode == 0, goes.stdout + goes.stderr
    assert desk.files("mirror") == desk.files("data")


@pytest.mark.parametrize(
    ("spec", "code", "sentence"),
    [
        ({"rsyncTLS": {"copyMethod": "Direct", "destinationPVC": "back"}}, 2, "the embedded world has none"),
        (None, 3, "Here a directory stands for it: --volume nothing=DIR"),
    ],
)
def test_what_cannot_be_run_ends_with_a_sentence_and_no_hang(
    spec: dict[str, Any] | None, code: int, sentence: str, desk: Desk
) -> None:
    lost = desk.source(sourcePVC="nothing", trigger={"manual": "one"})
    ended = desk.run(CONF, lost if spec is None else replication("ReplicationDestination", spec))
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert sentence in (ended.stderr if code == 2 else ended.stdout)


def test_restic_that_cannot_be_had_is_told_before_anything_runs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAMOVER_RESTIC", str(desk.place / "none"))
    spec = {"sourcePVC": "app-data", "restic": {"repository": "r", "copyMethod": "Direct"}}
    ended = desk.run(replication("ReplicationSource", spec))
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "install restic 0.18 or newer" in ended.stderr
    assert "ReplicationSource default/backup is moved with restic" in ended.stderr


def test_a_failed_mover_ends_with_one_its_log_is_shown_and_the_next_command_begins_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAMOVER_RESTIC", str(find_engine("restic")))
    repository = desk.place / "repository"
    spec = {"sourcePVC": "app-data", "trigger": {"manual": "one"}}
    source = replication("ReplicationSource", {**spec, "restic": {"repository": "r", "copyMethod": "Direct"}})
    right = secret("r", RESTIC_REPOSITORY=str(repository), RESTIC_PASSWORD=PASSWORD)
    assert desk.run(right, source).returncode == 0
    make_key_cheap(repository)

    wrong = secret("r", RESTIC_REPOSITORY=str(repository), RESTIC_PASSWORD="another")
    ended = desk.run(wrong, source)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "backup  ReplicationSource  Failed" in ended.stdout
    assert any(line.startswith("  ") and "wrong password" in line for line in ended.stdout.splitlines()), ended.stdout
    assert "To try again: run the same command." in ended.stdout

    mended = desk.run(right, source)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "  snapshot " in mended.stdout


def test_an_interrupt_ends_in_order_and_the_same_command_goes_on(desk: Desk) -> None:
    (desk.place / "data" / "large.bin").write_bytes(os.urandom(3_000_000))
    slow = secret("conf", **{"rclone.conf": CONFIGURATION})
    paused = desk.source(trigger={"manual": "one"}, paused=True)
    with subprocess.Popen(
        desk.command(slow, paused), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "paused" in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=40)
    assert process.returncode == 130, rest + errors
    assert "interrupted; the same command goes on from here" in rest
    assert "Traceback" not in errors

    ended = desk.run(slow, desk.source(trigger={"manual": "one"}, paused=False))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "goes on with the run that was interrupted, from its copy of the volume" in ended.stdout
    assert desk.files("mirror") == desk.files("data")
    assert os.listdir(desk.place / "state" / "node" / "volumes") == []
