"""Who can end a wait: one table for the command line, the alerts and the documentation."""

import pytest

from datamover.api import reasons, transfer
from datamover.api.names import Phase
from datamover.api.volsync.names import EventReason, Synchronizing, WaitReason
from datamover.api.waits import WAITS, EndedBy, Safe, Severity, are_data_safe, find_wait


@pytest.mark.parametrize("reason", [reasons.CLEANUP_WAITING, reasons.CLEANUP_FAILED])
def test_the_data_are_safe_when_only_the_clean_up_waits(reason: str) -> None:
    assert are_data_safe(reason, Phase.CLEANING_UP)
    assert find_wait(reason).ended_by is not EndedBy.PERSON


@pytest.mark.parametrize("phase", sorted(set(Phase.ORDER) - {Phase.CLEANING_UP, Phase.COMPLETED}))
def test_no_data_are_called_safe_before_the_sync_has_succeeded(phase: str) -> None:
    assert not any(are_data_safe(reason, phase) for reason in WAITS)


def test_an_old_clone_that_does_not_go_says_nothing_of_the_data() -> None:
    assert not are_data_safe(reasons.CLEANUP_WAITING, Phase.CREATING_CLONE)


@pytest.mark.parametrize(
    "reason", [reasons.CLONE_PROVISIONING_FAILED, reasons.SNAPSHOT_FAILED, reasons.MOVER_UNSCHEDULABLE]
)
def test_a_driver_or_a_node_may_come_by_itself(reason: str) -> None:
    assert find_wait(reason).ended_by is EndedBy.EITHER


def test_a_reason_of_another_version_is_not_given_up_quickly_and_a_clean_up_stays_safe() -> None:
    assert find_wait("Unheard").ended_by is EndedBy.EITHER
    assert are_data_safe("Unheard", Phase.CLEANING_UP)
    assert not are_data_safe("Unheard", Phase.CREATING_POD)


def test_the_table_speaks_of_reasons_that_exist_and_of_waits_only() -> None:
    known = {
        value
        for words in (reasons, Synchronizing, EventReason, WaitReason)
        for name, value in vars(words).items()
        if name.isupper() and isinstance(value, str)
    }
    assert set(WAITS) <= known | {transfer.REASON_INTERNAL_ERROR}
    assert not {reasons.SYNCHRONIZING, reasons.COMPLETED, reasons.MOVER_FAILED, reasons.RETRYING} & set(WAITS)


def test_what_is_urgent_is_what_nothing_but_a_person_ends_unless_it_was_wanted() -> None:
    quiet = {reason for reason, wait in WAITS.items() if wait.severity is Severity.INFO}
    assert {reason for reason in quiet if WAITS[reason].ended_by is EndedBy.PERSON} == {reasons.SUSPENDED}
    assert not any(WAITS[reason].safe is Safe.YES for reason in quiet)
