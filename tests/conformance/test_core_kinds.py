"""Secrets, ConfigMaps, claims, Pods and Jobs: their defaults, their rules, what may not change."""

import base64
from typing import Any

import pytest

from support.manifests import claim, config_map, job, pod, pod_spec, secret
from support.worlds import World


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_string_data_of_a_secret_is_merged_into_data(world: World) -> None:
    manifest = secret("s", data={"a": encoded("1"), "b": encoded("2")}, stringData={"b": "two", "c": "three"})

    created = await world.create("secrets", manifest)

    assert created["data"] == {"a": encoded("1"), "b": encoded("two"), "c": encoded("three")}
    assert "stringData" not in created
    assert created["type"] == "Opaque"


async def test_string_data_of_a_patch_is_merged_too(world: World) -> None:
    await world.create("secrets", secret("s", stringData={"a": "1"}))

    patched = (await world.patch("secrets", "s", {"stringData": {"b": "2"}})).expect(200).body

    assert patched["data"] == {"a": encoded("1"), "b": encoded("2")}


async def test_the_type_of_a_secret_cannot_change(world: World) -> None:
    await world.create("secrets", secret("s"))

    answer = await world.patch("secrets", "s", {"type": "example.com/other"})

    assert ("FieldValueInvalid", "type") in answer.expect(422, "Invalid").causes


@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
async def test_an_immutable_one_stays_as_it_is(world: World, plural: str) -> None:
    manifest = secret("a", stringData={"k": "v"}) if plural == "secrets" else config_map("a")
    await world.create(plural, manifest | {"immutable": True})

    data = await world.patch(plural, "a", {"data": {"k": encoded("other")}})
    flag = await world.patch(plural, "a", {"immutable": False})
    labels = await world.patch(plural, "a", {"metadata": {"labels": {"x": "1"}}})

    assert data.expect(422, "Invalid").causes == {("FieldValueForbidden", "data")}
    assert flag.expect(422, "Invalid").causes == {("FieldValueForbidden", "immutable")}
    labels.expect(200)


@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
@pytest.mark.parametrize("key", ["with space", "a/b", "", "..", "x" * 254])
async def test_a_data_key_that_is_no_file_name_is_invalid(world: World, plural: str, key: str) -> None:
    manifest = secret("a", data={key: "dg=="}) if plural == "secrets" else config_map("a", {key: "v"})

    answer = (await world.post(plural, manifest)).expect(422, "Invalid")

    assert ("FieldValueInvalid", f"data[{key}]") in answer.causes


async def test_a_claim_gets_its_defaults(world: World) -> None:
    created = await world.create("persistentvolumeclaims", claim("c"))

    assert created["spec"]["volumeMode"] == "Filesystem"
    assert created["status"] == {"phase": "Pending"}
    assert created["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"resources": {}}, "spec.resources[storage]"),
        ({"resources": {"requests": {"storage": "0"}}}, "spec.resources[storage]"),
        ({"resources": {"requests": {"storage": "-1Gi"}}}, "spec.resources[storage]"),
        ({"accessModes": []}, "spec.accessModes"),
        ({"accessModes": ["ReadSometimes"]}, "spec.accessModes"),
        ({"volumeMode": "Tape"}, "spec.volumeMode"),
        ({"storageClassName": "Not A Name"}, "spec.storageClassName"),
        ({"dataSource": {"kind": "PersistentVolumeClaim", "name": ""}}, "spec.dataSource.name"),
    ],
)
async def test_a_wrong_claim_is_invalid_with_its_field(world: World, changes: dict[str, Any], field: str) -> None:
    answer = (await world.post("persistentvolumeclaims", claim("c", **changes))).expect(422, "Invalid")

    assert field in {each for _, each in answer.causes}, answer.causes


async def test_a_quantity_that_is_none_is_a_bad_request(world: World) -> None:
    answer = await world.post("persistentvolumeclaims", claim("c", resources={"requests": {"storage": "lots"}}))

    answer.expect(400, "BadRequest")
    assert "quantities must match the regular expression" in answer.message


async def test_a_data_source_is_mirrored_into_its_newer_field(world: World) -> None:
    source = {"kind": "PersistentVolumeClaim", "name": "source"}

    created = await world.create("persistentvolumeclaims", claim("c", dataSource=source))

    for field in ("dataSource", "dataSourceRef"):
        assert created["spec"][field] == source | {"apiGroup": None}  # null, not left out: clients have to stand it


@pytest.mark.parametrize(
    "change",
    [
        {"accessModes": ["ReadWriteMany"]},
        {"storageClassName": "other"},
        {"volumeMode": "Block"},
        {"resources": {"requests": {"storage": "2Gi"}}},
    ],
)
async def test_the_spec_of_an_unbound_claim_cannot_change(world: World, change: dict[str, Any]) -> None:
    await world.create("persistentvolumeclaims", claim("c", storageClassName="none"))

    answer = (await world.patch("persistentvolumeclaims", "c", {"spec": change})).expect(422, "Invalid")

    assert ("FieldValueForbidden", "spec") in answer.causes
    assert "spec is immutable after creation" in answer.message


