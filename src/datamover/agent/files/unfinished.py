"""Whether a volume is half restored: what is neither what it was nor whole never becomes the backup (law L3)."""

import os

from datamover.agent.errors import Failure
from datamover.api import transfer


def refuse_unfinished(mount: str, *, volume: str = "") -> None:
    """Raise Failure where a restore into the volume has begun and not ended. For every mover before it moves files out of one; `volume` is what people
    call it, `mount` unless it is given.
    """
    mark = transfer.RESTORE_MARK
    try:
        os.lstat(f"{mount}/{mark}")
    except OSError:
        return  # what is wrong with a volume that cannot be read is told by whoever reads it
    raise Failure(
        transfer.GUARD,
        transfer.REASON_SOURCE_UNFINISHED,
        f"{volume or mount} has {mark!r} at its top: a restore into the volume has begun and not ended, so it is neither what it was nor whole, and as a backup it"
        f" would take the place of a good one. Nothing was moved. Let that restore end (the same one goes on from where it is); or, if the volume is as you want it, remove {mark}.",
        problems=(mark,),
    )
