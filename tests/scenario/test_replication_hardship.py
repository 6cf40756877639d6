"""Bad input and bad luck of ReplicationSources and -Destinations where only an API server, its controllers and a node can tell: each line of the table
is played at the same time in one namespace, is told with the way out, is mended, and ends in a synchronisation that leaves nothing behind.

What can be decided without them is in `tests/unit/reconcilers/replication/test_hardship.py`. The mover is a program that does nothing and succeeds.
"""

import asyncio
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from datamover.api import names, reasons
from datamover.api.volsync.replication_destination import REPLICATION_DESTINATIONS
from datamover.api.volsync.replication_source import REPLICATION_SOURCES
from datamover.cli.embedded.world import PROVISIONER
from datamover.cli.kinds import KINDS, REPLICATION_KINDS
from datamover.runs.facts import Patience
from kubekit.client.errors import NotFound, TransportTimeout
from kubekit.client.http import HttpTransport
from kubekit.client.transport import Request, Response
from kubekit.words.batch import JOBS
from kubekit.words.core import (
    CONFIG_MAPS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    SECRETS,
)
from kubekit.words.meta import PartialObject, Resource
from kubekit.words.snapshot import VOLUME_SNAPSHOTS
from kubekit.words.storage import STORAGE_CLASSES
from support.kubernetes import ControlPlane
from support.scenario import CLASS, Cluster, real_cluster

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

PATIENCE = 90.0
KINDS_OF_BOTH: tuple[Resource[Any], ...] = (REPLICATION_SOURCES, REPLICATION_DESTINATIONS)
TEMPORARY: tuple[Resource[Any], ...] = (JOBS, PERSISTENT_VOLUME_CLAIMS, VOLUME_SNAPSHOTS)
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", PartialObject)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", PartialObject, namespaced=False)
IMAGES = {names.DEFAULT_IMAGE_REPOSITORY: ("true",)}
RESTIC = {"RESTIC_REPOSITORY": "/nowhere", "RESTIC_PASSWORD": "p"}
STEM = "orders-of-the-shop-in-the-old-town-at-the-river"
ALIKE = (f"{STEM}-wvaljrivtf", f"{STEM}-ut0k4gqngn")
"""Two names whose CRC-32 is the same, so that their Jobs are called the same."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operator ask the cluster why after a second: how long it waits is not what is shown here."""
    monkeypatch.setattr("datamover.cli.kinds.Patience", partial(Patience, inquire_after=1.0))


