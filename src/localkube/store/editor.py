"""Changes that the server makes by itself, after the answer to a write: they take the same way as the writes of clients."""

from collections.abc import Iterator
from typing import NamedTuple

from localkube.store.calls import Call
from localkube.store.deletion import DeleteOptions, Deleter
from localkube.store.kinds import Kind, Registry
from localkube.store.storage import Storage
from localkube.store.trees import Tree, decode, encode, mapping, text
from localkube.store.writing import Writer

_MANAGER = "localkube-controllers"
_MERGE = {"content-type": "application/merge-patch+json"}


class Place(NamedTuple):
    """Where an object is stored: the name of its collection (`plural.group`), its namespace (empty for a cluster-scoped one) and its name."""

    collection: str
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: Kind, meta: Tree) -> "Place":
        """Return the place of an object by its metadata."""
        return cls(kind.collection, text(meta.get("namespace")), text(meta.get("name")))


class Editor:
    """Reads, deletes and changes objects in the server's own name."""

    def __init__(self, *, storage: Storage, registry: Registry, writer: Writer, deleter: Deleter) -> None:
        self._storage = storage
        self._registry = registry
        self._writer = writer
        self._deleter = deleter

    def kind(self, collection: str) -> Kind | None:
        """Return the kind of a collection, in any version, or None when it is no longer served."""
        plural, _, group = collection.partition(".")
        return self._registry.of_resource(group, plural)

    def owner_kind(self, reference: Tree) -> Kind | None:
        """Return the kind that an owner reference names, whatever its version; None when it is not served."""
        group = text(reference.get("apiVersion")).rpartition("/")[0]
        return self._registry.of_kind(group, text(reference.get("kind")))

    def find(self, place: Place) -> Tree | None:
        """Return a copy of the object at a place, or None."""
        record = self._storage.collection(place.collection).get(place.namespace, place.name)
        return mapping(decode(record.data)) if record is not None else None

    def everything(self, namespace: str = "") -> Iterator[tuple[Kind, Tree]]:
        """Yield copies of all objects, or of those in a namespace. The objects may be changed meanwhile."""
        for name, collection in list(self._storage.collections().items()):
            kind = self.kind(name)
            if kind is None or (namespace and not kind.namespaced):
                continue
            for record in collection.scan(namespace):
                yield kind, mapping(decode(record.data))

    def delete(self, kind: Kind, meta: Tree, policy: str) -> None:
        """Delete an object with a propagation policy, provided that it is still the one with this UID."""
        options = DeleteOptions(uid=text(meta.get("uid")), policy=policy)
        self._deleter.delete(kind, text(meta.get("namespace")), text(meta.get("name")), options)

    def patch(self, kind: Kind, meta: Tree, change: Tree, *, subresource: str = "") -> None:
        """Merge a change into an object, or into a subresource of it."""
        place = Place.of(kind, meta)
        query = {"fieldManager": _MANAGER}
        self._writer.patch(Call("patch", kind, place.namespace, place.name, subresource, query, _MERGE, encode(change)))
