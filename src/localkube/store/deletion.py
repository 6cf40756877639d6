"""Deleting: options, preconditions, grace, finalizers, collections.

What foreground and orphan deletion mean is carried out afterwards, by `localkube.store.garbage`; here only its finalizers are set.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from kubekit.words import timestamps
from localkube.store import protobuf
from localkube.store.calls import Call
from localkube.store.decoding import media_type, read_json
from localkube.store.kinds import Kind
from localkube.store.objects import ObjectStore, build_record
from localkube.store.statuses import bad_request, conflict, forbidden, invalid, not_found, unsupported, wrong
from localkube.store.storage import Record
from localkube.store.strategies.base import ServerView
from localkube.store.trees import Tree, decode, look, mapping, sequence, text

_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"
_POLICIES = ("Foreground", "Background", "Orphan")
_PROTECTED = frozenset({"default", "kube-system", "kube-public"})


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a client asks of a deletion. `grace` in seconds."""

    uid: str | None = None
    revision: str | None = None
    grace: int | None = None
    policy: str | None = None
    dry_run: bool = False


class Deletion(NamedTuple):
    """What a deletion gave. `gone` tells whether the object left the storage with it."""

    record: Record
    gone: bool


def read_options(call: Call) -> DeleteOptions:
    """Return the options of body and query. Raises StatusError 400 and 422."""
    body: Tree = {}
    if call.body.strip():
        try:
            in_protobuf = media_type(call) == protobuf.MEDIA_TYPE
            body = protobuf.read_protobuf(call.body) if in_protobuf else mapping(read_json(call.body))
        except ValueError as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {error}") from None
        if body.get("kind") not in {None, "", "DeleteOptions"}:
            raise bad_request(f"unable to decode {text(body.get('kind'))} as DeleteOptions")
    policy = body.get("propagationPolicy", call.query.get("propagationPolicy")) or None
    orphan = body.get("orphanDependents")
    if orphan is None and "orphanDependents" in call.query:
        orphan = call.flag("orphanDependents")
    if orphan is not None and policy is not None:
        raise invalid(
            "meta.k8s.io",
            "DeleteOptions",
            "",
            [wrong("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")],
        )
    if policy is not None and policy not in _POLICIES:
        raise invalid(
            "meta.k8s.io", "DeleteOptions", "", [unsupported("propagationPolicy", policy, (*_POLICIES, "nil"))]
        )
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = call.number("gracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        grace = 1
    asked = sequence(body.get("dryRun"))
    if any(word != "All" for word in asked):
        raise invalid("meta.k8s.io", "DeleteOptions", "", [unsupported("dryRun", asked, ("All",))])
    dry = bool(asked) or call.dry_run
    uid, revision = look(body, "preconditions", "uid"), look(body, "preconditions", "resourceVersion")
    return DeleteOptions(uid=uid, revision=revision, grace=grace, policy=policy, dry_run=dry)


class Deleter:
    """Deletes objects."""

    def __init__(self, objects: ObjectStore, server: ServerView) -> None:
        self._objects = objects
        self._server = server

    def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Deletion:
        """Delete one object, or mark it for deletion. Raises StatusError 403, 404 and 409."""
        record = self._objects.collection(kind).get(namespace, name)
        if record is None:
            raise not_found(kind.group, kind.plural, name)
        if kind.resource == "namespaces" and name in _PROTECTED:
            raise forbidden("", "namespaces", name, "this namespace may not be deleted")
        self._check(kind, record, options)
        tree = mapping(decode(record.data))
        meta = mapping(tree["metadata"])
        graceful = self._grace(kind, tree, options.grace)
        if graceful == "pending":
            return Deletion(record, gone=False)
        changed = self._set_finalizers(kind, meta, options.policy)
        pending = bool(sequence(meta.get("finalizers"))) or kind.strategy.holds(tree)
        if graceful is None and not pending:
            if options.dry_run:
                return Deletion(record, gone=True)
            return Deletion(self._objects.remove(kind, record), gone=True)
        if graceful is None:
            changed |= self._mark(meta)
        else:
            changed = True
        kind.strategy.prepare_deletion(tree)
        if not changed:
            return Deletion(record, gone=False)
        gone = graceful == 0 and not pending
        if options.dry_run:
            return Deletion(build_record(kind, tree, record.revision), gone=gone)
        # the tree is in its stored form already
        marked = self._objects.commit_stored(kind, tree, record)
        return Deletion(self._objects.remove(kind, marked) if gone else marked, gone=gone)

    def _check(self, kind: Kind, record: Record, options: DeleteOptions) -> None:
        if options.uid is not None and options.uid != record.uid:
            raise conflict(
                kind.group,
                kind.kind,
                record.name,
                f"the UID in the precondition ({options.uid}) does not match the UID in record ({record.uid}). "
                "The object might have been deleted and then recreated",
            )
        if options.revision is not None and options.revision != str(record.revision):
            raise conflict(
                kind.group,
                kind.kind,
                record.name,
                f"the ResourceVersion in the precondition ({options.revision}) does not match the ResourceVersion in record ({record.revision}). "
                "The object might have been modified",
            )

    def _grace(self, kind: Kind, tree: Tree, asked: int | None) -> int | str | None:
        """Set the times of a graceful deletion. Returns its seconds, None when the kind has none or they are over, or "pending"."""
        meta = mapping(tree["metadata"])
        seconds = kind.strategy.grace_seconds(tree, asked)
        if seconds is None:
            return None
        now = self._server.now()
        if not meta.get("deletionTimestamp"):
            meta["deletionTimestamp"] = timestamps.seconds(now + timedelta(seconds=seconds))
            meta["deletionGracePeriodSeconds"] = seconds
            if meta.get("generation"):
                meta["generation"] += 1
            return seconds
        current = meta.get("deletionGracePeriodSeconds") or 0
        if not current:
            return None
        if asked is None or asked >= current:
            return "pending"
        moment = timestamps.parse(text(meta["deletionTimestamp"])) + timedelta(seconds=asked - current)
        if moment < now:
            moment = now
            asked = 1 if asked else 0
        meta["deletionTimestamp"] = timestamps.seconds(moment)
        meta["deletionGracePeriodSeconds"] = asked
        return asked

    def _mark(self, meta: Tree) -> bool:
        before = (meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds"))
        now = self._server.stamp()
        if not meta.get("deletionTimestamp"):
            if meta.get("generation"):
                meta["generation"] += 1
            meta["deletionTimestamp"] = now
        elif text(meta["deletionTimestamp"]) > now:
            meta["deletionTimestamp"] = now
        meta["deletionGracePeriodSeconds"] = 0
        return before != (meta["deletionTimestamp"], 0)

    @staticmethod
    def _set_finalizers(kind: Kind, meta: Tree, policy: str | None) -> bool:
        before = [text(name) for name in sequence(meta.get("finalizers"))]
        if not kind.strategy.collected:
            return False
        if policy is None:
            policy = (
                "Orphan"
                if _ORPHAN in before
                else "Foreground"
                if _FOREGROUND in before
                else "Orphan"
                if kind.strategy.orphans_by_default
                else "Background"
            )
        after = [name for name in before if name not in {_ORPHAN, _FOREGROUND}]
        if policy == "Orphan":
            after.append(_ORPHAN)
        elif policy == "Foreground":
            after.append(_FOREGROUND)
        if set(after) == set(before):
            return False
        if after:
            meta["finalizers"] = after
        else:
            meta.pop("finalizers", None)
        return True
