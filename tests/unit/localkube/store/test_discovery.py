import json

import pytest

from localkube.store.discovery import AGGREGATED
from support.widgets import WIDGET_DEFINITION

KUBECTL = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def test_aggregated_discovery_lists_groups_kinds_and_subresources(api):
    answer = api.send("GET", "/apis", accept=KUBECTL)

    assert answer.headers["content-type"] == AGGREGATED
    groups = {group["metadata"]["name"]: group["versions"] for group in answer.body["items"]}
    (version,) = groups["testing.datamover.example"]
    (widgets,) = version["resources"]
    assert (widgets["resource"], widgets["scope"], widgets["responseKind"]["kind"]) == (
        "widgets",
        "Namespaced",
        "Widget",
    )
    assert widgets["subresources"][0]["subresource"] == "status"
    core = api.send("GET", "/api", accept=KUBECTL).body["items"]
    assert "pods" in {resource["resource"] for resource in core[0]["versions"][0]["resources"]}


def test_older_clients_get_the_older_documents(api):
    assert api.send("GET", "/api").body["versions"] == ["v1"]
    groups = {group["name"]: group for group in api.send("GET", "/apis").body["groups"]}
    assert groups["batch"]["preferredVersion"] == {"groupVersion": "batch/v1", "version": "v1"}
    assert api.send("GET", "/apis/batch").body["kind"] == "APIGroup"
    names = {resource["name"] for resource in api.send("GET", "/api/v1").body["resources"]}
    assert {"pods", "pods/log", "pods/binding", "pods/status", "namespaces/finalize"} <= names
    assert api.send("GET", "/apis/nope").status == 404
    assert api.send("GET", "/apis/batch/v9").status == 404


def test_a_definition_comes_and_goes_with_its_kind(api):
    name = WIDGET_DEFINITION["metadata"]["name"]
    assert "testing.datamover.example/v1" in api.send("GET", "/openapi/v3").raw.decode()

    api.delete("customresourcedefinitions", name).expect(200)

    assert api.send("GET", api.path("widgets")).status == 404
    assert "testing.datamover.example" not in api.send("GET", "/apis").raw.decode()
    assert "testing.datamover.example" not in api.send("GET", "/openapi/v3").raw.decode()


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


@pytest.mark.parametrize(
    "path", ["api/v1", "apis/batch/v1", "apis/testing.datamover.example/v1", "apis/events.k8s.io/v1"]
)
def test_every_reference_of_an_openapi_document_leads_somewhere(api, path):
    document = api.send("GET", f"/openapi/v3/{path}").body

    schemas = document["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in references(document)} <= schemas.keys()
    assert document["paths"]


def test_the_older_openapi_document_holds_all_kinds_in_one(api):
    document = api.send("GET", "/openapi/v2").body

    assert {ref.removeprefix("#/definitions/") for ref in references(document)} <= document["definitions"].keys()
    assert "io.k8s.api.core.v1.Pod" in document["definitions"]
    assert "example.datamover.testing.v1.Widget" in document["definitions"]


def test_kubectl_finds_out_that_patches_can_be_validated(api):
    document = api.send("GET", "/openapi/v3/api/v1").body
    patch = document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"]

    assert patch["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


def test_the_server_says_what_it_is_and_that_it_lives(api):
    version = api.send("GET", "/version").body
    assert (version["major"], version["minor"]) == ("1", "36")
    assert "localkube" in version["gitVersion"]
    assert [api.send("GET", path).raw for path in ("/healthz", "/livez", "/readyz")] == [b"ok"] * 3
    assert "/apis" in json.loads(api.send("GET", "/").raw)["paths"]


def test_everybody_who_got_in_may_do_everything_and_is_told_so(api):
    review = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}
    place = "/apis/authorization.k8s.io/v1"

    assert api.send("POST", f"{place}/selfsubjectaccessreviews", review).expect(201)["status"]["allowed"] is True
    rules = api.send("POST", f"{place}/selfsubjectrulesreviews", {}).expect(201)["status"]
    assert rules["resourceRules"][0]["verbs"] == ["*"]
    who = api.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}).expect(201)
    assert who["status"]["userInfo"]["username"] == "localkube"
