"""Cells of tables for built-in kinds: what `kubectl get` shows of each."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from localkube.store.durations import age, between
from localkube.store.kinds import Column
from localkube.store.printers_pods import POD_COLUMNS, pod_cells
from localkube.store.trees import Tree, entries, look, mapping, sequence, text

Cells = Callable[[Tree, datetime], list[Any]]
"""The cells of an object at a moment."""

NAME = Column("Name", format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", description="Time since the object was created.")
_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_NONE, _UNSET, _UNKNOWN = "<none>", "<unset>", "<unknown>"


def _columns(*names: str) -> tuple[Column, ...]:
    """Return columns by name; `:TYPE` gives one a type, a leading `+` makes it wide."""
    made = list[Column]()
    for given in names:
        name, _, kind = given.removeprefix("+").partition(":")
        made.append(Column(name, kind or "string", priority=1 if given.startswith("+") else 0))
    return tuple(made)


def _name(tree: Tree) -> str:
    return text(look(tree, "metadata", "name"))


def _age(tree: Tree, now: datetime) -> str:
    return age(look(tree, "metadata", "creationTimestamp"), now)


def _phase(tree: Tree) -> str:
    return "Terminating" if look(tree, "metadata", "deletionTimestamp") else text(look(tree, "status", "phase"))


def _modes(modes: object) -> str:
    return ",".join(_SHORT.get(text(mode), text(mode)) for mode in sequence(modes))


def _claim(tree: Tree, now: datetime) -> list[Any]:
    volume = text(look(tree, "spec", "volumeName"))
    return [
        _name(tree),
        _phase(tree),
        volume,
        text(look(tree, "status", "capacity", "storage")) if volume else "",
        _modes(look(tree, "status", "accessModes")) if volume else "",
        text(look(tree, "spec", "storageClassName")),
        text(look(tree, "spec", "volumeAttributesClassName")) or _UNSET,
        _age(tree, now),
        text(look(tree, "spec", "volumeMode")) or _UNSET,
    ]


def _volume(tree: Tree, now: datetime) -> list[Any]:
    claim = mapping(look(tree, "spec", "claimRef"))
    return [
        _name(tree),
        text(look(tree, "spec", "capacity", "storage")),
        _modes(look(tree, "spec", "accessModes")),
        text(look(tree, "spec", "persistentVolumeReclaimPolicy")),
        _phase(tree),
        f"{text(claim.get('namespace'))}/{text(claim.get('name'))}" if claim else "",
        text(look(tree, "spec", "storageClassName")),
        text(look(tree, "spec", "volumeAttributesClassName")) or _UNSET,
        text(look(tree, "status", "reason")),
        _age(tree, now),
        text(look(tree, "spec", "volumeMode")) or _UNSET,
    ]


def _job(tree: Tree, now: datetime) -> list[Any]:
    done, wanted = look(tree, "status", "succeeded") or 0, look(tree, "spec", "completions")
    several = look(tree, "spec", "parallelism") or 0
    held = {text(c.get("type")) for c in entries(look(tree, "status", "conditions")) if c.get("status") == "True"}
    status = "Running"
    if "Complete" in held:
        status = "Complete"
    elif "Failed" in held:
        status = "Failed"
    elif look(tree, "metadata", "deletionTimestamp"):
        status = "Terminating"
    else:
        status = next((word for word in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if word in held), status)
    completions = f"{done}/{wanted}" if wanted is not None else f"{done}/1" + (f" of {several}" if several > 1 else "")
    containers = list(entries(look(tree, "spec", "template", "spec", "containers")))
    labels = mapping(look(tree, "spec", "selector", "matchLabels"))
    return [
        _name(tree),
        status,
        completions,
        between(look(tree, "status", "startTime"), look(tree, "status", "completionTime"), now),
        _age(tree, now),
        ",".join(text(container.get("name")) for container in containers),
        ",".join(text(container.get("image")) for container in containers),
        ",".join(f"{key}={value}" for key, value in labels.items()) or _NONE,
    ]


def _node(tree: Tree, now: datetime) -> list[Any]:
    ready = next((c for c in entries(look(tree, "status", "conditions")) if c.get("type") == "Ready"), None)
    status = "Unknown" if ready is None else "Ready" if ready.get("status") == "True" else "NotReady"
    if look(tree, "spec", "unschedulable"):
        status += ",SchedulingDisabled"
    prefix = "node-role.kubernetes.io/"
    labels = mapping(look(tree, "metadata", "labels"))
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    info = mapping(look(tree, "status", "nodeInfo"))
    addresses = {text(a.get("type")): text(a.get("address")) for a in entries(look(tree, "status", "addresses"))}
    kernel = text(info.get("kernelVersion")) or _UNKNOWN
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    return [
        _name(tree),
        status,
        ",".join(roles) or _NONE,
        _age(tree, now),
        text(info.get("kubeletVersion")),
        addresses.get("InternalIP", _NONE),
        addresses.get("ExternalIP", _NONE),
        text(info.get("osImage")) or _UNKNOWN,
        kernel,
        text(info.get("containerRuntimeVersion")) or _UNKNOWN,
    ]


def _event(tree: Tree, now: datetime) -> list[Any]:
    """Cells of an event of either API group."""
    about = mapping(tree.get("involvedObject") or tree.get("regarding"))
    source = mapping(tree.get("source") or tree.get("deprecatedSource"))
    first = tree.get("firstTimestamp") or tree.get("deprecatedFirstTimestamp") or tree.get("eventTime")
    last = tree.get("lastTimestamp") or tree.get("deprecatedLastTimestamp") or first
    series = mapping(tree.get("series"))
    last = series.get("lastObservedTime") or last
    count = series.get("count") or tree.get("count") or tree.get("deprecatedCount") or 1
    component = (
        text(source.get("component")) or text(tree.get("reportingComponent")) or text(tree.get("reportingController"))
    )
    host = text(source.get("host")) or text(tree.get("reportingInstance"))
    kind = text(about.get("kind")).lower()
    return [
        age(last, now),
        text(tree.get("type")),
        text(tree.get("reason")),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        text(about.get("fieldPath")),
        f"{component}, {host}" if host else component,
        (text(tree.get("message")) or text(tree.get("note"))).strip(),
        age(first, now),
        count,
        _name(tree),
    ]


def _secret(tree: Tree, now: datetime) -> list[Any]:
    return [_name(tree), text(tree.get("type")), len(mapping(tree.get("data"))), _age(tree, now)]


def _config_map(tree: Tree, now: datetime) -> list[Any]:
    return [_name(tree), len(mapping(tree.get("data"))) + len(mapping(tree.get("binaryData"))), _age(tree, now)]


def _namespace(tree: Tree, now: datetime) -> list[Any]:
    return [_name(tree), text(look(tree, "status", "phase")), _age(tree, now)]


def _storage_class(tree: Tree, now: datetime) -> list[Any]:
    default = look(tree, "metadata", "annotations", "storageclass.kubernetes.io/is-default-class") == "true"
    return [
        _name(tree) + (" (default)" if default else ""),
        text(tree.get("provisioner")),
        text(tree.get("reclaimPolicy")) or "Delete",
        text(tree.get("volumeBindingMode")) or "Immediate",
        tree.get("allowVolumeExpansion") is True,
        _age(tree, now),
    ]


def _lease(tree: Tree, now: datetime) -> list[Any]:
    return [_name(tree), text(look(tree, "spec", "holderIdentity")), _age(tree, now)]


def _priority(tree: Tree, now: datetime) -> list[Any]:
    return [
        _name(tree),
        tree.get("value") or 0,
        tree.get("globalDefault") is True,
        _age(tree, now),
        text(tree.get("preemptionPolicy")),
    ]


def _attachment(tree: Tree, now: datetime) -> list[Any]:
    return [
        _name(tree),
        text(look(tree, "spec", "attacher")),
        text(look(tree, "spec", "source", "persistentVolumeName")),
        text(look(tree, "spec", "nodeName")),
        look(tree, "status", "attached") is True,
        _age(tree, now),
    ]


def _binding(tree: Tree, now: datetime) -> list[Any]:
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in entries(tree.get("subjects")):
        name, kind = text(subject.get("name")), text(subject.get("kind"))
        subjects.setdefault(kind, []).append(f"{subject.get('namespace')}/{name}" if kind == "ServiceAccount" else name)
    return [
        _name(tree),
        f"{text(look(tree, 'roleRef', 'kind'))}/{text(look(tree, 'roleRef', 'name'))}",
        _age(tree, now),
        *(", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


def _created(tree: Tree, _now: datetime) -> list[Any]:
    return [_name(tree), text(look(tree, "metadata", "creationTimestamp"))]


_CREATED = Column("Created At", "date", description="When the object was created.")
_BINDING_COLUMNS = (NAME, *_columns("Role"), AGE, *_columns("+Users", "+Groups", "+ServiceAccounts"))
_EVENT_COLUMNS = _columns(
    "Last Seen", "Type", "Reason", "Object", "+Subobject", "+Source", "Message", "+First Seen", "+Count", "+Name"
)

PRINTERS: Mapping[str, tuple[tuple[Column, ...], Cells]] = {
    "clusterrolebindings.rbac.authorization.k8s.io": (_BINDING_COLUMNS, _binding),
    "clusterroles.rbac.authorization.k8s.io": ((NAME, _CREATED), _created),
    "configmaps": ((NAME, *_columns("Data"), AGE), _config_map),
    "customresourcedefinitions.apiextensions.k8s.io": ((NAME, _CREATED), _created),
    "events": (_EVENT_COLUMNS, _event),
    "events.events.k8s.io": (_EVENT_COLUMNS, _event),
    "jobs.batch": (
        (NAME, *_columns("Status", "Completions", "Duration"), AGE, *_columns("+Containers", "+Images", "+Selector")),
        _job,
    ),
    "leases.coordination.k8s.io": ((NAME, *_columns("Holder"), AGE), _lease),
    "namespaces": ((NAME, *_columns("Status"), AGE), _namespace),
    "nodes": (
        (
            NAME,
            *_columns("Status", "Roles"),
            AGE,
            *_columns("Version", "+Internal-IP", "+External-IP", "+OS-Image", "+Kernel-Version", "+Container-Runtime"),
        ),
        _node,
    ),
    "persistentvolumeclaims": (
        (
            NAME,
            *_columns("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass"),
            AGE,
            *_columns("+VolumeMode"),
        ),
        _claim,
    ),
    "persistentvolumes": (
        (
            NAME,
            *_columns("Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass"),
            *_columns("VolumeAttributesClass", "Reason"),
            AGE,
            *_columns("+VolumeMode"),
        ),
        _volume,
    ),
    "pods": ((NAME, *POD_COLUMNS), pod_cells),
    "priorityclasses.scheduling.k8s.io": (
        (NAME, *_columns("Value:integer", "Global-Default:boolean"), AGE, *_columns("PreemptionPolicy")),
        _priority,
    ),
    "rolebindings.rbac.authorization.k8s.io": (_BINDING_COLUMNS, _binding),
    "roles.rbac.authorization.k8s.io": ((NAME, _CREATED), _created),
    "secrets": ((NAME, *_columns("Type", "Data"), AGE), _secret),
    "storageclasses.storage.k8s.io": (
        (NAME, *_columns("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion"), AGE),
        _storage_class,
    ),
    "volumeattachments.storage.k8s.io": (
        (NAME, *_columns("Attacher", "PV", "Node", "Attached:boolean"), AGE),
        _attachment,
    ),
}
"""By `plural.group`: the columns and the cells. Kinds that are not here show name and age."""
