"""The definition of restores on both servers: phases are selectable, and what people see tells a stuck one from one that works."""

from typing import Any

import msgspec
import pytest

from conformance.test_data_movers import width_of
from conformance.test_kubectl import Kubectl
from conformance.test_kubectl import kubectl as kubectl  # noqa: PLC0414 - a fixture
from datamover.api import reasons, transfer
from datamover.api.names import RestorePhase
from datamover.api.v1alpha1.definition import data_mover_restore_crd
from datamover.api.v1alpha1.restore import DATA_MOVER_RESTORES, DataMoverRestore, RestoreRun
from datamover.plans.conditions import State
from datamover.reconcilers.restore.status import compose
from support.builders import NOW
from support.worlds import MERGE, TABLE, World

NARROW = ["Name", "Phase", "Reason", "Progress", "Point", "Age"]
RUN = RestoreRun(
    id="20240806143052-5f0c1b7e2a4d",
    claim="app-data-restored",
    secret_name="storage-credentials",
    wanted="latest",
    copied="2024-08-06-143052",
    files=100,
    bytes=1 << 40,
    target="marked",
)
STATES: dict[str, tuple[str, str, State]] = {
    "waits": (RestorePhase.NONE, reasons.SECRET_NOT_FOUND, State.BLOCKED),
    "works": (RestorePhase.RESTORING, reasons.RESTORING, State.WORKING),
    "stuck": (RestorePhase.RESTORING, reasons.IMAGE_PULL_FAILED, State.BLOCKED),
    "failed": (RestorePhase.FAILED, transfer.REASON_TARGET_NOT_EMPTY, State.FAILED),
    "done": (RestorePhase.COMPLETED, reasons.COMPLETED, State.DONE),
}


class Restores:
    """Restores in one world, without an operator: each is put into a state by hand."""

    def __init__(self, world: World) -> None:
        self.world = world

    def path(self, name: str | None = None, sub: str | None = None) -> str:
        path = DATA_MOVER_RESTORES.path(namespace=self.world.namespace, name=name)
        return f"{path}/{sub}" if sub else path

    async def put(self, name: str, key: str) -> None:
        """Create one, with the status that the operator composes."""
        phase, reason, state = STATES[key]
        manifest = {
            "apiVersion": DATA_MOVER_RESTORES.api_version,
            "kind": DATA_MOVER_RESTORES.kind,
            "metadata": {"name": name},
            "spec": {"source": {"dataMover": "nightly"}, "target": {"claimName": RUN.claim}},
        }
        made = (await self.world.send("POST", self.path(), manifest)).expect(201).body
        restore = msgspec.convert({key: made[key] for key in ("metadata", "spec")}, DataMoverRestore)
        run = msgspec.structs.replace(RUN, progress="100%, 12h59m left" if state is State.WORKING else None)
        status = compose(
            restore, now=NOW, state=state, reason=reason, message="why", phase=phase, run=(phase and run) or None
        )
        body = {"status": msgspec.to_builtins(status)}
        (await self.world.send("PATCH", self.path(name, "status"), body, kind=MERGE)).expect(200)

    async def cells(self, name: str) -> tuple[list[str], dict[str, Any]]:
        """Return the columns of a narrow terminal, and all cells."""
        table = (await self.world.send("GET", self.path(name), accept=TABLE)).expect(200).body
        columns = table["columnDefinitions"]
        narrow = [column["name"] for column in columns if not column.get("priority")]
        return narrow, dict(zip((c["name"] for c in columns), table["rows"][0]["cells"], strict=True))


@pytest.fixture
async def restores(world: World) -> Restores:
    answer = await world.post("customresourcedefinitions", data_mover_restore_crd())
    assert answer.status in {201, 409}, answer.body
    made = Restores(world)

    async def served() -> bool:
        return (await world.send("GET", made.path())).status == 200

    await world.eventually(served, what="the definition")
    return made


@pytest.mark.parametrize("key", STATES)
async def test_where_a_restore_stands_is_in_the_columns_of_a_narrow_terminal(restores: Restores, key: str) -> None:
    await restores.put("monday-evening", key)
    phase, reason, state = STATES[key]

    narrow, cells = await restores.cells("monday-evening")

    assert narrow == NARROW
    assert (cells["Phase"] or "", cells["Reason"], cells["Claim"]) == (phase, reason, RUN.claim)
    if phase:
        assert (cells["Point"], cells["Target"]) == (RUN.copied, RUN.target)
        assert (cells["Files"], cells["Bytes"]) == (RUN.files, RUN.bytes)
    assert bool(cells["Progress"]) is (state is State.WORKING)
    assert width_of([narrow, [str(cells[name] or "") for name in narrow]], "Point") <= 90


async def test_restores_are_selectable_by_phase(restores: Restores) -> None:
    for key in STATES:
        await restores.put(key, key)

    async def names(selector: str) -> list[str]:
        found = (await restores.world.send("GET", restores.path(), fieldSelector=selector)).expect(200).body
        return [item["metadata"]["name"] for item in found["items"]]

    assert await names("status.phase=Failed") == ["failed"]
    assert sorted(await names("status.phase!=Failed,status.phase!=Completed")) == ["stuck", "waits", "works"]


@pytest.mark.kubernetes
async def test_kubectl_shows_restores_by_their_short_name(restores: Restores, kubectl: Kubectl) -> None:
    for key in STATES:
        await restores.put(key, key)

    lines = (await kubectl("get", "dmr")).splitlines()
    wide = (await kubectl("get", "dmr", "-o", "wide")).splitlines()
    failed = await kubectl("get", "datamoverrestore", "--field-selector=status.phase=Failed", "-o", "name")

    assert lines[0].split() == [name.upper() for name in NARROW]
    assert wide[0].split() == [*lines[0].split(), "CLAIM", "TARGET", "FILES", "BYTES", "MESSAGE"]
    for key, (phase, reason, _) in STATES.items():
        (row,) = [line for line in lines if line.startswith(f"{key} ")]
        assert {phase, reason} - {""} <= set(row[:80].split()), row
    assert failed.split() == ["datamoverrestore.datamover.a-cup-of.coffee/failed"]
