from datetime import UTC, datetime

import pytest

from localkube.store.answers import read_format
from localkube.store.builtin_kinds import builtin_kinds
from localkube.store.printers import PRINTERS
from localkube.store.statuses import StatusError
from localkube.store.tables import table
from support.manifests import claim, config_map, job, pod
from support.widgets import widget

NOW = datetime(2024, 8, 6, 14, 30, tzinfo=UTC)
BORN = "2024-08-06T14:29:00Z"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def cells(resource, tree):
    kind = next(kind for kind in builtin_kinds() if kind.resource == resource)
    tree = {"metadata": {"name": "x", "creationTimestamp": BORN}, **tree}
    shown = table(kind, [tree], {}, api_version="meta.k8s.io/v1", include="", now=NOW)
    assert len(shown["rows"][0]["cells"]) == len(shown["columnDefinitions"])
    return dict(zip([c["name"] for c in shown["columnDefinitions"]], shown["rows"][0]["cells"], strict=True))


def waiting(reason):
    return {"name": "c", "restartCount": 0, "state": {"waiting": {"reason": reason}}}


def ended(code, **more):
    return {"name": "c", "restartCount": 0, "state": {"terminated": {"exitCode": code, **more}}}


RUNNING = {
    "name": "c",
    "ready": True,
    "restartCount": 2,
    "state": {"running": {}},
    "lastState": {"terminated": {"finishedAt": BORN}},
}


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"phase": "Pending"}, ("0/1", "Pending", "0")),
        ({"phase": "Running", "containerStatuses": [RUNNING]}, ("1/1", "Running", "2 (60s ago)")),
        ({"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]}, ("0/1", "ImagePullBackOff", "0")),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, reason="Completed")]}, ("0/1", "Completed", "0")),
        ({"phase": "Failed", "containerStatuses": [ended(3)]}, ("0/1", "ExitCode:3", "0")),
        ({"phase": "Failed", "containerStatuses": [ended(137, signal=9)]}, ("0/1", "Signal:9", "0")),
        ({"phase": "Failed", "reason": "Evicted"}, ("0/1", "Evicted", "0")),
        ({"phase": "Pending", "initContainerStatuses": [ended(1, reason="Error")]}, ("0/1", "Init:Error", "0")),
        ({"phase": "Pending", "initContainerStatuses": [waiting("PodInitializing")]}, ("0/1", "Init:0/2", "0")),
    ],
)
def test_the_status_of_a_pod_is_judged_over_its_containers(status, shown):
    row = cells("pods", {"spec": {"containers": [{}], "initContainers": [{}, {}]}, "status": status})

    assert (row["Ready"], row["Status"], row["Restarts"]) == shown


def test_a_pod_that_is_going_says_so():
    row = cells(
        "pods", {"metadata": {"name": "x", "deletionTimestamp": BORN}, "spec": {}, "status": {"phase": "Running"}}
    )

    assert row["Status"] == "Terminating"


def true(kind):
    return {"type": kind, "status": "True"}


@pytest.mark.parametrize(
    ("spec", "status", "shown"),
    [
        ({"completions": 1}, {}, ("Running", "0/1", "")),
        ({"completions": 3}, {"succeeded": 2, "startTime": BORN}, ("Running", "2/3", "60s")),
        ({"completions": 1}, {"conditions": [true("Failed")]}, ("Failed", "0/1", "")),
        ({"completions": 1}, {"conditions": [true("Suspended")]}, ("Suspended", "0/1", "")),
        ({"completions": 1}, {"conditions": [true("FailureTarget")]}, ("FailureTarget", "0/1", "")),
        (
            {"completions": 1},
            {
                "succeeded": 1,
                "startTime": BORN,
                "completionTime": "2024-08-06T14:29:05Z",
                "conditions": [true("Complete")],
            },
            ("Complete", "1/1", "5s"),
        ),
        ({"parallelism": 3}, {}, ("Running", "0/1 of 3", "")),
    ],
)
def test_the_status_of_a_job(spec, status, shown):
    row = cells("jobs.batch", {"spec": spec, "status": status})

    assert (row["Status"], row["Completions"], row["Duration"]) == shown


