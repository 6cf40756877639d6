"""What waits for its turn does not stand still: its ten minutes begin when others have had theirs. And clocks that are set back, or differ."""

from datetime import timedelta

import pytest

from datamover.reconcilers.hosted_control_plane.decide import decide
from kubekit.words.timestamps import seconds
from support.control_planes import at, backup, upload
from support.following import Following

OTHER = backup(name="other", uid="o")


def ended(minutes: float, node: str = "a", name: str = "x") -> object:
    stamp = seconds(at(minutes))
    return upload(name, "Completed", of=OTHER, node=node, completion_timestamp=stamp)


def test_the_gap_between_two_others_is_no_stall() -> None:
    """One has ended, the next one has no Pod yet, and this one has waited for half an hour."""
    world = Following(upload(phase="New"), upload("x", "InProgress", of=OTHER, node="a"))
    world.look(at(2))
    world.live_until(at(30))
    world.put(ended(30), upload("y", "Accepted", of=OTHER, node="a"))
    assert world.look(at(30.5)) == pytest.approx(570, abs=1)
    assert world.reasons == []
    world.put(upload("y", "InProgress", of=OTHER, node="a"))
    world.look(at(39))
    world.look(at(45))
    world.live_until(at(50))
    world.put(ended(50, name="y"))
    world.look(at(50))
    assert world.reasons == []
    world.look(at(60.5))
    assert world.reasons == ["Stalled"], "ten minutes after the last one"
    assert "since 2026-01-01T12:50:00Z" in world.told[0].message


def test_the_gap_is_none_after_a_restart_either() -> None:
    world = Following(upload(phase="New"))
    world.live_until(at(30))
    world.put(ended(30))
    world.restart()
    world.look(at(30.5))
    assert world.reasons == []


def test_what_a_node_has_taken_waits_for_that_node_alone() -> None:
    world = Following(upload(phase="Prepared", node="b"))
    world.look(at(1))
    world.live_until(at(11))
    world.put(ended(11, node="a"))
    world.look(at(11.5))
    assert world.reasons == ["Stalled"]


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59Z", "soon", "2026-01-01T18:00:00Z"])
def test_an_end_that_is_still_to_come_is_none(stamp: str) -> None:
    world = Following(upload(phase="New"), upload("x", "Completed", of=OTHER, node="a", completion_timestamp=stamp))
    world.look(at(1))
    world.look(at(11.5))
    assert world.reasons == ["Stalled"]


# --- clocks --------------------------------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_counts_the_ten_minutes_from_then_on() -> None:
    world = Following(upload(phase="InProgress", done=1, total=9))
    world.look(at(200))
    world.look(at(20))
    assert world.record().control_planes[0].volumes[0].progressed == seconds(at(20)), "and writes that down"
    world.look(at(25))
    assert world.writes == 2
    world.look(at(30.1))
    assert world.reasons == ["Stalled"]


def test_a_replica_whose_clock_is_behind_does_not_take_a_stall_back() -> None:
    world = Following(upload(phase="InProgress", done=1, total=9))
    world.look(at(2))
    world.look(at(12.1))
    assert world.reasons == ["Stalled"]
    world.look(at(8))
    assert world.writes == 2
    assert world.record().control_planes[0].volumes[0].stalled
    world.put(upload(phase="InProgress", done=2, total=9))
    world.look(at(8) + timedelta(seconds=1))
    assert not world.record().control_planes[0].volumes[0].stalled


def test_a_stall_ends_when_others_are_moved_meanwhile() -> None:
    world = Following(upload(phase="New"))
    world.look(at(2))
    world.look(at(12.1))
    assert world.reasons == ["Stalled"]
    world.put(upload("x", "InProgress", of=OTHER, node="a"))
    world.look(at(13))
    assert not world.record().control_planes[0].volumes[0].stalled
    world.live_until(at(14))
    world.put(ended(14))
    world.look(at(14.1))
    assert not world.record().control_planes[0].volumes[0].stalled
    assert decide(world.facts(at(14.2))).steps == ()
