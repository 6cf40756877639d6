"""Lists: what the conformance suite does not hold against the real server."""

import pytest

from support.manifests import config_map


@pytest.fixture
def seven(api):
    for number in range(7):
        api.create("configmaps", config_map(f"c{number}", labels={"even": str(number % 2 == 0)}))
    return api


def names(listed):
    return [item["metadata"]["name"] for item in listed["items"]]


def test_one_name_in_a_namespace_is_found_without_a_scan(seven):
    assert names(seven.list("configmaps", fieldSelector="metadata.name=c3")) == ["c3"]
    assert names(seven.list("configmaps", fieldSelector="metadata.name=nope")) == []
    assert names(seven.list("configmaps", fieldSelector="metadata.name=c3", labelSelector="even=True")) == []


def test_one_name_in_the_whole_cluster_is_found_without_a_scan(api):
    api.create("namespaces", {"metadata": {"name": "other"}})

    assert names(api.list("namespaces", fieldSelector="metadata.name=other")) == ["other"]
    assert names(api.list("namespaces", fieldSelector="metadata.name=nope")) == []
    everywhere = api.send("GET", "/api/v1/configmaps", fieldSelector="metadata.name=nope").expect(200)
    assert names(everywhere) == []


def test_a_name_at_a_past_moment_is_found_as_it_was(seven):
    then = seven.list("configmaps")["metadata"]["resourceVersion"]
    seven.delete("configmaps", "c3")

    past = seven.list(
        "configmaps", resourceVersion=then, resourceVersionMatch="Exact", fieldSelector="metadata.name=c3"
    )

    assert names(past) == ["c3"]


def test_one_object_is_not_watched_by_its_own_path(seven):
    found = seven.send("GET", seven.path("configmaps", "c3"), watch="1").expect(200)
    assert found["kind"] == "ConfigMap"
