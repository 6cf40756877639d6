"""Our own definition on both servers: phases are selectable, and what people see tells a stuck run from one that works."""

import msgspec
import pytest

from conformance.test_kubectl import Kubectl
from conformance.test_kubectl import kubectl as kubectl  # noqa: PLC0414 - a fixture
from datamover.api import reasons, transfer
from datamover.api.names import Phase
from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from datamover.api.v1alpha1.definition import data_mover_crd
from datamover.api.waits import WAITS, Safe
from datamover.plans.conditions import State
from datamover.reconcilers.datamover.status import compose
from support.builders import NOW, run
from support.worlds import MERGE, TABLE, World

PROGRESS, LONGEST_PROGRESS = "42%, 1m30s left", "100%, 12h59m left"
NAME, SOURCE = "nightly-backup", "app-data"

EARLY = (
    *(reasons.SOURCE_NOT_FOUND, reasons.SOURCE_TERMINATING, reasons.SOURCE_LOST, reasons.SOURCE_NOT_BOUND),
    *(reasons.SECRET_NOT_FOUND, reasons.SECRET_KEY_MISSING, reasons.STORAGE_CLASS_NOT_FOUND, reasons.SUSPENDED),
    *(reasons.SNAPSHOTS_NOT_SUPPORTED, reasons.SNAPSHOT_CLASS_NOT_FOUND, reasons.CLASS_CANNOT_CLONE),
    *(reasons.INVALID_SPEC, reasons.INVALID_IMAGE, reasons.INVALID_ENVIRONMENT, reasons.BLOCK_NOT_SUPPORTED),
)
COPYING = (
    *(reasons.CLONE_PROVISIONING_FAILED, reasons.SNAPSHOT_FAILED, reasons.CLONE_FORBIDDEN, reasons.NAME_TAKEN),
    *(reasons.CLEANUP_WAITING, reasons.CHILD_REFUSED, reasons.PERMISSION_MISSING),
)
"""Waits before and after the run is recorded; what else there is waits for the mover."""
WORK = {
    Phase.CREATING_CLONE: (reasons.CLONING, reasons.SNAPSHOTTING),
    Phase.CLONE_READY: (reasons.CLONE_BOUND, reasons.CLONE_WAITS_FOR_CONSUMER),
    Phase.CREATING_POD: (reasons.JOB_CREATED, reasons.SYNCHRONIZING, reasons.RETRYING, reasons.PROGRESS_UNKNOWN),
    Phase.CLEANING_UP: (reasons.CLEANING_UP,),
}
FAILURES = (
    *(value for name, value in vars(transfer).items() if name.startswith("REASON_") and value != "Succeeded"),
    *(reasons.MOVER_FAILED, reasons.BACKOFF_LIMIT_EXCEEDED, reasons.CLONE_LOST, reasons.CLONE_VOLUME_LOST),
)


def phase_of(reason: str) -> str:
    if reason in EARLY:
        return Phase.NONE
    if reason in COPYING:
        return Phase.CREATING_CLONE
    return Phase.CLEANING_UP if WAITS[reason].safe is Safe.YES else Phase.CREATING_POD


STATES: list[tuple[str, str, State]] = [
    *((phase_of(reason), reason, State.BLOCKED) for reason in WAITS if reason != reasons.STATUS_FORBIDDEN),
    (Phase.CLEANING_UP, reasons.CLEANUP_WAITING, State.BLOCKED),
    *((phase, reason, State.WORKING) for phase, told in WORK.items() for reason in told),
    (Phase.COMPLETED, reasons.COMPLETED, State.DONE),
    *((Phase.FAILED, reason, State.FAILED) for reason in FAILURES),
]
"""Every phase, every wait and every failure."""


@pytest.fixture
async def movers(world: World) -> "Movers":
    definition = data_mover_crd()
    answer = await world.post("customresourcedefinitions", definition)
    assert answer.status in {201, 409}, answer.body
    made = Movers(world)

    async def served() -> bool:
        return (await world.send("GET", made.path())).status == 200

    await world.eventually(served, what="the definition")
    return made


class Movers:
    """DataMovers in one world, without an operator: each is put into a state by hand."""

    def __init__(self, world: World) -> None:
        self.world = world

    def path(self, name: str | None = None, sub: str | None = None) -> str:
        path = DATA_MOVERS.path(namespace=self.world.namespace, name=name)
        return f"{path}/{sub}" if sub else path

    async def create(self, name: str) -> None:
        manifest = {
            "apiVersion": DATA_MOVERS.api_version,
            "kind": DATA_MOVERS.kind,
            "metadata": {"name": name},
            "spec": {"sourcePvc": SOURCE, "secretName": "storage-credentials"},
        }
        (await self.world.send("POST", self.path(), manifest)).expect(201)

    async def put(self, name: str, phase: str, reason: str, state: State, *, progress: str = PROGRESS) -> None:
        """Write the status that the operator composes."""
        found = (await self.world.send("GET", self.path(name))).expect(200).body
        mover = msgspec.convert({key: found[key] for key in ("metadata", "spec")}, DataMover)
        recorded = run(progress=progress if phase == Phase.CREATING_POD else None) if phase else None
        status = compose(mover, now=NOW, state=state, reason=reason, message="why", phase=phase, run=recorded)
        body = {"status": {"run": None, "conditions": None, **msgspec.to_builtins(status)}}
        (await self.world.send("PATCH", self.path(name, "status"), body, kind=MERGE)).expect(200)

    async def names(self, selector: str) -> list[str]:
        answer = await self.world.send("GET", self.path(), fieldSelector=selector)
        return [item["metadata"]["name"] for item in answer.expect(200).body["items"]]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("status.phase=Failed", ["failed"]),
        ("status.phase==Completed", ["done"]),
        ("status.phase!=Completed", ["failed", "waiting"]),
        ("status.phase=", ["waiting"]),
        ("status.phase!=Completed,status.phase!=Failed", ["waiting"]),
        ("status.phase=Failed,metadata.name=done", []),
        ("status.phase=failed", []),
    ],
)
async def test_phases_are_selectable(movers: Movers, selector: str, names: list[str]) -> None:
    for name in ("done", "failed", "waiting"):
        await movers.create(name)
    await movers.put("done", Phase.COMPLETED, reasons.COMPLETED, State.DONE)
    await movers.put("failed", Phase.FAILED, reasons.MOVER_FAILED, State.FAILED)

    assert sorted(await movers.names(selector)) == names


