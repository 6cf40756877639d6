"""What `datamover run` prints, and the exit code that it ends with."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from datamover.cli import logs
from datamover.cli.display import choose_display, print_summary
from datamover.cli.embedded.rehearsal import rehearse
from datamover.cli.embedded.state import WorldError
from datamover.cli.exits import Exit
from datamover.cli.loop import start
from datamover.cli.manifests import ManifestError, read_manifests
from datamover.cli.options import StartError
from datamover.cli.outcome import error_to_json, explain, to_json
from datamover.cli.request import check_request
from datamover.cli.run import RunOptions, RunResult, run
from datamover.cli.terminal import open_console, print_document, say, warn

ROOT_WARNING = (
    "datamover: warning: this runs as root, and so does all that the manifests and the keys of their Secrets ask for: "
    "run it as a user who can read the volume, and only manifests that you trust"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked on the command line, before anything is read. `options` has no sources yet."""

    filenames: tuple[str, ...]
    options: RunOptions
    machine: bool
    verbose: bool
    dry_run: bool


def perform(request: Request) -> Exit:
    """Run, print, and return the exit code. With `machine` a document is printed whatever happens."""
    logs.set_up(level="info" if request.verbose else "error")
    console = open_console(stderr=request.machine)
    place = request.options.state
    try:
        return _perform(request, console)
    except (ManifestError, WorldError, StartError, OSError) as error:
        return _end(request, place, Exit.USAGE, f"datamover: {error}")
    except KeyboardInterrupt:  # before the run listens to signals, such as while standard input is read
        return _end(request, place, Exit.INTERRUPTED, "interrupted; nothing was run")


def _perform(request: Request, console: Console) -> Exit:
    options = request.options
    sources = read_manifests(request.filenames, stdin=sys.stdin, namespace=options.namespace)
    check_request(sources, options.volumes, state=options.state, uploads=options.uploads)
    options = options.with_sources(sources)
    if not request.machine:
        say(console, f"state: {options.state}")
    if request.dry_run:
        movers = start(
            rehearse(
                sources,
                options.volumes,
                state=options.state,
                max_copy_age=options.max_copy_age,
                say=lambda line: say(console, line),
            )
        )
        if request.machine:
            print_document(to_json(movers, code=Exit.COMPLETED, state=os.fspath(options.state)))
        return Exit.COMPLETED
    display = choose_display(console, quiet=request.machine)
    result = start(run(options, display=display, say=lambda line: say(console, line), on_begin=_warn))
    if request.machine:
        print_document(to_json(result.movers, code=result.code, state=os.fspath(options.state), disks=result.disks))
    else:
        _print_result(console, result, options)
    return result.code


def _warn() -> None:
    if os.geteuid() == 0:
        warn(ROOT_WARNING)


def _print_result(console: Console, result: RunResult, options: RunOptions) -> None:
    print_summary(console, result.movers)
    for mover in result.movers:
        if (why := explain(mover)) is not None:
            say(console, f"\n{mover.metadata.name}: {why}")
    for name, place in result.disks.items():
        say(console, f"{name}: {place}")
    if result.code is Exit.TIMEOUT:
        say(console, f"gave up after {options.timeout:g} s; the same command goes on from here")
    if result.code is Exit.BLOCKED:
        say(console, "gave up waiting; the same command goes on from here")
    if result.code is Exit.INTERRUPTED:
        say(console, "interrupted; the same command goes on from here")


def _end(request: Request, state: Path, code: Exit, sentence: str) -> Exit:
    warn(sentence)
    if request.machine:
        print_document(error_to_json(sentence.removeprefix("datamover: "), code=code, state=os.fspath(state)))
    return code
