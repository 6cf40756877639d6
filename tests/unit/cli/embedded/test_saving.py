"""Saving: before every effect, once for all who wait, whole or not at all; and a save that fails ends nothing."""

import asyncio
import errno
import logging
from pathlib import Path

import pytest

from datamover.cli.embedded import saving
from datamover.cli.embedded.saving import Saver, write_whole
from kubekit.client.client import Client
from kubekit.words.core import CONFIG_MAPS
from localkube.store.apiserver import ApiServer
from localkube.transport import LocalTransport


class Disk:
    """Counts writes, and fails the next ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        self.failures: list[int] = []
        monkeypatch.setattr(saving, "write_whole", self.write)

    def write(self, path: Path, data: bytes) -> None:
        self.writes += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(
                number, {errno.ENOSPC: "No space left on device", errno.EMFILE: "Too many open files"}[number]
            )
        write_whole(path, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def change(server: ApiServer, name: str) -> None:
    manifest = {"metadata": {"name": name, "namespace": "default"}, "data": {"k": name}}
    await Client(LocalTransport(server)).create(CONFIG_MAPS, manifest)


def names(path: Path) -> set[str]:
    server = ApiServer()
    server.restore(path.read_bytes())
    return {tree["metadata"]["name"] for tree in server.all(CONFIG_MAPS.group_resource)}


async def test_what_was_told_before_settle_is_on_disk_after_it(tmp_path: Path, disk: Disk) -> None:
    server = ApiServer()
    saver = Saver(server, tmp_path / "objects")
    await change(server, "a")
    await saver.settle()
    assert names(tmp_path / "objects") == {"a"}
    await saver.settle()
    assert disk.writes == 1, "nothing was changed, so nothing is written"


async def test_those_who_wait_at_the_same_time_share_a_save(tmp_path: Path, disk: Disk) -> None:
    server = ApiServer()
    saver = Saver(server, tmp_path / "objects")
    await change(server, "a")
    await asyncio.gather(*(saver.settle() for _ in range(50)))
    assert disk.writes == 1
    assert names(tmp_path / "objects") == {"a"}


async def test_a_save_that_fails_is_told_once_and_holds_up_what_relies_on_it(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    server = ApiServer()
    saver = Saver(server, tmp_path / "objects", pause=0.01)
    await change(server, "a")
    disk.failures = [errno.ENOSPC, errno.ENOSPC, errno.EMFILE]
    with caplog.at_level(logging.ERROR):
        await saver.settle()
    assert names(tmp_path / "objects") == {"a"}
    told = [record.getMessage() for record in caplog.records]
    assert [("No space left" in line, "Too many open" in line) for line in told] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert "until then nothing new is begun" in told[0]
    assert told[2] == "the state is saved again"


async def test_a_save_that_is_cancelled_has_ended(tmp_path: Path) -> None:
    server = ApiServer()
    saver = Saver(server, tmp_path / "objects")
    await change(server, "a")
    waiting = asyncio.create_task(saver.settle())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await saver.save()
    assert names(tmp_path / "objects") == {"a"}
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]
