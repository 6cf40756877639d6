"""The list of differences names cases that exist, with a reason each."""

import ast
from pathlib import Path

import pytest

from conformance.differences import DIFFERENCES

HERE = Path(__file__).parent


@pytest.mark.parametrize("case", sorted(DIFFERENCES))
def test_a_listed_difference_names_a_case_and_a_reason(case: str) -> None:
    module, _, function = case.partition("::")
    tree = ast.parse((HERE / f"{module}.py").read_text())

    names = {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)}

    assert function.partition("[")[0] in names
    assert len(DIFFERENCES[case]) > 20


def test_every_case_of_a_world_is_in_this_suite() -> None:
    """A module that does not use `world` would run on one world only; the tests of the control plane and of the list are meant to."""
    modules = [path for path in HERE.glob("test_*.py") if path != Path(__file__)]

    one_sided = {path.stem for path in modules if "world: World" not in path.read_text(encoding="utf-8")}

    assert one_sided == {"test_control_plane"}
