"""Garbage collection by owner references: background, foreground and orphaning deletion. The rules are kube-controller-manager's.

An object whose owners are all gone is deleted. An owner that is deleted in the foreground goes when nothing that blocks it is left, one
that is orphaned when no object refers to it any more. Whether an owner exists is looked up by the name in the reference, and its UID compared.

Caveat: a cluster-scoped object with a namespaced owner is left alone, as in a real cluster; here the log says so, there an Event.
"""

import logging
from collections.abc import Collection, Sequence
from enum import Enum

from localkube.store.editor import Editor, Place
from localkube.store.kinds import Kind
from localkube.store.trees import Tree, entries, mapping, sequence, text

_log = logging.getLogger(__name__)
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_FINALIZERS = frozenset({FOREGROUND, ORPHAN})


class Owner(Enum):
    """What is known of an owner."""

    SOLID = "solid"
    """It exists and stays, or goes without waiting for its dependents."""
    WAITING = "waiting"
    """It is being deleted in the foreground."""
    ABSENT = "absent"
    """It does not exist any more."""
    UNKNOWN = "unknown"
    """Its kind is not served, or it cannot be an owner of this object: nothing is done."""


def decide(
    finalizers: Collection[str], owners: Sequence[tuple[str, Owner]], *, has_dependents: bool
) -> frozenset[str] | str | None:
    """Decide about an object, given each owner's UID and what is known of it. Pure.

    Returns the UIDs of owners that it has to forget, because others stay; or the propagation policy with which it is to be deleted; or None.
    """
    states = {state for _, state in owners}
    if not owners or Owner.UNKNOWN in states:
        return None
    if Owner.SOLID in states:
        return frozenset(uid for uid, state in owners if state is not Owner.SOLID) or None
    if has_dependents and Owner.WAITING in states:
        return "Foreground"
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"


class OwnerGraph:
    """Who refers to whom as an owner. Only objects with owners, and owners that wait for their dependents, are in it."""

    def __init__(self) -> None:
        self._owners: dict[Place, frozenset[str]] = {}
        self._dependents: dict[str, dict[Place, None]] = {}
        self._waiting: dict[str, Place] = {}
        self._gone: set[str] = set()

    def dependents(self, uid: str) -> list[Place]:
        """Return where the objects lie that refer to this UID."""
        return list(self._dependents.get(uid, ()))

    def owned(self) -> list[Place]:
        """Return where all objects with owners lie."""
        return list(self._owners)

    def is_gone(self, uid: str) -> bool:
        """Tell whether an owner of something was seen to go. That is known even when its kind went with it."""
        return uid in self._gone

    def note(self, place: Place, meta: Tree, *, gone: bool) -> list[Place]:
        """Take in a change of an object; return what has to be looked at because of it."""
        uid = text(meta.get("uid"))
        before = self._owners.get(place, frozenset[str]())
        after = frozenset[str]() if gone else frozenset(text(reference.get("uid")) for reference in _references(meta))
        self._refer(place, before, after)
        wanted = [self._waiting[owner] for owner in before | after if owner in self._waiting]
        if gone:
            self._waiting.pop(uid, None)
            if uid in self._dependents:
                self._gone.add(uid)
            return wanted + self.dependents(uid)
        if meta.get("deletionTimestamp") and _FINALIZERS & _finalizers(meta):
            self._waiting[uid] = place
            return [*wanted, place]
        return [*wanted, place] if before != after else wanted

    def _refer(self, place: Place, before: frozenset[str], after: frozenset[str]) -> None:
        for uid in before - after:
            left = self._dependents[uid]
            del left[place]
            if not left:
                del self._dependents[uid]
                self._gone.discard(uid)
        for uid in after - before:
            self._dependents.setdefault(uid, {})[place] = None
        if after:
            self._owners[place] = after
        else:
            self._owners.pop(place, None)


