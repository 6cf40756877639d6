"""What the server does by itself with built-in kinds, beyond what the conformance suite holds against the real one."""

import pytest

from support.manifests import claim, config_map, job, pod, secret


def container(**fields):
    return [{"name": "c", "image": "x", **fields}]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"containers": [{"name": "C_", "image": ""}]}, {"spec.containers[0].name", "spec.containers[0].image"}),
        ({"containers": container(image=" x")}, {"spec.containers[0].image"}),
        ({"containers": container(), "initContainers": container()}, {"spec.initContainers[0].name"}),
        ({"volumes": [{"name": "../x"}]}, {"spec.volumes[0].name"}),
        (
            {"containers": container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}})},
            {"spec.containers[0].resources.requests"},
        ),
        ({"containers": container(resources={"limits": {"cpu": "-1"}})}, {"spec.containers[0].resources.limits[cpu]"}),
        ({"securityContext": {"runAsUser": -1}}, {"spec.securityContext.runAsUser"}),
        ({"nodeSelector": {"a b": "c"}}, {"spec.nodeSelector"}),
        ({"serviceAccountName": "A"}, {"spec.serviceAccountName"}),
        ({"tolerations": [{"operator": "Nope", "key": "k"}]}, {"spec.tolerations[0].operator"}),
        ({"tolerations": [{"operator": "Exists", "key": "k", "value": "v"}]}, {"spec.tolerations[0].operator"}),
    ],
)
def test_what_a_user_can_get_wrong_of_a_pod_is_refused_with_its_fields(api, spec, fields):
    assert fields <= api.send("POST", api.path("pods"), pod("p", **spec)).fields


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_from_the_resources(api, resources, quality):
    created = api.create("pods", pod("p", containers=container(resources=resources)))

    assert created["status"]["qosClass"] == quality


def test_a_status_does_not_lose_its_quality_or_the_owners(api):
    manifest = pod("p")
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}
    manifest["metadata"]["ownerReferences"] = [owner]
    live = api.create("pods", manifest)
    live["metadata"].pop("ownerReferences")
    live["status"] = {"phase": "Running"}

    stored = api.send("PUT", api.path("pods", "p", "status"), live).expect(200)

    assert stored["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert stored["metadata"]["ownerReferences"] == [owner]


def test_a_suspended_job_that_never_ran_may_be_scheduled_anew(api):
    api.create("jobs", job("j", suspend=True))
    change = {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}

    assert api.merge("jobs", "j", change).status == 200
    api.merge("jobs", "j", {"spec": {"suspend": False}}).expect(200)
    assert api.merge("jobs", "j", {"spec": {"template": {"spec": {"nodeSelector": {"a": "c"}}}}}).fields == {
        "spec.template"
    }


def test_a_job_with_a_selector_of_its_own_keeps_it(api):
    labels = {"mine": "yes"}
    manifest = job("j", manualSelector=True, selector={"matchLabels": labels})
    manifest["spec"]["template"]["metadata"] = {"labels": labels}

    created = api.create("jobs", manifest)

    assert created["spec"]["selector"] == {"matchLabels": labels}
    assert created["spec"]["template"]["metadata"]["labels"] == labels
    manifest["metadata"]["name"] = "k"
    manifest["spec"]["template"]["metadata"] = {"labels": {"mine": "no"}}
    assert "spec.template.metadata.labels" in api.send("POST", api.path("jobs"), manifest).fields


def storage_class(name, *, default=False, expand=False):
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "p", "allowVolumeExpansion": expand}


async def test_the_newest_default_class_is_taken(api, clock):
    assert "storageClassName" not in api.create("persistentvolumeclaims", claim("none"))["spec"]
    api.create("storageclasses", storage_class("plain"))
    api.create("storageclasses", storage_class("old", default=True))
    await clock.advance(5)
    api.create("storageclasses", storage_class("newer", default=True))
    api.create("storageclasses", storage_class("also", default=True))

    assert api.create("persistentvolumeclaims", claim("c"))["spec"]["storageClassName"] == "also"
    assert api.create("persistentvolumeclaims", claim("d", storageClassName=""))["spec"]["storageClassName"] == ""


def test_a_data_source_that_the_older_field_never_knew_is_dropped(api):
    source = {"kind": "Nope", "apiGroup": "x.io", "name": "n"}

    created = api.create("persistentvolumeclaims", claim("c", dataSource=source))
    by_reference = api.create("persistentvolumeclaims", claim("d", dataSourceRef=source))

    assert created["spec"].keys().isdisjoint({"dataSource", "dataSourceRef"})
    assert by_reference["spec"]["dataSourceRef"] == source


