import json
import logging

import pytest

from kubekit.client.client import Client
from kubekit.client.errors import (
    AlreadyExists,
    ApiError,
    BadRequest,
    Conflict,
    DecodeError,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    TransportError,
    TransportTimeout,
    Unauthorized,
    UnfitObject,
)
from kubekit.words.meta import Model, ObjectMeta, PartialObject, Resource
from support.scripted_transport import ScriptedStream, ScriptedTransport, answer, failure, line


class Thing(Model, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    size: int | None = None


THINGS = Resource("example.org", "v1", "things", "Thing", Thing)
PARTS = Resource("", "v1", "parts", "Part", PartialObject)
NODES = Resource("", "v1", "nodes", "Node", Thing, namespaced=False)


class Pauses:
    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


def thing(name="a", version="5", **extra):
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"uid-{name}", "resourceVersion": version}, **extra}


def things(*items, **meta):
    return answer(200, {"metadata": {"resourceVersion": "9", **meta}, "items": items})


def connect(*script):
    transport = ScriptedTransport(*script)
    client = Client(
        transport, user_agent="tester/1", clock=Pauses(), observe=lambda *seen: counted.append(seen), jitter=lambda: 0.0
    )
    counted = []
    return client, transport, client._clock.slept, counted


async def test_get_asks_for_the_object_and_decodes_it():
    client, transport, _, counted = connect(answer(200, thing(size=3)))
    assert (await client.get(THINGS, "a", namespace="ns")).size == 3
    (request,) = transport.requests
    assert (request.method, request.path, request.query) == ("GET", "/apis/example.org/v1/namespaces/ns/things/a", ())
    assert request.headers == {"Accept": "application/json", "User-Agent": "tester/1"}
    assert counted == [("get", "things.example.org", 200)]


async def test_a_partial_resource_asks_for_metadata_only():
    stream = ScriptedStream([])
    client, transport, *_ = connect(things(), stream, answer(200, thing()))
    await client.list(PARTS)
    async with client.watch(PARTS, resource_version="1", timeout_seconds=1, idle_timeout=1):
        pass
    await client.get(PARTS, "a", namespace="ns")
    accepted = [request.headers["Accept"] for request in transport.requests]
    assert accepted == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    ]


async def test_a_list_goes_through_its_pages_and_sends_the_version_only_with_the_first():
    client, transport, _, counted = connect(things(thing("a"), **{"continue": "t1"}), things(thing("b")))
    pages = [page async for page in client.pages(THINGS, limit=1, resource_version="0", label_selector="x=y")]
    assert [item.metadata.name for page in pages for item in page.items] == ["a", "b"]
    assert [request.query for request in transport.requests] == [
        (("labelSelector", "x=y"), ("limit", "1"), ("resourceVersion", "0")),
        (("labelSelector", "x=y"), ("limit", "1"), ("continue", "t1")),
    ]
    assert transport.requests[0].path == "/apis/example.org/v1/things"
    assert counted == [("list", "things.example.org", 200)] * 2


async def test_a_list_that_expires_between_pages_is_read_anew_in_one_piece():
    client, transport, *_ = connect(
        things(thing("old"), **{"continue": "t1"}), failure(410, "Expired"), things(thing("a"), thing("b"))
    )
    assert [item.metadata.name for item in await client.list(THINGS, limit=1)] == ["a", "b"]
    assert transport.requests[-1].query == ()


async def test_who_wants_the_whole_list_hears_of_an_object_that_does_not_fit():
    client, *_ = connect(things(thing(), thing("bad", size="hunter2")), things(thing()))
    with pytest.raises(UnfitObject, match="Thing bad cannot be read") as caught:
        await client.list(THINGS, whole=True)
    assert "hunter2" not in str(caught.value)
    assert len(await client.list(THINGS, whole=True)) == 1


async def test_a_poison_object_is_logged_once_per_version_and_left_out(caplog):
    bad = thing("bad", size="hunter2")
    client, *_ = connect(things(thing(), bad), things(thing(), bad), things(thing("bad", "6", size="x")))
    with caplog.at_level(logging.ERROR):
        assert [item.metadata.name for item in await client.list(THINGS)] == ["a"]
        await client.list(THINGS)
        assert len(caplog.records) == 1
        await client.list(THINGS)
    assert len(caplog.records) == 2
    assert "ns/bad" in caplog.text
    assert "hunter2" not in caplog.text


