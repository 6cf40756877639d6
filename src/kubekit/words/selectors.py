"""Label selectors, and the requirements of which they and selectors of nodes are made. Pure."""

from collections.abc import Mapping
from typing import Any

from kubekit.words.meta import Model


class Selector(Model, frozen=True):
    """A label selector. Requirements stay plain JSON: `key`, `operator`, `values`."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[dict[str, Any], ...] | None = None


def selects(selector: Selector | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector holds; no selector holds always."""
    if selector is None:
        return True
    equal = all(labels.get(key) == value for key, value in (selector.match_labels or {}).items())
    return equal and all(requirement_holds(each, labels) for each in selector.match_expressions or ())


def requirement_holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether one `key operator values` holds. An unknown operator holds never."""
    value = labels.get(requirement.get("key", ""))
    values: list[str] = requirement.get("values") or []
    match requirement.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compares(value, values, greater=operator == "Gt")
        case _:
            return False


def _compares(value: str | None, values: list[str], *, greater: bool) -> bool:
    try:
        left, right = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return left > right if greater else left < right
