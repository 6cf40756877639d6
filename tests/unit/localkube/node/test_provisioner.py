import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from localkube.node import adoption
from localkube.node import directories as directories_module
from localkube.node.adoption import AdoptionError
from localkube.node.directories import Directories, InUse
from localkube.node.kinds import CLAIMS, VOLUMES
from localkube.node.names import DRIVER
from localkube.node.trees import TreeError

CLONE = {"kind": "PersistentVolumeClaim", "name": "src"}


async def until_refused(world, part):
    async def has():
        return [note for _, reason, note in await world.events() if reason == "ProvisioningFailed" and part in note]

    await world.until(has, what=f"ProvisioningFailed: {part}")


def contents(directory):
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


async def source(world, name="src", **more):
    await world.claim(name, **more)
    directory = await world.bound(name)
    (directory / "a").write_text("1")
    (directory / "d").mkdir()
    (directory / "d/b").write_text("2")
    return directory


async def test_a_volume_is_made_bound_and_removed_with_its_claim(world):
    await world.storage_class()
    await world.claim()
    directory = await world.bound()
    assert directory.parent == world.state / "volumes"
    (directory / "file").write_text("x")
    await world.delete(CLAIMS, "c")

    async def removed():
        return not directory.exists() and not await world.client.list(VOLUMES)

    await world.until(removed)
    assert await world.told("ProvisioningSucceeded")


async def test_a_class_that_waits_makes_nothing_before_a_pod_comes(world):
    await world.storage_class(mode="WaitForFirstConsumer")
    await world.claim()
    await world.quiet()
    assert os.listdir(world.state / "volumes") == []
    await world.pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
    await world.until_phase()
    assert (await world.bound()).is_dir()


async def test_a_clone_has_the_content_of_its_source_and_lives_on_its_own(world):
    await world.storage_class()
    directory = await source(world)
    await world.claim("clone", dataSource=CLONE)
    clone = await world.bound("clone")
    assert contents(clone) == {"a": "1", "d/b": "2"}
    (directory / "a").write_text("changed")
    assert contents(clone)["a"] == "1"


async def test_a_volume_whose_directory_is_gone_is_lost_and_told(world):
    """Records that are newer than the disk: a Pod that waited for such a volume would wait for ever."""
    await world.storage_class()
    await world.claim()
    directory = await world.bound()
    await world.stop_node()
    directory.rmdir()
    await world.start_node()

    async def lost():
        claim = await world.get(CLAIMS, "c")
        return claim.phase == "Lost" and not await world.client.list(VOLUMES)

    await world.until(lost)
    assert "is gone, and with it what was in the volume: delete the claim" in await world.told("VolumeLost")


async def test_a_volume_of_a_user_or_one_to_retain_is_never_given_up(world, tmp_path):
    """A disk that is not mounted comes back."""
    await world.storage_class(reclaim="Retain")
    await world.claim()
    directory = await world.bound()
    own = tmp_path / "own"
    own.mkdir()
    await world.node.adopt_directory(name="own", namespace=world.namespace, path=own, storage_class="local")
    await world.bound("own")
    await world.stop_node()
    directory.rmdir()
    own.rmdir()
    await world.start_node()
    await world.quiet()
    assert [(await world.get(CLAIMS, name)).phase for name in ("c", "own")] == ["Bound", "Bound"]


