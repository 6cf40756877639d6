"""`datamover restore` in trouble: a disk that fills up, one for reading alone, a store that trickles, one that goes away. Real engine, loopback."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamover.api import transfer
from rclone.test_restore_command import MARK, Command
from support.memory_s3 import MemoryS3
from support.points import forge
from support.proxy import Proxy

RUN, FOLDER = "20240801101500-copy", "2024-08-01-101500"
FILES = {f"{number:02}": b"%02d" % number * 20_000 for number in range(24)}


@pytest.fixture
def store(store: MemoryS3) -> MemoryS3:
    lines = [{"type": "file", "path": name, "size": len(FILES[name]), "mode": 0o644, "mtime": 1} for name in FILES]
    store.put(forge(RUN, FOLDER, *lines))
    store.put({f"{FOLDER}/{name}": content for name, content in FILES.items()})
    return store


def at_file(store: MemoryS3, number: int, act: Callable[[], object]) -> None:
    """Do something, once, when the file of this number is asked for."""
    lock, asked, done = threading.Lock(), 0, False

    def hear(method: str, key: str) -> None:
        nonlocal asked, done
        with lock:
            asked += method == "GET" and key.startswith(FOLDER)
            if asked >= number and not done:
                done = True
                act()

    store.busy = hear


def whole(target: Path) -> bool:
    return {path.name: path.read_bytes() for path in target.iterdir()} == FILES


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(filler: Path) -> None:
    """Let a file take all the room that there is."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def test_a_disk_that_fills_up_in_the_middle_leaves_a_mark_and_room_ends_it(
    store: MemoryS3, small_disk: Path, tmp_path: Path
) -> None:
    filler, target = small_disk / "filler", small_disk / "target"
    at_file(store, 5, lambda: fill(filler))
    command = Command(store, tmp_path)
    told = command.document("latest", target)
    assert (told["exitCode"], told["reason"], told["target"]) == (1, transfer.REASON_TARGET_TOO_SMALL, "marked"), told
    assert "Make room. The directory is neither what it was nor whole" in told["message"]
    assert (target / MARK / "marker.json").exists()
    filler.unlink()
    told = command.document("latest", target)
    assert (told["exitCode"], told["target"], told["resumed"]) == (0, "whole", True)
    assert whole(target)


def test_a_full_place_for_temporary_files_is_told_as_that_and_touches_nothing(
    store: MemoryS3, small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk / "filler")
    told = Command(store, tmp_path, TMPDIR=str(small_disk)).document("latest", tmp_path / "target")
    assert (told["exitCode"], told["reason"], told["target"]) == (2, transfer.REASON_NO_LOCAL_SPACE, "untouched"), told
    assert "TMPDIR" in told["message"]
    assert not (tmp_path / "target").exists()


def test_a_disk_for_reading_alone_is_refused_as_that(store: MemoryS3, small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "target").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    command = Command(store, tmp_path)
    for name in ("target", "new"):
        told = command.document("latest", small_disk / name)
        assert (told["exitCode"], told["reason"], told["target"]) == (2, transfer.REASON_TARGET_READ_ONLY, "untouched")
        assert "its file system is read-only" in told["message"]
    assert os.listdir(small_disk / "target") == []


def test_a_store_that_trickles_is_waited_for(store: MemoryS3, tmp_path: Path) -> None:
    slow = threading.Event()

    def trickle(content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]
            slow.wait(0.25)

    # ten seconds in which no file comes, more than the outage limit
    store.gives = lambda key: trickle(FILES["03"]) if key == f"{FOLDER}/03" else None
    command = Command(store, tmp_path, DATAMOVER_OUTAGE_LIMIT="8")
    told = command.document("latest", tmp_path / "target")
    assert (told["exitCode"], told["target"]) == (0, "whole"), told
    assert whole(tmp_path / "target")


IMPATIENT = {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
"""An engine that gives up at the first refusal."""


@pytest.fixture
def proxy(store: MemoryS3) -> Iterator[Proxy]:
    with Proxy(int(store.secret()["BUCKET_PORT"])) as found:
        yield found


def test_a_store_that_goes_away_and_comes_back_is_waited_for(store: MemoryS3, proxy: Proxy, tmp_path: Path) -> None:
    def leave() -> None:
        proxy.cut()
        threading.Timer(4, proxy.restore).start()

    at_file(store, 5, leave)
    command = Command(store, tmp_path, DATAMOVER_OUTAGE_LIMIT="60", BUCKET_PORT=str(proxy.port), **IMPATIENT)
    code, out, errors = command.run("latest", tmp_path / "target")
    assert code == 0, errors
    assert "waiting: The server at" in out
    assert whole(tmp_path / "target")


def test_a_store_that_stays_away_leaves_a_mark_and_the_same_command_goes_on(
    store: MemoryS3, proxy: Proxy, tmp_path: Path
) -> None:
    at_file(store, 5, proxy.cut)
    command = Command(store, tmp_path, DATAMOVER_OUTAGE_LIMIT="2", BUCKET_PORT=str(proxy.port), **IMPATIENT)
    target = tmp_path / "target"
    told = command.document("latest", target)
    assert (told["exitCode"], told["reason"], told["target"]) == (3, transfer.REASON_SERVER_UNREACHABLE, "marked"), told
    assert "the same command goes on from there" in told["message"]
    proxy.restore()
    told = command.document("latest", target)
    assert (told["exitCode"], told["target"], told["resumed"]) == (0, "whole", True)
    assert whole(target)
