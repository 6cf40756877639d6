"""The verdict as data."""

import pytest

from datamover.verdicts.verdict import State, Verdict


def test_the_error_on_the_item_is_wrapped_as_the_document_has_it() -> None:
    found = Verdict(state=State.UNSUPPORTED, error="unsupported platform type GCP")
    assert found.item_error == "error validating DataMover: unsupported platform type GCP"
    assert Verdict(state=State.MOVED).item_error == ""


@pytest.mark.parametrize("state", State)
def test_it_is_over_unless_something_is_waited_for(state: State) -> None:
    assert Verdict(state=state).over is (state is not State.WAITING)