class GarbageCollector:
    """Looks at one object at a time and does what its owner references and finalizers ask for."""

    def __init__(self, editor: Editor, graph: OwnerGraph) -> None:
        self._editor = editor
        self._graph = graph

    def look(self, kind: Kind, meta: Tree) -> list[Place]:
        """Bring one object on; return what to look at next. Raises StatusError when a change is refused."""
        if not meta.get("deletionTimestamp"):
            self._collect(kind, meta)
        elif ORPHAN in _finalizers(meta):
            self._orphan_dependents(kind, meta)
        elif FOREGROUND in _finalizers(meta):
            return self._delete_dependents_first(kind, meta)
        return []

    def _collect(self, kind: Kind, meta: Tree) -> None:
        owners = [(text(reference.get("uid")), self._owner(kind, meta, reference)) for reference in _references(meta)]
        has_dependents = bool(self._graph.dependents(text(meta.get("uid"))))
        decision = decide(_finalizers(meta), owners, has_dependents=has_dependents)
        if isinstance(decision, str):
            if decision == "Foreground" and any(_waits(each) for _, each in self._dependents(text(meta.get("uid")))):
                self._unblock(kind, meta)  # it may be a circle, in which each would wait for the other
            self._editor.delete(kind, meta, decision)
        elif decision is not None:
            self._disown(kind, meta, decision)

    def _owner(self, kind: Kind, meta: Tree, reference: Tree) -> Owner:
        uid = text(reference.get("uid"))
        owner_kind = self._editor.owner_kind(reference)
        if owner_kind is None:
            return Owner.ABSENT if self._graph.is_gone(uid) else Owner.UNKNOWN
        if owner_kind.namespaced and not kind.namespaced:
            told = (kind.resource, meta.get("name"), reference.get("kind"), reference.get("name"))
            _log.warning("%s %s is cluster-scoped and its owner %s %s is not: it is left alone", *told)
            return Owner.UNKNOWN
        namespace = text(meta.get("namespace")) if owner_kind.namespaced else ""
        owner = self._editor.find(Place(owner_kind.collection, namespace, text(reference.get("name"))))
        found = mapping(owner and owner.get("metadata"))
        if found.get("uid") != uid:
            return Owner.ABSENT
        return Owner.WAITING if _waits(found) else Owner.SOLID

    def _delete_dependents_first(self, kind: Kind, owner: Tree) -> list[Place]:
        uid = text(owner.get("uid"))
        blocked, wanted = False, list[Place]()
        for place, dependent in self._dependents(uid):
            blocked |= any(r.get("blockOwnerDeletion") is True for r in _references(dependent) if r.get("uid") == uid)
            if not dependent.get("deletionTimestamp"):
                wanted.append(place)
        if not blocked:
            self._drop_finalizer(kind, owner, FOREGROUND)
        return wanted

    def _orphan_dependents(self, kind: Kind, owner: Tree) -> None:
        uid = text(owner.get("uid"))
        for place, dependent in self._dependents(uid):
            dependent_kind = self._editor.kind(place.collection)
            if dependent_kind is not None:
                self._disown(dependent_kind, dependent, frozenset({uid}))
        self._drop_finalizer(kind, owner, ORPHAN)

    def _dependents(self, uid: str) -> list[tuple[Place, Tree]]:
        found = [(place, self._editor.find(place)) for place in self._graph.dependents(uid)]
        return [(place, mapping(tree["metadata"])) for place, tree in found if tree is not None]

    def _disown(self, kind: Kind, meta: Tree, uids: frozenset[str]) -> None:
        kept = [reference for reference in _references(meta) if reference.get("uid") not in uids]
        self._editor.patch(kind, meta, {"metadata": {"ownerReferences": kept or None}})

    def _unblock(self, kind: Kind, meta: Tree) -> None:
        references = [{**reference, "blockOwnerDeletion": False} for reference in _references(meta)]
        self._editor.patch(kind, meta, {"metadata": {"ownerReferences": references}})

    def _drop_finalizer(self, kind: Kind, meta: Tree, finalizer: str) -> None:
        kept = [name for name in sequence(meta.get("finalizers")) if name != finalizer]
        self._editor.patch(kind, meta, {"metadata": {"finalizers": kept or None}})


def _waits(meta: Tree) -> bool:
    return bool(meta.get("deletionTimestamp")) and FOREGROUND in _finalizers(meta)


def _references(meta: Tree) -> list[Tree]:
    return list(entries(meta.get("ownerReferences")))


def _finalizers(meta: Tree) -> set[str]:
    return set(map(text, sequence(meta.get("finalizers"))))
