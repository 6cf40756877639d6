"""The flags by which a command is told to which cluster it talks, and as whom."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def credential_options(command: F) -> F:
    """Add `--kubeconfig` and `--context`: a path, and a name, or None for either."""
    context = click.option("--context", metavar="NAME", help="Context of the kubeconfig. [default: the current one]")
    kubeconfig = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Credentials. [default: in-cluster, else $KUBECONFIG, else ~/.kube/config]",
    )
    return kubeconfig(context(command))
