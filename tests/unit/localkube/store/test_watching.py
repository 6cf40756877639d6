"""Watches: what the conformance suite does not hold against the real server."""

import asyncio
import json

import pytest

from support.clock import settle
from support.manifests import config_map


def names(events):
    return [(event["type"], event["object"]["metadata"].get("name")) for event in events]


async def test_an_object_that_leaves_or_enters_a_selection_goes_or_comes(api):
    api.create("configmaps", config_map("a", labels={"in": "yes"}))
    watch = await api.watch("configmaps", labelSelector="in=yes")
    api.merge("configmaps", "a", {"metadata": {"labels": {"in": "no"}}})
    api.merge("configmaps", "a", {"data": {"x": "1"}})
    changed = api.merge("configmaps", "a", {"metadata": {"labels": {"in": "yes"}}}).body
    api.delete("configmaps", "a")

    events = [await watch.next() for _ in range(4)]

    assert [event["type"] for event in events] == ["ADDED", "DELETED", "ADDED", "DELETED"]
    assert events[1]["object"]["metadata"]["labels"] == {"in": "yes"}  # its last state inside the selection
    assert events[2]["object"]["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
    revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert revisions == sorted(set(revisions))
    await watch.close()


async def test_bookmarks_come_each_minute_and_at_the_end(api, clock):
    watch = await api.watch("configmaps", allowWatchBookmarks="true", timeoutSeconds=90)
    rest = asyncio.ensure_future(watch.rest())
    await clock.advance(30)
    api.create("secrets", {"metadata": {"name": "elsewhere"}})
    await clock.advance(70)

    events = await rest

    revision = str(api.server.storage.revision)
    assert [(e["type"], e["object"]["metadata"]["resourceVersion"]) for e in events] == [("BOOKMARK", revision)] * 2


@pytest.mark.parametrize("as_status", [True, False])
async def test_a_revision_from_before_a_compaction_is_expired_as_status_or_as_event(api, as_status):
    api.create("configmaps", config_map("a"))
    old = api.list("configmaps")["metadata"]["resourceVersion"]
    api.create("configmaps", config_map("b"))
    api.server.compact()
    api.server.expired_as_status = as_status

    watch = await api.watch("configmaps", resourceVersion=old)

    if as_status:
        assert watch.status == 410
        status = json.loads(b"".join([chunk async for chunk in watch.stream.chunks]))
    else:
        assert watch.status == 200
        (event,) = await watch.rest()
        assert event["type"] == "ERROR"
        status = event["object"]
    assert (status["code"], status["reason"]) == (410, "Expired")


async def test_open_watches_can_be_expired(api):
    watch = await api.watch("configmaps")

    assert api.server.expire_watches("secrets") == 0
    assert api.server.expire_watches("configmaps") == 1
    assert [(e["type"], e["object"]["code"]) for e in await watch.rest()] == [("ERROR", 410)]


async def test_a_cut_loses_what_was_not_read(api):
    watch = await api.watch("configmaps")
    api.create("configmaps", config_map("a"))

    assert api.server.cut_watches() == 1
    assert await watch.rest() == []
    assert api.server.cut_watches() == 0


async def test_a_closed_watch_hears_nothing_more_and_leaves_no_task(api):
    watch = await api.watch("configmaps")
    api.create("configmaps", config_map("a"))
    await watch.take(1)
    await watch.close()
    await watch.close()
    api.create("configmaps", config_map("b"))
    await settle()

    assert await watch.rest() == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_reader_that_cannot_keep_up_is_dropped(api, monkeypatch):
    monkeypatch.setattr("localkube.store.watching._BACKLOG", 3)
    watch = await api.watch("configmaps")
    for number in range(6):
        api.create("configmaps", config_map(f"c{number}"))

    assert names(await watch.rest()) == [("ADDED", f"c{number}") for number in range(4)]


async def test_deliveries_can_be_lost_doubled_or_late_but_keep_the_order_of_each_object(api, clock):
    fates = {"a": [(5.0,), (0.0,)], "b": [(0.0, 0.0)], "c": [()]}
    api.server.deliver = lambda watch, word, record: fates[record.name].pop(0)
    watch = await api.watch("configmaps", allowWatchBookmarks="true")
    seen = []

    async def read():
        while True:
            event = await watch.next()
            seen.append((event["type"], event["object"]["metadata"].get("name", "")))

    reading = asyncio.ensure_future(read())
    api.create("configmaps", config_map("a"))
    api.create("configmaps", config_map("b"))
    api.create("configmaps", config_map("c"))
    api.merge("configmaps", "a", {"data": {"x": "y"}})
    await settle()
    assert seen == [("ADDED", "b"), ("ADDED", "b")]

    await clock.advance(6)
    assert seen[2:] == [("ADDED", "a"), ("MODIFIED", "a")]
    reading.cancel()
    await watch.close()


async def test_a_bookmark_never_overtakes_a_late_event(api, clock):
    api.server.deliver = lambda watch, word, record: (100.0,)
    watch = await api.watch("configmaps", allowWatchBookmarks="true", timeoutSeconds=300)
    rest = asyncio.ensure_future(watch.rest())
    await clock.advance(0)
    api.create("configmaps", config_map("a"))
    await clock.advance(400)

    kinds = [event["type"] for event in await rest]
    assert kinds.index("ADDED") == 0
    assert set(kinds[1:]) == {"BOOKMARK"}