async def test_a_field_that_is_not_selectable_is_refused(movers: Movers) -> None:
    answer = await movers.world.send("GET", movers.path(), fieldSelector="status.message=x")

    answer.expect(400, "BadRequest")
    assert "field label not supported: status.message" in answer.message


async def test_a_watch_by_phase_sees_what_comes_into_it_and_what_leaves_it(movers: Movers) -> None:
    await movers.create("a")
    listed = (await movers.world.send("GET", movers.path())).body["metadata"]["resourceVersion"]
    selected = {"fieldSelector": "status.phase=Failed", "resourceVersion": listed}
    async with movers.world.watch(movers.path(), **selected) as watch:
        await movers.put("a", Phase.FAILED, reasons.MOVER_FAILED, State.FAILED)
        await movers.put("a", Phase.CREATING_POD, reasons.RETRYING, State.WORKING)
        events = await watch.take(2)

    assert [event["type"] for event in events] == ["ADDED", "DELETED"]


async def test_completed_ones_are_deleted_by_their_phase(movers: Movers) -> None:
    for name in ("done", "failed"):
        await movers.create(name)
    await movers.put("done", Phase.COMPLETED, reasons.COMPLETED, State.DONE)
    await movers.put("failed", Phase.FAILED, reasons.MOVER_FAILED, State.FAILED)

    (await movers.world.send("DELETE", movers.path(), fieldSelector="status.phase=Completed")).expect(200)

    assert await movers.names("") == ["failed"]


async def test_every_state_tells_its_reason_in_the_default_view(movers: Movers) -> None:
    """The columns as the server prints them. The documented phase of a run that has not begun is empty: its reason is not."""
    await movers.create(NAME)
    for phase, reason, state in STATES:
        await movers.put(NAME, phase, reason, state, progress=LONGEST_PROGRESS)
        table = (await movers.world.send("GET", movers.path(NAME), accept=TABLE)).expect(200).body
        cells = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
        assert (cells["Phase"] or "", cells["Reason"]) == (phase, reason)
        shown = [column["name"] for column in table["columnDefinitions"] if not column.get("priority")]
        assert shown == ["Name", "Phase", "Reason", "Progress", "Source", "Age"]
        assert width_of([shown, [str(cells[name] or "") for name in shown]], "Reason") <= 80, (phase, reason)
        assert width_of([shown, [str(cells[name] or "") for name in shown]], "Age") <= 120, (phase, reason)


def width_of(rows: list[list[str]], column: str) -> int:
    """Return where a column of a table ends, as kubectl prints it: three spaces between columns, each as wide as its widest cell."""
    last = rows[0].index(column)
    return sum(max(len(row[index]) for row in rows) for index in range(last + 1)) + 3 * last


@pytest.mark.kubernetes
async def test_kubectl_tells_stuck_from_healthy_on_a_narrow_terminal(movers: Movers, kubectl: Kubectl) -> None:
    names = {"works": "nightly-one", "waits": "nightly-two", "stuck": "nightly-three", "failed": "nightly-four"}
    states = {
        "works": (Phase.CREATING_POD, reasons.SYNCHRONIZING, State.WORKING),
        "waits": (Phase.NONE, reasons.SECRET_NOT_FOUND, State.BLOCKED),
        "stuck": (Phase.CREATING_POD, reasons.IMAGE_PULL_FAILED, State.BLOCKED),
        "failed": (Phase.FAILED, transfer.REASON_ACCESS_DENIED, State.FAILED),
    }
    for key, name in names.items():
        await movers.create(name)
        await movers.put(name, *states[key])

    lines = (await kubectl("get", "datamover")).splitlines()
    alone = {key: (await kubectl("get", "datamover", name)).splitlines() for key, name in names.items()}
    failed = await kubectl("get", "dm", "--field-selector=status.phase=Failed", "-o", "name")
    wide = (await kubectl("get", "dm", "-o", "wide")).splitlines()[0].split()

    assert lines[0].split() == ["NAME", "PHASE", "REASON", "PROGRESS", "SOURCE", "AGE"]
    assert wide == [*lines[0].split(), "DESTINATION", "FILES", "BYTES", "CLONE", "VERIFIED", "MESSAGE"]
    for key, name in names.items():
        phase, reason, _ = states[key]
        (row,) = [line for line in lines if line.startswith(f"{name} ")]
        for width, printed in ((80, row), (80, alone[key][1])):
            assert {phase, reason} - {""} <= set(printed[:width].split()), printed
        assert all(len(line) <= 80 for line in alone[key]), alone[key]
    assert all(len(line) <= 120 for line in lines)
    assert failed.split() == ["datamover.datamover.a-cup-of.coffee/nightly-four"]
