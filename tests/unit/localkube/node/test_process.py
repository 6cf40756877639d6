import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubekit.runtime.clock import SystemClock
from localkube.node import leftovers, process
from localkube.node.leftovers import MARKER, end_leftovers, marker_prefix
from localkube.node.process import Command, ProcessError, StartRefused, Supervisor, read_record

SRC = str(Path(process.__file__).parents[2])


def own(name):
    """An id that no container of tests in another process has: ids say which processes belong together."""
    return f"tests-{os.getpid()}#{name}"


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
    await supervisor.start(own("a"), shell(tmp_path, "echo out; echo err >&2; printf 'no newline'"))
    assert (await ends.of(own("a"))).code == 0
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
    await supervisor.start(own("a"), shell(tmp_path, script))
    end = await ends.of(own("a"))
    assert (end.code, end.signal, end.node_gone) == (code, number, False)
    assert end.started <= end.finished
    assert read_record(tmp_path / "c.json") == (own("a"), end)


async def test_a_process_gets_exactly_the_environment_that_it_was_given(supervisor, ends, tmp_path, monkeypatch):
    monkeypatch.setenv("OPERATOR_SECRET", "x")
    await supervisor.start(
        own("a"), command(tmp_path, "env", env={"A": "1", "odd.name-%": "two\nlines", "B": "\udcff"})
    )
    await ends.of(own("a"))
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
        await supervisor.start(own("a"), command(tmp_path, *argv, env={"SECRET": "hush", **env}))
    assert part in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "xxx" not in str(caught.value)


async def test_a_signal_reaches_the_whole_group(supervisor, ends, tmp_path):
    await supervisor.start(own("a"), shell(tmp_path, "sleep 100 & echo $!; wait"))
    await until(lambda: (tmp_path / "c.log").exists() and text(tmp_path))
    child = int(text(tmp_path)[0])
    supervisor.send_signal(own("a"), signal.SIGTERM)
    assert (await ends.of(own("a"))).code == 143
    await until(lambda: not alive(child))


async def test_when_the_main_process_ends_everything_of_it_ends(supervisor, ends, tmp_path):
    daemon = f"{sys.executable} -c 'import os,time; os.setsid(); os.fork() and os._exit(0); print(os.getpid(), flush=True); time.sleep(100)'"
    await supervisor.start(own("a"), shell(tmp_path, f"sleep 100 & echo $!; {daemon} & sleep 0.5; exit 3"))
    assert (await ends.of(own("a"))).code == 3
    pids = [int(line) for line in text(tmp_path)]
    assert len(pids) == 2
    await until(lambda: not any(alive(pid) for pid in pids))


async def test_a_log_is_bounded_by_one_rotation(supervisor, ends, tmp_path):
    await supervisor.start(
        own("a"), shell(tmp_path, "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done", limit=20_000)
    )
    await ends.of(own("a"))
    sizes = [path.stat().st_size for path in tmp_path.glob("c.log*")]
    assert len(sizes) == 2
    assert max(sizes) <= 20_000
    assert text(tmp_path)[-1] == "line 1999"


async def test_very_long_lines_are_kept_in_pieces(supervisor, ends, tmp_path):
    await supervisor.start(own("a"), command(tmp_path, sys.executable, "-c", "print('x' * 40000)"))
    await ends.of(own("a"))
    lines = (tmp_path / "c.log").read_text().splitlines()
    assert [line.split(" ")[2] for line in lines] == ["P"] * (len(lines) - 1) + ["F"]
    assert "".join(text(tmp_path)) == "x" * 40000


async def test_many_processes_at_once(supervisor, ends, tmp_path):
    await asyncio.gather(
        *(supervisor.start(own(f"p{n}"), shell(tmp_path, f"exit {n}", name=f"p{n}")) for n in range(60))
    )
    codes = [(await ends.of(own(f"p{n}"))).code for n in range(60)]
    assert codes == list(range(60))


async def test_closing_stops_what_runs_gently_and_then_by_force(tmp_path):
    supervisor = Supervisor(tmp_path / "state", clock=SystemClock(), grace=0.5)
    await supervisor.open()
    ends = Ends(supervisor)
    await supervisor.start(
        own("gentle"), shell(tmp_path, "trap 'echo bye; exit 5' TERM; echo up; sleep 100 & wait", name="g")
    )
    await supervisor.start(
        own("stubborn"), shell(tmp_path, "trap '' TERM; echo up; while :; do sleep 100; done", name="s")
    )
    await until(lambda: all((tmp_path / f"{n}.log").exists() and text(tmp_path, n) for n in "gs"))
    await supervisor.close()
    gentle, stubborn = await ends.of(own("gentle")), await ends.of(own("stubborn"))
    assert (gentle.code, gentle.node_gone) == (5, True)
    assert (stubborn.code, stubborn.node_gone) == (137, True)
    assert text(tmp_path, "g") == ["up", "bye"]
    assert read_record(tmp_path / "g.json") == (own("gentle"), gentle)
    await supervisor.close()


