"""A kind that the project does not have: a Parcel sends a copy of a claim somewhere, with a mover called `postman`.

It has its own names for everything that a user of it can change, so that a word of another kind in a sentence shows.
"""

from dataclasses import replace
from typing import Any

from msgspec.structs import replace as replace_struct

from datamover.api import names
from datamover.api.fields import Fields
from datamover.api.names import CopyMethod
from datamover.api.ownership import Owner
from datamover.plans.known import Known, Seen
from datamover.runs.facts import RunFacts
from datamover.runs.order import Copy, Order, Readable, Transfer
from datamover.runs.record import Record, Stage
from kubekit.words.batch import Job
from kubekit.words.core import PersistentVolumeClaim, Pod
from kubekit.words.meta import Manifest, Model, ObjectMeta, OwnerReference, Resource
from kubekit.words.snapshot import VolumeSnapshot
from support import builders

UID = "0f0f0f0f-0000-4000-8000-000000000001"
CLAIM, JOB, SPARE = "parcel-copy", "parcel-job", "parcel-copy-2"
CREATED_BY = "post-office"


class Parcel(Model, frozen=True):
    """The kind."""

    metadata: ObjectMeta = ObjectMeta()


PARCELS = Resource("post.example.com", "v1", "parcels", "Parcel", Parcel)
METADATA = ObjectMeta(name="gift", namespace=builders.NAMESPACE, uid=UID, resource_version="1")
OWNER = Owner(PARCELS, METADATA, {names.CREATED_BY_LABEL: CREATED_BY, "post.example.com/parcel": UID})
FIELDS = Fields(
    kind="Parcel",
    source="spec.from",
    storage_class="spec.boxClass",
    snapshot_class="spec.photoClass",
    method="packing",
    image="spec.postman",
    pull_secrets="spec.keys",
    memory="spec.strength",
    deadline="spec.by",
    suspend="spec.wait",
    keeps="spec.keepBox is true",
    verify="spec.weigh to true",
)


def build(readable: Readable) -> Manifest:
    """The Job of a postman."""
    metadata = OWNER.child(JOB, component="postman")
    return {"metadata": metadata, "spec": {"reads": readable.claim, "readOnly": readable.read_only}}


def order(*, record: Record | None = None, transfer: dict[str, Any] | None = None, **copy: Any) -> Order:
    """What the Parcel asks for; keywords are fields of the copy."""
    method = copy.get("method", CopyMethod.CLONE)
    given: dict[str, Any] = {
        "method": method,
        "source": "app-data",
        "claim": CLAIM if method != CopyMethod.DIRECT else None,
        "snapshot": CLAIM if method == CopyMethod.SNAPSHOT else None,
    }
    moved = Transfer(**{"job": JOB, "container": "postman", "build": build, **(transfer or {})})
    return Order(OWNER, Copy(**{**given, **copy}), (moved,), record or at(Stage.COPYING), FIELDS)


def at(stage: Stage, **fields: Any) -> Record:
    """A record that says this stage."""
    return Record(stage, begun="2024-08-06-143052", **fields)


def facts(*, seen: Seen | None = None, known: Known | None = None, **fields: Any) -> RunFacts:
    """Facts of a run whose source and class are healthy, and whose children have been seen."""
    before = Seen(frozenset({("PersistentVolumeClaim", CLAIM), ("VolumeSnapshot", CLAIM), ("Job", JOB)}))
    given: dict[str, Any] = {
        "now": builders.NOW,
        "source": builders.persistent_volume_claim(),
        "source_class": builders.storage_class(),
        "claim_class": builders.storage_class(),
        "snapshot_classes": (builders.volume_snapshot_class(),),
        "known": replace(known or Known(), seen=seen if seen is not None else before),
    }
    return RunFacts(**{**given, **fields})


def claim(**fields: Any) -> PersistentVolumeClaim:
    """The Parcel's copy."""
    return _ours(builders.persistent_volume_claim(name=CLAIM, **fields))


def snapshot(**fields: Any) -> VolumeSnapshot:
    """The Parcel's snapshot."""
    return _ours(builders.volume_snapshot(name=CLAIM, **fields))


def job(**fields: Any) -> Job:
    """The Parcel's Job."""
    return _ours(builders.job(None, name=JOB, **fields))


def pod(**fields: Any) -> Pod:
    """A Pod of the Parcel's Job."""
    return builders.pod(job(), container="postman", **fields)


def _ours(child: Any) -> Any:
    reference = OwnerReference(api_version=PARCELS.api_version, kind="Parcel", name="gift", uid=UID, controller=True)
    meta = replace_struct(child.metadata, labels=dict(OWNER.labels), owner_references=(reference,))
    return replace_struct(child, metadata=meta)
