import asyncio

import msgspec
import pytest

from localkube.controllers.binding import (
    AskProvisioner,
    AssignClass,
    Bind,
    ClaimFacts,
    Lose,
    Wait,
    decide_claim,
    volume_phase,
)
from localkube.controllers.suite import LocalControllers
from localkube.node.kinds import CLAIMS, STORAGE_CLASSES, VOLUMES, Claim, PersistentVolume, StorageClass

DRIVER = "driver.example.com"


def claim(name="c", *, annotations=None, phase=None, deleting=False, **spec):
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": f"uid-{name}",
                "annotations": annotations,
                "deletionTimestamp": "2026-01-01T00:00:00Z" if deleting else None,
            },
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec},
            "status": {"phase": phase} if phase else None,
        },
        Claim,
    )


def volume(name="v", *, size="1Gi", phase="Available", ref=None, **spec):
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "claimRef": ref, **spec},
            "status": {"phase": phase},
        },
        PersistentVolume,
    )


def storage_class(name="fast", mode=None, provisioner=DRIVER):
    return msgspec.convert(
        {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode}, StorageClass
    )


def facts(made, *volumes, cls=None, default=None, named=None):
    return ClaimFacts(claim=made, storage_class=cls, default_class=default, named=named, volumes=volumes)


def ref(name="c", uid="uid-c"):
    return {"namespace": "default", "name": name, "uid": uid}


def test_the_smallest_volume_that_fits_is_bound():
    step = decide_claim(
        facts(claim(), volume("big", size="5Gi"), volume("fit", size="2Gi"), volume("small", size="1Mi"))
    )
    assert isinstance(step, Bind)
    assert step.volume.metadata.name == "fit"


@pytest.mark.parametrize(
    "other",
    [
        volume(size="1Mi"),
        volume(phase="Released"),
        volume(ref=ref("other", "uid-other")),
        volume(storageClassName="slow"),
        volume(volumeMode="Block"),
        volume(accessModes=["ReadOnlyMany"]),
    ],
)
def test_a_volume_that_does_not_fit_is_not_bound(other):
    assert isinstance(decide_claim(facts(claim(), other)), Wait)


def test_a_volume_reserved_for_the_claim_wins_over_a_smaller_one():
    reserved = volume("mine", size="9Gi", ref={"namespace": "default", "name": "c"})
    step = decide_claim(facts(claim(), volume("fit"), reserved))
    assert isinstance(step, Bind)
    assert step.volume.metadata.name == "mine"


def test_a_selector_restricts_the_choice():
    wanted = claim(
        selector={"matchLabels": {"disk": "ssd"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}
    )
    labelled = volume("ssd")
    labelled = msgspec.structs.replace(
        labelled, metadata=msgspec.structs.replace(labelled.metadata, labels={"disk": "ssd"})
    )
    step = decide_claim(facts(wanted, volume("plain"), labelled))
    assert isinstance(step, Bind)
    assert step.volume.metadata.name == "ssd"


def test_without_a_class_and_a_volume_the_claim_waits_and_says_so():
    step = decide_claim(facts(claim(storageClassName="")))
    assert step == Wait(step.event)
    assert step.event.message == "no persistent volumes available for this claim and no storage class is set"


def test_a_missing_class_is_named():
    step = decide_claim(facts(claim(storageClassName="gone")))
    assert step.event.message == 'storageclass.storage.k8s.io "gone" not found'


def test_an_immediate_class_asks_its_provisioner():
    assert decide_claim(facts(claim(storageClassName="fast"), cls=storage_class())) == AskProvisioner(DRIVER)


def test_a_waiting_class_asks_only_when_a_node_is_selected():
    cls = storage_class(mode="WaitForFirstConsumer")
    first = decide_claim(facts(claim(storageClassName="fast"), volume(storageClassName="fast"), cls=cls))
    assert first.event.reason == "WaitForFirstConsumer"
    selected = claim(storageClassName="fast", annotations={"volume.kubernetes.io/selected-node": "n"})
    assert decide_claim(facts(selected, cls=cls)) == AskProvisioner(DRIVER)


def test_a_class_is_assigned_when_none_is_named_but_not_when_none_is_wanted():
    assert decide_claim(facts(claim(), default="fast")) == AssignClass("fast")
    assert isinstance(decide_claim(facts(claim(storageClassName=""), default="fast")), Wait)


@pytest.mark.parametrize(
    ("named", "kind", "reason"),
    [
        (None, Lose, "ClaimLost"),
        (volume(ref=ref("other", "uid-other")), Lose, "ClaimMisbound"),
        (volume(ref=ref()), Bind, None),
        (volume(), Bind, None),
    ],
)
def test_a_bound_claim_stays_with_its_volume_or_is_lost(named, kind, reason):
    bound = claim(volumeName="v", annotations={"pv.kubernetes.io/bind-completed": "yes"})
    step = decide_claim(facts(bound, named=named))
    assert isinstance(step, kind)
    assert reason is None or step.event.reason == reason


def test_a_claim_waits_for_the_volume_that_it_names():
    assert decide_claim(facts(claim(volumeName="v"))) == Wait()
    assert isinstance(decide_claim(facts(claim(volumeName="v"), named=volume())), Bind)
    taken = decide_claim(facts(claim(volumeName="v"), named=volume(ref=ref("other", "x"))))
    assert taken.event.message == 'volume "v" already bound to a different claim.'


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (volume(size="1Mi"), "requested PV is too small"),
        (volume(storageClassName="slow"), "storageClassName does not match"),
        (volume(volumeMode="Block"), "incompatible volumeMode"),
        (volume(accessModes=["ReadOnlyMany"]), "incompatible accessMode"),
    ],
)
def test_a_named_volume_that_does_not_fit_is_not_bound(named, why):
    step = decide_claim(facts(claim(volumeName="v"), named=named))
    assert step.event.message == f'Cannot bind to requested volume "v": {why}'


