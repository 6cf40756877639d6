import asyncio

import msgspec
import pytest

from localkube.node.kinds import NODES, VOLUMES, Claim, Node, PersistentVolume, StorageClass
from localkube.node.matching import find_match
from localkube.node.names import DRIVER
from localkube.node.pod_kinds import PODS, Pod
from localkube.node.scheduler import AwaitBinding, Reserve, Select, Unschedulable, decide_claims, misfit


def node():
    labels = {"kubernetes.io/hostname": "n", "disk": "ssd", "size": "5"}
    return msgspec.convert({"metadata": {"name": "n", "labels": labels}}, Node)


def pod(*, claims=(), **spec):
    return msgspec.convert(
        {
            "metadata": {"name": "p", "namespace": "ns", "uid": "p"},
            "spec": {"volumes": [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims], **spec},
        },
        Pod,
    )


def affinity(*expressions, fields=()):
    term = {"matchExpressions": list(expressions), "matchFields": list(fields)}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def expression(key, operator, *values):
    return {"key": key, "operator": operator, "values": list(values)}


NO_MATCH = "node(s) didn't match Pod's node affinity/selector"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (pod(), None),
        (pod(nodeSelector={"disk": "ssd"}), None),
        (pod(nodeSelector={"disk": "hdd"}), NO_MATCH),
        (pod(affinity=affinity(expression("disk", "In", "ssd"))), None),
        (pod(affinity=affinity(expression("disk", "NotIn", "ssd"))), NO_MATCH),
        (pod(affinity=affinity(fields=[expression("metadata.name", "In", "n")])), None),
        (pod(affinity=affinity()), NO_MATCH),
        (
            pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
            "node(s) didn't match pod affinity rules: they are not evaluated here",
        ),
    ],
)
def test_a_pod_wants_the_node_or_it_is_said_why_not(made, why):
    assert misfit(made, node()) == why


def claim(name="c", *, phase="Pending", volume=None, deleting=False, selected=None, cls="local"):
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "namespace": "ns",
                "uid": name,
                "deletionTimestamp": "2026-01-01T00:00:00Z" if deleting else None,
                "annotations": {"volume.kubernetes.io/selected-node": selected} if selected else None,
            },
            "spec": {"storageClassName": cls, "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": phase},
        },
        Claim,
    )


def volume(name="v", *, host="n", ref=None):
    term = {"matchExpressions": [expression("kubernetes.io/hostname", "In", host)]}
    return msgspec.convert(
        {
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "storageClassName": "local",
                "claimRef": ref,
                "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            },
            "status": {"phase": "Available"},
        },
        PersistentVolume,
    )


WAITS = StorageClass(provisioner=DRIVER, volume_binding_mode="WaitForFirstConsumer")
STATIC = StorageClass(provisioner="kubernetes.io/no-provisioner", volume_binding_mode="WaitForFirstConsumer")


@pytest.mark.parametrize(
    ("claims", "cls", "volumes", "expected"),
    [
        ([], WAITS, (), 'persistentvolumeclaim "c" not found'),
        ([claim(deleting=True)], WAITS, (), 'persistentvolumeclaim "c" is being deleted'),
        (
            [claim(phase="Lost", volume="v")],
            WAITS,
            (),
            'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"',
        ),
        ([claim()], StorageClass(provisioner=DRIVER), (), "pod has unbound immediate PersistentVolumeClaims"),
        ([claim()], None, (), "pod has unbound immediate PersistentVolumeClaims"),
        (
            [claim(phase="Bound", volume="v")],
            WAITS,
            (volume(host="other"),),
            "node(s) didn't match PersistentVolume's node affinity",
        ),
        ([claim()], STATIC, (volume(host="other"),), "node(s) didn't find available persistent volumes to bind"),
        ([claim(phase="Bound", volume="v")], WAITS, (volume(),), None),
        ([claim()], WAITS, (), Select),
        ([claim()], STATIC, (volume(),), Reserve),
        ([claim()], WAITS, (volume(),), Reserve),
        ([claim(selected="n")], WAITS, (), AwaitBinding),
        ([claim(volume="v")], WAITS, (), AwaitBinding),
        ([claim()], STATIC, (volume(ref={"name": "c", "namespace": "ns", "uid": "c"}),), AwaitBinding),
    ],
)
def test_claims_decide_what_comes_before_binding(claims, cls, volumes, expected):
    classes = {"local": cls} if cls is not None else {}
    step = decide_claims(pod(claims=["c"]), {c.metadata.name: c for c in claims}, classes, volumes, node())
    if isinstance(expected, str):
        assert isinstance(step, Unschedulable)
        assert step.message == expected
    else:
        assert step is None if expected is None else isinstance(step, expected)


