"""Symbolic links in a volume that stand where the remote has a folder. rclone would write through them, to wherever they lead; a mirror replaces them."""

import os
import re
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
    waiting: dict[bytes, list[bytes]] = {}
    for path in links:
        waiting.setdefault(_as_listed(path), []).append(path)
    try:
        with open(listed, "rb") as lines:  # noqa: PTH123 - as everywhere in the agent
            for line in lines:
                for path in waiting.pop(_as_listed(line.rstrip(b"\n").rstrip(b"/")), ()):
                    try:
                        with enter_parent(top, path) as (folder, name):
                            os.unlink(name, dir_fd=folder)
                    except (FileNotFoundError, Refused):
                        continue  # it was below another one
                    removed += 1
    finally:
        os.close(top)
    return removed


_QUOTE = b"\xe2\x80\x9b"
_PICTURE = re.compile(rb"\xe2\x90[\x80-\x9f\xa1]")
_WIDE = {b"\xef\xbc\x8e": b".", b"\xef\xbc\x8f": b"/"}


def _as_listed(path: bytes) -> bytes:
    """Return a path by which names are compared that rclone writes in its own way: a new line as `␊`, and a quotation mark before what was so already.

    Names that differ in nothing else are taken for equal: a link too many that goes is better than one that leads out of the volume.
    """
    if path.isascii() and path.decode().isprintable():
        return path
    plain = path.replace(_QUOTE, b"")
    for wide, letter in _WIDE.items():
        plain = plain.replace(wide, letter)
    return _PICTURE.sub(lambda found: b"\x7f" if found[0][2] == 0xA1 else bytes([found[0][2] - 0x80]), plain)
