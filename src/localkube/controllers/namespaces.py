"""Empties a namespace that is being deleted, then lets it go.

Guarantees: the namespace goes only when the server itself says, kind by kind, that nothing is left in it; its conditions say meanwhile what
remains and which finalizers hold it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from kubekit.client.client import Client
from kubekit.client.errors import Conflict, KubeError, NotFound
from kubekit.runtime.clock import Clock
from kubekit.runtime.controller import DONE, After, Controller, Result
from kubekit.runtime.informer import Informer
from kubekit.runtime.store import Key, key_of
from kubekit.runtime.workqueue import Workqueue
from kubekit.words import timestamps
from kubekit.words.meta import Condition, Model, ObjectMeta, PartialObject, Resource
from localkube.controllers import names
from localkube.controllers.census import Census, Kind
from localkube.node.racing import yielding

FINALIZER = "kubernetes"
_AGAIN = 1.0


class NamespaceSpec(Model, frozen=True):
    """What holds a namespace besides its metadata's finalizers."""

    finalizers: tuple[str, ...] | None = None


class NamespaceStatus(Model, frozen=True):
    """Active or Terminating, and why it is still there."""

    phase: str | None = None
    conditions: tuple[Condition, ...] | None = None


class Namespace(Model, frozen=True):
    """A namespace."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec | None = None
    status: NamespaceStatus | None = None


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Namespace, namespaced=False)


def conditions(
    remaining: Mapping[str, int], finalizers: Mapping[str, int], failure: str | None, unknown: str = ""
) -> tuple[tuple[str, str, str, str], ...]:
    """Return (type, status, reason, message) of each condition, in kube-controller-manager's words. Pure."""
    counts = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(remaining.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    return (
        ("NamespaceDeletionDiscoveryFailure", "True", "DiscoveryFailed", f"Discovery failed for some groups: {unknown}")
        if unknown
        else (
            "NamespaceDeletionDiscoveryFailure",
            "False",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "False",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        ("NamespaceDeletionContentFailure", "True", "ContentDeletionFailed", failure)
        if failure
        else (
            "NamespaceDeletionContentFailure",
            "False",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", f"Some resources are remaining: {counts}")
        if counts
        else ("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"),
        (
            "NamespaceFinalizersRemaining",
            "True",
            "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {held}",
        )
        if held
        else (
            "NamespaceFinalizersRemaining",
            "False",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )


class NamespaceController:
    """See the module's docstring."""

    def __init__(self, client: Client, *, clock: Clock, census: Census) -> None:
        self._client = client
        self._clock = clock
        self._census = census
        self.namespaces: Informer[Namespace] = Informer(client, NAMESPACES, clock=clock)
        self.controller = Controller(
            "namespace",
            reconcile=yielding(self.reconcile),
            queue=Workqueue("namespace", clock=clock, base_delay=0.1, max_delay=30.0),
            workers=2,
            clock=clock,
        )
        self.controller.watch(
            self.namespaces,
            lambda _, new: [key_of(new.metadata)] if new is not None and new.metadata.terminating else [],
        )
        census.add_handler(self._hear)

    def _hear(self, kind: Kind, old: PartialObject | None, new: PartialObject | None) -> None:
        """When something goes, or comes, in a namespace that is being deleted, look at it again."""
        changed = new or old
        if changed is None or not kind.namespaced or (old is not None and new is not None):
            return
        namespace = self.namespaces.store.get(Key("", changed.metadata.namespace or ""))
        if namespace is not None and namespace.metadata.terminating:
            self.controller.queue.add(key_of(namespace.metadata))

    async def reconcile(self, key: Key) -> Result:
        """Delete what is in the namespace; finalize it when it is empty."""
        namespace = self.namespaces.store.get(key)
        if namespace is None or not namespace.metadata.terminating:
            return DONE
        if FINALIZER not in ((namespace.spec and namespace.spec.finalizers) or ()):
            return DONE
        await self._census.complete.wait()  # before that nobody knows what there is
        unknown = "; ".join(self._census.failures)
        failure = await self._delete_content(key.name)
        found = [
            (kind, obj)
            for kind in self._census.kinds()
            if kind.namespaced
            for obj in await self._client.list(kind, namespace=key.name)
        ]
        remaining = Counter(kind.group_resource for kind, _ in found)
        held = Counter(finalizer for _, obj in found for finalizer in obj.metadata.finalizers or ())
        await self._report(namespace, conditions(remaining, held, failure, unknown))
        if found or failure or unknown:
            return After(_AGAIN) if failure or unknown else DONE
        await self._finalize(namespace)
        return DONE

    async def _delete_content(self, namespace: str) -> str | None:
        """Ask for the deletion of everything; return what went wrong, or None."""
        problems: list[str] = []
        for kind, obj in list(self._census.in_namespace(namespace)):
            meta = obj.metadata
            if meta.terminating:
                continue
            try:
                await self._client.delete(kind, meta.name, namespace=namespace, uid=meta.uid)
            except (NotFound, Conflict):
                continue
            except KubeError as error:
                problems.append(f"{kind.group_resource} {meta.name}: {error}")
        for path in ("/api/v1", "/apis/events.k8s.io/v1"):
            try:
                await self._client.request_json("DELETE", f"{path}/namespaces/{namespace}/events")
            except NotFound:
                continue
            except KubeError as error:
                problems.append(f"events: {error}")
        return "; ".join(problems) or None

    async def _report(self, namespace: Namespace, wanted: tuple[tuple[str, str, str, str], ...]) -> None:
        known = {c.type: c for c in (namespace.status and namespace.status.conditions) or ()}
        if all(
            type_ in known and (known[type_].status, known[type_].message) == (status, message)
            for type_, status, _, message in wanted
        ):
            return
        now = timestamps.seconds(self._clock.now())
        body: list[dict[str, Any]] = []
        for type_, status, reason, message in wanted:
            since = known[type_].last_transition_time if type_ in known and known[type_].status == status else now
            body.append(
                {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
            )
        await self._client.patch(
            NAMESPACES,
            namespace.metadata.name,
            {"status": {"conditions": body}},
            subresource="status",
            field_manager=names.FIELD_MANAGER,
        )

    async def _finalize(self, namespace: Namespace) -> None:
        path = NAMESPACES.path(name=namespace.metadata.name)
        current = await self._client.request_json("GET", path)
        if current["metadata"]["uid"] != namespace.metadata.uid:
            return
        kept = [f for f in current["spec"].get("finalizers") or () if f != FINALIZER]
        current["spec"] = {**current["spec"], "finalizers": kept}
        await self._client.request_json("PUT", f"{path}/finalize", body=current)
