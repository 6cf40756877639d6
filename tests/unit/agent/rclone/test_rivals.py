"""Waiting for an older run that may still be moving files: as long as it says nothing, and no longer than it can take to stop."""

from typing import Any, cast

import pytest

from datamover.agent.errors import Failure
from datamover.agent.rclone import rivals
from datamover.agent.rclone.records import read_state
from datamover.agent.rclone.rivals import Rivals
from datamover.agent.rclone.settings import Settings
from datamover.api import transfer

GRACE = 20.0
OLDER = ("older/mirror-000000001", "older/manifest.jsonl.gz")
NEWER = ("newer/mirror-000000003", "newer/manifest.jsonl.gz")


class Store:
    """Shows, at each look, the next of these listings, and the last one from then on."""

    place = "s3generic:backups/"

    def __init__(self, *shown: tuple[str, ...]) -> None:
        self._shown = list(shown)
        self.looks = 0

    def sizes_below(self, folder: str, *, deep: bool) -> dict[str, int]:
        assert (folder, deep) == (".datamover/", True)
        self.looks += 1
        names = self._shown.pop(0) if len(self._shown) > 1 else self._shown[0]
        return {f"runs/{name}": 1 for name in names}


class Attempt:
    """An attempt at place 2 with a clock of its own, on which only pauses pass."""

    def __init__(self, store: Store) -> None:
        self.now = 0.0
        self.said: list[str] = []
        settings = cast("Any", type("", (), {"run_id": "mine", "grace": GRACE}))
        self.rivals = Rivals(
            cast("Any", store),
            settings=cast("Settings", settings),
            done=lambda: "Nothing was moved or deleted",
            wait=self.said.append,
            pause=self._pass,
            monotonic=lambda: self.now,
        )
        self.rivals.place = 2

    def _pass(self, seconds: float) -> None:
        self.now += seconds

    def outlast(self, *names: str) -> None:
        self.rivals.outlast(read_state(f".datamover/runs/{name}".encode() for name in names))


def test_without_an_older_run_nothing_is_waited_for_and_nothing_asked() -> None:
    attempt = Attempt(store := Store(()))
    attempt.outlast()
    assert (attempt.now, store.looks) == (0.0, 0)


@pytest.mark.parametrize("end", ["older/stopped", "older/outcome.json"])
def test_an_older_run_is_waited_for_until_it_says_that_it_has_ended(end: str) -> None:
    attempt = Attempt(store := Store(OLDER, OLDER, (*OLDER, end)))
    attempt.outlast(*OLDER)
    assert store.looks == 3
    assert attempt.now < rivals.LOOK_SECONDS
    assert "older" in attempt.said[0]
    assert attempt.said[-1] == "", "what is waited for goes with the wait"


def test_a_killed_run_is_waited_for_as_long_as_it_could_take_to_stop_and_no_longer() -> None:
    attempt = Attempt(Store(OLDER))
    attempt.outlast(*OLDER)
    assert rivals.LOOK_SECONDS + GRACE <= attempt.now <= rivals.LOOK_SECONDS + GRACE + 10


def test_a_run_that_begins_during_the_wait_is_given_way_to() -> None:
    attempt = Attempt(Store(OLDER, (*OLDER, *NEWER)))
    with pytest.raises(Failure) as refused:
        attempt.outlast(*OLDER)
    assert refused.value.reason == transfer.REASON_DESTINATION_BUSY
    assert "'newer'" in refused.value.message
    assert "Nothing was moved or deleted" in refused.value.message
