"""DataImportCrons whose server, neighbours or storage are bad: nothing is imported for ever, no good image is lost, nobody else's disk goes."""

from datetime import timedelta
from typing import Any

import pytest

from datamover.api.cdi.data_import_cron import DATA_IMPORT_CRONS
from datamover.api.cdi.data_volume import DATA_VOLUMES
from datamover.plans.known import UNKNOWN
from kubekit.words.core import PERSISTENT_VOLUME_CLAIMS
from support.image_cron import Images, name_of

IMPORT_OF = "datamover.a-cup-of.coffee/import-of"
WRITING = {"status": {"phase": "ImportInProgress"}}
FAILING = {"status": {"phase": "ImportInProgress", "restartCount": 1}}


def imported(number: int, **spec: Any) -> Images:
    """Images of which one is there and recorded."""
    images = Images(**spec)
    images.desire(number)
    images.settle()
    images.complete(name_of(number))
    images.settle()
    assert images.last_imported() == name_of(number)
    return images


def made(images: Images) -> list[str]:
    return [name for kind, name in images.created if kind == "DataVolume"]


def test_a_source_that_changes_faster_than_it_is_imported_is_imported_once_at_a_time_and_ends() -> None:
    images = Images(importsToKeep=2)
    images.desire(1)
    images.settle()
    writing = 1
    for number in range(2, 30):
        images.change(DATA_VOLUMES, name_of(writing), WRITING)
        images.desire(number)
        images.settle()
        assert images.condition("UpToDate") == ("False", "Outdated")
        assert len(images.names(DATA_VOLUMES)) <= 3, "one that is written, and two that stay"
        if number % 7 == 0:
            images.complete(name_of(writing))
            images.settle()
            assert images.last_imported() == name_of(writing)
            assert images.stands_for() == name_of(writing), "each that comes to its end is used"
            writing = number
    assert made(images) == [name_of(number) for number in (1, 7, 14, 21, 28)]


@pytest.mark.parametrize("collects", ["Outdated", "Never"])
@pytest.mark.parametrize("state", [None, FAILING], ids=["none begins", "each fails"])
def test_imports_that_never_come_to_an_end_do_not_pile_up(collects: str, state: Any) -> None:
    images = imported(1, garbageCollect=collects)
    for number in range(2, 20):
        images.known = UNKNOWN
        images.desire(number)
        images.settle()
        if state is not None:
            images.change(DATA_VOLUMES, name_of(number), state)
        assert images.names(DATA_VOLUMES) == {name_of(1), name_of(number)}
        assert images.stands_for() == name_of(1), "the last good one"
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1)}


def test_an_image_that_is_there_is_taken_at_once_though_another_one_is_being_written() -> None:
    images = imported(1)
    images.desire(2)
    images.settle()
    images.change(DATA_VOLUMES, name_of(2), WRITING)
    images.desire(1)
    images.settle()
    assert images.condition("UpToDate") == ("True", "UpToDate")
    assert images.stands_for() == name_of(1)
    assert images.names(DATA_VOLUMES) == {name_of(1)}


def test_the_last_good_image_stays_when_the_newest_has_lost_its_volume() -> None:
    images = imported(1, importsToKeep=1)
    images.desire(2)
    images.settle()
    images.complete(name_of(2))
    images.change(PERSISTENT_VOLUME_CLAIMS, name_of(2), {"status": {"phase": "Lost"}})
    images.settle()
    assert images.stands_for() == name_of(1)
    assert images.deleted == []
    assert images.condition("UpToDate") == ("False", "Outdated")
    images.desire(3)
    images.settle()
    images.complete(name_of(3))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(2), name_of(3)}, "what is lost is for somebody to look at"


def test_one_that_is_lost_after_it_was_the_newest_takes_nothing_with_it() -> None:
    images = imported(1, importsToKeep=2)
    images.desire(2)
    images.settle()
    images.complete(name_of(2))
    images.settle()
    images.change(PERSISTENT_VOLUME_CLAIMS, name_of(2), {"status": {"phase": "Lost"}})
    images.now += timedelta(days=1)
    images.settle()
    assert images.deleted == []
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1), name_of(2)}


def test_what_bears_the_mark_of_another_one_that_lives_stays_whatever_its_label() -> None:
    images = imported(1, importsToKeep=1)
    images.rivals = frozenset({"other"})
    images.claim("theirs", used="2026-01-01T00:00:00Z", annotations={IMPORT_OF: "other"})
    images.claim("orphan", used="2026-01-01T00:00:00Z", annotations={IMPORT_OF: "of-before"})
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1), "theirs"}
    tree = images.tree(PERSISTENT_VOLUME_CLAIMS, "theirs")
    assert tree is not None
    assert tree["metadata"]["annotations"][IMPORT_OF] == "other"


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"cdi.kubevirt.io/createdForDataVolume": "uid-of-a-user"}, id="a DataVolume of a user filled it"),
        pytest.param({"cdi.kubevirt.io/garbageCollected": "true"}, id="and was collected by a CDI"),
        pytest.param({"datamover.a-cup-of.coffee/collected-datavolume": "{}"}, id="and was collected by us"),
        pytest.param({IMPORT_OF: "other"}, id="another DataImportCron has taken it"),
    ],
)
def test_a_disk_of_a_user_that_has_the_name_of_an_import_is_neither_used_nor_marked(annotations: Any) -> None:
    images = Images()
    images.rivals = frozenset({"other"})
    images.claim(name_of(1), label=None, annotations=annotations)
    images.desire(1)
    images.settle()
    assert images.condition("UpToDate") == ("False", "NameTaken")
    assert images.writes == 1, "the status"


def test_one_that_was_made_again_under_its_name_uses_the_images_of_before_and_keeps_the_last() -> None:
    images = imported(1, importsToKeep=1)
    spec = images.trees["DataImportCron", "cron"]["spec"]
    images.trees.pop(("DataImportCron", "cron"))
    images.put(DATA_IMPORT_CRONS, "cron", spec=spec)
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1)}
    images.desire(2)
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(1)}, "before the new one is there"
    assert images.stands_for() == name_of(1)
    images.complete(name_of(2))
    images.settle()
    assert images.names(PERSISTENT_VOLUME_CLAIMS) == {name_of(2)}


@pytest.mark.parametrize("said", ["yesterday", "", "9999-12-31T23:59:59.999999999Z", "2026-11-30T11:00:00.123456789Z"])
def test_a_time_that_somebody_has_written_does_not_make_it_write_for_ever(said: str) -> None:
    images = imported(1)
    images.change(
        PERSISTENT_VOLUME_CLAIMS,
        name_of(1),
        {"metadata": {"annotations": {"cdi.kubevirt.io/storage.import.lastUseTime": said}}},
    )
    images.settle()
    before = images.writes
    images.now += timedelta(days=1)
    images.settle()
    assert images.writes == before
    assert images.deleted == []
