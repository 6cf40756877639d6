"""Deletion: what the conformance suite does not hold against the real server."""

import pytest

from support.manifests import config_map, pod


async def test_the_last_finalizer_goes_without_a_write_of_its_own(api):
    api.create("configmaps", config_map("a", finalizers=["x.io/a"]))
    api.delete("configmaps", "a")
    watch = await api.watch("configmaps")
    before = api.server.storage.revision

    api.merge("configmaps", "a", {"metadata": {"finalizers": None}})

    assert api.server.storage.revision == before + 1
    assert await watch.take(2) == [("ADDED", "a"), ("DELETED", "a")]
    await watch.close()


@pytest.mark.parametrize(
    "body",
    [
        {"propagationPolicy": "Nope"},
        {"propagationPolicy": "Orphan", "orphanDependents": True},
        {"dryRun": ["Some"]},
        {"kind": "Pod"},
        b"{",
    ],
)
def test_options_that_make_no_sense_are_refused(api, body):
    api.create("configmaps", config_map("a"))

    assert api.delete("configmaps", "a", body).status in {400, 422}
    assert api.get("configmaps", "a")


class TestPods:
    async def test_the_grace_may_only_be_shortened(self, api, clock):
        api.create("pods", pod("p", nodeName="one"))
        api.delete("pods", "p", {"gracePeriodSeconds": 100})
        await clock.advance(10)

        longer = api.delete("pods", "p", gracePeriodSeconds=200).expect(200)["metadata"]
        shorter = api.delete("pods", "p", gracePeriodSeconds=30).expect(200)["metadata"]
        past = api.delete("pods", "p", gracePeriodSeconds=5).expect(200)["metadata"]

        assert longer["deletionTimestamp"] == "2024-08-06T14:31:40Z"
        assert (shorter["deletionTimestamp"], shorter["deletionGracePeriodSeconds"]) == ("2024-08-06T14:30:30Z", 30)
        assert (past["deletionTimestamp"], past["deletionGracePeriodSeconds"]) == ("2024-08-06T14:30:10Z", 1)

    def test_finalizers_hold_a_pod_after_its_grace(self, api):
        manifest = pod("p")
        manifest["metadata"]["finalizers"] = ["x.io/a"]
        api.create("pods", manifest)

        api.delete("pods", "p").expect(200)

        assert api.get("pods", "p")["metadata"]["deletionGracePeriodSeconds"] == 0


class TestNamespaces:
    def test_a_namespace_waits_for_its_holder(self, api):
        api.create("namespaces", {"metadata": {"name": "n"}})

        going = api.delete("namespaces", "n").expect(200)

        assert going["status"]["phase"] == "Terminating"
        assert "deletionGracePeriodSeconds" not in going["metadata"]
        refused = api.send("POST", "/api/v1/namespaces/n/configmaps", config_map("a"))
        assert (refused.status, refused.body["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
        current = api.get("namespaces", "n")
        current["spec"]["finalizers"] = []
        api.send("PUT", api.path("namespaces", "n", "finalize"), current).expect(200)
        assert api.send("GET", api.path("namespaces", "n")).status == 404

    def test_an_ordinary_update_does_not_take_the_holder(self, api):
        api.create("namespaces", {"metadata": {"name": "n"}})
        api.merge("namespaces", "n", {"spec": {"finalizers": []}}).expect(200)

        assert api.get("namespaces", "n")["spec"]["finalizers"] == ["kubernetes"]