def volume(**spec):
    base = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    return {"metadata": {"name": "v"}, "spec": {**base, **spec}}


def test_a_volume_gets_its_defaults_and_protection(api):
    created = api.create("persistentvolumes", volume())

    assert created["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert created["spec"]["volumeMode"] == "Filesystem"
    assert created["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
    assert created["status"] == {"phase": "Pending", "lastPhaseTransitionTime": "2024-08-06T14:30:00Z"}


async def test_a_volume_remembers_since_when_its_phase_is_what_it_is(api, clock):
    api.create("persistentvolumes", volume())
    await clock.advance(5)

    bound = api.merge("persistentvolumes", "v", {"status": {"phase": "Bound"}}, sub="status").expect(200)
    same = api.merge("persistentvolumes", "v", {"status": {"message": "m"}}, sub="status").expect(200)

    assert bound["status"]["lastPhaseTransitionTime"] == "2024-08-06T14:30:05Z"
    assert same["status"]["lastPhaseTransitionTime"] == "2024-08-06T14:30:05Z"


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"capacity": {}}, {"spec.capacity"}),
        ({"capacity": {"storage": "0"}}, {"spec.capacity[storage]"}),
        ({"accessModes": []}, {"spec.accessModes"}),
        ({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}, {"spec.accessModes"}),
        ({"hostPath": None}, {"spec"}),
        ({"csi": {"driver": "d", "volumeHandle": "h"}}, {"spec.csi"}),
        ({"hostPath": None, "local": {"path": "/x"}}, {"spec.nodeAffinity"}),
        ({"persistentVolumeReclaimPolicy": "Burn"}, {"spec.persistentVolumeReclaimPolicy"}),
        ({"volumeMode": "Tape"}, {"spec.volumeMode"}),
    ],
)
def test_a_wrong_volume_is_refused(api, spec, fields):
    assert fields <= api.send("POST", api.path("persistentvolumes"), volume(**spec)).fields


def test_the_source_of_a_volume_stays(api):
    api.create("persistentvolumes", volume())

    assert api.merge("persistentvolumes", "v", {"spec": {"hostPath": {"path": "/y"}}}).fields == {
        "spec.persistentvolumesource"
    }
    assert api.merge("persistentvolumes", "v", {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}).status == 200


@pytest.mark.parametrize(
    ("manifest", "fields"),
    [
        (secret(data={"a b": ""}), {"data[a b]"}),
        (secret(data={"..": ""}), {"data[..]"}),
        (secret(type="kubernetes.io/tls"), {"data[tls.crt]", "data[tls.key]"}),
        (secret(type="kubernetes.io/dockerconfigjson"), {"data[.dockerconfigjson]"}),
        (secret(type="kubernetes.io/basic-auth"), {"data[username]", "data[password]"}),
        (
            secret(type="kubernetes.io/service-account-token"),
            {"metadata.annotations[kubernetes.io/service-account.name]"},
        ),
        (secret(stringData={"a": "x" * (1024 * 1024 + 1)}), {"data"}),
    ],
)
def test_a_wrong_secret_is_refused_without_showing_what_it_holds(api, manifest, fields):
    answer = api.send("POST", api.path("secrets"), manifest)

    assert answer.fields == fields
    assert len(answer.raw) < 3000


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"data": {"k": "1"}, "binaryData": {"k": ""}}, {"data[k]"}),
        ({"data": {"a": "x" * (1024 * 1024 + 1)}}, {""}),
    ],
)
def test_a_wrong_config_map_is_refused(api, change, fields):
    assert api.send("POST", api.path("configmaps"), {**config_map("a"), **change}).fields == fields


def test_a_lease_can_be_put_where_none_is(api):
    lease = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}}

    created = api.send("PUT", api.path("leases", "l"), lease)

    assert created.status == 201
    lease["spec"]["leaseDurationSeconds"] = 0
    lease["metadata"]["resourceVersion"] = created.body["metadata"]["resourceVersion"]
    assert api.send("PUT", api.path("leases", "l"), lease).fields == {"spec.leaseDurationSeconds"}


EVENT = {
    "metadata": {"name": "e"},
    "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    "eventTime": "2024-08-06T14:30:00.000000Z",
    "reportingController": "x.io/y",
    "reportingInstance": "z",
    "action": "Doing",
    "reason": "Because",
    "type": "Normal",
    "note": "hello",
}


