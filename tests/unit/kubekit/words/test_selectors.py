from typing import Any

import msgspec
import pytest

from kubekit.words.selectors import Selector, requirement_holds, selects

LABELS = {"disk": "ssd", "size": "5"}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (expression("disk", "In", "ssd"), True),
        (expression("none", "NotIn", "x"), True),
        (expression("disk", "Exists"), True),
        (expression("none", "DoesNotExist"), True),
        (expression("size", "Gt", "4"), True),
        (expression("size", "Lt", "4"), False),
        (expression("disk", "Gt", "4"), False),
        (expression("disk", "Like", "s*"), False),
        ({"key": "disk", "operator": "In", "values": None}, False),
    ],
)
def test_requirements_are_evaluated(requirement: dict[str, Any], holds: bool) -> None:
    assert requirement_holds(requirement, LABELS) is holds


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        (None, True),
        ({}, True),
        ({"matchLabels": {"disk": "ssd"}}, True),
        ({"matchLabels": {"disk": "ssd", "size": "6"}}, False),
        ({"matchExpressions": [expression("disk", "Exists"), expression("size", "NotIn", "6")]}, True),
        ({"matchLabels": {"disk": "ssd"}, "matchExpressions": [expression("size", "DoesNotExist")]}, False),
    ],
)
def test_a_selector_holds_when_all_of_it_does(selector: Any, holds: bool) -> None:
    assert selects(None if selector is None else msgspec.convert(selector, Selector), LABELS) is holds
