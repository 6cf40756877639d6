"""What is said of a request before anything is started, and how a run ends. The whole command is in the scenarios."""

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.cli.applying import Wanted
from datamover.cli.display import NoDisplay
from datamover.cli.embedded.world import EmbeddedWorld
from datamover.cli.exits import Exit
from datamover.cli.manifests import ManifestError, Source, read_manifests
from datamover.cli.request import check_request
from datamover.cli.run import RunOptions, RunResult, _wait, run
from datamover.cli.runnables import name_of
from datamover.cli.volumes import Volume
from datamover.cli.watched import Watched
from support.builders import data_mover, status

MOVER = """
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMover
metadata: {name: nightly}
spec: {sourcePvc: app-data, secretName: storage-credentials, suspend: true}
"""


def sources(text: str = MOVER) -> tuple[Source, ...]:
    return read_manifests(("-",), stdin=io.StringIO(text), namespace="default")


def test_a_request_that_can_be_run(tmp_path: Path) -> None:
    check_request(sources(), (Volume("app-data", tmp_path / "data"),), state=tmp_path / "state")


@pytest.mark.parametrize(
    ("text", "volumes", "state", "words"),
    [
        (
            "{apiVersion: v1, kind: Secret, metadata: {name: s}}",
            (),
            "state",
            "no DataMover, ReplicationSource, ReplicationDestination or DataVolume among the objects",
        ),
        (MOVER, ("a", "b", "a"), "state", "--volume names a more than once: give each claim one directory"),
        (MOVER, ("a",), "volumes/a/state", "lie in one another"),
    ],
)
def test_a_request_that_cannot(text: str, volumes: tuple[str, ...], state: str, words: str, tmp_path: Path) -> None:
    given = tuple(Volume(name, tmp_path / "volumes" / name) for name in volumes)
    with pytest.raises(ManifestError, match=words):
        check_request(sources(text), given, state=tmp_path / state)


def options(tmp_path: Path, text: str = MOVER, **fields) -> RunOptions:
    (tmp_path / "data").mkdir(exist_ok=True)
    given = {"volumes": (Volume("app-data", tmp_path / "data"),), "namespace": "default", "state": tmp_path / "state"}
    return RunOptions(sources=sources(text), **{**given, **fields})


async def go(given: RunOptions, on_end=None) -> RunResult:
    async with asyncio.timeout(30):
        return await run(given, display=NoDisplay(), on_end=on_end)


async def test_time_that_is_up_is_no_failure(tmp_path: Path) -> None:
    result = await go(options(tmp_path, timeout=0.3))
    assert result.code is Exit.TIMEOUT
    assert [mover.metadata.name for mover in result.movers] == ["nightly"]


async def test_the_world_can_be_looked_at_before_it_goes(tmp_path: Path) -> None:
    seen: list[str] = []

    async def look(world: EmbeddedWorld) -> None:
        seen.extend(mover.metadata.name for mover in await world.client.list(DATA_MOVERS))

    await go(options(tmp_path, timeout=0.3), on_end=look)
    assert seen == ["nightly"]


async def test_each_namespace_gets_the_volumes(tmp_path: Path) -> None:
    other = MOVER.replace("name: nightly", "name: nightly, namespace: other")
    result = await go(options(tmp_path, f"{MOVER}---{other}", timeout=0.5))
    assert {(m.metadata.namespace, m.status.message) for m in result.movers if m.status} == {
        ("default", "suspended: set spec.suspend to false to go on"),
        ("other", "suspended: set spec.suspend to false to go on"),
    }


async def test_a_bad_object_keeps_the_good_ones_out(tmp_path: Path) -> None:
    bad = MOVER.replace("name: nightly", "name: weekly").replace("suspend: true", "suspend: true, copyMethod: Copy")
    with pytest.raises(ManifestError, match=r"document 2: .*Unsupported value"):
        await go(options(tmp_path, f"{MOVER}---{bad}"))
    seen: list[str] = []

    async def look(world: EmbeddedWorld) -> None:
        seen.extend(mover.metadata.name for mover in await world.client.list(DATA_MOVERS))

    again = MOVER.replace("name: nightly", "name: monthly")
    await go(options(tmp_path, again, timeout=0.3), on_end=look)
    assert seen == ["monthly"]


async def test_a_finished_datamover_that_does_not_go_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer of somebody else's would otherwise hold the command for ever."""
    from datamover.cli import applying as module

    monkeypatch.setattr(module, "_REMOVAL", 0.1)
    held = MOVER.replace("name: nightly", "name: nightly, finalizers: [example.com/hold]")

    async def finish(world: EmbeddedWorld) -> None:
        status = {"status": {"phase": "Completed"}}
        await world.client.patch(
            DATA_MOVERS, "nightly", status, namespace="default", subresource="status", field_manager="test"
        )

    await go(options(tmp_path, held, timeout=0.3), on_end=finish)
    with pytest.raises(
        ManifestError, match=r"does not go away \(held by example.com/hold\): whoever set that must let it go"
    ):
        await go(options(tmp_path, held))


async def test_what_became_of_the_run_before_is_neither_shown_nor_taken_for_this_one(tmp_path: Path) -> None:
    """The cache may have the DataMover of the run before a moment longer than the server."""
    before = data_mover(status=status("Failed", reason="WrongCredentials", message="the key of yesterday"))
    metadata = msgspec.structs.replace(before.metadata, uid="uid-of-today")
    now = msgspec.structs.replace(before, metadata=metadata, status=status("Completed", message="done"))
    cached = iter([before, before, None, now])
    shown: list[tuple[DataMover, ...]] = []
    cache = SimpleNamespace(store=SimpleNamespace(get=lambda _: next(cached)), add_handler=lambda _: None)
    world: Any = SimpleNamespace(objects=lambda _: cache, check=lambda: None)
    display = NoDisplay()
    display.update = shown.append  # type: ignore[method-assign]
    wanted = {name_of(now): Wanted("uid-of-today", 1)}
    options = RunOptions(sources=(), volumes=(), namespace="default", state=tmp_path)
    result = await _wait(world, Watched(wanted), options, display=display)
    assert result.movers == (now,)
    assert result.code is Exit.COMPLETED
    assert shown == [(), (), (), (now,)]
