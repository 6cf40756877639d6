"""What a DataVolume asks for, read from its spec once; or why it cannot be had. Pure.

Objects may be older than the rules of the definition, and come from everywhere: what an API server would have refused is refused here as well.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from datamover.api.cdi.data_source import DataSource
from datamover.api.cdi.data_volume import (
    ClaimSpec,
    DataVolume,
    DataVolumeSpec,
    ObjectSource,
    Source,
    SourceReference,
    StorageSpec,
)
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.importer import ARCHIVE, BLOCK, CONTENT_TYPES, KUBEVIRT, split_checksum
from datamover.api.outside import clean
from datamover.api.validation import quote
from datamover.volumes.permit import CloneSource
from kubekit.words.quantity import parse_quantity

LARGEST: Final = 2**63 - 1
_MODES: Final = ("Filesystem", BLOCK)
_SHOWN: Final = 63
_SCHEME: Final = 16
"""Schemes of addresses are shorter."""


class Kind(StrEnum):
    """What fills a claim. The values are the names of the fields."""

    BLANK = "blank"
    HTTP = "http"
    S3 = "s3"
    PVC = "pvc"
    SNAPSHOT = "snapshot"
    UPLOAD = "upload"
    GCS = "gcs"
    REGISTRY = "registry"
    IMAGEIO = "imageio"
    VDDK = "vddk"
    REFERENCE = "sourceRef"
    """What a DataSource says. It becomes one of the others when that is known."""
    EXTERNAL = "dataSourceRef"
    """Somebody else, whom the claim names."""


UNSUPPORTED: Final = frozenset({Kind.GCS, Kind.REGISTRY, Kind.IMAGEIO, Kind.VDDK})
"""What nobody here can import. A DataVolume of such waits, and is neither Succeeded nor Failed, so that a CDI finds it untouched."""
SIZED: Final = frozenset({Kind.PVC, Kind.SNAPSHOT, Kind.REFERENCE})
"""Sources that have a size of their own, which is taken where `storage` names none."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a DataVolume is not populated as it is. It does not become better by itself: of its spec nothing can be changed but the steps of an import."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What fills the claim (`kind`, and `source` for details), and the claim that is wanted.

    `completed`: what the claim leaves out is completed from its class, and its size grows by what a file system needs. `size` is in bytes, None where the source's is
    taken.
    """

    volume: DataVolume
    spec: DataVolumeSpec
    kind: Kind
    source: Source
    claim: ClaimSpec
    completed: bool
    size: int | None
    content: str

    @property
    def name(self) -> str:
        """The name of the DataVolume, and of its claim."""
        return self.volume.metadata.name

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.volume.metadata.namespace or ""


def ask_of(volume: DataVolume) -> Ask | Flaw:
    """Return what a DataVolume asks for."""
    spec = volume.spec
    if spec is None:
        return Flaw(
            Reason.INVALID_SPEC,
            "it has no spec: say in spec.source what fills it, and in spec.storage what claim is made",
        )
    if (spec.pvc is None) == (spec.storage is None):
        both = "both spec.pvc and spec.storage" if spec.pvc is not None else "neither spec.pvc nor spec.storage"
        return _create_anew(Reason.INVALID_SPEC, f"it has {both}", "one of them")
    claim = spec.pvc or spec.storage or StorageSpec()
    kind = _kind_of(spec, claim)
    if isinstance(kind, Flaw):
        return kind
    if spec.checkpoints and kind not in UNSUPPORTED:
        return Flaw(
            Reason.UNSUPPORTED_SOURCE,
            f"spec.checkpoints asks for an import in several steps, which {kind} does not have, and without them the disk could be called complete too early: remove"
            " spec.checkpoints and spec.finalCheckpoint, which may be changed, and it goes on",
        )
    content = spec.content_type or KUBEVIRT
    if content not in CONTENT_TYPES:
        return _create_anew(
            Reason.INVALID_SPEC, f"spec.contentType is {quote(content)}", f"{' or '.join(CONTENT_TYPES)}"
        )
    completed = spec.storage is not None
    flaw = _check_claim(claim, kind, content, completed=completed) or _check_source(spec, kind)
    if flaw is not None:
        return flaw
    size = _size_of(claim, kind, completed=completed)
    if isinstance(size, Flaw):
        return size
    return Ask(volume, spec, kind, spec.source or Source(), claim, completed, size, content)


def resolve(ask: Ask, found: DataSource | None) -> Ask | str:
    """Return what is asked for where a DataSource says what that is; in words that follow its name why it does not say so now."""
    reference = ask.spec.source_ref
    if ask.kind is not Kind.REFERENCE or reference is None:
        return ask
    if found is None:
        return "does not exist: create it, or create the DataVolume anew with another one"
    said = found.status.source if found.status is not None and found.status.source is not None else None
    said = said or (found.spec.source if found.spec is not None else None)
    # What a DataSource names is of its own namespace where it does not say another one.
    home = found.metadata.namespace
    if said is not None and said.pvc is not None:
        return replace(ask, kind=Kind.PVC, source=Source(pvc=_at(said.pvc, home)))
    if said is not None and said.snapshot is not None:
        return replace(ask, kind=Kind.SNAPSHOT, source=Source(snapshot=_at(said.snapshot, home)))
    return "names neither a claim nor a snapshot yet; it goes on by itself when it does"


def settle(ask: Ask, source: CloneSource) -> Ask:
    """Return what is asked for where it was found out before what a DataSource stands for."""
    if ask.kind is not Kind.REFERENCE:
        return ask
    found = ObjectSource(name=source.name, namespace=source.namespace)
    if source.kind == Kind.PVC:
        return replace(ask, kind=Kind.PVC, source=Source(pvc=found))
    return replace(ask, kind=Kind.SNAPSHOT, source=Source(snapshot=found))


def _at(found: ObjectSource, home: str | None) -> ObjectSource:
    return ObjectSource(name=found.name, namespace=found.namespace or home)


def _kind_of(spec: DataVolumeSpec, claim: ClaimSpec) -> Kind | Flaw:
    """Return what fills the claim: exactly one thing does."""
    said = spec.source
    kinds = [each for each in Kind if said is not None and getattr(said, each.value, None) is not None]
    if spec.source_ref is not None:
        kinds.append(Kind.REFERENCE)
    if claim.data_source is not None or claim.data_source_ref is not None:
        kinds.append(Kind.EXTERNAL)
    if not kinds:
        return _create_anew(
            Reason.NO_SOURCE, "nothing says what fills it", "one field in spec.source, such as blank: {}"
        )
    if len(kinds) > 1:
        return _create_anew(Reason.SEVERAL_SOURCES, f"several things would fill it ({', '.join(kinds)})", "one of them")
    reference = spec.source_ref
    if reference is not None and (reference.kind != "DataSource" or not reference.name):
        return _create_anew(
            Reason.INVALID_SPEC, f"spec.sourceRef is a {_describe(reference)}", "the name of a DataSource"
        )
    return kinds[0]


def _describe(reference: SourceReference) -> str:
    return clean(f"{reference.kind or 'reference without kind'} {reference.name or 'without name'}")[:_SHOWN]


def _check_claim(claim: ClaimSpec, kind: Kind, content: str, *, completed: bool) -> Flaw | None:
    where = "spec.storage" if completed else "spec.pvc"
    modes = claim.access_modes or ()
    if not completed and len(modes) != 1:
        return _create_anew(Reason.INVALID_SPEC, f"{where}.accessModes has {len(modes)} entries", "exactly one")
    if claim.volume_mode not in (None, "", *_MODES):
        return _create_anew(
            Reason.INVALID_SPEC, f"{where}.volumeMode is {quote(claim.volume_mode)}", " or ".join(_MODES)
        )
    if modes == ("ReadOnlyMany",) and kind is not Kind.EXTERNAL:
        return _create_anew(
            Reason.INVALID_SPEC, f"{where}.accessModes is ReadOnlyMany, and nobody could fill it", "another one"
        )
    if content == ARCHIVE and claim.volume_mode == BLOCK:
        return _create_anew(
            Reason.INVALID_SPEC,
            "an archive is of files, and a Block volume has none",
            f"{where}.volumeMode: Filesystem",
        )
    if content == ARCHIVE and kind is Kind.BLANK:
        return _create_anew(Reason.INVALID_SPEC, "a blank disk is no archive", "no spec.contentType")
    return None


def _check_source(spec: DataVolumeSpec, kind: Kind) -> Flaw | None:
    """Details that no try could ever make right. What a server thinks of an address is the worker's to find out."""
    source = spec.source
    address, allowed = None, ("http://", "https://")
    if source is not None and kind is Kind.HTTP and source.http is not None:
        address = source.http.url
    elif source is not None and kind is Kind.S3 and source.s3 is not None:
        address, allowed = source.s3.url, ("http://", "https://", "s3://")
    if address is not None and not address.lower().startswith(allowed):
        return _create_anew(
            Reason.INVALID_SPEC,
            f"spec.source.{kind}.url {_describe_scheme(address)}",
            f"an address that begins with {' or '.join(allowed)}",
        )
    if source is not None and kind is Kind.HTTP and source.http is not None and source.http.checksum:
        try:
            split_checksum(source.http.checksum)
        except ValueError as error:
            what = f"spec.source.http.checksum cannot be used: {error}"
            return _create_anew(Reason.INVALID_SPEC, what, "the right one, or without it")
    if source is not None and kind is Kind.PVC and source.pvc is not None and not source.pvc.name:
        return _create_anew(Reason.INVALID_SPEC, "spec.source.pvc has no name", "one")
    if source is not None and kind is Kind.SNAPSHOT and source.snapshot is not None and not source.snapshot.name:
        return _create_anew(Reason.INVALID_SPEC, "spec.source.snapshot has no name", "one")
    return None


