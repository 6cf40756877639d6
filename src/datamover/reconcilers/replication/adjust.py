"""Children that are there already, and what their object says of them now: brought in line where Kubernetes lets it be changed. Pure.

People raise `cacheCapacity` when a cache is full, want a load balancer where there was none, or a volume cleaned up that was to stay: the next
synchronisation has it so, without anything being made anew. What cannot be changed (a class, access modes) stays as it was made.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from datamover.api.volsync import names
from datamover.movers.service import CLUSTER_IP
from datamover.plans.steps import Effect, Patch
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.facts import Facts
from datamover.reconcilers.replication.image import build_volume
from datamover.reconcilers.replication.needs import Child, lasting_owner
from datamover.volumes.binding import is_bound
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS, SERVICES, PersistentVolumeClaim, Service
from kubekit.words.meta import Manifest
from kubekit.words.quantity import parse_quantity
from kubekit.words.storage import StorageClass


def adjust(ask: Ask, facts: Facts, children: Iterable[Child]) -> tuple[Effect, ...]:
    """Return the steps that bring lasting children of ours in line with what the object says now. What others have added stays."""
    owner, steps = lasting_owner(ask), list[Effect]()
    volume = facts.run.source if ask.makes_claim else None
    whole = [(child.resource, child.present, child.manifest, facts.belongings.cache_class) for child in children]
    if volume is not None:
        whole.append((PERSISTENT_VOLUME_CLAIMS, volume, build_volume(ask), facts.run.source_class))
    for resource, present, manifest, storage_class in whole:
        if not owner.owns(present) or present.metadata.terminating:
            continue
        patch: Manifest = {}
        if isinstance(present, PersistentVolumeClaim):
            patch = {**_mark(present, manifest), **_grow(present, manifest, storage_class)}
        elif resource is SERVICES and isinstance(present, Service):
            patch = {**_annotate(present, manifest), **_retype(present, manifest)}
        if patch:
            steps.append(Patch(resource, present.metadata, patch))
    return tuple(steps)


def _mark(claim: PersistentVolumeClaim, manifest: Manifest) -> Manifest:
    """Whether it goes at the end of a synchronisation is written on it."""
    label = names.CLEANUP_LABEL
    wanted = manifest["metadata"]["labels"].get(label)
    return {"metadata": {"labels": {label: wanted}}} if claim.metadata.label(label) != wanted else {}


def _grow(claim: PersistentVolumeClaim, manifest: Manifest, storage_class: StorageClass | None) -> Manifest:
    """A volume is made larger, never smaller, and only where its class allows it: elsewhere the API server would refuse, again and again."""
    resources = claim.spec.resources if claim.spec is not None else None
    asked = (resources.requests or {}).get("storage") if resources is not None else None
    wanted = manifest["spec"]["resources"]["requests"]["storage"]
    allowed = storage_class is not None and storage_class.allow_volume_expansion
    if not allowed or wanted is None or asked is None or not is_bound(claim) or not _is_larger(wanted, asked):
        return {}
    return {"spec": {"resources": {"requests": {"storage": wanted}}}}


def _is_larger(wanted: Any, asked: Any) -> bool:
    try:
        return parse_quantity(wanted) > parse_quantity(asked)
    except ValueError:
        return False


def _retype(service: Service, manifest: Manifest) -> Manifest:
    wanted = manifest["spec"]["type"]
    present = (service.spec.type if service.spec is not None else None) or CLUSTER_IP
    return {"spec": {"type": wanted}} if wanted != present else {}


def _annotate(service: Service, manifest: Manifest) -> Manifest:
    """Annotations of the object's, and without any our own one; those of a cloud's controller are not ours to judge."""
    wanted: Mapping[str, str] = manifest["metadata"]["annotations"]
    present = service.metadata.annotations or {}
    change: dict[str, str | None] = {key: value for key, value in wanted.items() if present.get(key) != value}
    ours, _ = names.LOAD_BALANCER_ANNOTATION
    if ours in present and ours not in wanted:
        change[ours] = None
    return {"metadata": {"annotations": change}} if change else {}
