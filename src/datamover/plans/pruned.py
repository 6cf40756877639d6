"""What a server drops of the statuses that are written to it: fields that the definition installed there does not have. Pure.

Where another project's definition is installed, an API server silently drops what is ours. The status then never looks as it was decided, and
would be written again at each look (law L9). What comes back from a write tells what was dropped.

Guarantees: what was dropped counts as no difference, until a write brings it back, for the definition may have been updated. What is
remembered is bounded.
Caveats: entries of a list are not told apart; lists of another length than what was sent teach nothing.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

Path = tuple[str, ...]
"""Names of fields from the status down; `_ENTRY` stands for each entry of a list."""

_ENTRY: Final = "[]"
_MOST: Final = 128
"""So many fields are remembered: more than any status has. Those that come later count as differences."""


class Pruned:
    """Remembers it for one kind."""

    def __init__(self) -> None:
        self._paths: set[Path] = set()

    def __len__(self) -> int:
        return len(self._paths)

    def learn(self, sent: Any, stored: Any) -> None:
        """Take note of what a server made of a status."""
        one, other = _tree(sent), _tree(stored)
        self._paths.difference_update([path for path in self._paths if _has(other, path)])
        for path in _missing(one, other, ()):
            if len(self._paths) < _MOST:
                self._paths.add(path)

    def same(self, one: Any, other: Any) -> bool:
        """Tell whether two statuses are one to this server."""
        if one == other:
            return True
        if not self._paths or one is None or other is None:
            return False
        return self._strip(_tree(one), ()) == self._strip(_tree(other), ())

    def _strip(self, tree: Any, path: Path) -> Any:
        if isinstance(tree, dict):
            fields = cast("dict[str, Any]", tree).items()
            return {
                name: self._strip(value, (*path, name)) for name, value in fields if (*path, name) not in self._paths
            }
        if isinstance(tree, list):
            return [self._strip(entry, (*path, _ENTRY)) for entry in cast("list[Any]", tree)]
        return tree


def _tree(status: Any) -> Any:
    """Return a status as it is sent: maps and lists."""
    return msgspec.json.decode(msgspec.json.encode(status))


def _missing(sent: Any, stored: Any, path: Path) -> Iterator[Path]:
    """Yield the fields that were sent and are not stored; what is below such a field is not named as well."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        kept = cast("dict[str, Any]", stored)
        for name, value in cast("dict[str, Any]", sent).items():
            if name in kept:
                yield from _missing(value, kept[name], (*path, name))
            else:
                yield (*path, name)
    elif isinstance(sent, list) and isinstance(stored, list):
        entries, others = cast("list[Any]", sent), cast("list[Any]", stored)
        if len(entries) == len(others):
            for one, other in zip(entries, others, strict=True):
                yield from _missing(one, other, (*path, _ENTRY))


def _has(tree: Any, path: Path) -> bool:
    if not path:
        return True
    first, *rest = path
    if isinstance(tree, dict):
        return first in tree and _has(cast("dict[str, Any]", tree)[first], tuple(rest))
    return isinstance(tree, list) and any(_has(entry, tuple(rest)) for entry in cast("list[Any]", tree))
