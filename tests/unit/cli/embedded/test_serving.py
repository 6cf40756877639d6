"""`datamover local up` within this process: what it says, and what it says when it cannot. With kubectl it is in the scenarios."""

import asyncio
import os
import shlex
import signal
import socket
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import yaml

from datamover.api.volsync.replication_source import ReplicationSource
from datamover.cli.embedded import serving
from datamover.cli.embedded.restic import ResticMissing
from datamover.cli.embedded.serving import UpOptions, serve_world
from datamover.cli.embedded.state import WorldError
from datamover.cli.volumes import Volume


def options(tmp_path: Path, *volumes: str, port: int = 0, state: str = "state") -> UpOptions:
    for name in volumes:
        (tmp_path / name).mkdir(exist_ok=True)
    given = tuple(Volume(name, tmp_path / name) for name in volumes)
    return UpOptions(state=tmp_path / state, port=port, volumes=given, namespace="backups", with_operator=False)


async def serve(given: UpOptions, say=lambda line: None) -> None:
    async with asyncio.timeout(20):
        await serve_world(given, say=say)


async def test_it_says_how_to_get_in_and_takes_the_key_away_when_it_stops(tmp_path: Path) -> None:
    said: list[str] = []
    seen: dict[str, object] = {}
    kubeconfig = tmp_path / "my state" / "kubeconfig"

    def say(line: str) -> None:
        said.append(line)
        if "Ctrl-C" in line:
            seen["mode"] = stat.S_IMODE(kubeconfig.stat().st_mode)
            seen["server"] = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
            os.kill(os.getpid(), signal.SIGTERM)

    await serve(options(tmp_path, "app-data", state="my state"), say)

    assert seen["mode"] == 0o600
    assert said[:2] == [f"state: {tmp_path / 'my state'}", f"the embedded world listens on {seen['server']}"]
    assert shlex.split(said[2]) == ["export", f"KUBECONFIG={kubeconfig}"]
    assert shlex.split(said[3])[:4] == ["datamover", "operator", "--kubeconfig", str(kubeconfig)]
    assert not kubeconfig.exists()


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WorldError, match=f"port {port} cannot be listened on: Address already in use: .*--port"):
            await serve(options(tmp_path, port=port))


async def test_a_world_that_loses_a_part_ends_instead_of_pretending(tmp_path: Path) -> None:
    def stop_saver(line: str) -> None:
        if "Ctrl-C" in line:
            next(task for task in asyncio.all_tasks() if task.get_name() == "saver").cancel()

    with pytest.raises(WorldError, match="the embedded saver stopped: no error was given"):
        await serve(options(tmp_path), stop_saver)
    assert not (tmp_path / "state" / "kubeconfig").exists()


@pytest.mark.parametrize(
    ("volumes", "state", "words"),
    [
        (("a", "b", "a"), "state", "--volume names a more than once: give each claim one directory"),
        (("a",), "a/state", "--volume a: .* lie in one another"),
    ],
)
async def test_volumes_that_cannot_be_are_told_before_anything_is_made(
    volumes: tuple[str, ...], state: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(WorldError, match=words):
        await serve(options(tmp_path, *volumes, state=state))
    assert not (tmp_path / state).exists()


async def test_restic_is_fetched_once_and_only_for_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[Any] = []
    fetched: list[object] = []
    said: list[str] = []

    def provide(environment: object) -> Path:
        fetched.append(environment)
        raise ResticMissing("no mirror answers")

    monkeypatch.setattr(serving, "provide_restic", provide)
    world: Any = SimpleNamespace(objects=lambda resource: SimpleNamespace(add_handler=handlers.append))
    serving.fetch_when_needed(world, say=said.append)
    assert len(handlers) == 2

    def tell(**spec: Any) -> None:
        obj = msgspec.convert({"metadata": {"name": "a"}, "spec": spec}, ReplicationSource)
        for handle in handlers:
            handle(None, obj)

    tell(rclone={})
    tell(restic={})
    tell(restic={})
    async with asyncio.timeout(10):
        while not said:
            await asyncio.sleep(0.01)
    assert said == ["restic: no mirror answers"]
    assert len(fetched) == 1


def test_a_restic_that_is_named_and_is_none_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("DATAMOVER_RESTIC", str(tmp_path / "none"))
    assert serving.look_for_restic(said.append) is None
    assert "is no restic" in said[0]
