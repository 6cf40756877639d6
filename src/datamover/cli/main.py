"""`datamover`: the command line. Each command imports what it needs when it runs, so that help and completion are quick."""

import math
import sys
from datetime import timedelta
from pathlib import Path

import click

from datamover import __version__
from datamover.cli.cancel_command import cancel
from datamover.cli.completion import CompletedGroup
from datamover.cli.credentials import credential_options
from datamover.cli.durations import DurationType
from datamover.cli.forms import output_option
from datamover.cli.hcp_command import hcp
from datamover.cli.namespaces import parse_namespace
from datamover.cli.needs import demand_world
from datamover.cli.operator_command import operator
from datamover.cli.points.commands import COMMANDS
from datamover.cli.points.restore_command import restore
from datamover.cli.points.verify_command import verify
from datamover.cli.upload_command import upload
from datamover.cli.upload_files import UploadFile, UploadType
from datamover.cli.volumes import Volume, VolumeType

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EXIT_CODES = """
\b
Exit codes:
  0    every object is Completed
  1    an object has Failed; its message says why
  2    the command line or a manifest is wrong; nothing was run
  3    an object stands still: what only you can bring is missing,
       or what might have come by itself has not within --patience
  4    --timeout has passed; the same command goes on from there
  5    nothing has failed, and an object was cancelled by spec.cancel
  130  interrupted; the same command goes on from there
"""
_UP_EXIT_CODES = """
\b
Exit codes:
  0    stopped by Ctrl-C or SIGTERM
  2    it cannot start or go on; the last line says why
"""
_STATE_HELP = "Directory that is kept between runs. [default: $XDG_STATE_HOME/datamover, else ~/.local/state/datamover]"


def _check_timeout(context: click.Context, option: click.Parameter, seconds: float | None) -> float | None:
    """Refuse `nan`: no time is ever later than it, so the limit would never be reached."""
    del context, option
    if seconds is not None and math.isnan(seconds):
        raise click.BadParameter("nan is not a number of seconds")
    return seconds


def _place_state(state: Path | None) -> Path:
    """Return the absolute path of the state directory, so that a printed path works from any folder."""
    from datamover.cli.places import default_state

    return (state or default_state()).expanduser().absolute()


@click.group(cls=CompletedGroup, context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="datamover")
def main() -> None:
    """Back up and replicate Kubernetes volumes: clone, move with rclone, restic or rsync, prove it, clean up.

    \b
    Try it without a cluster:
      datamover run -f backup.yaml -f secret.yaml --volume app-data=./data
    """


@main.command(epilog=_EXIT_CODES, short_help="Run backups, restores, replication, disks without a cluster.")
@click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    required=True,
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Manifests to apply, Secrets included: a file, a directory of them, or '-' for standard input. May be repeated.",
)
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    type=VolumeType(),
    help="Directory that stands for a PersistentVolumeClaim, such as app-data=./data. It is only read, unless a manifest has it written: as destinationPVC, or in moverVolumes. May be repeated.",
)
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default="default",
    show_default=True,
    callback=parse_namespace,
    help="Namespace of objects that name none.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help=_STATE_HELP,
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    callback=_check_timeout,
    help="Stop waiting after this time.",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=600,
    show_default=True,
    callback=_check_timeout,
    help="Wait so long for what may come by itself, such as room on the node; not for what only you can bring.",
)
@click.option(
    "--upload",
    "uploads",
    multiple=True,
    type=UploadType(),
    help="File that fills the DataVolume of this name, whose source is `upload`, such as vm-disk=./fedora.raw.xz. May be repeated.",
)
@click.option(
    "--max-copy-age",
    type=DurationType(),
    default="12h",
    show_default=True,
    help="Go on with an interrupted run only when its copy of the volume is not older; else begin anew.",
)
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be run; run and keep nothing.")
@output_option("table", help="What to print at the end.")
@click.option("-v", "--verbose", is_flag=True, help="Log what the operator and the node do.")
def run(
    filenames: tuple[str, ...],
    volumes: tuple[Volume, ...],
    namespace: str,
    state: Path | None,
    timeout: float | None,
    patience: float,
    uploads: tuple[UploadFile, ...],
    max_copy_age: timedelta,
    dry_run: bool,
    output: str,
    verbose: bool,
) -> None:
    """Run DataMovers, DataMoverRestores, ReplicationSources, ReplicationDestinations and DataVolumes on this machine, without a cluster.

    Applies the manifests to an embedded Kubernetes API, clones the volumes, runs the movers as processes, waits, and shows how far they
    are. A second run moves only what has changed. Disks that are filled stay in the state directory.
    """
    demand_world("run")
    from datamover.cli.run import RunOptions
    from datamover.cli.run_command import Request, perform

    options = RunOptions(
        sources=(),
        volumes=volumes,
        namespace=namespace,
        state=_place_state(state),
        timeout=timeout,
        patience=patience,
        max_copy_age=max_copy_age,
        uploads=uploads,
    )
    request = Request(filenames, options, machine=output == "json", verbose=verbose, dry_run=dry_run)
    sys.exit(perform(request))


