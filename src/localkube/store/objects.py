"""Reads and writes objects; converts between the form that is stored and that of the version that is served."""

from typing import Protocol

from localkube.store.kinds import Kind
from localkube.store.storage import Change, Collection, Record, Storage
from localkube.store.trees import Tree, decode, encode, mapping, text


class ChangeHook(Protocol):
    """Hears of every stored object."""

    def __call__(self, kind: Kind, tree: Tree, *, gone: bool) -> None:
        """Take notice. `tree` is the object as it was stored, or for `gone` its last state; it must not be changed."""
        ...


class ObjectStore:
    """Stores objects. `on_change` hears of every change, after the watches did."""

    def __init__(self, storage: Storage, *, on_change: ChangeHook) -> None:
        self._storage = storage
        self._on_change = on_change

    def collection(self, kind: Kind) -> Collection:
        """Return the collection of a kind."""
        return self._storage.collection(kind.collection)

    def read(self, kind: Kind, record: Record) -> Tree:
        """Return a record as a fresh object of the kind's version."""
        return served_form(kind, record.data)

    def commit(self, kind: Kind, tree: Tree, before: Record | None) -> Record:
        """Store an object under the next revision and tell the watches."""
        return self.commit_stored(kind, stored_form(kind, tree), before)

    def commit_stored(self, kind: Kind, tree: Tree, before: Record | None) -> Record:
        """The same for an object that is in its stored form already."""
        revision = self._storage.next_revision()
        record = build_record(kind, tree, revision)
        self._storage.commit(
            self.collection(kind), Change(revision=revision, before=before, after=record, deleted=False)
        )
        self._on_change(kind, tree, gone=False)
        return record

    def remove(self, kind: Kind, record: Record) -> Record:
        """Take an object out of the storage; return its last state with the revision of the deletion."""
        revision = self._storage.next_revision()
        tree = mapping(decode(record.data))
        gone = build_record(kind, tree, revision)
        self._storage.commit(self.collection(kind), Change(revision=revision, before=record, after=gone, deleted=True))
        self._on_change(kind, tree, gone=True)
        return gone


def served_form(kind: Kind, data: bytes) -> Tree:
    """Return stored bytes as a fresh object of the kind's version."""
    tree = mapping(decode(data))
    if kind.to_served is not None:
        kind.to_served(tree)
    elif kind.stored:
        tree["apiVersion"] = kind.api_version
    return tree


def stored_form(kind: Kind, tree: Tree) -> Tree:
    """Turn an object of the kind's version into its stored form, in place, and return it."""
    if kind.to_stored is not None:
        kind.to_stored(tree)
    elif kind.stored:
        tree["apiVersion"] = kind.stored
    return tree


def build_record(kind: Kind, tree: Tree, revision: int) -> Record:
    """Return the record of an object in its stored form, with its revision written into it; 0 leaves it without one.

    apiVersion and kind come first, so that lists of built-in kinds can leave them out without decoding.
    """
    meta = mapping(tree["metadata"])
    if revision:
        meta["resourceVersion"] = str(revision)
    else:
        meta.pop("resourceVersion", None)
    ordered = {"apiVersion": tree.get("apiVersion"), "kind": tree.get("kind"), "metadata": meta, **tree}
    return Record(
        namespace=text(meta.get("namespace")),
        name=text(meta.get("name")),
        uid=text(meta.get("uid")),
        revision=revision,
        data=encode(ordered),
        labels=mapping(meta.get("labels")) or None,
        fields=kind.strategy.fields(tree),
    )
