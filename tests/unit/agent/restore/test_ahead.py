"""What has arrived is read while other files still come, and what was read counts only for what is unwritten since."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path

import pytest

from datamover.agent.files.handles import Refused
from datamover.agent.restore import ahead as module
from datamover.agent.restore.ahead import WORTH, Ahead, state_of
from datamover.agent.restore.wanted import File

CONTENTS = b"x" * WORTH
OTHER = b"y" * WORTH


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    handle = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield tmp_path, handle
    os.close(handle)


def nothing() -> None:
    return None


@pytest.fixture
def ahead(place: tuple[Path, int]) -> Iterator[Ahead]:
    found = Ahead(place[1], check_stop=nothing)
    yield found
    found.close()


def line(name: str, contents: bytes = CONTENTS) -> File:
    return File(name.encode(), len(contents), md5(contents).hexdigest())


def test_a_file_that_has_arrived_is_known_by_its_contents(place: tuple[Path, int], ahead: Ahead) -> None:
    path = place[0] / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(CONTENTS)
    ahead.note(line("folder/file"))
    ahead.settle()
    assert ahead.digest(path.stat()) == md5(CONTENTS).digest()
    assert ahead.digest(path.stat()) is None, "it is told once"


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(OTHER),
        lambda path: os.utime(path, ns=(0, 0)),
        lambda path: os.truncate(path, WORTH - 1),
        lambda path: path.unlink() or path.write_bytes(CONTENTS),
        lambda path: os.link(path, path.with_name("another")),
    ],
    ids=["other contents", "other times", "shorter", "another file", "another name"],
)
def test_what_was_changed_since_it_was_read_is_read_again(
    place: tuple[Path, int], ahead: Ahead, change: Callable[[Path], None]
) -> None:
    path = place[0] / "file"
    path.write_bytes(CONTENTS)
    ahead.note(line("file"))
    ahead.settle()
    before = state_of(path.stat())
    while time.time_ns() - path.stat().st_ctime_ns < module._RESTED:
        time.sleep(0.005)
    change(path)
    assert state_of(path.stat()) != before
    assert ahead.digest(path.stat()) is None


def test_what_is_written_while_it_is_read_does_not_count(
    place: tuple[Path, int], ahead: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place[0] / "file"
    path.write_bytes(CONTENTS)
    read = Ahead._digest

    def disturbed(self: Ahead, handle: int) -> bytes | None:
        found = read(self, handle)
        path.write_bytes(OTHER)
        return found

    monkeypatch.setattr(Ahead, "_digest", disturbed)
    ahead.note(line("file"))
    ahead.settle()
    assert ahead.digest(path.stat()) is None


@pytest.mark.parametrize(
    "file",
    [File(b"file", WORTH - 1, "0" * 32), File(b"file", WORTH, "")],
    ids=["too small to be worth it", "nothing is known to compare with"],
)
def test_what_need_not_be_read_is_not(place: tuple[Path, int], file: File) -> None:
    ahead = Ahead(place[1], check_stop=nothing)
    before = threading.active_count()
    ahead.note(file)
    ahead.settle()
    assert threading.active_count() == before
    ahead.close()


def _make_none(path: Path) -> None:
    del path


def _make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


def _make_folder_a_link(path: Path) -> None:
    path.parent.rmdir()
    path.parent.symlink_to("/etc")


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _make_shorter(path: Path) -> None:
    path.write_bytes(b"short")


@pytest.mark.parametrize("make", [_make_none, _make_link, _make_folder_a_link, _make_pipe, _make_shorter])
def test_what_is_not_the_file_that_was_expected_is_left_to_whoever_brings_it_to_its_place(
    place: tuple[Path, int], ahead: Ahead, make: Callable[[Path], None]
) -> None:
    path = place[0] / "folder" / "passwd"
    path.parent.mkdir()
    make(path)
    ahead.note(line("folder/passwd"))
    ahead.settle()
    assert ahead._known == {}


def test_a_disk_that_refuses_what_was_written_is_told(
    place: tuple[Path, int], ahead: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "_DURABLE", WORTH)
    monkeypatch.setattr(os, "fdatasync", refuse)
    path = place[0] / "file"
    path.write_bytes(CONTENTS)
    ahead.note(line("file"))
    with pytest.raises(OSError, match="No space"):
        ahead.settle()
    assert ahead.digest(path.stat()) is None


def test_a_stop_ends_the_waiting_and_the_reading(place: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def endless(handle: int, views: list[memoryview], offset: int) -> int:
        begun.set()
        time.sleep(0.001)
        return len(views[0])

    def stopped() -> None:
        if begun.is_set():
            raise InterruptedError

    monkeypatch.setattr(os, "preadv", endless)
    ahead = Ahead(place[1], check_stop=stopped)
    (place[0] / "file").write_bytes(CONTENTS)
    ahead.note(line("file"))
    assert begun.wait(30)
    with pytest.raises(InterruptedError):
        ahead.settle()
    ahead.close()
    assert not any(reader.is_alive() for reader in ahead._readers)


def test_refused_is_no_trouble_of_the_disk() -> None:
    assert not issubclass(Refused, OSError)
