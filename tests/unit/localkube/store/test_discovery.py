"""Discovery and OpenAPI: what the conformance suite does not hold against the real server."""

import pytest

from support.widgets import WIDGET_DEFINITION

KUBECTL = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


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


def test_the_server_says_what_it_is(api):
    assert "localkube" in api.send("GET", "/version").body["gitVersion"]


def test_everybody_who_got_in_may_do_everything_and_is_told_so(api):
    review = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}
    place = "/apis/authorization.k8s.io/v1"

    assert api.send("POST", f"{place}/selfsubjectaccessreviews", review).expect(201)["status"]["allowed"] is True
    rules = api.send("POST", f"{place}/selfsubjectrulesreviews", {}).expect(201)["status"]
    assert rules["resourceRules"][0]["verbs"] == ["*"]
    who = api.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}).expect(201)
    assert who["status"]["userInfo"]["username"] == "localkube"
