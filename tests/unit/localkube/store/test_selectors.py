"""Selectors: what the conformance suite does not hold against the real server."""

import pytest

from localkube.store.selectors import Selector, parse_labels, parse_selector
from localkube.store.storage import Record


def record(labels=None, fields=None, name="n", namespace="ns"):
    return Record(namespace=namespace, name=name, uid="u", revision=1, data=b"{}", labels=labels, fields=fields)


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("a>3", {"a": "4"}, True),
        ("a<3", {"a": "4"}, False),
        ("a<3", {"a": "x"}, False),
    ],
)
def test_labels_can_be_compared_as_numbers(text, labels, selected):
    assert Selector(parse_labels(text)).matches(record(labels)) is selected


def test_a_selector_knows_the_one_name_that_it_selects():
    assert parse_selector("", "metadata.name=x", known=()).name == "x"
    assert parse_selector("", "metadata.name!=x", known=()).name is None
    assert not parse_selector("", "", known=())
