"""Programs that tests start end with the tests, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.programs import Program, ProgramError, Undertaker

SLEEP = ("/bin/sh", "-c", "echo started; exec sleep 1000")


@pytest.fixture
def undertaker(tmp_path: Path) -> Iterator[Undertaker]:
    directory = tmp_path / "state"
    directory.mkdir()
    each = Undertaker(directory)
    yield each
    each.close()


def gone(pid: int, *, seconds: float = 5) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_a_program_starts_stops_and_starts_again(tmp_path: Path, undertaker: Undertaker) -> None:
    program = Program("sleeper", SLEEP, log=tmp_path / "log", undertaker=undertaker)

    program.start()
    program.wait_until(lambda: "started" in program.tail(), seconds=5)
    first = program.pid
    program.kill()
    program.start()

    assert program.pid != first
    program.stop()
    assert not program.running
    assert gone(first)
    program.stop()


def test_a_program_that_ends_while_starting_is_told_with_its_log(tmp_path: Path, undertaker: Undertaker) -> None:
    program = Program("fails", ("/bin/sh", "-c", "echo because; exit 3"), log=tmp_path / "log", undertaker=undertaker)
    program.start()

    with pytest.raises(ProgramError, match="fails ended while starting\nbecause"):
        program.wait_until(lambda: False, seconds=5)
    program.stop()


def test_a_program_that_is_never_ready_is_told(tmp_path: Path, undertaker: Undertaker) -> None:
    program = Program("slow", SLEEP, log=tmp_path / "log", undertaker=undertaker)
    program.start()

    with pytest.raises(ProgramError, match="not ready"):
        program.wait_until(lambda: False, seconds=0.1)
    program.stop()


def test_a_program_that_ignores_the_request_is_killed(tmp_path: Path, undertaker: Undertaker) -> None:
    stubborn = ("/bin/sh", "-c", "trap '' TERM; echo started; while :; do sleep 0.05; done")
    program = Program("stubborn", stubborn, log=tmp_path / "log", undertaker=undertaker)
    program.start()
    program.wait_until(lambda: "started" in program.tail(), seconds=5)

    program.stop(patience=0.1)

    assert not program.running


def test_our_own_violent_end_ends_the_programs_and_removes_their_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    script = f"""
import os, sys, time
from pathlib import Path
from support.programs import Program, Undertaker
undertaker = Undertaker(Path({str(state)!r}))
ended = Program("ended", ("/bin/true",), log=Path({str(tmp_path / "log")!r}), undertaker=undertaker)
ended.start(); ended.stop()
program = Program("sleeper", {SLEEP!r}, log=Path({str(tmp_path / "log")!r}), undertaker=undertaker)
program.start()
print(program.pid, flush=True)
time.sleep(1000)
"""
    tests = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tests) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)

    assert gone(pid)
    deadline = time.monotonic() + 5
    while state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not state.exists()
