"""The words between operator and restoring mover."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api import outside, transfer
from datamover.api.restore import MARKED, WHOLE, Loss, Restored, tell_comparison, tell_losses
from datamover.api.transfer import Outcome, decode_outcome, encode_outcome

LOSSES = (
    Loss("owner or group, which only root may give away", 7, "a/b"),
    Loss("the time, which became another one", 1),
)
RESTORED = Restored(
    point="run-1",
    moment="2024-08-06-143052",
    volume="production/app-data",
    state="complete",
    target=WHOLE,
    resumed=True,
    kept_files=2,
    linked_files=1,
    by_checksum=9,
    by_size=1,
    losses=LOSSES,
    left_out=(Loss("pipes and devices (--special makes them)", 1, "pipe"),),
    notes=("one",),
)


def test_json() -> None:
    """Agreed names."""
    told = json.loads(encode_outcome(Outcome(run_id="r", succeeded=True, restored=RESTORED)))["restored"]
    assert told == {
        "point": "run-1", "moment": "2024-08-06-143052", "volume": "production/app-data", "state": "complete", "target": "whole", "empty": False,
        "resumed": True, "keptFiles": 2, "linkedFiles": 1, "byChecksum": 9, "bySize": 1,
        "losses": [{"kind": LOSSES[0].kind, "count": 7, "example": "a/b"}, {"kind": LOSSES[1].kind, "count": 1, "example": ""}],
        "leftOut": [{"kind": "pipes and devices (--special makes them)", "count": 1, "example": "pipe"}],
        "notes": ["one"],
    }  # fmt: skip


def test_round_trip() -> None:
    said = Outcome(run_id="r", succeeded=True, restored=RESTORED)
    decoded = decode_outcome(encode_outcome(said))
    assert decoded == said
    assert decoded.restoration == RESTORED


def test_outcomes_of_others_say_nothing_of_it() -> None:
    assert b"restored" not in encode_outcome(Outcome(run_id="r"))
    for rest in ("", ',"restored":null'):
        decoded = decode_outcome(f'{{"datamover":"outcome","runId":"r"{rest}}}')
        assert decoded is not None
        assert decoded.restoration is None
        assert decoded == Outcome(run_id="r")


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300)), max_size=20), st.text(max_size=3000))
def test_fits(words: list[tuple[str, str]], message: str) -> None:
    """It always fits into a termination message, and what is left is clean."""
    losses = tuple(Loss(kind, number, example) for number, (kind, example) in enumerate(words))
    said = Outcome(
        run_id="r" * 128,
        message=outside.clean(message, limit=3000),
        restored=Restored(point="p" * 128, losses=losses, left_out=losses, notes=tuple(kind for kind, _ in words)),
    )
    encoded = encode_outcome(said)
    assert len(encoded) <= transfer.OUTCOME_LIMIT
    found = decode_outcome(encoded)
    assert found is not None
    assert found.restoration is not None
    assert found.restoration.point == "p" * 128
    for loss in (*found.restoration.losses, *found.restoration.left_out):
        assert outside.clean(loss.kind, limit=outside.NAME_LIMIT) == loss.kind
        assert outside.clean(loss.example, limit=outside.NAME_LIMIT) == loss.example
    assert len(found.restoration.losses) <= 8


@pytest.mark.parametrize(
    "rest", ['{"bySize":-1}', '{"losses":[{"count":1e30}]}', '{"losses":' + "[" * 100 + "}", "7"], ids=range(4)
)
def test_unusable(rest: str) -> None:
    with pytest.raises(outside.Unusable):
        transfer.parse_outcome(f'{{"datamover":"outcome","runId":"r","restored":{rest}}}')


def test_hostile_words() -> None:
    decoded = decode_outcome(
        '{"datamover":"outcome","restored":{"target":"perfect","point":"\\u001b[2J","volume":"\\u202e"}}'
    )
    assert decoded is not None
    assert decoded.restoration is not None
    assert decoded.restoration.target == MARKED, "what is not known is not called whole"
    assert (decoded.restoration.point, decoded.restoration.volume) == ("\\x1b[2J", "\\u202e")


@pytest.mark.parametrize(
    ("by_checksum", "by_size", "told"),
    [
        (0, 0, "no file to compare"),
        (3, 0, "every one compared with the manifest by its checksum"),
        (0, 3, "every one compared with the manifest by its size alone, for that has no checksums of them"),
        (2, 1, "2 compared with the manifest by checksum, 1 by size alone, for it has none of them"),
    ],
    ids=range(4),
)
def test_comparison(by_checksum: int, by_size: int, told: str) -> None:
    assert tell_comparison(by_checksum=by_checksum, by_size=by_size) == told


def test_losses() -> None:
    assert tell_losses(()) == ""
    assert tell_losses(LOSSES) == (
        "7 paths lost owner or group, which only root may give away; 1 path lost the time, which became another one"
    )
