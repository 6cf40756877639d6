"""Whether a file of the source is still what the walk saw: the evidence by which a changing source is told from a store that errs."""

import os
import stat
from collections.abc import Callable

from datamover.agent.files import names
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.table import fit


def has_changed(source: bytes, key: bytes, ledger: Ledger) -> bool:
    """Tell whether what becomes this key is gone, or has another size or time of change than when the walk met it.

    What the walk did not meet, or what cannot be looked at, counts as changed: nothing speaks for the source's having been still.
    """
    walked = ledger.walked_as(key)
    if walked is None:
        return True
    for path, is_of_kind in _candidates(key):
        try:
            found = os.lstat(source + b"/" + path)
        except (OSError, ValueError):
            continue
        if is_of_kind(found.st_mode):
            return (found.st_size, fit(found.st_mtime_ns)) != walked
    return True


def is_there(source: bytes, key: bytes) -> bool:
    """Tell whether there is now what becomes this key, or that cannot be told."""
    for path, is_of_kind in _candidates(key):
        try:
            found = os.lstat(source + b"/" + path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            return True
        if is_of_kind(found.st_mode) or stat.S_ISLNK(found.st_mode):
            return True
    return False


def _candidates(key: bytes) -> list[tuple[bytes, Callable[[int], bool]]]:
    """Return the paths that become this key, and what each must be."""
    found = [(names.raw_of(key), stat.S_ISREG)]
    if key.endswith(names.LINK_SUFFIX):
        found.append((names.raw_of(key.removesuffix(names.LINK_SUFFIX)), stat.S_ISLNK))
    return found
