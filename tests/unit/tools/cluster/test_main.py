"""The command line: what goes wrong is a sentence and an exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import __main__ as program
from cluster.rig import Rig

TOOLS = Path(__file__).resolve().parents[4] / "tools"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied: '/x'"),
        (FileNotFoundError(2, "No such file or directory", "ctr"), 1, "'ctr'"),
        (subprocess.TimeoutExpired("ctr", 120), 1, "timed out"),
        (program.ClusterError("no"), 1, "cluster: no"),
        (KeyboardInterrupt(), 130, "stopped halfway"),
    ],
)
def test_whatever_goes_wrong_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    words: str,
) -> None:
    def fail(_rig: Rig) -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["cluster", "up"])
    monkeypatch.setattr(program.signal, "signal", lambda *_arguments: None)
    monkeypatch.setattr(Rig, "up", fail)

    assert program.main() == status
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "place", "status", "words"),
    [
        (["status"], "nothing", 1, "no cluster at"),
        (["status", "-o", "json"], "nothing", 1, "no cluster at"),
        (["down"], "with space", 1, "is no place for a cluster"),
        (["down"], "nothing", 0, "nothing was touched"),
        (["load", "image.tar"], "nothing", 1, "no cluster at"),
        (["load"], "nothing", 2, "FILE"),
    ],
)
def test_a_place_without_a_cluster_is_told(
    tmp_path: Path, command: list[str], place: str, status: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *command],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(TOOLS), "DATAMOVER_CLUSTER": str(tmp_path / place)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    wants_root = command[0] in {"down", "load"} and status < 2 and place == "nothing"
    if wants_root and os.geteuid() != 0:
        status, words = 1, "need Linux and root"
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
