"""What a manifest says that there is, held against listings."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.files.manifest import Entry, Header, Writer
from datamover.agent.verification.objects import Flaw, Objects
from datamover.api import transfer


def md5(text: bytes) -> bytes:
    return hashlib.md5(text).digest()


def write(path: Path, *entries: Entry, after: tuple[Entry, ...] = ()) -> str:
    writer = Writer(str(path), Header(run_id="run"))
    for entry in entries:
        writer.add(entry)
    writer.close()
    manifest.append(str(path), iter(after))
    return str(path)


def file(path: str, size: int = 1) -> Entry:
    return Entry(type=manifest.FILE, path=path, size=size)


def digest(path: str, text: bytes) -> Entry:
    return Entry(type=manifest.DIGEST, path=path, md5=md5(text).hex())


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[Objects]:
    opened = Objects(str(tmp_path / "objects"))
    yield opened
    opened.close()


def load(objects: Objects, tmp_path: Path, *entries: Entry, after: tuple[Entry, ...] = ()) -> bool:
    return objects.load(write(tmp_path / "manifest", *entries, after=after), tick=lambda: None)


def flaws(objects: Objects) -> dict[bytes, Flaw]:
    return {found.key: found.flaw for found in objects.flawed()}


def test_what_the_listing_shows_is_held_against_every_line(objects: Objects, tmp_path: Path) -> None:
    load(
        objects,
        tmp_path,
        *(file(name) for name in ("same", "gone", "longer", "another", "unsummed")),
        Entry(type=manifest.DIRECTORY, path="folder"),
        Entry(type=manifest.LINK, path="link", target="same"),
        Entry(type=manifest.STALE, path="deleted"),
        after=(
            digest("same", b"1"),
            digest("another", b"1"),
            digest("longer", b"1"),
            Entry(type=manifest.DIGESTS, entries=3),
        ),
    )
    objects.take_listing(
        [
            (b"same", 1, md5(b"1")),
            (b"longer", 2, md5(b"22")),
            (b"another", 1, md5(b"2")),
            (b"unsummed", 1, b""),
            (b"link.rclonelink", 4, md5(b"same")),
            (b"deleted", 1, b""),
            (b"more", 1, None),
        ]
    )
    objects.judge_listing()
    assert flaws(objects) == {
        b"gone": Flaw.MISSING,
        b"longer": Flaw.SIZE,
        b"another": Flaw.CHECKSUM,
        b"deleted": Flaw.EXTRA,
        b"more": Flaw.EXTRA,
    }
    assert objects.expected() == (6, 9)
    assert (objects.present(), objects.summed(), objects.unknown()) == (5, 4, 2)
    assert objects.counts() == {Flaw.MISSING: 1, Flaw.SIZE: 1, Flaw.CHECKSUM: 1, Flaw.EXTRA: 2}
    objects.take_listing([(key, 1, None) for key in (b"same", b"gone", b"longer", b"another", b"unsummed")])
    objects.judge_listing()
    assert flaws(objects) == {b"link.rclonelink": Flaw.MISSING}, "a later listing replaces the earlier one"


@pytest.mark.parametrize(
    ("lines", "after", "flaw"),
    [
        ([file("a"), manifest.about(manifest.EXCLUDED, b"a")], (), Flaw.EXTRA),
        ([file("a")], (manifest.about(manifest.VANISHED, b"a"),), Flaw.EXTRA),
        ([file("a", 9)], (manifest.about(manifest.KEPT, b"a"),), None),
        ([manifest.about(manifest.FOUND, b"a")], (), None),
        ([manifest.about(manifest.KEPT, b"a")], (file("a", 9),), Flaw.SIZE),
    ],
    ids=["excluded", "vanished", "outlived", "found", "came after all"],
)
def test_the_last_word_about_an_object_counts(
    objects: Objects, tmp_path: Path, lines: list[Entry], after: tuple[Entry, ...], flaw: Flaw | None
) -> None:
    load(objects, tmp_path, *lines, after=after)
    objects.take_listing([(b"a", 1, None)])
    objects.judge_listing()
    assert flaws(objects).get(b"a") == flaw
    assert objects.staying() == (flaw is None)


@pytest.mark.parametrize("path", ["../up", "/etc/passwd", "a//b", "a/./b", "nul\x00byte", ""])
def test_a_manifest_with_what_no_volume_has_is_refused(objects: Objects, tmp_path: Path, path: str) -> None:
    with pytest.raises(Failure) as caught:
        load(objects, tmp_path, file("good"), file(path))
    assert caught.value.reason == transfer.REASON_RECORD_UNUSABLE


def test_names_that_some_servers_list_in_another_way_are_noted(tmp_path: Path) -> None:
    for name, odd in (("plain", False), ("bell\x07", True), ("new\nline", False)):
        opened = Objects(":memory:")
        assert load(opened, tmp_path, file(name)) == odd
        opened.close()


def test_a_sample_is_of_what_has_a_checksum_and_each_seed_chooses_its_own(objects: Objects, tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(200)]
    load(objects, tmp_path, *map(file, [*names, "unsummed"]), after=tuple(digest(name, b"1") for name in names))
    rows = [(name.encode(), 1, None) for name in [*names[:-1], "unsummed"]]

    def draw(seed: str, percent: float) -> set[bytes]:
        other = Objects(":memory:")
        load(other, tmp_path, *map(file, [*names, "unsummed"]), after=tuple(digest(name, b"1") for name in names))
        other.take_listing(rows)
        other.judge_listing()
        other.choose(percent=percent, seed=seed)
        found = {key for key, _, _ in other.next_batch(objects=1000, size=1000)}
        assert other.wanted() == (len(found), len(found))
        other.close()
        return found

    assert len(draw("a", 10)) == 20
    assert draw("a", 10) == draw("a", 10) != draw("b", 10)
    assert draw("a", 10) < draw("a", 50)
    assert len(draw("a", 0.001)) == 1
    assert draw("a", 100) == {name.encode() for name in names[:-1]}


def test_batches_hold_so_many_objects_and_bytes_and_at_least_one(objects: Objects, tmp_path: Path) -> None:
    sizes = {"a": 5, "b": 5, "c": 90, "d": 1}
    load(objects, tmp_path, *(file(*each) for each in sizes.items()), after=tuple(digest(name, b"1") for name in sizes))
    objects.take_listing([(name.encode(), size, None) for name, size in sizes.items()])
    objects.judge_listing()
    objects.choose(percent=100, seed="")
    seen: list[list[bytes]] = []
    while batch := objects.next_batch(objects=2, size=10):
        seen.append([key for key, _, _ in batch])
        objects.settle((key, Flaw.CONTENTS if key == b"c" else None) for key, _, _ in batch)
    assert seen == [[b"a", b"b"], [b"c"], [b"d"]]
    assert objects.read() == 4
    assert flaws(objects) == {b"c": Flaw.CONTENTS}


def test_folders_of_other_copies_are_forgiven(objects: Objects, tmp_path: Path) -> None:
    load(objects, tmp_path, file("2024-08-01-101500/ours"))
    assert objects.has_below(b"2024-08-01-101500")
    assert not objects.has_below(b"2024-08-02-101500")
    objects.take_listing(
        [(b"2024-08-02-101500/a", 1, None), (b"2024-08-02-1015000", 1, None), (b"2024-08-01-101500/ours", 1, None)]
    )
    objects.judge_listing()
    objects.forgive_extra(b"2024-08-02-101500")
    assert flaws(objects) == {b"2024-08-02-1015000": Flaw.EXTRA}
