"""Creating, reading, replacing and listing objects, and the errors of doing so wrongly."""

import re

import pytest

from support.manifests import config_map, pod
from support.widgets import widget
from support.worlds import JSON, World


async def test_a_created_object_comes_back_with_its_metadata(world: World) -> None:
    created = await world.create("configmaps", config_map("a", {"k": "v"}, labels={"app": "x"}))

    metadata = created["metadata"]
    assert (created["apiVersion"], created["kind"], created["data"]) == ("v1", "ConfigMap", {"k": "v"})
    assert (metadata["name"], metadata["namespace"], metadata["labels"]) == ("a", world.namespace, {"app": "x"})
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", metadata["uid"])
    assert int(metadata["resourceVersion"]) > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert metadata["managedFields"][0]["operation"] == "Update"
    assert await world.read("configmaps", "a") == created


async def test_the_server_decides_uid_timestamps_version_and_generation(world: World) -> None:
    manifest = widget("a")
    manifest["metadata"] |= {
        "uid": "mine",
        "creationTimestamp": "2001-01-01T00:00:00Z",
        "generation": 7,
        "deletionTimestamp": "2001-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 5,
        "selfLink": "/x",
    }

    metadata = (await world.create("widgets", manifest))["metadata"]

    assert metadata["uid"] != "mine"
    assert metadata["creationTimestamp"] > "2020"
    assert metadata["generation"] == 1
    assert not {"deletionTimestamp", "deletionGracePeriodSeconds"} & metadata.keys()


async def test_a_resource_version_on_create_is_refused(world: World) -> None:
    answer = await world.post("configmaps", config_map("a", resourceVersion="5"))

    answer.expect(500)
    assert answer.message == "resourceVersion should not be set on objects to be created"


async def test_generate_name_makes_different_names_with_the_prefix(world: World) -> None:
    manifest = config_map()
    manifest["metadata"] = {"generateName": "pre-"}

    names = {(await world.create("configmaps", manifest))["metadata"]["name"] for _ in range(3)}

    assert len(names) == 3
    assert all(re.fullmatch(r"pre-[a-z0-9]{5}", name) for name in names)


async def test_a_long_generate_name_is_cut_to_63_characters(world: World) -> None:
    manifest = config_map()
    manifest["metadata"] = {"generateName": "x" * 80}

    name = (await world.create("configmaps", manifest))["metadata"]["name"]

    assert len(name) == 63
    assert name.startswith("x" * 58)


async def test_a_name_wins_over_generate_name(world: World) -> None:
    created = await world.create("configmaps", config_map("exact", generateName="pre-"))

    assert created["metadata"]["name"] == "exact"


async def test_no_name_at_all_is_invalid(world: World) -> None:
    manifest = config_map()
    manifest["metadata"] = {}

    answer = (await world.post("configmaps", manifest)).expect(422, "Invalid")

    assert answer.causes == {("FieldValueRequired", "metadata.name")}
    assert "name or generateName is required" in answer.message


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "dot..dot", "x" * 254])
async def test_an_invalid_name_is_refused_with_its_field(world: World, plural: str, name: str) -> None:
    manifest = config_map(name) if plural == "configmaps" else widget(name)

    answer = (await world.post(plural, manifest)).expect(422, "Invalid")

    assert answer.causes == {("FieldValueInvalid", "metadata.name")}
    assert answer.details["name"] == name
    assert answer.body["status"] == "Failure"
    assert answer.body["code"] == 422


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", {"ok": "not ok"}),
        ("labels", {"ok": "x" * 64}),
        ("labels", {"a/b/c": "v"}),
        ("annotations", {"not a key": "v"}),
    ],
)
async def test_invalid_labels_and_annotations_are_refused_with_their_field(
    world: World, field: str, value: dict[str, str]
) -> None:
    answer = (await world.post("widgets", widget("a") | {"metadata": {"name": "a", field: value}})).expect(
        422, "Invalid"
    )

    assert answer.causes == {("FieldValueInvalid", f"metadata.{field}")}


async def test_an_annotation_that_is_too_long_is_refused(world: World) -> None:
    answer = (await world.post("configmaps", config_map("a", annotations={"k": "x" * (1 << 18)}))).expect(
        422, "Invalid"
    )

    assert answer.causes == {("FieldValueTooLong", "metadata.annotations")}


