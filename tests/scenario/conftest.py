"""Both worlds, and an S3 server; and a control plane whose DataVolumes are a CDI's."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.collecting import definitions
from support.definitions import snapshot_definitions
from support.kubernetes import ControlPlane, MissingPrograms, find_programs, lasting
from support.s3 import s3
from support.scenario import Cluster, embedded_cluster, real_cluster
from support.stage import Stage, open_stage
from support.velero_stage import VeleroStage, open_velero

__all__ = ["s3"]


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kubernetes)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster with nothing in it but storage classes."""
    if request.param == "embedded":
        async with embedded_cluster(tmp_path) as found:
            yield found
    else:
        plane = request.getfixturevalue("kubernetes")
        async with real_cluster(plane, request.getfixturevalue("namespace"), tmp_path) as found:
            yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One embedded world and one S3 server for all rows of a module. Its tests run in the module's loop."""
    async with open_stage(tmp_path_factory.mktemp("stage")) as found:
        yield found


@pytest.fixture(scope="session")
def cdi_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose DataVolumes are another program's. Its garbage collector knows them, and what may own them, from the first moment.

    One for each test process: who uses it is of the xdist group `cdi`.
    """
    try:
        programs = find_programs()
    except MissingPrograms as missing:
        pytest.skip(str(missing))
    made = ControlPlane(programs, logs=tmp_path_factory.mktemp("collection"))
    made.start(manifests=[*definitions(), *snapshot_definitions()])
    with lasting(made):
        yield made


@pytest.fixture(scope="module")
def velero_with_plugin(kubernetes: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VeleroStage]:
    """A real Velero with our plugin. It ends with the module: one that has something to wait for starts its plugins every second, for nobody.

    The plugin may do what its page in the docs says, and nothing else.
    """
    with open_velero(kubernetes, tmp_path_factory.mktemp("velero"), plugin=True) as found:
        yield found
