import base64
import struct

import pytest

from localkube.store.protobuf import read_protobuf

# what kubectl 1.32 sends for `create secret`, `create job` and `auth can-i`
SECRET = "azhzAAoMCgJ2MRIGU2VjcmV0EicKEQoBcxIAGgAiACoAMgA4AEIAEgoKBHVzZXISAm1lGgZPcGFxdWUaACIA"
JOB = (
    "azhzAAoPCghiYXRjaC92MRIDSm9iEoQBChEKAWoSABoAIgAqADIAOABCABJlMmMKEAoAEgAaACIAKgAyADgAQgASTxIsCgFqEglidXN5Ym94OjEaBXNsZWVwGgE1KgBC"
    "AGoAcgCAAQCIAQCQAQCiAQAaBU5ldmVyMgBCAEoAUgBYAGAAaACCAQCKAQCaAQDCAQAaCCAAKAAwADoAGgAiAA=="
)
REVIEW = (
    "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSPAoQCgASABoAIgAqADIAOABCABIeChwKB2RlZmF1bHQSA2dldBoA"
    "IgAqBHBvZHMyADoAGggIABIAGgAgABoAIgA="
)


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        (
            SECRET,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "s"},
                "data": {"user": "bWU="},
                "type": "Opaque",
            },
        ),
        (
            JOB,
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "j"},
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [{"name": "j", "image": "busybox:1", "command": ["sleep"], "args": ["5"]}],
                            "restartPolicy": "Never",
                        }
                    }
                },
            },
        ),
        (
            REVIEW,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"namespace": "default", "verb": "get", "resource": "pods"}},
            },
        ),
    ],
)
def test_what_kubectl_sends_is_read(body, tree):
    found = read_protobuf(base64.b64decode(body))
    command = found.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [{}])[0]
    if "command" in command or "args" in command:
        assert [*command.pop("command", []), *command.pop("args", [])] == ["sleep", "5"]
        tree["spec"]["template"]["spec"]["containers"][0].pop("command")
        tree["spec"]["template"]["spec"]["containers"][0].pop("args")

    assert found == tree


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(version, kind, *parts):
    return b"k8s\0" + field(1, field(1, version) + field(2, kind)) + field(2, b"".join(parts))


def test_fields_of_embedded_structs_lie_in_the_struct_itself():
    volume = field(1, "v") + field(2, field(10, field(1, "claim") + field(2, 0)))
    found = read_protobuf(body("v1", "Pod", field(2, field(1, volume))))

    assert found["spec"]["volumes"] == [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]


def test_maps_quantities_and_times_are_read():
    quantity = field(1, "1Gi")
    requests = field(2, field(1, "storage") + field(2, quantity))
    moment = field(8, field(1, 1722954600))
    labels = field(11, field(1, "a") + field(2, "b"))
    found = read_protobuf(
        body("v1", "PersistentVolumeClaim", field(1, field(1, "c") + moment + labels), field(2, field(2, requests)))
    )

    assert found["spec"] == {"resources": {"requests": {"storage": "1Gi"}}}
    assert found["metadata"] == {"name": "c", "creationTimestamp": "2024-08-06T14:30:00Z", "labels": {"a": "b"}}


def test_a_pointer_to_an_empty_value_means_something_and_an_empty_value_does_not():
    found = read_protobuf(body("v1", "PersistentVolumeClaim", field(2, field(3, "") + field(5, ""))))

    assert found["spec"] == {"storageClassName": ""}


def test_negative_numbers_and_options_of_deletions_are_read():
    found = read_protobuf(body("batch/v1", "DeleteOptions", field(1, -1), field(4, "Background")))

    assert found == {
        "apiVersion": "batch/v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": -1,
        "propagationPolicy": "Background",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"k8s\0\xff",
        body("v1", "Nope"),
        body("v1", "Pod") + b"\x0a\xff",
        body("v1", "Pod", b"\x12\x7f"),
        b"k8s\0" + struct.pack("<Q", 2**63),
        b"k8s\0" + field(1, 5),
    ],
)
def test_what_is_not_in_this_form_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        read_protobuf(data)