async def test_what_the_server_holds_is_durable_before_a_directory_comes_or_goes(tmp_path):
    """Order is all: a directory that went before the record of its removal would be missed for ever."""
    steps = []

    async def settle():
        steps.append(sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")))

    made = Directories(tmp_path, settle=settle)
    await made.open()
    await made.create("a")
    await made.copy("b", tmp_path / "a")
    await made.remove("a")
    await made.close()
    assert steps == [[], ["a"], ["a", "b"]]


async def test_whoever_gives_up_an_adoption_does_not_wait_for_all_files(world, tmp_path, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def measure(path, *, stop):
        begun.set()
        while not stop():
            time.sleep(0.001)
        ended.set()
        return 0

    monkeypatch.setattr(adoption, "measure_tree", measure)
    await world.storage_class()
    adopting = asyncio.create_task(
        world.node.adopt_directory(
            name="own", namespace=world.namespace, path=tmp_path_of(tmp_path), storage_class="local"
        )
    )
    await asyncio.to_thread(begun.wait, 20)
    adopting.cancel()
    assert await asyncio.to_thread(ended.wait, 20)


def tmp_path_of(place):
    own = place / "own"
    own.mkdir()
    return own


async def test_retain_keeps_the_directory(world):
    await world.storage_class(reclaim="Retain")
    directory = await source(world)
    await world.delete(CLAIMS, "src")
    await world.until_gone(CLAIMS, "src")
    await world.quiet()
    assert contents(directory) == {"a": "1", "d/b": "2"}
    (volume,) = await world.client.list(VOLUMES)
    assert volume.phase == "Released"
    await world.delete(VOLUMES, volume.metadata.name)
    await world.until_gone(VOLUMES, volume.metadata.name)
    assert directory.is_dir()


@pytest.mark.parametrize(
    ("parameters", "spec", "part"),
    [
        ({"cloning": "false"}, {"dataSource": CLONE}, "cannot clone volumes"),
        ({}, {"dataSource": CLONE, "size": "1Mi"}, "requested 1Mi but source is 1Gi"),
        ({}, {"volumeMode": "Block"}, "cannot provide volumeMode Block"),
        ({}, {"dataSource": {**CLONE, "name": "nobody"}}, "error getting PVC nobody"),
    ],
)
async def test_what_cannot_be_provisioned_is_said_in_an_event(world, parameters, spec, part):
    await world.storage_class(**parameters)
    await source(world)
    await world.claim("c", **spec)
    await until_refused(world, part)
    assert (await world.get(CLAIMS, "c")).phase == "Pending"
    assert len(os.listdir(world.state / "volumes")) == 1


async def test_a_refused_clone_heals_when_its_source_appears(world):
    await world.storage_class()
    await world.claim("clone", dataSource=CLONE)
    await until_refused(world, "error getting PVC src")
    await world.claim("src")
    assert (await world.bound("clone")).is_dir()


async def test_a_slow_class_takes_its_time(world):
    await world.storage_class(slow="0.4")
    started = asyncio.get_running_loop().time()
    await world.claim()
    await world.bound()
    assert asyncio.get_running_loop().time() - started >= 0.4


async def test_an_unreadable_source_fails_the_clone_and_leaves_nothing_half_made(world, monkeypatch):
    async def fail(source, destination, **_):
        destination.mkdir()
        (destination / "half").write_text("x")
        raise TreeError("2 entries cannot be read by this user: secret, diary")

    await world.storage_class()
    await source(world)
    monkeypatch.setattr(directories_module, "copy_tree", fail)
    await world.claim("clone", dataSource=CLONE)
    await until_refused(world, "2 entries cannot be read by this user: secret, diary")
    assert len([n for n in os.listdir(world.state / "volumes") if "report" not in n]) == 1


async def test_what_a_clone_is_not_is_told(world, monkeypatch):
    copy = directories_module.copy_tree

    async def copy_with_losses(source, destination, **options):
        report = await copy(source, destination, **options)
        report.went.add(b"cannot stat './a': No such file or directory")
        report.lost_owners = 2
        return report

    await world.storage_class()
    await source(world)
    monkeypatch.setattr(directories_module, "copy_tree", copy_with_losses)
    await world.claim("clone", dataSource=CLONE)
    await world.bound("clone")
    told = await world.told("CopyNotConsistent")
    assert "1 entries went or were replaced" in told
    assert "cp said: cannot stat './a': No such file or directory" in told
    assert "2 owners and 0 extended attributes could not be kept" in await world.told("CopyIncomplete")


async def test_a_users_directory_is_adopted_cloned_and_never_touched(world, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo").write_text("precious")
    before = mine.stat()
    await world.storage_class()
    claim = await world.node.adopt_directory(name="src", path=mine, storage_class="local")
    assert claim.request == "1Gi"
    assert await world.bound("src") == mine
    again = await world.node.adopt_directory(name="src", path=mine, storage_class="local")
    assert again.metadata.uid == claim.metadata.uid
    await world.claim("clone", dataSource=CLONE)
    assert contents(await world.bound("clone")) == {"photo": "precious"}
    await world.delete(CLAIMS, "src")
    await world.until_gone(CLAIMS, "src")
    await world.quiet()
    await world.node.adopt_directory(name="src", path=mine, storage_class="local")
    assert await world.bound("src") == mine
    for volume in await world.client.list(VOLUMES):
        if volume.directory == str(mine):
            await world.delete(CLAIMS, "src")
            await world.until_gone(CLAIMS, "src")
            await world.delete(VOLUMES, volume.metadata.name)
            await world.until_gone(VOLUMES, volume.metadata.name)
    assert contents(mine) == {"photo": "precious"}
    assert (mine.stat().st_mtime_ns, mine.stat().st_mode) == (before.st_mtime_ns, before.st_mode)


async def test_what_cannot_be_adopted_is_refused_with_a_reason(world, tmp_path):
    await world.node.ready.wait()
    (tmp_path / "file").write_text("x")
    cases = {
        tmp_path / "missing": "No such file",
        tmp_path / "file": "is not a directory",
        tmp_path: "lie in one another",
        world.state / "volumes": "lie in one another",
    }
    for path, part in cases.items():
        with pytest.raises(AdoptionError, match=part):
            await world.node.adopt_directory(name="x", path=path, storage_class="local")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    await world.node.adopt_directory(name="x", path=tmp_path / "a", storage_class="local")
    with pytest.raises(AdoptionError, match="stands for"):
        await world.node.adopt_directory(name="x", path=tmp_path / "b", storage_class="local")
    await world.storage_class()
    await world.claim("taken")
    with pytest.raises(AdoptionError, match="exists already"):
        await world.node.adopt_directory(name="taken", path=tmp_path / "a", storage_class="local")


async def test_a_volume_that_claims_a_foreign_path_is_not_removed(world, tmp_path):
    """Somebody writes a PV by hand that looks like ours (law L2)."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    await world.create(
        VOLUMES,
        {
            "metadata": {"name": "pvc-forged", "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete",
                "hostPath": {"path": str(precious)},
                "claimRef": {"namespace": "default", "name": "ghost", "uid": "gone", "kind": "PersistentVolumeClaim"},
            },
        },
    )

    async def released():
        return (await world.get(VOLUMES, "pvc-forged")).phase == "Released"

    await world.until(released)
    await world.quiet()
    assert (precious / "file").read_text() == "x"
    assert await world.get(VOLUMES, "pvc-forged") is not None


async def test_directories_that_no_object_knows_are_swept_at_the_start(world):
    await world.storage_class()
    await world.claim()
    kept = await world.bound()
    await world.stop_node()
    root = world.state / "volumes"
    for name in ("pvc-orphan", "somebody-elses", ".making-pvc-x", ".removing-pvc-y"):
        (root / name).mkdir()
        (root / name / "file").write_text("x")
    await world.start_node()

    async def swept():
        return sorted(os.listdir(root)) == sorted([kept.name, "somebody-elses"])

    await world.until(swept)


async def test_with_another_cluster_nothing_is_swept(world):
    await world.node.ready.wait()

    async def known():
        return (world.state / "cluster").exists()

    await world.until(known)
    await world.stop_node()
    (world.state / "cluster").write_text("another")
    (world.state / "volumes/pvc-orphan").mkdir()
    await world.start_node()
    await world.node.ready.wait()
    await asyncio.sleep(0.2)
    assert (world.state / "volumes/pvc-orphan").is_dir()


async def test_many_clones_at_once_make_one_directory_each(world):
    await world.storage_class()
    await source(world)
    for number in range(25):
        await world.claim(f"c{number}", dataSource=CLONE)
    places = {await world.bound(f"c{number}") for number in range(25)}
    assert len(places) == 25
    assert all(contents(place) == {"a": "1", "d/b": "2"} for place in places)


async def test_a_directory_that_is_copied_from_is_not_removed(tmp_path, monkeypatch):
    store = Directories(tmp_path / "root")
    await store.open()
    place = await store.create("pvc-a")
    gate = asyncio.Event()
    copy = directories_module.copy_tree

    async def slow(source, destination, **options):
        await gate.wait()
        return await copy(source, destination, **options)

    monkeypatch.setattr(directories_module, "copy_tree", slow)
    copying = asyncio.create_task(store.copy("pvc-b", place))
    await asyncio.sleep(0.05)
    with pytest.raises(InUse):
        await store.remove("pvc-a")
    gate.set()
    await copying
    await store.remove("pvc-a")
    await store.close()
    assert os.listdir(tmp_path / "root") == [".report-pvc-b", "pvc-b"] or sorted(os.listdir(tmp_path / "root")) == [
        ".report-pvc-b",
        "pvc-b",
    ]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", ".hidden", "a..b", "Upper", "/etc"])
def test_names_that_could_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="is not the name of a volume"):
        Directories(tmp_path).place(name)


COPY = """
import asyncio, sys
from pathlib import Path
from localkube.node.directories import Directories
async def main():
    store = Directories(Path(sys.argv[1]))
    await store.open()
    print("go", flush=True)
    await store.copy("pvc-b", Path(sys.argv[2]))
    print("done", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1])
async def test_a_copy_that_is_killed_half_way_never_shows(tmp_path, delay):
    big = tmp_path / "big"
    big.mkdir()
    for number in range(2000):
        (big / f"{number}").write_text("x" * 100)
    root = tmp_path / "root"
    arguments = [sys.executable, "-c", COPY, str(root), str(big)]
    copier = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}, stdout=subprocess.PIPE)
    assert copier.stdout.readline() == b"go\n"
    await asyncio.sleep(delay)
    copier.kill()
    copier.wait()
    copier.stdout.close()
    complete = (root / "pvc-b").exists()
    assert not complete or len(os.listdir(root / "pvc-b")) == 2000
    store = Directories(root)
    await store.open()
    assert not [name for name in os.listdir(root) if name.startswith((".making", ".removing"))]
    place, _ = await store.copy("pvc-b", big)
    assert len(os.listdir(place)) == 2000
    await store.close()


async def test_copies_are_called_off_when_the_node_stops(tmp_path):
    big = tmp_path / "big"
    big.mkdir()
    for number in range(3000):
        (big / f"{number}").write_text("x")
    store = Directories(tmp_path / "root")
    await store.open()
    copying = asyncio.create_task(store.copy("pvc-b", big))
    await asyncio.sleep(0.01)
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    await store.close()
    assert [name for name in os.listdir(tmp_path / "root") if not name.startswith(".report")] in ([], ["pvc-b"])
