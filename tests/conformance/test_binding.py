"""How claims and volumes find each other in either world. The test plays scheduler and provisioner."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.manifests import claim, meta
from support.worlds import World

PROVISIONER = "test.datamover.example"
ASKED = "volume.kubernetes.io/storage-provisioner"
NODE = "volume.kubernetes.io/selected-node"


class Storage:
    """Two classes of a world, and volumes by hand. Names are unique, because these kinds have no namespace."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.mark = secrets.token_hex(4)
        self.immediate, self.waiting = f"immediate-{self.mark}", f"waiting-{self.mark}"

    async def open(self) -> None:
        for name, mode in ((self.immediate, "Immediate"), (self.waiting, "WaitForFirstConsumer")):
            manifest = {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": meta(name),
                "provisioner": PROVISIONER,
                "volumeBindingMode": mode,
            }
            await self._world.create("storageclasses", manifest)

    async def close(self) -> None:
        for volume in await self._world.names("persistentvolumes"):
            if self.mark in volume:
                await self._world.patch("persistentvolumes", volume, {"metadata": {"finalizers": None}})
                await self._world.delete("persistentvolumes", volume)
        for name in (self.immediate, self.waiting):
            await self._world.delete("storageclasses", name)

    def volume(self, name: str, *, of: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
        """Return a volume, as a provisioner makes it for the claim `of`."""
        reference = {}
        if of is not None:
            keys = ("name", "namespace", "uid", "resourceVersion")
            reference = {
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
                | {key: of["metadata"][key] for key in keys}
            }
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": meta(f"{name}-{self.mark}", annotations={"pv.kubernetes.io/provisioned-by": PROVISIONER}),
            "spec": {
                "capacity": {"storage": "2Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": self.immediate,
                "csi": {"driver": PROVISIONER, "volumeHandle": name},
                **reference,
                **spec,
            },
        }


@pytest.fixture
async def storage(world: World) -> AsyncIterator[Storage]:
    each = Storage(world)
    await each.open()
    yield each
    await each.close()


async def annotations(world: World, name: str) -> dict[str, str]:
    return (await world.read("persistentvolumeclaims", name))["metadata"].get("annotations", {})


async def phase(world: World, plural: str, name: str, wanted: str) -> dict[str, Any]:
    async def reached() -> dict[str, Any] | None:
        current = await world.read(plural, name)
        return current if current.get("status", {}).get("phase") == wanted else None

    return await world.eventually(reached, seconds=40, what=f"{wanted} of {plural} {name}")


async def test_a_class_has_its_defaults(world: World, storage: Storage) -> None:
    created = await world.read("storageclasses", storage.immediate)

    assert (created["reclaimPolicy"], created["volumeBindingMode"]) == ("Delete", "Immediate")


async def test_an_immediate_claim_is_handed_to_the_provisioner(world: World, storage: Storage) -> None:
    await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))

    async def asked() -> bool:
        return (await annotations(world, "c")).get(ASKED) == PROVISIONER

    await world.eventually(asked, what="the request to the provisioner")
    assert (await world.read("persistentvolumeclaims", "c"))["status"]["phase"] == "Pending"


async def test_a_waiting_claim_is_handed_over_once_a_node_is_chosen(world: World, storage: Storage) -> None:
    await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.waiting))
    await world.create("persistentvolumeclaims", claim("marker", storageClassName=storage.immediate))

    async def asked(name: str) -> bool:
        return (await annotations(world, name)).get(ASKED) == PROVISIONER

    await world.eventually(lambda: asked("marker"), what="the request for the marker")
    assert ASKED not in await annotations(world, "c")
    (await world.patch("persistentvolumeclaims", "c", {"metadata": {"annotations": {NODE: "one"}}})).expect(200)

    await world.eventually(lambda: asked("c"), what="the request to the provisioner")


async def test_a_provisioned_volume_is_bound_to_its_claim(world: World, storage: Storage) -> None:
    wanted = await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))
    made = await world.create("persistentvolumes", storage.volume("v", of=wanted))

    bound = await phase(world, "persistentvolumeclaims", "c", "Bound")

    assert bound["spec"]["volumeName"] == made["metadata"]["name"]
    assert (bound["status"]["capacity"], bound["status"]["accessModes"]) == ({"storage": "2Gi"}, ["ReadWriteOnce"])
    assert bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
    volume = await phase(world, "persistentvolumes", made["metadata"]["name"], "Bound")
    assert volume["spec"]["claimRef"]["uid"] == wanted["metadata"]["uid"]
    assert "kubernetes.io/pv-protection" in volume["metadata"]["finalizers"]


