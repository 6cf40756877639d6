"""Requests as such: paths, methods, media types, dry runs, JSON nulls, strictness."""

import pytest
import yaml

from support.manifests import config_map, pod, secret
from support.widgets import API_VERSION, widget
from support.worlds import JSON, JSON_PATCH, World


@pytest.mark.parametrize("path", ["/apis/nothing.example/v1/things", "/apis/nothing.example", "/nowhere", "/api/v9"])
async def test_an_unknown_path_is_404(world: World, path: str) -> None:
    assert (await world.send("GET", path)).status == 404


@pytest.mark.parametrize("path", ["/api/v1/things", f"/apis/{API_VERSION}/things", "/apis/batch/v1/things"])
async def test_an_unknown_resource_is_not_found_with_a_status(world: World, path: str) -> None:
    assert (await world.send("GET", path)).status == 404


async def test_an_unknown_subresource_is_404(world: World) -> None:
    await world.create("configmaps", config_map("a"))
    await world.create("widgets", widget("a"))

    assert (await world.send("GET", world.path("configmaps", "a", "status"))).status == 404
    assert (await world.send("GET", world.path("widgets", "a", "scale"))).status == 404


@pytest.mark.parametrize(("method", "name"), [("PUT", None), ("POST", "a")])
async def test_a_method_that_the_path_does_not_have_is_405(world: World, method: str, name: str | None) -> None:
    answer = await world.send(method, world.path("configmaps", name), config_map("a"))

    answer.expect(405, "MethodNotAllowed")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-unknown", "application/xml"])
@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_an_unknown_media_type_of_a_body_is_415(world: World, plural: str, kind: str) -> None:
    manifest = config_map("a") if plural == "configmaps" else widget("a")

    answer = await world.post(plural, manifest, kind=kind)

    answer.expect(415, "UnsupportedMediaType")


@pytest.mark.parametrize("kind", [JSON, "application/unknown-patch+json"])
async def test_an_unknown_media_type_of_a_patch_is_415(world: World, kind: str) -> None:
    await world.create("widgets", widget("a"))

    (await world.patch("widgets", "a", {}, kind=kind)).expect(415, "UnsupportedMediaType")


