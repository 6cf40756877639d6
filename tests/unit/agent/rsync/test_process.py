"""rsync as a child process, with a shell in its place where it has to say certain things."""

import os
import signal
import threading
from pathlib import Path

import pytest

from datamover.agent.children import Stop
from datamover.agent.errors import Failure, Stopped
from datamover.agent.rsync.output import Advance
from datamover.agent.rsync.process import Rsync, child_environment
from datamover.agent.rsync.program import find_program
from datamover.agent.rsync.retries import retry
from datamover.api import transfer
from support.s3 import wait_for

ENVIRONMENT = child_environment(os.environ)


def engine(said: list[str], advances: list[Advance], *, stop: Stop | None = None) -> Rsync:
    return Rsync(
        "/bin/sh", stop=stop or Stop(grace=0.3), environment=ENVIRONMENT, say=said.append, advance=advances.append
    )


def test_lines_progress_and_statistics_come_apart() -> None:
    said: list[str] = []
    advances: list[Advance] = []
    script = r"""printf '  5  50%%  1.00kB/s  0:00:01\r 10 100%%  1.00kB/s  0:00:00 (xfr#1, to-chk=0/2)\n'
echo 'Total file size: 10 bytes'; echo 'file has vanished: "/x"' >&2; echo done; exit 24"""
    ended = engine(said, advances).run(["-c", script])
    assert [each.size for each in advances] == [5, 10]
    assert said == ["Total file size: 10 bytes", 'file has vanished: "/x"', "done"]
    assert (ended.code, ended.statistics.size) == (24, 10)
    with pytest.raises(Failure) as caught:
        ended.check(peer="peer")
    assert caught.value.reason == transfer.REASON_SOURCE_CHANGED


def test_a_quiet_run_says_only_what_goes_wrong() -> None:
    said: list[str] = []
    engine(said, []).run(["-c", "echo hello; echo 'rsync: [sender] oh no'"], quiet=True)
    assert said == ["rsync: [sender] oh no"]


def test_a_stop_reaches_rsync_and_raises(tmp_path: Path) -> None:
    stop = Stop(grace=5)
    ready = tmp_path / "ready"

    def end() -> None:
        wait_for(ready.exists)
        stop.request(transfer.INTERRUPTED)

    other = threading.Thread(target=end)
    other.start()
    with pytest.raises(Stopped):
        engine([], [], stop=stop).run(["-c", f"trap 'exit 20' TERM; : > {ready}; while :; do sleep 0.05; done"])
    other.join()


def test_a_killed_rsync_is_told_as_such() -> None:
    ended = engine([], []).run(["-c", "kill -9 $$"])
    assert ended.code == -signal.SIGKILL


def test_a_child_gets_neither_secrets_nor_options() -> None:
    assert child_environment({"PATH": "/bin", "RSYNC_PASSWORD": "x", "RSYNC_CONNECT_PROG": "y", "KEY": "z"}, A="b") == {
        "PATH": "/bin",
        "LC_ALL": "C",
        "A": "b",
    }  # fmt: skip


def test_a_program_is_found_by_any_of_its_names_or_told_as_missing(tmp_path: Path) -> None:
    program = tmp_path / "stunnel4"
    program.write_text("")
    program.chmod(0o755)
    assert find_program(("no-such-stunnel", "stunnel4"), search=str(tmp_path)) == str(program)
    assert find_program(("rsync",), given=str(program), search=None) == str(program)
    with pytest.raises(Failure) as caught:
        find_program(("rsync",), given=str(tmp_path / "absent"), variable="DATAMOVER_RSYNC", search=None)
    assert caught.value.reason == transfer.REASON_ENGINE_MISSING
    assert "DATAMOVER_RSYNC" in caught.value.message


def test_what_may_heal_is_tried_five_times_with_doubling_pauses() -> None:
    said: list[str] = []
    waits: list[str] = []
    tries: list[int] = []

    def work(number: int) -> str:
        tries.append(number)
        raise Failure(transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "Nobody is there.")

    with pytest.raises(Failure):
        retry(work, stop=Stop(grace=1), say=said.append, wait=waits.append, pause=0.001)
    assert tries == [1, 2, 3, 4, 5]
    assert [line for line in said if "again" in line] == [
        f"Trying again in {pause} s." for pause in ("0.001", "0.002", "0.004", "0.008")
    ]
    assert waits == ["Nobody is there."] * 4


def test_what_succeeds_later_is_told_as_over_and_what_cannot_heal_is_not_tried_again() -> None:
    waits: list[str] = []

    def work(number: int) -> int:
        if number < 3:
            raise Failure(transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "Nobody is there.")
        return number

    assert retry(work, stop=Stop(grace=1), say=str, wait=waits.append, pause=0.001) == 3
    assert waits[-1] == ""
    tries: list[int] = []

    def refuse(number: int) -> None:
        tries.append(number)
        raise Failure(transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS, "Another key.")

    with pytest.raises(Failure):
        retry(refuse, stop=Stop(grace=1), say=str, pause=0.001)
    assert tries == [1]


def test_a_stop_ends_the_tries() -> None:
    stop = Stop(grace=1)

    def work(_: int) -> None:
        stop.request(transfer.INTERRUPTED)
        raise Failure(transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "Nobody is there.")

    with pytest.raises(Stopped):
        retry(work, stop=stop, say=str)
