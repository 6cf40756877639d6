from collections.abc import AsyncIterator

import pytest

from localkube.controllers.suite import LocalControllers
from support.embedded import Embedded, embedded


@pytest.fixture
async def bare() -> AsyncIterator[Embedded]:
    """An API server on which nothing runs."""
    async with embedded() as world:
        yield world


@pytest.fixture
async def world(bare: Embedded) -> Embedded:
    """An API server with all controllers; Jobs retry at once."""
    bare.run(LocalControllers(bare.client, server=bare.server, job_backoff_base=0.01).run)
    return bare
