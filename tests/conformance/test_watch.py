"""Watches: where they begin, what they tell, how they end."""

import asyncio
from typing import Any

import pytest

from support.manifests import config_map, pod
from support.widgets import widget
from support.worlds import METADATA, World


def seen(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def version_now(world: World, plural: str = "widgets") -> str:
    return (await world.get(plural)).expect(200).body["metadata"]["resourceVersion"]


async def test_a_watch_tells_what_happens_after_its_version(world: World) -> None:
    await world.create("widgets", widget("before"))
    since = await version_now(world)

    async with world.watch(world.path("widgets"), resourceVersion=since) as watch:
        created = await world.create("widgets", widget("a"))
        patched = (await world.patch("widgets", "a", {"spec": {"size": 2}})).expect(200).body
        await world.delete("widgets", "a")
        events = await watch.take(3)

    assert watch.status == 200
    assert seen(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert (events[0]["object"], events[1]["object"]) == (created, patched)
    gone = events[2]["object"]
    assert gone["spec"]["size"] == 2
    assert int(gone["metadata"]["resourceVersion"]) > int(patched["metadata"]["resourceVersion"])


async def test_a_watch_resumes_from_any_version_that_it_has_told(world: World) -> None:
    since = await version_now(world)
    for name in "abc":
        await world.create("widgets", widget(name))
    async with world.watch(world.path("widgets"), resourceVersion=since) as watch:
        first = await watch.take(1)

    async with world.watch(
        world.path("widgets"), resourceVersion=first[0]["object"]["metadata"]["resourceVersion"]
    ) as watch:
        assert seen(await watch.take(2)) == [("ADDED", "b"), ("ADDED", "c")]


@pytest.mark.parametrize("query", [{"resourceVersion": "0"}, {}])
async def test_a_watch_from_nowhere_begins_with_what_is_there(world: World, query: dict[str, str]) -> None:
    for name in "ab":
        await world.create("configmaps", config_map(name, labels={"own": "1"}))

    async with world.watch(world.path("configmaps"), labelSelector="own", **query) as watch:
        events = await watch.take(2)
        await world.create("configmaps", config_map("c", labels={"own": "1"}))
        events += await watch.take(1)

    assert sorted(seen(events)[:2]) == [("ADDED", "a"), ("ADDED", "b")]
    assert seen(events)[2] == ("ADDED", "c")


async def test_a_streamed_list_ends_with_a_marked_bookmark(world: World) -> None:
    for name in "ab":
        await world.create("widgets", widget(name))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}

    async with world.watch(world.path("widgets"), **query) as watch:
        events = await watch.take(3, bookmarks=True)
        await world.create("widgets", widget("c"))
        later = await watch.take(1)

    assert [event["type"] for event in events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert {event["object"]["metadata"]["name"] for event in events[:2]} == {"a", "b"}
    mark = events[2]["object"]
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (mark["kind"], mark["apiVersion"]) == ("Widget", "testing.datamover.example/v1")
    assert int(mark["metadata"]["resourceVersion"]) >= max(
        int(event["object"]["metadata"]["resourceVersion"]) for event in events[:2]
    )
    assert seen(later) == [("ADDED", "c")]


async def test_a_streamed_list_of_nothing_is_just_the_bookmark(world: World) -> None:
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}

    async with world.watch(world.path("widgets"), **query) as watch:
        events = await watch.take(1, bookmarks=True)

    assert events[0]["type"] == "BOOKMARK"


@pytest.mark.parametrize(
    "query",
    [
        {"sendInitialEvents": "true"},
        {"sendInitialEvents": "true", "resourceVersionMatch": "Exact", "resourceVersion": "5"},
        {"resourceVersionMatch": "NotOlderThan", "resourceVersion": "0"},
    ],
)
async def test_a_streamed_list_asked_for_wrongly_is_invalid(world: World, query: dict[str, str]) -> None:
    async with world.watch(world.path("widgets"), **query) as watch:
        status, body = watch.status, await watch.body()

    assert (status, body["reason"]) == (422, "Invalid")


async def test_bookmarks_come_when_allowed_and_carry_a_version_only(world: World) -> None:
    since = await version_now(world)

    async with world.watch(
        world.path("widgets"), resourceVersion=since, allowWatchBookmarks="true", timeoutSeconds=4
    ) as watch:
        await world.create("widgets", widget("a"))
        events = await watch.rest()

    marks = [event["object"] for event in events if event["type"] == "BOOKMARK"]
    assert marks, events
    created = next(event["object"] for event in events if event["type"] == "ADDED")
    assert int(marks[-1]["metadata"]["resourceVersion"]) >= int(created["metadata"]["resourceVersion"])
    assert (marks[-1]["kind"], marks[-1]["metadata"].get("name", "")) == ("Widget", "")


async def test_bookmarks_do_not_come_unasked(world: World) -> None:
    since = await version_now(world)

    async with world.watch(world.path("widgets"), resourceVersion=since, timeoutSeconds=3) as watch:
        assert await watch.rest() == []


async def test_a_label_change_is_an_arrival_or_a_departure_for_who_selects(world: World) -> None:
    since = await version_now(world)

    async with world.watch(world.path("widgets"), resourceVersion=since, labelSelector="on=yes") as watch:
        await world.create("widgets", widget("a"))
        for value in ("yes", "no", "yes"):
            (await world.patch("widgets", "a", {"metadata": {"labels": {"on": value}}})).expect(200)
        await world.delete("widgets", "a")
        events = await watch.take(4)

    assert [event["type"] for event in events] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    # A departure shows the last state that matched, with the version of the change.
    assert events[1]["object"]["metadata"]["labels"] == {"on": "yes"}
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


async def test_a_field_selected_watch_tells_of_one_object(world: World) -> None:
    since = await version_now(world, "configmaps")

    async with world.watch(world.path("configmaps"), resourceVersion=since, fieldSelector="metadata.name=b") as watch:
        for name in "abc":
            await world.create("configmaps", config_map(name))
        await world.delete("configmaps", "b")
        events = await watch.take(2)

    assert seen(events) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_watch_by_phase_follows_status(world: World) -> None:
    since = await version_now(world, "pods")

    async with world.watch(world.path("pods"), resourceVersion=since, fieldSelector="status.phase=Running") as watch:
        await world.create("pods", pod("a"))
        for phase in ("Running", "Succeeded"):
            (await world.patch("pods", "a", {"status": {"phase": phase}}, sub="status")).expect(200)
        events = await watch.take(2)

    assert seen(events) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_over_all_namespaces_tells_of_each(world: World) -> None:
    other = await world.new_namespace()
    since = await version_now(world)

    async with world.watch(world.path("widgets", namespace=""), resourceVersion=since) as watch:
        await world.create("widgets", widget("a"))
        (await world.send("POST", world.path("widgets", namespace=other), widget("b"))).expect(201)
        events = await watch.take(2)

    assert [event["object"]["metadata"]["namespace"] for event in events] == [world.namespace, other]


async def test_a_finalized_deletion_is_a_change_and_then_a_deletion(world: World) -> None:
    await world.create("widgets", widget("a") | {"metadata": {"name": "a", "finalizers": ["x.example/f"]}})
    since = await version_now(world)

    async with world.watch(world.path("widgets"), resourceVersion=since) as watch:
        await world.delete("widgets", "a")
        await world.patch("widgets", "a", {"metadata": {"finalizers": None}})
        events = await watch.take(2)

    assert seen(events) == [("MODIFIED", "a"), ("DELETED", "a")]
    assert events[0]["object"]["metadata"]["deletionTimestamp"]


async def test_a_change_of_nothing_is_no_event(world: World) -> None:
    await world.create("widgets", widget("a"))
    since = await version_now(world)

    async with world.watch(world.path("widgets"), resourceVersion=since) as watch:
        (await world.patch("widgets", "a", {"spec": {"size": 1}})).expect(200)
        await world.create("widgets", widget("marker"))
        events = await watch.take(1)

    assert seen(events) == [("ADDED", "marker")]


async def test_a_watch_ends_after_its_timeout(world: World) -> None:
    since = await version_now(world)
    began = asyncio.get_running_loop().time()

    async with world.watch(world.path("widgets"), resourceVersion=since, timeoutSeconds=1) as watch:
        assert [event for event in await watch.rest() if event["type"] != "BOOKMARK"] == []

    assert 0.5 < asyncio.get_running_loop().time() - began < 5


async def test_a_watch_from_a_forgotten_version_is_told_to_list_anew(world: World) -> None:
    since = await version_now(world)
    await world.create("widgets", widget("a"))

    await world.age()
    async with world.watch(world.path("widgets"), resourceVersion=since) as watch:
        status = watch.status
        event = await watch.next() if status == 200 else {"type": "ERROR", "object": await watch.body()}

    # As status or as event: clients have to take both.
    assert status in {200, 410}
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


async def test_a_watch_from_the_future_tells_nothing_of_the_present(world: World) -> None:
    async with world.watch(world.path("widgets"), resourceVersion=10**9, timeoutSeconds=2) as watch:
        assert watch.status == 200
        await world.create("widgets", widget("a"))
        assert [event for event in await watch.rest() if event["type"] != "BOOKMARK"] == []


@pytest.mark.parametrize(
    "query", [{"resourceVersion": "garbage"}, {"labelSelector": "a b"}, {"fieldSelector": "spec.size=1"}]
)
async def test_a_watch_asked_for_wrongly_is_refused(world: World, query: dict[str, str]) -> None:
    async with world.watch(world.path("widgets"), **query) as watch:
        assert watch.status in {400, 422, 500}  # a real server says 500 to a version that is no number


async def test_a_watch_of_an_unknown_kind_is_not_found(world: World) -> None:
    async with world.watch("/apis/testing.datamover.example/v1/things") as watch:
        assert watch.status == 404


async def test_a_watch_of_metadata_only(world: World) -> None:
    since = await version_now(world)

    async with world.watch(world.path("widgets"), accept=METADATA, resourceVersion=since) as watch:
        created = await world.create("widgets", widget("a"))
        event = (await watch.take(1))[0]

    assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert event["object"]["metadata"] == created["metadata"]
    assert "spec" not in event["object"]


async def test_events_are_in_the_order_of_their_versions(world: World) -> None:
    since = await version_now(world)

    async with world.watch(world.path("widgets"), resourceVersion=since) as watch:
        await asyncio.gather(*(world.create("widgets", widget(f"w{number}")) for number in range(20)))
        events = await watch.take(20)

    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
