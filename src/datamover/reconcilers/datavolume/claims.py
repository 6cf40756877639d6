"""The claim of a DataVolume: its class, modes and size, completed from what the cluster says, and the labels and annotations that it carries. Pure.

The claim has the DataVolume's name and is controlled by it, so it goes with it. What is written here is written once, when the claim is made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, cast

import msgspec

from datamover.api import names as ours
from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DATA_VOLUMES, ClaimSpec, DataVolume
from datamover.api.cdi.names import PopulationReason as Reason
from datamover.api.cdi.storage_profile import ClaimProperties, StorageProfile
from datamover.api.importer import BLOCK, FILESYSTEM, KUBEVIRT
from datamover.reconcilers.datavolume.ask import LARGEST, Ask, Kind
from datamover.volumes.binding import Obstacle, why_not_copied
from datamover.volumes.classes import find_default
from kubekit.words.meta import Manifest, owner_reference
from kubekit.words.storage import IS_DEFAULT_CLASS, StorageClass

DEFAULT_OVERHEAD: Final = Decimal("0.06")
"""The share of a volume that its file system takes, where nobody says otherwise."""
MOST_OVERHEAD: Final = Decimal("0.95")
ALIGNMENT: Final = 2**20
"""Sizes of disks are multiples of this."""
DEFAULT_MODE: Final = "ReadWriteOnce"
"""What every class can do."""
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_KEPT: Final = frozenset(
    {
        LAST_APPLIED,
        names.POPULATED_FOR,
        names.CREATED_FOR,
        names.GARBAGE_COLLECTED,
        names.POD_PHASE,
        names.POD_RESTARTS,
        names.CONTENT_TYPE,
        names.PREALLOCATION,
        names.USE_POPULATOR,
    }
)
"""Annotations of a DataVolume that its claim does not get: what is said of a claim is what was found out about it, and nobody else's word."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a claim is to be made. `target` is the size of the disk in it in bytes, 0 for all that it holds; `request` is that of the claim, None where the
    source's size is not known.

    `storage_class` is None where the cluster's default one is taken by the API server, and empty for none.
    """

    storage_class: str | None
    modes: tuple[str, ...]
    volume_mode: str
    request: int | None
    target: int

    @property
    def block(self) -> bool:
        """Whether it is a device, not a file system."""
        return self.volume_mode == BLOCK


def choose_class(claim: ClaimSpec, classes: Iterable[StorageClass], *, content: str, completed: bool) -> str | None:
    """Return the name of the class that a claim is of: the wanted one, else the default of disks, else the default one; None without any.

    The newest default counts where there are several, as for Kubernetes itself. `completed`: defaults of disks count for `storage` only, for `pvc` is made as
    it is.
    """
    if claim.storage_class_name is not None:
        return claim.storage_class_name
    marks = (names.DEFAULT_VIRT_CLASS, IS_DEFAULT_CLASS) if completed and content == KUBEVIRT else (IS_DEFAULT_CLASS,)
    known = tuple(classes)
    return next((found for mark in marks if (found := find_default(known, mark=mark)) is not None), None)


def want(
    ask: Ask,
    *,
    storage_class: str | None,
    profile: StorageProfile | None,
    config: CDIConfig | None,
    size: int | None = None,
    volume_mode: str | None = None,
) -> Wanted | Obstacle:
    """Return the claim that is wanted. `size` (of the disk, in bytes) and `volume_mode` are the source's, and count where nothing is asked for."""
    claim = ask.claim
    modes, mode = claim.access_modes or (), claim.volume_mode or None
    if ask.completed:
        modes, mode = _complete(modes, mode, profile, preferred=volume_mode)
    mode = mode or FILESYSTEM
    wanted = ask.size if ask.size is not None else size
    if mode == BLOCK or ask.kind is Kind.EXTERNAL:
        return Wanted(storage_class, modes, mode, wanted, (wanted or 0) if mode == BLOCK else 0)
    overhead = find_overhead(config, storage_class)
    if ask.completed:
        request = None if wanted is None else inflate(wanted, overhead)
        if request is not None and request > LARGEST:
            return Obstacle(
                Reason.SIZE_INVALID,
                "the size is more than any volume holds: delete the DataVolume and create it anew with a smaller one",
                waits=False,
            )
        return Wanted(storage_class, modes, mode, request, wanted or 0)
    target = usable(wanted or 0, overhead)
    if wanted is not None and target == 0:
        message = (
            f"spec.pvc asks for {wanted} bytes, and a file system leaves no room for a disk in them: delete the DataVolume and create it anew with "
            f"at least {inflate(ALIGNMENT, overhead)}, or with volumeMode: Block"
        )
        return Obstacle(Reason.SIZE_INVALID, message, waits=False)
    return Wanted(storage_class, modes, mode, wanted, target)


def _complete(
    modes: tuple[str, ...], mode: str | None, profile: StorageProfile | None, *, preferred: str | None
) -> tuple[tuple[str, ...], str]:
    """Return what a claim leaves out, as the class's profile says: the first way that fits what is asked for. What its users say counts before what is computed."""
    ways: tuple[ClaimProperties, ...] = ()
    for part in (profile.spec, profile.status) if profile is not None else ():
        ways = ways or ((part.claim_property_sets or ()) if part is not None else ())
    fitting = [
        each
        for each in ways
        if (not modes or set(modes) <= set(each.access_modes or ())) and mode in (None, each.volume_mode or FILESYSTEM)
    ]
    # a copy is best of the kind of what it is copied from
    fitting.sort(key=lambda each: preferred is not None and (each.volume_mode or FILESYSTEM) != preferred)
    first = fitting[0] if fitting else None
    said = (first.access_modes or ()) if first is not None else ()
    chosen = mode or (first.volume_mode if first is not None else None) or (preferred if first is None else None)
    return modes or said[:1] or (DEFAULT_MODE,), chosen or FILESYSTEM


