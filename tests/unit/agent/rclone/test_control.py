"""Small requests to a running engine, with a script in the engine's place."""

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.children import Stop
from datamover.agent.errors import Stopped
from datamover.agent.rclone.control import Control, ControlError
from datamover.agent.rclone.process import Engine
from datamover.api import transfer
from datamover.api.outside import Unusable

# answers each request with what was asked, or as the command says; counts its starts in a file. Like rclone it cannot listen where a socket was left
SCRIPT = f"""#!{sys.executable} -IS
import os, socket, sys, time
path = sys.argv[3].removeprefix("unix://")
open(path.replace("control", "starts"), "a").write("x")
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
while True:
    connection, _ = server.accept()
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    command = data.split(b" ")[1] if data else b""
    if command == b"/die":
        os._exit(1)
    if command == b"/hang":
        time.sleep(60)
    if command == b"/grow":
        taken = b"x" * (64 << 20)
        time.sleep(60)
    if command == b"/fail":
        answer = b'{{"error": "operation error S3: AccessDenied: Access Denied", "status": 500}}'
    else:
        answer = b'{{"list": [{{"Path": "a/b", "IsDir": false, "Size": 3}}, {{"Path": "d", "IsDir": true}}]}}'
    if data:
        connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Type: application/json\\r\\n\\r\\n" + answer)
    connection.close()
"""


@pytest.fixture
def stop() -> Stop:
    return Stop(grace=0.2)


@pytest.fixture(params=["short", "long"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A scratch directory whose path fits into a socket's address, and one that does not."""
    if request.param == "long":
        deep = tmp_path / ("long" * 20) / ("path" * 20)
        deep.mkdir(parents=True)
        yield deep
    else:
        with tempfile.TemporaryDirectory() as short:
            yield Path(short)


@pytest.fixture
def control(folder: Path, stop: Stop) -> Iterator[Control]:
    program = folder / "engine"
    program.write_text(SCRIPT)
    program.chmod(0o755)
    engine = Engine(str(program), stop=stop)
    made = Control(engine, environment=dict(os.environ), scratch=str(folder), show=lambda _: None)
    yield made
    made.close()


def test_an_answer_is_read_however_long_the_directorys_name(control: Control) -> None:
    control.start()
    answer = control.ask("operations/list", {"fs": "x"}, timeout=10)
    assert answer.error == ""
    assert [(item.path, item.is_dir) for item in answer.list or ()] == [("a/b", False), ("d", True)]
    assert control.ready


def test_the_engine_is_started_by_the_first_request_and_again_when_it_is_gone(control: Control, folder: Path) -> None:
    assert not control.ready
    control.ask("operations/list", {}, timeout=10)
    with pytest.raises(ControlError):
        control.ask("die", {}, timeout=10)
    for _ in range(20):
        try:
            assert control.ask("operations/list", {}, timeout=10).list
            break
        except ControlError:
            continue
    assert (folder / "starts").read_text() == "xx"


def test_an_engine_that_was_started_early_is_the_one_that_is_asked(control: Control, folder: Path) -> None:
    control.start_early()
    control.start_early()
    control.ask("operations/list", {}, timeout=20)
    assert (folder / "starts").read_text() == "x"


def test_an_engine_that_was_let_go_is_started_again_by_a_request(control: Control, folder: Path) -> None:
    control.ask("operations/list", {}, timeout=20)
    control.end()
    control.end()
    assert control.ask("operations/list", {}, timeout=20).list is not None
    assert (folder / "starts").read_text() == "xx"


def test_an_error_of_the_engine_is_an_answer(control: Control) -> None:
    assert "AccessDenied" in control.ask("fail", {}, timeout=10).error


def test_a_request_without_an_answer_ends_with_its_timeout(control: Control) -> None:
    control.ask("operations/list", {}, timeout=10)
    with pytest.raises(ControlError):
        control.ask("hang", {}, timeout=0.1)


def test_a_stop_ends_it(control: Control, stop: Stop) -> None:
    control.ask("operations/list", {}, timeout=10)
    stop.request(transfer.INTERRUPTED)
    with pytest.raises(Stopped):
        control.ask("operations/list", {}, timeout=10)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"list": [{"Pa',
    ],
    ids=["nothing", "a head alone", "half of it", "half of a long one"],
)
def test_an_engine_that_goes_in_the_middle_of_a_request_has_not_done_it(
    control: Control, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    monkeypatch.setattr(control, "_wait_ready", lambda *, timeout: ours)
    with theirs, pytest.raises(ControlError, match="closed the connection") as told:
        control.ask("operations/list", {}, timeout=5)
    assert not told.value.killed


def test_an_engine_that_was_killed_is_told_so(control: Control) -> None:
    control.ask("rc/noop", {}, timeout=5)
    assert control._child is not None
    control._child._process.kill()
    ours, theirs = socket.socketpair()
    theirs.close()
    control._wait_ready = lambda *, timeout: ours  # type: ignore[method-assign]
    with pytest.raises(ControlError) as told:
        control.ask("rc/noop", {}, timeout=5)
    assert told.value.killed


def test_an_engine_that_takes_too_much_memory_for_a_request_is_ended_and_started_again(
    control: Control, folder: Path
) -> None:
    control.ask("operations/list", {}, timeout=20, room=16 << 20)
    with pytest.raises(ControlError, match="memory"):
        control.ask("grow", {}, timeout=60, room=16 << 20)
    assert not control.ready
    assert control.ask("operations/list", {}, timeout=20, room=16 << 20).list
    assert (folder / "starts").read_text() == "xx"


def test_an_answer_that_is_too_long_is_not_taken_in(control: Control) -> None:
    with pytest.raises(Unusable, match="longer than 20 bytes"):
        control.ask("operations/list", {}, timeout=20, limit=20)
