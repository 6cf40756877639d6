"""The file of modes that is written beside the engine's work."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.agent.errors import Stopped
from datamover.agent.files.walk import Tally
from datamover.agent.rclone_conf.modes import Beside, write_modes


def nothing() -> None:
    """Nothing ends the attempt."""


def test_what_is_awaited_is_written(tmp_path: Path) -> None:
    volume, file, tally = tmp_path / "data", tmp_path / "file", Tally()
    volume.mkdir()
    (volume / "a").touch()
    with Beside(
        lambda tick: write_modes(str(volume), str(file), volume="/data", tally=tally, tick=tick), check=nothing
    ) as walk:
        walk.finish()
        assert tally.files == 1
        assert b"# file: data/a\n" in file.read_bytes()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Stopped("interrupted")], ids=str)
def test_what_the_walk_raises_is_raised_where_it_is_awaited(error: Exception) -> None:
    def write(tick: Callable[[], None]) -> None:
        raise error

    with Beside(write, check=nothing) as walk, pytest.raises(type(error)):
        walk.finish()


def test_a_stop_of_the_attempt_ends_the_walk() -> None:
    def check() -> None:
        raise Stopped("interrupted")

    with Beside(lambda tick: tick(), check=check) as walk, pytest.raises(Stopped):
        walk.finish()


def test_a_walk_that_nobody_waits_for_ends_at_its_next_step() -> None:
    begun, ended = threading.Event(), threading.Event()

    def write(tick: Callable[[], None]) -> None:
        begun.set()
        try:
            while True:
                tick()
        finally:
            ended.set()

    with Beside(write, check=nothing):
        assert begun.wait(10)
    assert ended.is_set()