def find_overhead(config: CDIConfig | None, storage_class: str | None) -> Decimal:
    """Return the share of a volume that its file system takes: that of the class, else that of all, else the usual one.

    What is no share (less than 0, or most of the volume) is as if it was not said.
    """
    spec = config.spec if config is not None else None
    parts = (
        spec.filesystem_overhead if spec is not None else None,
        (config.status or {}).get("filesystemOverhead") if config is not None else None,
    )
    shares = [cast("dict[str, Any]", part) for part in parts if isinstance(part, dict)]
    of_class = (
        cast("dict[str, Any]", each["storageClass"]) for each in shares if isinstance(each.get("storageClass"), dict)
    )
    said = [*(each.get(storage_class) for each in of_class if storage_class), *(each.get("global") for each in shares)]
    return next((share for each in said if (share := _share(each)) is not None), DEFAULT_OVERHEAD)


def _share(said: Any) -> Decimal | None:
    try:
        share = Decimal(said) if isinstance(said, str) else None
    except ArithmeticError:
        return None
    return share if share is not None and share.is_finite() and 0 <= share <= MOST_OVERHEAD else None


def inflate(size: int, overhead: Decimal) -> int:
    """Return the size of a volume in whose file system a disk of `size` bytes finds room."""
    aligned = -(-size // ALIGNMENT) * ALIGNMENT
    return int((Decimal(aligned) / (1 - overhead)).to_integral_value(rounding=ROUND_CEILING))


def usable(size: int, overhead: Decimal) -> int:
    """Return the size of the largest disk that finds room in the file system of a volume of `size` bytes."""
    room = int((Decimal(size) * (1 - overhead)).to_integral_value(rounding=ROUND_FLOOR))
    return room // ALIGNMENT * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Data:
    """Where a claim's data come from, as the claim itself says it. None: we write them, and the claim names nobody."""

    reference: Manifest | None = None
    native: Manifest | None = None
    """What a driver makes the volume from: a claim, or a snapshot."""
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])
    copied: bool = False
    """Whether a driver copies, so that the claim begins as large as its source, also where it does not say itself what it is made from."""


def name_volume(volume: DataVolume) -> Manifest:
    """Return the reference by which a claim says that a DataVolume fills it: no driver makes a volume for it then."""
    return {"apiGroup": names.GROUP, "kind": DATA_VOLUMES.kind, "name": volume.metadata.name}


def fills_by_rebinding(storage_class: StorageClass | None, claim: ClaimSpec, volume: DataVolume) -> bool:
    """Tell whether the claim gets a volume that was filled before, so that Bound means populated.

    Drivers of CSI leave a claim alone that names a DataVolume. Others bind it at once, and so does whoever has chosen a volume himself.
    """
    if volume.metadata.annotation(names.USE_POPULATOR) == "false":
        return False
    if storage_class is None or claim.volume_name or claim.selector:
        return False
    return why_not_copied(storage_class.provisioner) is None


def build_claim(ask: Ask, wanted: Wanted, data: Data, *, request: str | int) -> Manifest:
    """Return the claim. `request` is its size, where it does not say one itself."""
    claim = ask.claim
    if ask.completed:
        spec: Manifest = {"accessModes": list(wanted.modes), "volumeMode": wanted.volume_mode}
        limits = claim.resources.limits if claim.resources is not None else None
        spec["resources"] = {"requests": {"storage": str(request)}, **({"limits": dict(limits)} if limits else {})}
        for key in ("selector", "volumeName", "volumeAttributesClassName"):
            value = msgspec.to_builtins(claim).get(key)
            if value:
                spec[key] = value
    else:
        # the size is there: without one it would not have come so far
        spec = msgspec.to_builtins(claim)
        if data.native is not None or data.copied:  # a driver's copy begins as large as its source
            spec["resources"] = {**spec["resources"], "requests": {"storage": str(request)}}
    if wanted.storage_class is not None:
        spec["storageClassName"] = wanted.storage_class
    for key in ("dataSource", "dataSourceRef"):
        if ask.kind is Kind.EXTERNAL:
            value = msgspec.to_builtins(claim).get(key)
            if value:
                spec[key] = value
    if data.reference is not None:
        spec["dataSourceRef"] = dict(data.reference)
    if data.native is not None:
        spec["dataSource"] = dict(data.native)
    meta = ask.volume.metadata
    owner = {**owner_reference(DATA_VOLUMES, meta), "blockOwnerDeletion": True}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "labels": dict(meta.labels or {}),
            "annotations": {**_copied(meta.annotations or {}), **_said(ask, data)},
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def _copied(annotations: Mapping[str, str]) -> dict[str, str]:
    # ours say what was found out about the DataVolume: on the claim they would be a lie, or a proof that is none
    return {
        key: value
        for key, value in annotations.items()
        if key == names.IMPORT_OF or (key not in _KEPT and not key.startswith(f"{ours.GROUP}/"))
    }


def _said(ask: Ask, data: Data) -> dict[str, str]:
    return {
        names.CREATED_FOR: ask.volume.metadata.uid,
        names.CONTENT_TYPE: ask.content,
        names.PREALLOCATION: "true" if ask.spec.preallocation else "false",
        **data.annotations,
    }
