"""StorageProfiles: one for each class, with what is known of its driver, and what its users say before all."""

from typing import Any

import msgspec
import pytest

from datamover.api.cdi.storage_profile import StorageProfile
from datamover.plans.known import Known, Refusal
from datamover.plans.steps import REST, Create, Emit, Plan, WriteStatus
from datamover.reconcilers.storage_profile import existence
from datamover.reconcilers.storage_profile.decide import Facts, decide, describe
from datamover.volumes.drivers import ways_of
from kubekit.words.meta import ObjectMeta
from support import builders


def profile(**spec: Any) -> StorageProfile:
    return msgspec.convert({"metadata": {"name": "fast", "uid": "u"}, "spec": spec}, StorageProfile)


def status(
    found: StorageProfile, *, driver: str | None = "csi.example.com", snapshots: tuple[Any, ...] | None = None
) -> Any:
    of = builders.storage_class(provisioner=driver) if driver else None
    return msgspec.json.decode(msgspec.json.encode(describe(Facts(found, of, snapshots))))


def test_of_a_known_driver_the_best_way_comes_first() -> None:
    said = status(profile(), driver="openshift-storage.rbd.csi.ceph.com")
    assert said["claimPropertySets"][0] == {"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}
    assert said["cloneStrategy"] == "csi-clone"
    assert said["storageClass"] == "fast"
    assert said["dataImportCronSourceFormat"] == "pvc"


def test_of_an_unknown_driver_nothing_is_guessed() -> None:
    said = status(profile())
    assert "claimPropertySets" not in said
    assert said["provisioner"] == "csi.example.com"
    assert said["cloneStrategy"] == "copy"


def test_a_snapshot_class_of_the_driver_is_what_its_volumes_are_cloned_by() -> None:
    classes = (builders.volume_snapshot_class(name="b"), builders.volume_snapshot_class(name="a", default=True))
    said = status(profile(), snapshots=classes)
    assert (said["cloneStrategy"], said["snapshotClass"]) == ("snapshot", "a")


def test_what_users_say_wins() -> None:
    own = {
        "claimPropertySets": [{"accessModes": ["ReadOnlyMany"], "volumeMode": "Block"}],
        "cloneStrategy": "snapshot",
        "snapshotClass": "mine",
        "dataImportCronSourceFormat": "snapshot",
    }
    said = status(profile(**own), driver="rbd.csi.ceph.com", snapshots=(builders.volume_snapshot_class(),))
    assert {key: said[key] for key in own} == own


def test_of_a_class_that_is_gone_only_what_users_say_is_left() -> None:
    assert status(profile(cloneStrategy="copy"), driver=None) == {"storageClass": "fast", "cloneStrategy": "copy"}


def test_it_is_written_when_it_changes_and_then_no_more() -> None:
    facts = Facts(profile(), builders.storage_class())
    (step,) = decide(facts).steps
    assert isinstance(step, WriteStatus)
    written = msgspec.structs.replace(facts.profile, status=step.status)
    assert decide(Facts(written, builders.storage_class())) == REST


@pytest.mark.parametrize(
    "driver", ["rbd.csi.ceph.com", "x.rbd.csi.ceph.com", "cephfs.csi.ceph.com", "rancher.io/local-path"]
)
def test_known_drivers_have_a_way(driver: str) -> None:
    assert ways_of(driver)


@pytest.mark.parametrize("driver", ["", "evilrbd.csi.ceph.com", "kubernetes.io/no-provisioner"])
def test_names_that_only_look_like_a_drivers_are_unknown(driver: str) -> None:
    assert ways_of(driver) == ()


def of_class(**meta: Any) -> existence.ProfiledClass:
    return existence.ProfiledClass(metadata=ObjectMeta(name="fast", uid="class-1", **meta))


def test_a_class_gets_a_profile_that_goes_with_it() -> None:
    (step,) = existence.decide(existence.Facts(of_class(), exists=False)).steps
    assert isinstance(step, Create)
    (owner,) = step.manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("StorageClass", "class-1")
    assert step.manifest["metadata"]["name"] == "fast"


def test_nothing_is_done_where_there_is_one_or_the_class_goes() -> None:
    assert existence.decide(existence.Facts(of_class(), exists=True)) == REST
    going = of_class(deletion_timestamp="2026-11-30T00:00:00Z")
    assert existence.decide(existence.Facts(going, exists=False)) == REST


def test_a_refusal_is_told_once() -> None:
    known = Known(refusal=Refusal("Forbidden", "no", retry_after=9))
    plan = existence.decide(existence.Facts(of_class(), exists=False, known=known))
    (event,) = plan.steps
    assert isinstance(event, Emit)
    again = existence.decide(existence.Facts(of_class(), exists=False, known=Known(refusal=known.refusal, told=event)))
    assert again == Plan(wake_after=9)
