import pytest

from support.manifests import config_map


@pytest.fixture
def seven(api):
    for number in range(7):
        api.create("configmaps", config_map(f"c{number}", labels={"even": str(number % 2 == 0)}))
    return api


def names(listed):
    return [item["metadata"]["name"] for item in listed["items"]]


def test_pages_follow_each_other_to_the_end(seven):
    first = seven.list("configmaps", limit=3)
    second = seven.list("configmaps", limit=3, **{"continue": first["metadata"]["continue"]})
    third = seven.list("configmaps", limit=3, **{"continue": second["metadata"]["continue"]})

    assert [names(page) for page in (first, second, third)] == [["c0", "c1", "c2"], ["c3", "c4", "c5"], ["c6"]]
    assert first["metadata"]["remainingItemCount"] == 4
    assert "continue" not in third["metadata"]
    assert "remainingItemCount" not in third["metadata"]
    assert first["metadata"]["resourceVersion"] == third["metadata"]["resourceVersion"]


def test_later_pages_show_the_state_of_the_first(seven):
    first = seven.list("configmaps", limit=2)
    seven.delete("configmaps", "c3")
    seven.create("configmaps", config_map("c35"))
    seven.merge("configmaps", "c4", {"data": {"k": "changed"}})

    rest = seven.list("configmaps", **{"continue": first["metadata"]["continue"]})

    assert names(rest) == ["c2", "c3", "c4", "c5", "c6"]
    assert rest["items"][2]["data"] == {"k": "v"}


def test_a_page_of_a_forgotten_moment_is_expired_with_a_token_to_go_on_by(seven):
    first = seven.list("configmaps", limit=2)
    seven.delete("configmaps", "c3")
    seven.server.compact()

    refused = seven.send("GET", seven.path("configmaps"), **{"continue": first["metadata"]["continue"]})

    assert (refused.status, refused.body["reason"]) == (410, "Expired")
    rest = seven.list("configmaps", **{"continue": refused.body["metadata"]["continue"]})
    assert names(rest) == ["c2", "c4", "c5", "c6"]


def test_pages_of_a_selection_do_not_say_how_many_remain(seven):
    page = seven.list("configmaps", limit=2, labelSelector="even=True")

    assert names(page) == ["c0", "c2"]
    assert page["metadata"]["continue"]
    assert "remainingItemCount" not in page["metadata"]


def test_an_exact_revision_is_listed_as_it_was(seven):
    then = seven.list("configmaps")["metadata"]["resourceVersion"]
    seven.delete("configmaps", "c0")

    exact = seven.list("configmaps", resourceVersion=then, resourceVersionMatch="Exact")

    assert names(exact)[0] == "c0"
    assert exact["metadata"]["resourceVersion"] == then
    assert names(seven.list("configmaps", resourceVersion=then, resourceVersionMatch="NotOlderThan"))[0] == "c1"
    assert names(seven.list("configmaps", resourceVersion="0"))[0] == "c1"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"continue": "garbage"}, 400),
        ({"continue": "eyJydiI6IngifQ"}, 400),
        ({"limit": "x"}, 400),
        ({"resourceVersion": "x"}, 400),
        ({"resourceVersion": "999999"}, 504),
        ({"resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "0", "resourceVersionMatch": "Exact"}, 422),
        ({"resourceVersion": "5", "resourceVersionMatch": "Nearly"}, 422),
        ({"sendInitialEvents": "true"}, 422),
    ],
)
def test_a_list_that_cannot_be_is_refused(seven, query, status):
    assert seven.send("GET", seven.path("configmaps"), **query).status == status


def test_a_history_that_is_too_short_expires_an_exact_list(seven):
    then = seven.list("configmaps")["metadata"]["resourceVersion"]
    seven.delete("configmaps", "c0")
    seven.server.compact()

    refused = seven.send("GET", seven.path("configmaps"), resourceVersion=then, resourceVersionMatch="Exact")

    assert refused.status == 410


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
