import msgspec
import pytest

from localkube.node.environment import ConfigurationError, Sources, expand, references, resolve
from localkube.node.kinds import ConfigMap, Secret
from localkube.node.pod_kinds import Pod

SOURCES = Sources(
    secrets={
        "s3": Secret(data={"BUCKET": b"one", "odd.name": b"kept", "binary": b"\xff\xfe", "SHARED": b"secret"}),
        "empty": Secret(),
    },
    config_maps={"cm": ConfigMap(data={"BUCKET": "two", "HOST": "h", "SHARED": "config"})},
    allocatable={"cpu": "2", "memory": "4Gi"},
)


def pod(container, **meta):
    return msgspec.convert(
        {
            "metadata": {"name": "p", "namespace": "ns", "uid": "u-1", **meta},
            "spec": {
                "nodeName": "here",
                "serviceAccountName": "sa",
                "containers": [
                    {"name": "main", **container},
                    {"name": "other", "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "100M"}}},
                ],
            },
        },
        Pod,
    )


def env_of(container, sources=SOURCES, **meta):
    made = pod(container, **meta)
    return resolve(made.spec.containers[0], made, sources)


def from_secret(name, **more):
    return {"secretRef": {"name": name}, **more}


def key(kind, name, key_, **more):
    return {f"{kind}KeyRef": {"name": name, "key": key_, **more}}


def test_env_beats_env_from_and_later_beats_earlier():
    assert env_of(
        {
            "envFrom": [from_secret("s3"), {"configMapRef": {"name": "cm"}}],
            "env": [{"name": "HOST", "value": "first"}, {"name": "HOST", "value": "last"}],
        }
    ) == {"BUCKET": "two", "SHARED": "config", "HOST": "last", "odd.name": "kept", "binary": "\udcff\udcfe"}


def test_a_prefix_is_put_before_every_key():
    assert set(env_of({"envFrom": [from_secret("s3", prefix="P_")]})) == {
        "P_BUCKET",
        "P_odd.name",
        "P_binary",
        "P_SHARED",
    }


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [from_secret("gone")]}, 'secret "gone" not found'),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, 'configmap "gone" not found'),
        ({"env": [{"name": "A", "valueFrom": key("secret", "gone", "k")}]}, 'secret "gone" not found'),
        ({"env": [{"name": "A", "valueFrom": key("secret", "s3", "nope")}]}, "couldn't find key nope in Secret ns/s3"),
        ({"env": [{"name": "A", "valueFrom": key("secret", "empty", "k")}]}, "couldn't find key k in Secret ns/empty"),
        ({"env": [{"name": "A", "valueFrom": key("configMap", "cm", "x")}]}, "couldn't find key x in ConfigMap ns/cm"),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.tolerations"}}}]},
            "unsupported fieldPath: spec.tolerations",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name['x']"}}}]},
            "fieldPath \"metadata.name['x']\" does not support subscript",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]},
            "unsupported container resource : limits.gpu",
        ),
        (
            {
                "env": [
                    {"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "x"}}}
                ]
            },
            "container x not found",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"path": "x"}}}]},
            "this node does not read variables from files (fileKeyRef)",
        ),
    ],
)
def test_what_is_missing_is_said_in_kubelets_words(container, message):
    with pytest.raises(ConfigurationError) as caught:
        env_of(container)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "source",
    [
        key("secret", "gone", "k", optional=True),
        key("secret", "s3", "no", optional=True),
        key("configMap", "gone", "k", optional=True),
    ],
)
def test_a_missing_optional_key_leaves_an_earlier_value_in_place(source):
    container = {"envFrom": [from_secret("s3"), from_secret("gone")], "env": [{"name": "BUCKET", "valueFrom": source}]}
    container["envFrom"][1]["secretRef"]["optional"] = True
    assert env_of(container)["BUCKET"] == "one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("50$", "50$"),
        ("$()", "$()"),
        ("$(A)$(A)", "11"),
    ],
)
def test_references_expand_as_kubelet_expands_them(text, expected):
    assert expand(text, {"A": "1"}) == expected


def test_a_variable_sees_those_before_it_and_those_of_env_from_only():
    env = [{"name": "A", "value": "$(B)$(HOST)"}, {"name": "B", "value": "b"}, {"name": "C", "value": "$(B)$(A)"}]
    assert env_of({"envFrom": [{"configMapRef": {"name": "cm"}}], "env": env})["C"] == "b$(B)h"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "x"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['a/b']", 'say "hi"'),
        ("metadata.annotations", 'a/b="say \\"hi\\""'),
        ("spec.nodeName", "here"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "127.0.0.1"),
        ("status.hostIP", "127.0.0.1"),
    ],
)
def test_fields_of_the_pod(path, expected):
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}}]
    assert env_of({"env": env}, labels={"app": "x"}, annotations={"a/b": 'say "hi"'}) == {"A": expected}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "containerName": "other"}, "1"),
        ({"resource": "limits.cpu", "containerName": "other", "divisor": "1m"}, "250"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "4096"),
        ({"resource": "requests.memory", "containerName": "other", "divisor": "1Mi"}, "96"),
        ({"resource": "requests.cpu"}, "0"),
        ({"resource": "limits.memory", "divisor": "0"}, "4294967296"),
    ],
)
def test_resources_are_rounded_up_in_units_of_the_divisor(reference, expected):
    assert env_of({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": reference}}]}) == {"A": expected}


def test_references_name_every_secret_and_config_map_that_is_needed():
    made = pod(
        {
            "envFrom": [from_secret("a"), {"configMapRef": {"name": "b"}}],
            "env": [{"name": "X", "valueFrom": key("secret", "c", "k")}],
        }
    )
    data = msgspec.to_builtins(made)
    data["spec"]["volumes"] = [
        {"name": "v", "secret": {"secretName": "d"}},
        {"name": "w", "projected": {"sources": [{"configMap": {"name": "e"}}, {"secret": {"name": "f"}}]}},
    ]
    found = references(msgspec.convert(data, Pod))
    assert (found.secrets, found.config_maps) == ({"a", "c", "d", "f"}, {"b", "e"})


def test_a_secret_never_shows_its_values():
    assert "b'" not in repr(SOURCES)
