# ruff: noqa: ARG002 - hooks are given what overriders need
"""What a kind may do to its objects on the way into the storage. The base does what custom resources get."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from localkube.store.statuses import Fault
from localkube.store.trees import Tree, look, same, text


class ServerView(Protocol):
    """What a strategy may see of the rest of the server."""

    def now(self) -> datetime:
        """The server's time."""
        ...

    def stamp(self) -> str:
        """Return the server's time as a `metav1.Time`."""
        ...

    def new_uid(self) -> str:
        """Return a fresh UID."""
        ...

    def find(self, resource: str, namespace: str, name: str) -> Tree | None:
        """Return a copy of an object, by `plural.group`, or None."""
        ...

    def all(self, resource: str) -> Iterable[Tree]:
        """Return copies of all objects of a resource."""
        ...


class Strategy:
    """Hooks of a kind; all change their first argument in place.

    The order on creation is default, (ownership is recorded), prepare_create, admit_create, validate; on update default, (ownership),
    prepare_update and admit_update or prepare_status, validate_update or validate_status.
    """

    counts_generations = True
    """Whether metadata.generation is 1 at creation and goes up with the spec."""

    unconditional_update = False
    """Whether a PUT without resourceVersion is taken."""

    create_on_update = False
    """Whether a PUT creates what is not there."""

    name_rule: Mapping[str, bool] = {}
    """Which rule names obey, as arguments of `check_metadata`; subdomains when empty."""

    returns_deleted = False
    """Whether DELETE answers with the object in place of a Status."""

    selectable: Mapping[str, tuple[str, ...]] = {}
    """Field selectors beyond metadata.name and metadata.namespace, with their paths."""

    collected = True
    """Whether the garbage collector minds the kind, so that propagation policies mean something."""

    orphans_by_default = False
    """Whether a DELETE without propagation policy orphans the dependents."""

    def default(self, obj: Tree) -> None:
        """Fill in what the API defaults."""

    def prepare_create(self, obj: Tree) -> None:
        """Take out what a client may not set, add what the server sets."""

    def admit_create(self, obj: Tree, server: ServerView) -> None:
        """Do what needs the rest of the server, as admission plugins do. May raise StatusError."""

    def prepare_update(self, obj: Tree, live: Tree) -> None:
        """The same for updates of the main resource. Status is handled by the server."""

    def admit_update(self, obj: Tree, live: Tree, server: ServerView) -> None:
        """What an update needs of the rest of the server. May raise StatusError."""

    def prepare_status(self, obj: Tree, live: Tree) -> None:
        """The same for updates of the status subresource; everything but status is the live object's already."""

    def admit_status(self, obj: Tree, live: Tree, server: ServerView) -> None:
        """What an update of the status needs of the rest of the server."""

    def validate(self, obj: Tree) -> list[Fault]:
        """Return what is wrong with a new object."""
        return []

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """Return what is wrong with a change."""
        return self.validate(obj)

    def validate_status(self, obj: Tree, live: Tree) -> list[Fault]:
        """Return what is wrong with a change of the status."""
        return []

    def warnings(self, obj: Tree) -> list[str]:
        """Return sentences for the Warning header."""
        return []

    def spec_changed(self, obj: Tree, live: Tree) -> bool:
        """Tell whether a change counts as a new generation: anything but metadata and status."""
        ignored = {"metadata", "status", "apiVersion", "kind"}
        return any(not same(obj.get(key), live.get(key)) for key in (obj.keys() | live.keys()) - ignored)

    def grace_seconds(self, obj: Tree, asked: int | None) -> int | None:
        """Return how long a deletion may take, or None when the kind is deleted at once."""
        return None

    def holds(self, obj: Tree) -> bool:
        """Tell whether an object that is being deleted stays though it has no finalizers."""
        return False

    def prepare_deletion(self, obj: Tree) -> None:
        """Change an object that is now being deleted."""

    def fields(self, obj: Tree) -> Mapping[str, str] | None:
        """Return what field selectors see."""
        if not self.selectable:
            return None
        return {name: text(look(obj, *path)) for name, path in self.selectable.items()}


IMMUTABLE = "field is immutable"
"""What is said of a change to a field that may not change."""
