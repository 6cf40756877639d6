import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubekit.client.codec import LineSplitter, decode_any, decode_event, decode_object, decode_page
from kubekit.client.errors import DecodeError, Gone, ServerError
from kubekit.words.meta import Model, ObjectMeta, PartialObject


class Spec(Model, frozen=True):
    size: int = 0


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: Spec | None = None


def thing(name: str, **extra):
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": "7"}, **extra}


def page(*items, **meta):
    return json.dumps({"kind": "List", "metadata": {"resourceVersion": "9", **meta}, "items": items}).encode()


def event(type_, obj):
    return json.dumps({"type": type_, "object": obj}).encode()


def test_a_page_gives_its_objects_its_version_and_where_it_goes_on():
    found = decode_page(page(thing("a", spec={"size": 1}), thing("b"), **{"continue": "next"}), Thing)
    assert [each.metadata.name for each in found.items] == ["a", "b"]
    assert found.items[0].spec == Spec(size=1)
    assert (found.resource_version, found.token, found.poisoned) == ("9", "next", 0)


@pytest.mark.parametrize(
    "body",
    [
        b'{"metadata":{"resourceVersion":"9"},"items":null}',
        b'{"metadata":{"resourceVersion":"9"}}',
        b'{"metadata":{"resourceVersion":"9","continue":null},"items":[]}',
    ],
)
def test_an_empty_list_may_be_written_in_every_way(body):
    found = decode_page(body, Thing)
    assert (found.items, found.resource_version, found.token) == ((), "9", "")


def test_one_poison_object_is_set_apart_with_its_metadata_and_spoils_no_neighbour():
    found = decode_page(page(thing("a"), thing("b", spec={"size": "large"}), thing("c")), Thing)
    assert [each.metadata.name for each in found.items] == ["a", "c"]
    assert found.poisoned == 1
    assert found.poison[0].metadata.name == "b"
    assert found.poison[0].metadata.resource_version == "7"
    assert "$.spec.size" in found.poison[0].problem
    assert "large" not in found.poison[0].problem


def test_a_poison_object_whose_labels_are_broken_too_keeps_its_name():
    broken = thing("b", spec={"size": "large"})
    broken["metadata"]["labels"] = {"a": 5}
    found = decode_page(page(broken), Thing)
    assert (found.poison[0].metadata.namespace, found.poison[0].metadata.name) == ("ns", "b")


@pytest.mark.parametrize("garbage", [5, "text", None, [], {"metadata": 5}, {"metadata": {"name": 5}}])
def test_an_item_that_is_no_object_at_all_is_poison_without_a_name(garbage):
    found = decode_page(page(thing("a"), garbage), Thing)
    assert [each.metadata.name for each in found.items] == ["a"]
    assert found.poison[0].metadata.name == ""


def test_nulls_are_read_as_absent():
    meta = dict.fromkeys(["labels", "annotations", "ownerReferences", "finalizers", "deletionTimestamp", "generation"])
    found = decode_page(page({"metadata": {"name": "a", **meta}, "spec": None}), Thing)
    assert found.poisoned == 0
    assert found.items[0] == Thing(metadata=ObjectMeta(name="a"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"items": 5, "metadata": {}}', b"\xff\xfe"])
def test_what_is_no_list_raises(body):
    with pytest.raises(DecodeError):
        decode_page(body, Thing)


def test_an_object_that_does_not_fit_raises_and_quotes_nothing():
    with pytest.raises(DecodeError, match=r"Thing.*\$\.spec\.size") as caught:
        decode_object(b'{"spec": {"size": "hunter2"}}', Thing)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("type_", ["ADDED", "MODIFIED", "DELETED"])
def test_an_event_carries_its_object_and_version(type_):
    found = decode_event(event(type_, thing("a")), Thing)
    assert found.type == type_
    assert found.object is not None
    assert (found.object.metadata.name, found.resource_version) == ("a", "7")


def test_a_bookmark_carries_only_a_version():
    found = decode_event(event("BOOKMARK", {"kind": "Thing", "metadata": {"resourceVersion": "12"}, "spec": 5}), Thing)
    assert (found.type, found.object, found.resource_version, found.poison) == ("BOOKMARK", None, "12", None)


@pytest.mark.parametrize(("code", "kind"), [(410, Gone), (500, ServerError), (None, ServerError)])
def test_an_error_event_carries_the_error_of_its_status(code, kind):
    found = decode_event(event("ERROR", {"kind": "Status", "code": code, "reason": "Expired", "message": "old"}), Thing)
    assert isinstance(found.error, kind)
    assert found.error.message == "old"


def test_an_error_event_without_a_status_is_an_error_all_the_same():
    assert isinstance(decode_event(event("ERROR", 5), Thing).error, ServerError)


def test_a_poison_event_keeps_its_version_so_that_the_watch_can_go_on():
    found = decode_event(event("MODIFIED", thing("a", spec=5)), Thing)
    assert found.object is None
    assert found.poison is not None
    assert (found.poison.metadata.name, found.resource_version) == ("a", "7")


@pytest.mark.parametrize("line", [b"", b"{", b"{}", b'{"type": "ADDED"}', b'{"type": 5, "object": {}}', b"null"])
def test_a_line_that_is_no_event_raises(line):
    with pytest.raises(DecodeError):
        decode_event(line, Thing)


def test_partial_objects_keep_the_kind():
    found = decode_page(page({**thing("a"), "apiVersion": "v1", "kind": "PartialObjectMetadata"}), PartialObject)
    assert found.items[0].kind == "PartialObjectMetadata"


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b" "))), st.data())
def test_lines_come_out_whole_however_the_chunks_fall(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == [line for line in lines if line.strip()]


def test_an_unfinished_line_is_not_given_out():
    splitter = LineSplitter()
    assert list(splitter.feed(b"one\ntw")) == [b"one"]
    assert list(splitter.feed(b"")) == []
    assert list(splitter.feed(b"o\n")) == [b"two"]


def test_a_line_of_many_megabytes_in_small_chunks_is_not_quadratic():
    splitter = LineSplitter()
    for _ in range(20_000):
        assert splitter.feed(b"x" * 512) == ()
    (line,) = splitter.feed(b"\n")
    assert len(line) == 20_000 * 512


@pytest.mark.parametrize(
    "body",
    [b'{"metadata":{"name":"\xff"}}', b'{"x":' + b"[" * 100_000, b'{"a":' + b"9" * 5_000 + b"}", b'{"a":"\\ud800"}'],
)
def test_whatever_is_answered_is_an_object_or_an_error_of_ours(body):
    for decode in (
        decode_any,
        lambda raw: decode_object(raw, PartialObject),
        lambda raw: decode_page(raw, PartialObject),
    ):
        try:
            decode(body)
        except DecodeError:
            continue
