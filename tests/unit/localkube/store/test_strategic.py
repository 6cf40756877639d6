import pytest

from localkube.store.schemas.builtin import definition
from localkube.store.statuses import StatusError
from localkube.store.strategic import merge_strategically

POD = definition("api.core.v1.PodSpec")
META = definition("apimachinery.pkg.apis.meta.v1.ObjectMeta")
A, B = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}


def container(**fields):
    return {"containers": [{"name": "c", "image": "x", **fields}]}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        (container(), {"containers": [{"name": "c", "image": "y"}]}, container(image="y")),
        (
            container(),
            {"containers": [{"name": "d", "image": "y"}]},
            {"containers": [{"name": "c", "image": "x"}, {"name": "d", "image": "y"}]},
        ),
        (
            container(env=[A, B]),
            {"containers": [{"name": "c", "env": [{"name": "A", "$patch": "delete"}]}]},
            container(env=[B]),
        ),
        (container(env=[A]), {"containers": [{"name": "c", "env": [B]}]}, container(env=[A, B])),
        (container(env=[A]), {"containers": [{"name": "c", "env": [B, {"$patch": "replace"}]}]}, container(env=[B])),
        (container(args=["a", "b"]), {"containers": [{"name": "c", "args": ["z"]}]}, container(args=["z"])),
        (container(), {"$patch": "replace", "restartPolicy": "Never"}, {"restartPolicy": "Never"}),
        ({"securityContext": {"runAsUser": 1}}, {"securityContext": {"$patch": "delete"}}, {"securityContext": {}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": None, "b": "2"}}, {"nodeSelector": {"b": "2"}}),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]},
            {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]},
        ),
        (
            container(env=[A, B]),
            {"containers": [{"name": "c", "$setElementOrder/env": [{"name": "B"}, {"name": "A"}]}]},
            container(env=[B, A]),
        ),
    ],
)
def test_lists_merge_by_their_keys_and_directives_hold(target, patch, result):
    assert merge_strategically(target, patch, POD) == result


def test_primitive_lists_grow_and_shrink():
    live = {"finalizers": ["a/x", "b/y"]}

    assert merge_strategically(live, {"finalizers": ["c/z", "a/x"]}, META) == {"finalizers": ["a/x", "b/y", "c/z"]}
    assert merge_strategically(live, {"$deleteFromPrimitiveList/finalizers": ["a/x"]}, META) == {"finalizers": ["b/y"]}


@pytest.mark.parametrize("patch", [{"containers": [{"image": "y"}]}, {"$patch": "explode"}])
def test_what_makes_no_sense_is_a_bad_request(patch):
    with pytest.raises(StatusError) as refused:
        merge_strategically(container(), patch, POD)

    assert refused.value.code == 400
