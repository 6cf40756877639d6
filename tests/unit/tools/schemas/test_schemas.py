import pytest

from localkube.store.trees import mapping
from schemas import definitions, messages, snapshots

REF = "#/components/schemas/io.k8s.api.core.v1."
DOCUMENT = {
    "io.k8s.api.core.v1.Pod": {
        "description": "A pod. It runs.",
        "type": "object",
        "required": ["name"],
        "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
        "properties": {
            "name": {"type": "string", "default": ""},
            "spec": {"allOf": [{"$ref": REF + "PodSpec"}], "default": {}, "description": "What it\nis. More."},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
    "io.k8s.api.core.v1.PodSpec": {
        "type": "object",
        "properties": {
            "env": {
                "type": "array",
                "items": {"allOf": [{"$ref": REF + "EnvVar"}]},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "x-kubernetes-patch-merge-key": "name",
                "x-kubernetes-patch-strategy": "merge",
            },
            "protocol": {"type": "string", "default": "TCP"},
        },
    },
    "io.k8s.api.core.v1.EnvVar": {"type": "object", "properties": {"value": {"type": "integer", "format": "int32"}}},
    "io.k8s.api.core.v1.Unused": {"type": "object", "properties": {"x": {"type": "string"}}},
}


def test_the_openapi_document_becomes_a_line_a_field():
    assert list(definitions.condense(DOCUMENT)) == [
        "api.core.v1.EnvVar",
        " value integer/int32",
        "api.core.v1.Pod kind(/v1/Pod) : A pod. It runs.",
        " labels {string}",
        " name! string",
        " spec api.core.v1.PodSpec always : What it is. More.",
        "api.core.v1.PodSpec",
        " env [api.core.v1.EnvVar] map(name) merge(name) patch(merge)",
        ' protocol string default("TCP")',
    ]


@pytest.mark.parametrize(
    ("description", "first"),
    [
        ("Name of the thing. It must be unique.", "Name of the thing."),
        ("One sentence without an end", "One sentence without an end"),
        ("x" * 400, "x" * 297 + "..."),
        ("", ""),
    ],
)
def test_descriptions_are_cut_to_their_first_sentence(description, first):
    assert definitions.first_sentence(description) == first


GO = """
type Secret struct {
	metav1.TypeMeta `json:",inline"`
	// Standard object's metadata.
	metav1.ObjectMeta `json:"metadata,omitempty" protobuf:"bytes,1,opt,name=metadata"`
	Immutable *bool `json:"immutable,omitempty" protobuf:"varint,5,opt,name=immutable"`
	Source `json:",inline" protobuf:"bytes,6,opt,name=source"`
	Items []Item `json:"items" protobuf:"bytes,2,rep,name=items"`
}

type Source struct {
	Path string `json:"path" protobuf:"bytes,1,opt,name=path"`
}

type Item struct {
	Key string `json:"key" protobuf:"bytes,1,opt,name=key"`
}
"""


def test_go_structs_become_field_numbers():
    lines = list(messages.condense({"api.core.v1": GO}, ("api.core.v1.Secret",)))

    assert lines == [
        "api.core.v1.Item",
        " 1 key",
        "api.core.v1.Secret",
        " 1 metadata",
        " 2 items api.core.v1.Item",
        " 5 immutable?",
        " 6 ^ api.core.v1.Source",
        "api.core.v1.Source",
        " 1 path",
    ]


def test_a_snapshot_definition_keeps_its_stored_version_only():
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x", "creationTimestamp": None},
        "spec": {
            "versions": [
                {"name": "v1", "storage": True, "schema": {"description": "What this is about. And more of it."}},
                {"name": "v1beta1", "storage": False},
            ]
        },
    }

    short = snapshots.condense(crd)

    assert short["metadata"] == {"name": "x", "annotations": {}}
    assert mapping(short["spec"])["versions"] == [
        {"name": "v1", "storage": True, "schema": {"description": "What this is about."}}
    ]
