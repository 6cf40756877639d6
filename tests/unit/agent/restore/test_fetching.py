"""How long a restore waits for a store: a file that came and bytes that no try has brought before are an advance, and nothing else is."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.errors import Failure
from datamover.agent.rclone.logs import Line, Stats
from datamover.agent.restore import fetching
from datamover.agent.restore.fetching import Fetching
from datamover.agent.restore.wanted import File
from datamover.api import transfer

LIMIT = 60.0


class Engine:
    """The engine, its stop, and the clock: whoever waits lets time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stop = self

    def pause(self, seconds: float) -> None:
        self.now += seconds


class Moved:
    files = 0


class Reporter:
    def wait(self, trouble: str) -> None:
        pass


Step = tuple[float, int, int]
"""Seconds that pass, bytes that this try has brought by then, files that come."""


class Sync:
    """Copies as it is told to: each try is a list of steps, and all but the last fail."""

    tries: Iterator[list[Step]]

    def __init__(self, engine: Engine, *, show: Callable[[Line], None], **_: Any) -> None:
        self.moved = Moved()
        self.counted: Callable[[Stats], None] = lambda _: None
        self._engine = engine
        self._show = show
        self.made = 0

    def copy(self, *_: object, **__: object) -> None:
        self.made += 1
        for seconds, size, files in next(self.tries):
            self._engine.now += seconds
            self.counted(Stats(bytes=size))
            self.moved.files += files
            self._show(Line())
        if (more := next(self.tries, None)) is not None:
            self.tries = iter([more, *self.tries])
            raise Failure(transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE, "It does not answer.", retryable=True)


TRIES: dict[str, tuple[list[list[Step]], bool]] = {
    "nothing comes": ([[(LIMIT, 0, 0)], [(0, 0, 1)]], False),
    "soon again": ([[(1, 0, 0)], [(0, 0, 1)]], True),
    "long, and broken off": ([[(50, n, 0) for n in range(1, 20)], [(0, 0, 1)]], True),
    "a byte now and then": ([[(50, n // 2, 0) for n in range(1, 20)], [(0, 0, 1)]], True),
    "a byte, and then none": ([[(50, 1, 0), (50, 1, 0), (50, 1, 0)], [(0, 0, 1)]], False),
    "each time at the same place": ([[(20, 5, 0), (20, 9, 0)]] * 9, False),
    "further each time": ([[(30, n, 0)] for n in range(1, 20)], True),
    "a file each time": ([[(50, 5, 1)]] * 9, True),
    "a file, and then as little as before": ([[(30, 900, 1)], [(30, 5, 0)], [(20, 9, 0)], [(0, 0, 1)]], True),
}


@pytest.mark.parametrize("case", TRIES)
def test_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    tries, ends_well = TRIES[case]
    monkeypatch.setattr(fetching, "Sync", type("Given", (Sync,), {"tries": iter(tries)}))
    engine = Engine()
    it: Any = Fetching
    bring: Fetching = it(
        engine=engine,
        server=type("Server", (), {"remote": lambda self, folder: folder})(),
        environment={},
        folder="",
        into=-1,
        path=str(tmp_path),
        scratch=str(tmp_path),
        report=Reporter(),
        show=lambda _: None,
        outage_limit=LIMIT,
        grace=1.0,
        monotonic=lambda: engine.now,
    )
    wanted = [File(b"a", 1, "")]
    if ends_well:
        bring.fetch(wanted)
    else:
        with pytest.raises(Failure, match="It does not answer"):
            bring.fetch(wanted)
