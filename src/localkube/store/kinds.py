"""What the server serves: kinds, and the registry that finds them by path."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from localkube.store.schemas.nodes import Node
from localkube.store.strategies.base import Strategy
from localkube.store.trees import Tree

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""The verbs of an ordinary kind, as discovery lists them."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `path` is a JSONPath of a CRD's printer column; built-in kinds compute their cells elsewhere."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind at one version. Identity is the object itself.

    `stored_in` names the collection that holds the objects (`plural.group`), when that is another resource's; `stored` is the apiVersion
    under which they are stored there. `to_served` and `to_stored` convert between the stored form and that of this version, both in place.
    """

    group: str
    version: str
    plural: str
    kind: str
    node: Node | None
    strategy: Strategy
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    verbs: tuple[str, ...] = ALL_VERBS
    columns: tuple[Column, ...] = ()
    stored_in: str = ""
    stored: str = ""
    custom: bool = False
    to_served: Callable[[Tree], None] | None = None
    to_stored: Callable[[Tree], None] | None = None
    schema: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """`plural.group`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def collection(self) -> str:
        """The name of the collection that holds the objects, shared by all versions of a kind."""
        return self.stored_in or self.resource

    @property
    def listed(self) -> str:
        """The kind of a list."""
        return self.list_kind or f"{self.kind}List"


class Registry:
    """The kinds that are served now. CRDs come and go."""

    def __init__(self, kinds: tuple[Kind, ...] = ()) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self.generation = 0
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        """Serve a kind; one of the same path is replaced."""
        self._kinds[kind.group, kind.version, kind.plural] = kind
        self.generation += 1

    def remove(self, group: str, plural: str) -> None:
        """Serve a resource no longer, in any version."""
        for key in [key for key in self._kinds if key[0] == group and key[2] == plural]:
            del self._kinds[key]
        self.generation += 1

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind of a path, or None."""
        return self._kinds.get((group, version, plural))

    def of_resource(self, group: str, plural: str) -> Kind | None:
        """Return the kind of a resource in any version, or None."""
        return next((kind for kind in self._kinds.values() if (kind.group, kind.plural) == (group, plural)), None)

    def of_kind(self, group: str, kind: str) -> Kind | None:
        """Return the kind of this name in any version, or None."""
        return next((each for each in self._kinds.values() if (each.group, each.kind) == (group, kind)), None)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def groups(self) -> dict[str, list[str]]:
        """Return the versions of each group, in the order in which they were added; core is the empty one."""
        found: dict[str, list[str]] = {}
        for group, version, _ in self._kinds:
            versions = found.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        return found