main.add_command(operator)
main.add_command(upload)
main.add_command(hcp)
main.add_command(cancel)
for _command in (*COMMANDS, restore, verify):
    main.add_command(_command)


@main.group(short_help="The embedded world: a Kubernetes API and a node on this machine.")
def local() -> None:
    """The embedded world: a Kubernetes API, a node and volumes on this machine, for trying things out."""


@local.command(epilog=_UP_EXIT_CODES, short_help="Start it and print a kubeconfig; Ctrl-C stops it.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help=_STATE_HELP)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1. [default: a free one]")
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    type=VolumeType(),
    help="Directory that stands for a PersistentVolumeClaim, such as app-data=./data. It is only read. May be repeated.",
)
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    default="default",
    show_default=True,
    callback=parse_namespace,
    help="Namespace of the volumes.",
)
@click.option(
    "--operator/--no-operator", "with_operator", default=True, show_default=True, help="Run the operator as well."
)
@click.option("-v", "--verbose", is_flag=True, help="Log what the operator and the node do.")
def up(
    state: Path | None, port: int, volumes: tuple[Volume, ...], namespace: str, with_operator: bool, verbose: bool
) -> None:
    """Start the embedded world and print a kubeconfig for it; Ctrl-C stops it.

    \b
      datamover local up --volume app-data=./data
      export KUBECONFIG=...       (printed)
      kubectl get datamovers
    """
    demand_world("local up")
    from datamover.cli import logs
    from datamover.cli.embedded.serving import UpOptions, serve_world
    from datamover.cli.embedded.state import WorldError
    from datamover.cli.loop import start
    from datamover.cli.terminal import warn

    logs.set_up(level="info" if verbose else "warning")
    place = _place_state(state)
    options = UpOptions(state=place, port=port, volumes=volumes, namespace=namespace, with_operator=with_operator)
    try:
        start(serve_world(options, say=click.echo))
    except (WorldError, OSError) as error:
        warn(f"datamover local up: {error}")
        sys.exit(2)


