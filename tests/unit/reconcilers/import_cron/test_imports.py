"""DataImportCrons: what is imported, what stays, what goes, and what is never touched."""

from datetime import timedelta
from typing import Any

import pytest

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_source import DATA_SOURCES
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.known import UNKNOWN
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.image_cron import DIGEST, LABEL, Images, name_of

STALE = ("old-0", "old-1", "old-2")


def with_stale(images: Images, **changes: Any) -> Images:
    for number, name in enumerate(STALE):
        images.claim(name, used=f"2026-11-0{number + 1}T00:00:00Z", **changes)
    return images


def test_g15_what_was_imported_before_is_used_again_and_the_least_recently_used_goes() -> None:
    images = Images(importsToKeep=2)
    for number in range(3):
        images.claim(name_of(number), label=None)
    seen = [""]
    for number in (0, 1, 0, 2):
        images.desire(number)
        images.settle()
        assert images.last_imported() == name_of(number)
        assert images.stands_for() == name_of(number)
        assert images.condition("UpToDate") == ("True", "UpToDate")
        seen.append(images.used(name_of(number)))
    assert seen == sorted(set(seen)), "the time of the last use grows"
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(0), name_of(2)}, "1 was used before 0"
    assert ("DataVolume", name_of(0)) not in images.created
    assert images.names(DATA_VOLUMES) == set(), "nothing is imported twice"


def test_g16_a_new_import_leaves_the_number_that_stays_and_takes_an_old_datavolume_along() -> None:
    images = with_stale(Images(importsToKeep=2))
    images.put(DATA_VOLUMES, "ancient", metadata={"labels": {LABEL: "cron"}}, spec={})
    images.desire(7)
    images.settle()
    assert images.created == [("DataVolume", name_of(7)), ("DataSource", "fedora")]
    assert images.condition("Progressing") == ("True", "ImportProgressing")
    assert images.deleted == [], "before the new one is there nothing goes"
    images.complete(name_of(7))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7), "old-2"}
    assert images.names(DATA_VOLUMES) == {name_of(7)}
    assert images.used(name_of(7)) > "2026-11-30"
    assert images.condition("Progressing")[0] == "False"
    assert images.told.count("ImportDeleted") == 2
    assert images.told.count("ImportAbandoned") == 1, "the old DataVolume never came to its end"


def test_an_import_counts_as_done_when_its_datavolume_was_collected() -> None:
    images = Images()
    images.desire(1)
    images.settle()
    images.complete(name_of(1))
    images.collect(name_of(1))
    images.settle()
    assert images.last_imported() == name_of(1)
    before = images.writes
    images.now += timedelta(days=1)
    images.settle()
    assert images.writes == before, "nothing changes, nothing is written"
    assert images.created == [("DataVolume", name_of(1)), ("DataSource", "fedora")]


def test_collection_after_it_was_recorded_changes_nothing() -> None:
    images = Images()
    images.desire(1)
    images.settle()
    images.complete(name_of(1))
    images.settle()
    before = images.writes
    images.collect(name_of(1))
    images.settle()
    assert images.writes == before


def test_a_claim_that_nobody_fills_is_neither_done_nor_imported_over() -> None:
    images = Images()
    images.claim(name_of(1), phase="Pending")
    images.desire(1)
    images.settle()
    assert images.names(DATA_VOLUMES) == set()
    assert images.last_imported() is None
    assert images.condition("UpToDate") == ("False", "Outdated")


def test_an_import_that_somebody_deletes_is_made_again() -> None:
    images = Images()
    images.desire(1)
    images.settle()
    images.complete(name_of(1))
    images.settle()
    images.remove(DATA_VOLUMES, name_of(1))
    assert images.tree(PERSISTENT_VOLUME_CLAIMS, name_of(1)) is None
    images.settle()
    assert images.names(DATA_VOLUMES) == {name_of(1)}


def test_the_datasource_goes_on_standing_for_the_last_import_until_the_next_is_there() -> None:
    images = Images()
    images.desire(1)
    images.settle()
    assert images.stands_for() == name_of(1), "the first one it waits for"
    images.complete(name_of(1))
    images.desire(2)
    images.settle()
    assert images.stands_for() == name_of(1)
    images.complete(name_of(2))
    images.settle()
    assert images.stands_for() == name_of(2)