async def test_a_second_node_on_the_same_directory_is_refused(supervisor, tmp_path):
    second = Supervisor(tmp_path / "state", clock=SystemClock())
    with pytest.raises(ProcessError, match="another node already serves"):
        await second.open()
    await second.close()


NODE = """
import asyncio, sys
from pathlib import Path
from localkube.node.leftovers import marker_prefix
from localkube.node.process import Command, Supervisor
from kubekit.runtime.clock import SystemClock
async def main():
    state, work = Path(sys.argv[1]), Path(sys.argv[2])
    supervisor = Supervisor(state, clock=SystemClock(), grace=60)
    await supervisor.open()
    id_ = marker_prefix(state) + "uid/c/0"
    await supervisor.start(id_, Command(("sh", "-c", sys.argv[3]), {"PATH": "/usr/bin:/bin"}, work, work / "c.log", work / "c.json"))
    print("started", flush=True)
    await asyncio.sleep(100)
asyncio.run(main())
"""


def killed_node(tmp_path, script, *, lines=1, path=None):
    """Run a node in a process of its own until its container has said enough; then kill -9 it. Return what the container said."""
    arguments = [sys.executable, "-c", NODE, str(tmp_path / "state"), str(tmp_path), script]
    environment = {**os.environ, "PYTHONPATH": SRC, **({"PATH": path} if path else {})}
    node = subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert node.stdout.readline() == b"started\n"
    deadline = time.monotonic() + 10
    while not ((tmp_path / "c.log").exists() and len(text(tmp_path)) >= lines):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    node.kill()
    node.wait()
    node.stdout.close()
    return text(tmp_path)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
async def test_a_node_that_is_killed_takes_its_containers_along(tmp_path):
    (pid,) = await asyncio.to_thread(killed_node, tmp_path, "trap '' TERM; echo $$; while :; do sleep 0.1; done")
    await until(lambda: not alive(int(pid)))
    assert read_record(tmp_path / "c.json")[1] is None, "its end was not seen: it counts as cut off"


@pytest.mark.parametrize("path", [None, "/nowhere"], ids=["with setpriv", "without setpriv"])
async def test_the_next_node_ends_what_the_kernel_did_not(tmp_path, path):
    script = "echo $$; setsid sleep 100 & echo $!; sleep 101 & echo $!; wait"
    pids = [int(line) for line in await asyncio.to_thread(killed_node, tmp_path, script, lines=3, path=path)]
    second = Supervisor(tmp_path / "state", clock=SystemClock())
    await second.open()
    assert not any(alive(pid) for pid in pids)
    await second.close()
    assert read_record(tmp_path / "c.json")[1] is None


async def test_without_setpriv_everything_runs_and_what_is_lost_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(leftovers.shutil, "which", lambda name, **_: None)
    supervisor = Supervisor(tmp_path / "state", clock=SystemClock())
    await supervisor.open()
    assert "no setpriv of util-linux" in caplog.text
    monkeypatch.undo()
    ends = Ends(supervisor)
    await supervisor.start(own("a"), shell(tmp_path, "exit 4"))
    assert (await ends.of(own("a"))).code == 4
    await supervisor.close()


def test_the_setpriv_of_busybox_is_none(tmp_path, monkeypatch):
    (tmp_path / "busybox").touch(mode=0o755)
    (tmp_path / "setpriv").symlink_to("busybox")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert leftovers.tied() == ()


async def test_a_program_is_looked_up_on_the_path_of_its_container(supervisor, ends, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/own").write_text("#!/bin/sh\necho own $1")
    (tmp_path / "bin/own").chmod(0o755)
    await supervisor.start(own("a"), command(tmp_path, "own", "x", env={"PATH": f"{tmp_path}/bin"}))
    await ends.of(own("a"))
    await supervisor.start(own("b"), command(tmp_path, "bin/own", "y"))
    await ends.of(own("b"))
    assert text(tmp_path) == ["own x", "own y"]


async def test_a_container_reads_nothing(supervisor, ends, tmp_path):
    await supervisor.start(own("a"), shell(tmp_path, "cat; echo done"))
    assert (await ends.of(own("a"))).code == 0
    assert text(tmp_path) == ["done"]


async def test_strangers_are_never_killed(tmp_path):
    """Another node's container, whose state directory only begins with the same letters."""
    state = tmp_path / "state"
    state.mkdir()
    marker = {MARKER: marker_prefix(tmp_path / "state2") + "uid/c/0"}
    stranger = await asyncio.create_subprocess_exec("sleep", "100", env={**os.environ, **marker})
    mine = await asyncio.create_subprocess_exec(
        "sleep", "100", env={**os.environ, MARKER: marker_prefix(state) + "u/c/0"}
    )
    await asyncio.to_thread(end_leftovers, state, patience=10)
    assert await mine.wait() == -9
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


def test_a_record_that_is_torn_is_no_record(tmp_path):
    (tmp_path / "r.json").write_text('{"id": "x", "co')
    assert read_record(tmp_path / "r.json") == (None, None)
    (tmp_path / "r.json").write_text(json.dumps({"id": "x", "pid": 1}))
    assert read_record(tmp_path / "r.json") == ("x", None)
