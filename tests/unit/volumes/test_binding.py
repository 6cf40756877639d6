"""Which snapshot class is taken, and who binds a copy. What stands against a source is in the preflight's table."""

import pytest

from datamover.api import reasons
from datamover.reconcilers.datamover.order import FIELDS
from datamover.volumes.binding import Obstacle, binds_on_use, check_clone, choose_snapshot_class, is_bound
from support.builders import clone, persistent_volume, persistent_volume_claim, storage_class, volume_snapshot_class

A, B = volume_snapshot_class(name="a"), volume_snapshot_class(name="b")
DEFAULT = volume_snapshot_class(name="c", default=True)
FOREIGN = volume_snapshot_class(name="z", driver="other.example.com", default=True)
RETAINS = volume_snapshot_class(name="r", deletion_policy="Retain")
KEEPS = volume_snapshot_class(name="k", default=True, deletion_policy="Retain")

CHOICES = {
    "the wanted one": ((A, B), "b", "b"),
    "the wanted one, which is of another driver": ((A, FOREIGN), "z", None),
    "the only one of the driver": ((A, FOREIGN), None, "a"),
    "the default of several": ((A, B, DEFAULT), None, "c"),
    "one that is missing": ((A,), "x", None),
    "several without a default": ((B, A), None, None),
    "a default that retains, and one that does not": ((KEEPS, A), None, "a"),
    "a default that retains, and several that do not": ((KEEPS, A, B), None, "k"),
    "several, of which one does not retain": ((RETAINS, A), None, "a"),
    "the only one, which retains": ((RETAINS,), None, "r"),
    "the wanted one, which retains": ((RETAINS, A), "r", "r"),
    "two defaults": ((DEFAULT, volume_snapshot_class(name="d", default=True)), None, None),
    "none of the driver": ((FOREIGN,), None, None),
    "none at all": ((), None, None),
}


@pytest.mark.parametrize("case", CHOICES)
def test_snapshot_class(case: str) -> None:
    classes, wanted, expected = CHOICES[case]
    chosen = choose_snapshot_class(classes, wanted=wanted, driver="csi.example.com", fields=FIELDS)
    if expected is None:
        assert isinstance(chosen, Obstacle)
        assert chosen.reason == reasons.SNAPSHOT_CLASS_NOT_FOUND
        assert chosen.waits, "a class may appear"
    else:
        assert chosen.metadata.name == expected


@pytest.mark.parametrize("driver", ["", "kubernetes.io/aws-ebs", "other.example.com"])
def test_the_wanted_snapshot_class_is_believed_where_the_volumes_driver_may_be_its(driver: str) -> None:
    assert choose_snapshot_class((A, FOREIGN), wanted="z", driver=driver, fields=FIELDS) is FOREIGN


def test_who_binds() -> None:
    assert binds_on_use(storage_class(volume_binding_mode="WaitForFirstConsumer"))
    assert not binds_on_use(storage_class())
    assert not binds_on_use(None)
    assert is_bound(persistent_volume_claim())
    assert not is_bound(persistent_volume_claim(phase="Pending"))


def test_a_clone_that_no_csi_driver_made_is_no_clone() -> None:
    bound = clone(volume_name="pv-1")
    assert check_clone(bound, (persistent_volume(),), fields=FIELDS) is None
    assert check_clone(bound, (), fields=FIELDS) is None, "volumes may not be read"
    assert check_clone(bound, (persistent_volume(name="of-an-earlier-one", driver=None),), fields=FIELDS) is None
    assert check_clone(bound, (persistent_volume(driver=None, flex_driver="fake"),), fields=FIELDS) is None
    empty = check_clone(bound, (persistent_volume(driver=None),), fields=FIELDS)
    assert empty is not None
    assert empty.reason == reasons.CLASS_CANNOT_CLONE
    assert "no copy but an empty volume" in empty.message
