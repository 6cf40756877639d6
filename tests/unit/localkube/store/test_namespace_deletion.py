"""The deletion of namespaces beyond what the conformance suite holds against the real one."""

import pytest

from localkube.store.apiserver import ApiServer
from localkube.store.namespace_deletion import conditions
from support.manifests import config_map, pod


def put(api, plural, manifest):
    api.send("POST", f"/api/v1/namespaces/ns/{plural}", manifest).expect(201)


def is_there(api):
    return api.send("GET", api.path("namespaces", "ns")).status == 200


@pytest.fixture
def space(api):
    api.create("namespaces", {"metadata": {"name": "ns"}})
    return api


def test_conditions_say_what_remains_and_what_holds_it():
    found = {each["type"]: (each["status"], each["message"]) for each in conditions({"pods": 2}, {"x/y": 1})}
    assert found["NamespaceContentRemaining"] == ("True", "Some resources are remaining: pods has 2 resource instances")
    assert found["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content in the namespace has finalizers remaining: x/y in 1 resource instances",
    )
    assert found["NamespaceDeletionContentFailure"][0] == "False"


async def test_what_holds_a_namespace_is_said_in_its_conditions(space, clock):
    put(space, "configmaps", config_map("a", finalizers=["test/hold"]))
    put(space, "secrets", {"metadata": {"name": "s"}})
    async with space.collecting():
        space.delete("namespaces", "ns").expect(200)
        await space.settle()
        status = space.get("namespaces", "ns")["status"]
        held = {each["type"]: each for each in status["conditions"]}["NamespaceFinalizersRemaining"]
        assert (
            held["message"]
            == "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances"
        )
        assert held["lastTransitionTime"] == "2024-08-06T14:30:00Z"
        before = space.server.storage.revision
        await clock.advance(60)
        await space.settle()
        assert space.server.storage.revision == before

        space.send(
            "PATCH",
            "/api/v1/namespaces/ns/configmaps/a",
            {"metadata": {"finalizers": None}},
            kind="application/merge-patch+json",
        ).expect(200)
        await space.settle()

    assert not is_there(space)


async def test_running_pods_are_waited_for(space):
    put(space, "pods", pod("p", nodeName="n"))
    async with space.collecting():
        space.delete("namespaces", "ns").expect(200)
        await space.settle()
        running = space.send("GET", "/api/v1/namespaces/ns/pods/p").expect(200)
        assert "deletionTimestamp" in running["metadata"]
        assert is_there(space)

        space.send("DELETE", "/api/v1/namespaces/ns/pods/p", gracePeriodSeconds=0).expect(200)
        await space.settle()

    assert not is_there(space)


async def test_events_of_a_namespace_and_more_than_a_batch_of_objects_go_with_it(space):
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "ns", "name": "p"}, "reason": "R"}
    put(space, "events", event)
    for number in range(250):
        put(space, "configmaps", config_map(f"a{number}"))
    async with space.collecting():
        space.delete("namespaces", "ns").expect(200)
        await space.settle()

    assert not is_there(space)
    assert space.send("GET", "/api/v1/namespaces/ns/events").expect(200)["items"] == []
    assert space.send("GET", "/api/v1/namespaces/ns/configmaps").expect(200)["items"] == []


async def test_a_server_that_is_opened_again_completes_a_deletion_that_was_begun(space):
    put(space, "configmaps", config_map("a"))
    space.delete("namespaces", "ns").expect(200)
    again = type(space)(ApiServer())
    again.server.restore(space.server.snapshot())
    assert is_there(again)

    async with again.collecting():
        await again.settle()

    assert not is_there(again)
