"""Metadata, resources and paths."""

import msgspec
import pytest

from datamover.api.v1alpha1.datamover import DATA_MOVERS, DataMover
from kubekit.words.batch import JOBS
from kubekit.words.core import PERSISTENT_VOLUMES, PODS, PersistentVolumeClaim, Secret, secret_keys, without_values
from kubekit.words.meta import ObjectMeta, owner_reference
from support import builders

PATHS = {
    "a core collection": (PODS.path(namespace="ns"), "/api/v1/namespaces/ns/pods"),
    "a core collection of all namespaces": (PODS.path(), "/api/v1/pods"),
    "a named object": (JOBS.path(namespace="ns", name="x"), "/apis/batch/v1/namespaces/ns/jobs/x"),
    "a cluster-scoped object": (PERSISTENT_VOLUMES.path(namespace="ns", name="pv"), "/api/v1/persistentvolumes/pv"),
    "a subresource": (
        DATA_MOVERS.path(namespace="ns", name="x", subresource="status"),
        "/apis/datamover.a-cup-of.coffee/v1alpha1/namespaces/ns/datamovers/x/status",
    ),
}


@pytest.mark.parametrize("case", PATHS)
def test_path(case: str) -> None:
    path, expected = PATHS[case]
    assert path == expected


def test_a_kind_is_named_as_rbac_and_metrics_name_it() -> None:
    assert (PODS.group_resource, PODS.api_version) == ("pods", "v1")
    assert (JOBS.group_resource, JOBS.api_version) == ("jobs.batch", "batch/v1")


def test_nulls_wherever_a_server_may_send_them_do_not_poison_an_object() -> None:
    text = b'{"metadata": {"name": "x", "labels": null, "annotations": null, "ownerReferences": null, "finalizers": null}, "spec": null, "status": null}'
    for kind in (PersistentVolumeClaim, DataMover):
        found = msgspec.json.decode(text, type=kind)
        assert found.metadata.label("a") is None
        assert found.metadata.annotation("a") is None
        assert not found.metadata.owned_by("u")
        assert not found.metadata.terminating


def test_only_the_uid_tells_the_owner() -> None:
    owner = builders.data_mover()
    reference = owner_reference(DATA_MOVERS, owner.metadata)
    child = msgspec.convert({"name": "c", "ownerReferences": [reference]}, ObjectMeta)
    assert child.owned_by(builders.MOVER_UID)
    assert not child.owned_by(builders.OTHER_UID)
    assert reference["apiVersion"] == "datamover.a-cup-of.coffee/v1alpha1"
    assert reference["controller"] is True
    assert reference["blockOwnerDeletion"] is False


def test_no_value_of_a_secret_outlives_its_reading() -> None:
    secret = msgspec.json.decode(
        b'{"metadata": {"name": "s", "annotations": {"last": "c2VjcmV0"}}, "data": {"KEY": "c2VjcmV0", "EMPTY": "", "NULL": null}}',
        type=Secret,
    )
    kept = without_values(secret)
    assert b"c2VjcmV0" not in msgspec.json.encode(kept)
    assert secret_keys(kept).keys == ("EMPTY", "KEY", "NULL")
    assert secret_keys(kept).empty == secret_keys(secret).empty == ("EMPTY", "NULL")