def test_a_claim_that_goes_is_not_bound_any_more():
    assert decide_claim(facts(claim(deleting=True), volume())) == Wait()


@pytest.mark.parametrize(
    ("made", "holder", "phase"),
    [
        (volume(phase=""), None, "Available"),
        (volume(ref={"namespace": "default", "name": "c"}), None, "Available"),
        (volume(ref=ref()), None, "Released"),
        (volume(ref=ref(), phase="Failed"), None, "Failed"),
        (volume(ref=ref()), claim(), None),
        (volume(ref=ref()), claim(volumeName="v"), "Bound"),
        (volume(ref=ref()), claim(volumeName="w"), "Released"),
    ],
)
def test_the_phase_of_a_volume_follows_from_its_claim(made, holder, phase):
    assert volume_phase(made, holder) == phase


def body(thing):
    return {"metadata": {"name": thing.metadata.name}, "spec": msgspec.to_builtins(thing.spec)}


async def make_volume(world, name="v", **spec):
    place = {
        "local": {"path": "/somewhere"},
        "persistentVolumeReclaimPolicy": "Retain",
        "nodeAffinity": {
            "required": {
                "nodeSelectorTerms": [
                    {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n"]}]}
                ]
            }
        },
    }
    made = body(volume(name, **spec))
    made["spec"] = {key: value for key, value in made["spec"].items() if value is not None} | place
    return await world.create(VOLUMES, made)


async def make_claim(world, name="c", **spec):
    return await world.create(CLAIMS, body(claim(name, **spec)))


async def until_phase(world, resource, name, phase):
    async def has():
        thing = await world.get(resource, name)
        return thing if thing is not None and thing.phase == phase else None

    return await world.until(has, what=f"{name} {phase}")


async def test_claim_and_volume_are_bound_both_ways(world):
    await make_volume(world, size="2Gi")
    await make_claim(world)
    bound = await until_phase(world, CLAIMS, "c", "Bound")
    assert bound.volume_name == "v"
    assert bound.status.capacity == {"storage": "2Gi"}
    assert bound.status.access_modes == ("ReadWriteOnce",)
    assert bound.metadata.annotation("pv.kubernetes.io/bound-by-controller") == "yes"
    kept = await until_phase(world, VOLUMES, "v", "Bound")
    assert kept.claim_ref.uid == bound.metadata.uid


async def test_one_volume_is_given_to_one_of_two_claims(world):
    await make_volume(world)
    await asyncio.gather(make_claim(world, "a"), make_claim(world, "b"))
    await until_phase(world, VOLUMES, "v", "Bound")
    await world.quiet()
    claims = await world.client.list(CLAIMS, namespace="default")
    assert sorted(c.phase for c in claims) == ["Bound", "Pending"]
    await make_volume(world, "w")
    await until_phase(world, CLAIMS, next(c.metadata.name for c in claims if c.phase == "Pending"), "Bound")


async def test_a_volume_is_released_when_its_claim_goes_and_its_new_namesake_does_not_get_it(world):
    await make_volume(world)
    await make_claim(world)
    await until_phase(world, CLAIMS, "c", "Bound")
    await world.delete(CLAIMS, "c")
    await until_phase(world, VOLUMES, "v", "Released")
    await make_claim(world)
    await world.quiet()
    assert (await world.get(CLAIMS, "c")).phase == "Pending"


async def test_a_claim_whose_volume_is_taken_away_is_lost(world):
    await make_volume(world)
    await make_claim(world)
    await until_phase(world, CLAIMS, "c", "Bound")
    await world.patch(VOLUMES, "v", {"metadata": {"finalizers": None}})
    await world.delete(VOLUMES, "v")
    await world.patch(VOLUMES, "v", {"metadata": {"finalizers": None}}) if await world.get(VOLUMES, "v") else None
    await until_phase(world, CLAIMS, "c", "Lost")


async def test_the_default_class_reaches_claims_that_came_before_it(world):
    await make_claim(world)
    await world.quiet()
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    await world.create(
        STORAGE_CLASSES, {"metadata": {"name": "fast", "annotations": annotations}, "provisioner": DRIVER}
    )

    async def asked():
        made = await world.get(CLAIMS, "c")
        return made.metadata.annotation("volume.kubernetes.io/storage-provisioner") == DRIVER

    await world.until(asked)
    assert (await world.get(CLAIMS, "c")).spec.storage_class_name == "fast"


async def test_an_idle_world_and_a_restart_over_it_write_nothing(bare):
    task = bare.run(LocalControllers(bare.client, server=bare.server).run)
    await make_volume(bare)
    await make_claim(bare)
    await make_claim(bare, "waits")
    await until_phase(bare, CLAIMS, "c", "Bound")
    await bare.quiet()
    await bare.stop(task)
    before = bare.writes()
    bare.run(LocalControllers(bare.client, server=bare.server).run)
    await asyncio.sleep(0.4)
    assert bare.writes() == before


async def test_a_binding_that_was_cut_short_is_finished(bare):
    """The volume's claimRef was written, and nothing after it."""
    made = await make_claim(bare)
    await make_volume(bare)
    await bare.patch(
        VOLUMES,
        "v",
        {"spec": {"claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", **ref(uid=made.metadata.uid)}}},
    )
    bare.run(LocalControllers(bare.client, server=bare.server).run)
    await until_phase(bare, CLAIMS, "c", "Bound")
    await until_phase(bare, VOLUMES, "v", "Bound")