class Stage:
    """One namespace on the real API server, and what its users do in it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client = cluster.client
        self.space = cluster.namespace

    async def source(self, name: str, claim: str = "data", manual: str = "one", **method: Any) -> None:
        spec = {"sourcePVC": claim, "trigger": {"manual": manual}, **method}
        await self.cluster.create(REPLICATION_SOURCES, name, spec=spec)

    async def destination(self, name: str, **method: Any) -> None:
        await self.cluster.create(REPLICATION_DESTINATIONS, name, spec={"trigger": {"manual": "one"}, **method})

    async def patch(self, resource: Resource[Any], name: str, patch: Mapping[str, Any]) -> None:
        await self.client.patch(resource, name, dict(patch), namespace=self.space, field_manager="user")

    async def find(self, resource: Resource[Any], name: str) -> Any:
        with suppress(NotFound):
            return await self.client.get(resource, name, namespace=self.space)

    async def status(self, resource: Resource[Any], name: str, holds: Callable[[Any], Any]) -> Any:
        """Wait until something holds of a status."""
        end, found = time.monotonic() + PATIENCE, None
        while time.monotonic() < end:
            found = await self.find(resource, name)
            if found is not None and found.status is not None and holds(found.status):
                return found.status
            await asyncio.sleep(0.1)
        raise AssertionError(f"{name} after {PATIENCE} s: {found and found.status}")

    async def warnings(self, name: str) -> list[tuple[str, str]]:
        listed = await self.client.list(EVENTS, namespace=self.space, field_selector="type=Warning")
        ours = [each for each in listed if each.involved_object is not None and each.involved_object.name == name]
        return [(each.reason or "", each.message or "") for each in ours]

    async def left(self) -> set[tuple[str, str]]:
        """Return what is temporary and still there."""
        found: set[tuple[str, str]] = set()
        for resource in TEMPORARY:
            listed = await self.client.list(resource, namespace=self.space, label_selector="volsync.backube/cleanup")
            found |= {(resource.kind, each.metadata.name) for each in listed}
        return found


def synced(status: Any) -> bool:
    return status.last_sync_time is not None and status.last_sync_start_time is None


def told(reason: str) -> Callable[[Any], bool]:
    return lambda status: (ready := status.condition("Ready")) is not None and ready.reason == reason


@asynccontextmanager
async def staged(kubernetes: ControlPlane, place: Path, **labels: str) -> AsyncIterator[Stage]:
    """A namespace with a volume, a Secret, a node, and an operator that looks after it only."""
    space = f"hardship-{secrets.token_hex(4)}"
    kubernetes.create_namespace(space)
    kinds = (*KINDS, *REPLICATION_KINDS)
    async with real_cluster(kubernetes, space, place, kinds=kinds, images=IMAGES) as cluster:
        stage = Stage(cluster)
        await cluster.create_volume("data", {"file": b"x"})
        await cluster.create_secret("repository", RESTIC)
        try:
            yield stage
        finally:
            for resource in KINDS_OF_BOTH:
                for each in await stage.client.list(resource, namespace=space):
                    await stage.client.delete(resource, each.metadata.name, namespace=space)


def restic(**fields: Any) -> dict[str, Any]:
    return {"restic": {"repository": "repository", "copyMethod": "Clone", "cacheStorageClassName": CLASS, **fields}}


def back(**fields: Any) -> dict[str, Any]:
    made = {"capacity": "1Gi", "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS, "copyMethod": "Direct"}
    return restic(**{**made, **fields})


Act = Callable[[Stage, str], Awaitable[None]]


@dataclass(frozen=True)
class Line:
    """What is created, what is said of it, and what its user does then. The object's name is the line's number."""

    begin: Act
    reason: str
    words: tuple[str, ...]
    mend: Act
    kind: Resource[Any] = REPLICATION_SOURCES
    error: bool = True


def source(**method: Any) -> Act:
    return lambda stage, name: stage.source(name, **method)


def destination(**method: Any) -> Act:
    return lambda stage, name: stage.destination(name, **method)


def change(resource: Resource[Any] = REPLICATION_SOURCES, **options: Any) -> Act:
    return lambda stage, name: stage.patch(resource, name, {"spec": {"restic": options}})


def create(resource: Resource[Any], called: str, **fields: Any) -> Act:
    async def act(stage: Stage, name: str) -> None:
        await stage.cluster.create(resource, called, **fields)

    return act


async def hold(stage: Stage, name: str) -> None:
    """Somebody else has a claim of the copy's name."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": CLASS}
    await stage.cluster.create(PERSISTENT_VOLUME_CLAIMS, f"volsync-{name}-src", spec=spec)
    await stage.source(name, **restic())


async def release(stage: Stage, name: str) -> None:
    await stage.client.delete(PERSISTENT_VOLUME_CLAIMS, f"volsync-{name}-src", namespace=stage.space)


async def create_class(stage: Stage, name: str) -> None:
    manifest = {"metadata": {"name": f"late-{stage.space}"}, "provisioner": PROVISIONER}
    await stage.client.apply(STORAGE_CLASSES, manifest, field_manager="user")


async def without_class(stage: Stage, name: str) -> None:
    await stage.source(name, **restic(storageClassName=f"late-{stage.space}"))


def volume(path: str, **what: Any) -> dict[str, Any]:
    return {"mountPath": path, "volumeSource": what}


