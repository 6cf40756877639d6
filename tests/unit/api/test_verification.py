"""What the outcome of a comparison says besides: bounded, clean, and there only where one was made."""

import msgspec

from datamover.api import outside, transfer
from datamover.api.transfer import Outcome
from datamover.api.verification import Compared, clean_compared


def test_an_outcome_of_anything_else_says_nothing_of_a_comparison() -> None:
    assert b"compared" not in transfer.encode_outcome(Outcome())
    assert transfer.decode_outcome(transfer.encode_outcome(Outcome())).comparison_made is None


def test_what_was_compared_arrives() -> None:
    said = Compared(point="run-1", method="sample:5%", seed="v1", compared=7, missing=1, other=2, extra=3, unproved=4)
    found = transfer.decode_outcome(transfer.encode_outcome(Outcome(compared=said)))
    assert found.comparison_made == said
    assert found.comparison_made.differing == 6


def test_words_of_a_mover_are_clean_and_short() -> None:
    said = Compared(point="a\x1b[31m\n" * 300, notes=("n" * 5000,) * 50)
    found = clean_compared(said, tidy=lambda word: word.replace("a", "b"))
    assert len(found.point) <= outside.NAME_LIMIT
    assert found.point.isprintable()
    assert found.point.startswith("b")
    assert len(found.notes) == 8
    assert max(map(len, found.notes)) <= 400


def test_findings_and_notes_go_before_the_message_where_there_is_no_room() -> None:
    said = Compared(point="run-1", missing=9, notes=("n" * 400,) * 8)
    outcome = Outcome(message="m" * 1500, problems=("p" * 200,) * 16, compared=said)
    encoded = transfer.encode_outcome(outcome)
    found = transfer.decode_outcome(encoded)
    assert len(encoded) <= transfer.OUTCOME_LIMIT
    assert (found.message, found.comparison_made.missing, found.comparison_made.notes) == ("m" * 1500, 9, ())


def test_a_hostile_count_makes_an_outcome_that_cannot_be_used() -> None:
    raw = transfer.encode_outcome(Outcome(compared=Compared())).replace(b'"missing":0', b'"missing":-1')
    assert b'"missing":-1' in raw
    assert transfer.decode_outcome(raw) is None
    assert msgspec.json.decode(raw)["compared"]["missing"] == -1
