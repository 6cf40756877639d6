"""The parts of a restore: words for paths, names that a file system folds, checksums of a manifest, what people are told of progress."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from datamover.agent.files import manifest
from datamover.agent.restore.candidate import look
from datamover.agent.restore.entry import known_sums
from datamover.agent.restore.folding import fold_by
from datamover.agent.restore.order import Order, read_path
from datamover.agent.restore.wanted import State, Wanted
from datamover.api import transfer
from datamover.cli.points.meter import Meter, describe


@pytest.mark.parametrize(
    ("text", "raw"),
    [("", b""), ("/", b""), (".", b""), ("./a/", b"a"), ("/a/b", b"a/b"), ("a\udcff", b"a\xff"), ("a/ b", b"a/ b")],
)
def test_a_path_is_read_as_people_write_it(text: str, raw: bytes) -> None:
    assert read_path(text) == raw


@pytest.mark.parametrize("text", ["..", "a/../b", "a//b", "a/./b", "a\0b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no path within a volume"):
        read_path(text)


def test_names_are_folded_as_the_file_system_does() -> None:
    assert fold_by(case=False, form=False) is None
    case, form = fold_by(case=True, form=False), fold_by(case=False, form=True)
    assert case is not None
    assert form is not None
    assert case(b"Ab/C\xff") == case(b"aB/c\xff") != case(b"ab/c\xfe")
    assert form("\u00e9".encode()) == form("e\u0301".encode()) != form(b"e")
    assert case("\u00e9".encode()) != case("e\u0301".encode())


def written(path: Path, *entries: manifest.Entry) -> str:
    writer = manifest.Writer(str(path), manifest.Header(run_id="run-1"))
    for entry in entries:
        writer.add(entry)
    writer.close()
    return str(path)


def test_paths_that_would_be_one_are_found_folders_among_them(tmp_path: Path) -> None:
    path = written(
        tmp_path / "manifest",
        manifest.Entry(type=manifest.FILE, path="Readme"),
        manifest.Entry(type=manifest.DIRECTORY, path="README"),
        manifest.Entry(type=manifest.LINK, path="readme", target="x"),
        manifest.Entry(type=manifest.FILE, path="other"),
    )
    wanted = Wanted(str(tmp_path / "table"))
    order = Order(directory="x")
    wanted.load(path, order, tick=lambda: None)
    fold = fold_by(case=True, form=False)
    assert fold
    wanted.fold(path, order, fold)
    names, count = wanted.collisions()
    assert (set(names), count) == ({"Readme", "README", "readme"}, 3)
    wanted.close()


def test_a_manifest_without_checksums_has_none_and_one_that_lost_some_is_damaged(tmp_path: Path) -> None:
    path = written(tmp_path / "manifest", manifest.Entry(type=manifest.FILE, path="a"))
    assert list(known_sums(path)) == []
    manifest.append(path, iter([manifest.Entry(type=manifest.DIGESTS, entries=2)]))
    with pytest.raises(ValueError, match="checksums"):
        list(known_sums(path))


def test_what_a_run_did_not_move_is_not_wanted_and_holes_need_no_room(tmp_path: Path) -> None:
    path = written(
        tmp_path / "manifest",
        manifest.Entry(type=manifest.FILE, path="here", size=5000),
        manifest.Entry(type=manifest.FILE, path="disk", size=1 << 40, sparse=True),
        manifest.Entry(type=manifest.FILE, path="left-out", size=7),
        manifest.about(manifest.EXCLUDED, b"left-out"),
    )
    wanted = Wanted(str(tmp_path / "table"))
    wanted.load(path, Order(directory="x"), tick=lambda: None)
    assert (wanted.room.files, wanted.room.bytes, wanted.room.blocks) == (2, 5000 + (1 << 40), 8192)
    assert [file.key for file in wanted.next_batch(State.WANTED, files=9, size=1)] == [b"here"]
    assert wanted.next_sparse(State.WANTED) is not None
    wanted.close()


def test_small_files_are_brought_before_large_ones_and_never_together(tmp_path: Path) -> None:
    sizes = {"large": 65 << 20, "a": 1 << 20, "medium": (1 << 20) + 1, "b": 0, "huge": 1 << 40}
    path = written(
        tmp_path / "manifest", *(manifest.Entry(type=manifest.FILE, path=name, size=sizes[name]) for name in sizes)
    )
    wanted = Wanted(str(tmp_path / "table"))
    wanted.load(path, Order(directory="x"), tick=lambda: None)
    batches: list[list[bytes]] = []
    while batch := wanted.next_batch(State.WANTED, files=9, size=1 << 30):
        batches.append([file.key for file in batch])
        wanted.settle([(file.key, State.PLACED, "") for file in batch])
    assert batches == [[b"a", b"b"], [b"medium"], [b"large"], [b"huge"]]
    wanted.close()


def test_looking_changes_nothing(tmp_path: Path) -> None:
    assert not look(str(tmp_path / "new")).there
    assert not list(tmp_path.iterdir())


def progress(**changes: object) -> transfer.Progress:
    base = {
        "run_id": "r",
        "phase": transfer.SYNCING,
        "bytes": 3 << 20,
        "total_bytes": 4 << 20,
        "files": 3,
        "total_files": 4,
    }
    return transfer.Progress(**(base | changes))  # pyright: ignore[reportArgumentType]


def test_progress_is_told_in_words() -> None:
    assert (
        describe(progress(speed=1048576.0, eta=65))
        == "restoring  75 %  3.0 MiB of 4.0 MiB  3 of 4 files  1.0 MiB/s  1m05s left"
    )
    assert describe(progress(trouble="no answer")).endswith("waiting: no answer")
    assert describe(progress(phase=transfer.RECORDING)) == "setting attributes"


def test_a_pipe_gets_a_line_for_each_phase_and_one_now_and_then() -> None:
    now = [0.0]
    out = io.StringIO()
    meter = Meter(Console(file=out, width=200), quiet=False, monotonic=lambda: now[0])
    with meter:
        for moment in (0.0, 1.0, 9.0, 10.5):
            now[0] = moment
            meter.tell(msgspec.json.encode(progress()).decode())
        meter.tell(msgspec.json.encode(progress(phase=transfer.RECORDING)).decode())
        meter.tell("something else")
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["restoring", "restoring", "setting"]


def test_what_stands_still_is_told_from_what_is_slow_and_from_a_server_that_is_away() -> None:
    now = [0.0]
    out = io.StringIO()
    meter = Meter(Console(file=out, width=200), quiet=False, monotonic=lambda: now[0])

    def tell(moment: float, **changes: object) -> str:
        now[0] = moment
        before = len(out.getvalue())
        meter.tell(msgspec.json.encode(progress(speed=9.0, eta=60, **changes)).decode())
        return out.getvalue()[before:]

    tell(0.0)
    assert "9 B/s" in tell(19.0)
    said = tell(20.0)
    assert "stalled for 20s: the store answers, and nothing comes" in said
    assert "left" not in said
    assert "9 B/s" not in said
    assert "9 B/s" in tell(40.0, bytes=(3 << 20) + 1)  # one byte is slow
    said = tell(70.0, bytes=(3 << 20) + 1, trouble="no answer")
    assert "waiting: no answer" in said
    assert "stalled" not in said