async def test_create_posts_a_typed_manifest():
    client, transport, _, counted = connect(answer(201, thing()))
    await client.create(THINGS, {"metadata": {"name": "a", "namespace": "ns"}, "size": 1}, field_manager="me")
    (request,) = transport.requests
    assert (request.method, request.path) == ("POST", "/apis/example.org/v1/namespaces/ns/things")
    assert request.query == (("fieldManager", "me"),)
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "apiVersion": "example.org/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "namespace": "ns"},
        "size": 1,
    }
    assert counted == [("create", "things.example.org", 201)]


async def test_apply_patches_with_force_and_its_subresource():
    client, transport, _, counted = connect(answer(200, thing()))
    manifest = {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": "4"}}
    await client.apply(THINGS, manifest, field_manager="me", subresource="status")
    (request,) = transport.requests
    assert (request.method, request.path) == ("PATCH", "/apis/example.org/v1/namespaces/ns/things/a/status")
    assert request.query == (("fieldManager", "me"), ("force", "true"))
    assert request.headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(request.body)["metadata"]["resourceVersion"] == "4"
    assert counted == [("apply", "things.example.org/status", 200)]


async def test_apply_without_force_says_so():
    client, transport, *_ = connect(answer(200, thing()))
    await client.apply(NODES, {"metadata": {"name": "a"}}, field_manager="me", force=False)
    assert ("force", "false") in transport.requests[0].query
    assert transport.requests[0].path == "/api/v1/nodes/a"


@pytest.mark.parametrize(
    ("kind", "body", "content_type"),
    [
        ("merge", {"size": 1}, "application/merge-patch+json"),
        ("json", [{"op": "test", "path": "/size", "value": 1}], "application/json-patch+json"),
    ],
)
async def test_patch_names_its_kind(kind, body, content_type):
    client, transport, *_ = connect(answer(200, thing()))
    await client.patch(THINGS, "a", body, namespace="ns", kind=kind, field_manager="me")
    (request,) = transport.requests
    assert request.headers["Content-Type"] == content_type
    assert json.loads(request.body) == body


async def test_replace_puts():
    client, transport, _, counted = connect(answer(200, thing()))
    await client.replace(THINGS, thing(), field_manager="me")
    assert (transport.requests[0].method, transport.requests[0].path) == (
        "PUT",
        "/apis/example.org/v1/namespaces/ns/things/a",
    )
    assert counted == [("update", "things.example.org", 200)]


async def test_delete_carries_its_preconditions():
    client, transport, *_ = connect(answer(200, {"kind": "Status"}))
    await client.delete(THINGS, "a", namespace="ns", uid="u", resource_version="5", grace_period_seconds=0)
    (request,) = transport.requests
    assert request.method == "DELETE"
    assert json.loads(request.body) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u", "resourceVersion": "5"},
        "gracePeriodSeconds": 0,
    }


async def test_delete_without_preconditions_sends_none():
    client, transport, *_ = connect(answer(200, {}))
    await client.delete(NODES, "a")
    assert "preconditions" not in json.loads(transport.requests[0].body)


async def test_logs_are_bytes_and_options_that_are_not_given_are_not_sent():
    client, transport, _, counted = connect(answer(200))
    transport.script[0] = type(transport.script[0])(200, {}, b"one\xff\ntwo\n")
    assert await client.logs("p", namespace="ns", container="c", tail_lines=0) == b"one\xff\ntwo\n"
    (request,) = transport.requests
    assert request.path == "/api/v1/namespaces/ns/pods/p/log"
    assert request.query == (("container", "c"), ("tailLines", "0"))
    assert counted == [("get", "pods/log", 200)]


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", BadRequest),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
    ],
)
async def test_an_error_is_raised_by_its_kind_and_at_once(status, reason, kind):
    client, transport, slept, counted = connect(failure(status, reason, "because", name="a"))
    with pytest.raises(kind, match="because") as caught:
        await client.create(THINGS, thing())
    assert (caught.value.status, caught.value.reason, caught.value.details["name"]) == (status, reason, "a")
    assert (len(transport.requests), slept, counted) == (1, [], [("create", "things.example.org", status)])


