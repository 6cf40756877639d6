"""Symbolic links in a volume that stand where the remote has a folder. rclone would write through them, to wherever they lead; a mirror replaces them."""

import os
from collections.abc import Callable

from datamover.agent.files.handles import Refused, enter_parent


def find_links(mount: str, *, tick: Callable[[], None]) -> set[bytes]:
    """Return the paths, below `mount`, of all links that lead to a folder. What cannot be looked into has none."""
    root = os.fsencode(mount)
    found: set[bytes] = set()
    waiting = [root]
    while waiting:
        tick()
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_symlink() and entry.is_dir():
                        found.add(os.path.relpath(entry.path, root))
        except OSError:
            continue
    return found


def replace_links(mount: str, links: set[bytes], *, listed: str) -> int:
    """Remove those links at whose paths the remote has a folder; `listed` is a file with a line for each of its folders. Return how many.

    Raises OSError when one of them cannot be removed.
    """
    top = os.open(mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    removed = 0
    try:
        with open(listed, "rb") as lines:  # noqa: PTH123 - as everywhere in the agent
            for line in lines:
                path = line.rstrip(b"\n").rstrip(b"/")
                if path not in links:
                    continue
                links.discard(path)
                try:
                    with enter_parent(top, path) as (folder, name):
                        os.unlink(name, dir_fd=folder)
                except (FileNotFoundError, Refused):
                    continue  # it was below another one
                removed += 1
    finally:
        os.close(top)
    return removed