LINES: Mapping[str, Line] = {
    "a ServiceAccount that is missing": Line(
        source(**restic(copyMethod="Direct", moverServiceAccount="absent")),
        reasons.MOVER_CANNOT_START,
        ('serviceaccount "absent" not found',),
        change(moverServiceAccount=None),
        error=False,
    ),
    "a Secret that comes late": Line(
        source(**restic(repository="late")),
        reasons.SECRET_NOT_FOUND,
        ('Secret "late" not found: create it with RESTIC_REPOSITORY and RESTIC_PASSWORD',),
        create(SECRETS, "late", stringData=RESTIC),
    ),
    "a Secret whose values are empty": Line(
        lambda stage, name: _with_secret(stage, name, {**RESTIC, "RESTIC_PASSWORD": ""}),
        reasons.SECRET_KEY_MISSING,
        ("is missing the field RESTIC_PASSWORD, or it is empty: add it",),
        lambda stage, name: stage.patch(SECRETS, f"secret-{name}", {"stringData": RESTIC}),
    ),
    "certificates that are missing": Line(
        source(**restic(customCA={"configMapName": "authorities", "key": "ca.crt"})),
        "Error",
        ('ConfigMap "authorities" not found: create it with ca.crt, or correct spec.restic.customCA',),
        create(CONFIG_MAPS, "authorities", data={"ca.crt": "x"}),
    ),
    "a further claim that is missing": Line(
        destination(**back(moverVolumes=[volume("repo", persistentVolumeClaim={"claimName": "further"})])),
        "Error",
        ('PersistentVolumeClaim "further" not found: create it, or correct spec.restic.moverVolumes',),
        lambda stage, name: _volume(stage, "further"),
        kind=REPLICATION_DESTINATIONS,
    ),
    "two volumes at one path": Line(
        source(**restic(moverVolumes=[volume("a", nfs={"server": "n", "path": "/"})] * 2)),
        reasons.INVALID_SPEC,
        ("spec.restic.moverVolumes has the mountPath 'a' 2 times: give each volume a name of its own",),
        change(moverVolumes=None),
    ),
    "resources that contradict each other": Line(
        source(**restic(moverResources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        reasons.CHILD_REFUSED,
        ("the API server refuses to create Job", "must be less than or equal to cpu limit"),
        change(moverResources=None),
    ),
    "a StorageClass that is missing": Line(
        without_class,
        reasons.STORAGE_CLASS_NOT_FOUND,
        ("does not exist: create it, or set spec.restic.storageClassName to one that does",),
        create_class,
    ),
    "a class that cannot clone": Line(
        source(**restic(storageClassName=f"{CLASS}-no-clones")),
        reasons.CLONE_PROVISIONING_FAILED,
        ("does not get ready", "The driver goes on trying"),
        change(storageClassName=None),
        error=False,
    ),
    "a claim of the copy's name": Line(
        hold,
        reasons.NAME_TAKEN,
        ("exists and is not this ReplicationSource's: delete or rename it",),
        release,
    ),
    "a destination that is not there": Line(
        destination(**back(destinationPVC="given")),
        reasons.SOURCE_NOT_FOUND,
        ('PersistentVolumeClaim "given" not found: create it, or correct spec.restic.destinationPVC',),
        lambda stage, name: _volume(stage, "given"),
        kind=REPLICATION_DESTINATIONS,
    ),
    "a snapshot class that is missing": Line(
        destination(**back(copyMethod="Snapshot", volumeSnapshotClassName="absent")),
        reasons.SNAPSHOT_CLASS_NOT_FOUND,
        ("VolumeSnapshotClass absent does not exist: create it or correct spec.restic.volumeSnapshotClassName",),
        change(REPLICATION_DESTINATIONS, volumeSnapshotClassName=CLASS),
        kind=REPLICATION_DESTINATIONS,
    ),
    "a schedule in no zone": Line(
        lambda stage, name: stage.cluster.create(
            REPLICATION_SOURCES,
            name,
            spec={"sourcePVC": "data", "trigger": {"schedule": "CRON_TZ=Nowhere/Nowhere 0 3 * * *"}, **restic()},
        ),
        reasons.INVALID_SPEC,
        ("spec.trigger.schedule: there is no time zone 'Nowhere/Nowhere'",),
        lambda stage, name: stage.patch(REPLICATION_SOURCES, name, {"spec": {"trigger": {"schedule": "0 3 1 1 *"}}}),
    ),
    "a manual trigger of 400 KB": Line(
        lambda stage, name: stage.source(name, manual="x" * 400_000, **restic()),
        reasons.INVALID_SPEC,
        ("spec.trigger.manual has 400,000 bytes", "write 262,144 or less"),
        lambda stage, name: stage.patch(REPLICATION_SOURCES, name, {"spec": {"trigger": {"manual": "one\ntwo"}}}),
    ),
}


async def _with_secret(stage: Stage, name: str, values: Mapping[str, str]) -> None:
    await stage.cluster.create_secret(f"secret-{name}", values)
    await stage.source(name, **restic(repository=f"secret-{name}"))


async def _volume(stage: Stage, name: str) -> None:
    await stage.cluster.create_volume(name, {})


async def play(stage: Stage, name: str, line: Line) -> None:
    """Play one line from its beginning to its end."""
    await line.begin(stage, name)
    status = await stage.status(line.kind, name, told(line.reason))
    ready, stalled = status.condition("Ready"), status.condition("Stalled")
    assert all(word in ready.message for word in line.words), ready.message
    assert (stalled.status, stalled.reason) == ("True", line.reason)
    assert (status.condition("Synchronizing").reason == "Error") is line.error, status
    assert status.last_sync_time is None
    await line.mend(stage, name)
    done = await stage.status(line.kind, name, synced)
    assert done.latest_mover_status.result == "Successful"
    assert done.condition("Stalled").status == "False"
    warned = Counter(reason for reason, _ in await stage.warnings(name))
    assert warned[line.reason] == 1, warned


@pytest.mark.usefixtures("impatient")
async def test_each_line_is_told_with_the_way_out_and_heals_when_it_is_mended(
    kubernetes: ControlPlane, tmp_path: Path
) -> None:
    async with staged(kubernetes, tmp_path) as stage:
        played = (play(stage, f"line-{number}", line) for number, line in enumerate(LINES.values()))
        ends = await asyncio.gather(*played, return_exceptions=True)
        assert {case: end for case, end in zip(LINES, ends, strict=True) if end is not None} == {}

        async def clean() -> bool:
            return not await stage.left()

        await stage.cluster.wait_for(clean)


# what a whole namespace forbids


@pytest.mark.usefixtures("impatient")
async def test_pod_security_and_a_quota_are_told_and_heal_when_they_are_satisfied(
    kubernetes: ControlPlane, tmp_path: Path
) -> None:
    async with staged(kubernetes, tmp_path) as stage:
        restricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
        await stage.client.patch(NAMESPACES, stage.space, restricted, field_manager="user")
        await stage.source("root", **restic(copyMethod="Direct", moverSecurityContext={"runAsUser": 0}))
        refused = await stage.status(REPLICATION_SOURCES, "root", told(reasons.MOVER_CANNOT_START))
        assert 'violates PodSecurity "restricted' in refused.condition("Ready").message
        await stage.patch(REPLICATION_SOURCES, "root", {"spec": {"restic": {"moverSecurityContext": None}}})
        await stage.status(REPLICATION_SOURCES, "root", synced)

        quota = {"metadata": {"name": "few", "namespace": stage.space}}
        await stage.client.create(QUOTAS, {**quota, "spec": {"hard": {"persistentvolumeclaims": "2"}}})
        await stage.client.patch(
            QUOTAS,
            "few",
            {"status": {"hard": {"persistentvolumeclaims": "2"}, "used": {"persistentvolumeclaims": "2"}}},
            namespace=stage.space,
            subresource="status",
            field_manager="user",
        )
        await stage.source("many", **restic())
        refused = await stage.status(REPLICATION_SOURCES, "many", told(reasons.CLONE_FORBIDDEN))
        assert "exceeded quota: few" in refused.condition("Ready").message
        assert refused.condition("Synchronizing").reason == "Error"
        await stage.client.delete(QUOTAS, "few", namespace=stage.space)
        await stage.status(REPLICATION_SOURCES, "many", synced)


# names


async def test_names_of_all_lengths_and_names_that_are_alike_work_beside_each_other(
    kubernetes: ControlPlane, tmp_path: Path
) -> None:
    async with staged(kubernetes, tmp_path) as stage:
        for name in ("n" * 63, "n" * 200):
            await stage.source(name, **restic(copyMethod="Direct"))
        await stage.source(ALIKE[0], paused=True, **restic(copyMethod="Direct"))
        await stage.status(REPLICATION_SOURCES, ALIKE[0], told(reasons.SUSPENDED))
        await stage.source(ALIKE[1], **restic(copyMethod="Direct"))
        await stage.status(REPLICATION_SOURCES, ALIKE[1], told(reasons.NAME_TAKEN))
        await stage.patch(REPLICATION_SOURCES, ALIKE[0], {"spec": {"paused": False}})
        await stage.destination("n" * 63, **back())
        for name in (*ALIKE, "n" * 63, "n" * 200):
            await stage.status(REPLICATION_SOURCES, name, synced)
        await stage.status(REPLICATION_DESTINATIONS, "n" * 63, synced)
        await stage.source("n" * 253, **restic(copyMethod="Direct"))
        refused = await stage.status(REPLICATION_SOURCES, "n" * 253, told(reasons.INVALID_SPEC))
        assert "give it a name of 235 characters or less" in refused.condition("Ready").message


# an API server that answers otherwise than it should


MET: Counter[tuple[str, ...]] = Counter()


class Moody(HttpTransport):
    """Answers the operator as the object's name says (`mood-403`) when it changes a thing for the first time, and rightly afterwards."""

    async def request(self, request: Request, *, timeout: float | None = None) -> Response:
        found = re.search(rb"mood-([0-9a-z]+)", request.path.encode() + request.body)
        whose = {name.lower(): value for name, value in request.headers.items()}.get("user-agent")
        if whose != "operator" or request.method == "GET" or found is None or "/events" in request.path:
            return await super().request(request, timeout=timeout)
        mood, called = found[1].decode(), re.search(rb'"name":"([^"]+)"', request.body)
        place = (mood, request.method, request.path, called[1].decode() if called else "")
        MET[place] += 1
        if MET[place] > 1:
            return await super().request(request, timeout=timeout)
        if mood == "lost":  # it is done, and nobody hears of it
            await super().request(request, timeout=timeout)
        if mood in ("lost", "slow"):
            raise TransportTimeout("no answer in time")
        body = {"kind": "Status", "status": "Failure", "message": f"in a mood of {mood}", "code": int(mood)}
        return Response(int(mood), {"content-type": "application/json"}, json.dumps(body).encode())


def is_stalled(status: Any) -> bool:
    return status.condition("Stalled").status == "True"


async def test_whatever_the_api_server_answers_to_each_write_the_first_time_all_ends_well(
    kubernetes: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.scenario.HttpTransport", Moody)
    monkeypatch.setattr("datamover.plans.refusals._FIRST_WAIT", 0.2)  # pauses are not what is shown here
    MET.clear()
    moods = ("403", "409", "422", "429", "500", "slow", "lost")
    async with staged(kubernetes, tmp_path) as stage:
        for mood in moods:
            await stage.source(f"mood-{mood}", **restic(copyMethod="Snapshot", volumeSnapshotClassName=CLASS))
            await stage.destination(f"mood-{mood}", **back(copyMethod="Snapshot", volumeSnapshotClassName=CLASS))
        for mood in moods:
            for kind in KINDS_OF_BOTH:
                # what may not be removed after the end is told for a moment
                done = await stage.status(kind, f"mood-{mood}", lambda it: synced(it) and not is_stalled(it))
                assert done.latest_mover_status.result == "Successful"
                assert done.last_manual_sync == "one"

        async def clean() -> bool:
            return not await stage.left()

        await stage.cluster.wait_for(clean)
        assert len(MET) > 15 * len(moods)
        images = await stage.client.list(VOLUME_SNAPSHOTS, namespace=stage.space)
        assert len(images) == len(moods), "one image of each destination, and no snapshot of a source is left"
