"""An attempt that only waits, so that a person can look around in the mover's Pod: what `DEBUG_MOVER` asks for."""

from collections.abc import Mapping
from typing import Final, NoReturn

from datamover.agent.shell import Surroundings
from datamover.api import transfer

_A_DAY: Final = 86400.0


def is_asked(environ: Mapping[str, str]) -> bool:
    """Tell whether the mover is to wait instead of moving anything."""
    return environ.get(transfer.DEBUG_MOVER, "").strip() not in {"", "0", "false"}


def wait_for_the_end(given: Surroundings) -> NoReturn:
    """Wait until the attempt is ended by a signal or its deadline. Raises Stopped."""
    given.say(
        f"{transfer.DEBUG_MOVER} is set: nothing is moved, this Pod only waits so that you can look around in it."
        " Remove the annotation volsync.backube/enable-debug-mover to have the work done."
    )
    while True:
        given.stop.pause(_A_DAY)
