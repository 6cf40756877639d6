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


def has_content(mount: str, *, links: bool, but: bytes, tick: Callable[[], None]) -> bool:
    """Tell whether there is a file that can be moved, or a symbolic link where `links` are moved. Raises OSError as `has_file` does.

    `but` is the name of a file at the top that does not count. Stricter than `has_file`: what is asked for is something to replace others with.
    """
    root = os.fsencode(mount)
    waiting = [root]
    while waiting:
        tick()
        folder = waiting.pop()
        top = folder == root
        try:
            with os.scandir(folder) as found:
                for item in found:
                    if top and item.name in {LOST_AND_FOUND, but}:
                        continue
                    if item.is_file(follow_symlinks=False) or (links and item.is_symlink()):
                        return True
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(item.path)
        except OSError:
            if top:
                raise
    return False
