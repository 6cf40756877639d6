"""The agent's own command line: help, and no attempt for a word that was meant otherwise."""

import subprocess
import sys

import pytest

AGENT = (sys.executable, "-m", "datamover.agent.main")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_helps(flag: str) -> None:
    ended = subprocess.run([*AGENT, flag], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: datamover-agent")
    assert "apply-manifest MANIFEST DIRECTORY" in ended.stdout


@pytest.mark.parametrize("word", ["--hepl", "apply", "\u65e5"])
def test_what_is_no_argument_moves_nothing(word: str) -> None:
    ended = subprocess.run([*AGENT, word], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "is no argument that there is: see datamover-agent --help" in ended.stderr