class TestEvents:
    def test_both_api_groups_show_the_same_event(self, api):
        api.create("newevents", EVENT)

        core = api.get("events", "e")
        new = api.get("newevents", "e")

        assert (core["apiVersion"], core["involvedObject"], core["message"]) == ("v1", EVENT["regarding"], "hello")
        assert (new["apiVersion"], new["note"], new["regarding"]) == (
            "events.k8s.io/v1",
            "hello",
            EVENT["regarding"],
        )
        assert core["metadata"]["uid"] == new["metadata"]["uid"]
        api.merge("newevents", "e", {"series": {"count": 2, "lastObservedTime": "2024-08-06T14:30:05.000000Z"}}).expect(
            200
        )
        assert api.get("events", "e")["series"]["count"] == 2

    async def test_both_can_be_selected_and_watched(self, api):
        watch = await api.watch("newevents", fieldSelector="regarding.name=p")
        api.create("newevents", EVENT)
        event = await watch.next()
        await watch.close()

        assert event["object"]["regarding"]["name"] == "p"
        assert len(api.list("events", fieldSelector="involvedObject.name=p,reason=Because")["items"]) == 1
        assert api.list("events", fieldSelector="involvedObject.name=q")["items"] == []

    @pytest.mark.parametrize(
        ("change", "fields"),
        [
            ({"eventTime": None}, {"eventTime"}),
            ({"reason": ""}, {"reason"}),
            ({"type": "Odd"}, {"type"}),
            ({"note": "x" * 1025}, {"message"}),
            ({"action": "x" * 129}, {"action"}),
            ({"series": {"count": 1}}, {"series.count", "series.lastObservedTime"}),
            ({"regarding": {"namespace": "other"}}, {"regarding.namespace"}),
        ],
    )
    def test_the_newer_api_group_is_stricter(self, api, change, fields):
        assert api.send("POST", api.path("newevents"), {**EVENT, **change}).fields == fields


class TestDefinitions:
    def crd(self, **version):
        return {
            "metadata": {"name": "xs.a.b"},
            "spec": {
                "group": "a.b",
                "names": {"plural": "xs", "kind": "X"},
                "scope": "Namespaced",
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object"}},
                        **version,
                    }
                ],
            },
        }

    def test_a_definition_is_established_at_once(self, api):
        created = api.create("customresourcedefinitions", self.crd())

        assert created["spec"]["names"] == {"plural": "xs", "kind": "X", "singular": "x", "listKind": "XList"}
        held = {c["type"]: c["status"] for c in created["status"]["conditions"]}
        assert held == {"NamesAccepted": "True", "Established": "True"}
        assert api.send("GET", "/apis/a.b/v1/xs").expect(200)["kind"] == "XList"

    @pytest.mark.parametrize(
        ("version", "field"),
        [
            ({"schema": None}, "spec.versions[0].schema.openAPIV3Schema"),
            ({"storage": False}, "spec.versions"),
            ({"schema": {"openAPIV3Schema": {"type": "string"}}}, "spec.versions[0].schema.openAPIV3Schema.type"),
            (
                {"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"properties": {}}}}}},
                "spec.validation.openAPIV3Schema.properties[spec].type",
            ),
            (
                {"schema": {"openAPIV3Schema": {"type": "object", "properties": {"l": {"type": "array"}}}}},
                "spec.validation.openAPIV3Schema.properties[l].items",
            ),
        ],
    )
    def test_a_definition_whose_schema_is_not_structural_is_refused(self, api, version, field):
        assert field in api.send("POST", api.path("customresourcedefinitions"), self.crd(**version)).fields

    def test_objects_are_shown_in_every_served_version(self, api):
        crd = self.crd()
        old = {**crd["spec"]["versions"][0], "name": "v1beta1", "storage": False}
        crd["spec"]["versions"].append(old)
        api.create("customresourcedefinitions", crd)
        path = "/apis/a.b/{}/namespaces/default/xs"
        api.send(
            "POST", path.format("v1beta1"), {"apiVersion": "a.b/v1beta1", "kind": "X", "metadata": {"name": "x"}}
        ).expect(201)

        newer = api.send("GET", path.format("v1")).expect(200)["items"]
        older = api.send("GET", path.format("v1beta1") + "/x").expect(200)

        assert [item["apiVersion"] for item in newer] == ["a.b/v1"]
        assert older["apiVersion"] == "a.b/v1beta1"
        groups = {group["name"]: group for group in api.send("GET", "/apis").body["groups"]}
        assert groups["a.b"]["preferredVersion"]["version"] == "v1"

    def test_what_a_definition_defines_stays(self, api):
        api.create("customresourcedefinitions", self.crd())

        assert api.merge("customresourcedefinitions", "xs.a.b", {"spec": {"scope": "Cluster"}}).fields == {"spec.scope"}
