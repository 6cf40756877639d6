"""`datamover hcp`: its commands and flags, and what they become."""

import sys
from pathlib import Path

import click

from datamover.cli.credentials import credential_options
from datamover.cli.forms import output_option
from datamover.cli.namespaces import parse_namespace
from datamover.cli.object_completion import complete_backup

_EXIT_CODES = """
\b
Exit codes:
  0    all is moved, or the backup has left nothing to be moved
  1    something failed or was not in time, or no rule is known for the platform
  2    it cannot be looked at: no such backup or control plane, no access
  3    it is not moved yet, or what decides cannot be read
"""


@click.group(short_help="Backups of hosted control planes with Velero.")
def hcp() -> None:
    """Backups of hosted control planes (HyperShift) with Velero."""


@hcp.command(epilog=_EXIT_CODES, short_help="Show what a backup is moving, and what it waits for.")
@click.argument("backup", shell_complete=complete_backup)
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    callback=parse_namespace,
    help="Velero's namespace. [default: the one that has a Backup of this name]",
)
@click.option(
    "--control-plane",
    metavar="NAME",
    callback=parse_namespace,
    help="Namespace of one control plane. [default: all that the backup has in it]",
)
@credential_options
@output_option("table")
def explain(
    backup: str,
    namespace: str | None,
    control_plane: str | None,
    kubeconfig: Path | None,
    context: str | None,
    output: str,
) -> None:
    """Show for each volume of BACKUP's control planes what moves it, how far that is, since when, where, and when it would be given up.

    It looks once and changes nothing; the plugin need not be installed. What you may not read is named.
    """
    from datamover.cli.hcp import ExplainRequest, perform

    request = ExplainRequest(
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
        control_plane=control_plane,
        backup=backup,
        machine=output == "json",
    )
    sys.exit(perform(request))
