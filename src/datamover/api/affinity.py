"""The field names of a Pod's affinity. The API server silently drops a misspelt one, and the mover would run on any node. Pure.

Source: core/v1 Affinity, up to Kubernetes 1.34.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

_Words = Mapping[str, Any]
"""Each key with the keys allowed below it; None where anything is allowed."""

_REQUIREMENTS: Final[_Words] = {"key": None, "operator": None, "values": None}
_NODE_TERM: Final[_Words] = {"matchExpressions": _REQUIREMENTS, "matchFields": _REQUIREMENTS}
_SELECTOR: Final[_Words] = {"matchLabels": None, "matchExpressions": _REQUIREMENTS}
_POD_TERM: Final[_Words] = {
    "labelSelector": _SELECTOR,
    "namespaceSelector": _SELECTOR,
    "namespaces": None,
    "topologyKey": None,
    "matchLabelKeys": None,
    "mismatchLabelKeys": None,
}
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_PODS: Final[_Words] = {_REQUIRED: _POD_TERM, _PREFERRED: {"weight": None, "podAffinityTerm": _POD_TERM}}
_AFFINITY: Final[_Words] = {
    "nodeAffinity": {
        _REQUIRED: {"nodeSelectorTerms": _NODE_TERM},
        _PREFERRED: {"weight": None, "preference": _NODE_TERM},
    },
    "podAffinity": _PODS,
    "podAntiAffinity": _PODS,
}


def find_unknown(affinity: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """Return the path of the first key that Kubernetes does not know, and the keys it knows there; None when all keys are known."""
    return _find(affinity, _AFFINITY, "")


def _find(given: object, words: _Words, path: str) -> tuple[str, tuple[str, ...]] | None:
    if isinstance(given, list | tuple):
        for number, each in enumerate(cast("list[object]", given)):
            # a list within a list is Kubernetes' own to refuse; it may be a thousand deep
            if isinstance(each, Mapping) and (found := _find(cast("object", each), words, f"{path}[{number}]")):
                return found
    elif isinstance(given, Mapping):
        for key, value in cast("Mapping[str, object]", given).items():
            place = f"{path}.{key}" if path else str(key)
            if key not in words:
                return place, tuple(words)
            below = words[key]
            if below is not None and (found := _find(value, below, place)):
                return found
    return None
