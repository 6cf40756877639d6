"""What a server tells about itself: groups, kinds, OpenAPI, version, health, rights, tables."""

from typing import Any

import pytest

from support.manifests import config_map, job, pod
from support.widgets import API_VERSION, GROUP, widget
from support.worlds import METADATA_LIST, TABLE, World

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


async def test_groups_and_versions_are_listed(world: World) -> None:
    core = (await world.send("GET", "/api")).expect(200).body
    groups = (await world.send("GET", "/apis")).expect(200).body
    one = (await world.send("GET", f"/apis/{GROUP}")).expect(200).body

    assert (core["kind"], core["versions"]) == ("APIVersions", ["v1"])
    assert groups["kind"] == "APIGroupList"
    listed = {group["name"]: group for group in groups["groups"]}
    assert {"batch", "storage.k8s.io", "coordination.k8s.io", "apiextensions.k8s.io", GROUP} <= listed.keys()
    assert listed[GROUP]["preferredVersion"] == {"groupVersion": API_VERSION, "version": "v1"}
    assert one["kind"] == "APIGroup"
    assert one["versions"] == [{"groupVersion": API_VERSION, "version": "v1"}]


@pytest.mark.parametrize(
    ("path", "name", "kind", "namespaced", "short"),
    [
        ("/api/v1", "configmaps", "ConfigMap", True, ["cm"]),
        ("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ["pvc"]),
        ("/api/v1", "namespaces", "Namespace", False, ["ns"]),
        ("/apis/batch/v1", "jobs", "Job", True, None),
        ("/apis/storage.k8s.io/v1", "storageclasses", "StorageClass", False, ["sc"]),
        (f"/apis/{API_VERSION}", "widgets", "Widget", True, ["wdg"]),
    ],
)
async def test_resources_are_described(
    world: World, path: str, name: str, kind: str, namespaced: bool, short: list[str] | None
) -> None:
    body = (await world.send("GET", path)).expect(200).body

    assert body["kind"] == "APIResourceList"
    resource = next(each for each in body["resources"] if each["name"] == name)
    assert (resource["kind"], resource["namespaced"], resource.get("shortNames")) == (kind, namespaced, short)
    assert resource["singularName"] == kind.lower()
    assert {"create", "delete", "get", "list", "patch", "update", "watch"} <= set(resource["verbs"])
    if kind == "Widget":
        assert resource["categories"] == ["testing"]
        status = next(each for each in body["resources"] if each["name"] == "widgets/status")
        assert set(status["verbs"]) == {"get", "patch", "update"}


@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_aggregated_discovery_tells_everything_at_once(world: World, path: str) -> None:
    answer = await world.send("GET", path, accept=AGGREGATED)

    body = answer.expect(200).body
    assert (body["kind"], body["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    assert "as=APIGroupDiscoveryList" in answer.headers["content-type"]
    wanted = ("", "configmaps", "ConfigMap") if path == "/api" else (GROUP, "widgets", "Widget")
    group = next(item for item in body["items"] if item["metadata"].get("name", "") == wanted[0])
    resource = next(each for each in group["versions"][0]["resources"] if each["resource"] == wanted[1])
    assert resource["responseKind"]["kind"] == wanted[2]
    assert resource["scope"] == "Namespaced"
    assert "watch" in resource["verbs"]


async def test_aggregated_discovery_names_subresources(world: World) -> None:
    body = (await world.send("GET", "/apis", accept=AGGREGATED)).expect(200).body

    group = next(item for item in body["items"] if item["metadata"]["name"] == GROUP)
    resource = group["versions"][0]["resources"][0]
    assert [each["subresource"] for each in resource["subresources"]] == ["status"]


async def test_openapi_v3_has_a_document_for_each_group(world: World) -> None:
    index = (await world.send("GET", "/openapi/v3")).expect(200).body["paths"]

    assert {"api/v1", "apis/batch/v1", f"apis/{API_VERSION}"} <= index.keys()
    url = index[f"apis/{API_VERSION}"]["serverRelativeURL"]
    path, _, query = url.partition("?")
    parameters = dict(part.split("=", 1) for part in query.split("&") if part)
    document = (await world.send("GET", path, **parameters)).expect(200).body
    assert document["openapi"].startswith("3.")
    schemas = document["components"]["schemas"]
    name = "example.datamover.testing.v1.Widget"
    assert schemas[name]["x-kubernetes-group-version-kind"] == [{"group": GROUP, "kind": "Widget", "version": "v1"}]
    assert schemas[name]["properties"]["spec"]["properties"]["size"]["type"] == "integer"
    assert schemas[name]["properties"]["spec"]["description"] == "What the widget shall be."


async def test_openapi_v3_describes_core_kinds(world: World) -> None:
    document = (await world.send("GET", "/openapi/v3/api/v1")).expect(200).body

    schema = document["components"]["schemas"]["io.k8s.api.core.v1.ConfigMap"]
    assert {"group": "", "kind": "ConfigMap", "version": "v1"} in schema["x-kubernetes-group-version-kind"]
    assert schema["properties"]["data"]["additionalProperties"]["type"] == "string"


async def test_openapi_v3_says_that_patches_validate_fields(world: World) -> None:
    """kubectl reads this to decide whether the server validates, before it sends anything."""
    document = (await world.send("GET", "/openapi/v3/api/v1")).expect(200).body

    path = document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]
    assert "fieldValidation" in {each["name"] for each in path["patch"]["parameters"]}


async def test_openapi_v2_knows_our_kind(world: World) -> None:
    document = (await world.send("GET", "/openapi/v2")).expect(200).body

    assert document["swagger"] == "2.0"
    assert "example.datamover.testing.v1.Widget" in document["definitions"]


async def test_the_version_says_which_kubernetes(world: World) -> None:
    version = (await world.send("GET", "/version")).expect(200).body

    assert version["major"] == "1"
    assert int(version["minor"].rstrip("+")) >= 30
    assert version["gitVersion"].startswith(f"v1.{version['minor']}")


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health_is_told(world: World, path: str) -> None:
    assert (await world.send("GET", path)).expect(200).body == "ok"


async def test_one_may_ask_for_ones_rights(world: World) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": world.namespace}},
    }

    answer = await world.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)

    assert answer.expect(201).body["status"]["allowed"] is True


def rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    names = [column["name"] for column in body["columnDefinitions"]]
    return [dict(zip(names, row["cells"], strict=True)) for row in body["rows"]]


async def test_a_table_of_our_kind_has_its_columns(world: World) -> None:
    await world.create("widgets", widget("a", size=7))
    await world.create("widgets", widget("b"))
    status = {"phase": "On", "conditions": [{"type": "Ready", "status": "True"}]}
    (await world.patch("widgets", "a", {"status": status}, sub="status")).expect(200)

    body = (await world.get("widgets", accept=TABLE)).expect(200).body

    assert (body["kind"], body["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    columns = [(each["name"], each["type"], each["priority"]) for each in body["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Size", "integer", 0),
        ("Phase", "string", 0),
        ("Ready", "string", 1),
        ("Age", "date", 0),
    ]
    first, second = rows(body)
    assert (first["Name"], first["Size"], first["Phase"], first["Ready"]) == ("a", 7, "On", "True")
    assert (second["Phase"], second["Ready"]) == (None, None)
    assert first["Age"].endswith("s")
    assert body["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert body["metadata"]["resourceVersion"]


async def test_a_table_of_one_object_has_one_row(world: World) -> None:
    await world.create("widgets", widget("a"))

    body = (await world.get("widgets", "a", accept=TABLE)).expect(200).body

    assert [row["Name"] for row in rows(body)] == ["a"]


@pytest.mark.parametrize(
    ("include", "kind"), [("Object", "Widget"), ("Metadata", "PartialObjectMetadata"), ("None", None)]
)
async def test_a_table_includes_what_is_asked_for(world: World, include: str, kind: str | None) -> None:
    await world.create("widgets", widget("a"))

    row = (await world.get("widgets", accept=TABLE, includeObject=include)).expect(200).body["rows"][0]

    assert (row.get("object") or {}).get("kind") == kind


@pytest.mark.parametrize(
    ("plural", "columns"),
    [
        ("configmaps", ["Name", "Data", "Age"]),
        ("pods", ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]),
        ("jobs", ["Name", "Status", "Completions", "Duration", "Age", "Containers", "Images", "Selector"]),
    ],
)
async def test_tables_of_core_kinds_have_their_columns(world: World, plural: str, columns: list[str]) -> None:
    manifest = {"configmaps": config_map("a"), "pods": pod("a"), "jobs": job("a", suspend=True)}[plural]
    await world.create(plural, manifest)

    body = (await world.get(plural, accept=TABLE, fieldSelector="metadata.name=a")).expect(200).body

    assert [each["name"] for each in body["columnDefinitions"]] == columns
    assert rows(body)[0]["Name"] == "a"


async def test_a_watched_table_comes_in_rows(world: World) -> None:
    since = (await world.get("widgets")).body["metadata"]["resourceVersion"]

    async with world.watch(world.path("widgets"), accept=TABLE, resourceVersion=since) as watch:
        await world.create("widgets", widget("a"))
        await world.create("widgets", widget("b"))
        events = await watch.take(2)

    assert [event["object"]["kind"] for event in events] == ["Table", "Table"]
    assert [event["object"]["rows"][0]["cells"][0] for event in events] == ["a", "b"]
    # Only the first event says what the columns are.
    assert events[0]["object"]["columnDefinitions"]
    assert not events[1]["object"].get("columnDefinitions")


async def test_an_unknown_form_of_an_answer_is_406(world: World) -> None:
    assert (await world.get("widgets", accept="application/json;as=Poem;v=v1;g=meta.k8s.io")).status == 406


async def test_a_client_may_offer_several_forms(world: World) -> None:
    await world.create("widgets", widget("a"))

    assert (await world.get("widgets", accept=f"{TABLE},application/json")).expect(200).body["kind"] == "Table"
    assert (await world.get("widgets", accept=f"{METADATA_LIST},application/json")).body[
        "kind"
    ] == "PartialObjectMetadataList"
