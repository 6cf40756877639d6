"""What every Kubernetes object has, as narrow frozen structs.

Every field that a server may send as JSON `null` admits `None`: msgspec refuses `null` for a plain `dict`, and one such
object must not poison a whole page of a list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

ANNOTATIONS_LIMIT: Final = 262_144
"""Bytes of all annotations of an object: an API server refuses more."""


def bytes_of_annotations(annotations: Mapping[str, str]) -> int:
    """Return how many bytes annotations have as an API server counts them: keys and values."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


class Model(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, kw_only=True):
    """Base of every type on the wire: frozen, camelCase, acyclic (so the garbage collector need not track it)."""


class OwnerReference(Model, frozen=True):
    """A link from a child to its owner. Only the UID identifies the owner; names can be used again."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model, frozen=True):
    """The part of `metadata` that controllers read. Timestamps stay RFC 3339 strings; see `kubekit.words.timestamps`."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    finalizers: tuple[str, ...] | None = None

    def label(self, key: str) -> str | None:
        """Return the label's value, or None when it is not set."""
        return (self.labels or {}).get(key)

    def annotation(self, key: str) -> str | None:
        """Return the annotation's value, or None when it is not set."""
        return (self.annotations or {}).get(key)

    def owned_by(self, uid: str) -> bool:
        """Tell whether one of the owner references carries this UID (law L2)."""
        return any(reference.uid == uid for reference in self.owner_references or ())

    @property
    def terminating(self) -> bool:
        """Tell whether the object has been asked to go."""
        return self.deletion_timestamp is not None


class HasMeta(Protocol):
    """Anything with `metadata`: what caches and clients need to know of an object."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


class PartialObject(Model, frozen=True):
    """An object of which only the metadata is kept."""

    metadata: ObjectMeta = ObjectMeta()
    api_version: str | None = None
    kind: str | None = None


class Condition(Model, frozen=True):
    """A `metav1.Condition`. `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None
    observed_generation: int | None = None


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """A kind as the API server addresses it, with the struct that its objects decode into.

    `group` is empty for the core group. `plural` is the path segment.
    """

    group: str
    version: str
    plural: str
    kind: str
    type: type[T]
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`plural.group`, as RBAC messages and metrics name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, *, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the request path; without `name` that of the collection. Segments are not escaped: names are DNS names."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


class Reference(NamedTuple):
    """An object that is named together with its kind."""

    resource: Resource[Any]
    metadata: ObjectMeta


Manifest = dict[str, Any]
"""An object as it goes to the API server: plain JSON, complete, never a narrow struct written back."""


def owner_reference(resource: Resource[Any], owner: ObjectMeta, *, controller: bool = True) -> Manifest:
    """Return the owner reference of a child of `owner`. It does not block the owner's deletion."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": controller,
        "blockOwnerDeletion": False,
    }
