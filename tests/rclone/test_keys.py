"""Keys that no file's path becomes, and versions: what lies in a bucket by another's hand. Real engine; a store that takes every key."""

from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.memory_s3 import MemoryS3

MANY = {f"f{number:03}": f"contents {number}" for number in range(12)}
LOOK_ALIKES = {
    "/f000": "f000",
    "//f001": "f001",
    "f002//": "f002",
    "f003/": "f003",
    "./f004": "f004",
    "../f005": "f005",
    "x/../f006": "f006",
    "d//a": "d/a",
    "d/./a": "d/a",
    "d\uff0fa": "d/a",
    "\uff0e/f007": "f007",
    "\u2400": "NUL",
}
"""Keys beside the files that a careless hand would take for them."""
ORDINARY = ["#x", ";x", " x", "x ", "cr\r", "tab\t", "back\\slash", "e\u0301", "*", "{a}", "\u240a"]


def container_for(store: MemoryS3, root: Path) -> Container:
    container = Container(root / "container", store.secret())
    for name, content in (MANY | {"d/a": "in a folder"}).items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return container


@pytest.mark.parametrize("prefix", ["", "app"])
def test_look_alikes_of_live_files_are_kept_and_told_and_nothing_else_goes(
    store: MemoryS3, tmp_path: Path, prefix: str
) -> None:
    folder = f"{prefix}/" if prefix else ""
    container = container_for(store, tmp_path)
    settings = {"CUSTOM_PATH_PREFIX": prefix, "VERIFY_BACKUP": "true"}
    store.put({folder + key: "by hand" for key in LOOK_ALIKES} | {folder + "old": "an object as any"})
    refused = container.run(**settings)
    assert refused.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    adopted = container.run(**settings, DATAMOVER_ADOPT_DESTINATION="true")
    assert adopted.code == 0, adopted.output
    for _ in range(2):
        (container.data / "f011").unlink(missing_ok=True)
        ended = container.run(**settings)
        assert ended.code == 0, ended.output
        assert "12 object(s) have keys that no file's path becomes" in ended.outcome.message
        there = {
            key[len(folder) :]: content
            for key, content in store.objects(records=True).items()
            if ".datamover/" not in key
        }
        files = {name: content.encode() for name, content in MANY.items() if name != "f011"} | {"d/a": b"in a folder"}
        assert there == files | dict.fromkeys(LOOK_ALIKES, b"by hand")


def test_names_that_only_look_strange_come_and_go_as_any(store: MemoryS3, tmp_path: Path) -> None:
    container = container_for(store, tmp_path)
    for name in ORDINARY:
        (container.data / name).write_text(name)
    store.put(dict.fromkeys((f"old{name}" for name in ORDINARY), "adopted"))
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert adopted.code == 0, adopted.output
    assert set(store.objects()) == {*MANY, "d/a", *ORDINARY}
    for name in ORDINARY:
        (container.data / name).unlink()
    ended = container.run()
    assert (ended.code, ended.outcome.deleted) == (0, len(ORDINARY)), ended.output
    assert set(store.objects()) == {*MANY, "d/a"}


def test_an_object_that_is_not_found_under_its_listed_name_stays_and_is_told(store: MemoryS3, tmp_path: Path) -> None:
    """The engine lists a single quote of its own as two, and would look for two."""
    container = container_for(store, tmp_path)
    store.put({"q\u201bq": "not as rclone writes it", "old": "o"})
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert (adopted.code, adopted.outcome.deleted) == (0, 1), adopted.output
    again = container.run()
    assert (again.code, again.outcome.deleted) == (0, 0), again.output
    assert "1 object(s) stay" in again.outcome.message
    assert set(store.objects()) == {*MANY, "d/a", "q\u201bq"}


def test_two_objects_that_are_listed_by_one_name_both_stay(store: MemoryS3, tmp_path: Path) -> None:
    container = container_for(store, tmp_path)
    store.put({"\u201bFF": "one", "\u201bff": "two"})
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert (adopted.code, adopted.outcome.deleted) == (0, 0), adopted.output
    assert store.objects()["\u201bFF"] == b"one"
    assert store.objects()["\u201bff"] == b"two"


@pytest.mark.parametrize("variable", ["RCLONE_S3_VERSIONS", "RCLONE_CONFIG_S3GENERIC_VERSIONS"])
@pytest.mark.parametrize("adopt", ["true", "false"])
def test_no_version_is_ever_lost(tmp_path: Path, variable: str, adopt: str) -> None:
    with MemoryS3(versioned=True) as store:
        container = container_for(store, tmp_path)
        store.put({"old": "1"})
        store.put({"old": "2"})
        store.remove("old")
        assert container.run().code == 0
        (container.data / "f000").write_text("changed")
        (container.data / "f001").unlink()
        before = {key: list(versions) for key, versions in store.versions.items()}
        container.run(**{variable: "true"}, DATAMOVER_ADOPT_DESTINATION=adopt)
        assert container.run().code == 0
        for key, versions in before.items():
            assert store.versions[key][: len(versions)] == versions
        assert store.objects()["f000"] == b"changed"
        assert "f001" not in store.objects()