async def test_creating_twice_is_already_exists(world: World) -> None:
    await world.create("configmaps", config_map("a"))

    answer = (await world.post("configmaps", config_map("a"))).expect(409, "AlreadyExists")

    assert answer.message == 'configmaps "a" already exists'
    assert answer.details == {"name": "a", "kind": "configmaps"}


async def test_a_missing_object_is_not_found_with_its_group(world: World) -> None:
    core = (await world.get("configmaps", "nope")).expect(404, "NotFound")
    custom = (await world.get("widgets", "nope")).expect(404, "NotFound")

    assert core.details == {"name": "nope", "kind": "configmaps"}
    assert core.message == 'configmaps "nope" not found'
    assert custom.details == {"name": "nope", "group": "testing.datamover.example", "kind": "widgets"}
    assert custom.message == 'widgets.testing.datamover.example "nope" not found'


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_changing_a_missing_object_is_not_found(world: World, method: str) -> None:
    body = None if method == "DELETE" else config_map("nope")
    kind = "application/merge-patch+json" if method == "PATCH" else JSON

    answer = await world.send(method, world.path("configmaps", "nope"), body, kind=kind)

    answer.expect(404, "NotFound")


async def test_a_namespace_that_differs_from_the_path_is_a_bad_request(world: World) -> None:
    answer = await world.post("configmaps", config_map("a", namespace="elsewhere"))

    answer.expect(400, "BadRequest")
    assert answer.message == "the namespace of the provided object does not match the namespace sent on the request"


async def test_a_name_that_differs_from_the_path_is_a_bad_request(world: World) -> None:
    await world.create("configmaps", config_map("a"))

    answer = await world.put("configmaps", config_map("b"), name="a")

    answer.expect(400, "BadRequest")
    assert answer.message == "the name of the object (b) does not match the name on the URL (a)"


@pytest.mark.parametrize(("key", "value"), [("kind", "Pod"), ("apiVersion", "v2")])
async def test_a_kind_or_version_that_differs_from_the_path_is_a_bad_request(
    world: World, key: str, value: str
) -> None:
    answer = await world.post("configmaps", config_map("a") | {key: value})

    answer.expect(400, "BadRequest")
    assert "cannot be handled as a ConfigMap" in answer.message


async def test_kind_and_version_may_be_left_out_for_core_kinds(world: World) -> None:
    manifest = config_map("a")
    del manifest["kind"], manifest["apiVersion"]

    created = await world.create("configmaps", manifest)

    assert (created["apiVersion"], created["kind"]) == ("v1", "ConfigMap")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b'{"metadata": 5}'])
async def test_a_body_that_is_no_object_is_a_bad_request(world: World, body: bytes) -> None:
    (await world.post("configmaps", body)).expect(400, "BadRequest")


async def test_a_field_of_the_wrong_type_is_a_bad_request_for_core_kinds(world: World) -> None:
    (await world.post("configmaps", config_map("a") | {"data": "text"})).expect(400, "BadRequest")
    (await world.post("pods", pod(terminationGracePeriodSeconds="ten"))).expect(400, "BadRequest")


async def test_a_list_carries_its_kind_and_a_resource_version(world: World) -> None:
    await world.create("configmaps", config_map("b", labels={"own": "1"}))
    await world.create("configmaps", config_map("a", labels={"own": "1"}))

    listed = (await world.get("configmaps", labelSelector="own")).expect(200).body

    assert (listed["apiVersion"], listed["kind"]) == ("v1", "ConfigMapList")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
    assert int(listed["metadata"]["resourceVersion"]) >= max(
        int(item["metadata"]["resourceVersion"]) for item in listed["items"]
    )
    # Core items come without kind and version, those of custom resources with them.
    assert not {"kind", "apiVersion"} & listed["items"][0].keys()


async def test_an_empty_list_of_custom_resources_has_items(world: World) -> None:
    listed = (await world.get("widgets")).expect(200).body

    assert (listed["apiVersion"], listed["kind"], listed["items"]) == ("testing.datamover.example/v1", "WidgetList", [])


async def test_items_of_custom_resources_carry_their_kind(world: World) -> None:
    await world.create("widgets", widget("a"))

    item = (await world.get("widgets")).expect(200).body["items"][0]

    assert (item["apiVersion"], item["kind"]) == ("testing.datamover.example/v1", "Widget")