def test_an_import_that_was_overtaken_goes_when_the_newer_one_is_there() -> None:
    images = Images()
    images.desire(1)
    images.settle()
    images.desire(2)
    images.settle()
    assert images.names(DATA_VOLUMES) == {name_of(1), name_of(2)}
    images.complete(name_of(2))
    images.settle()
    assert images.names(DATA_VOLUMES) == {name_of(2)}


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ({}, 3),
        ({"importsToKeep": 0}, 1),
        ({"importsToKeep": -5}, 1),
        ({"importsToKeep": 9}, 4),
        ({"garbageCollect": "Never", "importsToKeep": 1}, 4),
    ],
)
def test_so_many_imports_stay(spec: dict[str, Any], left: int) -> None:
    images = with_stale(Images(**spec))
    images.desire(7)
    images.settle()
    images.complete(name_of(7))
    images.settle()
    found = images.names(PERSISTENT_VOLUME_CLAIMS)
    assert len(found) == left
    assert name_of(7) in found


OWNER = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "vm", "uid": "vm-1", "controller": True}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"metadata": {"ownerReferences": [OWNER]}}, id="a virtual machine owns it"),
        pytest.param({"metadata": {"labels": {LABEL: "another"}}}, id="it is another one's"),
        pytest.param({"metadata": {"labels": None}}, id="it is nobody's"),
        pytest.param({"metadata": {"deletionTimestamp": "2026-11-30T11:00:00Z"}}, id="it is going already"),
    ],
)
def test_what_is_not_an_import_of_ours_stays(change: dict[str, Any]) -> None:
    images = with_stale(Images(importsToKeep=1))
    images.change(PERSISTENT_VOLUME_CLAIMS, "old-0", change)
    images.desire(7)
    images.settle()
    images.complete(name_of(7))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7), "old-0"}
    assert ("PersistentVolumeClaim", "old-0") not in images.deleted


@pytest.mark.parametrize(
    "source",
    [
        {"source": {"pvc": {"name": "old-0", "namespace": "images"}}},
        {"source": {"pvc": {"name": "old-0"}}},
        {"sourceRef": {"kind": "DataSource", "name": "mine"}},
    ],
)
def test_an_image_that_somebody_clones_from_stays_until_the_clone_has_ended(source: dict[str, Any]) -> None:
    images = with_stale(Images(importsToKeep=1))
    images.put(DATA_SOURCES, "mine", spec={"source": {"pvc": {"name": "old-0"}}})
    images.put(DATA_VOLUMES, "clone", spec=source, status={"phase": "CloneInProgress"})
    images.desire(7)
    images.settle()
    images.complete(name_of(7))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7), "old-0"}
    images.change(DATA_VOLUMES, "clone", {"status": {"phase": "Succeeded"}})
    images.known = UNKNOWN
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7)}


def test_an_image_that_a_driver_clones_from_stays() -> None:
    images = with_stale(Images(importsToKeep=1))
    source = {"kind": "PersistentVolumeClaim", "name": "old-1"}
    images.put(PERSISTENT_VOLUME_CLAIMS, "clone", spec={"dataSource": source}, status={"phase": "Pending"})
    images.desire(7)
    images.settle()
    images.complete(name_of(7))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7), "old-1", "clone"}


def test_a_clone_by_way_of_the_datasource_keeps_what_that_may_have_stood_for() -> None:
    """It began while 1 was the newest, and 2 has followed: it reads one of the two, and nobody knows which."""
    images = Images(importsToKeep=1)
    for number in (0, 1):
        images.claim(name_of(number))
        images.desire(number)
        images.settle()
        images.now += timedelta(minutes=1)
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1)}
    reference = {"sourceRef": {"kind": "DataSource", "name": "fedora"}}
    images.put(DATA_VOLUMES, "clone", spec=reference, status={"phase": "CloneInProgress"})
    for number in (2, 3):
        images.now += timedelta(minutes=1)
        images.claim(name_of(number))
        images.desire(number)
        images.settle()
    assert name_of(1) in images.names(PERSISTENT_VOLUME_CLAIMS)
    images.change(DATA_VOLUMES, "clone", {"status": {"phase": "Succeeded"}})
    images.known = UNKNOWN
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(3)}


@pytest.mark.parametrize("said", ["Pod vm (Running, on node a)", None], ids=["mounted", "nobody may look"])
def test_an_image_that_a_pod_mounts_stays_and_the_others_go(said: str | None) -> None:
    images = with_stale(Images(importsToKeep=1))
    images.users["old-0"] = said
    images.desire(7)
    images.settle()
    images.complete(name_of(7))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7), "old-0"}
    assert images.plan().wake_after, "it is looked at again"


@pytest.mark.parametrize(
    "taken", [{"label": "another"}, {"label": None, "ownerReferences": [OWNER]}, {"ownerReferences": [OWNER]}]
)
def test_what_has_the_name_of_an_import_and_is_somebody_elses_is_left_alone(taken: dict[str, Any]) -> None:
    images = Images()
    images.claim(name_of(1), **taken)
    images.desire(1)
    images.settle()
    assert images.condition("UpToDate") == ("False", "NameTaken")
    assert images.created == []
    assert images.used(name_of(1)) == ""
    images.remove(PERSISTENT_VOLUME_CLAIMS, name_of(1))
    images.settle()
    assert ("DataVolume", name_of(1)) in images.created


