"""What `datamover verify` says that it did: no more than it did."""

from typing import Any

import pytest

from datamover.agent.points.catalogue import COMPLETE, TIMESTAMPED, Point
from datamover.agent.verification.attempt import Facts
from datamover.agent.verification.objects import Flaw, Found
from datamover.agent.verification.wording import compared, describe, notes, summary
from datamover.cli.points.verifying import exit_code, lines
from datamover.cli.points.work import Exit

POINT = Point(run_id="run", state=COMPLETE, kind=TIMESTAMPED, moment="2024-08-01-101500")


def facts(method: str, **changes: Any) -> Facts:
    return Facts(**({"method": method, "files": 10, "present": 10, "bytes": 2048} | changes))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (facts("size"), "10 by size alone; what is in them was not looked at"),
        (
            facts("checksum", summed=7),
            "7 by the checksum that the store has recorded, 3 by size alone; nothing was read back, so rot at rest does not show",
        ),
        (facts("checksum"), "none by checksum, 10 by size alone; nothing was read back, so rot at rest does not show"),
        (facts("download", read=10, read_bytes=2048), "10 read back (2.0 KiB) and by checksum"),
        (facts("download", read=9, read_bytes=1024), "9 read back (1.0 KiB) and by checksum, 1 by size alone"),
        (
            facts("sample", read=2, read_bytes=1024, percent=12.5),
            "2 read back (1.0 KiB) and by checksum (a sample of 12.5 %), 8 by size alone",
        ),
        (facts("download", present=0), "the listing alone, for there was no object to compare"),
    ],
    ids=["size", "some checksums", "no checksum", "all read", "some read", "sample", "nothing there"],
)
def test_what_was_compared_with_what(given: Facts, told: str) -> None:
    assert compared(given) == told


def test_the_last_line_tells_what_came_of_it() -> None:
    assert summary(facts("size"), POINT).startswith(
        "2024-08-01-101500: 10 objects (2.0 KiB) in the manifest, all there, and nothing that it does not name. Compared with it: 10 by size"
    )
    found = facts("size", present=9, flaws={Flaw.MISSING: 1, Flaw.EXTRA: 2})
    assert "in the manifest, 3 not as it says (1 missing, 2 extra). Compared with it: 9 by size" in summary(
        found, POINT
    )
    assert "0 objects (0 B) in the manifest, and nothing that it does not name is there." in summary(
        facts("size", files=0, present=0, bytes=0), POINT
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rival": "later", "flaws": {Flaw.MISSING: 1}}, "the run later has begun to mirror there since"),
        ({"live": True, "flaws": {Flaw.SIZE: 1}}, "the source was live"),
        ({"live": True}, ""),
        ({"plain": False}, "the store's ETags are no checksums"),
        ({"unknown": 2}, "the manifest has no checksum of 2 objects"),
        ({"staying": 1}, "1 object more stay by the manifest's own word"),
        ({"said": "AccessDenied"}, "the engine said: AccessDenied"),
        ({}, ""),
    ],
    ids=["rival", "live", "live and right", "not plain", "no checksums", "staying", "said", "nothing"],
)
def test_what_people_should_know_besides(changes: dict[str, Any], told: str) -> None:
    found = notes(facts("checksum", **changes))
    assert bool(found) == bool(told)
    assert told in " ".join(found)


def test_each_object_has_a_line_in_which_no_name_plays_tricks() -> None:
    assert describe(Found("x\u241b[2J".encode(), Flaw.MISSING, 1, None)) == "- x\\x1b[2J  (missing)"
    assert describe(Found(b"\xff", Flaw.SIZE, 1, 2)) == "~ \\xff  (size: 2 bytes, and 1 in the manifest)"
    assert describe(Found(b"new", Flaw.EXTRA, None, 2)) == "+ new  (it is not in the manifest)"
    assert all(describe(Found(b"a", flaw, 1, 1)).startswith(("- a", "~ a", "+ a", "? a")) for flaw in Flaw)


def test_what_cannot_be_read_is_not_known_to_differ() -> None:
    assert exit_code(facts("download")) is Exit.DONE
    assert exit_code(facts("download", flaws={Flaw.UNREADABLE: 1})) is Exit.UNPROVED
    assert exit_code(facts("download", flaws={Flaw.UNREADABLE: 1, Flaw.EXTRA: 1})) is Exit.DIFFERENT


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (facts("download", read=10), Exit.DONE),
        (facts("download", read=9, unread=1), Exit.UNPROVED),
        (facts("download", read=9, unread=1, flaws={Flaw.EXTRA: 1}), Exit.DIFFERENT),
        (facts("sample", percent=20.0, read=2, unread=8), Exit.DONE),
        (facts("sample", percent=20.0, read=1, unread=9), Exit.UNPROVED),
        (facts("sample", percent=0.1, unread=10), Exit.UNPROVED),
        (facts("sample", percent=20.0, files=0, present=0), Exit.DONE),
        (facts("checksum", unread=10), Exit.DONE),
        (facts("size", unread=10), Exit.DONE),
    ],
)
def test_what_should_have_been_read_back_and_was_not_is_not_proved(given: Facts, code: Exit) -> None:
    assert exit_code(given) is code


def test_people_see_so_many_lines_and_how_many_more_there_are() -> None:
    found = [Found(b"a%d" % number, Flaw.MISSING, 1, None) for number in range(1002)]
    shown = list(lines(iter(found), amiss=1002))
    assert (len(shown), shown[-1]) == (1001, "and 2 more; -o json names them all")
    assert len(list(lines(iter(found[:1000]), amiss=1000))) == 1000
    assert list(lines(iter(()), amiss=0)) == []


def test_reading_back_is_no_way_out_where_there_is_nothing_to_hold_it_against() -> None:
    assert "reads back" in " ".join(notes(facts("checksum", plain=False, unknown=9)))
    assert "reads back" not in " ".join(notes(facts("checksum", plain=False, unknown=10)))
