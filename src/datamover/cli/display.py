"""Showing what runs: a live table on a terminal, a line for each change elsewhere."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from datamover.api.cdi.data_volume import DataVolume
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DataMover, DataMoverStatus
from datamover.api.v1alpha1.restore import DataMoverRestore, DataMoverRestoreStatus
from datamover.cli import fillings, synchronisations
from datamover.cli.outcome import Shown, show
from datamover.cli.resuming import copied_at, tell_moment
from datamover.cli.runnables import Replication, Runnable
from datamover.cli.terminal import say
from datamover.reconcilers.replication.order import status_of
from datamover.volumes.handover import describe_source
from kubekit.words import timestamps

_STYLES = {Phase.COMPLETED: "green", Phase.FAILED: "bold red", "Cancelled": "yellow", "Pending": "dim"}


def _utc() -> datetime:
    return datetime.now(UTC)


_BAR = 20
"""Letters of a progress bar."""
_SMALL_PARTS = re.compile(r"(\.[0-9])[0-9]+")
"""What a duration has behind tenths of its unit: nobody reads so far."""
_UNLIMITED = 100_000
"""Columns that a table may ask for before it is fitted to a terminal."""


class Display(Protocol):
    """Where progress is shown."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...

    def update(self, movers: tuple[Runnable, ...]) -> None:
        """Show the present state of these objects; the others stay as they are shown."""
        ...


class LiveDisplay:
    """A table that redraws itself. It is removed at the end, because the summary after it shows the same."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._shown: dict[str, Runnable] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update(Text(""))  # also a table that was taller than the terminal goes whole
        self._live.stop()

    def update(self, movers: tuple[Runnable, ...]) -> None:
        """Redraw."""
        self._shown.update({mover.metadata.uid: mover for mover in movers})
        self._live.update(progress_table(self._shown.values()), refresh=True)


class LineDisplay:
    """A plain line for each change, with its time, for pipes and logs."""

    def __init__(self, console: Console, *, now: Callable[[], datetime] = _utc) -> None:
        self._console = console
        self._now = now
        self._last: dict[str, tuple[str, str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, movers: tuple[Runnable, ...]) -> None:
        """Print what changed."""
        for mover in movers:
            shown = show(mover)
            state = (shown.word, shown.progress, shown.message)
            if self._last.get(shown.title) == state:
                continue
            self._last[shown.title] = state
            tail = "  ".join(part for part in (shown.progress, shown.message) if part)
            say(
                self._console,
                f"{timestamps.seconds(self._now())}  {shown.title}  {shown.word}  {tail}".rstrip(),
            )


class NoDisplay:
    """Nothing: machines read the result."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, movers: tuple[Runnable, ...]) -> None:
        """Show nothing."""


def choose_display(console: Console, *, quiet: bool) -> Display:
    """Return the display that fits where the output goes."""
    if quiet:
        return NoDisplay()
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveDisplay(console) if live else LineDisplay(console)


def progress_table(movers: Iterable[Runnable]) -> Table:
    """Return the table that is shown meanwhile."""
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "PHASE", "PROGRESS", "MESSAGE"):
        table.add_column(heading, overflow="fold" if heading == "MESSAGE" else "ellipsis")
    for mover in movers:
        shown = show(mover)
        table.add_row(shown.name, Text(shown.word, style=_style(shown)), _bar(mover, shown), Text(shown.message))
    return table


def print_summary(console: Console, objects: Sequence[Runnable]) -> None:
    """Print what is shown at the end: a table of DataMovers, one of restores, one of DataVolumes, and one of the others with the end of their movers' logs."""
    movers = [obj for obj in objects if isinstance(obj, DataMover)]
    restores = [obj for obj in objects if isinstance(obj, DataMoverRestore)]
    volumes = [obj for obj in objects if isinstance(obj, DataVolume)]
    others = [obj for obj in objects if not isinstance(obj, DataMover | DataMoverRestore | DataVolume)]
    if movers or not objects:
        _print_movers(console, movers)
    if restores:
        _print_restores(console, restores)
    if volumes:
        console.print(filling_table(volumes))
    if not others:
        return
    console.print(replication_table(others))
    for obj in others:
        shown, logs = show(obj), synchronisations.logs_of(obj)
        if shown.message and shown.phase == Phase.COMPLETED:
            say(console, f"{shown.name}: {shown.message}")
        for line in logs.splitlines():
            say(console, f"  {line}", style="dim")


def _print_restores(console: Console, restores: Sequence[DataMoverRestore]) -> None:
    """A table, and of each that is complete what it says of what came back."""
    console.print(restore_table(restores))
    for restore in restores:
        shown = show(restore)
        if shown.phase == Phase.COMPLETED:
            say(console, f"{shown.name}: {shown.message}")


