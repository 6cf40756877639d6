"""Who owns which field: `managedFields`, kept on every write, and server-side apply.

Guarantees: an applied field that another manager owns with another value is a conflict (409, one cause a field) unless forced; a field leaves the
object when its last owner stops applying it; applying the same object again changes nothing.
Source of the rules: Kubernetes "Server-Side Apply" and structured-merge-diff.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from localkube.store.fieldsets import (
    Comparison,
    FieldSet,
    compare,
    difference,
    fields_of,
    intersection,
    paths,
    union,
    with_parents,
    without,
)
from localkube.store.merging import merge, remove
from localkube.store.schemas.nodes import Node
from localkube.store.statuses import StatusError, apply_conflict
from localkube.store.trees import Tree, decode, encode, entries, is_list, is_tree, look, mapping, text

_STRIPPED: FieldSet = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:name": {},
        "f:namespace": {},
        "f:creationTimestamp": {},
        "f:selfLink": {},
        "f:uid": {},
        "f:clusterName": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:resourceVersion": {},
    },
}
"""Fields that nobody owns."""

_MAX_UPDATERS = 10
_ANCIENT = "ancient-changes"
_BEFORE = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Where client-side `kubectl apply` keeps what it applied."""


class Manager(NamedTuple):
    """Who writes: the entry in `managedFields` that a write belongs to. `version` is the apiVersion of an updater; appliers have one entry whatever the version."""

    name: str
    operation: str
    version: str
    subresource: str

    def __str__(self) -> str:
        said = encode(self.name).decode()
        if self.subresource:
            said += f" with subresource {encode(self.subresource).decode()}"
        return f"{said} using {self.version}" if self.operation == "Update" else said


@dataclass(slots=True)
class _Claim:
    fields: FieldSet
    version: str
    time: str | None


@dataclass(slots=True)
class Ownership:
    """The decoded `managedFields` of one object."""

    claims: dict[Manager, _Claim] = field(default_factory=dict[Manager, "_Claim"])

    @classmethod
    def of(cls, obj: Tree) -> "Ownership":
        """Return the ownership that an object records. Entries that cannot be read are dropped."""
        own = cls()
        for entry in entries(look(obj, "metadata", "managedFields")):
            operation, version = text(entry.get("operation")), text(entry.get("apiVersion"))
            if operation not in {"Apply", "Update"} or not version or entry.get("fieldsType") != "FieldsV1":
                continue
            who = Manager(
                text(entry.get("manager")),
                operation,
                version if operation == "Update" else "",
                text(entry.get("subresource")),
            )
            time = entry.get("time")
            own.claims[who] = _Claim(mapping(entry.get("fieldsV1")), version, time if isinstance(time, str) else None)
        return own

    def write_to(self, obj: Tree) -> None:
        """Put the ownership into an object, in the order of the real server."""
        meta = mapping(obj.get("metadata"))
        if not self.claims:
            meta.pop("managedFields", None)
            return
        ordered = sorted(
            self.claims.items(),
            key=lambda item: (
                item[0].operation,
                item[1].time or "",
                item[0].name,
                item[1].version,
                item[0].subresource,
            ),
        )
        meta["managedFields"] = [
            {
                "manager": who.name,
                "operation": who.operation,
                "apiVersion": claim.version,
                **({"time": claim.time} if claim.time else {}),
                "fieldsType": "FieldsV1",
                "fieldsV1": claim.fields,
                **({"subresource": who.subresource} if who.subresource else {}),
            }
            for who, claim in ordered
        ]


def track_update(
    live: Tree, new: Tree, *, node: Node | None, manager: Manager, now: str, ignored: Iterable[str], created: bool
) -> None:
    """Record in `new` (changed in place) what an update from `live` gave to `manager`.

    `ignored` are the top-level fields that the endpoint does not write. On creation `live` is what is always there.
    """
    given = look(new, "metadata", "managedFields")
    if is_list(given) and (not given or given == [{}]) and not created:
        own = Ownership()  # an explicit empty list resets
    else:
        own = Ownership.of(new)
        if not own.claims:
            own = Ownership.of(live)
    mapping(new.get("metadata")).pop("managedFields", None)
    if not own.claims and not created:
        return
    _take_over(own, live, new, node=node, manager=manager, now=now, ignored=frozenset(ignored))
    _cap(own)
    own.write_to(new)


def _take_over(
    own: Ownership, live: Tree, new: Tree, *, node: Node | None, manager: Manager, now: str, ignored: frozenset[str]
) -> None:
    changed = compare(_bare(live), _bare(new), node, skip=ignored | {"apiVersion", "kind"})
    touched = union(changed.modified, changed.added)
    gone = union(touched, changed.removed)
    if not gone:
        return
    before = own.claims.get(manager)
    for who, claim in list(own.claims.items()):
        claim.fields = difference(claim.fields, gone)
        if not claim.fields:
            del own.claims[who]
    taken = difference(touched, _STRIPPED)
    if not taken:
        return
    if before is not None:
        taken = union(before.fields, taken)
    own.claims[manager] = _Claim(taken, manager.version, now)


def _bare(obj: Tree) -> Tree:
    meta = obj.get("metadata")
    if is_tree(meta) and "managedFields" in meta:
        return {
            **obj,
            "metadata": {key: value for key, value in mapping(obj["metadata"]).items() if key != "managedFields"},
        }
    return obj


