import asyncio
from datetime import timedelta

import pytest

from kubekit.runtime.clock import SystemClock
from kubekit.words import timestamps
from localkube.node.logs import parse_line, read_log
from localkube.store.pod_logs import LogOptions
from support.clock import VirtualClock

START = timestamps.parse("2026-01-01T12:00:00Z")


def line(text, *, seconds=0, tag="F", stream="stdout"):
    return f"{timestamps.micros(START + timedelta(seconds=seconds))} {stream} {tag} {text}\n"


async def read(log, *, clock=None, ended=lambda: True, **options):
    pieces = [piece async for piece in read_log(log, LogOptions(**options), clock=clock or SystemClock(), ended=ended)]
    return b"".join(pieces).decode()


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "0.log"
    (tmp_path / "0.log.1").write_text(line("zero") + line("one", seconds=1))
    path.write_text(
        line("two", seconds=2) + line("lo", tag="P", seconds=3) + line("ng", seconds=3) + line("four", seconds=4)
    )
    return path


async def test_the_older_half_comes_first_and_pieces_are_joined(log):
    assert await read(log) == "zero\none\ntwo\nlong\nfour\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tail": 2}, "long\nfour\n"),
        ({"tail": 0}, ""),
        ({"tail": 100}, "zero\none\ntwo\nlong\nfour\n"),
        ({"since": START + timedelta(seconds=3)}, "long\nfour\n"),
        ({"limit": 7}, "zero\non"),
        ({"limit": 0}, ""),
        ({"tail": 3, "limit": 3}, "two"),
    ],
)
async def test_less_can_be_asked_for(log, options, expected):
    assert await read(log, **options) == expected


async def test_since_seconds_counts_from_now(log):
    clock = VirtualClock(START + timedelta(seconds=10))
    assert await read(log, clock=clock, since_seconds=7) == "long\nfour\n"


async def test_times_are_shown_once_for_each_line(log):
    shown = await read(log, timestamps=True, tail=2)
    assert shown == "2026-01-01T12:00:03.000000Z long\n2026-01-01T12:00:04.000000Z four\n"


async def test_a_missing_log_is_empty(tmp_path):
    assert await read(tmp_path / "none.log") == ""


async def test_following_goes_on_over_a_rotation_until_the_container_has_ended(log):
    over = False
    found = []

    async def follow():
        async for piece in read_log(log, LogOptions(follow=True, tail=1), clock=SystemClock(), ended=lambda: over):
            found.append(piece)

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    with log.open("a") as file:
        file.write(line("five") + "2026-01-01T12:00:05.000000Z stdout F half")
    await asyncio.sleep(0.3)
    with log.open("a") as file:
        file.write("-line\n" + line("last of the old"))
    log.rename(f"{log}.1")
    log.write_text(line("six"))
    await asyncio.sleep(0.3)
    over = True
    async with asyncio.timeout(5):
        await following
    assert b"".join(found) == b"four\nfive\nhalf-line\nlast of the old\nsix\n"


async def test_following_what_has_ended_returns_at_once(log):
    async with asyncio.timeout(20):
        assert (await read(log, follow=True)).endswith("four\n")


@pytest.mark.parametrize("raw", [b"", b"garbage", b"2026 stdout"])
def test_what_is_no_entry_is_left_out(raw):
    assert parse_line(raw) is None


async def test_logs_of_a_running_pod_can_be_followed_through_the_server(world):
    await world.pod(script="echo one; sleep 0.3; echo two")
    await world.until_phase("p", "Running", "Succeeded")
    pieces = await world.node.read_log("default", "p", "main", LogOptions(follow=True))
    assert b"".join([piece async for piece in pieces]) == b"one\ntwo\n"


async def test_the_log_before_a_restart_can_be_read(world):
    script = (
        "echo x >> $DATAMOVER_ROOT/keep/n; wc -l < $DATAMOVER_ROOT/keep/n; [ $(wc -l < $DATAMOVER_ROOT/keep/n) -ge 2 ]"
    )
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/keep"}]}
    await world.pod(script=script, restartPolicy="OnFailure", container=mount, volumes=[{"name": "v", "emptyDir": {}}])
    await world.until_phase()

    async def text(**options):
        pieces = await world.node.read_log("default", "p", "main", LogOptions(**options))
        return b"".join([piece async for piece in pieces])

    assert await text(previous=True) == b"1\n"
    assert await text() == b"2\n"


async def test_a_container_without_a_log_is_a_key_error(world):
    with pytest.raises(KeyError):
        await world.node.read_log("default", "nobody", "main", LogOptions())
