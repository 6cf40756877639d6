"""Images that are kept up to date, and the configuration, with the operator on an embedded API server that has our definitions.

The numbers are those of the table of cases in the docs. Nothing is populated here: the test plays who fills the disks.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from datamover.api.cdi import definition, names
from datamover.api.cdi.config import CDI_CONFIGS, CDIS
from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.cdi.storage_profile import STORAGE_PROFILES
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from kubekit.words.storage import STORAGE_CLASSES
from support.collecting import CLAIM_SPEC, Collecting, collecting
from support.image_cron import LABEL, digest, name_of

CRON = {
    "managedDataSource": "fedora",
    "schedule": "",
    "importsToKeep": 2,
    "template": {"spec": {"source": {"registry": {"url": "docker://quay.example/fedora"}}, "storage": {}}},
}


@pytest.fixture
async def world() -> AsyncIterator[Collecting]:
    async with collecting(ours=True) as made:
        for each in (definition.data_source_crd, definition.data_import_cron_crd, definition.storage_profile_crd):
            await made.world.create(CUSTOM_RESOURCE_DEFINITIONS, each())
        await made.start(collection=False, population=True, fills=False, cdi_namespace=None)
        yield made


async def claim(world: Collecting, name: str, *, labels: dict[str, str] | None = None) -> None:
    await world.world.create(
        PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": name, "labels": labels or {}}, "spec": CLAIM_SPEC}
    )
    await world.world.patch(PERSISTENT_VOLUME_CLAIMS, name, {"phase": "Bound"}, status=True)
    # nobody is here who takes the protection of claims in use away when one is deleted
    await world.world.patch(PERSISTENT_VOLUME_CLAIMS, name, {"metadata": {"finalizers": None}})


async def desire(world: Collecting, number: int) -> None:
    said = {"metadata": {"annotations": {names.DESIRED_DIGEST: digest(number)}}}
    await world.world.patch(DATA_IMPORT_CRONS, "cron", said)


async def until_imported(world: Collecting, name: str) -> None:
    async def imported() -> bool:
        cron = await world.world.get(DATA_IMPORT_CRONS, "cron")
        source = await world.world.get(DATA_SOURCES, "fedora")
        last = cron.status and cron.status.last_imported_pvc
        return bool(last and last.name == name and source and source.spec.source.pvc.name == name)

    await world.world.until(imported, what=f"{name} is the last import")


async def until_ready(world: Collecting, name: str, reason: str) -> Any:
    async def said() -> Any:
        found = await world.world.get(DATA_SOURCES, name)
        conditions = (found.status and found.status.conditions) or ()
        return any(each.reason == reason for each in conditions)

    await world.world.until(said, what=f"DataSource {name} says {reason}")
    return await world.world.get(DATA_SOURCES, name)


async def claims(world: Collecting) -> set[str]:
    return {each.metadata.name for each in await world.client.list(PERSISTENT_VOLUME_CLAIMS, namespace="default")}


async def test_g15_digests_that_were_imported_before_are_used_again(world: Collecting) -> None:
    for number in range(3):
        await claim(world, name_of(number))
    await world.world.create(DATA_IMPORT_CRONS, {"metadata": {"name": "cron"}, "spec": CRON})
    used = [""]
    for number in (0, 1, 0, 2):
        await desire(world, number)
        await until_imported(world, name_of(number))
        tree = await world.tree(name_of(number))
        used.append(tree["metadata"]["annotations"][names.LAST_USE])
    assert used == sorted(set(used))
    await world.world.until_gone(PERSISTENT_VOLUME_CLAIMS, name_of(1))
    await world.world.quiet(0.2)
    assert await claims(world) == {name_of(0), name_of(2)}
    assert not await world.client.list(DATA_VOLUMES, namespace="default")
    await until_ready(world, "fedora", "Ready")
    before = world.world.writes()
    await world.world.quiet(0.3)
    assert world.world.writes() == before, "idle costs nothing"


async def test_g16_only_so_many_imports_are_left_after_a_new_one(world: Collecting) -> None:
    for name in ("old-0", "old-1", "old-2"):
        await claim(world, name, labels={LABEL: "cron"})
    await world.world.create(DATA_VOLUMES, {"metadata": {"name": "ancient", "labels": {LABEL: "cron"}}, "spec": {}})
    await world.world.create(DATA_IMPORT_CRONS, {"metadata": {"name": "cron"}, "spec": CRON})
    await desire(world, 7)
    new = name_of(7)

    async def made() -> Any:
        return await world.world.get(DATA_VOLUMES, new)

    await world.world.until(made, what="the import is begun")
    await claim(world, new, labels={LABEL: "cron"})
    await world.status(new, "Succeeded")
    await until_imported(world, new)
    await world.world.until_gone(DATA_VOLUMES, "ancient")

    async def two() -> bool:
        return len(await claims(world)) == 2

    await world.world.until(two, what="two imports are left")
    await world.world.quiet(0.2)
    assert new in await claims(world)
    assert names.LAST_USE in (await world.tree(new))["metadata"]["annotations"]


async def test_g17_a_datasource_is_ready_when_its_claim_is_there(world: Collecting) -> None:
    spec = {"source": {"pvc": {"name": "disk"}}}
    await world.world.create(DATA_SOURCES, {"metadata": {"name": "golden"}, "spec": spec})
    await until_ready(world, "golden", "NotFound")
    await claim(world, "disk", labels={"instancetype.kubevirt.io/default-preference": "fedora"})
    found = await until_ready(world, "golden", "Ready")
    assert found.status.source.pvc.namespace == "default"
    await world.world.quiet(0.2)
    labels = (await world.world.get(DATA_SOURCES, "golden")).metadata.labels
    assert labels == {"instancetype.kubevirt.io/default-preference": "fedora"}
    await world.world.delete(PERSISTENT_VOLUME_CLAIMS, "disk")
    await until_ready(world, "golden", "NotFound")


async def test_the_configuration_is_made_and_follows_the_cdi_object_and_each_class_has_a_profile(
    world: Collecting,
) -> None:
    async def there() -> Any:
        found = await world.world.get(CDI_CONFIGS, names.CONFIG_NAME)
        return found and found.status

    await world.world.until(there, what="the configuration is made")
    await world.world.create(CDIS, {"metadata": {"name": "cdi"}, "spec": {"config": {"dataVolumeTTLSeconds": 5}}})

    async def handed_on() -> bool:
        found = await world.world.get(CDI_CONFIGS, names.CONFIG_NAME)
        cdi = await world.world.get(CDIS, "cdi")
        return found.spec.data_volume_ttl_seconds == 5 and (cdi.status or {}).get("phase") == "Deployed"

    await world.world.until(handed_on, what="the configuration is handed on")
    await world.world.create(STORAGE_CLASSES, {"metadata": {"name": "ceph"}, "provisioner": "rbd.csi.ceph.com"})

    async def profiled() -> bool:
        found = await world.world.get(STORAGE_PROFILES, "ceph")
        return bool(found and found.status and found.status.claim_property_sets)

    await world.world.until(profiled, what="the class has a profile")
    before = world.world.writes()
    await world.world.quiet(0.3)
    assert world.world.writes() == before, "idle costs nothing"
    await world.world.delete(STORAGE_CLASSES, "ceph")
    await world.world.until_gone(STORAGE_PROFILES, "ceph")
