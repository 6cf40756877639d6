"""Pod specs, in Pods and in templates: defaults and validation of the parts that matter when containers are run."""

import re
from collections.abc import Iterator
from typing import Any

from localkube.store.metadata import check_labels, label_faults, subdomain_faults
from localkube.store.quantities import parse_quantity
from localkube.store.statuses import Fault, duplicate, prohibited, required, unsupported, wrong
from localkube.store.trees import Tree, child, entries, is_tree, mapping, sequence, text

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_PULL = ("Always", "IfNotPresent", "Never")
_MODE_VOLUMES = ("secret", "configMap", "downwardAPI", "projected")
_MAX_ID = 2**31 - 1


def default_pod_spec(spec: Tree) -> None:
    """Fill in what the API defaults."""
    for name, value in (
        ("dnsPolicy", "ClusterFirst"),
        ("restartPolicy", "Always"),
        ("schedulerName", "default-scheduler"),
        ("terminationGracePeriodSeconds", 30),
    ):
        if not spec.get(name) and spec.get(name) != 0:
            spec[name] = value
    if isinstance(spec["terminationGracePeriodSeconds"], int) and spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    child(spec, "securityContext")
    if spec.get("serviceAccountName") and not spec.get("serviceAccount"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for name in _CONTAINERS:
        for container in entries(spec.get(name)):
            _default_container(container)
    for volume in entries(spec.get("volumes")):
        _default_volume(volume)


def _default_container(container: Tree) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = "Always" if _is_latest(text(container.get("image"))) else "IfNotPresent"
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    child(container, "resources")
    for port in entries(container.get("ports")):
        port.setdefault("protocol", "TCP")
    for variable in entries(container.get("env")):
        reference = mapping(mapping(variable.get("valueFrom")).get("fieldRef"))
        if reference and not reference.get("apiVersion"):
            reference["apiVersion"] = "v1"
        divisor = mapping(mapping(variable.get("valueFrom")).get("resourceFieldRef"))
        if divisor:
            divisor.setdefault("divisor", "0")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if is_tree(container.get(probe)):
            tree = mapping(container[probe])
            for name, value in (
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ):
                tree[name] = tree.get(name) or value
            if is_tree(tree.get("httpGet")):
                mapping(tree["httpGet"]).setdefault("path", "/")
                mapping(tree["httpGet"]).setdefault("scheme", "HTTP")


def _is_latest(image: str) -> bool:
    name = image.rpartition("/")[2]
    if "@" in name:
        return False
    _, colon, tag = name.partition(":")
    return not colon or tag == "latest"


def _default_volume(volume: Tree) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
    for source in _MODE_VOLUMES:
        if is_tree(volume.get(source)):
            mapping(volume[source]).setdefault("defaultMode", 0o644)
    if is_tree(volume.get("hostPath")):
        mapping(volume["hostPath"]).setdefault("type", "")


def check_pod_spec(spec: Tree, path: str, *, pod: bool = False) -> list[Fault]:
    """Return what is wrong with a pod spec that has been defaulted. `pod` adds what only Pods themselves must obey."""
    return list(_spec_faults(spec, path, pod=pod))


def _spec_faults(spec: Tree, path: str, *, pod: bool) -> Iterator[Fault]:
    volumes = dict[str, Tree]()
    for position, volume in enumerate(entries(spec.get("volumes"))):
        found = list(_volume_faults(volume, f"{path}.volumes[{position}]", volumes))
        yield from found
        if not found:
            volumes[text(volume.get("name"))] = volume
    if not sequence(spec.get("containers")):
        yield required(f"{path}.containers")
    names = set[str]()
    for group in ("containers", "initContainers"):
        for position, container in enumerate(entries(spec.get(group))):
            where = f"{path}.{group}[{position}]"
            yield from _container_faults(container, where, volumes, pod=pod)
            name = text(container.get("name"))
            if name in names:
                yield duplicate(f"{where}.name", name)
            names.add(name)
    if spec.get("restartPolicy") not in {"Always", "OnFailure", "Never"}:
        yield unsupported(f"{path}.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never"))
    known = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    if spec.get("dnsPolicy") not in known:
        yield unsupported(f"{path}.dnsPolicy", spec.get("dnsPolicy"), known)
    yield from check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and not 1 <= deadline <= _MAX_ID:
        yield wrong(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {_MAX_ID}, inclusive")
    for field in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        for fault in subdomain_faults(text(spec[field])) if spec.get(field) else []:
            yield wrong(f"{path}.{field}", spec[field], fault)
    yield from _id_faults(mapping(spec.get("securityContext")), f"{path}.securityContext")
    for position, toleration in enumerate(entries(spec.get("tolerations"))):
        yield from _toleration_faults(toleration, f"{path}.tolerations[{position}]")


def _volume_faults(volume: Tree, path: str, known: dict[str, Tree]) -> Iterator[Fault]:
    sources = [name for name in volume if name != "name"]
    for extra in sources[1:]:
        yield prohibited(f"{path}.{extra}", "may not specify more than 1 volume type")
    needed = {"persistentVolumeClaim": "claimName", "secret": "secretName", "configMap": "name", "hostPath": "path"}
    for source, field in needed.items():
        if source in sources and not mapping(volume[source]).get(field):
            yield required(f"{path}.{source}.{field}")
    name = text(volume.get("name"))
    if not name:
        yield required(f"{path}.name")
    else:
        for fault in label_faults(name):
            yield wrong(f"{path}.name", name, fault)
    if name in known:
        yield duplicate(f"{path}.name", name)


def _container_faults(container: Tree, path: str, volumes: dict[str, Tree], *, pod: bool) -> Iterator[Fault]:
    name, image = text(container.get("name")), text(container.get("image"))
    if not name:
        yield required(f"{path}.name")
    else:
        for fault in label_faults(name):
            yield wrong(f"{path}.name", name, fault)
    if not image:
        yield required(f"{path}.image")
    elif pod and image != image.strip():
        yield wrong(f"{path}.image", image, "must not have leading or trailing whitespace")
    for field, known in (
        ("terminationMessagePolicy", ("File", "FallbackToLogsOnError")),
        ("imagePullPolicy", _PULL),
    ):
        if container.get(field) not in known:
            yield unsupported(f"{path}.{field}", container.get(field), known)
    yield from _port_faults(container, path)
    for position, variable in enumerate(entries(container.get("env"))):
        yield from _env_faults(variable, f"{path}.env[{position}]")
    for position, source in enumerate(entries(container.get("envFrom"))):
        yield from _env_from_faults(source, f"{path}.envFrom", position)
    yield from _mount_faults(container, path, volumes)
    yield from _resource_faults(mapping(container.get("resources")), f"{path}.resources")
    yield from _id_faults(mapping(container.get("securityContext")), f"{path}.securityContext")


def _port_faults(container: Tree, path: str) -> Iterator[Fault]:
    for position, port in enumerate(entries(container.get("ports"))):
        number = port.get("containerPort")
        if not number:
            yield required(f"{path}.ports[{position}].containerPort")
        elif not isinstance(number, int) or not 1 <= number <= 65535:
            yield wrong(f"{path}.ports[{position}].containerPort", number, "must be between 1 and 65535, inclusive")


def _env_faults(variable: Tree, path: str) -> Iterator[Fault]:
    name = text(variable.get("name"))
    if not name:
        yield required(f"{path}.name")
    elif not _ENV_NAME.fullmatch(name):
        yield wrong(
            f"{path}.name",
            name,
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
        )
    if "valueFrom" not in variable:
        return
    sources = mapping(variable["valueFrom"])
    where = f"{path}.valueFrom"
    if not sources:
        yield wrong(
            where,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        )
    elif variable.get("value"):
        yield wrong(where, "", "may not be specified when `value` is not empty")
    elif len(sources) > 1:
        yield wrong(where, "", "may not have more than one field specified at a time")
    for source in ("configMapKeyRef", "secretKeyRef"):
        if source in sources:
            for field in ("name", "key"):
                if not mapping(sources[source]).get(field):
                    yield required(f"{where}.{source}.{field}")
    if "fieldRef" in sources and not mapping(sources["fieldRef"]).get("fieldPath"):
        yield required(f"{where}.fieldRef.fieldPath")


def _env_from_faults(source: Tree, path: str, position: int) -> Iterator[Fault]:
    references = [name for name in ("configMapRef", "secretRef") if name in source]
    prefix = text(source.get("prefix"))
    if prefix and not _ENV_NAME.fullmatch(prefix):
        yield wrong(
            f"{path}[{position}].prefix",
            prefix,
            "a valid environment variable name must consist only of printable ASCII characters other than '='",
        )
    for name in references:
        named = text(mapping(source[name]).get("name"))
        if not named:
            yield required(f"{path}[{position}].{name}.name")
        for fault in subdomain_faults(named) if named else []:
            yield wrong(f"{path}[{position}].{name}.name", named, fault)
    if not references:
        yield wrong(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(references) > 1:
        yield wrong(path, "", "may not have more than one field specified at a time")


def _mount_faults(container: Tree, path: str, volumes: dict[str, Tree]) -> Iterator[Fault]:
    seen = set[str]()
    for group, field in (("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")):
        for position, mount in enumerate(entries(container.get(group))):
            where = f"{path}.{group}[{position}]"
            name, place = text(mount.get("name")), text(mount.get(field))
            if not name:
                yield required(f"{where}.name")
            if name not in volumes:
                yield Fault("FieldValueNotFound", f"{where}.name", name)
            if not place:
                yield required(f"{where}.{field}")
            if place in seen:
                yield wrong(f"{where}.{field}", place, "must be unique")
            seen.add(place)
            for below in ("subPath", "subPathExpr"):
                given = text(mount.get(below))
                if given.startswith("/"):
                    yield wrong(f"{path}.{group}.{below}", given, "must be a relative path")
                if ".." in given.split("/"):
                    yield wrong(f"{path}.{group}.{below}", given, "must not contain '..'")


def _resource_faults(resources: Tree, path: str) -> Iterator[Fault]:
    amounts = dict[str, dict[str, Any]]()
    for group in ("limits", "requests"):
        amounts[group] = {}
        for name, amount in mapping(resources.get(group)).items():
            try:
                value = parse_quantity(text(amount))
            except ValueError:
                continue
            amounts[group][name] = value
            if value < 0:
                yield wrong(f"{path}.{group}[{name}]", amount, "must be greater than or equal to 0")
    for name, asked in amounts["requests"].items():
        limit = amounts["limits"].get(name)
        if limit is not None and asked > limit:
            shown = mapping(resources["requests"])[name]
            allowed = mapping(resources["limits"])[name]
            yield wrong(f"{path}.requests", shown, f"must be less than or equal to {name} limit of {allowed}")


def _id_faults(context: Tree, path: str) -> Iterator[Fault]:
    for field in ("runAsUser", "runAsGroup", "fsGroup"):
        number = context.get(field)
        if isinstance(number, int) and not 0 <= number <= _MAX_ID:
            yield wrong(f"{path}.{field}", number, f"must be between 0 and {_MAX_ID}, inclusive")


def _toleration_faults(toleration: Tree, path: str) -> Iterator[Fault]:
    operator = toleration.get("operator") or "Equal"
    if operator not in {"Equal", "Exists", "Lt", "Gt"}:
        yield unsupported(f"{path}.operator", operator, ("Equal", "Exists"))
    if not toleration.get("key") and operator != "Exists":
        yield wrong(
            f"{path}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if operator == "Exists" and toleration.get("value"):
        yield wrong(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
