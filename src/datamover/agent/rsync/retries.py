"""Trying again: what both rsync engines do when the other side does not answer or the connection breaks."""

from collections.abc import Callable
from typing import TypeVar

from datamover.agent.children import Stop
from datamover.agent.errors import Failure

_T = TypeVar("_T")

TRIES = 5
FIRST_PAUSE = 2.0
"""Seconds before the second try; each later pause is twice as long."""


def retry(
    work: Callable[[int], _T],
    *,
    stop: Stop,
    say: Callable[[str], None],
    wait: Callable[[str], None] = lambda _: None,
    tries: int = TRIES,
    pause: float = FIRST_PAUSE,
) -> _T:
    """Return what `work` returns, which is given the number of the try, from 1.

    A Failure that another attempt may heal is told by `say` and to the operator by `wait` (empty: it is over), and is tried again after a
    pause; the last one is raised. One that nothing heals is raised at once. Raises Stopped.
    """
    for number in range(1, tries + 1):
        stop.check()
        try:
            done = work(number)
        except Failure as failure:
            if not failure.retryable or number == tries:
                raise
            say(f"rsync failed in try {number} of {tries}: {failure.message}")
            say(f"Trying again in {pause:g} s.")
            wait(failure.message)
        else:
            wait("")
            return done
        stop.pause(pause)
        pause *= 2
    raise AssertionError("there is at least one try")