async def test_a_claim_that_nobody_uses_goes_when_deleted(world: World) -> None:
    await world.create("persistentvolumeclaims", claim("c", storageClassName="none"))

    deleted = (await world.delete("persistentvolumeclaims", "c")).expect(200).body

    assert deleted["metadata"]["deletionTimestamp"]
    await world.gone("persistentvolumeclaims", "c")


async def test_a_claim_that_a_pod_uses_waits_for_it(world: World) -> None:
    await world.create("persistentvolumeclaims", claim("c", storageClassName="none"))
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    await world.create("pods", pod("p", nodeName="nowhere", volumes=volumes))

    (await world.delete("persistentvolumeclaims", "c")).expect(200)
    await world.create("persistentvolumeclaims", claim("other", storageClassName="none"))
    (await world.delete("persistentvolumeclaims", "other")).expect(200)
    await world.gone("persistentvolumeclaims", "other")

    assert (await world.read("persistentvolumeclaims", "c"))["metadata"]["finalizers"] == [
        "kubernetes.io/pvc-protection"
    ]
    await world.delete("pods", "p", {"gracePeriodSeconds": 0})
    await world.gone("persistentvolumeclaims", "c")


async def test_a_pod_gets_its_defaults(world: World) -> None:
    spec = (await world.create("pods", pod("p")))["spec"]

    expected = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "serviceAccountName": "default",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
    }
    assert expected.items() <= spec.items()
    container = spec["containers"][0]
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["terminationMessagePolicy"] == "File"
    assert container["imagePullPolicy"] == "Always"


async def test_a_pod_is_pending_and_best_effort(world: World) -> None:
    status = (await world.create("pods", pod("p")))["status"]

    assert status == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [("x:1", "IfNotPresent"), ("x:latest", "Always"), ("x", "Always"), ("x@sha256:" + "0" * 64, "IfNotPresent")],
)
async def test_the_pull_policy_follows_the_tag(world: World, image: str, policy: str) -> None:
    created = await world.create("pods", pod("p", containers=[{"name": "c", "image": image}]))

    assert created["spec"]["containers"][0]["imagePullPolicy"] == policy


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"containers": []}, "spec.containers"),
        ({"containers": [{"name": "c"}]}, "spec.containers[0].image"),
        ({"containers": [{"name": "Upper", "image": "x"}]}, "spec.containers[0].name"),
        ({"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]}, "spec.containers[1].name"),
        ({"containers": [{"name": "c", "image": "x", "env": [{"name": ""}]}]}, "spec.containers[0].env[0].name"),
        ({"containers": [{"name": "c", "image": "x", "env": [{"name": "A=B"}]}]}, "spec.containers[0].env[0].name"),
        ({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}, "spec.volumes[1].name"),
        ({"terminationGracePeriodSeconds": -1}, None),
    ],
)
async def test_a_wrong_pod_is_invalid_with_its_field(world: World, changes: dict[str, Any], field: str | None) -> None:
    answer = await world.post("pods", pod("p", **changes))

    if field is None:  # a negative grace period is quietly taken as one second
        assert answer.expect(201).body["spec"]["terminationGracePeriodSeconds"] == 1
        return
    assert field in {each for _, each in answer.expect(422, "Invalid").causes}, answer.causes


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (
            {
                "containers": [
                    {
                        "name": "c",
                        "image": "x",
                        "env": [{"name": "A", "value": "v", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                    }
                ]
            },
            "spec.containers[0].env[0].valueFrom",
        ),
        (
            {"containers": [{"name": "c", "image": "x", "env": [{"name": "A", "valueFrom": {}}]}]},
            "spec.containers[0].env[0].valueFrom",
        ),
        (
            {
                "containers": [
                    {
                        "name": "c",
                        "image": "x",
                        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": ""}}}],
                    }
                ]
            },
            "spec.containers[0].env[0].valueFrom.secretKeyRef.key",
        ),
        (
            {"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]},
            "spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        ({"restartPolicy": "Sometimes"}, "spec.restartPolicy"),
        ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds"),
    ],
)
async def test_a_pod_that_no_mover_has_is_invalid_with_its_field(
    world: World, changes: dict[str, Any], field: str
) -> None:
    answer = (await world.post("pods", pod("p", **changes))).expect(422, "Invalid")

    assert field in {each for _, each in answer.causes}, answer.causes


async def test_most_of_a_pods_spec_cannot_change(world: World) -> None:
    await world.create("pods", pod("p"))

    refused = await world.patch("pods", "p", {"spec": {"restartPolicy": "Always"}})
    image = await world.patch(
        "pods",
        "p",
        {"spec": {"containers": [{"name": "c", "image": "other"}]}},
        kind="application/strategic-merge-patch+json",
    )

    assert refused.expect(422, "Invalid").causes == {("FieldValueForbidden", "spec")}
    assert image.expect(200).body["spec"]["containers"][0]["image"] == "other"


async def test_a_pod_is_bound_to_a_node_through_its_binding(world: World) -> None:
    await world.create("pods", pod("p"))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "one"},
    }

    (await world.send("POST", world.path("pods", "p", "binding"), binding)).expect(201)

    bound = await world.read("pods", "p")
    assert bound["spec"]["nodeName"] == "one"
    assert {each["type"]: each["status"] for each in bound["status"]["conditions"]}["PodScheduled"] == "True"
    (await world.send("POST", world.path("pods", "p", "binding"), binding)).expect(409, "Conflict")


