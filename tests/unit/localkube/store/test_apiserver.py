import random

import pytest

from kubekit.client.errors import TransportError
from kubekit.client.transport import Request, Response
from localkube.store.apiserver import ApiServer
from localkube.store.statuses import too_many_requests
from support.clock import VirtualClock
from support.manifests import config_map
from support.widgets import widget


def test_answers_are_counted_by_verb_resource_and_code(api):
    before = api.server.requests.copy()

    api.create("configmaps", config_map("a"))
    api.send("POST", api.path("configmaps"), config_map("a"))
    api.merge("widgets", "nope", {}, sub="status")
    api.apply("widgets", widget("w"))
    api.send("GET", "/healthz")

    assert api.server.requests - before == {
        ("create", "configmaps", 201): 1,
        ("create", "configmaps", 409): 1,
        ("patch", "widgets.testing.datamover.example/status", 404): 1,
        ("apply", "widgets.testing.datamover.example", 201): 1,
        ("get", "/healthz", 200): 1,
    }


async def test_a_request_can_be_answered_in_the_servers_place(api):
    refusal = too_many_requests(7)
    api.server.intercept = lambda request: (
        Response(429, refusal.headers, refusal.body()) if request.method == "PUT" else None
    )

    answer = await api.server.handle(Request("PUT", api.path("configmaps", "a"), body=b"{}"))

    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert api.server.requests["update", "configmaps", 429] == 1
    assert (await api.server.handle(Request("GET", "/healthz"))).status == 200


async def test_an_answer_can_be_lost_after_its_effect(api):
    def lose(request: Request, response: Response) -> None:
        raise TransportError("the line is dead")

    api.server.after = lose
    with pytest.raises(TransportError):
        await api.server.handle(Request("POST", api.path("configmaps"), body=b'{"metadata":{"name":"a"}}'))

    assert api.get("configmaps", "a")["metadata"]["name"] == "a"


async def test_fault_hooks_may_take_their_time(api):
    async def wait(request: Request) -> Response:
        return Response(503, {}, b"{}")

    async def double(request: Request, response: Response) -> Response:
        return Response(response.status + 1, response.headers, response.body)

    api.server.intercept, api.server.after = wait, double

    assert (await api.server.handle(Request("GET", "/version"))).status == 504


def script(seed: int) -> tuple[bytes, list[str]]:
    server = ApiServer(clock=VirtualClock(), random=random.Random(seed))
    names = []
    for number in range(5):
        body = b'{"metadata":{"generateName":"x-","labels":{"b":"1","a":"2"}},"data":{"k":"%d"}}' % number
        answer = server.answer(Request("POST", "/api/v1/namespaces/default/configmaps", body=body))
        names.append(answer.body.split(b'"name":"')[1].split(b'"')[0].decode())
    for name in names:
        path = f"/api/v1/namespaces/default/configmaps/{name}"
        patch = b'{"data":{"z":"1","y":"2","x":"3"},"metadata":{"annotations":{"q":"1","p":"2"}}}'
        server.answer(Request("PATCH", path, headers={"content-type": "application/merge-patch+json"}, body=patch))
    return server.snapshot(), names


def test_the_same_seed_and_clock_give_the_same_bytes():
    assert script(3) == script(3)
    assert script(3)[1] != script(4)[1]


def test_a_bug_of_ours_is_a_500_and_the_server_goes_on(api, monkeypatch, caplog):
    monkeypatch.setattr(api.server._dispatcher, "answer", lambda call: 1 / 0)

    answer = api.send("GET", api.path("configmaps"))

    assert (answer.status, answer.body["reason"]) == (500, "InternalError")
    assert "ZeroDivisionError" in answer.body["message"]
    assert "failed at GET" in caplog.text


def test_what_a_server_holds_can_be_saved_and_restored(api):
    api.create("widgets", widget("w"))
    api.create("configmaps", config_map("a"))
    saved = api.server.snapshot()

    other = ApiServer(clock=VirtualClock(), random=random.Random(2))
    other.restore(saved)

    assert other.snapshot() == saved
    api.server = other
    assert api.get("widgets", "w")["spec"]["size"] == 1
    created = api.create("configmaps", config_map("b"))
    assert int(created["metadata"]["resourceVersion"]) > int(api.get("configmaps", "a")["metadata"]["resourceVersion"])


def test_secrets_can_be_left_out_of_what_is_saved(api):
    api.create("secrets", {"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}})
    api.create("configmaps", config_map("a"))

    api.server.restore(api.server.snapshot(without={"secrets"}))

    assert api.list("secrets")["items"] == []
    assert [item["metadata"]["name"] for item in api.list("configmaps")["items"]] == ["a"]


@pytest.mark.parametrize("data", [b"", b"garbage", b"x\x9c", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_a_state_that_cannot_be_read_changes_nothing(api, data):
    api.create("configmaps", config_map("a"))

    with pytest.raises(ValueError, match=r"no saved state|JSON|truncated|malformed"):
        api.server.restore(data)

    assert api.get("configmaps", "a")


async def test_watches_from_before_a_restore_end_and_older_revisions_are_expired(api):
    api.create("configmaps", config_map("a"))
    old = api.get("configmaps", "a")["metadata"]["resourceVersion"]
    api.create("configmaps", config_map("b"))
    watch = await api.watch("configmaps", resourceVersion=old)

    api.server.restore(api.server.snapshot())

    assert [event["object"]["metadata"]["name"] for event in await watch.rest()] == ["b"]
    (event,) = await (await api.watch("configmaps", resourceVersion=old)).rest()
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_fresh_server_brings_its_namespaces_and_the_snapshot_kinds(api):
    names = {item["metadata"]["name"] for item in api.list("namespaces")["items"]}

    assert {"default", "kube-system"} <= names
    snapshot = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": "s"},
        "spec": {"source": {"persistentVolumeClaimName": "c"}},
    }
    assert api.create("volumesnapshots", snapshot)["spec"] == snapshot["spec"]


async def test_events_are_forgotten_an_hour_after_their_last_change(api, clock):
    about = {"involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"}}
    api.create("events", {"metadata": {"name": "old"}, **about})
    api.create("events", {"metadata": {"name": "touched"}, **about})
    await clock.advance(3000)
    api.merge("events", "touched", {"count": 2}).expect(200)
    await clock.advance(700)
    api.create("events", {"metadata": {"name": "new"}, **about})

    assert [item["metadata"]["name"] for item in api.list("events")["items"]] == ["new", "touched"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nopes", 404),
        ("GET", "/apis/nope/v1/things", 404),
        ("GET", "/api/v2/pods", 404),
        ("GET", "/api/v1/pods/p", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/namespaces/default/pods/p/nope", 404),
        ("GET", "/api/v1/namespaces/default/configmaps/c/status", 404),
        ("POST", "/api/v1/namespaces/default/configmaps/c", 405),
        ("PUT", "/api/v1/namespaces/default/configmaps", 405),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
        ("POST", "/api/v1/configmaps", 400),
        ("GET", "/nope", 404),
        ("DELETE", "/version", 404),
    ],
)
def test_paths_and_verbs_that_are_not_served(api, method, path, status):
    assert api.send(method, path, {}).status == status