async def test_strategic_merge_is_415_for_custom_resources(world: World) -> None:
    await world.create("widgets", widget("a"))

    answer = await world.patch("widgets", "a", {}, kind="application/strategic-merge-patch+json")

    answer.expect(415, "UnsupportedMediaType")


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/yaml, application/json", "text/plain, */*"])
async def test_usual_accept_headers_are_served(world: World, accept: str) -> None:
    assert (await world.send("GET", world.path("configmaps"), accept=accept)).status == 200


@pytest.mark.parametrize("accept", ["text/plain", "application/*"])
async def test_an_answer_that_cannot_be_made_is_406(world: World, accept: str) -> None:
    (await world.send("GET", world.path("configmaps"), accept=accept)).expect(406, "NotAcceptable")


async def test_answers_come_as_yaml_when_asked(world: World) -> None:
    created = await world.create("configmaps", config_map("a"))

    answer = await world.get("configmaps", "a", accept="application/yaml")

    assert answer.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(answer.body)["metadata"]["uid"] == created["metadata"]["uid"]


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_bodies_may_be_yaml(world: World, plural: str) -> None:
    manifest = config_map("a") if plural == "configmaps" else widget("a")

    answer = await world.post(plural, yaml.safe_dump(manifest).encode(), kind="application/yaml")

    answer.expect(201)
    assert answer.body["metadata"]["name"] == "a"


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
async def test_a_dry_run_answers_as_if_and_stores_nothing(world: World, plural: str) -> None:
    manifest = config_map("a") if plural == "configmaps" else widget("a")

    would_be = await world.create(plural, manifest, dryRun="All")

    assert would_be["metadata"]["uid"]
    assert (await world.get(plural, "a")).status == 404


async def test_dry_runs_of_every_change_leave_the_object_alone(world: World) -> None:
    created = await world.create("widgets", widget("a"))
    changed = widget("a", size=9) | {"metadata": created["metadata"]}

    patched = (await world.patch("widgets", "a", {"spec": {"size": 9}}, dryRun="All")).expect(200)
    applied = (await world.apply("widgets", widget("a", size=9), force="true", dryRun="All")).expect(200)
    replaced = (await world.put("widgets", changed, dryRun="All")).expect(200)
    (await world.delete("widgets", "a", dryRun="All")).expect(200)

    assert [each.body["spec"]["size"] for each in (patched, applied, replaced)] == [9, 9, 9]
    assert await world.read("widgets", "a") == created


async def test_a_dry_run_still_validates(world: World) -> None:
    (await world.post("widgets", widget("a", size=0), dryRun="All")).expect(422, "Invalid")


async def test_an_unknown_dry_run_is_refused(world: World) -> None:
    answer = await world.post("configmaps", config_map("a"), dryRun="Some")

    assert answer.status in {400, 422}
    assert (await world.get("configmaps", "a")).status == 404


async def test_nulls_are_as_if_left_out(world: World) -> None:
    manifest = config_map("a", labels=None, annotations=None, ownerReferences=None, finalizers=None)
    manifest |= {"data": None, "binaryData": None}

    created = await world.create("configmaps", manifest)

    assert not {"labels", "annotations", "ownerReferences", "finalizers"} & created["metadata"].keys()
    assert "data" not in created


async def test_a_null_in_a_custom_resource_takes_the_default_or_goes(world: World) -> None:
    created = await world.create("widgets", widget("a", color=None, label=None))

    assert created["spec"]["color"] == "red"
    assert "label" not in created["spec"]


async def test_a_null_stays_where_the_schema_allows_it(world: World) -> None:
    created = await world.create("widgets", widget("a", note=None))

    assert created["spec"]["note"] is None


async def test_a_null_map_value_of_a_config_map_becomes_empty_text(world: World) -> None:
    created = await world.create("configmaps", config_map("a") | {"data": {"k": None}})

    assert created["data"] == {"k": ""}


@pytest.mark.parametrize("validation", ["Strict", "Warn", "Ignore"])
@pytest.mark.parametrize("plural", ["pods", "widgets"])
async def test_unknown_fields_are_refused_warned_of_or_dropped(world: World, plural: str, validation: str) -> None:
    manifest = pod("a", bogus=1) if plural == "pods" else widget("a", bogus=1)

    answer = await world.post(plural, manifest, fieldValidation=validation)

    if validation == "Strict":
        answer.expect(400, "BadRequest")
        assert 'strict decoding error: unknown field "spec.bogus"' in answer.message
        return
    answer.expect(201)
    assert "bogus" not in answer.body["spec"]
    assert ("warning" in answer.headers) == (validation == "Warn")
    if validation == "Warn":
        assert answer.headers["warning"] == r'299 - "unknown field \"spec.bogus\""'


async def test_strict_validation_names_every_unknown_field(world: World) -> None:
    manifest = widget("a", bogus=1, nested={"other": 2})
    manifest["metadata"]["wrong"] = "x"

    answer = (await world.post("widgets", manifest, fieldValidation="Strict")).expect(400, "BadRequest")

    for field in ("spec.bogus", "spec.nested.other", "metadata.wrong"):
        assert f'unknown field "{field}"' in answer.message


async def test_strict_validation_refuses_duplicate_keys(world: World) -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1"},"data":{"k":"2"}}'

    answer = await world.post("configmaps", body, fieldValidation="Strict")

    answer.expect(400, "BadRequest")
    assert 'duplicate field "data"' in answer.message


async def test_strict_validation_holds_for_patches(world: World) -> None:
    await world.create("widgets", widget("a"))

    merged = await world.patch("widgets", "a", {"spec": {"bogus": 1}}, fieldValidation="Strict")
    operated = await world.patch(
        "widgets", "a", [{"op": "add", "path": "/spec/bogus", "value": 1}], kind=JSON_PATCH, fieldValidation="Strict"
    )

    for answer in (merged, operated):
        assert answer.status in {400, 422}
        assert 'unknown field "spec.bogus"' in answer.message


async def test_an_unknown_field_validation_is_refused(world: World) -> None:
    answer = await world.post("configmaps", config_map("a"), fieldValidation="Sometimes")

    assert answer.status in {400, 422}


async def test_a_write_counts_its_field_manager(world: World) -> None:
    created = await world.create("configmaps", config_map("a"), fieldManager="me")

    assert [entry["manager"] for entry in created["metadata"]["managedFields"]] == ["me"]


async def test_a_field_manager_that_is_too_long_is_refused(world: World) -> None:
    answer = await world.post("configmaps", config_map("a"), fieldManager="x" * 129)

    answer.expect(422, "Invalid")


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # of aiohttp, about its event loop
async def test_an_object_that_is_too_large_is_refused(world: World) -> None:
    answer = await world.post("configmaps", config_map("a", {"k": "x" * (1 << 20), "l": "x"}))

    answer.expect(422, "Invalid")
    assert (await world.post("configmaps", config_map("a", {"k": "x" * (4 << 20)}))).status in {413, 422}


async def test_binary_data_must_be_base64(world: World) -> None:
    (await world.post("configmaps", config_map("a") | {"binaryData": {"k": "!!!"}})).expect(400, "BadRequest")
    (await world.post("secrets", secret("a", data={"k": "!!!"}))).expect(400, "BadRequest")
