"""Writes: what the conformance suite does not hold against the real server."""

from support.manifests import config_map
from support.widgets import widget


async def test_applying_again_is_no_write_even_later(api, clock):
    applied = api.apply("widgets", widget("w")).expect(201)
    await clock.advance(60)

    assert api.apply("widgets", widget("w")).expect(200) == applied


def test_generated_names_are_made_anew_when_taken(api, server, monkeypatch):
    answers = iter("aaaaaaaaaabbbbb")
    monkeypatch.setattr(server._writer, "_choose", lambda characters: next(answers))
    body = {"metadata": {"generateName": "x-"}}

    assert [api.create("configmaps", body)["metadata"]["name"] for _ in range(2)] == ["x-aaaaa", "x-bbbbb"]


def test_timestamps_in_yaml_stay_text(api):
    body = b"metadata: {name: a}\ndata: {when: 2024-01-01}\n"

    assert api.send("POST", api.path("configmaps"), body, kind="application/yaml").expect(201)["data"] == {
        "when": "2024-01-01"
    }


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
