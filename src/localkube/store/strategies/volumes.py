"""Claims and volumes: defaults, the default class, protection, and what may change."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from localkube.store.metadata import subdomain_faults
from localkube.store.quantities import parse_quantity
from localkube.store.statuses import Fault, forbidden, prohibited, required, unsupported, wrong
from localkube.store.strategies.base import IMMUTABLE, ServerView, Strategy
from localkube.store.trees import Tree, child, copy, is_tree, look, mapping, same, sequence, text

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_OLD_SOURCES = frozenset({("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")})
_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")
_NOT_SOURCES = frozenset(
    {
        "accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy",
        "storageClassName", "volumeAttributesClassName", "volumeMode",
    }
)  # fmt: skip


class ClaimStrategy(Strategy):
    """PersistentVolumeClaims."""

    counts_generations = False
    unconditional_update = True
    returns_deleted = True

    def default(self, obj: Tree) -> None:
        """A file system, Pending."""
        spec = child(obj, "spec")
        spec.setdefault("volumeMode", "Filesystem")
        for field in ("dataSource", "dataSourceRef"):
            if is_tree(spec.get(field)):
                # Go leaves this one field in even when it is nothing
                mapping(spec[field]).setdefault("apiGroup", None)
        status = child(obj, "status")
        status["phase"] = status.get("phase") or "Pending"

    def admit_create(self, obj: Tree, server: ServerView) -> None:
        """Do what the admission plugin DefaultStorageClass does."""
        spec = mapping(obj["spec"])
        if spec.get("storageClassName") is not None:
            return
        classes = [
            (text(look(found, "metadata", "creationTimestamp")), text(look(found, "metadata", "name")))
            for found in server.all("storageclasses.storage.k8s.io")
            if look(found, "metadata", "annotations", _DEFAULT_CLASS) == "true"
        ]
        if classes:
            # of several defaults the newest counts, then the first by name
            newest = max(moment for moment, _ in classes)
            spec["storageClassName"] = min(name for moment, name in classes if moment == newest)

    def prepare_create(self, obj: Tree) -> None:
        """Start Pending and protected; say the data source in both fields."""
        _protect(obj, CLAIM_PROTECTION)
        obj["status"] = {"phase": "Pending"}
        _normalize_source(mapping(obj["spec"]))

    def prepare_update(self, obj: Tree, live: Tree) -> None:  # noqa: ARG002 - a hook
        """Say the data source in both fields."""
        _normalize_source(mapping(obj["spec"]))

    def admit_update(self, obj: Tree, live: Tree, server: ServerView) -> None:
        """Check that the class lets the claim grow. Raises StatusError 403."""
        spec, old = mapping(obj["spec"]), mapping(live["spec"])
        asked, before = _size(spec), _size(old)
        if asked is None or before is None or asked <= before or look(live, "status", "phase") != "Bound":
            return
        found = server.find("storageclasses.storage.k8s.io", "", text(old.get("storageClassName")))
        if not found or found.get("allowVolumeExpansion") is not True:
            raise forbidden(
                "",
                "persistentvolumeclaims",
                text(look(obj, "metadata", "name")),
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
            )

    def validate(self, obj: Tree) -> list[Fault]:
        """Check the spec."""
        return list(_claim_faults(mapping(obj.get("spec"))))

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """The spec stays, but for growth of a bound claim and for what binding sets."""
        faults = self.validate(obj)
        spec, old = mapping(copy(obj["spec"])), mapping(copy(live["spec"]))
        if not old.get("volumeName"):
            _same_as(old, spec, "volumeName")
        if old.get("storageClassName") is None:
            _same_as(spec, old, "storageClassName")
        asked, before = _size(spec), _size(old)
        if look(live, "status", "phase") == "Bound":
            _same_as(spec, old, "volumeAttributesClassName")
            if asked is not None:
                child(child(spec, "resources"), "requests")["storage"] = look(old, "resources", "requests", "storage")
        if not same(spec, old):
            faults.append(
                prohibited(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
                )
            )
        if asked is not None and before is not None and asked < before:
            capacity = text(look(live, "status", "capacity", "storage")) or "0"
            if asked <= parse_quantity(capacity):
                faults.append(
                    prohibited("spec.resources.requests.storage", "field can not be less than status.capacity")
                )
        if not same(look(obj, "spec", "volumeMode"), look(live, "spec", "volumeMode")):
            faults.append(wrong("volumeMode", look(obj, "spec", "volumeMode"), IMMUTABLE))
        return faults


def _same_as(target: Tree, source: Tree, field: str) -> None:
    if field in source:
        target[field] = source[field]
    else:
        target.pop(field, None)


def _protect(obj: Tree, finalizer: str) -> None:
    meta = child(obj, "metadata")
    finalizers = [text(name) for name in sequence(meta.get("finalizers"))]
    if finalizer not in finalizers:
        meta["finalizers"] = [*finalizers, finalizer]


def _normalize_source(spec: Tree) -> None:
    """Say the data source in both fields; drop one that the older field never knew, as the real server does."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not reference and _kind_of(mapping(source)) not in _OLD_SOURCES:
        del spec["dataSource"]
        return
    if source and not reference:
        spec["dataSourceRef"] = copy(source)
    elif reference and not source and not mapping(reference).get("namespace"):
        spec["dataSource"] = copy(reference)


def _kind_of(source: Tree) -> tuple[str, str]:
    return text(source.get("apiGroup")), text(source.get("kind"))


def _size(spec: Tree) -> Decimal | None:
    try:
        return parse_quantity(text(look(spec, "resources", "requests", "storage")))
    except ValueError:
        return None


