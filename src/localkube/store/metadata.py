"""Rules for `metadata`: names, labels, annotations, owners, finalizers; what an update may not change.

Source: Kubernetes API conventions, "Object Names and IDs", "Labels and Selectors".
"""

import re
from collections.abc import Iterator

from localkube.store.statuses import OMITTED, Fault, prohibited, required, wrong
from localkube.store.trees import Tree, entries, look, mapping, same, sequence, text

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_NAME = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_NAME})?"
_LABEL_RE, _SUBDOMAIN_RE, _NAME_RE, _VALUE_RE = (re.compile(p) for p in (_LABEL, _SUBDOMAIN, _NAME, _VALUE))
_STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})
ANNOTATIONS_LIMIT = 256 * 1024
"""Bytes that all annotations of an object may have together."""


def label_faults(value: str) -> list[str]:
    """Say why `value` is not a DNS label (RFC 1123)."""
    faults = [] if len(value) <= 63 else ["must be no more than 63 bytes"]
    if not _LABEL_RE.fullmatch(value):
        faults.append(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character "
            f"(e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
        )
    return faults


def subdomain_faults(value: str) -> list[str]:
    """Say why `value` is not a DNS subdomain (RFC 1123)."""
    faults = [] if len(value) <= 253 else ["must be no more than 253 bytes"]
    if not _SUBDOMAIN_RE.fullmatch(value):
        faults.append(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character "
            f"(e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
        )
    return faults


def qualified_faults(value: str) -> list[str]:
    """Say why `value` is not a qualified name, as label keys are."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"a valid label key {_name_rule()} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    faults = list[str]()
    if slash:
        if not prefix:
            faults.append("prefix part must be non-empty")
        else:
            faults += [f"prefix part {fault}" for fault in subdomain_faults(prefix)]
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part must be no more than 63 bytes")
    if not _NAME_RE.fullmatch(name):
        faults.append(f"name part {_name_rule()}")
    return faults


def _name_rule() -> str:
    return (
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
        f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME}')"
    )


def label_value_faults(value: str) -> list[str]:
    """Say why `value` may not be a label's value."""
    faults = [] if len(value) <= 63 else ["must be no more than 63 bytes"]
    if not _VALUE_RE.fullmatch(value):
        faults.append(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
            f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_VALUE}')"
        )
    return faults


def check_labels(labels: object, path: str) -> Iterator[Fault]:
    """Yield what is wrong with a map of labels."""
    for key, value in mapping(labels).items():
        for fault in qualified_faults(key):
            yield wrong(path, key, fault)
        if isinstance(value, str):
            for fault in label_value_faults(value):
                yield wrong(path, value, fault)


def check_metadata(meta: Tree, *, builtin: bool, label_name: bool = False, path_name: bool = False) -> list[Fault]:
    """Return what is wrong with an object's metadata.

    `builtin` kinds take qualified finalizers only. Names are subdomains; `label_name` asks for a DNS label, `path_name` for no more than a path segment.
    """
    return list(_metadata_faults(meta, builtin=builtin, label_name=label_name, path_name=path_name))


def _metadata_faults(meta: Tree, *, builtin: bool, label_name: bool, path_name: bool) -> Iterator[Fault]:
    check = label_faults if label_name else subdomain_faults
    if path_name:
        check = _path_faults
    prefix, name = text(meta.get("generateName")), text(meta.get("name"))
    if prefix:
        for fault in check(prefix.rstrip("-") + "x" if prefix.endswith("-") else prefix):
            yield wrong("metadata.generateName", prefix, fault)
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        for fault in check(name):
            yield wrong("metadata.name", name, fault)
    yield from check_labels(meta.get("labels"), "metadata.labels")
    size = 0
    for key, value in mapping(meta.get("annotations")).items():
        for fault in qualified_faults(key.lower()):
            yield wrong("metadata.annotations", key, fault)
        size += len(key.encode()) + len(text(value).encode())
    if size > ANNOTATIONS_LIMIT:
        yield Fault(
            "FieldValueTooLong", "metadata.annotations", OMITTED, f"may not be more than {ANNOTATIONS_LIMIT} bytes"
        )
    yield from _owner_faults(meta)
    finalizers = sequence(meta.get("finalizers"))
    for finalizer in finalizers:
        for fault in qualified_faults(text(finalizer)):
            yield wrong("metadata.finalizers", finalizer, fault)
    if builtin:
        for position, finalizer in enumerate(finalizers):
            if "/" not in text(finalizer) and finalizer not in _STANDARD_FINALIZERS:
                why = "name is neither a standard finalizer name nor is it fully qualified"
                yield wrong(f"metadata.finalizers[{position}]", finalizer, why)
    if {"orphan", "foregroundDeletion"} <= set(map(text, finalizers)):
        yield wrong("metadata.finalizers", finalizers, "finalizer orphan and foregroundDeletion cannot be both set")


def finalizer_warnings(meta: Tree) -> list[str]:
    """Return what is said of the finalizers of a custom resource that are not qualified."""
    said = list[str]()
    for finalizer in map(text, sequence(meta.get("finalizers"))):
        if "/" in finalizer or finalizer in _STANDARD_FINALIZERS:
            continue
        where = " including a path (/)" if "." in finalizer else ""
        why = f"prefer a domain-qualified finalizer name{where} to avoid accidental conflicts with other finalizer writers"
        said.append(f'metadata.finalizers: "{finalizer}": {why}')
    return said


def _path_faults(name: str) -> list[str]:
    if name in {".", ".."}:
        return [f"may not be '{name}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in name]


def _owner_faults(meta: Tree) -> Iterator[Fault]:
    first = ""
    references = list(entries(meta.get("ownerReferences")))
    path = "metadata.ownerReferences"
    for reference in references:
        if not text(reference.get("apiVersion")).rpartition("/")[2]:
            yield wrong(f"{path}.apiVersion", text(reference.get("apiVersion")), "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not reference.get(field):
                yield wrong(f"{path}.{field}", text(reference.get(field)), "must not be empty")
        if (reference.get("apiVersion"), reference.get("kind")) == ("v1", "Event"):
            yield wrong(path, reference, "/v1, Kind=Event is disallowed from being an owner")
        if reference.get("controller") is True:
            this = f"{reference.get('kind')}/{reference.get('name')}"
            if first:
                yield wrong(
                    path,
                    references,
                    f'Only one reference can have Controller set to true. Found "true" in references for {first} and {this}',
                )
            else:
                first = this


_CHECKED = ("labels", "annotations", "ownerReferences", "finalizers", "generateName", "name")


def metadata_changed(meta: Tree, live: Tree) -> bool:
    """Tell whether anything changed that `check_metadata` looks at."""
    return any(meta.get(field) != live.get(field) for field in _CHECKED)


def check_metadata_update(meta: Tree, live: Tree) -> list[Fault]:
    """Return which changes of metadata may not be."""
    faults = list[Fault]()
    if live.get("deletionTimestamp"):
        before = set(map(text, sequence(live.get("finalizers"))))
        added = [name for name in map(text, sequence(meta.get("finalizers"))) if name not in before]
        if added:
            listed = ", ".join(f'"{name}"' for name in sorted(added))
            faults.append(
                prohibited(
                    "metadata.finalizers",
                    f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}",
                )
            )
    for field in ("name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if not same(meta.get(field), live.get(field)):
            faults.append(wrong(f"metadata.{field}", meta.get(field), "field is immutable"))
    return faults


def name_of(obj: Tree) -> str:
    """Return `metadata.name`."""
    return text(look(obj, "metadata", "name"))
