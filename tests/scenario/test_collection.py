"""Completed DataVolumes and their collection, with the whole operator in both worlds; the CDI beside it is played by hand.

The second world is a real API server, where Kubernetes binds the claims and its garbage collector is at work: what it would have taken is looked for
when all cases are over. The numbers are those of the table of cases in the docs.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.api.kubevirt import KUBEVIRTS
from datamover.reconcilers.collection.facts import Machines
from datamover.reconcilers.collection.gather import SINCE_NAME
from datamover.volumes.handover import build_patch, describe_untouched, record_of
from kubekit.words.apiextensions import CUSTOM_RESOURCE_DEFINITIONS
from kubekit.words.coordination import LEASES
from kubekit.words.core import CONFIG_MAPS, NAMESPACES, PERSISTENT_VOLUME_CLAIMS
from kubekit.words.timestamps import micros, seconds
from localkube.transport import LocalTransport
from support.collecting import ASKED, KEY, MACHINES, OWNERS, Collecting, collecting, collecting_on, owners_of
from support.kubernetes import ControlPlane

COLLECTIONS = "datamover_datavolume_collections_total"
REAL = [pytest.mark.kubernetes, pytest.mark.xdist_group("cdi")]
SKIPPED = "datamover_datavolume_collections_skipped_total"


@pytest.fixture(scope="module")
def survivors(request: pytest.FixtureRequest) -> Iterator[list[dict[str, Any]]]:
    """Claims of collected DataVolumes on the real API server: when all cases are over, each of them is still there."""
    plane: ControlPlane = request.getfixturevalue("cdi_plane")
    kept: list[dict[str, Any]] = []
    yield kept
    for each in kept:
        meta = each["metadata"]
        path = PERSISTENT_VOLUME_CLAIMS.path(namespace=meta["namespace"], name=meta["name"])
        _, now = plane.call("GET", path)
        assert now["metadata"].get("uid") == meta["uid"], f"the garbage collector took {meta['name']}"
        assert "deletionTimestamp" not in now["metadata"]


@pytest.fixture(params=["embedded", pytest.param("real", marks=REAL)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Collecting]:
    if request.param == "embedded":
        async with collecting() as made:
            yield made
        return
    kept = request.getfixturevalue("survivors")
    async with collecting_on(request.getfixturevalue("cdi_plane")) as made:
        yield made
        kept += made.survivors


async def recorded(world: Collecting) -> None:
    """Wait until it is written down since when a lifetime is set."""

    async def there() -> Any:
        return await world.world.get(CONFIG_MAPS, SINCE_NAME)

    await world.world.until(there, what="the moment is recorded")


async def test_g1_n10_a_new_volume_is_stamped_and_collected_and_its_claim_is_as_it_was_and_its_owners(
    world: Collecting,
) -> None:
    await world.start(ttl=None)
    await world.configure(0)
    await recorded(world)
    owner = await world.owner(OWNERS, "first")
    await asyncio.sleep(1.0)  # moments have whole seconds
    made = await world.volume(phase="ImportInProgress", owners=[owner])
    before = await world.tree("disk")
    await world.status("disk", "Succeeded")
    after = await world.collected()
    assert owners_of(after) == [owner]
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])
    said = after["metadata"]["annotations"]
    assert (said[names.CREATED_FOR], said[names.POPULATED_FOR]) == (made.metadata.uid, "")
    assert (said[names.GARBAGE_COLLECTED], said[KEY]) == ("true", "true")
    record = json.loads(said[names.RECORD])
    assert (record["uid"], record["source"]) == (made.metadata.uid, "http https://images.example/disk.img")
    assert world.metric(COLLECTIONS, result="Collected") == 1
    told = [(kind, reason) for kind, reason, _ in await world.world.events()]
    assert ("DataVolume", "Collected") in told
    assert ("PersistentVolumeClaim", "Collected") in told


async def test_g2_n1_where_no_time_is_set_a_volume_stays_without_a_stamp(world: Collecting) -> None:
    await world.start(ttl=None)
    await world.configure(-1)
    await world.volume("never")
    await world.volume("asked", annotations=ASKED)
    for name in ("never", "asked"):
        await world.stays(name)
    found = await world.world.get(DATA_VOLUMES, "never")
    assert found.metadata.annotations is None


async def test_g3_n4_it_goes_when_its_time_has_come_also_when_the_operator_is_another_one_by_then(
    world: Collecting,
) -> None:
    await world.start(ttl=6)
    since = datetime.now(UTC)
    await world.volume(annotations=ASKED, ready_since=seconds(since))
    await world.stays()
    await world.start(ttl=6)
    await world.stays()
    await world.collected()
    assert datetime.now(UTC) >= since.replace(microsecond=0) + timedelta(seconds=6)


async def test_g4_g5_n2_what_is_older_than_the_time_that_is_set_stays_until_its_user_asks_and_nobody_touches_it(
    world: Collecting,
) -> None:
    await world.start(ttl=None)
    await world.configure(-1)
    await world.volume("asked", annotations=ASKED)
    await world.volume("old")
    await world.volume("empty")
    await world.stays("asked")
    await world.configure(0)
    await world.collected("asked")
    await world.annotate("empty", **{KEY: ""})
    for name in ("old", "empty"):
        await world.stays(name)
    await world.annotate("empty", **{KEY: "true"})
    assert await world.collected("empty")


async def test_n2_a_label_of_the_namespace_comes_first_and_is_followed_at_once(world: Collecting) -> None:
    await world.world.patch(NAMESPACES, world.world.namespace, {"metadata": {"labels": {names.TTL_LABEL: "3600"}}})
    await world.start(ttl=0)
    await world.volume(annotations=ASKED)
    await world.stays(reason="TTL")
    assert world.metric(SKIPPED, reason="TTL") == 1
    await world.world.patch(NAMESPACES, world.world.namespace, {"metadata": {"labels": {names.TTL_LABEL: "1h"}}})
    await world.stays(reason="InvalidTTL")
    await world.world.patch(NAMESPACES, world.world.namespace, {"metadata": {"labels": {names.TTL_LABEL: None}}})
    await world.collected()


@pytest.mark.parametrize(
    "annotations", [{KEY: "false"}, {**ASKED, names.DELETE_AFTER_COMPLETION_DESIGNED: "false"}], ids=["g6", "n13"]
)
async def test_g6_n13_what_its_user_refuses_stays_and_is_not_overwritten(
    world: Collecting, annotations: dict[str, str]
) -> None:
    await world.start()
    await recorded(world)
    await asyncio.sleep(1.0)
    await world.volume(annotations=annotations)
    await world.stays(reason="Refused")
    found = await world.world.get(DATA_VOLUMES, "disk")
    assert {key: found.metadata.annotation(key) for key in annotations} == annotations


async def test_g9_owners_are_transferred_once_each_in_their_order(world: Collecting) -> None:
    first, second, third = [await world.owner(OWNERS, name) for name in ("1", "2", "3")]
    machine = await world.owner(MACHINES, "vm", block=True, controller=True)
    await kubevirt(world, "v1.4.0")
    await world.start()
    await world.volume(annotations=ASKED, owners=[third, machine, second, first], also=[first, second])
    assert owners_of(await world.collected()) == [first, second, third, machine]


async def kubevirt(world: Collecting, version: str) -> None:
    await world.world.create(KUBEVIRTS, {"metadata": {"name": "kubevirt"}})
    await world.world.patch(KUBEVIRTS, "kubevirt", {"observedKubeVirtVersion": version}, status=True)


@pytest.mark.parametrize(
    ("version", "machines", "controls"),
    [("v1.3.1", Machines.SKIP, True), ("", Machines.COLLECT, True), ("v1.6.0", Machines.COLLECT, False)],
)
async def test_g10_n18_a_machine_gets_the_claim_and_controls_it_unless_it_would_make_the_volume_again(
    world: Collecting, version: str, machines: Machines, controls: bool
) -> None:
    machine = await world.owner(MACHINES, "vm", block=True, controller=True)
    if version:
        await kubevirt(world, version)
    await world.start(machines=machines)
    await world.volume(annotations=ASKED, owners=[machine])
    claim = await world.collected()
    assert owners_of(claim) == [{**machine, "controller": controls}]
    assert claim["metadata"]["annotations"][names.GARBAGE_COLLECTED] == "true"


async def test_n18_a_machine_keeps_its_volume_until_its_kubevirt_is_one_that_does_without(world: Collecting) -> None:
    machine = await world.owner(MACHINES, "vm", block=True, controller=True)
    await kubevirt(world, "v1.5.0")
    await world.start()
    await world.volume(annotations=ASKED, owners=[machine])
    await world.stays(reason="VirtualMachineOwned")
    await world.world.patch(KUBEVIRTS, "kubevirt", {"observedKubeVirtVersion": "v1.4.0"}, status=True)
    await world.collected()


async def test_n7_an_owner_of_a_kind_that_nobody_knows_keeps_it(world: Collecting) -> None:
    strange = {
        "apiVersion": "example.com/v1",
        "kind": "Stranger",
        "name": "x",
        "uid": "f3b9d4ce-0000-4000-8000-000000000002",
    }
    there = await world.owner(OWNERS, "there")
    await world.start()
    await world.volume(annotations=ASKED, owners=[there, strange])
    assert len(owners_of(await world.stays(reason="OwnerUnknown"))) == 1


def allow(plane: ControlPlane, user: str, *rules: tuple[str, str, list[str]]) -> None:
    """Give a user rights on resources of API groups, besides reading all."""
    name = f"{user}-{len(rules)}"
    role = [{"apiGroups": [group], "resources": [resource], "verbs": verbs} for group, resource, verbs in rules]
    home = "/apis/rbac.authorization.k8s.io/v1"
    about = {"apiGroup": "rbac.authorization.k8s.io"}
    plane.call("POST", f"{home}/clusterroles", {"metadata": {"name": name}, "rules": role})
    bound = {"roleRef": {**about, "kind": "ClusterRole", "name": name}, "subjects": [{**about, "kind": "User", "name": user}]}  # fmt: skip
    status, _ = plane.call("POST", f"{home}/clusterrolebindings", {"metadata": {"name": name}, **bound})
    assert status == 201


@pytest.mark.kubernetes
@pytest.mark.xdist_group("cdi")
async def test_n6_who_may_not_set_an_owners_finalizers_collects_nothing_and_says_so(
    cdi_plane: ControlPlane, survivors: list[dict[str, Any]]
) -> None:
    write = ["create", "patch", "update", "delete"]
    needed = [(DATA_VOLUMES.group, "datavolumes"), ("", "persistentvolumeclaims"), ("", "configmaps"), ("*", "events")]
    needed.append((LEASES.group, "leases"))
    allow(cdi_plane, "collector", ("*", "*", ["get", "list", "watch"]), *((*each, write) for each in needed))
    async with collecting_on(cdi_plane, user="collector") as world:
        owner = await world.owner(OWNERS, "first", block=True)
        await world.start()
        await world.volume(annotations=ASKED, owners=[owner])
        claim = await world.stays(reason="FinalizerForbidden")
        assert [each["kind"] for each in owners_of(claim)] == ["DataVolume"]
        allow(cdi_plane, "collector", (OWNERS.group, "owners/finalizers", ["update"]))
        await world.start()  # what was said of a right is believed for some minutes
        assert owners_of(await world.collected()) == [owner]
        survivors += world.survivors


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"phase": "Paused"}, "Paused"),
        ({"phase": "Failed"}, "NotSucceeded"),
        ({"claim": "Pending"}, "ClaimNotBound"),
        ({"claim": "Lost"}, "ClaimNotBound"),
        ({"claim": None}, "ClaimNotFound"),
        ({"finalizers": ["example.com/other"]}, "ForeignFinalizer"),
        (
            {"annotations": {**ASKED, names.STAMPED: "true"}, "labels": {"argocd.argoproj.io/instance": "apps"}},
            "GitOpsManaged",
        ),
    ],
    ids=["n8", "failed", "n9-pending", "n9-lost", "n9-missing", "n16", "n17"],
)
async def test_n8_n9_n16_n17_it_stays_says_why_and_its_claim_is_not_touched(
    world: Collecting, given: dict[str, Any], reason: str
) -> None:
    await world.volume(**{"annotations": ASKED, **given})
    before = await world.tree("disk")
    await world.start()
    await world.stays(reason=reason)
    assert await world.tree("disk") == before
    assert world.metric("datamover_datavolume_collections_pending", reason=reason) == 1
    await world.start()
    writes = world.writes()
    await world.stays(reason=reason)
    assert world.writes() == writes, "a restart writes nothing"


async def test_n16_it_goes_when_the_other_finalizer_does(world: Collecting) -> None:
    await world.start()
    await world.volume(annotations=ASKED, finalizers=["example.com/other"])
    await world.stays(reason="ForeignFinalizer")
    await world.world.patch(DATA_VOLUMES, "disk", {"metadata": {"finalizers": []}})
    assert await world.collected()


async def test_n3_a_volume_that_is_not_ready_stays(world: Collecting) -> None:
    await world.start()
    await world.volume(annotations=ASKED, phase="Pending")
    await world.status("disk", "Succeeded", ready="False")
    await world.stays(reason="NotReady")
    await world.status("disk", "Succeeded")
    await world.collected()


async def test_n12_one_that_is_made_again_is_left_alone(world: Collecting) -> None:
    await world.start()
    await world.volume(annotations=ASKED)
    await world.collected()
    again = await world.volume(claim=None, annotations=ASKED)
    reference = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "name": "disk",
        "uid": again.metadata.uid,
    }
    mine = {**reference, "controller": True, "blockOwnerDeletion": True}
    await world.world.patch(PERSISTENT_VOLUME_CLAIMS, "disk", {"metadata": {"ownerReferences": [mine]}})
    await world.stays(reason="AlreadyCollectedOnce")
    assert world.metric(SKIPPED, reason="AlreadyCollectedOnce") == 1


async def begun(world: Collecting, *, detached: bool, deleted: bool, back: bool = False, undone: bool = False) -> None:
    """A handover that was cut short: with its finalizer, its patch, its deletion; `back`: somebody has made the DataVolume the owner again; `undone`: and
    has taken away whatever was written on the claim.
    """
    await world.volume(annotations=ASKED, finalizers=[names.FINALIZER])
    claim = await world.world.get(PERSISTENT_VOLUME_CLAIMS, "disk")
    await world.annotate("disk", **{names.HANDING_OVER: describe_untouched(claim.metadata)})
    volume = await world.world.get(DATA_VOLUMES, "disk")
    if detached:
        record = record_of(volume, collected=seconds(datetime.now(UTC)))
        patch = build_patch(claim, volume, heirs=(), record=record, demoted=frozenset())
        if back:
            patch["metadata"]["ownerReferences"] = (await world.tree("disk"))["metadata"]["ownerReferences"]
        if undone:  # no version is twice
            patch["metadata"]["annotations"] = {"touched": "yes"}
        await world.world.patch(PERSISTENT_VOLUME_CLAIMS, "disk", patch)
    if deleted:
        await world.world.delete(DATA_VOLUMES, "disk")


@pytest.mark.parametrize(
    "state",
    [
        {"detached": False, "deleted": False},
        {"detached": True, "deleted": False},
        {"detached": True, "deleted": True},
        {"detached": True, "deleted": False, "back": True},
        {"detached": True, "deleted": True, "back": True},
        {"detached": True, "deleted": True, "back": True, "undone": True},
    ],
    ids=["n5-held", "n5-detached", "n5-deleted", "n19-before", "n19-after", "n19-undone"],
)
async def test_n5_n19_a_handover_is_finished_from_wherever_it_was_cut_and_the_disk_stays(
    world: Collecting, state: dict[str, bool]
) -> None:
    await begun(world, **state)
    before = await world.tree("disk")
    await world.start()
    after = await world.collected()
    assert not owners_of(after)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["annotations"][names.GARBAGE_COLLECTED] == "true"


async def test_n5_a_volume_that_its_user_has_deleted_first_takes_its_claim_along(world: Collecting) -> None:
    await begun(world, detached=False, deleted=True)
    await world.start()
    await world.world.until_gone(DATA_VOLUMES, "disk")

    async def going() -> bool:  # what protects claims in use lets it go in a whole cluster
        claim = await world.world.get(PERSISTENT_VOLUME_CLAIMS, "disk")
        return claim is None or claim.metadata.terminating

    await world.world.until(going, what="the claim goes with its DataVolume")


async def test_n5_a_volume_that_is_refused_in_the_middle_keeps_its_claim(world: Collecting) -> None:
    await begun(world, detached=True, deleted=False)
    await world.annotate("disk", **{KEY: "false"})
    await world.start()
    claim = await world.stays(reason="Refused")
    assert [each["kind"] for each in owners_of(claim)] == ["DataVolume"]
    assert world.metric(COLLECTIONS, result="GivenBack") == 1
    assert world.metric(COLLECTIONS, result="Collected") == 0


async def test_a_claim_that_becomes_bound_wakes_its_volume(world: Collecting) -> None:
    await world.start()
    await world.volume(annotations=ASKED, claim="Pending")
    await world.stays(reason="ClaimNotBound")
    await world.bind("disk")
    await world.collected()


async def test_a_dry_run_says_what_would_be_collected_and_writes_nothing_else(world: Collecting) -> None:
    await world.start(dry_run=True)
    await world.volume(annotations=ASKED)
    before = await world.tree("disk")
    await world.stays(reason="DryRun")
    assert await world.tree("disk") == before


async def test_an_old_cdi_that_collects_by_itself_is_left_to_it(world: Collecting) -> None:
    await world.world.create(CDIS, {"metadata": {"name": "cdi"}})
    await world.world.patch(CDIS, "cdi", {"observedVersion": "v1.58.0"}, status=True)
    await world.configure(0)
    await world.start(ttl=None)
    await world.volume(annotations=ASKED)
    await world.stays(reason="OldCDICollects")
    await world.world.patch(CDIS, "cdi", {"observedVersion": "v1.62.0"}, status=True)
    await world.collected()


async def make_as_kubevirt_1_4_does(world: Collecting, machine: dict[str, Any]) -> int:
    """Play the controller of a virtual machine with a template: 1.3 and 1.4 make its DataVolume unless a claim is there with the mark."""
    claim = await world.tree("disk")
    if claim and claim["metadata"].get("annotations", {}).get(names.GARBAGE_COLLECTED) == "true":
        return 0
    await world.volume(claim=None, annotations={names.ALLOW_ADOPTION: "true"}, owners=[machine])
    return 1


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "no mark"])
async def test_g20_a_machine_makes_its_volume_again_unless_the_claim_has_our_mark(
    world: Collecting, marked: bool
) -> None:
    machine = await world.owner(MACHINES, "vm", block=True, controller=True)
    await kubevirt(world, "v1.4.0")
    await world.start()
    await world.volume(annotations=ASKED, owners=[machine])
    await world.collected()
    if not marked:  # as a claim is that nobody has collected
        erased = {"metadata": {"annotations": {names.GARBAGE_COLLECTED: None}}}
        await world.world.patch(PERSISTENT_VOLUME_CLAIMS, "disk", erased)
    assert await make_as_kubevirt_1_4_does(world, machine) == (0 if marked else 1)
    assert (await world.world.get(DATA_VOLUMES, "disk") is None) == marked


async def test_two_operators_that_see_different_reasons_do_not_argue_faster_than_people_read(world: Collecting) -> None:
    await world.start(dry_run=True)
    await world.join(ttl=3600)
    await world.volume(annotations=ASKED)
    await asyncio.sleep(2.0)
    await world.quiet(0.3)
    assert 10 <= world.writes() <= 2 * 10 + 4


# which world it is


async def test_beside_a_cdi_it_says_so_and_ours_alone_is_another_mode() -> None:
    for ours, mode in ((False, "Companion"), (True, "Standalone")):
        async with collecting(ours=ours) as world:
            await world.start()
            await world.volume(annotations=ASKED)
            await world.collected()
            assert world.metric("datamover_datavolume_mode", mode=mode) == 1


@pytest.mark.parametrize("where", ["", "default"], ids=["anywhere", "in one namespace"])
async def test_our_definitions_beside_a_cdi_that_works_are_refused_until_it_is_gone(where: str) -> None:
    async with collecting(ours=True) as world:
        lease = {
            "holderIdentity": "cdi-deployment-0",
            "leaseDurationSeconds": 1,
            "renewTime": micros(datetime.now(UTC)),
        }
        await world.world.create(LEASES, {"metadata": {"name": names.CONTROLLER_LEASE}, "spec": lease})
        await world.volume(annotations=ASKED)
        await world.start(cdi_namespace=where)

        async def refused() -> bool:
            return world.metric("datamover_datavolume_mode", mode="Refused") == 1

        await world.world.until(refused)
        assert world.operator is not None
        assert "a CDI works here" in world.operator.manager.notes()["datavolume-collection"]
        await world.collected()  # the Lease has run out


async def test_a_definition_that_is_being_deleted_does_not_wait_for_ever_for_a_volume_that_waits_for_us() -> None:
    async with collecting() as world:
        definition = DATA_VOLUMES.group_resource
        keep = {"metadata": {"finalizers": ["example.com/instances"]}}
        await world.world.patch(CUSTOM_RESOURCE_DEFINITIONS, definition, keep)
        await begun(world, detached=True, deleted=True)
        await world.client.delete(CUSTOM_RESOURCE_DEFINITIONS, definition)
        found = await world.world.get(CUSTOM_RESOURCE_DEFINITIONS, definition)
        assert found is not None
        assert found.metadata.terminating
        await world.start()
        await world.collected()


async def test_without_definitions_nothing_is_done() -> None:
    from support.embedded import embedded

    async with embedded() as bare:
        server = bare.server
        assert server is not None
        world = Collecting(bare, lambda: LocalTransport(server))
        await world.start()
        await asyncio.sleep(0.2)
        assert world.metric("datamover_datavolume_mode", mode="None") == 1
        assert bare.writes() == 0