def _claim_faults(spec: Tree) -> Iterator[Fault]:
    modes = sequence(spec.get("accessModes"))
    if not modes:
        yield required("spec.accessModes", "at least 1 access mode is required")
    yield from _mode_faults(modes)
    path = "spec.resources[storage]"
    size = look(spec, "resources", "requests", "storage")
    if size is None:
        yield required(path)
    elif parse_quantity(text(size)) <= 0:
        yield wrong(path, size, "must be greater than zero")
    name = text(spec.get("storageClassName"))
    for fault in subdomain_faults(name) if name else []:
        yield wrong("spec.storageClassName", name, fault)
    if spec.get("volumeMode") not in _VOLUME_MODES:
        yield unsupported("spec.volumeMode", spec.get("volumeMode"), _VOLUME_MODES)
    for field in ("dataSource", "dataSourceRef"):
        source = spec.get(field)
        if not is_tree(source):
            continue
        tree = mapping(source)
        for part in ("name", "kind"):
            if not tree.get(part):
                yield required(f"spec.{field}.{part}")
        if not tree.get("apiGroup") and tree.get("kind") != "PersistentVolumeClaim":
            yield wrong(
                f"spec.{field}",
                tree.get("kind"),
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            )
    source, reference = mapping(spec.get("dataSource")), mapping(spec.get("dataSourceRef"))
    if source and reference and any(source.get(part) != reference.get(part) for part in ("apiGroup", "kind", "name")):
        yield wrong("spec", "spec.dataSource", "must match dataSourceRef")


def _mode_faults(modes: list[object]) -> Iterator[Fault]:
    for mode in modes:
        if mode not in _MODES:
            yield unsupported("spec.accessModes", mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield prohibited("spec.accessModes", "may not use ReadWriteOncePod with other access modes")


class VolumeStrategy(Strategy):
    """PersistentVolumes."""

    counts_generations = False
    unconditional_update = True
    returns_deleted = True
    name_rule: Mapping[str, bool] = {}

    def default(self, obj: Tree) -> None:
        """Keep the data; a file system."""
        spec = child(obj, "spec")
        spec["persistentVolumeReclaimPolicy"] = spec.get("persistentVolumeReclaimPolicy") or "Retain"
        spec["volumeMode"] = spec.get("volumeMode") or "Filesystem"
        if is_tree(spec.get("hostPath")):
            mapping(spec["hostPath"]).setdefault("type", "")
        status = child(obj, "status")
        status["phase"] = status.get("phase") or "Pending"

    def prepare_create(self, obj: Tree) -> None:
        """Start Pending and protected."""
        _protect(obj, VOLUME_PROTECTION)
        obj["status"] = {"phase": "Pending"}

    def admit_create(self, obj: Tree, server: ServerView) -> None:
        """Say since when."""
        obj["status"]["lastPhaseTransitionTime"] = server.stamp()

    def admit_status(self, obj: Tree, live: Tree, server: ServerView) -> None:
        """Say since when the phase is what it is."""
        status, old = child(obj, "status"), mapping(live.get("status"))
        if status.get("phase") != old.get("phase"):
            status["lastPhaseTransitionTime"] = server.stamp()
        elif old.get("lastPhaseTransitionTime"):
            status.setdefault("lastPhaseTransitionTime", old["lastPhaseTransitionTime"])

    def validate(self, obj: Tree) -> list[Fault]:
        """Check the spec."""
        return list(_volume_faults(mapping(obj.get("spec"))))

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """The source stays."""
        faults = self.validate(obj)
        mine = {name: value for name, value in mapping(obj["spec"]).items() if name not in _NOT_SOURCES}
        theirs = {name: value for name, value in mapping(live["spec"]).items() if name not in _NOT_SOURCES}
        if not same(mine, theirs):
            faults.append(
                prohibited("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
            )
        if not same(look(obj, "spec", "volumeMode"), look(live, "spec", "volumeMode")):
            faults.append(wrong("volumeMode", look(obj, "spec", "volumeMode"), IMMUTABLE))
        return faults


def _volume_faults(spec: Tree) -> Iterator[Fault]:
    modes = sequence(spec.get("accessModes"))
    if not modes:
        yield required("spec.accessModes")
    yield from _mode_faults(modes)
    capacity = mapping(spec.get("capacity"))
    if not capacity:
        yield required("spec.capacity")
        yield unsupported("spec.capacity", None, ("storage",))
    elif set(capacity) != {"storage"}:
        yield unsupported("spec.capacity", capacity, ("storage",))
    else:
        amount = text(capacity["storage"])
        if parse_quantity(amount) <= 0:
            yield wrong("spec.capacity[storage]", amount, "must be greater than zero")
    if spec.get("persistentVolumeReclaimPolicy") not in {"Delete", "Recycle", "Retain"}:
        yield unsupported(
            "spec.persistentVolumeReclaimPolicy",
            spec.get("persistentVolumeReclaimPolicy"),
            ("Delete", "Recycle", "Retain"),
        )
    sources = [name for name in spec if name not in _NOT_SOURCES]
    if not sources:
        yield required("spec", "must specify a volume type")
    for extra in sources[1:]:
        yield prohibited(f"spec.{extra}", "may not specify more than 1 volume type")
    if "local" in sources and not spec.get("nodeAffinity"):
        yield required("spec.nodeAffinity", "Local volume requires node affinity")
    if spec.get("volumeMode") not in _VOLUME_MODES:
        yield unsupported("spec.volumeMode", spec.get("volumeMode"), _VOLUME_MODES)