def test_a_reserved_volume_out_of_reach_is_no_match():
    reserved = volume(host="other", ref={"name": "c", "namespace": "ns"})
    assert find_match(claim(), [reserved], node_labels={"kubernetes.io/hostname": "n"}) is None


async def until_unschedulable(world, message, name="p"):
    async def has():
        made = await world.get(PODS, name)
        found = [c for c in (made.status.conditions if made.status else None) or () if c["type"] == "PodScheduled"]
        return found and found[0]["status"] == "False" and found[0]["message"] == message and found[0]

    return await world.until(has, what=message)


async def test_a_pod_that_does_not_fit_says_so_and_is_bound_when_it_does(world):
    await world.pod(nodeSelector={"color": "blue"})
    message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    assert (await until_unschedulable(world, message))["reason"] == "Unschedulable"
    assert await world.told("FailedScheduling") == message
    await world.patch(NODES, "n", {"metadata": {"labels": {"color": "blue"}}})
    assert (await world.until_phase()).status.phase == "Succeeded"


async def test_a_pod_waits_for_its_missing_claim(world):
    await world.storage_class()
    await world.pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "late"}}])
    await until_unschedulable(world, '0/1 nodes are available: persistentvolumeclaim "late" not found.')
    await world.claim("late")
    assert (await world.until_phase()).status.phase == "Succeeded"


async def test_only_so_many_pods_run_at_once_and_the_others_are_told(offline):
    await offline.start_node(max_pods=2)
    for number in range(4):
        await offline.pod(f"p{number}", "sleep 0.2")
    await until_unschedulable(offline, "0/1 nodes are available: 1 Too many pods.", "p3")
    assert [(await offline.until_phase(f"p{n}")).status.phase for n in range(4)] == ["Succeeded"] * 4


async def test_what_a_pod_waits_for_is_said_once_whatever_else_happens(world):
    await world.pod(nodeSelector={"color": "blue"})
    await until_unschedulable(world, "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")
    before = (await world.get(PODS, "p")).metadata.resource_version
    await world.storage_class()
    await world.claim("other")
    await world.pod("ours")
    await world.until_phase("ours")
    assert (await world.get(PODS, "p")).metadata.resource_version == before
    assert [reason for _, reason, _ in await world.events()].count("FailedScheduling") == 1


async def test_a_static_volume_of_a_waiting_class_is_reserved_for_the_pods_claim(world, tmp_path):
    await world.storage_class(mode="WaitForFirstConsumer")
    (tmp_path / "static").mkdir()
    (tmp_path / "static/file").write_text("here")
    term = {"matchExpressions": [expression("kubernetes.io/hostname", "In", "n")]}
    await world.create(
        VOLUMES,
        {
            "metadata": {"name": "static"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "local",
                "persistentVolumeReclaimPolicy": "Retain",
                "local": {"path": str(tmp_path / "static")},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            },
        },
    )
    await world.claim()
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/data"}]}
    await world.pod(
        script="cat $DATAMOVER_ROOT/data/file",
        container=mount,
        volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
    )
    assert (await world.until_phase()).status.phase == "Succeeded"
    assert await world.log() == "here"
    assert await world.bound() == tmp_path / "static"


async def test_a_pod_for_another_scheduler_or_node_is_left_alone(world):
    await world.pod("theirs", schedulerName="other")
    await world.pod("elsewhere", nodeName="other")
    await world.pod("gated", schedulingGates=[{"name": "example.com/wait"}])
    await world.pod("ours")
    await world.until_phase("ours")
    await asyncio.sleep(0.1)
    assert [(await world.get(PODS, name)).node for name in ("theirs", "elsewhere", "gated")] == ["", "other", ""]
