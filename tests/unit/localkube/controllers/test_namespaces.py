import asyncio

from localkube.controllers.namespaces import NAMESPACES, conditions
from localkube.node.kinds import CLAIMS, CONFIG_MAPS, SECRETS
from localkube.node.pod_kinds import PODS


def test_conditions_say_what_remains_and_what_holds_it():
    found = {type_: (status, message) for type_, status, _, message in conditions({"pods": 2}, {"x/y": 1}, None)}
    assert found["NamespaceContentRemaining"] == ("True", "Some resources are remaining: pods has 2 resource instances")
    assert found["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content in the namespace has finalizers remaining: x/y in 1 resource instances",
    )
    assert found["NamespaceDeletionContentFailure"][0] == "False"


async def test_a_namespace_goes_with_everything_in_it(world):
    await world.create(NAMESPACES, {"metadata": {"name": "ns"}})
    await world.create(CONFIG_MAPS, {"metadata": {"name": "a"}}, namespace="ns")
    await world.create(SECRETS, {"metadata": {"name": "b"}}, namespace="ns")
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await world.create(CLAIMS, {"metadata": {"name": "c"}, "spec": claim}, namespace="ns")
    await world.create(CONFIG_MAPS, {"metadata": {"name": "elsewhere"}})
    await world.quiet()
    await world.delete(NAMESPACES, "ns")
    await world.until_gone(NAMESPACES, "ns")
    for resource, name in ((CONFIG_MAPS, "a"), (SECRETS, "b"), (CLAIMS, "c")):
        assert await world.get(resource, name, namespace="ns") is None
    assert await world.get(CONFIG_MAPS, "elsewhere") is not None


async def test_what_holds_a_namespace_is_said_in_its_conditions(world):
    await world.create(NAMESPACES, {"metadata": {"name": "ns"}})
    await world.create(CONFIG_MAPS, {"metadata": {"name": "a", "finalizers": ["test/hold"]}}, namespace="ns")
    await world.delete(NAMESPACES, "ns")

    async def told():
        found = await world.get(NAMESPACES, "ns")
        return {c.type: c for c in (found.status.conditions or ())}.get("NamespaceFinalizersRemaining")

    held = await world.until(told)
    assert held.message == "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances"
    await asyncio.sleep(0.1)
    await world.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, namespace="ns")
    await world.until_gone(NAMESPACES, "ns")


async def test_running_pods_are_waited_for(world):
    await world.create(NAMESPACES, {"metadata": {"name": "ns"}})
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
    await world.create(PODS, pod, namespace="ns")
    await world.delete(NAMESPACES, "ns")
    await asyncio.sleep(0.2)
    assert (await world.get(PODS, "p", namespace="ns")).metadata.terminating
    assert await world.get(NAMESPACES, "ns") is not None
    await world.client.delete(PODS, "p", namespace="ns", grace_period_seconds=0)
    await world.until_gone(NAMESPACES, "ns")
