import pytest

from support.manifests import config_map, job, pod
from support.widgets import widget


def test_an_object_without_finalizers_is_gone_at_once(api):
    uid = api.create("configmaps", config_map("a"))["metadata"]["uid"]

    status = api.delete("configmaps", "a").expect(200)

    assert status["details"] == {"name": "a", "kind": "configmaps", "uid": uid}
    assert api.delete("configmaps", "a").status == 404


def test_finalizers_hold_an_object_until_the_last_is_taken(api):
    api.create("widgets", widget("w") | {"metadata": {"name": "w", "finalizers": ["x.io/a", "x.io/b"]}})

    marked = api.delete("widgets", "w").expect(200)

    assert marked["metadata"]["deletionTimestamp"] == "2024-08-06T14:30:00Z"
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 0
    assert marked["metadata"]["generation"] == 2
    again = api.delete("widgets", "w").expect(200)
    assert again["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    api.merge("widgets", "w", {"metadata": {"finalizers": ["x.io/a"]}}).expect(200)
    assert api.get("widgets", "w")
    api.merge("widgets", "w", {"metadata": {"finalizers": None}}).expect(200)
    assert api.send("GET", api.path("widgets", "w")).status == 404


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
    ("preconditions", "status"),
    [({"uid": "other"}, 409), ({"resourceVersion": "1"}, 409), ({}, 200)],
)
def test_preconditions_hold_or_nothing_happens(api, preconditions, status):
    api.create("configmaps", config_map("a"))

    answer = api.delete("configmaps", "a", {"preconditions": preconditions})

    assert answer.status == status
    assert api.send("GET", api.path("configmaps", "a")).status == (404 if status == 200 else 200)


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan"), ("Background", None)]
)
def test_the_propagation_policy_becomes_a_finalizer_for_the_collector(api, policy, finalizer):
    api.create("configmaps", config_map("a"))

    api.delete("configmaps", "a", {"propagationPolicy": policy}).expect(200)

    left = api.send("GET", api.path("configmaps", "a"))
    assert left.status == (200 if finalizer else 404)
    if finalizer:
        assert left.body["metadata"]["finalizers"] == [finalizer]


def test_jobs_orphan_by_default_as_in_their_api(api):
    api.create("jobs", job("j"))
    api.delete("jobs", "j")

    assert api.get("jobs", "j")["metadata"]["finalizers"] == ["orphan"]
    api.delete("jobs", "j", propagationPolicy="Background")
    assert api.send("GET", api.path("jobs", "j")).status == 404


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


def test_a_dry_run_deletes_nothing(api):
    api.create("configmaps", config_map("a", finalizers=["x.io/a"]))
    api.create("configmaps", config_map("b"))
    before = api.server.storage.revision

    assert "deletionTimestamp" in api.delete("configmaps", "a", dryRun="All").expect(200)["metadata"]
    api.delete("configmaps", "b", {"dryRun": ["All"]}).expect(200)

    assert api.server.storage.revision == before
    assert api.get("configmaps", "a")["metadata"].get("deletionTimestamp") is None


class TestPods:
    def test_a_pod_without_a_node_is_gone_at_once(self, api):
        api.create("pods", pod("p"))

        gone = api.delete("pods", "p").expect(200)

        assert gone["kind"] == "Pod"
        assert api.send("GET", api.path("pods", "p")).status == 404

    def test_a_pod_on_a_node_gets_its_grace_and_ends_with_a_grace_of_zero(self, api):
        api.create("pods", pod("p", nodeName="one", terminationGracePeriodSeconds=20))

        marked = api.delete("pods", "p").expect(200)["metadata"]

        assert marked["deletionTimestamp"] == "2024-08-06T14:30:20Z"
        assert marked["deletionGracePeriodSeconds"] == 20
        assert api.delete("pods", "p").expect(200)["metadata"] == marked
        api.delete("pods", "p", gracePeriodSeconds=0).expect(200)
        assert api.send("GET", api.path("pods", "p")).status == 404

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

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    def test_a_pod_that_ended_is_gone_at_once(self, api, phase):
        api.create("pods", pod("p", nodeName="one"))
        api.merge("pods", "p", {"status": {"phase": phase}}, sub="status").expect(200)
        api.delete("pods", "p").expect(200)

        assert api.send("GET", api.path("pods", "p")).status == 404

    def test_finalizers_hold_a_pod_after_its_grace(self, api):
        manifest = pod("p")
        manifest["metadata"]["finalizers"] = ["x.io/a"]
        api.create("pods", manifest)

        api.delete("pods", "p").expect(200)

        assert api.get("pods", "p")["metadata"]["deletionGracePeriodSeconds"] == 0


def test_a_collection_is_deleted_as_far_as_it_is_selected(api):
    for name in "abc":
        api.create("configmaps", config_map(name, labels={"x": name}))

    deleted = api.send("DELETE", api.path("configmaps"), labelSelector="x in (a,b)").expect(200)

    assert [item["metadata"]["name"] for item in deleted["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in api.list("configmaps")["items"]] == ["c"]


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

    @pytest.mark.parametrize("name", ["default", "kube-system"])
    def test_the_namespaces_of_the_system_stay(self, api, name):
        assert api.delete("namespaces", name).status == 403
