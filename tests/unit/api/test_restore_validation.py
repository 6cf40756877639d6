"""What a DataMoverRestore's spec may say; and that the words for a point mean one moment each."""

from typing import Any

import pytest

from datamover.api import points, reasons
from datamover.api.v1alpha1 import definition
from datamover.api.v1alpha1.restore import Bucket, NewClaim, RestoreSource, RestoreTarget
from datamover.api.v1alpha1.restore_validation import check_spec
from localkube.store.crds import _crd_faults
from support.builders import NOW
from support.restores import BUCKET, CLAIM, FROM_MOVER, restore


def into(**create: Any) -> RestoreTarget:
    return RestoreTarget(claim_name=CLAIM, create=NewClaim(**{"storage": "1Gi", **create}))


def bucket(**fields: Any) -> RestoreSource:
    return RestoreSource(bucket=Bucket(**{"secret_name": "storage-credentials", **fields}))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "neither source": ({"source": RestoreSource()}, "neither dataMover nor bucket"),
    "both sources": ({"source": RestoreSource(data_mover="a", bucket=BUCKET.bucket)}, "both dataMover and bucket"),
    "a DataMover that is no name": ({"source": RestoreSource(data_mover="A b")}, "spec.source.dataMover is 'A b'"),
    "a Secret that is no name": ({"source": bucket(secret_name="../x")}, "spec.source.bucket.secretName"),
    "a prefix that leads out": ({"source": bucket(prefix="a/../b")}, "spec.source.bucket.prefix"),
    "a prefix among the records": ({"source": bucket(prefix=".datamover")}, "spec.source.bucket.prefix"),
    "a volume without namespace": ({"source": bucket(source="app-data")}, "NAMESPACE/PVC"),
    "a volume with two slashes": ({"source": bucket(source="a/b/c")}, "NAMESPACE/PVC"),
    "a claim that is no name": ({"target": RestoreTarget(claim_name="")}, "spec.target.claimName"),
    "a size that is none": ({"target": into(storage="big")}, "spec.target.create.storage is 'big'"),
    "no size": ({"target": into(storage=0)}, "at least what comes back"),
    "a negative size": ({"target": into(storage="-1Gi")}, "at least what comes back"),
    "a class that is no name": ({"target": into(storage_class_name="Fast!")}, "spec.target.create.storageClassName"),
    "a claim that cannot be written": ({"target": into(access_modes=("ReadOnlyMany",))}, "'ReadOnlyMany'"),
    "no access mode": ({"target": into(access_modes=())}, "an empty list"),
    "an empty point": ({"point": ""}, "spec.point is ''"),
    "a point with a slash": ({"point": "a/b"}, "write latest, YYYY-MM-DD-HHMMSS"),
    "a moment without a zone": ({"point": "as-of:2024-08-06T14:30:00"}, "a moment with its zone"),
    "a day that there is not": ({"point": "as-of:2024-02-31"}, "a moment with its zone"),
    "an age that is none": ({"point": "as-of:2 hours"}, "spec.point"),
    "an absolute path": ({"path": "/etc"}, "without a slash at its beginning"),
    "a path that leads out": ({"path": "a/../../b"}, "without .."),
    "a path with a null": ({"path": "a\0b"}, "which no volume can have"),
    "a path that is too long": ({"path": "ä" * 2049}, "which no volume can have"),
    "another word for missing": ({"on_missing": "Ignore"}, "write Fail or Empty"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_with_the_way_out(case: str) -> None:
    fields, words = WRONG[case]
    spec = restore(**fields).spec
    assert spec is not None
    finding = check_spec(spec, now=NOW)
    assert finding is not None
    assert finding.reason == reasons.INVALID_SPEC
    assert words in finding.message


RIGHT: dict[str, dict[str, Any]] = {
    "a bucket": {},
    "a DataMover": {"source": FROM_MOVER},
    "a volume": {"source": bucket(source="shop/app-data", prefix="a/b")},
    "a new claim": {"target": into(storage="10Gi", storage_class_name="fast", access_modes=("ReadWriteMany",))},
    "two dots in a name": {"path": "a..b/..c"},
    "a timestamp": {"point": "2024-08-06-143052"},
    "a run": {"point": "20240806143052-8f14e45fceea"},
    "an age": {"point": "as-of:1h30m"},
}


@pytest.mark.parametrize("case", RIGHT)
def test_what_is_right_is_taken(case: str) -> None:
    spec = restore(**RIGHT[case]).spec
    assert spec is not None
    assert check_spec(spec, now=NOW) is None


@pytest.mark.parametrize(
    ("word", "settled"),
    [
        ("latest", "latest"),
        ("2024-08-06-143052", "2024-08-06-143052"),
        ("as-of:2024-08-06-143052", "as-of:2024-08-06-143052"),
        ("as-of:2024-08-05", "as-of:2024-08-05-235959"),
        ("as-of:90m", "as-of:2024-08-06-130052"),
        ("as-of:2024-08-06T16:00:00+02:00", "as-of:2024-08-06-140000"),
    ],
)
def test_a_word_is_settled_once_and_for_all(word: str, settled: str) -> None:
    assert points.settle(word, now=NOW) == settled
    assert points.settle(settled, now=NOW) == settled


def test_the_definition_is_one_that_a_server_takes() -> None:
    assert not list(_crd_faults(definition.data_mover_restore_crd()))
    names = definition.data_mover_restore_crd()["spec"]["names"]
    assert (names["plural"], names["shortNames"]) == ("datamoverrestores", ["dmr"])


def test_the_server_judges_no_status() -> None:
    version = definition.data_mover_restore_crd()["spec"]["versions"][0]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert "x-kubernetes-validations" not in str(status)
