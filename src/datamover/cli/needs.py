"""What some commands need beyond a plain installation: the embedded world, which `datamover[local]` brings.

An operator needs none of it, and its image has none of it.
"""

from importlib.util import find_spec
from typing import Final

import click

_WORLD: Final = ("localkube", "re2")


class NotInstalled(click.ClickException):
    """A command needs what a plain installation does not bring. Ends as a wrong command line does."""

    exit_code = click.UsageError.exit_code


def demand_world(command: str) -> None:
    """Raise NotInstalled, which says what to install, where `command` cannot start the embedded world."""
    missing = [name for name in _WORLD if not _is_there(name)]
    if missing:
        raise NotInstalled(
            f"`datamover {command}` needs the embedded world, and {' and '.join(missing)} cannot be imported: "
            "install it with pip install 'datamover[local]'"
        )


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False
