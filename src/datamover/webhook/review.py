"""AdmissionReview of admission.k8s.io/v1, in and out: what the API server asks, and what it is answered. Pure.

Anybody who reaches the port may send anything (law L11): it is bounded and decoded here. The object itself is decoded apart, so that one which is odd is
let through as it is, under the number of its request.
"""

import base64
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from datamover.api.cdi.data_volume import ObjectSource, SourceReference
from datamover.api.outside import Decoder, Unusable
from kubekit.words.authorization import User
from kubekit.words.meta import Manifest, Model

LIMIT: Final = 4 << 20
"""Bytes of a question. An API server takes objects of up to 3 MiB."""
API_VERSION: Final = "admission.k8s.io/v1"
KIND: Final = "AdmissionReview"

_Word = Annotated[str, msgspec.Meta(max_length=512)]


class Asked(Model, frozen=True):
    """Group and plural of what is created."""

    group: _Word = ""
    version: _Word = ""
    resource: _Word = ""


class Question(Model, frozen=True):
    """What the API server asks about. `namespace` is that of the request, whatever the object says; `name` is empty where the server gives it."""

    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    resource: Asked = Asked()
    sub_resource: _Word = ""
    operation: _Word = ""
    namespace: _Word = ""
    name: _Word = ""
    user_info: User = User()
    object: msgspec.Raw = msgspec.Raw(b"null")


class _Review(Model, frozen=True):
    api_version: str
    kind: str
    request: Question


class Meta(Model, frozen=True):
    """What is read of the metadata of a new object."""

    name: str = ""
    generate_name: str = ""
    annotations: dict[str, str] | None = None


class Sources(Model, frozen=True):
    """The sources that may be in another namespace."""

    pvc: ObjectSource | None = None
    snapshot: ObjectSource | None = None


class Spec(Model, frozen=True):
    """What is read of the spec."""

    source: Sources | None = None
    source_ref: SourceReference | None = None


class NewVolume(Model, frozen=True):
    """What is read of a DataVolume that is being created."""

    metadata: Meta = Meta()
    spec: Spec | None = None


_decode_review: Final = Decoder(_Review, limit=LIMIT)
_decode_volume: Final = Decoder(NewVolume, limit=LIMIT)


def read_question(body: bytes) -> Question:
    """Return what is asked. Raises Unusable where that is no question, so that nobody could be answered."""
    review = _decode_review(body)
    if (review.api_version, review.kind) != (API_VERSION, KIND):
        raise Unusable(f"it is no {KIND} of {API_VERSION}")
    return review.request


def read_volume(question: Question) -> NewVolume:
    """Return the DataVolume that is being created. Raises Unusable."""
    return _decode_volume(bytes(question.object))


def write_answer(question: Question, *, volume: NewVolume | None = None, changes: Mapping[str, str | None]) -> bytes:
    """Return the answer: it is allowed, with these annotations of `volume` set, or taken away where they are None."""
    response: Manifest = {"uid": question.uid, "allowed": True}
    patch = _patch((volume or NewVolume()).metadata.annotations, changes)
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(msgspec.json.encode(patch)).decode()}
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _patch(there: Mapping[str, str] | None, changes: Mapping[str, str | None]) -> list[Manifest]:
    added = {key: value for key, value in changes.items() if value is not None}
    if not there:  # none, or `null`: nothing can be added within
        return [{"op": "add", "path": "/metadata/annotations", "value": added}] if added else []
    where = {key: "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1") for key in changes}
    return [
        {"op": "remove", "path": where[key]} if value is None else {"op": "add", "path": where[key], "value": value}
        for key, value in changes.items()
        if value is not None or key in there
    ]