def _cap(own: Ownership) -> None:
    updaters = [(claim.time or "", who) for who, claim in own.claims.items() if who.operation == "Update"]
    if len(updaters) <= _MAX_UPDATERS:
        return
    updaters.sort()
    first: dict[str, Manager] = {}
    surplus = len(updaters) - _MAX_UPDATERS
    for _, who in updaters:
        if surplus <= 0:
            break
        bucket = Manager(_ANCIENT, "Update", who.version, "")
        if who.version not in first:
            first[who.version] = who
            continue
        if bucket not in own.claims:
            own.claims[bucket] = own.claims.pop(first[who.version])
        claim = own.claims.pop(who)
        kept = own.claims[bucket]
        own.claims[bucket] = _Claim(union(kept.fields, claim.fields), claim.version, claim.time)
        surplus -= 1


def apply(
    live: Tree,
    applied: Tree,
    *,
    node: Node | None,
    manager: Manager,
    version: str,
    now: str,
    force: bool,
    ignored: Iterable[str],
) -> tuple[Tree, bool]:
    """Return the live object with `applied` merged in and ownership recorded, and whether any of that changed. Raises StatusError 409 when others own what it changes.

    `applied` must already be checked against the schema. `ignored` are top-level fields that the endpoint does not write: they are merged (and reset by
    the caller), but not owned. An unchanged result is not complete: it lacks managedFields.
    """
    base = _bare(live)
    own = Ownership.of(live)
    skipped = frozenset(ignored)
    if not own.claims and live.get("metadata") and look(live, "metadata", "uid"):
        _take_over(
            own, {}, base, node=node, manager=Manager(_BEFORE, "Update", version, ""), now=now, ignored=frozenset()
        )
    merged = merge(base, applied, node)
    last = own.claims.get(manager)
    cut: FieldSet = {f"f:{name}": {} for name in skipped}
    claimed = without(fields_of(applied, node), cut)
    own.claims[manager] = _Claim(claimed, version, last.time if last else None)
    if last is not None and difference(last.fields, claimed):
        merged = _prune(merged, own, last.fields, node)
    changed = compare(base, merged, node, skip=skipped | {"apiVersion", "kind"})
    touched = union(changed.modified, changed.added)
    conflicts = {
        who: found
        for who, claim in own.claims.items()
        if who != manager and (found := intersection(claim.fields, touched))
    }
    if conflicts and not force:
        # kubectl may take what it applied itself before there was server-side apply
        allowed = _formerly_applied(live, node) if manager.name == "kubectl" else {}
        rest = {who: left for who, found in conflicts.items() if (left := difference(found, allowed))}
        if rest:
            raise _refusal(rest)
    mine = _settle(own, manager, conflicts, changed)
    if mine is not None and changed:
        mine.time = now
    if not changed and last is not None and mine is not None and last == mine:
        return merged, False
    merged = {**merged, "metadata": dict(mapping(merged.get("metadata")))}
    own.write_to(merged)
    return merged, True


def _settle(own: Ownership, manager: Manager, conflicts: dict[Manager, FieldSet], changed: Comparison) -> _Claim | None:
    """Take from the others what the manager won of them and what is gone; return what is left to the manager itself."""
    for who, claim in list(own.claims.items()):
        if who != manager:
            claim.fields = difference(difference(claim.fields, conflicts.get(who, {})), changed.removed)
        else:
            claim.fields = difference(claim.fields, _STRIPPED)
        if not claim.fields:
            del own.claims[who]
    return own.claims.get(manager)


def _prune(merged: Tree, own: Ownership, last: FieldSet, node: Node | None) -> Tree:
    """Take out what was applied last time, is not any more, and nobody else wants."""
    former = with_parents(last, node)
    managed: FieldSet = {}
    for claim in own.claims.values():
        managed = union(managed, claim.fields)
    everything = with_parents(fields_of(merged, node), node)
    kept = with_parents(fields_of(remove(merged, former, node), node), node)
    wanted = union(kept, with_parents(managed, node))
    left = with_parents(fields_of(remove(merged, difference(everything, wanted), node), node), node)
    return remove(merged, intersection(difference(everything, left), former), node)


def _refusal(conflicts: dict[Manager, FieldSet]) -> StatusError:
    found = [(who, path) for who, fields in sorted(conflicts.items()) for path in paths(fields)]
    causes: list[Tree] = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path} for who, path in found
    ]
    if len(found) == 1:
        return apply_conflict(f"Apply failed with 1 conflict: conflict with {found[0][0]}: {found[0][1]}", causes)
    lines = list[str]()
    for who in sorted(conflicts):
        lines += [f"conflicts with {who}:", *(f"- {path}" for owner, path in found if owner == who)]
    return apply_conflict(f"Apply failed with {len(found)} conflicts: " + "\n".join(lines), causes)


def _formerly_applied(live: Tree, node: Node | None) -> FieldSet:
    """Return what client-side apply owns by its annotation and nobody changed since: `kubectl apply --server-side` may take that over."""
    try:
        former = mapping(decode(text(look(live, "metadata", "annotations", LAST_APPLIED)) or "{}"))
    except ValueError:
        return {}
    if not former or former.get("apiVersion") != live.get("apiVersion"):
        return {}
    changed = compare(former, live, node)
    fields = fields_of(former, node)
    for gone in (changed.modified, changed.added, changed.removed):
        fields = difference(fields, gone)
    return fields
