"""Whom a change concerns: a backup wakes when something of it changes, and not when something else does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from datamover.api.hosted_control_plane import StatusMap, status_name
from datamover.reconcilers.hosted_control_plane.gather import Around
from kubekit.runtime.controller import DONE, Controller, Result
from kubekit.runtime.informer import Informer, State
from kubekit.runtime.store import Key
from kubekit.words.core import Pod, PodStatus
from kubekit.words.meta import ObjectMeta
from support.control_planes import VELERO, at, backup, claim, content, hcp, pod_volume_backup, snapshot, upload
from support.following import Following

LONG = backup("InProgress", name="x" * 80, uid="long")
OVER = backup("Completed", name="over", uid="over")


@asynccontextmanager
async def awake(world: Following) -> AsyncIterator[Callable[[], Any]]:
    """Run a controller, and give what tells whom it has looked at since it was asked last."""
    seen: list[str] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key.name)
        return DONE

    controller = Controller("watcher", reconcile=reconcile)
    controller.watch(world.kind.objects)
    world.kind.connect(controller)
    task = asyncio.create_task(controller.run())

    async def woken() -> set[str]:
        for _ in range(20):
            await asyncio.sleep(0)
        found, seen[:] = set(seen), []
        return found

    await woken()
    try:
        yield woken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pod(name: str, **labels: str) -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace=VELERO, labels=labels), status=PodStatus(phase="Pending"))


MINE = {"test-backup"}
ALL = {"test-backup", LONG.metadata.name}
CHANGES: list[tuple[str, Callable[[], Any], set[str]]] = [
    ("bytes of an upload", lambda: upload(phase="InProgress", done=2, total=3), MINE),
    ("another phase of an upload gives others their turn", lambda: upload(phase="Completed"), ALL),
    ("an upload of a shortened name", lambda: upload(phase="Completed", of=LONG, labels={"velero.io/backup-name": upload(of=LONG).metadata.label("velero.io/backup-name") or ""}), ALL),
    ("a pod volume backup", lambda: pod_volume_backup(phase="New"), ALL),
    ("a snapshot", lambda: snapshot("data-etcd-0", ready=False), MINE),
    ("a snapshot's content", lambda: content("data-etcd-0", ready=False), MINE),
    ("somebody's content", lambda: content("x", namespace="shop"), set()),
    ("a mover's Pod by its label", lambda: pod("abc", **{"velero.io/data-upload": "test-backup-data-etcd-0"}), MINE),
    ("a mover's Pod by its name", lambda: pod("test-backup-data-etcd-0"), MINE),
    ("a node-agent", lambda: pod("node-agent-1"), set()),
    ("a claim that comes", lambda: claim("data-etcd-9"), ALL),
    ("a claim that is bound now", lambda: claim("data-etcd-0", phase="Bound"), ALL),
    ("a claim that is left out now", lambda: claim("data-etcd-0", labels={"velero.io/exclude-from-backup": "true"}), ALL),
    ("a claim that changes otherwise", lambda: claim("data-etcd-0", annotations={"shop/owner": "x"}), set()),
    ("a claim of a namespace without a control plane", lambda: claim(namespace="shop"), set()),
    ("a control plane that comes", lambda: hcp(name="another"), ALL),
    ("a control plane of no backup", lambda: hcp(namespace="shop"), set()),
    ("a control plane whose status changes", lambda: hcp(), set()),
    ("a control plane of another platform", lambda: hcp("Azure"), ALL),
]  # fmt: skip


@pytest.mark.parametrize(("make", "woken"), [each[1:] for each in CHANGES], ids=[each[0] for each in CHANGES])
async def test_a_change_wakes_whom_it_concerns(make: Callable[[], Any], woken: set[str]) -> None:
    world = Following(upload(phase="InProgress", done=1, total=3), snapshot("data-etcd-0"), claim())
    world.put(LONG, OVER)
    async with awake(world) as whom:
        world.put(make())
        assert await whom() == woken


async def test_the_config_map_that_somebody_removes_wakes_its_backup() -> None:
    world = Following(upload(phase="InProgress"))
    world.look(at(1))
    async with awake(world) as whom:
        world.remove(world.around.statuses.store.list()[0])
        assert await whom() == {"test-backup"}


async def test_a_config_map_of_somebody_else_that_goes_wakes_the_backup_that_waits_for_its_name() -> None:
    world = Following(upload(phase="InProgress"))
    meta = ObjectMeta(name=status_name("test-backup"), namespace=VELERO, uid="x")
    world.put(StatusMap(metadata=meta))
    async with awake(world) as whom:
        world.remove(StatusMap(metadata=meta))
        assert await whom() == {"test-backup"}


async def test_a_kind_that_can_be_read_now_wakes_those_that_are_under_way() -> None:
    world = Following(upload(phase="InProgress"))
    world.put(OVER)
    async with awake(world) as whom:
        for handler in world.around.uploads._state_handlers:  # pyright: ignore[reportPrivateUsage]
            handler(world.around.uploads.state)
        assert await whom() == {"test-backup"}


def test_the_caches_keep_what_verdicts_read_and_not_much_more() -> None:
    world = Following()
    noisy = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 10_000, "velero.io/pvc-name": "data"}
    found = pod_volume_backup(of=backup())
    world.put(
        replace(
            found,
            metadata=replace(found.metadata, annotations=noisy, labels={**(found.metadata.labels or {}), "app": "x"}),
        )
    )
    (kept,) = world.around.pod_volume_backups.store.list()
    assert kept.metadata.annotations == {"velero.io/pvc-name": "data"}
    assert set(kept.metadata.labels or ()) == {"velero.io/backup-name", "velero.io/backup-uid"}
    agent = replace(pod("node-agent-1", app="node-agent"), status=PodStatus(phase="Running", message="x" * 1000))
    world.put(agent)
    assert world.around.pods.store.list()[0].status is None


def test_velero_is_read_in_its_namespace_and_control_planes_where_the_operator_works() -> None:
    world = Following()
    around: Around = world.around
    assert {
        informer.name for informer in (around.uploads, around.pod_volume_backups, around.pods, around.statuses)
    } == {
        f"datauploads.velero.io in {VELERO}",
        f"podvolumebackups.velero.io in {VELERO}",
        f"pods in {VELERO}",
        f"configmaps in {VELERO}",
    }
    assert around.planes.name == "hostedcontrolplanes.hypershift.openshift.io"
    assert around.contents.name == "volumesnapshotcontents.snapshot.storage.k8s.io"
    assert world.kind.objects.name == f"backups.velero.io in {VELERO}"


async def test_what_is_installed_with_backups_is_looked_for_as_soon_as_these_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the first backups of a Velero that comes after the operator would be called UNKNOWN, for up to a minute and a half."""
    looked: list[str] = []
    monkeypatch.setattr(Informer, "look_again", lambda self: looked.append(self.resource.kind))
    world = Following()
    async with awake(world):
        world.kind.objects._enter(State.ABSENT)
        assert looked == []
        world.kind.objects._enter(State.WATCHING)
        assert set(looked) == {"DataUpload", "PodVolumeBackup", "HostedControlPlane"}
