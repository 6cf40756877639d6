"""A container's environment, resolved as kubelet does (kubelet_pods.go, makeEnvironmentVariables). Pure.

Order and precedence: `envFrom` in its order, later sources over earlier ones; then `env` in its order over everything. `$(NAME)` sees
what has been set before; `$$` is a dollar; an unknown name stays as it is written. Keys of `envFrom` that are no shell
identifiers are set all the same, as kubelet does since 1.30.

ConfigurationError          the container cannot be created: reason CreateContainerConfigError, retried when something changes
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import TypeVar

from kubekit.words.quantity import parse_quantity
from localkube.node.kinds import ConfigMap, Quantities, Secret
from localkube.node.pod_kinds import (
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    FieldRef,
    KeyRef,
    Pod,
    ResourceFieldRef,
    Volume,
)

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
"""The address of the node and of all its Pods: they share the host's network."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))", re.DOTALL)
_SUBSCRIPT = re.compile(r"^(.*)\['([^']*)'\]$", re.DOTALL)


class ConfigurationError(Exception):
    """The container cannot be created from what is there now. The message is kubelet's; it names keys, never values (law L8)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What variables and volumes may be drawn from, all of one namespace. A name that is absent here does not exist on the server."""

    secrets: Mapping[str, Secret] = field(default_factory=dict[str, Secret])
    config_maps: Mapping[str, ConfigMap] = field(default_factory=dict[str, ConfigMap])
    allocatable: Quantities = field(default_factory=dict[str, str | int | float])
    """Resources of the node: what limits are when a container sets none."""

    def secret(self, name: str) -> Secret:
        """Return a Secret. Raises ConfigurationError."""
        try:
            return self.secrets[name]
        except KeyError:
            raise ConfigurationError(f'secret "{name}" not found') from None

    def config_map(self, name: str) -> ConfigMap:
        """Return a ConfigMap. Raises ConfigurationError."""
        try:
            return self.config_maps[name]
        except KeyError:
            raise ConfigurationError(f'configmap "{name}" not found') from None


@dataclass(frozen=True, slots=True)
class References:
    """Names of the Secrets and ConfigMaps that a Pod needs before it can start."""

    secrets: frozenset[str] = frozenset()
    config_maps: frozenset[str] = frozenset()


def references(pod: Pod) -> References:
    """Return what a Pod's containers and volumes refer to, optional or not."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    spec = pod.spec
    for container in (*((spec and spec.init_containers) or ()), *((spec and spec.containers) or ())):
        for source in container.env_from or ():
            secrets |= {source.secret_ref.name} if source.secret_ref else set()
            config_maps |= {source.config_map_ref.name} if source.config_map_ref else set()
        for variable in container.env or ():
            value = variable.value_from
            secrets |= {value.secret_key_ref.name} if value and value.secret_key_ref else set()
            config_maps |= {value.config_map_key_ref.name} if value and value.config_map_key_ref else set()
    for volume in (spec and spec.volumes) or ():
        _volume_references(volume, secrets, config_maps)
    return References(frozenset(secrets), frozenset(config_maps))


def _volume_references(volume: Volume, secrets: set[str], config_maps: set[str]) -> None:
    if volume.secret is not None:
        secrets.add(volume.secret.secret_name)
    if volume.config_map is not None:
        config_maps.add(volume.config_map.name)
    for projection in (volume.projected and volume.projected.sources) or ():
        if projection.secret is not None:
            secrets.add(projection.secret.name)
        if projection.config_map is not None:
            config_maps.add(projection.config_map.name)


def resolve(container: Container, pod: Pod, sources: Sources) -> dict[str, str]:
    """Return the variables of a container. Bytes that are not UTF-8 become surrogate escapes, as `os.environ` has them.

    Raises ConfigurationError for a missing Secret, ConfigMap or key that is not optional, and for a reference that cannot be resolved.
    """
    variables: dict[str, str] = {}
    for source in container.env_from or ():
        variables.update(_all_keys(source, sources))
    for variable in container.env or ():
        value = _value(variable, container, pod, sources, variables)
        if value is not None:
            variables[variable.name] = value
    return variables


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value and `$$` by a dollar; an unknown name stays as it is written."""

    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return variables.get(name, match.group(0))

    return _REFERENCE.sub(replacement, text)


def _all_keys(source: EnvFromSource, sources: Sources) -> dict[str, str]:
    prefix = source.prefix or ""
    if source.config_map_ref is not None:
        reference = source.config_map_ref
        if reference.optional and reference.name not in sources.config_maps:
            return {}
        return {prefix + key: value for key, value in (sources.config_map(reference.name).data or {}).items()}
    if source.secret_ref is not None:
        reference = source.secret_ref
        if reference.optional and reference.name not in sources.secrets:
            return {}
        return {prefix + key: _text(value) for key, value in (sources.secret(reference.name).data or {}).items()}
    return {}