async def test_a_list_over_all_namespaces_holds_those_of_each(world: World) -> None:
    other = await world.new_namespace()
    await world.create("configmaps", config_map("a", labels={"own": world.namespace}))
    await world.send(
        "POST", world.path("configmaps", namespace=other), config_map("a", labels={"own": world.namespace})
    )

    path = world.path("configmaps", namespace="")
    items = (await world.send("GET", path, labelSelector=f"own={world.namespace}")).expect(200).body["items"]

    assert {item["metadata"]["namespace"] for item in items} == {world.namespace, other}


async def test_replacing_changes_the_version_and_keeps_identity(world: World) -> None:
    created = await world.create("configmaps", config_map("a", {"k": "1"}))

    replaced = (await world.put("configmaps", config_map("a", {"k": "2"}))).expect(200).body

    assert replaced["data"] == {"k": "2"}
    assert int(replaced["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    for field in ("uid", "creationTimestamp"):
        assert replaced["metadata"][field] == created["metadata"][field]


async def test_replacing_without_a_change_keeps_the_version(world: World) -> None:
    created = await world.create("configmaps", config_map("a"))

    replaced = (await world.put("configmaps", created)).expect(200).body

    assert replaced["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_replacing_an_old_version_is_a_conflict(world: World) -> None:
    old = await world.create("configmaps", config_map("a", {"k": "1"}))
    await world.put("configmaps", config_map("a", {"k": "2"}))

    answer = (await world.put("configmaps", old)).expect(409, "Conflict")

    assert (
        "the object has been modified; please apply your changes to the latest version and try again" in answer.message
    )
    assert answer.details == {"name": "a", "kind": "configmaps"}
    assert (await world.read("configmaps", "a"))["data"] == {"k": "2"}


async def test_replacing_a_custom_resource_needs_its_version(world: World) -> None:
    await world.create("widgets", widget("a"))

    answer = (await world.put("widgets", widget("a", size=2))).expect(422, "Invalid")

    assert answer.causes == {("FieldValueInvalid", "metadata.resourceVersion")}
    assert "must be specified for an update" in answer.message


async def test_replacing_with_another_uid_is_a_conflict(world: World) -> None:
    await world.create("configmaps", config_map("a"))

    answer = await world.put("configmaps", config_map("a", uid="00000000-0000-0000-0000-000000000000"))

    answer.expect(409, "Conflict")
    assert "Precondition failed: UID in precondition" in answer.message


async def test_a_garbage_resource_version_is_refused(world: World) -> None:
    await world.create("configmaps", config_map("a"))

    answer = await world.put("configmaps", config_map("a", resourceVersion="garbage"))

    assert answer.status in {400, 422, 500}  # a real server lets the failed parsing through as 500


async def test_generation_counts_changes_of_spec_only(world: World) -> None:
    generations = [(await world.create("widgets", widget("a")))["metadata"]["generation"]]

    for patch, sub in [
        ({"metadata": {"labels": {"x": "1"}}}, None),
        ({"metadata": {"annotations": {"x": "1"}, "finalizers": ["a.example/f"]}}, None),
        ({"status": {"phase": "On"}}, "status"),
        ({"spec": {"size": 2}}, None),
        ({"spec": {"size": 2}}, None),
        ({"metadata": {"finalizers": None}}, None),
    ]:
        answer = (await world.patch("widgets", "a", patch, sub=sub)).expect(200)
        generations.append(answer.body["metadata"]["generation"])

    assert generations == [1, 1, 1, 1, 2, 2, 2]


async def test_config_maps_have_no_generation(world: World) -> None:
    assert "generation" not in (await world.create("configmaps", config_map("a")))["metadata"]


async def test_an_immutable_metadata_field_stays_as_it_was(world: World) -> None:
    created = await world.create("configmaps", config_map("a", generateName="g-"))

    changed = config_map("a", {"k": "2"}, creationTimestamp="2001-01-01T00:00:00Z", generateName="h-")
    replaced = (await world.put("configmaps", changed)).expect(200).body

    assert replaced["metadata"]["creationTimestamp"] == created["metadata"]["creationTimestamp"]
    assert replaced["metadata"]["managedFields"]


async def test_partial_metadata_carries_metadata_only(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    one = await world.read("widgets", "a", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    many = await world.get("widgets", accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")

    assert (one["kind"], one["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one["metadata"] == created["metadata"]
    assert "spec" not in one
    assert many.expect(200).body["kind"] == "PartialObjectMetadataList"
    assert many.body["items"][0]["metadata"] == created["metadata"]
    assert "spec" not in many.body["items"][0]
