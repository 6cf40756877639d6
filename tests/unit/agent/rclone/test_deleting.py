"""What a mirror may delete: one rule, and each of its conditions."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.errors import Failure
from datamover.agent.files.walk import Tally
from datamover.agent.rclone import deleting
from datamover.agent.rclone.deleting import IN_SOURCE, MOVED, Deletions, reason_to_stay
from datamover.agent.rclone.ledger import Ledger
from datamover.api import transfer

Make = Callable[[Path], object]


def nothing(source: Path) -> None:
    pass


def linked_folder(source: Path) -> None:
    (source / "elsewhere").mkdir()
    (source / "elsewhere/x").touch()
    (source / "d").symlink_to("elsewhere")


def folder(source: Path) -> None:
    (source / "d/x").mkdir(parents=True)


def file_in_folder(source: Path) -> None:
    (source / "d").mkdir()
    (source / "d/x").touch()


CASES: dict[str, tuple[str, Make, str | None]] = {
    # key, what the source has, why the object stays
    "nothing is there": ("x", nothing, None),
    "nor is its folder": ("d/x", nothing, None),
    "the file is there": ("x", lambda source: (source / "x").touch(), IN_SOURCE),
    "the file is there, in a folder": ("d/x", file_in_folder, IN_SOURCE),
    "a folder has taken its name": ("d/x", folder, None),
    "its folder is a file now": ("d/x", lambda source: (source / "d").touch(), None),
    "a pipe has taken its name": ("x", lambda source: os.mkfifo(source / "x"), None),
    "a link has taken its name": ("x", lambda source: (source / "x").symlink_to("y"), None),
    "its folder is a link now": ("d/x", linked_folder, None),
    "the link is there": ("x.rclonelink", lambda source: (source / "x").symlink_to("/nowhere"), IN_SOURCE),
    "a file of the link's own name": ("x.rclonelink", lambda source: (source / "x.rclonelink").touch(), IN_SOURCE),
    "a file has taken the link's place": ("x.rclonelink", lambda source: (source / "x").touch(), None),
    "an odd name is there": ("a\u240ab", lambda source: (source / "a\nb").touch(), IN_SOURCE),
    "a key that no file can have, with NUL": ("a\u2400b", nothing, None),
    "a key that no file can have, with an empty part": ("d//x", file_in_folder, None),
    "a name longer than any": ("n" * 300, nothing, None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_look_at_the_source_decides(tmp_path: Path, case: str) -> None:
    key, make, expected = CASES[case]
    make(tmp_path)
    source = os.fsencode(tmp_path)
    assert reason_to_stay(source, key.encode(), uploaded=False, follows=False) == expected
    assert reason_to_stay(source, key.encode(), uploaded=True, follows=False) == MOVED


def test_names_are_bytes(tmp_path: Path) -> None:
    source = os.fsencode(tmp_path)
    open(source + b"/bad\xff", "wb").close()
    assert reason_to_stay(source, b"bad\xff", uploaded=False, follows=False) == IN_SOURCE
    assert reason_to_stay(source, b"bad\xfe", uploaded=False, follows=False) is None


def test_a_file_behind_a_link_counts_where_the_engine_follows_links(tmp_path: Path) -> None:
    linked_folder(tmp_path)
    source = os.fsencode(tmp_path)
    assert reason_to_stay(source, b"d/x", uploaded=False, follows=True) == IN_SOURCE
    assert reason_to_stay(source, b"d/y", uploaded=False, follows=True) is None


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize("code", [code for code in errno.errorcode if code not in deleting.GONE])
def test_every_other_error_keeps_the_object(monkeypatch: pytest.MonkeyPatch, code: int, follows: bool) -> None:
    def fail(path: bytes) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "lstat", fail)
    monkeypatch.setattr(os, "stat", fail)
    assert reason_to_stay(b"/data", b"x", uploaded=False, follows=follows) == os.strerror(code)
    assert reason_to_stay(b"/data", b"d/x.rclonelink", uploaded=False, follows=follows) == os.strerror(code)


def test_an_error_of_a_folder_above_keeps_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat

    def lstat(path: bytes) -> os.stat_result:
        if path.endswith(b"/d"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert reason_to_stay(os.fsencode(tmp_path), b"d/e/x", uploaded=False, follows=False) == "Stale file handle"


# --- an attempt's deletions -------------------------------------------------------------------------------------------


class Store:
    """Takes what is to be deleted as the destination does: all of it, and then it goes."""

    def __init__(self) -> None:
        self.deleted: list[bytes] = []

    def delete(self, keys: Iterable[bytes]) -> int:
        listed = list(keys)
        self.deleted += listed
        return len(listed)


class Stage:
    def __init__(self, source: Path, ledger: Ledger) -> None:
        self.source = source
        self.ledger = ledger
        self.store = Store()

    def mirror(self, *stale: str, source: tuple[str, ...] = ()) -> None:
        """A mirror of `stale`, which the walk has not met, and of `source`, which it has."""
        for key in source:
            (self.source / key).parent.mkdir(parents=True, exist_ok=True)
            (self.source / key).touch()
        self.ledger.add_source([(key.encode(), 0, 0) for key in source])
        self.ledger.add_known([(key.encode(), None, False) for key in stale], finished=True, again=False)
        self.ledger.add_remote([(key.encode(), 0) for key in stale])

    def deletions(self, *, frozen: bool, listed: bool = False) -> Deletions:
        return Deletions(
            self.ledger,
            source=os.fsencode(self.source),
            place="s3generic:backups/",
            frozen=frozen,
            follows=False,
            listed=listed,
            delete=self.store.delete,
        )


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    (tmp_path / "source").mkdir()
    ledger = Ledger(str(tmp_path / "ledger"))
    yield Stage(tmp_path / "source", ledger)
    ledger.close()


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_gone_is_deleted(stage: Stage, frozen: bool) -> None:
    stage.mirror("a", "d/b", source=("c",))
    deletions = stage.deletions(frozen=frozen)
    deletions.clear_the_way(Tally())
    assert stage.store.deleted == []
    deletions.sweep(Tally())
    assert stage.store.deleted == [b"a", b"d/b"]
    assert (deletions.count, deletions.spared) == (2, 0)


def came_back(stage: Stage) -> None:
    (stage.source / "back").touch()


def was_moved(stage: Stage) -> None:
    stage.ledger.add_uploaded([b"back"])


CONTRADICTIONS = {"the file came back": came_back, "the engine moved it": was_moved}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_frozen_copy_that_contradicts_the_walk_loses_nothing_and_is_tried_again(stage: Stage, case: str) -> None:
    stage.mirror("a", "back", "z")
    CONTRADICTIONS[case](stage)
    deletions = stage.deletions(frozen=True)
    with pytest.raises(Failure) as failed:
        deletions.sweep(Tally())
    assert stage.store.deleted == []
    assert (failed.value.failure_class, failed.value.reason) == (
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
    )
    assert failed.value.retryable
    for word in ("1 object(s)", "'back (", "Nothing was deleted", "tried again"):
        assert word in failed.value.message


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_live_source_that_changed_keeps_its_objects_and_says_so(stage: Stage, case: str) -> None:
    stage.mirror("a", "back", "z")
    CONTRADICTIONS[case](stage)
    deletions = stage.deletions(frozen=False)
    deletions.sweep(Tally())
    assert stage.store.deleted == [b"a", b"z"]
    assert (deletions.count, deletions.spared) == (2, 1)
    assert deletions.spared_names[0].startswith("back (")
    assert list(stage.ledger.spared()) == [b"back"]


@pytest.mark.parametrize("frozen", [False, True])
def test_nothing_is_deleted_while_anything_could_not_be_read(stage: Stage, frozen: bool) -> None:
    stage.mirror("a", "d/b")
    tally = Tally(unreadable=2, unreadable_names=["dir", "file"])
    deletions = stage.deletions(frozen=frozen)
    with pytest.raises(Failure) as failed:
        deletions.sweep(tally)
    assert stage.store.deleted == []
    assert failed.value.retryable
    for word in ("2 path(s)", "'dir', 'file'", "the 2 object(s)", "nothing was deleted", "fsGroup", "RCLONE_EXCLUDE"):
        assert word in failed.value.message


def test_what_cannot_be_read_is_no_failure_where_nothing_is_to_be_deleted(stage: Stage) -> None:
    stage.mirror(source=("c",))
    deletions = stage.deletions(frozen=True)
    deletions.clear_the_way(Tally(unreadable=1))
    deletions.sweep(Tally(unreadable=1))
    assert deletions.count == 0


def test_what_cannot_be_read_is_left_out_where_the_engine_could_list_what_the_filters_choose(stage: Stage) -> None:
    stage.mirror("a", "back")
    (stage.source / "back").touch()
    live = stage.deletions(frozen=False, listed=True)
    live.sweep(Tally(unreadable=1))
    assert stage.store.deleted == [b"a"]


def test_what_stands_in_the_way_goes_first_and_only_once(stage: Stage) -> None:
    stage.mirror("x", "other", source=("x/inner",))
    deletions = stage.deletions(frozen=True)
    deletions.clear_the_way(Tally())
    assert stage.store.deleted == [b"x"]
    deletions.sweep(Tally())
    assert stage.store.deleted == [b"x", b"other"]
    assert deletions.count == 2


def test_what_stands_in_the_way_is_under_the_same_rule(stage: Stage) -> None:
    stage.mirror("x", source=("x/inner",))
    with pytest.raises(Failure, match="could not be read"):
        stage.deletions(frozen=False).clear_the_way(Tally(unreadable=1, unreadable_names=["dir"]))
    (stage.source / "x/inner").unlink()
    (stage.source / "x").rmdir()
    (stage.source / "x").touch()
    with pytest.raises(Failure, match="Nothing was deleted"):
        stage.deletions(frozen=True).clear_the_way(Tally())
    assert stage.store.deleted == []
    live = stage.deletions(frozen=False)
    live.clear_the_way(Tally())
    live.sweep(Tally())
    assert stage.store.deleted == []


def test_many_objects_are_judged_one_by_one(stage: Stage) -> None:
    stage.mirror(*(f"f{number:05}" for number in range(2500)))
    for number in range(0, 2500, 2):
        (stage.source / f"f{number:05}").touch()
    deletions = stage.deletions(frozen=False)
    deletions.sweep(Tally())
    assert (deletions.count, deletions.spared, len(deletions.spared_names)) == (1250, 1250, 5)
    assert len(list(stage.ledger.spared())) == 1250


class Folding:
    """A volume that takes the letter case of names for nothing, as far as `lstat` goes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = os.lstat
        monkeypatch.setattr(os, "lstat", self)

    def __call__(self, path: bytes) -> os.stat_result:
        place = b"/"
        for part in path.split(b"/")[1:]:
            listed = os.listdir(place)
            place = os.path.join(
                place, next((name for name in listed if name == part), None) or self._fold(listed, part)
            )
        return self._real(place)

    @staticmethod
    def _fold(listed: list[bytes], part: bytes) -> bytes:
        return next((name for name in listed if name.lower() == part.lower()), part)


