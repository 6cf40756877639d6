"""The model of a schema: one node a value, shared between defaulting, pruning, validation, merging and publishing."""

from dataclasses import dataclass, field
from typing import Any


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"


UNSET: Any = _Unset()
"""No default is given; distinct from a default of null."""


@dataclass(slots=True)
class Node:
    """What one value may be. Nodes of built-in kinds may form circles (a schema of schemas does).

    `type` is an OpenAPI type, or "" when any value goes. `fields` are the named fields of an object, `values` the node of all other keys of
    a map. `list_type` is "", "atomic", "set" or "map"; `map_type` is "" (merge key by key) or "atomic". `merge_key` and `strategy` steer strategic merge
    patches of built-in kinds. `rules` holds what only validation needs (pattern, minimum, …), as in OpenAPI. `always` marks a struct that exists even when nothing is in it.
    """

    type: str = ""
    format: str = ""
    description: str = ""
    definition: str = ""
    fields: "dict[str, Node] | None" = None
    required: tuple[str, ...] = ()
    values: "Node | None" = None
    items: "Node | None" = None
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    merge_key: str = ""
    strategy: str = ""
    default: Any = UNSET
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    always: bool = False
    rules: dict[str, Any] = field(default_factory=dict[str, Any])
    _defaulted: tuple[str, ...] | None = None

    def defaulted(self) -> tuple[str, ...]:
        """Return the names of the fields that have a default."""
        if self._defaulted is None:
            below = self.fields or {}
            self._defaulted = tuple(name for name, field in below.items() if field.default is not UNSET)
        return self._defaulted

    def below(self, key: str) -> "Node | None":
        """Return the node of a key of an object: its field, or the map's value; None when the key is unknown."""
        if self.fields is not None:
            found = self.fields.get(key)
            if found is not None:
                return found
        return self.values
