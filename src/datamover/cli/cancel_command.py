"""`datamover cancel`: its arguments and flags, and what they become."""

import sys
from pathlib import Path

import click

from datamover.cli.credentials import credential_options
from datamover.cli.forms import output_option
from datamover.cli.kind_words import KINDS, meant_kind
from datamover.cli.namespaces import parse_namespace
from datamover.cli.object_completion import complete_cancellable

_EXIT_CODES = """
\b
Exit codes:
  0    its end is asked for; with --wait: it is cancelled
  1    it has ended otherwise, and stays so
  2    it cannot be asked for: no such object, no access
"""


def split_target(target: str, kind: str | None) -> tuple[str, str]:
    """Return the kind and the name that `NAME` or `KIND/NAME` means. Raises click.UsageError that says what to do."""
    word, slash, name = target.partition("/")
    if not slash:
        return KINDS[kind or "datamover"], target
    found = meant_kind(word)
    if found is None or not name:
        raise click.UsageError(
            f"{target!r} names nothing that can be cancelled: write datamover/NAME or datamoverrestore/NAME"
        )
    if kind is not None and KINDS[kind] != found:
        raise click.UsageError(f"{target!r} is no {kind}: leave out --kind")
    return found, name


@click.command(epilog=_EXIT_CODES, short_help="Cancel a backup or a restore in a cluster.")
@click.argument("target", metavar="NAME", shell_complete=complete_cancellable)
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    callback=parse_namespace,
    help="Its namespace. [default: that of the credentials, else default]",
)
@click.option(
    "--kind",
    type=click.Choice(["datamover", "restore"]),
    help="What NAME is. [default: datamover, unless NAME is KIND/NAME]",
)
@click.option("--wait", is_flag=True, help="Wait for its end, and show it.")
@credential_options
@output_option("text")
def cancel(
    target: str,
    namespace: str | None,
    kind: str | None,
    wait: bool,
    kubeconfig: Path | None,
    context: str | None,
    output: str,
) -> None:
    """Cancel the DataMover or DataMoverRestore NAME: its mover is stopped, what was temporary is removed, and its message says what is there now.

    What has ended stays as it is.
    """
    meant, name = split_target(target, kind)
    from datamover.cli.cancelling import CancelRequest, perform

    request = CancelRequest(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        kind=meant,
        name=name,
        wait=wait,
        machine=output == "json",
    )
    sys.exit(perform(request))
