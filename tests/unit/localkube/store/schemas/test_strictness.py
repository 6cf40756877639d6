import pytest

from localkube.store.schemas.builtin import definition
from localkube.store.schemas.strictness import claim_error

POD = definition("api.core.v1.Pod")


def pod(**container):
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", **container}]}}


def test_a_good_object_may_be_applied():
    assert claim_error(pod(image="x", ports=[{"containerPort": 1}], resources={"limits": {"cpu": 1}}), POD) is None


@pytest.mark.parametrize(
    ("applied", "complaint"),
    [
        ({"bogus": 1}, ".bogus: field not declared in schema"),
        (pod(bogus=1), '.spec.containers[name="c"].bogus: field not declared in schema'),
        (pod(image=5), '.spec.containers[name="c"].image: expected string, got &value.valueUnstructured{Value:5}'),
        ({"spec": {"containers": {}}}, ".spec.containers: expected list, got"),
        ({"spec": []}, ".spec: expected map, got"),
        (
            {"spec": {"containers": [{"image": "x"}]}},
            ".spec.containers: element 0: associative list with keys has an element that omits all key fields",
        ),
        (
            {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}},
            '.spec.containers: duplicate entries for key [name="c"]',
        ),
        ({"spec": {"hostNetwork": "yes"}}, ".spec.hostNetwork: expected boolean, got"),
    ],
)
def test_what_cannot_be_typed_is_refused_with_its_path(applied, complaint):
    assert (claim_error(applied, POD) or "").startswith(complaint)