def _value(
    variable: EnvVar, container: Container, pod: Pod, sources: Sources, variables: Mapping[str, str]
) -> str | None:
    """Return the value, or None when an optional source is missing, so that an earlier value stays."""
    if variable.value:
        return expand(variable.value, variables)
    source = variable.value_from
    if source is None:
        return ""
    if source.field_ref is not None:
        return field_value(source.field_ref, pod)
    if source.resource_field_ref is not None:
        return resource_value(source.resource_field_ref, container, pod, sources.allocatable)
    return _key_value(source, pod, sources)


def _key_value(source: EnvVarSource, pod: Pod, sources: Sources) -> str | None:
    namespace = pod.metadata.namespace
    if source.config_map_key_ref is not None:
        reference = source.config_map_key_ref
        config_map = _optional(reference, sources.config_maps, sources.config_map)
        return _key(reference, config_map and (config_map.data or {}), f"ConfigMap {namespace}/{reference.name}")
    if source.secret_key_ref is not None:
        reference = source.secret_key_ref
        secret = _optional(reference, sources.secrets, sources.secret)
        raw = _key(reference, secret and (secret.data or {}), f"Secret {namespace}/{reference.name}")
        return None if raw is None else _text(raw)
    if source.file_key_ref is not None:
        raise ConfigurationError("this node does not read variables from files (fileKeyRef)")
    return ""


def _optional(reference: KeyRef, present: Mapping[str, T], find: Callable[[str], T]) -> T | None:
    return None if reference.optional and reference.name not in present else find(reference.name)


def _key(reference: KeyRef, values: Mapping[str, T] | None, where: str) -> T | None:
    if values is not None and reference.key in values:
        return values[reference.key]
    if reference.optional:
        return None
    raise ConfigurationError(f"couldn't find key {reference.key} in {where}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def field_value(reference: FieldRef, pod: Pod) -> str:
    """Return a field of the Pod, as the downward API gives it. Raises ConfigurationError for a field that it does not know."""
    meta, spec = pod.metadata, pod.spec
    path = reference.field_path
    simple: Mapping[str, str | None] = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _format_map(meta.labels or {}),
        "metadata.annotations": _format_map(meta.annotations or {}),
        "spec.nodeName": spec and spec.node_name,
        "spec.serviceAccountName": spec and spec.service_account_name,
        "status.hostIP": LOOPBACK,
        "status.hostIPs": LOOPBACK,
        "status.podIP": LOOPBACK,
        "status.podIPs": LOOPBACK,
    }
    if path in simple:
        return simple[path] or ""
    subscript = _SUBSCRIPT.match(path)
    if subscript and subscript[1] == "metadata.labels":
        return (meta.labels or {}).get(subscript[2], "")
    if subscript and subscript[1] == "metadata.annotations":
        return (meta.annotations or {}).get(subscript[2], "")
    if subscript:
        raise ConfigurationError(f'fieldPath "{path}" does not support subscript')
    raise ConfigurationError(f"unsupported fieldPath: {path}")


def _format_map(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(values[key], ensure_ascii=False)}" for key in sorted(values))


def resource_value(reference: ResourceFieldRef, container: Container | None, pod: Pod, allocatable: Quantities) -> str:
    """Return a resource of a container in units of the divisor, rounded up. A missing limit is the node's; a missing request is 0.

    Raises ConfigurationError for an unknown container or resource, or a quantity that cannot be read.
    """
    name = reference.container_name
    if name:
        spec = pod.spec
        candidates = (*((spec and spec.containers) or ()), *((spec and spec.init_containers) or ()))
        container = next((c for c in candidates if c.name == name), None)
    if container is None:
        raise ConfigurationError(f"container {name} not found")
    kind, _, resource = reference.resource.partition(".")
    if kind not in ("limits", "requests") or not (
        resource in ("cpu", "memory", "ephemeral-storage") or resource.startswith("hugepages-")
    ):
        raise ConfigurationError(f"unsupported container resource : {reference.resource}")
    resources = container.resources
    if kind == "limits":
        amount = ((resources and resources.limits) or {}).get(resource, allocatable.get(resource, 0))
    else:
        amount = ((resources and resources.requests) or {}).get(resource, 0)
    try:
        unit = parse_quantity(reference.divisor or 1) or Decimal(1)
        return str(int((parse_quantity(amount) / unit).to_integral_value(ROUND_CEILING)))
    except (ValueError, ArithmeticError) as error:
        raise ConfigurationError(f"{reference.resource}: {error}") from error
