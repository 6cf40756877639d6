"""What the tests rely on of their runner."""

import pytest


@pytest.mark.xdist_group("kept together")
def test_tests_of_one_group_are_kept_in_one_worker(request: pytest.FixtureRequest) -> None:
    """pytest-xdist goes by the names of tests. With a pytest that does not take them from it, groups are nothing, and nobody says so."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("only where tests are shared out by their groups")
    assert request.node.nodeid.endswith("@kept together")
