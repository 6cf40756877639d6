"""The part of JSONPath that printer columns use: fields, indexes, `[*]` and `[?(@.type=="Ready")]`."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from localkube.store.trees import Tree, is_tree, look, sequence

_STEP = re.compile(
    r"""\.(?P<field>(?:[^.\[\]\\]|\\.)+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \['(?P<quoted>[^']*)'\]
      | \["(?P<double>[^"]*)"\]
      | \[\?\(\s*@(?P<path>(?:\.[\w-]+)+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|true|false|-?\d+)\s*\)\]
    """,
    re.VERBOSE,
)


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[re.Match[str], ...]:
    given = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if not given.startswith((".", "[")):
        given = "." + given
    return tuple(_STEP.finditer(given))


def find_all(tree: Tree, path: str) -> list[Any]:
    """Return everything that a path selects, in order; nothing for what is not there."""
    found: list[Any] = [tree]
    for step in _steps(path):
        found = [value for start in found for value in _take(start, step)]
    return found


def _take(value: Any, step: re.Match[str]) -> Iterator[Any]:
    name = step["field"] or step["quoted"] or step["double"]
    if name is not None:
        key = re.sub(r"\\(.)", r"\1", name) if step["field"] else name
        if is_tree(value) and key in value:
            yield value[key]
    elif step["index"] is not None:
        items = sequence(value)
        position = int(step["index"])
        if -len(items) <= position < len(items):
            yield items[position]
    elif step["all"] is not None:
        yield from (value.values() if is_tree(value) else sequence(value))
    else:
        wanted = step["value"]
        for item in sequence(value):
            if _shown(look(item, *step["path"].strip(".").split("."))) == wanted.strip("\"'"):
                yield item


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
