"""How far a restore or a verification is, at the terminal: one line that redraws itself, or a line now and then for pipes and logs."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from datamover.api import amounts, transfer
from datamover.cli.terminal import say

_BAR: Final = 20
"""Letters of a progress bar."""
_INTERVAL: Final = 10.0
"""Seconds between two lines where nothing redraws itself."""
_STALLED: Final = 20.0
"""Seconds without a byte after which it stands still; the server was asked then whether it is there."""
_DOING: Final = {
    transfer.PROBING: "asking the store",
    transfer.WALKING: "reading the manifest",
    transfer.SYNCING: "restoring",
    transfer.VERIFYING: "reading back",
    transfer.RECORDING: "setting attributes",
}
_COUNTED: Final = frozenset({transfer.SYNCING, transfer.VERIFYING})
"""What is told in percent."""


def describe(progress: transfer.Progress, *, still: float = 0.0) -> str:
    """Return how far it is, in words: percent, bytes, files, speed, and how long it may still take. `still`: seconds since anything came."""
    doing = _DOING.get(progress.phase, progress.phase)
    if progress.phase not in _COUNTED or not progress.total_files:
        return doing
    parts = [
        f"{percent(progress)} %",
        f"{amounts.size(progress.bytes)} of {amounts.size(progress.total_bytes)}",
        f"{progress.files} of {amounts.count(progress.total_files, 'file')}",
    ]
    stalled = still >= _STALLED and not progress.trouble
    if stalled:
        parts.append(f"stalled for {amounts.duration(int(still))}: the store answers, and nothing comes")
    elif progress.speed:
        parts.append(f"{amounts.size(int(progress.speed))}/s")
    if progress.eta is not None and not stalled:
        parts.append(f"{amounts.duration(progress.eta)} left")
    if progress.trouble:
        parts.append(f"waiting: {progress.trouble}")
    return f"{doing}  {'  '.join(parts)}"


def percent(progress: transfer.Progress) -> int:
    """Return how much of the work is done, rounded down."""
    done, total = progress.work
    return 100 * done // total if total else 100


class Meter:
    """Shows lines of progress as they are told (`tell`), on a console; `quiet`: not at all."""

    def __init__(self, console: Console, *, quiet: bool, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._quiet = quiet
        self._monotonic = monotonic
        self._shown = ("", -_INTERVAL)
        self._done: tuple[str, int, int] = ("", 0, 0)
        self._moved = monotonic()
        live = not quiet and console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, refresh_per_second=4, transient=True) if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()

    def begin(self) -> None:
        """Show that the store is asked which points there are: the run that lines of progress are about is not chosen yet."""
        self._show(transfer.Progress(run_id="", phase=transfer.PROBING))

    def tell(self, line: str) -> None:
        """Take a line of progress."""
        progress = transfer.read_progress(line)
        if progress is not None:
            self._show(progress)

    def _show(self, progress: transfer.Progress) -> None:
        if self._quiet:
            return
        now = self._monotonic()
        done = (progress.phase, progress.files, progress.bytes)
        if done != self._done or progress.trouble:
            self._done, self._moved = done, now
        still = now - self._moved
        if self._live is not None:
            self._live.update(self._bar(progress, still), refresh=True)
            return
        phase, moment = self._shown
        key = f"{progress.phase}{progress.trouble}{still >= _STALLED}"
        if key != phase or now - moment >= _INTERVAL:
            self._shown = (key, now)
            say(self._console, describe(progress, still=still))

    def _bar(self, progress: transfer.Progress, still: float) -> Text:
        if progress.phase not in _COUNTED:
            return Text(describe(progress))
        ascii_only = not (self._console.encoding or "").lower().startswith("utf")
        full, empty = ("#", "-") if ascii_only else ("━", "╌")
        done = _BAR * percent(progress) // 100
        return Text(
            f"{full * done}{empty * (_BAR - done)} {describe(progress, still=still)}", no_wrap=True, overflow="ellipsis"
        )
