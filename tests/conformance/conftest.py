"""The two worlds of the conformance suite: every case runs on both."""

from collections.abc import AsyncIterator

import pytest

from conformance.differences import DIFFERENCES
from support.worlds import World, embedded_world, real_world

EMBEDDED = "embedded"


@pytest.fixture(params=[EMBEDDED, pytest.param("real", marks=pytest.mark.kubernetes)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """An API server with a fresh namespace. `embedded` is new for each case, `real` is shared by all."""
    if request.param == EMBEDDED:
        opened = embedded_world()
    else:
        opened = real_world(request.getfixturevalue("kubernetes"), request.getfixturevalue("namespace"))
    async with opened as each:
        yield each


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the listed differences to fail in the embedded world, by an assertion and by nothing else."""
    for item in items:
        if not isinstance(item, pytest.Function) or _world_of(item) != EMBEDDED:
            continue
        function = f"{item.path.stem}::{item.originalname}"
        parameters = item.callspec.id.split("-", 1)[1:]
        reason = DIFFERENCES.get(f"{function}[{parameters[0]}]" if parameters else function) or DIFFERENCES.get(
            function
        )
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError))


def _world_of(item: pytest.Function) -> str | None:
    spec = getattr(item, "callspec", None)
    return spec.params.get("world") if spec else None
