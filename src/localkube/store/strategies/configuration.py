"""Secrets, ConfigMaps, and the small kinds that need little: leases, events, storage classes, priorities, quotas."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from localkube.store.statuses import OMITTED, Fault, bad_request, prohibited, required, unsupported, wrong
from localkube.store.strategies.base import IMMUTABLE, Strategy
from localkube.store.trees import Tree, child, look, mapping, same, text

MAX_DATA = 1024 * 1024
"""Bytes that the values of a Secret or a ConfigMap may have together."""

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


class PlainStrategy(Strategy):
    """Kinds without a generation whose PUT needs no resourceVersion."""

    counts_generations = False
    unconditional_update = True


class SecretStrategy(PlainStrategy):
    """Secrets. Values never appear in faults (law L8)."""

    selectable: Mapping[str, tuple[str, ...]] = {"type": ("type",)}

    def default(self, obj: Tree) -> None:
        """Turn stringData into data; check base64. Raises StatusError 400."""
        plain = mapping(obj.pop("stringData", None))
        if plain:
            data = child(obj, "data")
            for key, value in plain.items():
                data[key] = base64.b64encode(text(value).encode()).decode()
        obj.setdefault("type", "Opaque")
        if not obj["type"]:
            obj["type"] = "Opaque"
        _check_base64(mapping(obj.get("data")), "Secret")

    def validate(self, obj: Tree) -> list[Fault]:
        """Check keys, size, and what the type needs."""
        data = mapping(obj.get("data"))
        faults = [*_key_faults(data, "data"), *_size_faults(data, "data", encoded=True)]
        kind = text(obj.get("type"))
        faults += [required(f"data[{key}]") for key in _NEEDED.get(kind, ()) if key not in data]
        if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
            faults += [required("data[username]"), required("data[password]")]
        if kind == "kubernetes.io/service-account-token" and not look(
            obj, "metadata", "annotations", "kubernetes.io/service-account.name"
        ):
            faults.append(required("metadata.annotations[kubernetes.io/service-account.name]"))
        return faults

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """The type stays; an immutable Secret stays whole."""
        faults = list[Fault]()
        if obj.get("type") != live.get("type"):
            faults.append(wrong("type", obj.get("type"), IMMUTABLE))
        return [*faults, *_immutable_faults(obj, live, ("data",)), *self.validate(obj)]


class ConfigMapStrategy(PlainStrategy):
    """ConfigMaps."""

    def default(self, obj: Tree) -> None:
        """Check base64. Raises StatusError 400."""
        _check_base64(mapping(obj.get("binaryData")), "ConfigMap")

    def validate(self, obj: Tree) -> list[Fault]:
        """Check keys and size."""
        data, binary = mapping(obj.get("data")), mapping(obj.get("binaryData"))
        faults = [*_key_faults(data, "data"), *_key_faults(binary, "binaryData")]
        faults += [
            wrong(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data.keys() & binary.keys()
        ]
        size = sum(len(text(value).encode()) for value in data.values()) + _decoded_size(binary)
        if size > MAX_DATA:
            faults.append(_too_long(""))
        return faults

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """An immutable ConfigMap stays whole."""
        return [*_immutable_faults(obj, live, ("data", "binaryData")), *self.validate(obj)]


def _check_base64(data: Tree, kind: str) -> None:
    for value in data.values():
        try:
            base64.b64decode(text(value).replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError):
            raise bad_request(
                f'{kind} in version "v1" cannot be handled as a {kind}: illegal base64 data at input byte {_first_illegal(text(value))}'
            ) from None


def _first_illegal(value: str) -> int:
    match = re.search(r"[^A-Za-z0-9+/=\r\n]", value)
    return match.start() if match else max(0, len(value) - len(value) % 4)


def _key_faults(data: Tree, path: str) -> Iterator[Fault]:
    for key in data:
        if len(key) > 253:
            yield wrong(f"{path}[{key}]", key, "must be no more than 253 characters")
        if not _KEY.fullmatch(key):
            yield wrong(
                f"{path}[{key}]",
                key,
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
                "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            )
        elif key == "." or key.startswith(".."):
            yield wrong(f"{path}[{key}]", key, "must not be '.'" if key == "." else "must not start with '..'")


def _decoded_size(data: Tree) -> int:
    return sum(len(text(value)) * 3 // 4 - text(value)[-2:].count("=") for value in data.values())


def _size_faults(data: Tree, path: str, *, encoded: bool) -> Iterator[Fault]:
    if encoded and _decoded_size(data) > MAX_DATA:
        yield _too_long(path)


def _too_long(path: str) -> Fault:
    return Fault("FieldValueTooLong", path, OMITTED, f"may not be more than {MAX_DATA} bytes")


def _immutable_faults(obj: Tree, live: Tree, fields: tuple[str, ...]) -> Iterator[Fault]:
    if live.get("immutable") is not True:
        return
    why = "field is immutable when `immutable` is set"
    if obj.get("immutable") is not True:
        yield prohibited("immutable", why)
    for name in fields:
        if not same(obj.get(name) or {}, live.get(name) or {}):
            yield prohibited(name, why)


class LeaseStrategy(Strategy):
    """Leases."""

    counts_generations = False
    create_on_update = True

    def validate(self, obj: Tree) -> list[Fault]:
        """Durations are positive, counters not negative."""
        faults = list[Fault]()
        spec = mapping(obj.get("spec"))
        seconds, turns = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
        if isinstance(seconds, int) and seconds <= 0:
            faults.append(wrong("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
        if isinstance(turns, int) and turns < 0:
            faults.append(wrong("spec.leaseTransitions", turns, "must be greater than or equal to 0"))
        return faults


class StorageClassStrategy(PlainStrategy):
    """StorageClasses."""

    returns_deleted = True

    def default(self, obj: Tree) -> None:
        """Delete and Immediate."""
        obj.setdefault("reclaimPolicy", "Delete")
        obj.setdefault("volumeBindingMode", "Immediate")

    def validate(self, obj: Tree) -> list[Fault]:
        """A provisioner and known words."""
        faults = list[Fault]()
        if not obj.get("provisioner"):
            faults.append(required("provisioner"))
        for name, known in (
            ("reclaimPolicy", ("Delete", "Retain")),
            ("volumeBindingMode", ("Immediate", "WaitForFirstConsumer")),
        ):
            if obj.get(name) not in known:
                faults.append(unsupported(name, obj.get(name), known))
        return faults

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """What a class does stays."""
        faults = list[Fault]()
        for name in ("parameters", "provisioner"):
            if not same(obj.get(name) or None, live.get(name) or None):
                faults.append(prohibited(name, f"updates to {name} are forbidden."))
        if obj.get("reclaimPolicy") != live.get("reclaimPolicy"):
            faults.append(prohibited("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
        if obj.get("volumeBindingMode") != live.get("volumeBindingMode"):
            faults.append(wrong("volumeBindingMode", obj.get("volumeBindingMode"), IMMUTABLE))
        return [*faults, *self.validate(obj)]


class CsiDriverStrategy(Strategy):
    """CSIDrivers."""

    counts_generations = False
    returns_deleted = True

    def default(self, obj: Tree) -> None:
        """The defaults of the storage API."""
        spec = child(obj, "spec")
        for name, value in (
            ("attachRequired", True),
            ("podInfoOnMount", False),
            ("storageCapacity", False),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
        ):
            spec.setdefault(name, value)
        spec.setdefault("volumeLifecycleModes", ["Persistent"])


class PriorityClassStrategy(Strategy):
    """PriorityClasses."""

    unconditional_update = True

    def default(self, obj: Tree) -> None:
        """Preempt."""
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")
        obj.setdefault("value", 0)

    def validate_update(self, obj: Tree, live: Tree) -> list[Fault]:
        """The value stays."""
        return (
            [prohibited("value", "may not be changed in an update.")] if obj.get("value") != live.get("value") else []
        )


class RbacStrategy(PlainStrategy):
    """RBAC kinds: stored, not enforced."""

    create_on_update = True
    name_rule: Mapping[str, bool] = {"path_name": True}
