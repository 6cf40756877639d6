"""The shell with a small engine in it: whatever happens, an outcome is told, and no secret leaves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datamover.api import transfer

SECRET = "correct-horse-battery"
ENGINE = '''
"""An engine of a few lines, as restic's would be: it reads its environment, runs a program, and says what came of it."""
import sys
import time
from collections.abc import Mapping
from datetime import datetime

import msgspec

from datamover.agent import shell
from datamover.agent.children import Child, start_process
from datamover.agent.environment import Reader
from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.progress import Reporter
from datamover.api import transfer


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> shell.Task:
    read = Reader(environ)
    script = read.required("TOY_SCRIPT")
    deadline = read.number(transfer.DEADLINE, 0, low=0, high=60)
    if read.problems:
        raise Misconfigured("; ".join(read.problems))

    def run(given: shell.Surroundings) -> transfer.Outcome:
        report = Reporter("toy-1", tell=given.tell, monotonic=time.monotonic)
        done = msgspec.structs.replace(given.begun, run_id="toy-1", files=1)

        def work() -> transfer.Outcome:
            report.advance(files=1, size=5, total_files=2, total_size=10, speed=1.0, errors=0)
            report.phase(transfer.SYNCING)
            process = start_process(
                ["/bin/sh", "-c", script], stop=given.stop, environment=dict(environ), piped=False, folder=given.scratch
            )
            child = Child(process, stop=given.stop, on_line=None)
            try:
                child.drain(lambda raw: given.say(raw.decode()))
                code = child.wait()
            finally:
                child.close()
            if code == 3:
                raise Failure(transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS, f"{environ['TOY_PASSWORD']} is wrong.")
            if code == 4:
                raise LookupError(f"{environ['TOY_PASSWORD']} is not here")
            return msgspec.structs.replace(done, succeeded=True, reason=transfer.REASON_SUCCEEDED, message="All is there.")

        return given.conclude(work, so_far=lambda: done)

    return shell.Task(
        config=read.text(transfer.ROOT) + "/config", deadline=deadline, grace=5, notices=tuple(read.notices), run=run
    )


if __name__ == "__main__":
    import os

    sys.exit(shell.run(prepare, os.environ, stream=sys.stdout.buffer))
'''


class Toy:
    """The toy engine in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("config", "dev"):
            (root / name).mkdir()
        self.program = root / "toy.py"
        self.program.write_text(ENGINE)

    def start(self, script: str, **more: str) -> "subprocess.Popen[str]":
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(transfer.__file__).parents[2]),
            "DATAMOVER_ROOT": str(self.root),
            "TOY_PASSWORD": SECRET,
            "TOY_SCRIPT": script,
            **more,
        }
        return subprocess.Popen(
            [sys.executable, str(self.program)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, process: "subprocess.Popen[str]") -> tuple[int, str, transfer.Outcome]:
        """Return exit code, output and outcome, which is told in both places and without the secret."""
        output, errors = process.communicate(timeout=60)
        message = (self.root / "dev" / "termination-log").read_bytes()
        outcome = transfer.decode_outcome(message)
        assert outcome is not None, errors
        assert output.splitlines()[-1] == message.decode()
        assert SECRET not in output + errors + message.decode()
        assert list((self.root / "config").iterdir()) == []
        return process.returncode, output, outcome

    def run(self, script: str, **more: str) -> tuple[int, str, transfer.Outcome]:
        return self.ended(self.start(script, **more))


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_a_success_is_told_and_what_the_engine_says_holds_no_secret(toy: Toy) -> None:
    code, output, outcome = toy.run('echo "opening with $TOY_PASSWORD" >&2; touch here')
    assert (code, outcome.succeeded, outcome.run_id, outcome.files) == (0, True, "toy-1", 1)
    assert outcome.finished_at >= outcome.started_at != ""
    assert "opening with [redacted]" in output.splitlines()
    last = [found for line in output.splitlines() if (found := transfer.read_progress(line))][-1]
    assert (last.phase, last.files, last.total_bytes) == (transfer.SYNCING, 1, 10)


def test_a_failure_is_told_with_what_there_was_of_the_attempt(toy: Toy) -> None:
    code, _, outcome = toy.run("exit 3")
    assert (outcome.reason, outcome.run_id, outcome.files) == (transfer.REASON_WRONG_CREDENTIALS, "toy-1", 1)
    assert outcome.message == "[redacted] is wrong."
    assert code == outcome.exit_code != 0


def test_an_error_that_nobody_expected_is_told_and_its_trace_logged(toy: Toy) -> None:
    code, output, outcome = toy.run("exit 4")
    assert (outcome.failure_class, outcome.reason) == (transfer.INTERNAL, transfer.REASON_INTERNAL_ERROR)
    assert "LookupError: [redacted] is not here" in outcome.message
    assert "Traceback" in output
    assert code == outcome.exit_code != 0


def test_a_wrong_environment_is_told_before_anything_starts(toy: Toy) -> None:
    code, output, outcome = toy.run("", DATAMOVER_RUN_ID="given-1")
    assert (outcome.reason, outcome.run_id) == (transfer.REASON_INVALID_CONFIGURATION, "given-1")
    assert "TOY_SCRIPT is empty" in outcome.message
    assert len(output.splitlines()) == 1
    assert code == outcome.exit_code != 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_program_politely_and_is_told(toy: Toy, number: int, code: int) -> None:
    ready = toy.root / "ready"
    process = toy.start(f"trap 'echo bye >&2; exit 0' TERM; touch {ready}; while :; do sleep 0.01; done")
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    ended, output, outcome = toy.ended(process)
    assert (ended, outcome.failure_class, outcome.run_id) == (code, transfer.INTERRUPTED, "toy-1")
    assert "bye" in output.splitlines()


def test_the_deadline_ends_the_program_and_is_told(toy: Toy) -> None:
    code, _, outcome = toy.run("exec sleep 60", DATAMOVER_DEADLINE="0.5")
    assert (outcome.failure_class, outcome.run_id) == (transfer.DEADLINE_EXCEEDED, "toy-1")
    assert "within its deadline of 0.5 s" in outcome.message
    assert code == outcome.exit_code != 0


def test_a_signal_is_told_although_the_engine_has_nothing_to_say(toy: Toy) -> None:
    # an engine may let everything go through to the shell
    toy.program.write_text(ENGINE.replace("return given.conclude(work, so_far=lambda: done)", "return work()"))
    ready = toy.root / "ready"
    process = toy.start(f"touch {ready}; exec sleep 60")
    while not ready.exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.terminate()
    code, _, outcome = toy.ended(process)
    assert (code, outcome.failure_class, outcome.run_id) == (143, transfer.INTERRUPTED, "")
