"""The write side: create, update, patch, apply, bind. Deleting is in `localkube.store.deletion`.

Guarantees: one revision a write; a write that changes nothing but ownership timestamps stores nothing and answers with what is there; a dry run goes the
whole way and stores nothing. Everything here is synchronous, so two writes never interleave.
"""

from collections.abc import Callable
from typing import NamedTuple

from localkube.store.admission import (
    SYSTEM_META,
    admit_namespace,
    always_there,
    check_name,
    generate_name,
    keep_system,
    place,
    take,
    unchanged,
)
from localkube.store.calls import Call
from localkube.store.decoding import check_kind, clone, complain, media_type, parse_body, read_object, settle
from localkube.store.kinds import Kind
from localkube.store.metadata import (
    check_metadata,
    check_metadata_update,
    finalizer_warnings,
    metadata_changed,
    name_of,
)
from localkube.store.objects import ObjectStore, build_record, stored_form
from localkube.store.ownership import LAST_APPLIED, Manager, apply, track_update
from localkube.store.patching import PATCH_TYPES, patched
from localkube.store.schemas.strictness import claim_error
from localkube.store.schemas.validation import validate
from localkube.store.statuses import (
    MODIFIED,
    Fault,
    StatusError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
    prohibited,
    required,
    unsupported_media,
    wrong,
)
from localkube.store.storage import Record
from localkube.store.strategies.base import ServerView
from localkube.store.trees import Tree, child, encode, entries, is_tree, look, mapping, sequence, text

_TYPE_META = frozenset({"apiVersion", "kind", "metadata"})


class Outcome(NamedTuple):
    """What a write gave: the record as stored (or as it would be, on a dry run) and whether it is new."""

    record: Record
    created: bool


