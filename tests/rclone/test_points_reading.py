"""The paths of a point, its files and its differences: real engine and servers, runs of the real agent."""

import errno
import gzip
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from datamover.agent.errors import Failure
from datamover.agent.files import losses
from datamover.agent.points import difference, objects
from datamover.agent.points.difference import Compared
from datamover.agent.points.tree import Leaf, read_tree
from datamover.agent.restore import fetching, reasons
from datamover.agent.restore.fetching import Fetching
from datamover.agent.restore.taking import take
from datamover.agent.restore.wanted import File
from datamover.api import transfer
from rclone.test_points import mirror, timestamped
from support.agent import Container
from support.points import opened
from support.s3 import S3Server

NASTY = [
    b"-rf",
    b"two\nlines",
    b"bell\xc2\x9b31m",
    b"\xff\xfe\x80",
    "turned\u202egpj.exe".encode(),
    b"x" * 255,
    b" ",
    b"a:b",
    b"*",
]


def fill(container: Container) -> None:
    data = os.fsencode(container.data)
    os.makedirs(data + b"/sub/deep")
    os.mkdir(data + b"/empty")
    for number, name in enumerate(NASTY):
        with open(data + b"/sub/" + name, "wb") as file:
            file.write(b"%d" % number * (number + 1))
    (container.data / "sub/deep/a.txt").write_text("a")
    (container.data / "nothing").touch()
    os.symlink("../outside", container.data / "sub/link")
    os.mkfifo(container.data / "pipe")
    os.chmod(container.data / "sub/deep/a.txt", 0o4750)
    os.utime(container.data / "sub/deep/a.txt", ns=(1_700_000_000_123_456_789,) * 2)


def contents(top: Path) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            key = os.path.relpath(path, os.fsencode(top))
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif os.path.isdir(path):
                found[key] = None
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[key] = (file.read(), status.st_mode & 0o777, status.st_mtime_ns)
    return found


@pytest.mark.parametrize(
    ("run", "prefix"), [(mirror, ""), (timestamped, "2024-08-01-101500")], ids=["mirror", "timestamped"]
)
def test_names_of_any_kind_are_listed_read_and_brought(
    any_container: Container, any_s3: S3Server, tmp_path: Path, run, prefix: str
) -> None:
    fill(any_container)
    any_s3.make_folders(any_container.data, prefix)
    run(any_container, 1)
    with opened(any_s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        assert [leaf.path for leaf in tree.below(b"", deep=False)] == [b"empty", b"nothing", b"pipe", b"sub"]
        assert sorted(leaf.path for leaf in tree.below(b"sub", deep=False)) == sorted(
            [b"sub/" + name for name in (*NASTY, b"deep", b"link")]
        )
        for number, name in enumerate(NASTY):
            leaf = tree.find(b"sub/" + name)
            assert leaf is not None
            pieces: list[bytes] = []
            assert objects.stream(bucket, point, leaf, write=pieces.append).bytes == number + 1
            assert b"".join(pieces) == b"%d" % number * (number + 1)
        taken = take(bucket, point, tree, b"", str(tmp_path / "whole"))
        assert (taken.files, taken.links, taken.folders, taken.lost.count) == (len(NASTY) + 2, 1, 3, 0)
        expected = contents(any_container.data)
        assert contents(tmp_path / "whole") == expected
        assert os.stat(tmp_path / "whole/sub/deep/a.txt").st_mode & 0o7000 == 0
        take(bucket, point, tree, b"sub/deep", str(tmp_path / "part"))
        assert contents(tmp_path / "part") == {
            b"deep": None,
            b"deep/a.txt": expected[b"sub/deep/a.txt"],
        }


def test_nothing_is_replaced_unless_it_is_wanted(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "a.txt").write_text("theirs")
    (container.data / "b.txt").write_text("b")
    timestamped(container, 1)
    target = tmp_path / "target"
    target.mkdir()
    (target / "a.txt").write_text("mine")
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        with pytest.raises(Failure, match=r"1 of the paths are in .* already: 'a.txt'. Nothing was written"):
            take(bucket, point, tree, b"", str(target))
        assert {path.name: path.read_text() for path in target.iterdir()} == {"a.txt": "mine"}
        take(bucket, point, tree, b"", str(target), overwrite=True)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"a.txt": "theirs", "b.txt": "b"}


