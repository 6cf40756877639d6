"""However much there is, and whatever it says: a record fits into a ConfigMap, is written once, and can be read again."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.hosted_control_plane import DataKey
from datamover.reconcilers.hosted_control_plane.announcements import announce, reason_of
from datamover.reconcilers.hosted_control_plane.record import (
    FollowedPlane,
    FollowedVolume,
    Record,
    fit,
    read,
    summarise,
    worst_of,
    write,
)
from datamover.verdicts.verdict import State
from support.control_planes import HOSTED, at, backup, hcp, upload
from support.following import Following

LIMIT = 1 << 20
"""Bytes that a ConfigMap may have."""
STATES = [state.name for state in State]


def size(data: dict[str, str]) -> int:
    return sum(len(key) + len(value.encode()) for key, value in data.items())


def plane(state: str = "WAITING", *, volumes: int = 0, text: str = "x", **fields: Any) -> FollowedPlane:
    return FollowedPlane(
        namespace=fields.pop("namespace", HOSTED),
        name="test-hcp",
        platform="AWS",
        state=state,
        description=text * 400,
        error=text * 400,
        volumes=tuple(
            FollowedVolume(claim=text * 253, name=text * 253, sentence=text * 400, kind="DataUpload", phase="Accepted")
            for _ in range(volumes)
        ),
        **fields,
    )


@pytest.mark.parametrize("text", ["x", '"', "\\", "é", "\U0001f69a"])
@pytest.mark.parametrize(("planes", "volumes"), [(1, 256), (64, 3), (64, 48), (1, 0)])
def test_the_largest_record_fits(text: str, planes: int, volumes: int) -> None:
    found = fit(Record(control_planes=tuple(plane(volumes=volumes, text=text) for _ in range(planes))))
    assert size(write(found)) < LIMIT
    assert len(found.control_planes) == planes


def test_of_many_volumes_it_is_written_once_although_not_all_are_kept() -> None:
    many = [upload(f"claim-{number:04}-{'x' * 200}", "Accepted", message="é" * 300) for number in range(300)]
    others = [hcp(namespace=f"clusters-{number}") for number in range(6)]
    uploads = [upload(f"c-{number}", "Accepted", namespace=f"clusters-{number % 6}", message="é" * 300, name=f"u{number}") for number in range(900)]  # fmt: skip
    world = Following(*many, *uploads, *others, of=backup(included_namespaces=("*",)))
    world.look(at(1))
    world.look(at(2))
    world.look(at(3))
    assert world.writes == 1
    (found,) = world.around.statuses.store.list()
    assert size(found.data or {}) < LIMIT
    assert len(world.record().control_planes[0].volumes) < 150
    assert max(each.total for each in world.record().control_planes) == 300


def test_what_is_said_of_other_peoples_objects_is_clean() -> None:
    hostile = "\x1b[2J\u202e" + "x" * 5000
    world = Following(upload(hostile, "InProgress", message=hostile, node=hostile), plane=hcp("\x1b[2J"), of=backup(fs=True))  # fmt: skip
    world.look(at(1))
    (found,) = world.around.statuses.store.list()
    text = json.dumps(found.data, ensure_ascii=False)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text) < 20_000


@given(st.lists(st.sampled_from(STATES), max_size=10), st.booleans())
def test_a_record_is_read_as_it_was_written(states: list[str], final: bool) -> None:
    planes = tuple(plane(state, namespace=f"n{number}", final=final, volumes=1) for number, state in enumerate(states))
    record = Record(updated="2026-01-01T12:00:00Z", backup="b", control_planes=planes, notes=("n",))
    assert msgspec.json.decode(write(record)[DataKey.STATUS], type=Record) == record


def test_a_config_map_of_another_backup_says_nothing() -> None:
    world = Following(upload())
    world.look(at(1))
    (found,) = world.around.statuses.store.list()
    assert read(found, of=backup()) is not None
    assert read(found, of=backup(uid="another")) is None
    assert read(None, of=backup()) is None


def test_the_worst_is_told_first() -> None:
    planes = [plane(state, namespace=state) for state in STATES]
    order = []
    while (worst := worst_of(planes)) is not None:
        order.append(worst.state)
        planes.remove(worst)
    assert order == ["FAILED", "UNSUPPORTED", "UNKNOWN", "WAITING", "MOVED", "NOTHING_TO_MOVE"]
    assert summarise(Record()) == ""


def test_of_many_ends_at_once_a_few_are_told_the_bad_ones_first() -> None:
    good = [plane("MOVED", namespace=f"a{number:02}", final=True) for number in range(30)]
    bad = [plane("FAILED", namespace=f"b{number}") for number in range(3)]
    events = announce(None, Record(control_planes=(*good, *bad)), misconfigured=False)
    assert [each.reason for each in events] == ["Failed"] * 3 + ["Moved"] * 7
    assert all(len(each.message) <= 1024 for each in events)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("final", [True, False])
def test_every_state_but_waiting_is_told_when_it_is_final(state: str, final: bool) -> None:
    reason = reason_of(plane(state, final=final))
    assert (reason is None) is (state == "WAITING" or (state == "UNKNOWN" and not final))
