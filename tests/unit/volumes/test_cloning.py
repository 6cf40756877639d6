"""How one claim becomes the copy of another, and what keeps it from being copied: who may be read, who copies, how large it gets."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed

from datamover.api.cdi.data_volume import DataVolume, DataVolumeStatus
from datamover.volumes.cloning import (
    Choice,
    CloneReason,
    Hindrance,
    Method,
    Target,
    check_snapshot,
    check_source,
    choose,
    choose_snapshot_class,
    has_grown,
    maker_of,
    size_from_snapshot,
)
from kubekit.words.core import (
    DriverVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    VolumeResources,
)
from kubekit.words.meta import ObjectMeta, OwnerReference
from kubekit.words.snapshot import VolumeSnapshot, VolumeSnapshotError, VolumeSnapshotStatus
from support.builders import storage_class, volume_snapshot_class

GI = 1 << 30
DRIVER = "csi.example.com"
CLONES = "hostpath.csi.k8s.io"


def claim(
    size: str = "1Gi",
    *,
    capacity: str | None = None,
    mode: str | None = None,
    phase: str = "Bound",
    owner: OwnerReference | None = None,
    going: bool = False,
) -> PersistentVolumeClaim:
    """A claim `golden` that has what it asked for."""
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="golden",
            namespace="default",
            uid="uid-of-golden",
            owner_references=(owner,) if owner else None,
            deletion_timestamp="2026-11-30T00:00:00Z" if going else None,
        ),
        spec=PersistentVolumeClaimSpec(
            volume_mode=mode, resources=VolumeResources(requests={"storage": size}), storage_class_name="fast"
        ),
        status=PersistentVolumeClaimStatus(phase=phase, capacity={"storage": capacity or size}),
    )


def volume(driver: str | None = CLONES) -> PersistentVolume:
    return PersistentVolume(
        metadata=ObjectMeta(name="pv"),
        spec=PersistentVolumeSpec(csi=DriverVolumeSource(driver) if driver is not None else None),
    )


def owned(uid: str = "uid-of-dv", *, group: str = "cdi.kubevirt.io", controller: bool = True) -> OwnerReference:
    return OwnerReference(
        api_version=f"{group}/v1beta1", kind="DataVolume", name="golden", uid=uid, controller=controller
    )


def maker(phase: str | None, *, uid: str = "uid-of-dv") -> DataVolume:
    status = DataVolumeStatus(phase=phase) if phase is not None else None
    return DataVolume(metadata=ObjectMeta(name="golden", uid=uid), status=status)


def target(driver: str = CLONES, **changes: object) -> Target:
    grows = changes.pop("grows", False)
    late = changes.pop("late", False)
    of = storage_class(provisioner=driver, volume_binding_mode="WaitForFirstConsumer" if late else "Immediate")
    made = Target("default", "Filesystem", GI, changed(of, allow_volume_expansion=bool(grows)))
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


# May the source be read?


@pytest.mark.parametrize(
    ("source", "dv", "users", "expected", "words"),
    [
        (None, None, "", CloneReason.SOURCE_MISSING, "does not exist"),
        (claim(going=True), None, "", CloneReason.SOURCE_TERMINATING, "is being deleted"),
        (claim(phase="Lost"), None, "", CloneReason.SOURCE_LOST, "lost its volume"),
        (claim(phase="Pending"), None, "", CloneReason.SOURCE_UNBOUND, "no volume yet"),
        (claim(), None, "Pod vm (Running, on node a)", CloneReason.SOURCE_IN_USE, "used by Pod vm"),
        (claim(owner=owned()), maker("ImportInProgress"), "", CloneReason.SOURCE_UNPOPULATED, "ImportInProgress"),
        (claim(owner=owned()), maker(None), "", CloneReason.SOURCE_UNPOPULATED, "not looked at yet"),
        (claim(owner=owned()), maker("Failed"), "", CloneReason.SOURCE_FAILED, "has failed"),
        (claim(owner=owned()), None, "", CloneReason.SOURCE_UNPOPULATED, "remove that ownerReference"),
        (claim(owner=owned()), maker("Succeeded", uid="a later one"), "", CloneReason.SOURCE_UNPOPULATED, "is gone"),
    ],
)
def test_a_claim_that_must_not_be_read_says_why(
    source: PersistentVolumeClaim | None,
    dv: DataVolume | None,
    users: str,
    expected: CloneReason,
    words: str,
) -> None:
    found = check_source("golden", source, maker=dv, users=users)
    assert found is not None
    assert found.reason == expected
    assert words in found.message


@pytest.mark.parametrize(
    ("source", "dv"),
    [
        (claim(), None),
        (claim(owner=owned()), maker("Succeeded")),
        (claim(owner=owned(controller=False)), None),
        (claim(owner=owned(group="somebody.else")), None),
    ],
)
def test_g7_a_claim_whose_datavolume_was_collected_counts_as_full(
    source: PersistentVolumeClaim, dv: DataVolume | None
) -> None:
    assert check_source("golden", source, maker=dv, users="") is None


def test_only_a_controller_of_the_group_fills_a_claim() -> None:
    assert maker_of(claim(owner=owned())) == owned()
    assert maker_of(claim(owner=owned(controller=False))) is None


# Who copies?

SNAPSHOTS = (volume_snapshot_class(driver=DRIVER, name="of-csi"), volume_snapshot_class(driver=CLONES, name="of-host"))

CHOICES = {
    "a driver that is known to clone": (claim(), CLONES, target(), None, Method.CSI_CLONE),
    "ceph, whatever the operator called it": (
        claim(),
        "rook.rbd.csi.ceph.com",
        target("rook.rbd.csi.ceph.com"),
        None,
        Method.CSI_CLONE,
    ),
    "a driver that snapshots, of which nobody knows more": (claim(), DRIVER, target(DRIVER), None, Method.SNAPSHOT),
    "a driver of which nobody knows anything": (claim(), "x.csi", target("x.csi"), None, Method.COPY),
    "a strategy: clone": (claim(), DRIVER, target(DRIVER), "csi-clone", Method.CSI_CLONE),
    "a strategy: snapshot": (claim(), CLONES, target(), "snapshot", Method.SNAPSHOT),
    "a strategy: snapshot, without a class": (claim(), "x.csi", target("x.csi"), "snapshot", Method.COPY),
    "a strategy: copy": (claim(), CLONES, target(), "copy", Method.COPY),
    "a strategy that there is not": (claim(), CLONES, target(), "magic", Method.CSI_CLONE),
    "another driver": (claim(), DRIVER, target(CLONES), None, Method.COPY),
    "a volume that no CSI driver made": (claim(), None, target(), None, Method.COPY),
    "another mode": (claim(mode="Block"), CLONES, target(), None, Method.COPY),
    "both of mode Block": (claim(mode="Block"), CLONES, target(volume_mode="Block"), None, Method.CSI_CLONE),
    "larger, and the class lets it grow": (claim(), CLONES, target(size=2 * GI, grows=True), None, Method.CSI_CLONE),
    "larger, and it cannot grow": (claim(), CLONES, target(size=2 * GI), None, Method.COPY),
    "without waiting for who uses it": (claim(), CLONES, target(immediate=True, late=True), None, Method.COPY),
    "on first use": (claim(), CLONES, target(late=True), None, Method.CSI_CLONE),
    "no class at all": (claim(), CLONES, target(storage_class=None), None, Method.COPY),
    "files": (claim(), CLONES, target(archive=True), None, Method.CSI_CLONE),
}


@pytest.mark.parametrize("case", CHOICES)
def test_who_copies(case: str) -> None:
    source, driver, wanted, strategy, expected = CHOICES[case]
    found = choose(source, wanted, volume=volume(driver), strategy=strategy, snapshot_classes=SNAPSHOTS)
    assert isinstance(found, Choice)
    assert found.method is expected
    assert (found.snapshot_class is not None) == (expected is Method.SNAPSHOT)


def test_a_volume_that_may_not_be_read_is_copied_byte_by_byte() -> None:
    found = choose(claim(), target(), volume=None, strategy="csi-clone", snapshot_classes=())
    assert isinstance(found, Choice)
    assert found.method is Method.COPY


@pytest.mark.parametrize(
    ("size", "capacity", "asked", "grows", "expected"),
    [
        ("1Gi", "1Gi", GI, False, ("1Gi", None)),
        ("1Gi", "2Gi", GI, False, ("2Gi", None)),  # the driver had rounded up, and refuses a smaller copy
        ("1Gi", "1Gi", 3 * GI, True, ("1Gi", str(3 * GI))),
        ("1Gi", "1Gi", None, False, ("1Gi", None)),
        ("1Gi", "2Gi", None, False, ("2Gi", None)),
    ],
)
def test_a_drivers_copy_is_as_large_as_its_source_and_grows_afterwards(
    size: str, capacity: str, asked: int | None, grows: bool, expected: tuple[str, str | None]
) -> None:
    wanted = target(size=asked, grows=grows)
    found = choose(claim(size, capacity=capacity), wanted, volume=volume(), strategy=None, snapshot_classes=())
    assert isinstance(found, Choice)
    assert found.method is Method.CSI_CLONE
    assert (found.size, found.grow_to) == expected


@pytest.mark.parametrize(
    ("source", "wanted", "expected"),
    [
        (claim("2Gi"), target(), CloneReason.TOO_SMALL),
        (claim(mode="Block"), target(archive=True), CloneReason.MODES_DIFFER),
        (claim(), target(archive=True, volume_mode="Block"), CloneReason.MODES_DIFFER),
        (claim("nonsense"), target(size=None), CloneReason.SOURCE_UNBOUND),
    ],
)
def test_what_cannot_be_copied_is_refused_with_a_way_out(
    source: PersistentVolumeClaim, wanted: Target, expected: CloneReason
) -> None:
    found = choose(source, wanted, volume=volume(), strategy=None, snapshot_classes=())
    assert isinstance(found, Hindrance)
    assert found.reason is expected


def test_a_disk_may_be_smaller_than_the_volume_that_it_leaves() -> None:
    """A file system has more room than its disk needs: only the worker can tell whether it fits."""
    found = choose(claim("2Gi"), target(volume_mode="Block"), volume=volume(), strategy=None, snapshot_classes=())
    assert isinstance(found, Choice)
    assert found.method is Method.COPY


def test_of_snapshot_classes_the_wanted_one_is_taken_and_one_that_keeps_data_last() -> None:
    keeps = volume_snapshot_class(driver=DRIVER, name="a", deletion_policy="Retain", default=True)
    plain, default = (
        volume_snapshot_class(driver=DRIVER, name="b"),
        volume_snapshot_class(driver=DRIVER, name="c", default=True),
    )
    classes = (keeps, plain, default)
    assert choose_snapshot_class(classes, driver=DRIVER, wanted=None) == "c"
    assert choose_snapshot_class(classes, driver=DRIVER, wanted="b") == "b"
    assert choose_snapshot_class(classes, driver=DRIVER, wanted="another") == "c"
    assert choose_snapshot_class((keeps,), driver=DRIVER, wanted=None) == "a"
    assert choose_snapshot_class(classes, driver="x.csi", wanted="b") is None


# From a snapshot.


def snapshot(
    *, ready: bool | None = True, size: str | None = "1Gi", error: str | None = None, going: bool = False
) -> VolumeSnapshot:
    return VolumeSnapshot(
        metadata=ObjectMeta(name="golden", deletion_timestamp="2026-11-30T00:00:00Z" if going else None),
        status=VolumeSnapshotStatus(
            ready_to_use=ready, restore_size=size, error=VolumeSnapshotError(message=error) if error else None
        ),
    )


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (None, CloneReason.SOURCE_MISSING, "does not exist"),
        (snapshot(going=True), CloneReason.SOURCE_TERMINATING, "being deleted"),
        (snapshot(ready=False), CloneReason.SNAPSHOT_NOT_READY, "not readyToUse"),
        (snapshot(ready=None), CloneReason.SNAPSHOT_NOT_READY, "not readyToUse"),
        (snapshot(ready=False, error="quota"), CloneReason.SNAPSHOT_NOT_READY, "its driver says: quota"),
    ],
)
def test_a_snapshot_that_cannot_be_used_says_why(
    found: VolumeSnapshot | None, expected: CloneReason, words: str
) -> None:
    hindrance = check_snapshot("golden", found)
    assert hindrance is not None
    assert hindrance.reason is expected
    assert words in hindrance.message


def test_a_snapshot_that_is_ready_can_be_used() -> None:
    assert check_snapshot("golden", snapshot()) is None


@pytest.mark.parametrize(
    ("size", "wanted", "expected"),
    [
        ("1Gi", target(), ("1073741824", None)),
        ("1Gi", target(size=None), ("1Gi", None)),
        ("1Gi", target(size=2 * GI), (str(2 * GI), None)),
        ("1Gi", target(size=2 * GI, grows=True), ("1Gi", str(2 * GI))),
        (None, target(), ("1073741824", None)),
    ],
)
def test_a_claim_from_a_snapshot_has_its_size(
    size: str | None, wanted: Target, expected: tuple[str, str | None]
) -> None:
    found = size_from_snapshot(snapshot(size=size), wanted, driver=CLONES)
    assert isinstance(found, Choice)
    assert (found.size, found.grow_to) == expected


@pytest.mark.parametrize(
    ("size", "wanted", "driver", "expected"),
    [
        ("2Gi", target(), CLONES, CloneReason.TOO_SMALL),
        (None, target(size=None), CLONES, CloneReason.TOO_SMALL),
        ("1Gi", target(), DRIVER, CloneReason.DRIVERS_DIFFER),
        ("1Gi", target(storage_class=None), None, CloneReason.DRIVERS_DIFFER),
        ("1Gi", target("kubernetes.io/aws-ebs"), None, CloneReason.DRIVERS_DIFFER),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(
    size: str | None, wanted: Target, driver: str | None, expected: CloneReason
) -> None:
    found = size_from_snapshot(snapshot(size=size), wanted, driver=driver)
    assert isinstance(found, Hindrance)
    assert found.reason is expected


def test_a_claim_has_grown_when_it_has_what_it_asks_for() -> None:
    assert has_grown(claim("1Gi"), "1Gi")
    assert not has_grown(claim("2Gi", capacity="1Gi"), "2Gi")
    assert not has_grown(PersistentVolumeClaim(), "1Gi")
