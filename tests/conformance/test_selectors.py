"""Label and field selectors, on lists and on deletions of collections."""

import pytest

from support.manifests import config_map, pod
from support.widgets import widget
from support.worlds import World

LABELS: dict[str, dict[str, str]] = {
    "a": {"app": "web", "tier": "front", "example.com/own": "1"},
    "b": {"app": "web", "tier": "back"},
    "c": {"app": "db", "empty": ""},
    "d": {},
}


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("app=web", "ab"),
        ("app==web", "ab"),
        ("app!=web", "cd"),
        ("app=web,tier=back", "b"),
        ("app in (web, db)", "abc"),
        ("app in (db)", "c"),
        ("app notin (web)", "cd"),
        ("app notin (web,db)", "d"),
        ("app", "abc"),
        ("!app", "d"),
        ("app,!tier", "c"),
        ("empty=", "c"),
        ("empty", "c"),
        ("example.com/own=1", "a"),
        ("tier notin (front),app", "bc"),
        ("app=none", ""),
        ("", "abcd"),
        (" app = web , tier = front ", "a"),
    ],
)
async def test_label_selectors(world: World, plural: str, selector: str, names: str) -> None:
    for name, labels in LABELS.items():
        manifest = config_map(name) if plural == "configmaps" else widget(name)
        manifest["metadata"]["labels"] = labels
        await world.create(plural, manifest)

    found = await world.names(plural, labelSelector=selector)

    assert "".join(name for name in found if name in LABELS) == names


@pytest.mark.parametrize(
    "selector", ["a b", "app=(web", "=x", "app in web", "app in ()x", "-bad=x", "app=not/ok", "app>x"]
)
async def test_a_label_selector_that_cannot_be_read_is_a_bad_request(world: World, selector: str) -> None:
    answer = await world.get("configmaps", labelSelector=selector)

    answer.expect(400, "BadRequest")


@pytest.mark.parametrize("plural", ["configmaps", "widgets"])
@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("metadata.name=a", "a"),
        ("metadata.name==a", "a"),
        ("metadata.name!=a", "b"),
        ("metadata.name=a,metadata.name=b", ""),
        ("metadata.namespace=NAMESPACE", "ab"),
        ("metadata.namespace!=NAMESPACE", ""),
        ("metadata.name=a,metadata.namespace=NAMESPACE", "a"),
    ],
)
async def test_field_selectors_of_every_kind(world: World, plural: str, selector: str, names: str) -> None:
    for name in "ab":
        await world.create(plural, config_map(name) if plural == "configmaps" else widget(name))

    found = await world.names(plural, fieldSelector=selector.replace("NAMESPACE", world.namespace))

    assert "".join(name for name in found if name in {"a", "b"}) == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("status.phase=Running", ["a"]),
        ("status.phase!=Running", ["b"]),
        ("status.phase=Pending", ["b"]),
        ("spec.nodeName=one", ["a"]),
        ("spec.nodeName=", ["b"]),
        ("spec.restartPolicy=Never", ["a", "b"]),
    ],
)
async def test_field_selectors_of_pods(world: World, selector: str, names: list[str]) -> None:
    await world.create("pods", pod("a", nodeName="one"))
    await world.create("pods", pod("b"))
    (await world.patch("pods", "a", {"status": {"phase": "Running"}}, sub="status")).expect(200)

    assert await world.names("pods", fieldSelector=selector) == names


@pytest.mark.parametrize(
    ("plural", "selector"),
    [
        ("configmaps", "data.k=v"),
        ("widgets", "spec.size=1"),
        ("pods", "spec.containers=x"),
        ("configmaps", "metadata.uid=x"),
    ],
)
async def test_an_unsupported_field_selector_is_a_bad_request(world: World, plural: str, selector: str) -> None:
    answer = (await world.get(plural, fieldSelector=selector)).expect(400, "BadRequest")

    assert "field label not supported" in answer.message or "is not a known field selector" in answer.message


@pytest.mark.parametrize("selector", ["metadata.name", "nothing"])
async def test_a_field_selector_that_cannot_be_read_is_a_bad_request(world: World, selector: str) -> None:
    (await world.get("configmaps", fieldSelector=selector)).expect(400, "BadRequest")


async def test_both_selectors_hold_together(world: World) -> None:
    for name in "ab":
        await world.create("configmaps", config_map(name, labels={"own": "1"}))

    assert await world.names("configmaps", labelSelector="own", fieldSelector="metadata.name=b") == ["b"]
    assert await world.names("configmaps", labelSelector="!own", fieldSelector="metadata.name=b") == []
