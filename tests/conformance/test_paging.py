"""Lists in pages, and lists of a given moment."""

import pytest

from support.manifests import config_map
from support.widgets import widget
from support.worlds import World


async def fill(world: World, names: str) -> None:
    for name in names:
        await world.create("widgets", widget(name))


async def test_pages_follow_each_other_to_the_end(world: World) -> None:
    await fill(world, "abcde")

    pages, token = [], ""
    while True:
        body = (await world.get("widgets", limit=2, **({"continue": token} if token else {}))).expect(200).body
        pages.append(([item["metadata"]["name"] for item in body["items"]], body["metadata"].get("remainingItemCount")))
        token = body["metadata"].get("continue", "")
        if not token:
            break

    assert pages == [(["a", "b"], 3), (["c", "d"], 1), (["e"], None)]


async def test_a_limit_that_is_not_reached_gives_no_token(world: World) -> None:
    await fill(world, "abc")

    body = (await world.get("widgets", limit=3)).expect(200).body

    assert len(body["items"]) == 3
    assert not body["metadata"].get("continue")


async def test_pages_show_the_moment_of_the_first(world: World) -> None:
    await fill(world, "abcd")
    first = (await world.get("widgets", limit=2)).expect(200).body

    await world.create("widgets", widget("cc"))
    (await world.patch("widgets", "c", {"spec": {"size": 9}})).expect(200)
    (await world.delete("widgets", "d")).expect(200)
    second = (await world.get("widgets", limit=9, **{"continue": first["metadata"]["continue"]})).expect(200).body

    assert [(item["metadata"]["name"], item["spec"]["size"]) for item in second["items"]] == [("c", 1), ("d", 1)]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_pages_with_a_selector_do_not_tell_what_remains(world: World) -> None:
    for name in "abcd":
        await world.create("configmaps", config_map(name, labels={"own": str(name != "b").lower()}))

    first = (await world.get("configmaps", labelSelector="own=true", limit=2)).expect(200).body
    token = first["metadata"]["continue"]
    second = (await world.get("configmaps", labelSelector="own=true", limit=2, **{"continue": token})).expect(200).body

    assert [item["metadata"]["name"] for item in first["items"] + second["items"]] == ["a", "c", "d"]
    assert "remainingItemCount" not in first["metadata"]
    assert not second["metadata"].get("continue")


async def test_a_garbage_token_is_a_bad_request(world: World) -> None:
    (await world.get("widgets", limit=2, **{"continue": "garbage"})).expect(400, "BadRequest")


async def test_a_token_with_a_resource_version_is_refused(world: World) -> None:
    await fill(world, "abc")
    token = (await world.get("widgets", limit=1)).expect(200).body["metadata"]["continue"]

    answer = await world.get("widgets", limit=1, resourceVersion=1, **{"continue": token})

    assert answer.status in {400, 422}


async def test_an_expired_token_is_gone_and_offers_another(world: World) -> None:
    await fill(world, "abcd")
    first = (await world.get("widgets", limit=2)).expect(200).body
    await world.create("widgets", widget("e"))

    await world.age()
    answer = (await world.get("widgets", limit=2, **{"continue": first["metadata"]["continue"]})).expect(410, "Expired")

    # The token in the refusal goes on from the same place, but with the present.
    again = (await world.get("widgets", limit=9, **{"continue": answer.body["metadata"]["continue"]})).expect(200).body
    assert [item["metadata"]["name"] for item in again["items"]] == ["c", "d", "e"]


async def test_a_list_of_an_exact_version_shows_that_moment(world: World) -> None:
    await fill(world, "ab")
    then = (await world.get("widgets")).expect(200).body["metadata"]["resourceVersion"]
    await world.create("widgets", widget("c"))

    exact = await world.names("widgets", resourceVersion=then, resourceVersionMatch="Exact")
    newer = await world.names("widgets", resourceVersion=then, resourceVersionMatch="NotOlderThan")

    assert exact == ["a", "b"]
    assert newer[:2] == ["a", "b"]


async def test_a_list_of_an_exact_version_that_is_forgotten_is_gone(world: World) -> None:
    await fill(world, "ab")
    then = (await world.get("widgets")).expect(200).body["metadata"]["resourceVersion"]
    await world.create("widgets", widget("c"))

    await world.age()

    (await world.get("widgets", resourceVersion=then, resourceVersionMatch="Exact")).expect(410, "Expired")


async def test_a_list_from_zero_takes_whatever_is_known(world: World) -> None:
    await fill(world, "ab")

    async def seen() -> bool:
        return await world.names("widgets", resourceVersion=0) == ["a", "b"]

    await world.eventually(seen, what="the objects")


async def test_a_list_of_the_future_is_a_timeout(world: World) -> None:
    answer = await world.get("widgets", resourceVersion=10**9, resourceVersionMatch="NotOlderThan", timeoutSeconds=1)

    answer.expect(504, "Timeout")
    assert "Too large resource version" in answer.message


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersion": "0", "resourceVersionMatch": "Exact"},
        {"resourceVersion": "1", "resourceVersionMatch": "Nearly"},
    ],
)
async def test_a_match_that_makes_no_sense_is_refused(world: World, query: dict[str, str]) -> None:
    (await world.get("widgets", **query)).expect(422, "Invalid")


@pytest.mark.parametrize("version", ["garbage", "-1"])
async def test_a_resource_version_that_is_no_number_is_a_bad_request(world: World, version: str) -> None:
    assert (await world.get("widgets", resourceVersion=version)).status == 400


async def test_get_takes_a_resource_version(world: World) -> None:
    created = await world.create("widgets", widget("a"))

    assert (await world.get("widgets", "a", resourceVersion=created["metadata"]["resourceVersion"])).expect(200)