def _describe_scheme(address: str) -> str:
    """Return what is wrong with the beginning of an address. The rest may have a password in it (law L8)."""
    scheme, mark, _ = address.partition("://")
    return (
        f"begins with {quote(scheme + mark)}"
        if mark and scheme.isalnum() and len(scheme) < _SCHEME
        else "names no scheme"
    )


def _size_of(claim: ClaimSpec, kind: Kind, *, completed: bool) -> int | Flaw | None:
    where = f"{'spec.storage' if completed else 'spec.pvc'}.resources.requests.storage"
    said = ((claim.resources.requests if claim.resources is not None else None) or {}).get("storage")
    if said is None or said == "":
        if completed and kind in SIZED:
            return None
        return _create_anew(Reason.SIZE_INVALID, f"{where} is missing", "the size of the disk, such as 10Gi")
    try:
        amount = parse_quantity(said)
    except ValueError:
        return _create_anew(Reason.SIZE_INVALID, f"{where} is {quote(str(said)[:_SHOWN])}", "a size such as 10Gi")
    if not 1 <= amount <= LARGEST:
        return _create_anew(Reason.SIZE_INVALID, f"{where} is {quote(str(said)[:_SHOWN])}", "a size such as 10Gi")
    return int(amount.to_integral_value(rounding="ROUND_CEILING"))


def _create_anew(reason: str, what: str, wanted: str) -> Flaw:
    return Flaw(reason, f"{what}: delete the DataVolume and create it anew with {wanted}")
