"""The page on DataVolumes: its table of cases names tests that are there, and every word that users see is on it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.names import PopulationReason
from datamover.reconcilers.collection.obstacles import Reason
from datamover.volumes.cloning import CloneReason
from datamover.volumes.handover import Record

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "datavolumes.md").read_text(encoding="utf-8")
COOKBOOK = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
ROWS: dict[str, str] = dict(re.findall(r"^\| ([GN]\d+) \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE))
ELSEWHERE = {"G18", "G19", "G21", "G23"}
"""Cases that need KubeVirt."""
WANTED = [f"G{number}" for number in range(1, 25)] + [f"N{number}" for number in range(1, 20)]
NONE = "none yet"


def cases_of(name: str) -> Iterator[str]:
    """Yield the numbers of the cases that the name of a test bears: `test_n6_n7_…` bears two."""
    for word in name.removeprefix("test_").split("_"):
        if re.fullmatch(r"[gn]\d+", word) is None:
            return
        yield word.upper()


def numbered_tests() -> set[str]:
    return {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^(?: {4})?(?:async )?def (test_[gn]\d+_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }


TESTS = numbered_tests()
WITHOUT_A_SERVER = {"G22", "N14"}
"""Cases of a command alone, and of counts."""


def test_every_case_has_its_row() -> None:
    assert list(ROWS) == WANTED


@pytest.mark.parametrize("case", [case for case in WANTED if case not in ELSEWHERE])
def test_the_row_of_a_case_names_a_test_that_bears_its_number(case: str) -> None:
    if ROWS[case] == NONE:
        return
    named = ROWS[case].strip("`")
    assert named in TESTS
    assert case in cases_of(named)


@pytest.mark.parametrize("case", [case for case in WANTED if case not in ELSEWHERE | WITHOUT_A_SERVER])
def test_the_test_of_a_case_is_one_that_runs_on_a_real_api_server(case: str) -> None:
    named = ROWS[case].strip("`")
    pages = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert any(f"def {named}(" in page and "kubernetes" in page for page in pages)


@pytest.mark.parametrize("case", sorted(ELSEWHERE))
def test_a_case_that_needs_kubevirt_says_so(case: str) -> None:
    assert ROWS[case] == "no"


def test_no_test_bears_the_number_of_a_case_that_is_not_on_the_page() -> None:
    assert {case for name in TESTS for case in cases_of(name)} <= set(WANTED)


def test_every_reason_and_every_annotation_is_on_the_page() -> None:
    for reason in Reason:
        assert f"`{reason}`" in PAGE, reason
    for word in (
        *names.ASKING_KEYS,
        names.RECORD,
        names.COLLECTION,
        names.FINALIZER,
        names.HANDING_OVER,
        names.TTL_LABEL,
        names.GARBAGE_COLLECTED,
    ):
        assert f"`{word}" in PAGE, word


WELL = {
    PopulationReason.TRANSFER_RUNNING,
    PopulationReason.POPULATED,
    PopulationReason.ADOPTED,
    PopulationReason.PRE_POPULATED,
    PopulationReason.COLLECTED_ALREADY,
}
"""Reasons of what goes well."""


@pytest.mark.parametrize("reason", sorted({*Reason, *PopulationReason, *CloneReason} - WELL))
def test_of_everything_that_a_datavolume_waits_for_the_cookbook_says_what_to_do(reason: str) -> None:
    assert f"`{reason}`" in COOKBOOK or f"### {reason}\n" in COOKBOOK


def test_every_part_of_the_record_is_on_the_page() -> None:
    for field in Record.__struct_fields__:
        assert f"`{field}`" in PAGE, field
