"""The names that the documents fix, and the reasons that programs rely on."""

import functools
import re
from pathlib import Path

import pytest

import datamover
from datamover.api import names, reasons, transfer
from datamover.api.names import Phase

SOURCE = Path(datamover.__file__).parent


def test_what_the_documents_fix() -> None:
    assert f"{names.CREATED_BY_LABEL}={names.CREATED_BY_VALUE}" == "app.kubernetes.io/created-by=datamover-operator"
    assert (names.CLONE_PREFIX, names.JOB_PREFIX) == ("restored-", "verify-")
    assert names.OPERATOR_NAMESPACE == "datamover-operator-system"
    assert names.LEASE_NAME == "190add0e.a-cup-of.coffee"
    assert names.ConditionType.COMPLETE == "Complete"


def test_the_number_of_a_phase_is_that_of_the_published_gauge() -> None:
    assert Phase.ORDER == (
        "",
        "CreatingClonedPVC",
        "ClonedPVCReady",
        "CreatingPod",
        "CleaningUp",
        "Completed",
        "Failed",
    )


@functools.cache
def _used() -> frozenset[str]:
    """Return the names of reasons that any module uses."""
    return frozenset(
        name for path in SOURCE.rglob("*.py") for name in re.findall(r"\breasons\.([A-Z_0-9]+)\b", path.read_text())
    )


REASONS = {name: value for name, value in vars(reasons).items() if name.isupper()}


@pytest.mark.parametrize("name", REASONS)
def test_a_reason_is_one_word_in_capitals_and_in_use(name: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z0-9]{2,63}", REASONS[name])
    assert name in _used(), f"{name} is dead: remove it from datamover.api.reasons"


def test_reasons_are_told_apart() -> None:
    assert len(set(REASONS.values())) == len(REASONS)


def test_a_reason_that_operator_and_mover_share_means_the_same() -> None:
    movers = {value for name, value in vars(transfer).items() if name.startswith("REASON_")}
    assert movers & set(REASONS.values()) <= {"DeadlineExceeded", "InvalidSpec", "SourceNotFound"}
