"""Comparing the CustomResourceDefinition that a cluster has with the one that this version needs.

An API server silently drops fields that its schema does not know. With an older definition the operator would write the same status again and
again, and it would never be stored (law L9). Fields that only the cluster's definition has do no harm.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from kubekit.words.meta import Manifest

_OPEN: Final = "x-kubernetes-preserve-unknown-fields"
_SHOWN: Final = 10

INSTALL: Final = "datamover crds | kubectl apply --server-side -f -"
"""The command that installs the definitions or brings them up to date."""


def describe_absence(wanted: Manifest) -> str:
    """Return the sentence for a cluster that has no such definition."""
    return f"the cluster has no CustomResourceDefinition {wanted['metadata']['name']}: install it with {INSTALL}"


def find_gap(installed: Manifest, wanted: Manifest) -> str | None:
    """Return what the installed definition lacks, as a sentence that says what to do; None when it has all that `wanted` has."""
    name = wanted["metadata"]["name"]
    if _dig(installed, "metadata").get("deletionTimestamp"):
        return f"CustomResourceDefinition {name} is being deleted, with every object of its kind: install it anew when it is gone, with {INSTALL}"
    gaps = [gap for version in wanted["spec"]["versions"] for gap in _version_gaps(installed, version)]
    gaps.sort(key=lambda gap: not gap.startswith("status"))  # a status that is dropped is what stops everything
    if gaps:
        more = f" and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
        return (
            f"CustomResourceDefinition {name} is an older one or another operator's, it has no {', '.join(gaps[:_SHOWN])}{more}; "
            f"the cluster would drop what is written there: update it with {INSTALL} (--force-conflicts when another tool installed it)"
        )
    for condition in cast("list[Mapping[str, Any]]", _dig(installed, "status").get("conditions") or []):
        if condition.get("type") in ("Established", "NamesAccepted") and condition.get("status") == "False":
            why = condition.get("message") or condition.get("reason") or "no reason given"
            return f"CustomResourceDefinition {name} is not served ({condition['type']} is False): {why}. See kubectl describe crd {name}"
    return None


def _version_gaps(installed: Manifest, wanted: Mapping[str, Any]) -> Iterator[str]:
    versions = cast("list[Mapping[str, Any]]", _dig(installed, "spec").get("versions") or [])
    found = next((version for version in versions if version.get("name") == wanted["name"]), None)
    if found is None or not found.get("served"):
        yield f"version {wanted['name']} that is served"
        return
    if "status" in _dig(wanted, "subresources") and "status" not in _dig(found, "subresources"):
        yield "status subresource"
    yield from _schema_gaps(_dig(found, "schema", "openAPIV3Schema"), wanted["schema"]["openAPIV3Schema"], "")


def _schema_gaps(installed: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> Iterator[str]:
    """Yield the fields that are missing or of another type; fields below a missing one are not reported as well."""
    if installed.get(_OPEN) and "properties" not in installed:
        return
    if _type(installed) != _type(wanted):
        yield f"{path} of type {_type(wanted)}"
        return
    have = _dig(installed, "properties")
    for name, schema in _dig(wanted, "properties").items():
        below = f"{path}.{name}" if path else name
        if name in have:
            yield from _schema_gaps(have[name], schema, below)
        elif not installed.get(_OPEN):
            yield below
    if "items" in wanted:
        yield from _schema_gaps(_dig(installed, "items"), wanted["items"], f"{path}[]")


def _type(schema: Mapping[str, Any]) -> str:
    return "integer or string" if schema.get("x-kubernetes-int-or-string") else str(schema.get("type", "object"))


def _dig(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the mapping at this path, or an empty one when it is missing or no mapping: the definition may be anybody's."""
    for key in keys:
        found = value.get(key)
        value = cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
    return value
