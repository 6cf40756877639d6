import pytest

from localkube.store.schemas.builtin import definition
from localkube.store.schemas.custom import read_schema
from localkube.store.schemas.shaping import UndecodableError, shape_builtin, shape_custom

SCHEMA = read_schema(
    {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer", "default": 3},
                    "note": {"type": "string", "nullable": True},
                    "label": {"type": "string"},
                    "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                    "closed": {"type": "object"},
                    "map": {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object",
                            "properties": {"x": {"type": "integer", "default": 1}},
                        },
                    },
                    "list": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"y": {"type": "string", "default": "d"}}},
                    },
                    "nested": {
                        "type": "object",
                        "default": {},
                        "properties": {"deep": {"type": "integer", "default": 7}},
                    },
                    "embedded": {
                        "type": "object",
                        "x-kubernetes-embedded-resource": True,
                        "x-kubernetes-preserve-unknown-fields": True,
                    },
                },
            },
            "status": {"type": "object", "properties": {"phase": {"type": "string", "default": "New"}}},
        },
    }
)
DEFAULTS = {"size": 3, "nested": {"deep": 7}}


def shaped(spec):
    obj = {"metadata": {"name": "x"}, "spec": spec}
    unknown = shape_custom(obj, SCHEMA)
    return obj["spec"], unknown


@pytest.mark.parametrize(
    ("spec", "kept", "unknown"),
    [
        ({}, {}, []),
        ({"size": 5, "nested": {}}, {"size": 5}, []),
        ({"bogus": 1}, {}, ["spec.bogus"]),
        ({"list": [{"y": "1", "z": 2}, {}]}, {"list": [{"y": "1"}, {"y": "d"}]}, ["spec.list[0].z"]),
        ({"map": {"a": {"q": 1}, "b": {}}}, {"map": {"a": {"x": 1}, "b": {"x": 1}}}, ["spec.map.a.q"]),
        ({"open": {"any": {"thing": None}}}, {"open": {"any": {"thing": None}}}, []),
        ({"closed": {"any": 1}}, {"closed": {}}, ["spec.closed.any"]),
        ({"note": None, "label": None, "size": None}, {"note": None}, []),
        ({"nested": None}, {}, []),
        ({"embedded": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "n"}, "spec": 1}},) * 2 + ([],),
    ],
)
def test_a_custom_resource_loses_the_unknown_and_gets_its_defaults(spec, kept, unknown):
    assert shaped(spec) == ({**DEFAULTS, **kept}, unknown)


def test_defaults_of_an_absent_object_are_not_made_up():
    obj = {"metadata": {}, "spec": {}}
    shape_custom(obj, SCHEMA)

    assert "status" not in obj


def test_defaults_are_copies():
    one, two = shaped({})[0], shaped({})[0]
    one["nested"]["deep"] = 99

    assert two["nested"] == {"deep": 7}


def test_a_builtin_object_loses_nulls_and_the_unknown():
    obj = {
        "metadata": {"name": "x", "creationTimestamp": None},
        "spec": {"containers": [{"name": "c", "image": "i", "bogus": 1, "env": None}], "nope": {}},
    }

    unknown = shape_builtin(obj, definition("api.core.v1.Pod"))

    assert unknown == ["spec.containers[0].bogus", "spec.nope"]
    assert obj == {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def test_a_null_in_a_map_of_texts_is_the_empty_text():
    obj = {"metadata": {}, "data": {"k": None}}
    shape_builtin(obj, definition("api.core.v1.ConfigMap"))

    assert obj["data"] == {"k": ""}


def test_quantities_are_respelled_and_numbers_taken_for_them():
    obj = {"spec": {"resources": {"requests": {"storage": "1024Mi", "x.io/y": 2}}}}
    shape_builtin(obj, definition("api.core.v1.PersistentVolumeClaim"))

    assert obj["spec"]["resources"]["requests"] == {"storage": "1Gi", "x.io/y": "2"}


@pytest.mark.parametrize(
    ("kind", "obj", "complaint"),
    [
        ("core.v1.ConfigMap", {"data": {"a": 5}}, "number into Go struct field ConfigMap.data of type string"),
        (
            "core.v1.Pod",
            {"spec": {"containers": [{"image": 5}]}},
            "number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            "core.v1.Pod",
            {"spec": {"containers": {}}},
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "core.v1.Pod",
            {"spec": {"hostNetwork": "yes"}},
            "string into Go struct field PodSpec.spec.hostNetwork of type bool",
        ),
        (
            "batch.v1.Job",
            {"spec": {"backoffLimit": "2"}},
            "string into Go struct field JobSpec.spec.backoffLimit of type int32",
        ),
        (
            "core.v1.PersistentVolumeClaim",
            {"spec": {"resources": {"requests": {"storage": "lots"}}}},
            "quantities must match",
        ),
        ("core.v1.PersistentVolumeClaim", {"spec": {"resources": {"requests": {"storage": True}}}}, "bool into"),
    ],
)
def test_a_value_that_go_could_not_hold_is_refused_in_its_words(kind, obj, complaint):
    with pytest.raises(UndecodableError, match=complaint.replace("[", r"\[").replace("]", r"\]")):
        shape_builtin(obj, definition(f"api.{kind}"))
