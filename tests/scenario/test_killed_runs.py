"""`datamover run` killed with -9, wherever it is, and the same command again: one run, one folder, and it comes to its end.

The first runs decide where the deaths are: at each effect of the whole course (`support.killing`), and at random moments.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS
from localkube.store import persistence
from support import killing
from support.s3 import S3Server

STAMPED = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: nightly}
spec: {sourcePvc: app-data, secretName: credentials, deletePvcAfterBackup: true, addTimestampPrefix: true}
"""
MIRROR = STAMPED.replace(", addTimestampPrefix: true", "")
FOLDER = re.compile(r"\d{4}-\d\d-\d\d-\d{6}")
DEATHS = (*((n, "before") for n in range(1, 37, 3)), *((n, "after") for n in range(3, 37, 5)))
MOMENTS = 4
TRIES = 3


class Course:
    """A volume, a manifest, a state directory and a bucket."""

    def __init__(self, place: Path, s3: S3Server, manifest: str) -> None:
        self.place = place
        self.s3 = s3
        (place / "data").mkdir()
        for index in range(8):
            (place / "data" / f"file-{index}.txt").write_text(f"content {index}")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "credentials"}, "stringData": s3.secret()}
        (place / "backup.yaml").write_text(f"{manifest}---\n{yaml.safe_dump(secret)}")

    @property
    def arguments(self) -> list[str]:
        volume = f"app-data={self.place / 'data'}"
        return ["run", "--state", str(self.place / "state"), "--volume", volume, "-f", str(self.place / "backup.yaml")]

    def killed_at(self, number: int, when: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, killing.__file__, str(number), when, *self.arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def killed_after(self, seconds: float) -> int:
        command = [sys.executable, "-m", "datamover.cli.main", *self.arguments]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                return process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return -signal.SIGKILL

    def finish(self) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "datamover.cli.main", *self.arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def folders(self) -> set[str]:
        return {name.split("/")[0] for name in self.s3.objects(records=True) if FOLDER.match(name)}

    def runs(self) -> set[str]:
        found = (re.search(r"\.datamover/runs/([^/]+)/", name) for name in self.s3.objects(records=True))
        return {match[1] for match in found if match}

    def is_over(self) -> bool:
        """Tell whether the state on disk says that the run is Completed, so that the same command begins the next one."""
        path = self.place / "state" / "objects"
        _, objects = persistence.load(path.read_bytes()) if path.exists() else (0, [])
        movers = [tree for shelf, tree in objects if shelf == DATA_MOVERS.group_resource]
        return any(mover.get("status", {}).get("phase") == Phase.COMPLETED for mover in movers)

    def check(self, ended: "subprocess.CompletedProcess[str]", *, runs: int = 1) -> None:
        """Nothing of a run is there twice, and nothing that it made is left on the disk."""
        assert ended.returncode == 0, ended.stdout + ended.stderr
        files = {f"file-{index}.txt" for index in range(8)}
        assert {name.rpartition("/")[2] for name in self.s3.objects()} == files
        assert len(self.runs()) == runs
        assert os.listdir(self.place / "state" / "node" / "volumes") == []


@pytest.mark.parametrize(("number", "when"), DEATHS)
def test_a_run_killed_at_any_effect_goes_on_as_the_same_run(
    number: int, when: str, tmp_path: Path, s3: S3Server
) -> None:
    course = Course(tmp_path, s3, STAMPED)

    died = course.killed_at(number, when)
    assert died.returncode in (-signal.SIGKILL, 0), died.stdout + died.stderr  # saves that meet are one effect
    runs = 2 if died.returncode and course.is_over() else 1
    ended = course.finish() if died.returncode else died

    course.check(ended, runs=runs)
    assert len(course.folders()) == runs


@pytest.mark.parametrize("seed", range(MOMENTS))
def test_a_mirror_killed_at_random_moments_is_still_its_own(seed: int, tmp_path: Path, s3: S3Server) -> None:
    course = Course(tmp_path, s3, MIRROR)
    chance = random.Random(seed)

    runs = 1
    for _ in range(TRIES):
        if course.killed_after(0.6 + chance.random() * 2.4) == 0:
            break
        runs += course.is_over()
    else:
        course.check(course.finish(), runs=runs)


def test_a_clone_that_went_under_a_killed_run_is_told_once_and_not_waited_for(tmp_path: Path, s3: S3Server) -> None:
    """Records that are newer than the disk, as of a state that was copied without its volumes."""
    course = Course(tmp_path, s3, MIRROR)
    volumes = tmp_path / "state" / "node" / "volumes"
    number = 8
    while not [name for name in (os.listdir(volumes) if volumes.is_dir() else ()) if name.startswith("pvc-")]:
        assert course.killed_at(number, "after").returncode == -signal.SIGKILL, "no clone was ever there"
        number += 1
    shutil.rmtree(volumes)

    ended = course.finish()
    if ended.returncode:  # it was told; the same command begins anew
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "has lost its volume" in ended.stdout
        ended = course.finish()

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert {name.rpartition("/")[2] for name in s3.objects()} == {f"file-{index}.txt" for index in range(8)}
    assert os.listdir(volumes) == []
