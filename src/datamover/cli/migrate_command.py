"""What `datamover migrate volsync` prints, and the exit code that it ends with."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datamover.cli import logs
from datamover.cli.loop import start
from datamover.cli.migration import MigrationError, Other, Survey, survey, take_over
from datamover.cli.terminal import open_console, print_document, say, warn
from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.errors import KubeError
from kubekit.client.http import HttpTransport


class Exit(IntEnum):
    """Exit codes, documented in docs/cli.md."""

    DONE = 0
    FAILED = 1


@dataclass(frozen=True, slots=True)
class MigrateRequest:
    """What was asked."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None
    volsync_namespace: str
    take_over: bool
    machine: bool


def perform(request: MigrateRequest) -> Exit:
    """Show, take over when that is asked for, print, and return the exit code."""
    logs.set_up(level="error")
    console = open_console(stderr=request.machine)
    try:
        found = start(_perform(request, console))
    except (MigrationError, KubeError, OSError) as error:
        warn(f"datamover migrate volsync: {error}")
        if request.machine:
            print_document(msgspec.json.encode({"error": str(error)}))
        return Exit.FAILED
    if request.machine:
        print_document(to_json(found, taken=request.take_over))
    return Exit.DONE


async def _perform(request: MigrateRequest, console: Console) -> Survey:
    if request.take_over and request.namespace is not None:
        raise MigrationError(
            "--take-over stops VolSync's operator for all namespaces, so look at all of them: leave --namespace out"
        )
    transport = HttpTransport(load_config(request.kubeconfig, request.context))
    try:
        client = Client(transport, user_agent="datamover-migrate")
        found = await survey(client, namespace=request.namespace, volsync_namespace=request.volsync_namespace)
        if not request.machine:
            _print(console, found)
        if request.take_over:
            await take_over(client, found.other, say=lambda text: say(console, text))
            say(console, "taken over: an operator that was started with --replication goes on with all of these now")
        elif not request.machine:
            say(console, _next_step(found.other))
    finally:
        await transport.close()
    return found


def to_json(found: Survey, *, taken: bool) -> bytes:
    """Return the survey as JSON."""
    other = found.other
    document: dict[str, Any] = {
        "volsync": {
            "namespace": other.namespace,
            "holder": other.holder or None,
            "deployments": [each.metadata.name for each in other.deployments],
            "replicas": other.replicas,
        },
        "takenOver": taken,
        "objects": [
            {
                "kind": row.kind,
                "namespace": row.namespace,
                "name": row.name,
                "method": row.method,
                "state": row.state,
                "goesOn": row.goes_on,
                "notes": list(row.notes),
            }
            for row in found.rows
        ],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def _print(console: Console, found: Survey) -> None:
    say(console, _describe(found.other))
    table = Table(box=None, pad_edge=False)
    for heading in ("KIND", "NAMESPACE/NAME", "METHOD", "STATE", "GOES ON", "WHAT HAPPENS"):
        table.add_column(heading, overflow="fold")
    for row in found.rows:
        going = "yes" if row.goes_on else "no"
        cells = (row.kind, f"{row.namespace}/{row.name}", row.method, row.state, going, "; ".join(row.notes))
        table.add_row(*map(Text, cells))
    if found.rows:
        console.print(table)
    else:
        say(console, "there is no ReplicationSource and no ReplicationDestination")


def _describe(other: Other) -> str:
    named = ", ".join(each.metadata.name for each in other.deployments) or "no Deployment of it was found"
    works = f"{other.holder} holds its Lease" if other.holder else "nobody holds its Lease"
    return f"VolSync in namespace {other.namespace}: {works}; {named}"


def _next_step(other: Other) -> str:
    if not other.holder and not other.replicas:
        return "VolSync's operator does not work: one that was started with --replication goes on with all of these"
    return "to take over: the same command with --take-over. It scales VolSync's operator down, and changes no object"
