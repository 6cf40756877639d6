"""What a resource definition's schema does to objects: defaults, pruning, refusal with the field's path, rules."""

from typing import Any

import pytest

from support.manifests import meta
from support.widgets import API_VERSION, GROUP, WIDGET_DEFINITION, widget
from support.worlds import World


async def test_defaults_are_filled_in_and_stored(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    assert created["spec"] == {"size": 1, "color": "red", "paused": False, "nested": {"depth": 3}}
    assert (await world.read("widgets", "a"))["spec"] == created["spec"]


async def test_defaults_inside_a_given_object_are_filled_in(world: World) -> None:
    created = await world.create("widgets", widget("a", nested={"name": "x"}))

    assert created["spec"]["nested"] == {"name": "x", "depth": 3}


async def test_given_values_win_over_defaults(world: World) -> None:
    created = await world.create("widgets", widget("a", color="blue", paused=True, nested={"depth": 0}))

    assert created["spec"] == {"size": 1, "color": "blue", "paused": True, "nested": {"depth": 0}}


async def test_unknown_fields_are_pruned_at_every_depth(world: World) -> None:
    wanted = widget("a", bogus={"x": 1}, nested={"depth": 1, "bogus": 2}, env=[{"name": "A", "bogus": 3}])

    created = await world.create("widgets", wanted | {"bogus": 4})

    assert "bogus" not in str(created)
    assert created["spec"]["env"] == [{"name": "A"}]


async def test_unknown_fields_are_kept_where_the_schema_says_so(world: World) -> None:
    anything = {"deep": {"list": [1, "two", {"three": None}], "flag": True, "ratio": 1.5}}

    created = await world.create("widgets", widget("a", anything=anything))

    assert created["spec"]["anything"] == anything


@pytest.mark.parametrize(
    ("spec", "reason", "field"),
    [
        ({"size": "one"}, "FieldValueTypeInvalid", "spec.size"),
        ({"size": 1.5}, "FieldValueTypeInvalid", "spec.size"),
        ({"size": True}, "FieldValueTypeInvalid", "spec.size"),
        ({"size": [1]}, "FieldValueTypeInvalid", "spec.size"),
        ({"size": 0}, "FieldValueInvalid", "spec.size"),
        ({"size": 101}, "FieldValueInvalid", "spec.size"),
        ({"color": "pink"}, "FieldValueNotSupported", "spec.color"),
        ({"color": 3}, "FieldValueTypeInvalid", "spec.color"),
        ({"label": "UPPER"}, "FieldValueInvalid", "spec.label"),
        ({"label": "abcdefghijk"}, "FieldValueTooLong", "spec.label"),
        ({"paused": "yes"}, "FieldValueTypeInvalid", "spec.paused"),
        ({"port": True}, "FieldValueTypeInvalid", "spec.port"),
        ({"options": {"k": 1}}, "FieldValueTypeInvalid", "spec.options.k"),
        ({"options": []}, "FieldValueTypeInvalid", "spec.options"),
        ({"nested": "x"}, "FieldValueTypeInvalid", "spec.nested"),
        ({"nested": {"depth": "x"}}, "FieldValueTypeInvalid", "spec.nested.depth"),
        ({"env": {"name": "A"}}, "FieldValueTypeInvalid", "spec.env"),
        ({"env": [{"value": "1"}]}, "FieldValueRequired", "spec.env[0].name"),
        ({"env": [{"name": "A"}, {"name": 5}]}, "FieldValueTypeInvalid", "spec.env[1].name"),
        ({"tags": ["x", "x"]}, "FieldValueDuplicate", "spec.tags[1]"),
        ({"steps": list("abcdef")}, "FieldValueTooMany", "spec.steps"),
        ({"steps": [1]}, "FieldValueTypeInvalid", "spec.steps[0]"),
    ],
)
async def test_a_value_that_the_schema_refuses_is_invalid_with_its_path(
    world: World, spec: dict[str, Any], reason: str, field: str
) -> None:
    answer = (await world.post("widgets", widget("a", **spec))).expect(422, "Invalid")

    assert (reason, field) in answer.causes, answer.body
    assert answer.details["kind"] == "Widget"
    assert answer.details["group"] == GROUP
    assert answer.message.startswith('Widget.testing.datamover.example "a" is invalid:')


async def test_every_wrong_field_is_told_at_once(world: World) -> None:
    wanted = widget("a", size=0, color="pink", label="UPPER")

    answer = (await world.post("widgets", wanted)).expect(422, "Invalid")

    assert {"spec.size", "spec.color", "spec.label"} <= {field for _, field in answer.causes}


@pytest.mark.parametrize(("missing", "field"), [("size", "spec.size"), (None, "spec")])
async def test_a_missing_required_field_is_invalid_with_its_path(world: World, missing: str | None, field: str) -> None:
    manifest = widget("a", color="red")
    if missing:
        del manifest["spec"][missing]
    else:
        del manifest["spec"]

    answer = (await world.post("widgets", manifest)).expect(422, "Invalid")

    assert ("FieldValueRequired", field) in answer.causes


@pytest.mark.parametrize("port", [80, "http"])
async def test_int_or_string_takes_both(world: World, port: int | str) -> None:
    assert (await world.create("widgets", widget("a", port=port)))["spec"]["port"] == port


@pytest.mark.parametrize("number", [1, 2.0])
async def test_whole_numbers_are_integers(world: World, number: float) -> None:
    assert (await world.create("widgets", widget("a", size=number)))["spec"]["size"] == int(number)


async def test_a_rule_refuses_with_its_message(world: World) -> None:
    answer = (await world.post("widgets", widget("a", size=1, ratio=1.5))).expect(422, "Invalid")

    assert answer.causes == {("FieldValueInvalid", "spec")}
    assert "ratio cannot exceed size: lower ratio or raise size" in answer.message
    await world.create("widgets", widget("a", size=2, ratio=1.5))


async def test_rules_hold_for_changes(world: World) -> None:
    await world.create("widgets", widget("a", size=2, ratio=1.5))

    (await world.patch("widgets", "a", {"spec": {"size": 1}})).expect(422, "Invalid")
    assert (await world.read("widgets", "a"))["spec"]["size"] == 2


async def test_the_schema_holds_for_every_kind_of_change(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    wrong = created | {"spec": {"size": 0}}
    answers = [
        await world.put("widgets", wrong),
        await world.patch("widgets", "a", {"spec": {"size": 0}}),
        await world.patch(
            "widgets", "a", [{"op": "add", "path": "/spec/size", "value": 0}], kind="application/json-patch+json"
        ),
        await world.apply("widgets", widget("a", size=0), force="true"),
    ]

    for answer in answers:
        assert ("FieldValueInvalid", "spec.size") in answer.expect(422, "Invalid").causes


async def test_a_required_field_cannot_be_removed(world: World) -> None:
    await world.create("widgets", widget("a"))

    answer = (await world.patch("widgets", "a", {"spec": {"size": None}})).expect(422, "Invalid")

    assert ("FieldValueRequired", "spec.size") in answer.causes


def definition(**changes: Any) -> dict[str, Any]:
    """A resource definition of its own group, so that it can come and go."""
    spec = WIDGET_DEFINITION["spec"]
    group = "passing.datamover.example"
    return WIDGET_DEFINITION | {
        "metadata": meta(f"things.{group}"),
        "spec": spec
        | {"group": group, "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}}
        | changes,
    }


async def test_a_definition_is_served_after_its_creation_and_gone_after_its_deletion(world: World) -> None:
    path = world.path("customresourcedefinitions")
    things = f"/apis/passing.datamover.example/v1/namespaces/{world.namespace}/things"
    created = (await world.send("POST", path, definition())).expect(201).body
    try:

        async def established() -> bool:
            current = (await world.send("GET", f"{path}/{created['metadata']['name']}")).body
            conditions = {each["type"]: each["status"] for each in current.get("status", {}).get("conditions") or ()}
            return conditions.get("Established") == "True" and (await world.send("GET", things)).status == 200

        await world.eventually(established, what="the definition")
        manifest = widget("a") | {"apiVersion": "passing.datamover.example/v1", "kind": "Thing"}
        assert (await world.send("POST", things, manifest)).expect(201).body["spec"]["color"] == "red"
    finally:
        await world.send("DELETE", f"{path}/{created['metadata']['name']}")

    async def unserved() -> bool:
        return (await world.send("GET", things)).status == 404

    await world.eventually(unserved, what="the end of the definition")


async def test_a_definition_that_is_wrong_is_refused(world: World) -> None:
    path = world.path("customresourcedefinitions")
    unnamed = definition()
    unnamed["metadata"] = meta("other.example")
    unstructured = definition(
        versions=[
            WIDGET_DEFINITION["spec"]["versions"][0] | {"schema": {"openAPIV3Schema": {"properties": {"spec": {}}}}}
        ]
    )

    assert ("FieldValueInvalid", "metadata.name") in (await world.send("POST", path, unnamed)).expect(
        422, "Invalid"
    ).causes
    (await world.send("POST", path, unstructured)).expect(422, "Invalid")


async def test_the_served_definition_tells_its_version_and_schema(world: World) -> None:
    stored = await world.read("customresourcedefinitions", f"widgets.{GROUP}")

    assert stored["spec"]["names"]["shortNames"] == ["wdg"]
    assert stored["status"]["storedVersions"] == ["v1"]
    assert stored["status"]["acceptedNames"]["kind"] == "Widget"
    assert stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] == ["size"]
    assert API_VERSION.endswith(stored["spec"]["versions"][0]["name"])
