import pytest

from localkube.store.schemas.custom import read_part
from localkube.store.schemas.validation import validate


def faults(schema, value, **options):
    wrapped = {"type": "object", "properties": {"f": schema}}
    return [
        (fault.reason.removeprefix("FieldValue"), fault.field)
        for fault in validate({"f": value}, read_part(wrapped), **options)
    ]


@pytest.mark.parametrize(
    ("schema", "good"),
    [
        ({"type": "string", "pattern": "^a+$"}, "aa"),
        ({"type": "string", "maxLength": 2, "minLength": 1}, "äö"),
        ({"type": "integer", "minimum": 1, "maximum": 3}, 3),
        ({"type": "integer"}, 3.0),
        ({"type": "number"}, 3),
        ({"type": "boolean"}, False),
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a"]),
        ({"x-kubernetes-int-or-string": True}, "80%"),
        ({"x-kubernetes-int-or-string": True}, 80),
        ({"type": "string", "nullable": True}, None),
        ({"type": "string", "format": "date-time"}, "2024-08-06T14:30:00.5+02:00"),
        ({"type": "string", "format": "date"}, "2024-08-06"),
        ({"type": "string", "format": "duration"}, "1h30m"),
        ({"type": "string", "format": "uuid"}, "5dac4e1b-9d4f-4b0e-8f3f-6a2f0c0a1b2c"),
        ({"type": "string", "format": "ipv4"}, "10.0.0.1"),
        ({"type": "string", "format": "ipv6"}, "::1"),
        ({"type": "string", "format": "cidr"}, "10.0.0.0/8"),
        ({"type": "string", "format": "hostname"}, "a.b"),
        ({"type": "string", "format": "byte"}, "aGk="),
        ({"type": "string", "format": "made-up"}, "anything"),
        ({"type": "integer", "multipleOf": 5}, 15),
        (
            {
                "type": "object",
                "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
                "properties": {"b": {"type": "string"}},
            },
            {"b": "x"},
        ),
    ],
)
def test_good_values_pass(schema, good):
    assert faults(schema, good) == []


@pytest.mark.parametrize(
    ("schema", "bad", "reason"),
    [
        ({"type": "string"}, 5, "TypeInvalid"),
        ({"type": "string"}, None, "TypeInvalid"),
        ({"type": "integer"}, "5", "TypeInvalid"),
        ({"type": "integer"}, True, "TypeInvalid"),
        ({"type": "integer"}, 1.5, "TypeInvalid"),
        ({"type": "number"}, "1", "TypeInvalid"),
        ({"type": "boolean"}, 1, "TypeInvalid"),
        ({"type": "array", "items": {}}, {}, "TypeInvalid"),
        ({"type": "object"}, [], "TypeInvalid"),
        ({"x-kubernetes-int-or-string": True}, 1.5, "TypeInvalid"),
        ({"x-kubernetes-int-or-string": True}, True, "TypeInvalid"),
        ({"type": "string", "enum": ["a"]}, "b", "NotSupported"),
        ({"type": "string", "pattern": "^a+$"}, "b", "Invalid"),
        (
            {"type": "string", "pattern": "^(a+)+$"},
            "a" * 5000 + "!",
            "Invalid",
        ),  # for ever, by an engine that tries every way
        ({"type": "string", "pattern": "^a+$"}, "aa\n", "Invalid"),
        ({"type": "string", "maxLength": 2}, "abc", "TooLong"),
        ({"type": "string", "minLength": 1}, "", "Invalid"),
        ({"type": "integer", "maximum": 3}, 4, "Invalid"),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 3, "Invalid"),
        ({"type": "integer", "format": "int32"}, 2**31, "Invalid"),
        ({"type": "integer", "multipleOf": 5}, 7, "Invalid"),
        ({"type": "array", "maxItems": 1, "items": {"type": "integer"}}, [1, 2], "TooMany"),
        ({"type": "array", "minItems": 1, "items": {"type": "integer"}}, [], "Invalid"),
        ({"type": "array", "uniqueItems": True, "items": {"type": "integer"}}, [1, 1], "Invalid"),
        (
            {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
            {"a": "", "b": ""},
            "TooMany",
        ),
        ({"type": "object", "minProperties": 1}, {}, "Invalid"),
        ({"type": "string", "format": "date-time"}, "yesterday", "Invalid"),
        ({"type": "string", "format": "uuid"}, "5", "Invalid"),
        ({"type": "string", "format": "ipv4"}, "::1", "Invalid"),
        ({"type": "string", "format": "byte"}, "!", "Invalid"),
        ({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, "Invalid"),
        (
            {"type": "object", "not": {"required": ["a"]}, "properties": {"a": {"type": "string"}}},
            {"a": "x"},
            "Invalid",
        ),
    ],
)
def test_bad_values_are_told_once_with_reason_and_field(schema, bad, reason):
    assert faults(schema, bad) == [(reason, "f")]


def test_fields_are_named_by_their_path():
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"list": {"type": "array", "items": {"type": "object", "required": ["b"]}}},
        "additionalProperties": {"type": "string"},
    }

    assert faults(schema, {"list": [{}], "extra": 5}) == [
        ("Required", "f.a"),
        ("Required", "f.list[0].b"),
        ("TypeInvalid", "f.extra"),
    ]


def test_items_that_come_twice_are_duplicates():
    keyed = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}}},
    }
    unique = {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}

    assert faults(keyed, [{"k": "a"}, {"k": "b"}, {"k": "a"}]) == [("Duplicate", "f[2]")]
    assert faults(unique, ["a", "a"]) == [("Duplicate", "f[1]")]


def test_what_was_wrong_before_and_did_not_change_is_not_judged_again():
    schema = {
        "type": "object",
        "properties": {"f": {"type": "integer", "maximum": 1}, "g": {"type": "integer", "maximum": 1}},
    }

    found = validate({"f": 5, "g": 6}, read_part(schema), old={"f": 5, "g": 5})

    assert [fault.field for fault in found] == ["g"]


def test_rules_in_cel_are_not_checked_and_that_is_said_when_it_matters():
    schema = {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "false", "message": "never"}],
        "properties": {"f": {"type": "string"}},
    }

    assert validate({"f": "x"}, read_part(schema)) == []
    wrong = validate({"f": 5}, read_part(schema))
    assert [fault.field for fault in wrong] == ["f", "<nil>"]
    assert "some validation rules were not checked" in wrong[1].message
