import asyncio

import pytest

from localkube.node.kinds import CLAIMS, VOLUMES
from localkube.node.pod_kinds import PODS

CLAIM = {
    "metadata": {"name": "c"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""},
}


def pod(name="p", claim="c", node="n", **spec):
    return {
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "main", "image": "x"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
            **spec,
        },
    }


async def protected(world, resource=CLAIMS, name="c", finalizer="kubernetes.io/pvc-protection"):
    async def has():
        thing = await world.get(resource, name)
        return thing is not None and finalizer in (thing.metadata.finalizers or ())

    await world.until(has, what=f"{name} is protected")


async def test_an_unused_claim_goes_at_once(world):
    await world.create(CLAIMS, CLAIM)
    await protected(world)
    await world.delete(CLAIMS, "c")
    await world.until_gone(CLAIMS, "c")


@pytest.mark.parametrize("phase", ["Running", "Succeeded", "Failed"])
async def test_a_scheduled_pod_holds_its_claim_even_when_it_has_finished(world, phase):
    await world.create(CLAIMS, CLAIM)
    await protected(world)
    await world.create(PODS, pod())
    await world.patch(PODS, "p", {"phase": phase}, status=True)
    await world.delete(CLAIMS, "c")
    await asyncio.sleep(0.15)
    assert (await world.get(CLAIMS, "c")).metadata.terminating
    await world.delete(PODS, "p", grace_period_seconds=0)
    await world.until_gone(CLAIMS, "c")


async def test_a_pod_without_a_node_holds_nothing(world):
    await world.create(CLAIMS, CLAIM)
    await protected(world)
    await world.create(PODS, pod(node=None))
    await world.delete(CLAIMS, "c")
    await world.until_gone(CLAIMS, "c")


async def test_a_pod_of_another_claim_or_namespace_holds_nothing(world):
    await world.create(CLAIMS, CLAIM)
    await protected(world)
    await world.create(PODS, pod(claim="other"))
    await world.create(PODS, pod(), namespace="kube-public")
    await world.delete(CLAIMS, "c")
    await world.until_gone(CLAIMS, "c")


async def test_a_bound_volume_is_held_until_its_claim_is_gone(world):
    await world.create(
        VOLUMES,
        {
            "metadata": {"name": "v"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
        },
    )
    await world.create(CLAIMS, CLAIM)

    async def bound():
        thing = await world.get(VOLUMES, "v")
        return thing.phase == "Bound"

    await world.until(bound)
    await protected(world, VOLUMES, "v", "kubernetes.io/pv-protection")
    await world.delete(VOLUMES, "v")
    await asyncio.sleep(0.15)
    assert (await world.get(VOLUMES, "v")).metadata.terminating
    await world.delete(CLAIMS, "c")
    await world.until_gone(VOLUMES, "v")
