import pytest
import yaml

from support.manifests import config_map
from support.widgets import widget


def test_a_write_that_changes_nothing_is_no_write(api):
    created = api.create("widgets", widget("w"))
    before = api.server.storage.revision

    for answer in (
        api.merge("widgets", "w", {"spec": {"size": 1}}),
        api.send("PUT", api.path("widgets", "w"), created),
        api.merge("widgets", "w", {"status": None}, sub="status"),
    ):
        assert answer.expect(200)["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]
    assert api.server.storage.revision == before


async def test_applying_again_is_no_write_even_later(api, clock):
    applied = api.apply("widgets", widget("w")).expect(201)
    await clock.advance(60)

    assert api.apply("widgets", widget("w")).expect(200) == applied


def test_generation_counts_changes_of_the_spec_only(api):
    api.create("widgets", widget("w"))
    assert api.merge("widgets", "w", {"metadata": {"labels": {"a": "b"}}}).body["metadata"]["generation"] == 1
    assert api.merge("widgets", "w", {"status": {"phase": "Done"}}, sub="status").body["metadata"]["generation"] == 1
    assert api.merge("widgets", "w", {"spec": {"size": 2}}).body["metadata"]["generation"] == 2
    assert "generation" not in api.create("configmaps", config_map("a"))["metadata"]


def test_status_and_the_rest_are_kept_apart(api):
    api.create("widgets", {**widget("w"), "status": {"phase": "Early"}})
    both = {"spec": {"size": 9}, "status": {"phase": "Now"}, "metadata": {"labels": {"a": "b"}}}

    by_status = api.merge("widgets", "w", both, sub="status").expect(200)
    by_main = api.merge("widgets", "w", {**both, "status": {"phase": "Other"}}).expect(200)

    assert (by_status["spec"]["size"], by_status["status"], by_status["metadata"].get("labels")) == (
        1,
        {"phase": "Now"},
        None,
    )
    assert (by_main["spec"]["size"], by_main["status"]) == (9, {"phase": "Now"})


@pytest.mark.parametrize("verb", ["create", "update", "patch", "apply"])
def test_a_dry_run_goes_the_whole_way_and_stores_nothing(api, verb):
    if verb != "create":
        api.create("widgets", widget("w"))
    before = api.server.storage.revision
    path = api.path("widgets", "w")
    live = api.send("GET", path).body if verb != "create" else None

    answer = {
        "create": lambda: api.send("POST", api.path("widgets"), widget("w"), dryRun="All"),
        "update": lambda: api.send("PUT", path, {**live, "spec": {"size": 5}}, dryRun="All"),
        "patch": lambda: api.merge("widgets", "w", {"spec": {"size": 5}}, dryRun="All"),
        "apply": lambda: api.apply("widgets", widget("w", size=5), dryRun="All", force="true"),
    }[verb]()

    assert answer.status in {200, 201}
    assert answer.body["spec"]["color"] == "red"  # the default
    assert api.server.storage.revision == before
    refused = api.send("POST", api.path("widgets"), widget("x", size=0), dryRun="All")
    assert refused.status == 422


@pytest.mark.parametrize(
    ("validation", "status", "warned"),
    [("Strict", 400, False), ("Warn", 201, True), ("Ignore", 201, False), ("", 201, True)],
)
def test_unknown_and_repeated_fields(api, validation, status, warned):
    body = b'{"metadata":{"name":"a"},"data":{"k":"1","k":"2"},"bogus":1}'

    answer = api.send("POST", api.path("configmaps"), body, **({"fieldValidation": validation} if validation else {}))

    assert answer.status == status
    warning = answer.headers.get("warning", "")
    assert ('unknown field \\"bogus\\"' in warning, 'duplicate field \\"k\\"' in warning) == (warned, warned)
    if status == 400:
        assert "strict decoding error" in answer.body["message"]


def test_a_put_with_an_old_revision_or_anothers_uid_is_a_conflict(api):
    old = api.create("widgets", widget("w"))
    api.merge("widgets", "w", {"spec": {"size": 2}})

    assert api.send("PUT", api.path("widgets", "w"), old).status == 409
    current = api.get("widgets", "w")
    current["metadata"]["uid"] = "other"
    assert api.send("PUT", api.path("widgets", "w"), current).status == 409
    del current["metadata"]["uid"], current["metadata"]["resourceVersion"]
    assert api.send("PUT", api.path("widgets", "w"), current).fields == {"metadata.resourceVersion"}


def test_a_patch_with_a_revision_is_conditional(api):
    created = api.create("configmaps", config_map("a"))
    revision = created["metadata"]["resourceVersion"]

    assert api.merge("configmaps", "a", {"metadata": {"resourceVersion": revision}, "data": {"x": "1"}}).status == 200
    assert api.merge("configmaps", "a", {"metadata": {"resourceVersion": revision}, "data": {"x": "2"}}).status == 409


def test_generated_names_are_made_anew_when_taken(api, server, monkeypatch):
    answers = iter("aaaaaaaaaabbbbb")
    monkeypatch.setattr(server._writer, "_choose", lambda characters: next(answers))
    body = {"metadata": {"generateName": "x-"}}

    assert [api.create("configmaps", body)["metadata"]["name"] for _ in range(2)] == ["x-aaaaa", "x-bbbbb"]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/yaml", yaml.safe_dump(config_map("a")).encode(), 201),
        ("application/xml", b"<a/>", 415),
        ("application/json", b"{", 400),
        ("application/json", b"[]", 400),
        ("application/json", b'{"metadata":5}', 400),
        ("application/yaml", b"a: [", 400),
        ("application/vnd.kubernetes.protobuf", b"nonsense", 400),
    ],
)
def test_bodies_of_several_kinds(api, kind, body, status):
    assert api.send("POST", api.path("configmaps"), body, kind=kind).status == status


def test_timestamps_in_yaml_stay_text(api):
    body = b"metadata: {name: a}\ndata: {when: 2024-01-01}\n"

    assert api.send("POST", api.path("configmaps"), body, kind="application/yaml").expect(201)["data"] == {
        "when": "2024-01-01"
    }


def test_patches_of_custom_resources_are_never_strategic(api):
    api.create("widgets", widget("w"))

    answer = api.send("PATCH", api.path("widgets", "w"), {}, kind="application/strategic-merge-patch+json")

    assert answer.status == 415


def test_force_is_for_apply_only_and_apply_wants_a_manager(api):
    api.create("configmaps", config_map("a"))

    assert api.merge("configmaps", "a", {}, force="true").fields == {"force"}
    assert api.send(
        "PATCH", api.path("configmaps", "a"), config_map("a"), kind="application/apply-patch+yaml"
    ).fields == {"fieldManager"}


def test_client_side_apply_gives_way_to_kubectls_own_server_side_apply(api):
    manifest = config_map("a", {"k": "1"})
    text = '{"apiVersion":"v1","data":{"k":"1"},"kind":"ConfigMap","metadata":{"name":"a"}}'
    api.create(
        "configmaps",
        {
            **manifest,
            "metadata": {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}},
        },
        fieldManager="kubectl-client-side-apply",
    )
    changed = config_map("a", {"k": "2"})

    assert api.apply("configmaps", changed, manager="other").status == 409
    applied = api.apply("configmaps", changed, manager="kubectl").expect(200)

    assert applied["data"] == {"k": "2"}
    assert '"k":"2"' in applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