def test_a_datasource_of_the_user_is_not_moved() -> None:
    images = Images()
    images.put(DATA_SOURCES, "fedora", spec={"source": {"pvc": {"name": "mine"}}})
    images.claim(name_of(1))
    images.desire(1)
    images.settle()
    assert images.stands_for() == "mine"
    assert images.condition("UpToDate") == ("True", "UpToDate")


@pytest.mark.parametrize(("policy", "left"), [(None, {name_of(1)}), ("All", {name_of(1)}), ("None", set())])
def test_imports_outlive_it_unless_they_are_to_go_with_it(policy: str | None, left: set[str]) -> None:
    images = Images(**({"retentionPolicy": policy} if policy else {}))
    images.desire(1)
    images.settle()
    images.complete(name_of(1))
    images.settle()
    images.collect(name_of(1))
    images.settle()
    images.remove(DATA_IMPORT_CRONS, "cron")
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == left
    assert bool(images.names(DATA_SOURCES)) == bool(left)


def test_imports_are_let_go_when_they_are_to_outlive_it_after_all() -> None:
    images = Images(retentionPolicy="None")
    images.desire(1)
    images.settle()
    images.complete(name_of(1))
    images.settle()
    images.change(DATA_IMPORT_CRONS, "cron", {"spec": {"retentionPolicy": "All"}})
    images.settle()
    images.remove(DATA_IMPORT_CRONS, "cron")
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1)}
    assert images.names(DATA_SOURCES) == {"fedora"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"managedDataSource": ""}, "InvalidSpec"),
        ({"managedDataSource": "Not/A/Name"}, "InvalidSpec"),
        ({"managedDataSource": "a" * 250}, "InvalidSpec"),
        ({"schedule": "every day"}, "InvalidSpec"),
        ({"schedule": "0 0 30 2 *"}, "InvalidSpec"),
        ({"garbageCollect": "Always"}, "InvalidSpec"),
        ({"retentionPolicy": "Some"}, "InvalidSpec"),
        ({"template": {}}, "InvalidSpec"),
        ({}, "UnsupportedSource"),
        ({"template": {"spec": {"source": {"http": {"url": "https://a.example/x"}}}}}, "NoDigest"),
    ],
)
def test_what_cannot_be_done_says_why_and_makes_nothing(spec: dict[str, Any], reason: str) -> None:
    images = Images(**spec)
    images.settle()
    assert images.condition("UpToDate") == ("False", reason)
    assert images.created == []


@pytest.mark.parametrize(
    "said", ["sha256:", "sha256:123", "md5:0123456789ab", "sha256:../../../../etc", "sha256:" + "0" * 999, "x" * 99]
)
def test_a_digest_that_is_none_is_refused(said: str) -> None:
    images = Images()
    images.change(DATA_IMPORT_CRONS, "cron", {"metadata": {"annotations": {DIGEST: said}}})
    images.settle()
    assert images.condition("UpToDate") == ("False", "InvalidDigest")
    assert images.created == []


def test_the_datavolume_has_what_the_template_says_and_whose_it_is() -> None:
    template = {
        "metadata": {"labels": {"os": "fedora", LABEL: "a lie"}, "annotations": {"note": "x"}},
        "spec": {
            "source": {"registry": {"url": "docker://q.example/f"}},
            "storage": {"resources": {"requests": {"storage": "5Gi"}}},
        },
    }
    images = Images(template=template, serviceAccountName="importer")
    images.desire(1)
    images.settle()
    made = images.tree(DATA_VOLUMES, name_of(1))
    assert made is not None
    assert made["metadata"]["labels"] == {"os": "fedora", LABEL: "cron"}
    assert made["metadata"]["annotations"]["note"] == "x"
    assert made["metadata"]["annotations"]["cdi.kubevirt.io/storage.bind.immediate.requested"] == "true"
    assert made["spec"] == {**template["spec"], "serviceAccountName": "importer"}  # type: ignore[dict-item]


@pytest.mark.parametrize("number", range(14))
def test_whoever_dies_anywhere_the_next_one_goes_on_and_the_end_is_the_same(number: int) -> None:
    images = with_stale(Images(importsToKeep=2))
    images.put(DATA_VOLUMES, "ancient", metadata={"labels": {LABEL: "cron"}}, spec={})
    images.desire(7)
    images.settle(steps=number)
    images.settle()
    images.complete(name_of(7))
    images.settle(steps=number)
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(7), "old-2"}
    assert images.names(DATA_VOLUMES) == {name_of(7)}
    assert images.last_imported() == images.stands_for() == name_of(7)
    assert images.created.count(("DataVolume", name_of(7))) == 1