async def test_a_free_volume_that_fits_is_taken(world: World, storage: Storage) -> None:
    small = await world.create("persistentvolumes", storage.volume("small", capacity={"storage": "512Mi"}))
    fitting = await world.create("persistentvolumes", storage.volume("fitting"))
    await phase(world, "persistentvolumes", small["metadata"]["name"], "Available")
    await phase(world, "persistentvolumes", fitting["metadata"]["name"], "Available")

    await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))

    bound = await phase(world, "persistentvolumeclaims", "c", "Bound")
    assert bound["spec"]["volumeName"] == fitting["metadata"]["name"]


async def test_a_claim_may_name_its_volume(world: World, storage: Storage) -> None:
    made = await world.create("persistentvolumes", storage.volume("v"))
    await phase(world, "persistentvolumes", made["metadata"]["name"], "Available")

    wanted = claim("c", storageClassName=storage.immediate, volumeName=made["metadata"]["name"])
    await world.create("persistentvolumeclaims", wanted)

    await phase(world, "persistentvolumeclaims", "c", "Bound")


async def test_a_claim_of_no_class_at_all_binds_only_what_has_none(world: World, storage: Storage) -> None:
    classed = await world.create("persistentvolumes", storage.volume("v"))
    await phase(world, "persistentvolumes", classed["metadata"]["name"], "Available")
    await world.create("persistentvolumeclaims", claim("c", storageClassName=""))
    await world.create("persistentvolumeclaims", claim("marker", storageClassName=storage.immediate))

    await phase(world, "persistentvolumeclaims", "marker", "Bound")

    assert (await world.read("persistentvolumeclaims", "c"))["status"]["phase"] == "Pending"


async def test_a_volume_is_released_when_its_claim_goes(world: World, storage: Storage) -> None:
    wanted = await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))
    made = await world.create(
        "persistentvolumes", storage.volume("v", of=wanted, persistentVolumeReclaimPolicy="Retain")
    )
    await phase(world, "persistentvolumeclaims", "c", "Bound")

    (await world.delete("persistentvolumeclaims", "c")).expect(200)

    await world.gone("persistentvolumeclaims", "c")
    released = await phase(world, "persistentvolumes", made["metadata"]["name"], "Released")
    assert released["spec"]["claimRef"]["uid"] == wanted["metadata"]["uid"]


async def test_a_claim_whose_volume_vanishes_is_lost(world: World, storage: Storage) -> None:
    wanted = await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))
    made = await world.create("persistentvolumes", storage.volume("v", of=wanted))
    await phase(world, "persistentvolumeclaims", "c", "Bound")

    await world.patch("persistentvolumes", made["metadata"]["name"], {"metadata": {"finalizers": None}})
    await world.delete("persistentvolumes", made["metadata"]["name"])
    await world.patch("persistentvolumes", made["metadata"]["name"], {"metadata": {"finalizers": None}})

    await phase(world, "persistentvolumeclaims", "c", "Lost")


async def test_a_bound_volume_that_is_deleted_waits_for_its_claim(world: World, storage: Storage) -> None:
    wanted = await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))
    made = await world.create("persistentvolumes", storage.volume("v", of=wanted))
    await phase(world, "persistentvolumes", made["metadata"]["name"], "Bound")

    (await world.delete("persistentvolumes", made["metadata"]["name"])).expect(200)

    kept = await world.read("persistentvolumes", made["metadata"]["name"])
    assert kept["metadata"]["deletionTimestamp"]
    assert kept["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]


async def test_a_bound_claim_may_grow_only_where_its_class_allows(world: World, storage: Storage) -> None:
    wanted = await world.create("persistentvolumeclaims", claim("c", storageClassName=storage.immediate))
    await world.create("persistentvolumes", storage.volume("v", of=wanted))
    await phase(world, "persistentvolumeclaims", "c", "Bound")

    more = {"spec": {"resources": {"requests": {"storage": "3Gi"}}}}
    refused = await world.patch("persistentvolumeclaims", "c", more)
    (await world.patch("storageclasses", storage.immediate, {"allowVolumeExpansion": True})).expect(200)
    allowed = await world.patch("persistentvolumeclaims", "c", more)
    less = await world.patch("persistentvolumeclaims", "c", {"spec": {"resources": {"requests": {"storage": "1Gi"}}}})

    refused.expect(403, "Forbidden")
    allowed.expect(200)
    less.expect(422, "Invalid")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"provisioner": "other.example"}, "provisioner"),
        ({"reclaimPolicy": "Retain"}, "reclaimPolicy"),
        ({"volumeBindingMode": "WaitForFirstConsumer"}, "volumeBindingMode"),
        ({"parameters": {"a": "b"}}, "parameters"),
    ],
)
async def test_what_a_class_is_cannot_change(
    world: World, storage: Storage, change: dict[str, Any], field: str
) -> None:
    answer = (await world.patch("storageclasses", storage.immediate, change)).expect(422, "Invalid")

    assert field in {each for _, each in answer.causes}
