"""What `datamover hcp explain` prints, and the exit code that it ends with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datamover.api.amounts import size
from datamover.cli import logs
from datamover.cli.durations import tell_duration
from datamover.cli.hcp_look import Explained, ExplainError, Explanation, explain
from datamover.cli.loop import start
from datamover.cli.terminal import open_console, print_document, say, warn
from datamover.verdicts.document import explain_plane
from datamover.verdicts.verdict import Row, State
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import KubeError
from kubekit.client.http import HttpTransport


class Exit(IntEnum):
    """Exit codes, documented in docs/cli.md."""

    MOVED = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """What was asked."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None
    control_plane: str | None
    backup: str
    machine: bool


_CODES = {
    State.MOVED: Exit.MOVED,
    State.NOTHING_TO_MOVE: Exit.MOVED,
    State.FAILED: Exit.FAILED,
    State.UNSUPPORTED: Exit.FAILED,
    State.WAITING: Exit.WAITING,
    State.UNKNOWN: Exit.WAITING,
}


def perform(request: ExplainRequest) -> Exit:
    """Look, print, and return the exit code."""
    logs.set_up(level="error")
    console = open_console(stderr=request.machine)
    now = datetime.now(UTC)
    try:
        found = start(_look(request, now))
    except (ExplainError, KubeError, OSError) as error:
        warn(f"datamover hcp explain: {error}")
        if request.machine:
            print_document(msgspec.json.encode({"exitCode": Exit.USAGE, "error": str(error)}))
        return Exit.USAGE
    if request.machine:
        print_document(to_json(found))
    else:
        show(console, found, now=now)
    return exit_of(found)


async def _look(request: ExplainRequest, now: datetime) -> Explanation:
    transport = HttpTransport(load_config(request.kubeconfig, request.context))
    try:
        client = Client(transport, user_agent="datamover-hcp-explain")
        return await explain(
            client, request.backup, namespace=request.namespace, control_plane=request.control_plane, now=now
        )
    finally:
        await transport.close()


def exit_of(found: Explanation) -> Exit:
    """Return the exit code: a failure first, then what is waited for."""
    codes = {_CODES[each.verdict.state] for each in found.planes}
    return next(code for code in (Exit.FAILED, Exit.WAITING, Exit.MOVED) if code in codes)


def show(console: Console, found: Explanation, *, now: datetime) -> None:
    """Print for people: a line and a table for each control plane."""
    meta = found.backup.metadata
    say(console, f"Backup {meta.namespace}/{meta.name}: {found.backup.phase or 'Velero has not begun'}")
    for note in found.notes:
        say(console, f"note: {note}")
    for each in found.planes:
        _show_plane(console, each, now=now)


def _show_plane(console: Console, each: Explained, *, now: datetime) -> None:
    verdict = each.verdict
    title = f"{each.hcp.metadata.namespace}/{each.hcp.metadata.name} ({verdict.platform})"
    say(console, f"{title}: {verdict.state.name}: {verdict.description}")
    for warning in verdict.warnings:
        say(console, f"warning: {warning}")
    if not verdict.rows:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("CLAIM", "PHASE", "SINCE", "MOVED", "OBJECT", "MOVER POD", "NODE", "DEADLINE", "WHAT"):
        table.add_column(heading, overflow="fold")
    for row in verdict.rows:
        table.add_row(*map(Text, cells_of(row, now=now)))
    console.print(table)


def cells_of(row: Row, *, now: datetime) -> tuple[str, ...]:
    """Return a row of the table."""
    moved = f"{size(row.bytes_done)}/{size(row.bytes_total)}" if row.bytes_total else "yes" if row.finished else "-"
    return (
        row.claim,
        row.phase,
        f"{tell_duration(now - row.since)} ago" if row.since is not None else "-",
        moved,
        f"{row.kind} {row.name}".strip(),
        row.pod or "-",
        row.node or "-",
        _deadline(row, now) if not row.finished else "-",
        row.sentence,
    )


def _deadline(row: Row, now: datetime) -> str:
    if row.deadline is None:
        return "-"
    left = row.deadline - now
    return f"in {tell_duration(left)}" if left > timedelta(0) else "passed"


def to_json(found: Explanation) -> bytes:
    """Return all of it as JSON."""
    meta = found.backup.metadata
    document: dict[str, Any] = {
        "exitCode": exit_of(found),
        "backup": {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid, "phase": found.backup.phase},
        "notes": list(found.notes),
        "controlPlanes": [explain_plane(each.hcp, each.verdict) for each in found.planes],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