def test_a_folder_that_was_there_keeps_mode_and_time_unless_things_are_replaced(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    then, before = 1_500_000_000, 1_600_000_000
    folders = ("a", "a/b", "a/c", "a/empty")
    for name in folders:
        (container.data / name).mkdir(mode=0o750)
    for name in ("a/b/file", "a/c/file"):
        (container.data / name).write_text("theirs")
    for name in folders:
        os.utime(container.data / name, (then, then))
    timestamped(container, 1)
    target = tmp_path / "target"
    for name in (".", "a", "a/b", "a/empty"):
        (target / name).mkdir(mode=0o700)
    os.utime(target / "a/empty", (before, before))

    def modes() -> list[int]:
        return [(target / name).stat().st_mode & 0o7777 for name in folders]

    def times() -> list[int]:
        return [int((target / name).stat().st_mtime) for name in folders]

    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        assert take(bucket, point, tree, b"", str(target)).lost.count == 0
        assert modes() == [0o700, 0o700, 0o750, 0o700]
        assert then not in times()[:2]
        assert times()[2:] == [then, before]
        take(bucket, point, tree, b"", str(target), overwrite=True)
        assert modes() == [0o750] * 4
        assert times() == [then] * 4


def test_whatever_is_at_a_path_is_replaced_but_no_folder_with_something_in_it(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    def put(path: Path, kind: str, text: str) -> None:
        if kind == "file":
            path.write_text(text)
        elif kind == "link":
            path.symlink_to(text)
        else:
            path.mkdir()
            if kind == "full":
                (path / text).write_text(text)

    def read(path: Path) -> dict[str, str] | str:
        if path.is_dir() and not path.is_symlink():
            return {inner.name: inner.read_text() for inner in path.iterdir()}
        return f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text()

    target = tmp_path / "target"
    target.mkdir()
    kinds = ("file", "link", "empty", "full")
    for kind in kinds:
        for there in kinds:
            put(container.data / f"{kind}-for-{there}", kind, "theirs")
            put(target / f"{kind}-for-{there}", there, "mine")
    timestamped(container, 1)
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        taken = take(bucket, point, read_tree(bucket, point), b"", str(target), overwrite=True)
    assert [(loss.kind, set(loss.examples)) for loss in taken.lost.kinds()] == [
        (losses.IN_THE_WAY, {"file-for-full", "link-for-full"})
    ]
    theirs = {"file": "theirs", "link": "-> theirs", "empty": {}, "full": {"theirs": "theirs"}}
    expected = {f"{kind}-for-{there}": theirs[kind] for kind in kinds for there in kinds}
    for kind in kinds:
        expected[f"{kind}-for-full"] = {"mine": "mine"} | ({"theirs": "theirs"} if kind == "full" else {})
    assert {path.name: read(path) for path in target.iterdir()} == expected


class Died(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("step", ["symlink", "utime", "rename"])
def test_a_death_while_a_link_is_replaced_leaves_the_old_file(
    container: Container, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    os.symlink("theirs", container.data / "a")
    timestamped(container, 1)
    (tmp_path / "target").mkdir()
    (tmp_path / "target/a").write_text("mine")

    def die(*_: object, **__: object) -> None:
        raise Died

    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        monkeypatch.setattr(os, step, die)
        with pytest.raises(Died):
            take(bucket, point, tree, b"a", str(tmp_path / "target"), overwrite=True)
        monkeypatch.undo()
        assert (tmp_path / "target/a").read_text() == "mine"
        take(bucket, point, tree, b"a", str(tmp_path / "target"), overwrite=True)
    assert os.readlink(tmp_path / "target/a") == "theirs"


def test_no_folder_is_entered_through_a_link(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "sub").mkdir()
    (container.data / "sub/a.txt").write_text("theirs")
    timestamped(container, 1)
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    target.mkdir()
    (target / "sub").symlink_to(outside)
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        taken = take(bucket, point, read_tree(bucket, point), b"", str(target), overwrite=True)
    assert taken.lost.count == 0
    assert list(outside.iterdir()) == []
    assert (target / "sub/a.txt").read_text() == "theirs"
    assert not (target / "sub").is_symlink()


def test_an_object_that_is_another_one_by_now_is_told(container: Container, s3: S3Server, tmp_path: Path) -> None:
    for name, text in {"shorter": "12345", "longer": "12345", "gone": "12345", "whole": "12345"}.items():
        (container.data / name).write_text(text)
    timestamped(container, 1)
    folder = "2024-08-01-101500"
    s3.put({f"{folder}/shorter": "123", f"{folder}/longer": "1234567"})
    s3.remove(f"{folder}/gone")
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        for name, why in {
            "shorter": "3 of 5 bytes",
            "longer": "longer than the 5 bytes",
            "gone": "no such object",
        }.items():
            leaf = tree.find(name.encode())
            assert leaf is not None
            pieces: list[bytes] = []
            with pytest.raises(Failure, match=why) as caught:
                objects.stream(bucket, point, leaf, write=pieces.append)
            assert caught.value.reason == transfer.REASON_VERIFICATION_FAILED
            assert len(b"".join(pieces)) <= 5
        taken = take(bucket, point, tree, b"", str(tmp_path / "target"))
    assert (taken.files, taken.lost.count) == (1, 3)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["whole"]


def test_a_directory_that_is_full_is_told_and_left_as_it_was(
    container: Container, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container.data / "a.txt").write_text("12345")
    timestamped(container, 1)

    def fill_up(*_: object) -> None:
        raise reasons.full("no space left on device")

    monkeypatch.setattr(Fetching, "fetch", fill_up)
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        with pytest.raises(Failure, match=r"No space was left .* Nothing was written") as caught:
            take(bucket, point, read_tree(bucket, point), b"", str(tmp_path / "target"))
    assert (caught.value.reason, caught.value.failure_class) == (transfer.REASON_TARGET_TOO_SMALL, transfer.NO_SPACE)
    assert ".datamover-restore" not in caught.value.message
    assert not (tmp_path / "target").exists()


def test_a_place_for_temporary_files_that_is_full_is_told_as_that(
    container: Container, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container.data / "a.txt").write_text("12345")
    timestamped(container, 1)

    def full(path: object, mode: str) -> None:
        assert (os.path.basename(str(path)), mode) == ("wanted", "wb")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        monkeypatch.setattr(fetching, "open", full, raising=False)
        with pytest.raises(Failure, match="give TMPDIR a place with room") as caught:
            take(bucket, point, tree, b"", str(tmp_path / "target"))
    assert caught.value.reason == transfer.REASON_NO_LOCAL_SPACE
    assert not (tmp_path / "target").exists()


def test_what_is_waited_for_while_files_come_is_told(
    container: Container, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container.data / "a.txt").write_text("12345")
    timestamped(container, 1)
    fetch = Fetching.fetch

    def fetch_late(self: Fetching, files: Sequence[File]) -> None:
        self._report.wait("the server is away")
        self._report.wait("")
        fetch(self, files)

    monkeypatch.setattr(Fetching, "fetch", fetch_late)
    heard: list[str] = []
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        bucket.wait = heard.append
        point = bucket.choose("latest")
        take(bucket, point, read_tree(bucket, point), b"", str(tmp_path / "target"))
    assert heard[:2] == ["the server is away", ""]
    assert set(heard[2:]) <= {""}


def test_bytes_with_another_checksum_are_told(container: Container, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "a.txt").write_text("12345")
    timestamped(container, 1)
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        found = read_tree(bucket, point).find(b"a.txt")
        assert found is not None
        good = Leaf(found.entry, hashlib.md5(b"12345").digest())
        assert objects.stream(bucket, point, good, write=lambda _: None).summed
        with pytest.raises(Failure, match="another checksum"):
            objects.stream(bucket, point, Leaf(found.entry, hashlib.md5(b"12346").digest()), write=lambda _: None)


def test_a_point_is_compared_with_another_one_and_with_a_directory(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    for name in ("same", "changed", "gone", "touched"):
        (container.data / name).write_text(name)
    timestamped(container, 1)
    (container.data / "changed").write_text("other")
    (container.data / "gone").unlink()
    (container.data / "new").write_text("new")
    os.chmod(container.data / "touched", 0o600)
    timestamped(container, 2)
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        first, second = (bucket.choose(f"2024-08-0{day}-101500") for day in (1, 2))
        old, new = read_tree(bucket, first), read_tree(bucket, second)
        compared = Compared()
        changes = difference.compare(old, new, compared=compared)
        found = {change.path: (change.kind, change.what) for change in changes}
        assert found == {
            b"changed": (difference.CHANGED, (difference.CONTENTS, difference.TIME)),
            b"gone": (difference.GONE, ()),
            b"new": (difference.NEW, ()),
            b"touched": (difference.CHANGED, (difference.MODE,)),
        }
        changes = difference.compare(old, new, compared=Compared(), attributes=False)
        assert [change.path for change in changes] == [b"changed", b"gone", b"new"]
        take(bucket, second, new, b"", str(tmp_path / "target"))
        there = type(new)(str(tmp_path / "there"))
        difference.read_directory(str(tmp_path / "target"), there)
        with difference.file_sums(str(tmp_path / "target")) as sums:
            compared = Compared()
            assert list(difference.compare(new, there, sum_after=sums, compared=compared)) == []
            assert compared.result == difference.EQUAL
        there.close()


def test_checksums_of_the_manifest_find_what_has_the_size_alone(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    for name in ("whole", "flipped"):
        (container.data / name).write_text("12345")
    timestamped(container, 1)
    s3.put({"2024-08-01-101500/flipped": "12346"})
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        tree = read_tree(bucket, point)
        flipped, whole = tree.find(b"flipped"), tree.find(b"whole")
        assert flipped is not None
        assert whole is not None
        assert whole.md5 == hashlib.md5(b"12345").digest()
        with pytest.raises(Failure, match="another checksum"):
            objects.stream(bucket, point, flipped, write=lambda _: None)
        taken = take(bucket, point, tree, b"", str(tmp_path / "target"))
    assert (taken.files, taken.summed, taken.lost.count) == (1, 1, 1)


def test_a_manifest_that_is_not_the_one_that_the_outcome_names_is_refused(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "a.txt").write_text("a")
    run_id = timestamped(container, 1)
    path = s3.directory / "backups/.datamover/runs" / run_id / "manifest.jsonl.gz"
    path.write_bytes(path.read_bytes() + gzip.compress(b'{"type":"file","path":"more"}\n'))
    with opened(s3.secret(), tmp_path / "scratch") as bucket:
        point = bucket.choose("latest")
        with pytest.raises(Failure, match="cut off or replaced since") as caught:
            bucket.fetch_manifest(point)
    assert caught.value.reason == transfer.REASON_RECORD_UNUSABLE