class Writer:
    """Creates and changes objects. `choose` picks a character of a string, for generated names."""

    def __init__(self, objects: ObjectStore, server: ServerView, *, choose: Callable[[str], str]) -> None:
        self._objects = objects
        self._server = server
        self._choose = choose

    # --- the verbs ------------------------------------------------------------------------------

    def create(self, call: Call) -> Outcome:
        """POST. Raises StatusError: 400, 403 (namespace terminating), 404 (no namespace), 409 AlreadyExists, 422."""
        tree, repeated = read_object(call, expected=call.kind)
        settle(tree, call, repeated=repeated)
        if look(tree, "metadata", "resourceVersion") not in {None, "0"}:
            # the real server lets a plain error through here, which is a 500
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        self._own(tree, {}, call, created=True)
        return self._finish_create(tree, call)

    def update(self, call: Call) -> Outcome:
        """PUT. Raises StatusError: 400, 404, 409 Conflict, 422."""
        tree, repeated = read_object(call, expected=call.kind)
        settle(tree, call, repeated=repeated)
        if not name_of(tree):
            raise bad_request("the name of the object ( based on URL) was undeterminable: name must be provided")
        check_name(name_of(tree), call.name)
        record = self._objects.collection(call.kind).get(call.namespace, call.name)
        if record is None:
            if not call.kind.strategy.create_on_update or call.subresource:
                raise not_found(call.kind.group, call.kind.plural, call.name)
            self._own(tree, {}, call, created=True)
            return self._finish_create(tree, call)
        uid = look(tree, "metadata", "uid")
        if uid and uid != record.uid:
            raise self._conflict(
                call, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {record.uid}"
            )
        return self._finish_update(tree, self._objects.read(call.kind, record), record, call)

    def patch(self, call: Call) -> Outcome:
        """PATCH, but for apply. Raises StatusError: 400, 404, 409, 415, 422."""
        media = media_type(call)
        known = [name for name in PATCH_TYPES if not (call.kind.custom and "strategic" in name)]
        if media not in known:
            raise unsupported_media([*known, "application/apply-patch+yaml"])
        if "force" in call.query:
            why = prohibited("force", "may not be specified for non-apply patch")
            raise invalid("meta.k8s.io", "PatchOptions", "", [why])
        record = self._objects.collection(call.kind).get(call.namespace, call.name)
        if record is None:
            raise not_found(call.kind.group, call.kind.plural, call.name)
        tree = patched(self._objects.read(call.kind, record), call, media=media)
        check_kind(tree, call.kind)
        settle(tree, call, repeated=[])
        check_name(name_of(tree), call.name)
        return self._finish_update(tree, self._objects.read(call.kind, record), record, call)

    def apply(self, call: Call) -> Outcome:
        """PATCH with an apply body: server-side apply.

        Raises StatusError: 400, 404, 409 (conflicts), 422, 500 (fields that the schema lacks).
        """
        if not call.query.get("fieldManager"):
            raise invalid("meta.k8s.io", "PatchOptions", "", [required("fieldManager", "is required for apply patch")])
        in_yaml = not call.body.startswith(b"{")
        applied, repeated = parse_body(call.body, yaml_allowed=in_yaml, strict=call.validation != "Ignore")
        self._check_applied(applied, call)
        if repeated:
            complain(call, repeated)
        record = self._objects.collection(call.kind).get(call.namespace, call.name)
        live = self._live_to_apply(applied, record, call)
        merged, changed = apply(
            live,
            applied,
            node=call.kind.node,
            manager=Manager(call.manager, "Apply", "", call.subresource),
            version=call.kind.api_version,
            now=self._server.stamp(),
            force=call.flag("force"),
            ignored=self._not_written(call),
        )
        by_kubectl = call.manager == "kubectl" and look(merged, "metadata", "annotations", LAST_APPLIED)
        if record is not None and not changed and not by_kubectl:
            return Outcome(record, created=False)
        tree = clone(merged)
        if by_kubectl:
            tree["metadata"]["annotations"][LAST_APPLIED] = encode(applied).decode() + "\n"
        # what the live object holds already is not the applier's fault, so nothing is complained of
        settle(tree, call, repeated=[], quiet=True)
        if record is None:
            return self._finish_create(tree, call)
        return self._finish_update(tree, live, record, call, owned=True)

    def bind(self, call: Call) -> Outcome:
        """POST of a Binding: put a Pod on a node, once. Raises StatusError 404 and 409."""
        binding, _ = parse_body(call.body, yaml_allowed=False, strict=False)
        node = text(look(binding, "target", "name"))
        record = self._objects.collection(call.kind).get(call.namespace, call.name)
        if record is None:
            raise not_found(call.kind.group, call.kind.plural, call.name)
        tree = self._objects.read(call.kind, record)
        spec, status = child(tree, "spec"), child(tree, "status")
        if spec.get("nodeName"):
            raise conflict(
                "", "pods/binding", call.name, f'pod {call.name} is already assigned to node "{spec["nodeName"]}"'
            )
        spec["nodeName"] = node
        now = self._server.stamp()
        scheduled: Tree = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
        others = [c for c in entries(status.get("conditions")) if c.get("type") != "PodScheduled"]
        status["conditions"] = [*others, scheduled]
        return Outcome(record if call.dry_run else self._objects.commit(call.kind, tree, record), created=False)

    # --- apply ----------------------------------------------------------------------------------

    def _check_applied(self, applied: Tree, call: Call) -> None:
        kind = call.kind
        if (applied.get("apiVersion"), applied.get("kind")) != (kind.api_version, kind.kind):
            group, _, version = text(applied.get("apiVersion")).rpartition("/")
            raise bad_request(f"invalid object type: {group}/{version}, Kind={text(applied.get('kind'))}")
        if look(applied, "metadata", "managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        if is_tree(applied.get("metadata")):
            check_name(name_of(applied) or call.name, call.name)
            place(dict(mapping(applied["metadata"])), call)
        error = claim_error(applied, kind.node)
        if error:
            where = f"{call.namespace}/{call.name}; {kind.api_version}, Kind={kind.kind}"
            raise StatusError(500, "", f"failed to create typed patch object ({where}): {error}")

    def _live_to_apply(self, applied: Tree, record: Record | None, call: Call) -> Tree:
        if record is not None:
            live = self._objects.read(call.kind, record)
            asked = text(look(applied, "metadata", "resourceVersion"))
            if asked and asked != text(look(live, "metadata", "resourceVersion")):
                raise self._conflict(call, MODIFIED)
            return live
        if call.subresource:
            raise not_found(call.kind.group, call.kind.plural, call.name)
        uid = text(look(applied, "metadata", "uid"))
        if uid:
            raise self._conflict(
                call, f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            )
        return {"apiVersion": call.kind.api_version, "kind": call.kind.kind, "metadata": {"name": call.name}}

    # --- shared parts ---------------------------------------------------------------------------

    @staticmethod
    def _not_written(call: Call) -> tuple[str, ...]:
        if call.subresource == "status":
            return ("spec", "metadata") if call.kind.custom else ("spec",)
        return ("status",) if call.kind.status else ()

    def _own(self, tree: Tree, live: Tree, call: Call, *, created: bool) -> None:
        track_update(
            always_there(call.kind) if created else live,
            tree,
            node=call.kind.node,
            manager=Manager(call.manager, "Update", call.kind.api_version, call.subresource),
            now=self._server.stamp(),
            ignored=self._not_written(call),
            created=created,
        )

    def _finish_create(self, tree: Tree, call: Call) -> Outcome:
        kind, meta = call.kind, child(tree, "metadata")
        collection = self._objects.collection(kind)
        place(meta, call)
        for field in (*SYSTEM_META, "resourceVersion"):
            meta.pop(field, None)
        if not text(meta.get("name")) and text(meta.get("generateName")):
            generate_name(meta, collection, call.namespace, self._choose)
        admit_namespace(kind, call.namespace, name_of(tree), self._server)
        meta["uid"] = self._server.new_uid()
        meta["creationTimestamp"] = self._server.stamp()
        if kind.status:
            tree.pop("status", None)
        kind.strategy.prepare_create(tree)
        kind.strategy.admit_create(tree, self._server)
        if kind.strategy.counts_generations:
            meta["generation"] = 1
        faults = kind.strategy.validate(tree)
        if kind.custom and kind.node is not None:
            faults += check_metadata(meta, builtin=False) + validate(tree, kind.node, skip=_TYPE_META)
        elif not faults:
            faults = check_metadata(meta, builtin=True, **kind.strategy.name_rule)
        if faults:
            raise invalid(kind.group, kind.kind, name_of(tree), faults)
        call.warnings += _warnings(kind, tree)
        if collection.get(call.namespace, name_of(tree)) is not None:
            raise already_exists(kind.group, kind.plural, name_of(tree))
        if call.dry_run:
            return Outcome(build_record(kind, stored_form(kind, tree), 0), created=True)
        return Outcome(self._objects.commit(kind, tree, None), created=True)

    def _finish_update(self, tree: Tree, live: Tree, record: Record, call: Call, *, owned: bool = False) -> Outcome:
        kind, meta = call.kind, child(tree, "metadata")
        old = mapping(live["metadata"])
        place(meta, call)
        self._check_revision(meta, record, call)
        if not owned:
            self._own(tree, live, call, created=False)
        meta["resourceVersion"] = str(record.revision)
        keep_system(meta, old)
        if call.subresource:
            tree = self._subresource_only(tree, live, call)
        else:
            if kind.status:
                take(tree, live, "status")
            kind.strategy.prepare_update(tree, live)
            kind.strategy.admit_update(tree, live, self._server)
            if kind.strategy.counts_generations and kind.strategy.spec_changed(tree, live):
                meta["generation"] = int(old.get("generation") or 0) + 1
        faults = self._update_faults(tree, live, call)
        if faults:
            raise invalid(kind.group, kind.kind, call.name, faults)
        call.warnings += [] if call.subresource else _warnings(kind, tree)
        if unchanged(tree, live):
            return Outcome(record, created=False)
        if call.dry_run:
            return Outcome(build_record(kind, stored_form(kind, tree), record.revision), created=False)
        if _is_released(tree, live) and not kind.strategy.holds(tree):
            self._objects.remove(kind, record)
            return Outcome(build_record(kind, stored_form(kind, tree), record.revision), created=False)
        return Outcome(self._objects.commit(kind, tree, record), created=False)

    def _check_revision(self, meta: Tree, record: Record, call: Call) -> None:
        asked = text(meta.get("resourceVersion"))
        if asked in {"", "0"}:
            if not call.kind.strategy.unconditional_update:
                why = wrong("metadata.resourceVersion", 0, "must be specified for an update")
                raise invalid(call.kind.group, call.kind.plural, call.name, [why])
        elif not (asked.isascii() and asked.isdigit()):
            raise bad_request(f'invalid resource version "{asked}"')
        elif asked != str(record.revision):
            raise self._conflict(call, MODIFIED)

    def _update_faults(self, tree: Tree, live: Tree, call: Call) -> list[Fault]:
        kind = call.kind
        faults = check_metadata_update(tree["metadata"], mapping(live["metadata"]))
        if metadata_changed(tree["metadata"], mapping(live["metadata"])):
            faults += check_metadata(tree["metadata"], builtin=not kind.custom, **kind.strategy.name_rule)
        if call.subresource:
            faults += kind.strategy.validate_status(tree, live)
        else:
            faults += kind.strategy.validate_update(tree, live)
        if kind.custom and kind.node is not None:
            faults += validate(tree, kind.node, old=live, skip=_TYPE_META)
        return faults

    def _subresource_only(self, tree: Tree, live: Tree, call: Call) -> Tree:
        """Return the live object with what the subresource may change."""
        kept = clone(live)
        if call.subresource == "finalize":
            take(child(kept, "spec"), mapping(tree.get("spec")), "finalizers")
            return kept
        take(kept, tree, "status")
        if call.kind.custom:
            take(kept["metadata"], mapping(tree["metadata"]), "managedFields")
        else:
            kept["metadata"] = tree["metadata"]
        call.kind.strategy.prepare_status(kept, live)
        call.kind.strategy.admit_status(kept, live, self._server)
        return kept

    @staticmethod
    def _conflict(call: Call, why: str) -> StatusError:
        return conflict(call.kind.group, call.kind.plural, call.name, why)


def _warnings(kind: Kind, tree: Tree) -> list[str]:
    return finalizer_warnings(tree["metadata"]) if kind.custom else kind.strategy.warnings(tree)


def _is_released(tree: Tree, live: Tree) -> bool:
    """Tell whether an update takes the last finalizer from an object that only waited for that."""
    old = mapping(live["metadata"])
    return (
        bool(old.get("deletionTimestamp"))
        and not old.get("deletionGracePeriodSeconds")
        and not sequence(look(tree, "metadata", "finalizers"))
    )
