"""The ConfigMap beside a Backup in other people's hands: whose it is decides whether it is believed, and what it says whether it is used."""

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from datamover.api.hosted_control_plane import DataKey, StatusMap, status_name
from datamover.plans.known import Known
from datamover.plans.steps import REST, Emit
from datamover.reconcilers.hosted_control_plane.decide import decide
from datamover.reconcilers.hosted_control_plane.record import PLANES
from kubekit.words.meta import ObjectMeta, OwnerReference
from kubekit.words.timestamps import seconds
from support.control_planes import HOSTED, VELERO, at, backup, claim, hcp, upload
from support.following import Following

ENDED = {"completion_timestamp": seconds(at(9))}


def owner(kind: str = "Backup", name: str = "test-backup", uid: str = "another") -> OwnerReference:
    return OwnerReference(api_version="velero.io/v1" if kind == "Backup" else "v1", kind=kind, name=name, uid=uid)


def lay(world: Following, *owners: OwnerReference, said: Any = None) -> StatusMap:
    """Put a ConfigMap of the Backup's name that somebody else has made."""
    meta = ObjectMeta(name=status_name("test-backup"), namespace=VELERO, uid="laid", owner_references=owners or None)
    made = StatusMap(metadata=meta, data={DataKey.STATUS: json.dumps(said or {})})
    world.put(made)
    return made


@pytest.mark.parametrize(
    "owners",
    [(), (owner("ConfigMap", "x"),), (owner(name="another-backup"),), (owner(), owner("ConfigMap", "x"))],
    ids=["nobody's", "another kind's", "another backup's", "kept by somebody beside a predecessor"],
)
def test_a_config_map_of_somebody_else_is_left_alone_and_told_once(owners: tuple[OwnerReference, ...]) -> None:
    world = Following(upload(phase="InProgress"))
    laid = lay(world, *owners)
    plan = decide(world.facts(at(2)))
    (event,) = plan.steps
    assert isinstance(event, Emit)
    assert (event.type, event.reason) == ("Warning", "NameTaken")
    assert "hosted-control-planes-test-backup" in event.message
    world.known = Known(told=event)
    assert decide(world.facts(at(3))) == REST, "once"
    world.remove(laid)
    world.look(at(4))
    assert world.record().control_planes[0].state == "WAITING"


def test_of_a_backup_that_is_told_or_old_it_is_nobodys_concern() -> None:
    world = Following(upload(), of=backup("Completed", status=ENDED))
    lay(world)
    assert decide(world.facts(at(600))) == REST


def test_a_predecessors_config_map_that_does_not_go_is_told_after_a_while() -> None:
    world = Following(upload(phase="InProgress"), of=backup(uid="new"))
    lay(world, owner(uid="old"))
    plan = decide(world.facts(at(3)))
    assert plan.steps == ()
    assert plan.wake_after == pytest.approx(7 * 60, abs=1)
    (event,) = decide(world.facts(at(11))).steps
    assert isinstance(event, Emit)
    assert event.reason == "NameTaken"


def written(world: Following) -> dict[str, Any]:
    world.look(at(2))
    (found,) = world.around.statuses.store.list()
    return json.loads((found.data or {})[DataKey.STATUS])


def rewrite(world: Following, record: Any) -> None:
    (found,) = world.around.statuses.store.list()
    world.put(replace(found, data={DataKey.STATUS: msgspec.json.encode(record).decode()}))


HUGE = 10**400
NONSENSE: list[tuple[str, Any]] = [
    ("numbers that no counter takes", {"completed": HUGE}),
    ("less than nothing", {"completed": -1}),
    ("a name of a megabyte", {"namespace": "x" * 500_000}),
    ("a name that moves the cursor", {"namespace": "\x1b[2J"}),
    ("a platform of a megabyte", {"platform": "x" * 500_000}),
]


@pytest.mark.parametrize("change", [each[1] for each in NONSENSE], ids=[each[0] for each in NONSENSE])
def test_what_no_operator_writes_is_not_read(change: dict[str, Any]) -> None:
    world = Following(upload(phase="InProgress"))
    record = written(world)
    record["controlPlanes"][0] |= change
    rewrite(world, record)
    world.restart()
    world.look(at(3))
    (plane,) = world.record().control_planes
    assert (plane.namespace, plane.completed, plane.platform) == (HOSTED, 0, "AWS")


def test_control_planes_that_somebody_adds_by_the_thousand_are_not_followed() -> None:
    world = Following(upload(phase="InProgress"), of=backup(included_namespaces=("*",)))
    record = written(world)
    record["controlPlanes"] += [{"namespace": f"n{number}", "name": "x", "state": "WAITING"} for number in range(3000)]
    rewrite(world, record)
    world.look(at(3))
    assert len(world.record().control_planes) <= PLANES


def test_who_writes_a_namespace_there_that_the_backup_does_not_include_learns_nothing_of_it() -> None:
    world = Following(upload(phase="InProgress"), claim("secret-project", namespace="elsewhere"), hcp(namespace="elsewhere"))  # fmt: skip
    record = written(world)
    record["controlPlanes"].append({"namespace": "elsewhere", "name": "test-hcp", "state": "WAITING"})
    rewrite(world, record)
    world.look(at(3))
    (found,) = world.around.statuses.store.list()
    assert "secret-project" not in str(found.data)
    assert [each.namespace for each in world.record().control_planes] == [HOSTED]


def test_words_for_people_that_somebody_changes_are_put_right_while_the_backup_is_under_way() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    (found,) = world.around.statuses.store.list()
    world.put(replace(found, data={**(found.data or {}), DataKey.STATE: "MOVED"}))
    world.look(at(3))
    (found,) = world.around.statuses.store.list()
    assert (found.data or {})[DataKey.STATE] == "WAITING"
    world.look(at(4))
    assert world.writes == 2


def test_labels_that_somebody_takes_away_come_back() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(2))
    (found,) = world.around.statuses.store.list()
    world.put(replace(found, metadata=replace(found.metadata, labels=None)))
    world.look(at(3))
    assert world.writes == 2, "without them it is not seen after a restart"


def test_kinds_that_somebody_writes_there_make_no_series() -> None:
    world = Following(upload(phase="InProgress"))
    record = written(world)
    record["controlPlanes"][0] |= {
        "final": True,
        "volumes": [{"kind": f"kind-{number}", "finished": True} for number in range(500)],
    }
    rewrite(world, record)
    world.look(at(3))
    series = [sample for family in world.registry.collect() for sample in family.samples if "kind-" in str(sample.labels)]  # fmt: skip
    assert series == []


def test_a_backup_that_is_made_again_is_told_of_its_own() -> None:
    world = Following(upload())
    world.look(at(2))
    world.put(backup("Completed", status=ENDED))
    world.look(at(9))
    world.remove(world.around.statuses.store.list()[0])
    again = backup("Completed", uid="again", status=ENDED)
    world.put(again, upload(of=again))
    world.look(at(10))
    assert world.reasons == ["Moved", "Moved"]
    assert world.count("reconciliation_duration_seconds_count", platform="AWS", result="MOVED") == 2
