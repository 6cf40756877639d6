"""Pod specs, in Pods and in templates: defaults and validation of the parts that matter when containers are run."""

import re
from collections.abc import Iterator
from typing import Any

from localkube.store.metadata import check_labels, label_faults, subdomain_faults
from localkube.store.quantities import parse_quantity
from localkube.store.statuses import Fault, duplicate, required, unsupported, wrong
from localkube.store.trees import Tree, child, entries, is_tree, mapping, sequence, text

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_ENV_NAME = re.compile(r"[ -<>-~]+")
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
    """Return what is wrong with a pod spec that has been defaulted. `pod` adds what only Pods themselves must obey.

    Checked is what comes from a user's DataMover (image, environment, resources, placement, users, names of other objects), and names that
    the node uses as those of directories. The rest of a pod spec is written by our own movers only, and the node refuses what it cannot run.
    """
    return list(_spec_faults(spec, path, pod=pod))


def _spec_faults(spec: Tree, path: str, *, pod: bool) -> Iterator[Fault]:
    volumes = [(f"{path}.volumes[{position}]", volume) for position, volume in enumerate(entries(spec.get("volumes")))]
    yield from _name_faults(volumes)
    if not sequence(spec.get("containers")):
        yield required(f"{path}.containers")
    containers = [
        (f"{path}.{group}[{position}]", container)
        for group in ("containers", "initContainers")
        for position, container in enumerate(entries(spec.get(group)))
    ]
    yield from _name_faults(containers)
    for where, container in containers:
        yield from _container_faults(container, where, pod=pod)
    yield from check_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    for field in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        for fault in subdomain_faults(text(spec[field])) if spec.get(field) else []:
            yield wrong(f"{path}.{field}", spec[field], fault)
    yield from _id_faults(mapping(spec.get("securityContext")), f"{path}.securityContext")
    for position, toleration in enumerate(entries(spec.get("tolerations"))):
        yield from _toleration_faults(toleration, f"{path}.tolerations[{position}]")


def _name_faults(items: list[tuple[str, Tree]]) -> Iterator[Fault]:
    seen = set[str]()
    for path, item in items:
        name = text(item.get("name"))
        if not name:
            yield required(f"{path}.name")
        for fault in label_faults(name) if name else []:
            yield wrong(f"{path}.name", name, fault)
        if name in seen:
            yield duplicate(f"{path}.name", name)
        seen.add(name)


def _container_faults(container: Tree, path: str, *, pod: bool) -> Iterator[Fault]:
    image = text(container.get("image"))
    if not image:
        yield required(f"{path}.image")
    elif pod and image != image.strip():
        yield wrong(f"{path}.image", image, "must not have leading or trailing whitespace")
    for position, variable in enumerate(entries(container.get("env"))):
        name, where = text(variable.get("name")), f"{path}.env[{position}].name"
        if not name:
            yield required(where)
        elif not _ENV_NAME.fullmatch(name):
            rule = "must consist only of printable ASCII characters other than '='"
            yield wrong(where, name, f"a valid environment variable name {rule}")
    yield from _resource_faults(mapping(container.get("resources")), f"{path}.resources")
    yield from _id_faults(mapping(container.get("securityContext")), f"{path}.securityContext")


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
