"""Loading YAML within limits: a few lines with aliases can expand to more than the memory holds.

Aliases are counted as what they stand for, merges (`<<`) as the keys that they bring, and nothing is nested deeper than a manifest is.
`YamlError` is raised for what breaks a limit, before it costs anything, and for text that is not YAML; the message continues a sentence.
"""

from collections.abc import Iterable
from typing import Any, cast

import yaml

MAX_DEPTH = 100
MAX_VALUES = 1_000_000
MAX_MERGED = 10_000
"""The greatest number of keys that all merges of a document may add together: merges of merges multiply."""
TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep; that is not a manifest"
TOO_MANY = f"stands for more than {MAX_VALUES} values, aliases included; that is not a manifest"
_TOO_MERGED = f"merges more than {MAX_MERGED} keys; that is not a manifest"
_MERGE = "tag:yaml.org,2002:merge"


class YamlError(ValueError):
    """The text cannot be used."""


class BoundedLoader(yaml.SafeLoader):
    """A safe loader that stops at the limits of depth and merges. Those of values are `demand_few`'s."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth = 0
        self._merged = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise YamlError(TOO_DEEP)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def compose_document(self) -> Any:
        """Return the next document's node. The limits count anew for each document."""
        self._merged = 0
        return super().compose_document()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Resolve the merges of a mapping, once it is known that there are not too many."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in _mappings(value):
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise YamlError(TOO_DEEP)
                self.flatten_mapping(source)
                self._depth -= 1
                self._merged += len(source.value)
                if self._merged > MAX_MERGED:
                    raise YamlError(_TOO_MERGED)
        super().flatten_mapping(node)


def _mappings(value: yaml.Node) -> Iterable[yaml.MappingNode]:
    nodes = value.value if isinstance(value, yaml.SequenceNode) else [value]
    return [node for node in nodes if isinstance(node, yaml.MappingNode)]


def demand_few(value: object) -> None:
    """Raise YamlError for a tree of too many values, aliases counted as what they stand for, and for one within itself."""
    left = MAX_VALUES
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise YamlError(TOO_DEEP)
        if isinstance(item, dict):
            below = list(cast("dict[object, object]", item).values())
        elif isinstance(item, list):
            below = cast("list[object]", item)
        else:
            continue
        left -= len(below)
        if left < 0:
            raise YamlError(TOO_MANY)
        pending += [(each, depth + 1) for each in below]
