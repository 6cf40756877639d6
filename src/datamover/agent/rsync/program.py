# ruff: noqa: PTH100, PTH120  # a start-up budget that pathlib would take a tenth of
"""Finding the programs that these engines are made of: rsync, stunnel, ssh."""

import os
import sys
from collections.abc import Iterable

from datamover.agent.errors import Failure
from datamover.api import transfer

_MORE = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin"
"""Where distributions put servers and their tunnels: not all of it is on every user's PATH."""


def find_program(names: Iterable[str], *, given: str = "", variable: str = "", search: str | None) -> str:
    """Return the path of a program that has one of these names: the one `given`, on `search` (PATH), beside the interpreter, or in the system's folders.

    `variable` is the variable that `given` comes from, for people. Raises Failure.
    """
    import shutil

    wanted = tuple(names)
    if given:
        found = shutil.which(given)
        if found:
            return os.path.abspath(found)
    else:
        places = os.pathsep.join(part for part in (search, os.path.dirname(sys.executable), _MORE) if part)
        for name in wanted:
            if found := shutil.which(name, path=places):
                return os.path.abspath(found)
    help_of = f", or name it in {variable}" if variable else ""
    raise Failure(
        transfer.CONFIG,
        transfer.REASON_ENGINE_MISSING,
        f"{wanted[0]} was not found ({given or 'on PATH or in the folders of the system'}). Use a mover image that has it{help_of}.",
    )
