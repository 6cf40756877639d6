"""Dying with the server that started us: a plugin that outlives its Velero would stay until the Pod ends.

Two signs, because each alone can miss: the parent is another one than at the start, or nobody reads standard output and standard error any more
(the program may run below a launcher, as in a bundle of one file, and then it is the launcher that has lost its parent).
The kernel is asked for a signal as well. It comes when the *thread* ends that started us, so it only makes the look come at once.
"""

import ctypes
import os
import select
import signal
import stat
import threading
from collections.abc import Callable

PERIOD = 0.5
"""Seconds between two looks."""
_PR_SET_PDEATHSIG = 1
_SIGNAL = signal.SIGUSR2


class ParentWatch:
    """Looks from a thread of its own whether the parent lives. `outputs` are file descriptors that the parent reads."""

    def __init__(self, outputs: tuple[int, ...], on_death: Callable[[], None]) -> None:
        """The parent is the one of this moment. `on_death` is called once, from the thread."""
        self._parent = os.getppid()
        self._outputs = tuple(output for output in outputs if _is_pipe(output))
        self._on_death = on_death
        self._look = threading.Event()

    def start(self) -> None:
        """Begin. Of the main thread: signals are arranged for."""
        signal.signal(_SIGNAL, self._wake)
        _ask_for_signal()
        threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def gone(self) -> bool:
        """Tell whether the parent is gone."""
        return os.getppid() != self._parent or (bool(self._outputs) and all(map(_unread, self._outputs)))

    def _wake(self, *_: object) -> None:
        self._look.set()

    def _watch(self) -> None:
        while not self.gone():
            self._look.wait(PERIOD)
            self._look.clear()
        self._on_death()


def _ask_for_signal() -> None:
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(_SIGNAL), 0, 0, 0)
    except (OSError, AttributeError):
        return  # no Linux: the look every half second does


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _unread(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