async def test_a_server_that_is_busy_is_asked_again_after_the_time_that_it_names():
    busy = failure(429, "TooManyRequests")
    client, transport, slept, counted = connect(type(busy)(429, {"retry-after": "3"}, busy.body), answer(201, thing()))
    await client.create(THINGS, thing())
    assert slept == [3.0]
    assert [code for _, _, code in counted] == [429, 201]
    assert transport.requests[0] == transport.requests[1]


async def test_the_time_may_stand_in_the_details():
    client, _, slept, _ = connect(failure(429, "TooManyRequests", retryAfterSeconds=2), answer(201, thing()))
    await client.create(THINGS, thing())
    assert slept == [2.0]


async def test_a_time_that_is_too_long_is_cut():
    client, _, slept, _ = connect(answer(429, {}, {"retry-after": "86400"}), answer(201, thing()))
    await client.create(THINGS, thing())
    assert slept == [30.0]


async def test_four_attempts_are_enough():
    client, transport, slept, _ = connect(*[failure(429)] * 9)
    with pytest.raises(TooManyRequests):
        await client.get(THINGS, "a", namespace="ns")
    assert len(transport.requests) == 4
    assert slept == [0.2, 0.4, 0.8]


@pytest.mark.parametrize("problem", [failure(500), failure(504), TransportError("reset")])
async def test_what_may_have_taken_effect_is_repeated_only_where_that_does_no_harm(problem):
    calls = {
        "get": lambda client: client.get(THINGS, "a", namespace="ns"),
        "apply": lambda client: client.apply(THINGS, thing(), field_manager="me"),
        "delete": lambda client: client.delete(THINGS, "a", namespace="ns"),
        "replace under a version": lambda client: client.replace(THINGS, thing(), field_manager="me", repeat=True),
    }
    for call in calls.values():
        client, transport, *_ = connect(problem, answer(200, thing()))
        await call(client)
        assert len(transport.requests) == 2
    unversioned = {"metadata": {"name": "a", "namespace": "ns"}}
    others = {
        "create": lambda client: client.create(THINGS, thing()),
        "patch": lambda client: client.patch(THINGS, "a", {}, field_manager="me"),
        "replace": lambda client: client.replace(THINGS, thing(), field_manager="me"),
        "replace under no version": lambda client: client.replace(THINGS, unversioned, field_manager="me", repeat=True),
    }
    for call in others.values():
        client, transport, *_ = connect(problem)
        with pytest.raises((ServerError, TransportError)):
            await call(client)
        assert len(transport.requests) == 1


async def test_a_server_that_turns_a_create_away_unseen_is_asked_again():
    client, transport, slept, _ = connect(answer(503, {}, {"retry-after": "1"}), answer(201, thing()))
    await client.create(THINGS, thing())
    assert (len(transport.requests), slept) == (2, [1.0])


async def test_no_answer_in_time_is_not_waited_for_again():
    client, transport, _, counted = connect(TransportTimeout("slow"))
    with pytest.raises(TransportTimeout):
        await client.get(THINGS, "a", namespace="ns")
    assert (len(transport.requests), counted) == (1, [("get", "things.example.org", 0)])


async def test_a_version_that_the_server_has_not_reached_is_not_waited_for():
    client, transport, *_ = connect(failure(504, "Timeout", causes=[{"reason": "ResourceVersionTooLarge"}]))
    with pytest.raises(ServerError):
        await client.get(THINGS, "a", namespace="ns")
    assert len(transport.requests) == 1


async def test_an_answer_that_cannot_be_understood_says_so():
    client, *_ = connect(answer(200, {"metadata": 5}))
    with pytest.raises(DecodeError, match="Thing"):
        await client.get(THINGS, "a", namespace="ns")


@pytest.mark.parametrize("body", [b"", b"<html>gateway</html>", b"\xff\xff", b"[]", b"null"])
async def test_an_error_without_a_status_is_still_an_error(body):
    response = failure(404)
    client, *_ = connect(type(response)(404, {}, body))
    with pytest.raises(NotFound):
        await client.get(THINGS, "a", namespace="ns")


