"""Processes that outlive the program that started them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import processes
from cluster.daemons import Daemon, DaemonError
from cluster.layout import Layout


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Daemon]:
    layout = Layout(tmp_path / "cluster")
    layout.logs.mkdir(parents=True)
    layout.pids.mkdir()
    program = tmp_path / "a-part-of-a-test"
    program.symlink_to(shutil.which("sh") or "/bin/sh")
    daemon = Daemon("part", layout, [str(program), "-c", "sleep 60; :", f"--config={layout.secrets}/part.yaml"])
    yield daemon
    daemon.kill()
    processes.reap()


def record_of(part: Daemon) -> Path:
    return part.layout.pids / "part.json"


def test_a_part_is_started_once_and_known_by_its_record(part: Daemon) -> None:
    part.start()
    first = part.pid
    part.start()

    assert first is not None
    assert part.pid == first == json.loads(record_of(part).read_text())["pid"]
    assert 0 <= part.age < 10
    part.stop()
    assert (part.pid, part.age, part.memory, record_of(part).exists()) == (None, 0, 0, False)


def test_a_part_whose_record_was_never_written_is_found_and_not_started_twice(part: Daemon) -> None:
    part.start()
    first = part.pid
    record_of(part).unlink()

    assert part.pid == first
    assert part.age < 10
    part.start()
    assert processes.find_programs("a-part-of-a-test", part.layout.directory) == [first]


def test_a_part_whose_record_was_never_written_is_stopped(part: Daemon) -> None:
    part.start()
    record_of(part).unlink()

    part.stop()

    assert processes.find_programs("a-part-of-a-test", part.layout.directory) == []


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1, "started": "no"}', '{"pid": 2147483647, "started": ""}'])
def test_a_record_that_is_wrong_is_not_believed(part: Daemon, content: str) -> None:
    record_of(part).write_text(content)

    assert part.pid is None


def test_the_same_program_elsewhere_is_not_ours(part: Daemon, tmp_path: Path) -> None:
    with subprocess.Popen([*part.arguments[:3], f"--config={tmp_path}/other/part.yaml"]) as other:
        try:
            assert part.pid is None
        finally:
            other.kill()


def test_a_part_that_ends_while_it_is_waited_for_is_told_with_its_words(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    layout.pids.mkdir()
    daemon = Daemon("part", layout, ["/bin/sh", "-c", "echo no space left; exit 1"])
    daemon.start()

    # whether it ends before its record is written or after
    with pytest.raises(DaemonError, match=r"(?s)part ended while starting.*no space left"):
        daemon.wait_until(lambda: False)
