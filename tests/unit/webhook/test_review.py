"""What the API server asks, and what it is answered."""

import base64

import msgspec
import pytest

from datamover.api.outside import Unusable
from datamover.webhook.review import LIMIT, NewVolume, read_question, read_volume, write_answer
from support.admission import asked, patched

ODD = [
    b"",
    b"<html>",
    b"null",
    b"[]",
    b"{}",
    b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}',
    b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": null}',
    b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": ""}}',
    b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": 7}}',
    msgspec.json.encode({**asked({}), "apiVersion": "admission.k8s.io/v1beta1"}),
    msgspec.json.encode(asked({}, uid="u" * 200)),
    b"[" * 100_000,
    b'{"a": "\xff"}',
    b" " * (LIMIT + 1),
]


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
def test_what_is_no_question_is_refused_by_one_error(body):
    with pytest.raises(Unusable):
        read_question(body)


def test_a_question_is_read_with_its_user_and_its_object():
    volume = {"metadata": {"name": "disk", "annotations": {"a": "b"}}, "spec": {"source": {"pvc": {"name": "x", "namespace": "y"}}}}  # fmt: skip
    question = read_question(msgspec.json.encode(asked(volume, user={"username": "ann", "groups": ["g"], "extra": {"k": ["v"]}})))  # fmt: skip
    assert (question.namespace, question.operation, question.user_info.username) == ("shop", "CREATE", "ann")
    read = read_volume(question)
    assert read.metadata.annotations == {"a": "b"}
    assert read.spec is not None
    assert read.spec.source is not None
    assert read.spec.source.pvc is not None


@pytest.mark.parametrize(
    "volume",
    [None, [], "text", {"metadata": []}, {"metadata": {"annotations": {"a": 1}}}, {"spec": {"source": "x"}}],
)
def test_an_object_that_is_odd_is_refused_apart_from_its_question(volume):
    question = read_question(msgspec.json.encode(asked(volume)))
    with pytest.raises(Unusable):
        read_volume(question)


@pytest.mark.parametrize(
    ("there", "changes", "after"),
    [
        (None, {"x.io/a~b": "1"}, {"x.io/a~b": "1"}),
        ({}, {"x.io/a": "1"}, {"x.io/a": "1"}),
        ({"old": "2"}, {"x.io/a~b": "1"}, {"old": "2", "x.io/a~b": "1"}),
        ({"x.io/a": "old"}, {"x.io/a": "1"}, {"x.io/a": "1"}),
        ({"x.io/a": "old", "b": "2"}, {"x.io/a": None}, {"b": "2"}),
        ({"b": "2"}, {"x.io/a": None}, {"b": "2"}),
        (None, {"x.io/a": None}, None),
        ({"b": "2"}, {}, {"b": "2"}),
    ],
)
def test_the_patch_makes_the_annotations_what_is_wanted(there, changes, after):
    question = read_question(msgspec.json.encode(asked({})))
    volume = msgspec.convert({"metadata": {"annotations": there}}, NewVolume)
    answer = write_answer(question, volume=volume, changes=changes)
    assert patched({"metadata": {"annotations": there}}, answer)["metadata"]["annotations"] == after


def test_the_answer_bears_the_number_of_its_question_and_allows():
    answer = msgspec.json.decode(write_answer(read_question(msgspec.json.encode(asked({}, uid="u-7"))), changes={}))
    assert answer == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u-7", "allowed": True},
    }


def test_the_patch_is_one_of_json():
    answer = msgspec.json.decode(write_answer(read_question(msgspec.json.encode(asked({}))), changes={"a": "1"}))
    assert answer["response"]["patchType"] == "JSONPatch"
    assert msgspec.json.decode(base64.b64decode(answer["response"]["patch"])) == [
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "1"}}
    ]