@pytest.mark.parametrize(
    ("resource", "tree", "shown"),
    [
        (
            "persistentvolumeclaims",
            {"spec": {"storageClassName": "s"}, "status": {"phase": "Pending"}},
            {"Status": "Pending", "Capacity": ""},
        ),
        (
            "persistentvolumeclaims",
            {
                "spec": {"volumeName": "v", "volumeMode": "Filesystem"},
                "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
            },
            {"Volume": "v", "Capacity": "1Gi", "Access Modes": "RWO", "VolumeMode": "Filesystem"},
        ),
        (
            "persistentvolumes",
            {
                "spec": {
                    "claimRef": {"namespace": "n", "name": "c"},
                    "capacity": {"storage": "1Gi"},
                    "accessModes": ["ReadWriteMany"],
                }
            },
            {"Claim": "n/c", "Capacity": "1Gi", "Access Modes": "RWX"},
        ),
        ("secrets", {"type": "Opaque", "data": {"a": "", "b": ""}}, {"Type": "Opaque", "Data": 2}),
        ("configmaps", {"data": {"a": ""}, "binaryData": {"b": ""}}, {"Data": 2}),
        ("namespaces", {"status": {"phase": "Active"}}, {"Status": "Active", "Age": "60s"}),
        (
            "nodes",
            {
                "metadata": {"name": "x", "labels": {"node-role.kubernetes.io/local": ""}},
                "spec": {"unschedulable": True},
                "status": {
                    "conditions": [true("Ready")],
                    "nodeInfo": {"kubeletVersion": "v1", "kernelVersion": "6", "architecture": "arm64"},
                },
            },
            {"Status": "Ready,SchedulingDisabled", "Roles": "local", "Version": "v1", "Kernel-Version": "6 (arm64)"},
        ),
        (
            "events",
            {
                "involvedObject": {"kind": "Pod", "name": "p"},
                "type": "Normal",
                "reason": "R",
                "message": " m ",
                "lastTimestamp": BORN,
                "count": 3,
            },
            {"Last Seen": "60s", "Object": "pod/p", "Message": "m", "Count": 3},
        ),
        (
            "events.events.k8s.io",
            {
                "regarding": {"kind": "Pod"},
                "note": "n",
                "eventTime": BORN,
                "series": {"count": 7, "lastObservedTime": BORN},
            },
            {"Object": "pod", "Message": "n", "Count": 7, "First Seen": "60s"},
        ),
        (
            "storageclasses.storage.k8s.io",
            {
                "metadata": {"name": "x", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
                "provisioner": "p",
            },
            {"Name": "x (default)", "Provisioner": "p", "ReclaimPolicy": "Delete", "AllowVolumeExpansion": False},
        ),
        ("leases.coordination.k8s.io", {"spec": {"holderIdentity": "me"}}, {"Holder": "me"}),
        ("priorityclasses.scheduling.k8s.io", {"value": 5}, {"Value": 5, "Global-Default": False}),
        (
            "rolebindings.rbac.authorization.k8s.io",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "ServiceAccount", "namespace": "n", "name": "s"}],
            },
            {"Role": "Role/r", "ServiceAccounts": "n/s"},
        ),
        ("serviceaccounts", {}, {"Name": "x", "Age": "60s"}),
    ],
)
def test_builtin_kinds_show_what_people_look_for(resource, tree, shown):
    row = cells(resource, tree)

    assert {name: row[name] for name in shown} == shown


@pytest.mark.parametrize("resource", sorted(PRINTERS))
def test_an_object_with_nothing_in_it_can_be_shown(resource):
    assert cells(resource, {})


def test_columns_of_a_custom_resource_come_from_its_definition(api):
    api.create("widgets", widget("w"))

    shown = api.send("GET", api.path("widgets"), accept=TABLE).expect(200)

    assert shown["kind"] == "Table"
    assert shown["rows"][0]["cells"][0] == "w"
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert len(shown["columnDefinitions"]) == len(shown["rows"][0]["cells"])


@pytest.mark.parametrize("manifest", [("pods", pod("p")), ("jobs", job("j")), ("persistentvolumeclaims", claim("c"))])
def test_one_object_is_a_table_of_one_row(api, manifest):
    plural, body = manifest
    api.create(plural, body)

    shown = api.send("GET", api.path(plural, body["metadata"]["name"]), accept=TABLE).expect(200)

    assert len(shown["rows"]) == 1


@pytest.mark.parametrize(("include", "kind"), [("", "PartialObjectMetadata"), ("Object", "ConfigMap"), ("None", None)])
def test_how_much_of_the_object_goes_along_is_asked_for(api, include, kind):
    api.create("configmaps", config_map("a"))

    (row,) = api.send("GET", api.path("configmaps"), accept=TABLE, includeObject=include).expect(200)["rows"]

    assert row.get("object", {}).get("kind") == kind


@pytest.mark.parametrize(
    ("accept", "word"),
    [
        ("", "object"),
        ("*/*", "object"),
        ("application/json", "object"),
        ("application/vnd.kubernetes.protobuf, application/json", "object"),
        (TABLE, "table"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "object"),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "metadata"),
        ("application/yaml", "object"),
    ],
)
def test_the_first_format_that_can_be_given_is_given(accept, word):
    assert read_format(accept).word == word


@pytest.mark.parametrize("accept", ["text/html", "application/vnd.kubernetes.protobuf", "application/*"])
def test_a_format_that_cannot_be_given_is_406(accept):
    with pytest.raises(StatusError) as refused:
        read_format(accept)

    assert refused.value.code == 406
