import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubekit.runtime.clock import SystemClock
from localkube.node import process
from localkube.node.process import (
    Command,
    ProcessError,
    StartRefused,
    Supervisor,
    end_leftovers,
    marker_prefix,
    read_record,
)

SRC = str(Path(process.__file__).parents[2])


class Ends:
    """What was heard of processes that ended."""

    def __init__(self, supervisor):
        self._found = {}
        self._news = asyncio.Event()
        supervisor.on_exit(self._hear)

    def _hear(self, id_, end):
        self._found[id_] = end
        self._news.set()

    async def of(self, id_):
        async with asyncio.timeout(10):
            while id_ not in self._found:
                self._news.clear()
                await self._news.wait()
        return self._found[id_]


@pytest.fixture
async def supervisor(tmp_path):
    made = Supervisor(tmp_path / "state", clock=SystemClock(), grace=2)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def ends(supervisor):
    return Ends(supervisor)


def command(tmp_path, *argv, env=None, name="c", limit=10_000_000):
    return Command(
        argv=argv,
        env={"PATH": os.environ["PATH"], **(env or {})},
        cwd=tmp_path,
        log=tmp_path / f"{name}.log",
        record=tmp_path / f"{name}.json",
        log_limit=limit,
    )


def shell(tmp_path, script, **more):
    return command(tmp_path, "sh", "-c", script, **more)


def text(tmp_path, name="c", stream="stdout"):
    lines = (tmp_path / f"{name}.log").read_text().splitlines()
    return [line.split(" ", 3)[3] for line in lines if line.split(" ", 3)[1] == stream]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_output_of_both_streams_is_logged_with_times(supervisor, ends, tmp_path):
    await supervisor.start("a", shell(tmp_path, "echo out; echo err >&2; printf 'no newline'"))
    assert (await ends.of("a")).code == 0
    assert text(tmp_path) == ["out", "no newline"]
    assert text(tmp_path, stream="stderr") == ["err"]
    assert (tmp_path / "c.log").read_text().startswith("20")


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [
        ("exit 0", 0, None),
        ("exit 7", 7, None),
        ("kill -TERM $$", 143, 15),
        ("kill -9 $$", 137, 9),
        ("exit 137", 137, None),
    ],
)
async def test_exit_codes_and_signals_are_told_apart(supervisor, ends, tmp_path, script, code, number):
    await supervisor.start("a", shell(tmp_path, script))
    end = await ends.of("a")
    assert (end.code, end.signal, end.node_gone) == (code, number, False)
    assert end.started <= end.finished
    assert read_record(tmp_path / "c.json") == ("a", end)


async def test_a_process_gets_exactly_the_environment_that_it_was_given(supervisor, ends, tmp_path, monkeypatch):
    monkeypatch.setenv("OPERATOR_SECRET", "x")
    await supervisor.start("a", command(tmp_path, "env", env={"A": "1", "odd.name-%": "two\nlines", "B": "\udcff"}))
    await ends.of("a")
    names = {
        line.partition("=")[0]
        for line in (tmp_path / "c.log").read_bytes().decode("latin-1").splitlines()
        for line in [line.split(" ", 3)[3]]
    }
    assert {"A", "odd.name-%", "B", "PATH"} <= names
    assert "OPERATOR_SECRET" not in names
    assert b"B=\xff" in (tmp_path / "c.log").read_bytes()


@pytest.mark.parametrize(
    ("argv", "env", "part"),
    [
        (("no-such-program",), {}, "no such file or directory"),
        (("/etc/passwd",), {}, "permission denied"),
        (("true",), {"A": "nul\0byte"}, "NUL byte"),
        (("true", "x" * 3_000_000), {}, "argument list too long"),
    ],
)
async def test_what_cannot_be_executed_is_refused_without_its_arguments(supervisor, tmp_path, argv, env, part):
    with pytest.raises(StartRefused) as caught:
        await supervisor.start("a", command(tmp_path, *argv, env={"SECRET": "hush", **env}))
    assert part in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "xxx" not in str(caught.value)


async def test_a_signal_reaches_the_whole_group(supervisor, ends, tmp_path):
    await supervisor.start("a", shell(tmp_path, "sleep 100 & echo $!; wait"))
    await until(lambda: (tmp_path / "c.log").exists() and text(tmp_path))
    child = int(text(tmp_path)[0])
    supervisor.send_signal("a", signal.SIGTERM)
    assert (await ends.of("a")).code == 143
    await until(lambda: not alive(child))


