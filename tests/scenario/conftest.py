"""Both worlds, and an S3 server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.s3 import s3
from support.scenario import Cluster, embedded_cluster, real_cluster

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