@pytest.mark.parametrize("frozen", [False, True])
def test_another_spelling_of_a_walked_file_goes(stage: Stage, monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    stage.mirror("README", "Docs/a", "LINK.rclonelink", source=("readme", "docs/a"))
    (stage.source / "link").symlink_to("readme")
    stage.ledger.add_source([(b"link.rclonelink", 6, 0)])
    Folding(monkeypatch)
    assert reason_to_stay(os.fsencode(stage.source), b"README", uploaded=False, follows=False) == IN_SOURCE
    stage.deletions(frozen=frozen).sweep(Tally())
    assert stage.store.deleted == [b"Docs/a", b"LINK.rclonelink", b"README"]


def test_another_spelling_of_a_file_that_was_not_walked_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.mirror("README")
    (stage.source / "readme").touch()
    Folding(monkeypatch)
    stage.deletions(frozen=False).sweep(Tally())
    assert stage.store.deleted == []


def test_another_name_of_the_same_file_is_no_other_spelling(stage: Stage) -> None:
    stage.mirror("second", source=("first",))
    os.link(stage.source / "first", stage.source / "second")
    stage.deletions(frozen=False).sweep(Tally())
    assert stage.store.deleted == []


some_keys = st.sets(st.sampled_from(["a", "b", "c", "d/a", "d/b", "d/e/a"]))


@given(
    known=some_keys, walked=some_keys, there=some_keys, moved=some_keys, frozen=st.booleans(), unreadable=st.booleans()
)
def test_no_object_goes_whose_file_is_there_or_was_moved(
    tmp_path_factory: pytest.TempPathFactory,
    known: set[str],
    walked: set[str],
    there: set[str],
    moved: set[str],
    frozen: bool,
    unreadable: bool,
) -> None:
    source = tmp_path_factory.mktemp("source")
    ledger = Ledger(":memory:")
    try:
        stage = Stage(source, ledger)
        stage.mirror(*known)
        ledger.add_source([(key.encode(), 0, 0) for key in walked])
        ledger.add_uploaded(key.encode() for key in moved)
        for key in there:
            (source / key).parent.mkdir(parents=True, exist_ok=True)
            (source / key).touch()
        failed = False
        try:
            stage.deletions(frozen=frozen).sweep(Tally(unreadable=int(unreadable)))
        except Failure:
            failed = True
        gone = {key.decode() for key in stage.store.deleted}
        expected = known - walked - there - moved
        if unreadable or (frozen and expected != known - walked):
            assert gone == set()
            assert failed == bool(known - walked)
        else:
            assert gone == expected
            assert not failed
    finally:
        ledger.close()