def restore_table(restores: Iterable[DataMoverRestore]) -> Table:
    """Return what is shown at the end of restores."""
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "PHASE", "FILES", "SIZE", "POINT", "CLAIM"):
        right = "right" if heading in ("FILES", "SIZE") else "left"
        table.add_column(heading, justify=right, overflow="fold", no_wrap=heading == "POINT")
    for restore in restores:
        shown, run = show(restore), (restore.status or DataMoverRestoreStatus()).run
        table.add_row(
            shown.name,
            Text(shown.word, style=_style(shown)),
            "" if run is None or run.files is None else str(run.files),
            "" if run is None or run.bytes is None else size(run.bytes),
            Text((run.copied or "") if run is not None else ""),
            Text(restore.spec.target.claim_name if restore.spec is not None else ""),
        )
    return table


def filling_table(volumes: Iterable[DataVolume]) -> Table:
    """Return what is shown at the end of DataVolumes."""
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "KIND", "RESULT", "FROM", "PROGRESS"):
        table.add_column(heading, overflow="fold")
    for volume in volumes:
        shown = show(volume)
        result = "Collected" if fillings.is_collected(volume) else shown.phase
        style = _style(shown)
        table.add_row(
            shown.name, shown.kind, Text(result, style=style), Text(describe_source(volume.spec)), shown.progress
        )
    return table


def replication_table(objects: Iterable[Replication]) -> Table:
    """Return what is shown at the end of ReplicationSources and ReplicationDestinations. Their statuses count neither files nor bytes."""
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "KIND", "RESULT", "TOOK", "ENDED", "IMAGE"):
        table.add_column(heading, overflow="fold")
    for obj in objects:
        shown, status = show(obj), status_of(obj)
        done = shown.phase == Phase.COMPLETED
        table.add_row(
            shown.name,
            shown.kind,
            Text(shown.word, style=_style(shown)),
            _SMALL_PARTS.sub(r"\1", status.last_sync_duration or "") if done else "",
            (status.last_sync_time or "").replace("T", " ") if done else "",
            Text(synchronisations.image_of(obj)),
        )
    return table


def _print_movers(console: Console, movers: Sequence[DataMover]) -> None:
    """Where a destination has no room in the table it gets a line of its own, and stays whole."""
    table = summary_table(movers)
    if console.measure(table, options=console.options.update(max_width=_UNLIMITED)).maximum <= console.width:
        console.print(table)
        return
    console.print(summary_table(movers, destinations=False))
    for mover in movers:
        if where := _destination(mover):
            say(console, f"destination of {mover.metadata.name}: {where}")


def _destination(mover: DataMover) -> str:
    run = (mover.status or DataMoverStatus()).run
    return (run.destination if run else None) or ""


def summary_table(movers: Iterable[DataMover], *, destinations: bool = True) -> Table:
    """Return what is shown at the end."""
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "PHASE", "FILES", "MOVED", "COPY OF", *(("DESTINATION",) if destinations else ())):
        right = "right" if heading in ("FILES", "MOVED") else "left"
        table.add_column(heading, justify=right, overflow="fold", no_wrap=heading == "COPY OF")
    for mover in movers:
        shown = show(mover)
        run = (mover.status or DataMoverStatus()).run
        table.add_row(
            shown.name,
            Text(shown.word, style=_style(shown)),
            "" if run is None or run.files is None else str(run.files),
            "" if run is None or run.transferred_bytes is None else size(run.transferred_bytes),
            _copy_of(mover),
            *((Text(_destination(mover)),) if destinations else ()),
        )
    return table


def _copy_of(mover: DataMover) -> str:
    """Return the time of the copy. A run that was interrupted still delivers the files of its beginning."""
    moment = copied_at(mover)
    return tell_moment(moment) if moment is not None else ""


def size(count: int) -> str:
    """Return bytes as people read them: `1.5 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def _style(shown: Shown) -> str:
    return _STYLES.get(shown.word, "yellow" if shown.stalled else "cyan")


def _bar(mover: Runnable, shown: Shown) -> "str | _Bar":
    if not isinstance(mover, DataMover | DataMoverRestore):
        return shown.progress
    run = mover.status.run if mover.status is not None else None
    if run is None or not run.total_bytes or not shown.progress:
        return shown.progress
    return _Bar(min(_BAR, _BAR * (run.bytes or 0) // run.total_bytes), shown.progress)


@dataclass(frozen=True, slots=True)
class _Bar:
    """A progress bar, drawn with characters that the terminal can show."""

    done: int
    words: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._text(options))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield self._text(options)

    def _text(self, options: ConsoleOptions) -> Text:
        full, empty = ("#", "-") if options.ascii_only else ("━", "╌")
        return Text(f"{full * self.done}{empty * (_BAR - self.done)} {self.words}")