async def test_when_the_main_process_ends_everything_of_it_ends(supervisor, ends, tmp_path):
    daemon = f"{sys.executable} -c 'import os,time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); time.sleep(100)'"
    await supervisor.start("a", shell(tmp_path, f"sleep 100 & echo $!; {daemon} & sleep 0.5; exit 3"))
    assert (await ends.of("a")).code == 3
    pids = [int(line) for line in text(tmp_path)]
    assert len(pids) == 2
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_a_log_is_bounded_by_one_rotation(supervisor, ends, tmp_path):
    await supervisor.start(
        "a", shell(tmp_path, "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", limit=20_000)
    )
    await ends.of("a")
    sizes = [path.stat().st_size for path in tmp_path.glob("c.log*")]
    assert len(sizes) == 2
    assert max(sizes) <= 20_000
    assert text(tmp_path)[-1] == "line 1999"


async def test_very_long_lines_are_kept_in_pieces(supervisor, ends, tmp_path):
    await supervisor.start("a", command(tmp_path, sys.executable, "-c", "print('x' * 40000)"))
    await ends.of("a")
    lines = (tmp_path / "c.log").read_text().splitlines()
    assert [line.split(" ")[2] for line in lines] == ["P"] * (len(lines) - 1) + ["F"]
    assert "".join(text(tmp_path)) == "x" * 40000


async def test_many_processes_at_once(supervisor, ends, tmp_path):
    await asyncio.gather(*(supervisor.start(f"p{n}", shell(tmp_path, f"exit {n}", name=f"p{n}")) for n in range(60)))
    codes = [(await ends.of(f"p{n}")).code for n in range(60)]
    assert codes == list(range(60))


async def test_closing_stops_what_runs_gently_and_then_by_force(tmp_path):
    supervisor = Supervisor(tmp_path / "state", clock=SystemClock(), grace=0.5)
    await supervisor.open()
    ends = Ends(supervisor)
    await supervisor.start(
        "gentle", shell(tmp_path, "trap 'echo bye; exit 5' TERM; echo up; sleep 100 & wait", name="g")
    )
    await supervisor.start("stubborn", shell(tmp_path, "trap '' TERM; echo up; while :; do sleep 100; done", name="s"))
    await until(lambda: all((tmp_path / f"{n}.log").exists() and text(tmp_path, n) for n in "gs"))
    await supervisor.close()
    gentle, stubborn = await ends.of("gentle"), await ends.of("stubborn")
    assert (gentle.code, gentle.node_gone) == (5, True)
    assert (stubborn.code, stubborn.node_gone) == (137, True)
    assert text(tmp_path, "g") == ["up", "bye"]
    assert read_record(tmp_path / "g.json") == ("gentle", gentle)
    await supervisor.close()


async def test_a_second_node_on_the_same_directory_is_refused(supervisor, tmp_path):
    second = Supervisor(tmp_path / "state", clock=SystemClock())
    with pytest.raises(ProcessError, match="another node already serves"):
        await second.open()
    await second.close()


async def test_when_the_supervisor_is_killed_its_containers_die_and_the_next_start_works(supervisor, ends, tmp_path):
    pid = await supervisor.start("a", shell(tmp_path, "echo $$; exec sleep 100"))
    await until(lambda: (tmp_path / "c.log").exists() and text(tmp_path))
    os.kill(int((tmp_path / "state/supervisor.lock").read_text()), signal.SIGKILL)
    end = await ends.of("a")
    assert (end.code, end.signal) == (137, 9)
    await until(lambda: not alive(pid))
    await supervisor.start("b", shell(tmp_path, "exit 4", name="b"))
    assert (await ends.of("b")).code == 4


NODE = """
import asyncio, sys
from pathlib import Path
from localkube.node.process import *
from kubekit.runtime.clock import SystemClock
async def main():
    state, work = Path(sys.argv[1]), Path(sys.argv[2])
    supervisor = Supervisor(state, clock=SystemClock(), grace=float(sys.argv[3]))
    await supervisor.open()
    id_ = marker_prefix(state) + "uid/c/0"
    await supervisor.start(id_, Command(("sh", "-c", sys.argv[4]), {"PATH": "/usr/bin:/bin"}, work, work / "c.log", work / "c.json"))
    print("started", flush=True)
    await asyncio.sleep(100)
asyncio.run(main())
"""


