"""What all movers get, and what a DataMover chooses in its place."""

from typing import Any

import pytest

from datamover.api.pods import Mover, PodSecurityContext, ResourceRequirements, Toleration
from datamover.movers.defaults import NONE, DefaultsError, MoverDefaults, fill, read_defaults
from datamover.movers.rclone import build_job
from datamover.reconcilers.datamover.order import owner_of, sync_of
from support.builders import CLONE, JOB, data_mover, run

LABELS = {"app.kubernetes.io/created-by": "datamover-operator"}
DEFAULTS = MoverDefaults(
    resources=ResourceRequirements(requests={"cpu": "50m"}, limits={"memory": "1Gi"}),
    node_selector={"pool": "backup"},
    tolerations=(Toleration(key="backup", operator="Exists"),),
    security_context=PodSecurityContext(run_as_user=1000, run_as_non_root=True, fs_group=1000),
    labels={"team": "storage", "app.kubernetes.io/created-by": "somebody"},
    annotations={"sidecar.istio.io/inject": "false"},
)


def job(mover: Mover | None, defaults: MoverDefaults) -> dict[str, Any]:
    owner, recorded = data_mover(mover=mover), run()
    return build_job(
        owner_of(owner, recorded), sync_of(owner, recorded, cluster="c"), name=JOB, claim=CLONE, defaults=defaults
    )


def test_without_defaults_a_job_is_what_it_was() -> None:
    assert job(None, NONE) == job(Mover(), read_defaults(None)) == job(None, read_defaults({}))


def test_a_data_mover_that_says_nothing_gets_the_defaults() -> None:
    pod = job(None, DEFAULTS)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "backup"}
    assert list(pod["tolerations"]) == [{"key": "backup", "operator": "Exists"}]
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi"}}
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 1000


def test_what_a_data_mover_says_takes_the_place_of_the_default_field_by_field() -> None:
    own = Mover(node_selector={}, resources=ResourceRequirements(requests={"cpu": "2"}))
    pod = job(own, DEFAULTS)["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod
    assert pod["containers"][0]["resources"] == {"requests": {"cpu": "2"}}
    assert pod["tolerations"]


def test_the_security_context_is_filled_by_its_own_fields() -> None:
    filled = fill(Mover(security_context=PodSecurityContext(fs_group=7)), DEFAULTS).security_context
    assert filled == PodSecurityContext(run_as_user=1000, run_as_non_root=True, fs_group=7)


def test_a_data_mover_that_chooses_root_is_not_held_to_the_defaults_idea_of_it() -> None:
    chosen = Mover(security_context=PodSecurityContext(run_as_user=0))
    assert job(chosen, DEFAULTS)["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] is False


def test_labels_are_on_jobs_and_pods_and_never_in_the_place_of_ours() -> None:
    made = job(None, DEFAULTS)
    for metadata in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert metadata["labels"] == {"team": "storage", **job(None, NONE)["metadata"]["labels"]}
        assert metadata["labels"].items() >= LABELS.items()
    assert made["spec"]["template"]["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert "annotations" not in made["metadata"]


WRONG = [
    ({"nodeSelecter": {"a": "b"}}, "nodeSelecter is no field of a mover"),
    ({"tolerations": [{"kee": "backup"}]}, "tolerations[0].kee is no field"),
    ({"securityContext": {"runAsRoot": True}}, "securityContext.runAsRoot is no field"),
    ({"affinity": {"nodeAfinity": {}}}, "affinity has 'nodeAfinity', which Kubernetes does not know"),
    ({"resources": {"requests": {"cpu": "lots"}}}, "resources.requests[cpu] is 'lots', which is no quantity"),
    ({"nodeSelector": ["a"]}, "$.nodeSelector"),
    (["a"], "array"),
    ("text", "str"),
    ({"serviceAccountName": "x"}, "serviceAccountName is for a DataMover to choose"),
    ({"labels": {"team": "a b"}}, "labels has 'team': 'a b', which Kubernetes does not take"),
    ({"labels": {"-x": "a"}}, "labels has '-x'"),
    ({"annotations": {"a b": "c"}}, "annotations has 'a b'"),
    ({"labels": {"n": 1}}, "$.labels"),
]


@pytest.mark.parametrize(("document", "words"), WRONG)
def test_defaults_that_cannot_be_right_are_told_before_anything_starts(document: object, words: str) -> None:
    with pytest.raises(DefaultsError) as told:
        read_defaults(document)
    assert words in str(told.value)
