"""Child processes, with a shell in the engine's place."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datamover.agent.children import Stop, _Ear, find_wrapper
from datamover.agent.errors import Failure, Stopped
from datamover.agent.rclone.process import Engine, find_engine
from datamover.api import outside, transfer

if TYPE_CHECKING:
    from datamover.agent.rclone.logs import Line

ENVIRONMENT = {"PATH": os.environ.get("PATH", "")}


@pytest.fixture
def stop() -> Stop:
    return Stop(grace=0.3)


@pytest.fixture
def engine(stop: Stop) -> Engine:
    return Engine("/bin/sh", stop=stop)


def test_output_errors_and_code_of_a_short_command(engine: Engine) -> None:
    lines: list[Line] = []
    script = """echo out; echo '{"level":"error","msg":"AccessDenied"}' >&2; exit 3"""
    child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=lines.append)
    assert child.wait() == 3
    assert child.output == b"out\n"
    assert [line.msg for line in lines] == ["AccessDenied"]
    assert child.errors.amount(transfer.DENIED) == 1


def test_a_list_for_which_there_was_no_room_is_no_list_although_the_engine_ends_well(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for script, ends in (("echo a", 0), ("exit 3", 3)):
        child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=_ignore, output=str(tmp_path / "out"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            if ends:  # what it says of itself goes first
                assert child.wait() == ends
                continue
            with pytest.raises(Failure) as caught:
                child.wait()
        assert caught.value.reason == transfer.REASON_NO_LOCAL_SPACE
    child = engine.start(["-c", "echo a"], environment=ENVIRONMENT, on_line=_ignore, output=str(tmp_path / "out"))
    assert child.wait() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _ignore(line: "Line") -> None:
    """Show nothing."""


def test_much_on_both_pipes_blocks_nobody(engine: Engine) -> None:
    script = (
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; echo x >&2; i=$((i+1)); done"
    )
    count: list[Line] = []
    child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=count.append)
    assert child.wait() == 0
    whole = b"0123456789012345678901234567890123456789\n" * 3000
    assert child.output == whole[: outside.RECORD_LIMIT]  # the beginning is all that anybody asks for
    assert len(count) == 3000


def test_of_a_line_that_is_too_long_the_beginning_counts(engine: Engine) -> None:
    # a second part might begin within a secret, which nobody would find then
    limit = outside.LOG_LINE_LIMIT
    heard: list[str] = []
    script = f"{{ head -c {limit - 8} /dev/zero; printf hunter2-and-more; head -c {3 * limit} /dev/zero; }} >&2; printf '\\nnext\\n' >&2"
    child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=lambda line: heard.append(line.msg))
    assert child.wait() == 0
    assert [len(line) for line in heard] == [limit, 4]
    assert heard[1] == "next"


def test_output_may_go_to_a_file(engine: Engine, tmp_path: Path) -> None:
    child = engine.start(
        ["-c", "echo out"], environment=ENVIRONMENT, on_line=lambda _: None, output=str(tmp_path / "out")
    )
    assert child.wait() == 0
    assert (tmp_path / "out").read_bytes() == b"out\n"


def test_debug_lines_by_the_million_are_passed_over_unless_wanted(engine: Engine) -> None:
    script = """for m in one two; do echo '{"level":"debug","msg":"'$m'"}' >&2; done; echo '{"level":"info","msg":"three"}' >&2"""
    lines: list[Line] = []
    child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=None)
    assert child.follow(lines.append, wanted=[b"two"]) == 0
    assert [line.msg for line in lines] == ["two", "three"]


def test_a_timeout_kills_and_says_so(engine: Engine) -> None:
    child = engine.start(["-c", "exec sleep 30"], environment=ENVIRONMENT, on_line=lambda _: None)
    begun = time.monotonic()
    assert child.wait(timeout=0.1) == -signal.SIGKILL
    assert child.timed_out
    assert time.monotonic() - begun < 10


def test_a_stop_reaches_children_politely_and_raises_afterwards(engine: Engine, stop: Stop, tmp_path: Path) -> None:
    script = f"trap 'echo ended > {tmp_path}/said; exit 143' TERM; echo ready > {tmp_path}/ready; while :; do sleep 0.01; done"
    child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=lambda _: None)
    while not (tmp_path / "ready").exists():
        time.sleep(0.005)
    stop.request(transfer.INTERRUPTED)
    with pytest.raises(Stopped) as caught:
        child.wait()
    assert caught.value.why == transfer.INTERRUPTED
    assert (tmp_path / "said").exists()


def test_a_child_that_does_not_listen_is_killed_after_the_grace_period(
    engine: Engine, stop: Stop, tmp_path: Path
) -> None:
    script = f"trap '' TERM; echo ready > {tmp_path}/ready; while :; do sleep 0.01; done"
    child = engine.start(["-c", script], environment=ENVIRONMENT, on_line=lambda _: None)
    while not (tmp_path / "ready").exists():
        time.sleep(0.005)
    stop.request(transfer.DEADLINE_EXCEEDED)
    with pytest.raises(Stopped):
        child.wait()


def test_nothing_is_started_after_a_stop_but_last_words(engine: Engine, stop: Stop) -> None:
    stop.request(transfer.INTERRUPTED)
    with pytest.raises(Stopped):
        engine.start(["-c", "true"], environment=ENVIRONMENT, on_line=lambda _: None)
    last = engine.start(["-c", "echo bye"], environment=ENVIRONMENT, on_line=lambda _: None, even_stopped=True)
    assert last.wait() == 0
    assert last.output == b"bye\n"


def test_the_first_reason_to_stop_stays(stop: Stop) -> None:
    stop.request(transfer.DEADLINE_EXCEEDED)
    stop.request(transfer.INTERRUPTED)
    assert stop.why == transfer.DEADLINE_EXCEEDED


def test_the_engine_is_found_where_it_is_and_missed_where_it_is_not(tmp_path: Path) -> None:
    program = tmp_path / "rclone"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_engine("", search=str(tmp_path)) == str(program)
    assert find_engine(str(program), search=None) == str(program)
    with pytest.raises(Failure) as caught:
        find_engine("/nowhere/rclone", search=str(tmp_path))
    assert caught.value.reason == transfer.REASON_ENGINE_MISSING


def test_nothing_slow_is_imported_at_the_start() -> None:
    source = str(Path(transfer.__file__).parents[2])
    script = "import sys, datamover.agent.main, datamover.agent.rclone.mirror, datamover.agent.rclone.timestamped; print(*sys.modules)"
    environment = ENVIRONMENT | {"PYTHONPATH": source}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True, text=True)
    loaded = set(ended.stdout.split())
    assert "msgspec" in loaded
    assert not loaded & {
        "asyncio",
        "aiohttp",
        "http.client",
        "urllib.request",
        "json",
        "logging",
        "tempfile",
        "dataclasses",
        "yaml",
        "click",
    }
    ours = {name for name in loaded if name.startswith("datamover.") and not name.startswith("datamover.agent")}
    assert ours == {
        "datamover.api",
        "datamover.api.amounts",
        "datamover.api.credentials",
        "datamover.api.outside",
        "datamover.api.periods",
        "datamover.api.restore",
        "datamover.api.signed",
        "datamover.api.transfer",
        "datamover.api.variables",
        "datamover.api.verification",
    }


def test_children_hear_of_the_agents_death_where_the_system_can_tell_them(tmp_path: Path) -> None:
    assert find_wrapper(search=str(tmp_path)) == []
    busybox = tmp_path / "busybox"
    busybox.write_text("#!/bin/sh\n")
    busybox.chmod(0o755)
    (tmp_path / "setpriv").symlink_to(busybox)
    assert find_wrapper(search=str(tmp_path)) == []
    (tmp_path / "setpriv").unlink()
    busybox.rename(tmp_path / "setpriv")
    assert find_wrapper(search=str(tmp_path)) == [str(tmp_path / "setpriv"), "--pdeathsig", "TERM"]


def test_a_wrapped_command_runs_as_itself(stop: Stop) -> None:
    wrapped = Engine("/bin/sh", stop=stop, wrapper=["env", "WRAPPED=yes"])
    child = wrapped.start(["-c", "echo $WRAPPED"], environment=ENVIRONMENT, on_line=lambda _: None)
    assert child.wait() == 0
    assert child.output == b"yes\n"


def test_an_engine_that_says_nothing_any_more_is_ended_and_that_told(engine: Engine) -> None:
    said: list[str] = []
    child = engine.start(["-c", "echo begun >&2; exec sleep 600"], environment=ENVIRONMENT, on_line=None)
    code = child.follow(lambda line: said.append(line.msg), silence=0.2)
    failure = child.errors.failure(code=code, place="s3:b", bucket="b", endpoint="http://s3")
    assert (said, code) == (["begun"], -signal.SIGKILL)
    assert (failure.reason, failure.failure_class, failure.retryable) == (
        transfer.REASON_ENGINE_SILENT,
        transfer.INTERNAL,
        True,
    )
    assert "RCLONE_MAX_TRANSFER" in failure.message


def test_what_was_killed_otherwise_was_not_silent(engine: Engine) -> None:
    child = engine.start(["-c", "echo begun >&2; kill -9 $$"], environment=ENVIRONMENT, on_line=None)
    code = child.follow(lambda _: None, silence=600)
    failure = child.errors.failure(code=code, place="s3:b", bucket="b", endpoint="http://s3")
    assert failure.reason == transfer.REASON_OUT_OF_MEMORY


def test_only_while_a_line_is_waited_for_an_engine_is_silent() -> None:
    ended = threading.Event()
    ear = _Ear(0.02, end=ended.set)
    try:
        assert not ended.wait(0.2), "nothing was listened for yet"
        ear.turn()
        ear.turn()
        assert not ended.wait(0.2), "a line is dealt with, however long that takes"
        ear.turn()
        assert ended.wait(60)
    finally:
        ear.close()
