"""May whoever made a DataVolume copy from another namespace? A word of the admission webhook, which the controller can believe. Pure.

Only a webhook hears who makes an object. It asks the API server whether that user may `create datavolumes/source` in the source's namespace, and
writes the answer on the DataVolume (annotation `names.CLONE_PERMIT`), signed with a key that only the operator's replicas have. The controller comes
later and knows the object alone: it asks `find_refusal`.

Guarantees: nobody without the key makes such a word. One that is copied to another DataVolume says nothing there: it names the namespace, the name
and the source, and was said within `SECONDS` of the creation, which the server has noted and nobody can change.
Caveats: DataVolumes that get their names from the server (`generateName`) are named by the beginning of these names. Within `SECONDS` the word holds
for another one as well that is made of the same source, in the same namespace, with the same name: whoever can do that reads the first one's disk.
"""

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from datamover.api.cdi import names
from datamover.api.outside import Decoder, Unusable, Whole
from kubekit.words.meta import Model, ObjectMeta
from kubekit.words.timestamps import parse

SECONDS: Final = 120
"""Longest time between the word and the creation, to either side: a webhook is waited for at most 30 s, and clocks differ."""
KEY_BYTES: Final = 32
_LIMIT: Final = 4096
"""Bytes of such an annotation. Five names of Kubernetes have at most 253 each."""


@dataclass(frozen=True, slots=True)
class CloneSource:
    """What is copied. Without a `name` it is everything of the kind in that namespace."""

    kind: str
    """pvc or snapshot: the field of `spec.source`."""
    namespace: str
    name: str = ""


class _Permit(Model, frozen=True):
    """What is signed, in this order."""

    namespace: str = ""
    name: str = ""
    prefix: bool = False
    """The server gives the name, and it begins so."""
    kind: str = ""
    source_namespace: str = ""
    source_name: str = ""
    at: Whole = 0
    """Seconds since 1970."""
    signature: str = ""


_decode: Final = Decoder(_Permit, limit=_LIMIT)


def issue_permit(
    key: bytes, *, namespace: str, name: str, source: CloneSource, at: datetime, prefix: bool = False
) -> str:
    """Return the annotation's value: a DataVolume of this name may be filled from `source`. `prefix`: `name` is only the beginning of its name."""
    permit = _Permit(
        namespace=namespace,
        name=name,
        prefix=prefix,
        kind=source.kind,
        source_namespace=source.namespace,
        source_name=source.name,
        at=int(at.timestamp()),
    )
    return msgspec.json.encode(msgspec.structs.replace(permit, signature=_sign(key, permit))).decode()


def find_refusal(volume: ObjectMeta, source: CloneSource, *, keys: Collection[bytes]) -> str | None:
    """Return why a DataVolume must not be filled from there, as what goes on a sentence; None when it may. The own namespace needs no permit."""
    if volume.namespace and volume.namespace == source.namespace:
        return None
    said = volume.annotation(names.CLONE_PERMIT)
    if said is None:
        return f"nobody has found that its creator may create datavolumes/source in namespace {source.namespace}"
    try:
        permit = _decode(said.encode())
        created = parse(volume.creation_timestamp or "")
    except (Unusable, ValueError, OverflowError):
        return f"its annotation {names.CLONE_PERMIT} is not one that the webhook has written"
    if not any(
        len(key) >= KEY_BYTES and hmac.compare_digest(_sign(key, permit).encode(), permit.signature.encode())
        for key in keys
    ):
        return f"its annotation {names.CLONE_PERMIT} is not one that the webhook has written, or its key is another one by now"
    named = volume.name.startswith(permit.name) if permit.prefix else volume.name == permit.name
    if permit.namespace != volume.namespace or not named:
        return f"its annotation {names.CLONE_PERMIT} was written for another DataVolume"
    if (permit.kind, permit.source_namespace) != (source.kind, source.namespace) or permit.source_name not in {
        "",
        source.name,
    }:
        return f"its annotation {names.CLONE_PERMIT} was written for another source"
    if abs(created.timestamp() - permit.at) > SECONDS:
        return f"its annotation {names.CLONE_PERMIT} was not written when it was created"
    return None


def _sign(key: bytes, permit: _Permit) -> str:
    said = [
        "clone-permit/v1",
        permit.namespace,
        permit.name,
        permit.prefix,
        permit.kind,
        permit.source_namespace,
        permit.source_name,
        permit.at,
    ]
    return hmac.new(key, msgspec.json.encode(said), hashlib.sha256).hexdigest()
