"""What the caches keep of an object: only what decisions read, and equal texts once.

A fleet of ten thousand DataMovers says the same few words ten thousand times: shared, they take a third of the memory.
Guarantees: name, namespace, UID and resourceVersion stay as they are; projecting twice changes nothing.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import TypeVar

from msgspec.structs import replace

from datamover.api import copy_trigger, names
from datamover.api.cdi.names import FULL, READ_ON_CLAIMS
from datamover.api.velero.names import SKIP_ANNOTATION
from datamover.api.volsync.names import POPULATED_FOR_LABEL
from datamover.volumes.handover import has_room
from datamover.volumes.rebinding import is_found
from kubekit.words.core import (
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    TypedReference,
)
from kubekit.words.meta import Condition, ObjectMeta, PartialObject
from kubekit.words.snapshot import GROUP as SNAPSHOT_GROUP

T = TypeVar("T", bound=Hashable)

Quantity = str | int | float

_SHARED = 1024
"""So many texts are remembered. Those that count, reasons and moments and namespaces, come again soon."""


def project_claim(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    """Return a PersistentVolumeClaim as it is cached."""
    spec, status = claim.spec, claim.status
    if spec is not None:
        resources = spec.resources and replace(spec.resources, requests=_share_sizes(spec.resources.requests))
        spec = replace(
            spec,
            access_modes=share(spec.access_modes),
            resources=resources,
            data_source_ref=_keep_populated(spec.data_source_ref),
        )
    if status is not None:
        status = replace(status, capacity=_share_sizes(status.capacity))
    return replace(claim, metadata=_project_claim_meta(claim.metadata, spec), spec=spec, status=status)


def project_volume(volume: PersistentVolume) -> PersistentVolume:
    """Return a PersistentVolume as it is cached."""
    spec = volume.spec and replace(volume.spec, access_modes=None, csi=share(volume.spec.csi))
    meta = project_meta(volume.metadata)
    # whether it was made for its claim: every volume of a driver says by whom, so that costs nothing but where it is known by the other mark
    if is_found(volume.metadata):
        meta = replace(meta, annotations={**(meta.annotations or {}), BOUND_BY_CONTROLLER: "yes"})
    return replace(volume, metadata=meta, spec=spec)


def project_partial(found: PartialObject) -> PartialObject:
    """Return an object of which only the metadata is kept, as it is cached: without what is the same in all of its kind."""
    return replace(found, metadata=project_meta(found.metadata), api_version=None, kind=None)


def project_meta(meta: ObjectMeta) -> ObjectMeta:
    """Keep our own annotations only, those of copy triggers and of DataVolumes: kubectl's alone can double an object."""
    kept = {
        key: value
        for key, value in (meta.annotations or {}).items()
        if key.startswith(names.GROUP) or key in copy_trigger.ALL or key in READ_ON_CLAIMS
    }
    return replace(
        meta,
        namespace=share(meta.namespace),
        annotations=kept or None,
        finalizers=share(meta.finalizers),
    )


def _project_claim_meta(meta: ObjectMeta, spec: PersistentVolumeClaimSpec | None) -> ObjectMeta:
    """Keep in addition the node that was found for a claim, where a populator has to know it: the driver is not ours to help. And that it is full of annotations, and that Velero skips it."""
    projected, node = project_meta(meta), meta.annotation(SELECTED_NODE)
    if meta.annotation(SKIP_ANNOTATION) is not None:
        projected = replace(projected, annotations={**(projected.annotations or {}), SKIP_ANNOTATION: "true"})
    if not has_room(meta):
        projected = replace(projected, annotations={**(projected.annotations or {}), FULL: "true"})
    temporary = meta.label(POPULATED_FOR_LABEL) is not None or meta.annotation(names.FILLS_ANNOTATION) is not None
    populates = temporary or (spec is not None and spec.data_source_ref is not None)
    if node is None or not populates:
        return projected
    return replace(projected, annotations={**(projected.annotations or {}), SELECTED_NODE: share(node)})


def _keep_populated(reference: TypedReference | None) -> TypedReference | None:
    """Keep a data source that a populator serves. What drivers serve is said in the older field as well."""
    served = reference is None or reference.api_group in (None, "", SNAPSHOT_GROUP)
    return None if served else share(reference)


def project_conditions(conditions: tuple[Condition, ...] | None) -> tuple[Condition, ...] | None:
    """Return conditions as they are cached."""
    return conditions and tuple(map(_project_condition, conditions))


def _project_condition(condition: Condition) -> Condition:
    return replace(
        condition,
        type=share(condition.type),
        status=share(condition.status),
        reason=share(condition.reason),
        message=share(condition.message),
        last_transition_time=share(condition.last_transition_time),
    )


@lru_cache(maxsize=_SHARED, typed=True)
def share(value: T) -> T:
    """Return the equal value that was seen first."""
    return value


def _share_sizes(sizes: dict[str, Quantity] | None) -> dict[str, Quantity] | None:
    return sizes and _shared_dict(tuple(sizes.items()))


@lru_cache(maxsize=_SHARED, typed=True)
def _shared_dict(items: tuple[tuple[str, Quantity], ...]) -> dict[str, Quantity]:
    return dict(items)
