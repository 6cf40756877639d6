"""What `datamover state` prints, and the exit code that it ends with."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from datamover.cli import logs
from datamover.cli.display import size
from datamover.cli.embedded.inventory import Inventory, choose, choose_volumes, free, inventory_to_json, take_inventory
from datamover.cli.embedded.state import WorldError
from datamover.cli.exits import Exit
from datamover.cli.loop import start
from datamover.cli.outcome import error_to_json
from datamover.cli.terminal import open_console, print_document, say, warn


@dataclass(frozen=True, slots=True)
class StateRequest:
    """What was asked: free the `named` objects, let go of the directories of `volumes`, and with `ended` free all whose run is over and all copies without an object."""

    state: Path
    named: tuple[str, ...]
    volumes: tuple[str, ...]
    ended: bool
    machine: bool


def perform(request: StateRequest) -> Exit:
    """List or free, print, and return the exit code."""
    logs.set_up(level="error")
    console = open_console(stderr=request.machine)
    try:
        inventory = start(take_inventory(request.state))
        names = choose(inventory, named=request.named, ended=request.ended)
        volumes = choose_volumes(inventory, named=request.volumes)
        orphans = request.ended and any(copy.claim is None for copy in inventory.others)
        if names or orphans or volumes:
            start(free(inventory, names, orphans=orphans, volumes=volumes))
            before, inventory = inventory, start(take_inventory(request.state))
            freed = _total(before) - _total(inventory)
            if names or orphans:
                say(console, f"freed: {', '.join(map(str, names)) or 'what no object knew'}, {size(max(0, freed))}")
            for claim in volumes:
                say(console, f"let go: {claim}; {before.volumes[claim]} is as it was")
    except (WorldError, OSError) as error:
        warn(f"datamover state: {error}")
        if request.machine:
            print_document(error_to_json(str(error), code=Exit.USAGE, state=os.fspath(request.state)))
        return Exit.USAGE
    if request.machine:
        print_document(inventory_to_json(inventory))
    else:
        _print(console, inventory)
    return Exit.COMPLETED


def _total(inventory: Inventory) -> int:
    return sum(run.size for run in inventory.runs) + sum(copy.size for copy in inventory.others)


def _print(console: Console, inventory: Inventory) -> None:
    say(console, f"state: {inventory.state}")
    known = f"{inventory.identity}, by which mirrors know it; it is never freed"
    say(console, f"identity: {known if inventory.identity else 'none yet'}")
    for claim, directory in sorted(inventory.volumes.items()):
        say(console, f"volume: {claim} stands for {directory}")
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "PHASE", "STARTED", "KEEPS"):
        table.add_column(heading, justify="right" if heading == "KEEPS" else "left", overflow="fold")
    for run in inventory.runs:
        table.add_row(Text(str(run.name)), run.phase, run.started, size(run.size))
    for copy in inventory.others:
        what = f"claim {copy.claim}" if copy.claim is not None else f"{copy.name}, which no object knows"
        table.add_row(Text(what), "", "", size(copy.size))
    if inventory.runs or inventory.others:
        console.print(table)
        say(
            console,
            "to free: datamover state --free NAME, or --free-ended for all runs that are over and what no object knows",
        )
    else:
        say(console, "nothing is kept")
