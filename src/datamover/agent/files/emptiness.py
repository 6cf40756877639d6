"""Whether a volume holds any file: what holds none replaces nothing that does (law L3)."""

import os
from collections.abc import Callable

from datamover.agent.files.walk import LOST_AND_FOUND


def has_file(mount: str, *, tick: Callable[[], None]) -> bool:
    """Tell whether there is anything but folders in the volume. Raises OSError when `mount` itself cannot be read."""
    waiting = [os.fsencode(mount)]
    top = True
    while waiting:
        tick()
        folder = waiting.pop()
        try:
            with os.scandir(folder) as found:
                for item in found:
                    if not item.is_dir(follow_symlinks=False):
                        return True
                    if not (top and item.name == LOST_AND_FOUND):
                        waiting.append(item.path)
        except OSError:
            if top:
                raise
            return True  # what cannot be looked into is not called empty
        top = False
    return False
