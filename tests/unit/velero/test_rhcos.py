import json

from datamover.velero.actions import Call
from datamover.velero.logs import Log
from datamover.velero.rhcos import SkipRhcosVolumes

action = SkipRhcosVolumes(Log("error"))


def test_claims_and_data_volumes_with_the_label_are_asked_for():
    assert action.selector.resources == ("persistentvolumeclaims", "datavolumes.cdi.kubevirt.io")
    assert action.selector.labels == "hypershift.openshift.io/is-kubevirt-rhcos"


def test_the_item_goes_back_with_the_annotation_that_skips():
    item = {"kind": "DataVolume", "metadata": {"name": "a", "annotations": {"x": "y"}}, "spec": {"n": 1}}
    done = action.execute(json.dumps(item).encode(), b"{}", Call())
    assert json.loads(done.item) == {
        "kind": "DataVolume",
        "metadata": {"name": "a", "annotations": {"x": "y", "velero.io/skip-from-backup": "true"}},
        "spec": {"n": 1},
    }
    assert done.operation == ""


def test_it_starts_no_operations():
    assert action.operations is None