def killed_node(tmp_path, script, *, grace=2.0, lines=1, supervisor_too=False):
    """Run a node in a process of its own until its container has said enough; then kill -9 it."""
    arguments = [sys.executable, "-c", NODE, str(tmp_path / "state"), str(tmp_path), str(grace), script]
    node = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": SRC}, stdout=subprocess.PIPE)
    assert node.stdout.readline() == b"started\n"
    deadline = time.monotonic() + 10
    while not ((tmp_path / "c.log").exists() and len(text(tmp_path)) >= lines):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    if supervisor_too:
        os.kill(int((tmp_path / "state/supervisor.lock").read_text()), signal.SIGKILL)
    node.kill()
    node.wait()
    node.stdout.close()


async def test_after_kill_9_of_the_node_its_containers_get_time_to_end_and_their_end_is_on_disk(tmp_path):
    await asyncio.to_thread(killed_node, tmp_path, "trap 'echo saved; exit 9' TERM; echo $$; sleep 100 & wait")
    second = Supervisor(tmp_path / "state", clock=SystemClock(), grace=2)
    await second.open()
    await second.close()
    pid = int(text(tmp_path)[0])
    assert not alive(pid)
    assert text(tmp_path)[1:] == ["saved"]
    _, end = read_record(tmp_path / "c.json")
    assert (end.code, end.node_gone) == (9, True)


async def test_after_kill_9_of_node_and_supervisor_nothing_of_it_runs(tmp_path):
    script = "echo $$; setsid sleep 100 & echo $!; sleep 101 & echo $!; wait"
    await asyncio.to_thread(killed_node, tmp_path, script, grace=60, lines=3, supervisor_too=True)
    pids = [int(line) for line in text(tmp_path)]
    await asyncio.to_thread(end_leftovers, tmp_path / "state", patience=5)
    await until(lambda: not any(alive(pid) for pid in pids))
    assert read_record(tmp_path / "c.json")[1] is None


async def test_strangers_are_never_killed(tmp_path):
    """Another node's container, whose state directory only begins with the same letters."""
    state = tmp_path / "state"
    state.mkdir()
    marker = {process.supervisor.MARKER: marker_prefix(tmp_path / "state2") + "uid/c/0"}
    stranger = await asyncio.create_subprocess_exec("sleep", "100", env={**os.environ, **marker})
    mine = await asyncio.create_subprocess_exec(
        "sleep", "100", env={**os.environ, process.supervisor.MARKER: marker_prefix(state) + "u/c/0"}
    )
    await asyncio.to_thread(end_leftovers, state, patience=1)
    assert await mine.wait() == -9
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


def test_a_record_that_is_torn_is_no_record(tmp_path):
    (tmp_path / "r.json").write_text('{"id": "x", "co')
    assert read_record(tmp_path / "r.json") == (None, None)
    (tmp_path / "r.json").write_text(json.dumps({"id": "x", "pid": 1}))
    assert read_record(tmp_path / "r.json") == ("x", None)


SLOW = """
import runpy, sys, time
time.sleep(0.6)
sys.argv[0] = {script!r}
runpy.run_path({script!r}, run_name="__main__")
"""
HASTY = """
import asyncio, os, signal, sys
from pathlib import Path
from localkube.node import process
from localkube.node.process import *
from kubekit.runtime.clock import SystemClock
process.supervisor.__file__ = sys.argv[3]
async def main():
    state, work = Path(sys.argv[1]), Path(sys.argv[2])
    supervisor = Supervisor(state, clock=SystemClock(), grace=1)
    await supervisor.open()
    command = Command(("sh", "-c", "echo ran"), {"PATH": "/usr/bin:/bin"}, work, work / "c.log", work / "c.json")
    starting = asyncio.create_task(supervisor.start(marker_prefix(state) + "uid/c/0", command))
    while supervisor._writer is None:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


async def test_a_node_that_dies_while_its_supervisor_comes_up_leaves_no_order_behind(tmp_path):
    """The order lies in the socket when the node dies; the script has not even begun."""
    slow = tmp_path / "slow.py"
    slow.write_text(SLOW.format(script=process.supervisor.__file__))
    arguments = [sys.executable, "-c", HASTY, str(tmp_path / "state"), str(tmp_path), str(slow)]
    done = await asyncio.to_thread(subprocess.run, arguments, env={**os.environ, "PYTHONPATH": SRC}, check=False)
    assert done.returncode == -signal.SIGKILL
    await asyncio.to_thread(end_leftovers, tmp_path / "state", patience=10)
    assert (tmp_path / "state/supervisor.lock").read_text().isdigit()
    assert not (tmp_path / "c.log").exists()
    assert not (tmp_path / "c.json").exists()