async def test_a_redirect_is_no_answer_of_an_api_server():
    client, *_ = connect(answer(302, {}, {"location": "https://login.example"}))
    with pytest.raises(ApiError) as caught:
        await client.get(THINGS, "a", namespace="ns")
    assert caught.value.status == 302


async def test_the_servers_warnings_are_logged_once(caplog):
    warned = answer(201, thing(), {"warning": '299 - "deprecated"'})
    client, *_ = connect(warned, warned)
    with caplog.at_level(logging.WARNING):
        await client.create(THINGS, thing())
        await client.create(THINGS, thing())
    assert [record.message for record in caplog.records] == ['the API server warns: 299 - "deprecated"']


async def test_a_watch_asks_for_bookmarks_and_gives_events_as_they_come():
    one, two = line("ADDED", thing("a", "6")), line("BOOKMARK", {"metadata": {"resourceVersion": "8"}})
    client, transport, _, counted = connect(ScriptedStream([one[:10], one[10:] + two[:3], two[3:]]))
    async with client.watch(
        THINGS,
        namespace="ns",
        field_selector="metadata.name=a",
        resource_version="5",
        timeout_seconds=300,
        idle_timeout=9,
    ) as events:
        found = [(event.type, event.resource_version) async for event in events]
    assert found == [("ADDED", "6"), ("BOOKMARK", "8")]
    assert transport.requests[0].query == (
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", "5"),
        ("timeoutSeconds", "300"),
        ("fieldSelector", "metadata.name=a"),
    )
    assert counted == [("watch", "things.example.org", 200)]
    assert transport.open_streams == 0


@pytest.mark.parametrize(("status", "kind"), [(410, Gone), (403, Forbidden), (404, NotFound), (429, TooManyRequests)])
async def test_a_watch_that_is_refused_raises_and_is_not_repeated(status, kind):
    client, transport, _, counted = connect(failure(status, "X", "old"))
    with pytest.raises(kind, match="old"):
        async with client.watch(THINGS, resource_version="5", timeout_seconds=1, idle_timeout=1):
            pass
    assert counted == [("watch", "things.example.org", status)]
    assert (len(transport.requests), transport.open_streams) == (1, 0)


async def test_a_watch_without_an_answer_is_counted_as_such():
    client, _, _, counted = connect(TransportError("refused"))
    with pytest.raises(TransportError):
        async with client.watch(THINGS, resource_version="5", timeout_seconds=1, idle_timeout=1):
            pass
    assert counted == [("watch", "things.example.org", 0)]


async def test_a_watch_that_breaks_gives_what_was_whole_and_raises():
    client, transport, _, counted = connect(
        ScriptedStream([line("ADDED", thing()), b'{"type": "ADD', TransportError("cut")])
    )
    async with client.watch(THINGS, resource_version="5", timeout_seconds=1, idle_timeout=1) as events:
        assert (await anext(events)).type == "ADDED"
        with pytest.raises(TransportError, match="cut"):
            await anext(events)
    assert counted == [("watch", "things.example.org", 200)]
    assert transport.open_streams == 0


async def test_a_watch_that_broke_after_its_answer_is_counted_once():
    client, _, _, counted = connect(ScriptedStream([TransportError("cut")]))
    with pytest.raises(TransportError):
        async with client.watch(THINGS, resource_version="5", timeout_seconds=1, idle_timeout=1) as events:
            await anext(events)
    assert counted == [("watch", "things.example.org", 200)]


async def test_leaving_a_watch_early_closes_its_stream():
    client, transport, *_ = connect(ScriptedStream([line("ADDED", thing())] * 3))
    async with client.watch(THINGS, resource_version="5", timeout_seconds=1, idle_timeout=1) as events:
        async for _ in events:
            break
    assert transport.open_streams == 0
    with pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_any_other_request_can_be_sent():
    client, transport, _, counted = connect(answer(200, {"major": "1"}))
    assert await client.request_json("GET", "/version") == {"major": "1"}
    assert counted == [("get", "version", 200)]
    assert "Content-Type" not in transport.requests[0].headers


async def test_close_closes_the_transport():
    client, transport, *_ = connect()
    await client.close()
    assert transport.closed