@main.command(name="state", short_help="Show what is kept between runs, and free it.")
@click.option("--state", type=click.Path(path_type=Path, file_okay=False), help=_STATE_HELP)
@click.option(
    "--free",
    "named",
    metavar="NAME",
    multiple=True,
    help="Forget this DataMover, DataMoverRestore, ReplicationSource, ReplicationDestination or DataVolume, be it [KIND/][NAMESPACE/]NAME, and remove what its runs "
    "left here: copies, caches, what a destination has received into a volume of its own, and the disk of a DataVolume. May be repeated.",
)
@click.option(
    "--free-volume",
    "volumes",
    metavar="NAME",
    multiple=True,
    help="Let go of the directory of this --volume, be it [NAMESPACE/]NAME, so that another can take its place. "
    "Its files are not touched. May be repeated.",
)
@click.option(
    "--free-ended",
    "ended",
    is_flag=True,
    help="Free all DataMovers and ReplicationSources whose run is over, and copies that no object knows. What destinations have received stays, and so do disks.",
)
@output_option("table", help="What to print at the end.")
def show_state(state: Path | None, named: tuple[str, ...], volumes: tuple[str, ...], ended: bool, output: str) -> None:
    """Show what the embedded world keeps between runs: objects, copies of volumes, and the room they take. Free it on demand.

    Files at destinations and your own directories are not touched, and the identity by which mirrors know this directory stays.
    """
    demand_world("state")
    from datamover.cli.state_command import StateRequest, perform

    sys.exit(perform(StateRequest(_place_state(state), named, volumes, ended, machine=output == "json")))


@main.command(short_help="Print the CustomResourceDefinitions.")
@click.option(
    "--replication",
    is_flag=True,
    help="Print those of ReplicationSource and ReplicationDestination instead; not needed where VolSync's are installed.",
)
def crds(replication: bool) -> None:
    """Print the CustomResourceDefinitions: `datamover crds | kubectl apply --server-side -f -`."""
    from datamover.api import definitions
    from datamover.api.crd import render

    click.echo(render(definitions.replication_crds() if replication else definitions.crds()), nl=False)


@main.group(short_help="Take over from another operator.")
def migrate() -> None:
    """Take over from another operator."""


@migrate.command(short_help="Show what would be taken over from VolSync, and take it over.")
@credential_options
@click.option(
    "-n", "--namespace", metavar="NAME", callback=parse_namespace, help="Show this namespace only. [default: all]"
)
@click.option(
    "--volsync-namespace",
    metavar="NAME",
    default="volsync-system",
    show_default=True,
    callback=parse_namespace,
    help="Where VolSync's own operator is.",
)
@click.option("--take-over", is_flag=True, help="Scale VolSync's operator down, and wait until it has let go.")
@output_option("text")
def volsync(
    kubeconfig: Path | None,
    context: str | None,
    namespace: str | None,
    volsync_namespace: str,
    take_over: bool,
    output: str,
) -> None:
    """Show what becomes of each ReplicationSource and ReplicationDestination; with --take-over let this operator go on with them.

    Objects, caches, keys and repositories stay as they are: no new full backup is made.

    \b
    Exit codes:
      0  done
      1  it cannot be done; the last line says why
    """
    from datamover.cli.migrate_command import MigrateRequest, perform

    request = MigrateRequest(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        volsync_namespace=volsync_namespace,
        take_over=take_over,
        machine=output == "json",
    )
    sys.exit(perform(request))


@main.command(short_help="Show the whole thing with a real S3 server.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Work in this directory and keep it. [default: a temporary one]",
)
def demo(keep: Path | None) -> None:
    """Show the whole thing: back up a volume to a real S3 server on this machine, change it, run again, then fail on purpose.

    Then the volume is copied with restic, into a directory and to the server, and brought back; and a DataVolume is filled and collected.

    Exit code 0 when everything went as it should, the failure included, else 1.
    """
    demand_world("demo")
    from datamover.cli import logs
    from datamover.cli.demo import run_demo

    logs.set_up(level="error")
    sys.exit(run_demo(keep=keep))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script. The line for your shell goes into the file behind it.

    \b
      bash:  source <(datamover completion bash)      ~/.bashrc
      zsh:   source <(datamover completion zsh)       ~/.zshrc, after compinit
      fish:  datamover completion fish | source       ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    if completer is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(completer(main, {}, "datamover", "_DATAMOVER_COMPLETE").source())


if __name__ == "__main__":
    import importlib

    importlib.import_module("datamover.cli.entry").main()
