"""The claim of a DataVolume: what is completed, how large it is, what is copied onto it."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.api.cdi import names
from datamover.api.cdi.config import CDIConfig
from datamover.api.cdi.data_volume import DataVolume
from datamover.api.cdi.storage_profile import StorageProfile
from datamover.reconcilers.datavolume.ask import Ask, ask_of
from datamover.reconcilers.datavolume.claims import (
    ALIGNMENT,
    Data,
    Wanted,
    build_claim,
    choose_class,
    find_overhead,
    inflate,
    usable,
    want,
)
from datamover.volumes.binding import Obstacle
from kubekit.words.meta import ObjectMeta
from kubekit.words.storage import IS_DEFAULT_CLASS, StorageClass

GIB = 2**30
SIZE: dict[str, Any] = {"resources": {"requests": {"storage": "1Gi"}}}


def ask(*, metadata: dict[str, Any] | None = None, **spec: Any) -> Ask:
    manifest = {
        "metadata": {"name": "disk", "namespace": "apps", "uid": "u-1", **(metadata or {})},
        "spec": {"source": {"blank": {}}, **spec},
    }
    found = ask_of(msgspec.convert(manifest, DataVolume, strict=False))
    assert isinstance(found, Ask), found
    return found


def profile(*ways: tuple[list[str], str], own: tuple[list[str], str] | None = None) -> StorageProfile:
    def sets(found: Any) -> dict[str, Any]:
        return {"claimPropertySets": [{"accessModes": modes, "volumeMode": mode} for modes, mode in found]}

    manifest = {"metadata": {"name": "fast"}, "status": sets(ways), "spec": sets([own]) if own else {}}
    return msgspec.convert(manifest, StorageProfile, strict=False)


def config(**spec: Any) -> CDIConfig:
    return msgspec.convert({"metadata": {"name": "config"}, **spec}, CDIConfig, strict=False)


def wanted(asked: Ask, **around: Any) -> Wanted:
    found = want(asked, **{"storage_class": "fast", "profile": None, "config": None, **around})
    assert isinstance(found, Wanted), found
    return found


def test_a_disk_of_storage_has_its_size_and_the_claim_what_the_file_system_needs() -> None:
    found = wanted(ask(storage=SIZE))
    assert (found.target, found.request) == (GIB, inflate(GIB, Decimal("0.06")))
    assert found.request is not None
    assert found.request * 0.94 >= GIB


def test_a_claim_of_pvc_is_made_as_it_is_and_its_disk_is_what_finds_room() -> None:
    found = wanted(ask(pvc={"accessModes": ["ReadWriteOnce"], **SIZE}))
    assert found.request == GIB
    assert found.target == usable(GIB, Decimal("0.06")) < GIB


def test_a_device_has_no_file_system_to_leave_room_for() -> None:
    found = wanted(ask(storage={**SIZE, "volumeMode": "Block"}))
    assert (found.request, found.target, found.block) == (GIB, GIB, True)


def test_a_claim_that_is_too_small_for_any_disk_says_what_would_do() -> None:
    small = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Ki"}}}
    found = want(ask(pvc=small), storage_class="fast", profile=None, config=None)
    assert isinstance(found, Obstacle)
    assert "at least" in found.message


@pytest.mark.parametrize(
    ("storage", "ways", "modes", "mode"),
    [
        ({}, [(["ReadWriteMany"], "Block"), (["ReadWriteOnce"], "Filesystem")], ("ReadWriteMany",), "Block"),
        (
            {"volumeMode": "Filesystem"},
            [(["ReadWriteMany"], "Block"), (["ReadWriteOnce"], "Filesystem")],
            ("ReadWriteOnce",),
            "Filesystem",
        ),
        (
            {"accessModes": ["ReadWriteOnce"]},
            [(["ReadWriteMany"], "Block"), (["ReadWriteOnce"], "Filesystem")],
            ("ReadWriteOnce",),
            "Filesystem",
        ),
        (
            {"accessModes": ["ReadWriteMany"], "volumeMode": "Filesystem"},
            [(["ReadWriteMany"], "Block")],
            ("ReadWriteMany",),
            "Filesystem",
        ),
        ({}, [], ("ReadWriteOnce",), "Filesystem"),
    ],
)
def test_what_is_left_out_is_completed_from_the_class(
    storage: dict[str, Any], ways: list[tuple[list[str], str]], modes: tuple[str, ...], mode: str
) -> None:
    found = wanted(ask(storage={**SIZE, **storage}), profile=profile(*ways))
    assert (found.modes, found.volume_mode) == (modes, mode)


def test_what_users_say_of_a_class_counts_before_what_is_computed() -> None:
    said = profile((["ReadWriteMany"], "Block"), own=(["ReadWriteOnce"], "Filesystem"))
    assert wanted(ask(storage=SIZE), profile=said).volume_mode == "Filesystem"


@pytest.mark.parametrize(
    ("found", "share"),
    [
        (None, "0.06"),
        (config(spec={"filesystemOverhead": {"global": "0.1"}}), "0.1"),
        (config(spec={"filesystemOverhead": {"global": "0.1", "storageClass": {"fast": "0.2"}}}), "0.2"),
        (config(status={"filesystemOverhead": {"global": "0.3"}}), "0.3"),
        (config(spec={"filesystemOverhead": {"global": "1.5"}}), "0.06"),
        (config(spec={"filesystemOverhead": {"global": "-1"}}), "0.06"),
        (config(spec={"filesystemOverhead": {"global": "NaN", "storageClass": ["fast"]}}), "0.06"),
        (config(spec={"filesystemOverhead": {"global": 7}}), "0.06"),
    ],
)
def test_the_share_of_the_file_system_is_the_class_s_then_the_cluster_s(found: CDIConfig | None, share: str) -> None:
    assert find_overhead(found, "fast") == Decimal(share)


@given(size=st.integers(1, 2**50), percent=st.integers(0, 95))
def test_a_disk_always_finds_room_in_the_claim_that_is_made_for_it(size: int, percent: int) -> None:
    overhead = Decimal(percent) / 100
    claim = inflate(size, overhead)
    assert usable(claim, overhead) >= size
    assert usable(claim, overhead) % ALIGNMENT == 0


def named(name: str, *marks: str, made: str = "2026-01-01T00:00:00Z") -> StorageClass:
    annotations = dict.fromkeys(marks, "true")
    return StorageClass(metadata=ObjectMeta(name=name, annotations=annotations, creation_timestamp=made))


@pytest.mark.parametrize(
    ("classes", "completed", "chosen"),
    [
        ([], True, None),
        ([named("plain")], True, None),
        ([named("usual", IS_DEFAULT_CLASS)], True, "usual"),
        ([named("usual", IS_DEFAULT_CLASS), named("disks", names.DEFAULT_VIRT_CLASS)], True, "disks"),
        ([named("usual", IS_DEFAULT_CLASS), named("disks", names.DEFAULT_VIRT_CLASS)], False, "usual"),
        (
            [named("old", IS_DEFAULT_CLASS), named("new", IS_DEFAULT_CLASS, made="2026-02-01T00:00:00Z")],
            True,
            "new",
        ),
    ],
)
def test_the_class_is_the_default_of_disks_then_the_default_one(
    classes: list[StorageClass], completed: bool, chosen: str | None
) -> None:
    assert choose_class(ask(storage=SIZE).claim, classes, content="kubevirt", completed=completed) == chosen


def test_labels_and_annotations_are_copied_but_for_those_that_prove_something() -> None:
    annotations = {
        "example.com/team": "storage",
        names.DELETE_AFTER_COMPLETION: "true",
        names.IMPORT_OF: "cron-uid",
        names.POPULATED: "u-1",
        names.ADOPTED: "u-1",
        names.RECORD: "{}",
        names.STAMPED: "true",
        names.POPULATED_FOR: "disk",
        names.CREATED_FOR: "another",
        names.POD_PHASE: "Succeeded",
        names.GARBAGE_COLLECTED: "true",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    asked = ask(storage=SIZE, metadata={"labels": {"app": "db"}, "annotations": annotations})
    meta = build_claim(asked, wanted(asked), Data(), request=GIB)["metadata"]
    assert meta["labels"] == {"app": "db"}
    assert meta["annotations"] == {
        "example.com/team": "storage",
        names.DELETE_AFTER_COMPLETION: "true",
        names.IMPORT_OF: "cron-uid",
        names.CREATED_FOR: "u-1",
        names.CONTENT_TYPE: "kubevirt",
        names.PREALLOCATION: "false",
    }
    (owner,) = meta["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
        "DataVolume",
        "u-1",
        True,
        True,
    )


def test_a_claim_of_pvc_keeps_every_field() -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        **SIZE,
        "selector": {"matchLabels": {"tier": "a"}},
        "volumeName": "pv-7",
        "storageClassName": "",
        "volumeMode": "Block",
    }
    asked = ask(pvc=spec)
    made = build_claim(asked, wanted(asked, storage_class=""), Data(), request=GIB)
    assert msgspec.json.decode(msgspec.json.encode(made["spec"])) == spec
