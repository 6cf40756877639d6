"""`datamover local up` and `datamover operator` as processes, with the stock kubectl."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from support.documents import DOCUMENTS
from support.kubernetes import MissingPrograms, find_programs
from support.s3 import S3Server

CLI = (sys.executable, "-m", "datamover.cli.main")


def find_kubectl() -> str:
    """Return the built kubectl, else the machine's; skip, saying the cure, without either."""
    try:
        built = find_programs().kubectl
    except MissingPrograms:
        built = None
    found = str(built) if built else shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is missing: make kubernetes builds it")
    return found


class World:
    """A running embedded world, and kubectl for it."""

    def __init__(self, process: "subprocess.Popen[str]", kubeconfig: Path, said: str) -> None:
        self.process = process
        self.kubeconfig = kubeconfig
        self.said = said
        self._kubectl = find_kubectl()

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        ended = subprocess.run(
            [self._kubectl, *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ended.returncode == 0 or not check, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr


@contextmanager
def running(place: Path, *arguments: str) -> Generator[World]:
    (place / "data").mkdir(exist_ok=True)
    (place / "data" / "hello.txt").write_text("hello")
    command = [
        *CLI,
        "local",
        "up",
        "--state",
        str(place / "state"),
        "--volume",
        f"production-data={place / 'data'}",
        *arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        found = re.search(r"KUBECONFIG=(\S+)", said)
        assert found, said
        try:
            yield World(process, Path(found[1]), said)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)
    assert process.returncode == 0
    assert not (place / "state" / "kubeconfig").exists(), "the token does not outlive the world"


def secret(s3: S3Server) -> str:
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backup-credentials"}, "stringData": s3.secret()}
    )


def test_stock_kubectl_applies_waits_describes_explains_and_deletes(tmp_path: Path, s3: S3Server) -> None:
    with running(tmp_path) as world:
        assert world.kubeconfig.stat().st_mode & 0o077 == 0
        world.kubectl("apply", "-f", "-", stdin=secret(s3))
        world.kubectl("apply", "-f", str(DOCUMENTS / "nightly-backup.yaml"))
        world.kubectl("wait", "--for=condition=Complete", "datamover/nightly-backup", "--timeout=60s")

        table = world.kubectl("get", "datamover", "nightly-backup").splitlines()
        assert table[0].split()[:3] == ["NAME", "PHASE", "REASON"]
        assert table[1].split()[:2] == ["nightly-backup", "Completed"]
        described = world.kubectl("describe", "dm", "nightly-backup")
        assert "JobCreated" in described
        assert "Completed" in described
        assert "PersistentVolumeClaim to back up" in world.kubectl("explain", "datamover.spec.sourcePvc")
        assert "nightly-backup" in world.kubectl("get", "backup")
        assert "No resources found" in world.kubectl(
            "get", "pvc", "-l", "app.kubernetes.io/created-by=datamover-operator"
        )
        world.kubectl("delete", "datamover", "nightly-backup")
        assert "No resources found" in world.kubectl("get", "datamover,job,pod")
    assert len(s3.objects()) == 1


def test_kubectl_logs_shows_the_documented_transfer_lines(tmp_path: Path, s3: S3Server) -> None:
    with running(tmp_path) as world:
        world.kubectl("apply", "-f", "-", stdin=secret(s3))
        kept = (
            (DOCUMENTS / "nightly-backup.yaml")
            .read_text()
            .replace("deletePvcAfterBackup: true", "deletePvcAfterBackup: false")
        )
        world.kubectl("apply", "-f", "-", stdin=kept)
        world.kubectl("wait", "--for=condition=Complete", "datamover/nightly-backup", "--timeout=60s")
        job = world.kubectl(
            "get", "jobs", "-l", "app.kubernetes.io/created-by=datamover-operator", "-o", "name"
        ).strip()

        log = world.kubectl("logs", job)

    assert job.startswith("job.batch/verify-restored-production-data-")
    assert [line for line in log.splitlines() if "Transferred:" in line]
    assert s3.secret_key not in log


def test_nobody_gets_in_without_the_token(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        config = yaml.safe_load(world.kubeconfig.read_text())
        config["users"][0]["user"]["token"] = "guessed"
        other = tmp_path / "other"
        other.write_text(yaml.safe_dump(config))
        stranger = World(world.process, other, "")
        assert "Unauthorized" in stranger.kubectl("get", "secrets", check=False) or "logged in" in stranger.kubectl(
            "get", "secrets", check=False
        )


def test_an_operator_in_another_process_does_the_work(tmp_path: Path, s3: S3Server) -> None:
    with running(tmp_path, "--no-operator") as world:
        assert "--mover-image" in world.said
        command = [*CLI, "operator", "--kubeconfig", str(world.kubeconfig), "--mover-image", "datamover.local/mover"]
        command += ["--metrics-bind-address", "0", "--leader-elect", "--leader-namespace", "default"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as operator:
            world.kubectl("apply", "-f", "-", stdin=secret(s3))
            world.kubectl("apply", "-f", str(DOCUMENTS / "nightly-backup.yaml"))
            world.kubectl("wait", "--for=condition=Complete", "datamover/nightly-backup", "--timeout=60s")
            lease = world.kubectl("get", "lease", "-o", "name")
            operator.send_signal(signal.SIGTERM)
            _, said = operator.communicate(timeout=20)
    assert operator.returncode == 0, said
    assert "lease" in lease
    assert s3.secret_key not in said


def test_an_operator_without_a_mover_image_does_not_start() -> None:
    ended = subprocess.run([*CLI, "operator"], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "--mover-image" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_operator_without_credentials_says_which_file_is_missing(tmp_path: Path) -> None:
    command = [*CLI, "operator", "--mover-image", "x", "--kubeconfig", str(tmp_path / "none")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert "none" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str) -> None:
    ended = subprocess.run([*CLI, "completion", shell], capture_output=True, text=True, timeout=30, check=True)
    assert "_DATAMOVER_COMPLETE" in ended.stdout
