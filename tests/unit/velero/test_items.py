import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.velero.actions import ActionError
from datamover.velero.items import Item, annotated, fits, read, reader

decoder = reader(Item)

json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "the item cannot be read: it is empty"),
        (b"{", "the item cannot be read: it is no JSON, or only a part of it"),
        (b"\xff\xfe", "the item cannot be read: it is no JSON, or only a part of it"),
        (b"[" * 100_000, "the item cannot be read: it has more than 64 brackets within each other"),
        (b'{"a":"' + b"x" * (16 << 20) + b'"}', "the item cannot be read: it is longer than 16777216 bytes"),
        (b"7", "the item cannot be read: it does not fit: Expected `object`, got `int`"),
    ],
)
def test_what_is_no_object_is_told_in_one_sentence(raw: bytes, sentence: str):
    for attempt in (read, fits):
        with pytest.raises(ActionError) as caught:
            attempt(decoder, raw, "item")
        assert str(caught.value).startswith(sentence)


def test_an_object_that_fits_no_struct_is_told_from_what_is_no_object():
    assert fits(decoder, b'{"metadata": 3}', "item") is None
    found = fits(decoder, b'{"kind": "Pod", "metadata": {"name": "a", "labels": null}}', "item")
    assert found is not None
    assert (found.kind, found.metadata.name, found.metadata.labels) == ("Pod", "a", None)


@given(
    st.dictionaries(st.text(max_size=10).filter(lambda key: key != "metadata"), json_values, max_size=4), json_values
)
def test_one_more_annotation_and_nothing_else_changes(rest: dict[str, Any], other: Any):
    item = {**rest, "metadata": {"name": "a", "other": other, "annotations": {"b": "c"}}}
    after = json.loads(annotated(json.dumps(item).encode(), "key", "value"))
    assert after["metadata"]["annotations"] == {"b": "c", "key": "value"}
    after["metadata"]["annotations"].pop("key")
    assert after == item


def test_large_numbers_go_through_as_they_were_written():
    raw = b'{"n":123456789012345678901234567890,"f":1.0,"e":1e400,"metadata":null}'
    assert annotated(raw, "k", "v") == (
        b'{"n":123456789012345678901234567890,"f":1.0,"e":1e400,"metadata":{"annotations":{"k":"v"}}}'
    )


@pytest.mark.parametrize("raw", [b"[]", b'{"metadata":[]}', b'{"metadata":{"annotations":"x"}}', b"null"])
def test_what_cannot_carry_an_annotation_is_told(raw: bytes):
    with pytest.raises(ActionError, match="cannot be read"):
        annotated(raw, "k", "v")
