"""`datamover run --dry-run`: what it says is what the run would do."""

import asyncio
import io
from pathlib import Path

import pytest

from datamover.cli.embedded.rehearsal import rehearse
from datamover.cli.embedded.state import WorldError
from datamover.cli.embedded.world import WorldOptions, adopt_volume, start_world
from datamover.cli.manifests import Source, read_manifests
from datamover.cli.resuming import DEFAULT_MAX_COPY_AGE
from datamover.cli.volumes import Volume
from datamover.volumes.binding import is_bound
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS

MANIFESTS = """
{apiVersion: datamover.a-cup-of.coffee/v1alpha1, kind: DataMover, metadata: {name: b}, spec: {sourcePvc: app-data, secretName: s}}
---
{apiVersion: v1, kind: Secret, metadata: {name: s}}
"""


def sources(tmp_path: Path) -> tuple[Source, ...]:
    file = tmp_path / "manifests.yaml"
    file.write_text(MANIFESTS)
    return read_manifests((str(file),), stdin=io.StringIO(), namespace="default")


async def told(tmp_path: Path, *volumes: Volume) -> list[str]:
    said: list[str] = []
    await rehearse(
        sources(tmp_path), volumes, state=tmp_path / "state", max_copy_age=DEFAULT_MAX_COPY_AGE, say=said.append
    )
    return said


async def keep(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    async with start_world(WorldOptions(state=tmp_path / "state", operator=None)) as world:
        await adopt_volume(world, Volume("app-data", tmp_path / "data"), namespace="default")
        while not is_bound(await world.client.get(PERSISTENT_VOLUME_CLAIMS, "app-data", namespace="default")):
            world.check()
            await asyncio.sleep(0.02)


async def test_a_volume_that_nobody_brought_is_missing(tmp_path: Path) -> None:
    assert "no --volume app-data=DIR stands for its source" in (await told(tmp_path))[0]
    assert not (tmp_path / "state").exists()


async def test_a_volume_of_an_earlier_run_is_known(tmp_path: Path) -> None:
    await keep(tmp_path)
    assert (await told(tmp_path))[0] == f"default/b: would back up {tmp_path / 'data'}"
    assert await told(tmp_path, Volume("app-data", tmp_path / "data")) == await told(tmp_path)


async def test_another_directory_for_it_is_refused_as_the_run_would(tmp_path: Path) -> None:
    await keep(tmp_path)
    with pytest.raises(
        WorldError, match=r"stands for .*data already, not for .*other: .*--free-volume default/app-data"
    ):
        await told(tmp_path, Volume("app-data", tmp_path / "other"))