async def test_a_job_gets_its_defaults(world: World) -> None:
    created = await world.create("jobs", job("j", suspend=True))

    uid = created["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": uid,
        "job-name": "j",
    }
    expected = {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": True,
        "podReplacementPolicy": "TerminatingOrFailed",
        "manualSelector": False,
        "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}},
    }
    assert expected.items() <= created["spec"].items()
    assert created["spec"]["template"]["metadata"]["labels"] == labels
    assert created["metadata"]["labels"] == labels
    assert created["metadata"]["generation"] == 1


async def test_suspend_is_off_by_default(world: World) -> None:
    assert (await world.create("jobs", job("j", parallelism=0)))["spec"]["suspend"] is False


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"template": pod_spec(restartPolicy="Always")}, "spec.template.spec.restartPolicy"),
        ({"template": pod_spec(containers=[])}, "spec.template.spec.containers"),
        ({"backoffLimit": -1}, "spec.backoffLimit"),
        ({"ttlSecondsAfterFinished": -1}, "spec.ttlSecondsAfterFinished"),
        ({"activeDeadlineSeconds": -1}, "spec.activeDeadlineSeconds"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "spec.selector"),
    ],
)
async def test_a_wrong_job_is_invalid_with_its_field(world: World, changes: dict[str, Any], field: str) -> None:
    answer = (await world.post("jobs", job("j", **changes))).expect(422, "Invalid")

    assert field in {each for _, each in answer.causes}, answer.causes


async def test_a_long_job_name_is_refused_because_of_its_label(world: World) -> None:
    await world.create("jobs", job("x" * 63, suspend=True))

    answer = (await world.post("jobs", job("x" * 64, suspend=True))).expect(422, "Invalid")

    assert "spec.template.labels" in {field for _, field in answer.causes}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"template": {"spec": {"terminationGracePeriodSeconds": 1}}}, "spec.template"),
        ({"completions": 2}, "spec.completions"),
        ({"selector": {"matchLabels": {"a": "b"}}}, "spec.selector"),
        ({"completionMode": "Indexed"}, "spec.completionMode"),
    ],
)
async def test_what_a_job_is_cannot_change(world: World, change: dict[str, Any], field: str) -> None:
    await world.create("jobs", job("j", parallelism=0))

    answer = (await world.patch("jobs", "j", {"spec": change})).expect(422, "Invalid")

    assert field in {each for _, each in answer.causes}, answer.causes


async def test_how_a_job_runs_can_change(world: World) -> None:
    await world.create("jobs", job("j", parallelism=0))

    change = {
        "parallelism": 0,
        "backoffLimit": 2,
        "activeDeadlineSeconds": 60,
        "ttlSecondsAfterFinished": 5,
        "suspend": True,
    }
    patched = (await world.patch("jobs", "j", {"spec": change})).expect(200).body

    assert change.items() <= patched["spec"].items()
    assert patched["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"failed": -1}, "status.failed"),
        ({"active": 1, "ready": 2}, "status.ready"),
        ({"completionTime": "2026-01-01T00:00:00Z"}, "status.completionTime"),
        ({"conditions": [{"type": "Complete", "status": "True"}]}, "status.conditions"),
    ],
)
async def test_the_status_of_a_job_cannot_contradict_itself(world: World, status: dict[str, Any], field: str) -> None:
    await world.create("jobs", job("j", suspend=True))

    answer = (await world.patch("jobs", "j", {"status": status}, sub="status")).expect(422, "Invalid")

    assert field in {each for _, each in answer.causes}, answer.causes


async def test_a_lease_keeps_microseconds(world: World) -> None:
    manifest = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.678901Z"},
    }

    created = await world.create("leases", manifest)

    assert created["spec"] == manifest["spec"]
    assert (
        await world.post("leases", manifest | {"metadata": {"name": "m"}, "spec": {"leaseDurationSeconds": 0}})
    ).status == 422
