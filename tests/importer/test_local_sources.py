"""What needs no server: blank disks, and copies from one claim to another."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from support.importing import MIB, Volume, noise, refused, succeeded

DISK = noise(MIB) + bytes(2 * MIB) + noise(5000)


def test_a_blank_disk_has_its_size_and_no_room(volume: Volume) -> None:
    outcome = succeeded(volume.run(SOURCE="blank", TARGET_SIZE=str(1 << 30)))
    status = volume.disk.stat()
    assert (status.st_size, outcome.bytes) == (1 << 30, 1 << 30)
    assert status.st_blocks == 0
    assert stat.S_IMODE(status.st_mode) == 0o660


def test_a_blank_disk_that_is_preallocated_has_its_room(volume: Volume) -> None:
    succeeded(volume.run(SOURCE="blank", PREALLOCATION="true"))
    assert volume.disk.stat().st_blocks * 512 >= 8 * MIB


def test_a_blank_disk_larger_than_its_volume_gets_what_the_volume_has(volume: Volume) -> None:
    ended = volume.run(SOURCE="blank", TARGET_SIZE=str(1 << 58))
    outcome = succeeded(ended)
    assert outcome.bytes < 1 << 58
    assert "the volume has" in ended.output


def test_a_blank_device_is_left_as_it_is_or_zeroed_where_all_its_room_is_asked_for(volume: Volume) -> None:
    volume.make_device(4 * MIB, old=b"old")
    outcome = succeeded(volume.run(SOURCE="blank", VOLUME_MODE="Block"))
    assert outcome.bytes == 8 * MIB  # the file in the place of a device grows to what was asked for
    assert volume.device.read_bytes()[:3] == b"old"
    succeeded(volume.run(SOURCE="blank", VOLUME_MODE="Block", PREALLOCATION="true"))
    assert not volume.device.read_bytes().strip(b"\0")


@pytest.mark.parametrize("source_block", [False, True], ids=["from a file", "from a device"])
@pytest.mark.parametrize("block", [False, True], ids=["to a file", "to a device"])
def test_a_disk_is_copied_between_all_modes_of_volumes(volume: Volume, source_block: bool, block: bool) -> None:
    (volume.root / "source").mkdir()
    source = volume.root / "dev" / "source" if source_block else volume.root / "source" / "disk.img"
    source.write_bytes(DISK)
    if block:
        volume.make_device(8 * MIB, old=b"old")
    modes = {
        "SOURCE_VOLUME_MODE": "Block" if source_block else "Filesystem",
        "VOLUME_MODE": "Block" if block else "Filesystem",
    }
    ended = volume.run(SOURCE="copy", **modes)
    outcome = succeeded(ended)
    made = (volume.device if block else volume.disk).read_bytes()
    assert made == DISK + bytes(8 * MIB - len(DISK))
    assert outcome.bytes == 8 * MIB
    assert max(each.bytes for each in ended.progress) == len(DISK)


def test_what_is_copied_is_not_looked_at(volume: Volume) -> None:
    (volume.root / "source").mkdir()
    (volume.root / "source" / "disk.img").write_bytes(b"QFI\xfb and more of a guest's own bytes")
    succeeded(volume.run(SOURCE="copy"))
    assert volume.disk.read_bytes().startswith(b"QFI\xfb and more")


def test_a_source_that_is_no_disk_or_does_not_fit_is_refused(volume: Volume) -> None:
    source = volume.root / "source"
    source.mkdir()
    refused(volume.run(SOURCE="copy"), "SourceNotFound")
    os.symlink("/etc/passwd", source / "disk.img")
    refused(volume.run(SOURCE="copy"), "ImageRefused")
    (source / "disk.img").unlink()
    (source / "disk.img").write_bytes(noise(9 * MIB))
    refused(volume.run(SOURCE="copy"), "DestinationTooSmall")
    assert volume.left() == []


def test_all_files_of_a_volume_are_copied_with_what_can_be_kept(volume: Volume) -> None:
    source = volume.root / "source"
    (source / "a" / "b").mkdir(parents=True)
    (source / "lost+found").mkdir()
    (source / "a" / "file").write_bytes(DISK)
    (source / "a" / "file").chmod(0o640)
    os.utime(source / "a" / "file", (1_600_000_000, 1_600_000_000))
    os.link(source / "a" / "file", source / "a" / "b" / "hard")
    os.symlink("../../somewhere", source / "a" / "link")
    os.mkfifo(source / "pipe")
    (source / "a" / "b").chmod(0o500)
    outcome = succeeded(volume.run(SOURCE="copy", CONTENT_TYPE="archive"))
    made = volume.data / "a"
    assert volume.left() == ["a"]
    assert (made / "file").read_bytes() == DISK
    assert (made / "file").stat().st_mtime == 1_600_000_000
    assert stat.S_IMODE((made / "file").stat().st_mode) == 0o640
    assert (made / "b" / "hard").stat().st_ino == (made / "file").stat().st_ino
    assert os.readlink(made / "link") == "../../somewhere"
    assert stat.S_IMODE((made / "b").stat().st_mode) == 0o500
    assert (outcome.files, outcome.bytes) == (1, len(DISK))
    assert "1 devices" in outcome.message
    (source / "more").write_bytes(noise(9 * MIB))
    refused(volume.run(SOURCE="copy", CONTENT_TYPE="archive"), "DestinationTooSmall")


def test_a_volume_that_cannot_be_written_says_so(volume: Volume, tmp_path: Path) -> None:
    volume.data.rmdir()
    outcome = refused(volume.run(SOURCE="blank"), "EngineFailed")
    assert "No such file" in outcome.message


def test_a_volume_that_is_full_says_so_and_keeps_no_half_disk(volume: Volume) -> None:
    (volume.root / "source").mkdir()
    (volume.root / "source" / "disk.img").write_bytes(noise(4 * MIB))
    container = volume.container(SOURCE="copy", TARGET_SIZE=str(4 * MIB))
    container.wrapper = ["prlimit", f"--fsize={2 * MIB}"]
    outcome = refused(container.run(), "NoSpaceLeft")
    assert outcome.retryable
    assert volume.left() == []


KILLED = """
import os, sys
left = int(sys.argv.pop(1))
def counted(real):
    def call(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os._exit(99)
        return real(*arguments, **named)
    return call
from datamover.agent import main
for name in ("mkdir", "open", "pwrite", "ftruncate", "fsync", "rename", "rmdir", "unlink", "fchmod", "symlink", "utime"):
    setattr(os, name, counted(getattr(os, name)))
sys.exit(main.main())
"""


@pytest.mark.parametrize("content", ["kubevirt", "archive"])
def test_after_a_kill_before_any_step_there_is_no_disk_or_a_whole_one_and_the_next_attempt_makes_it(
    volume: Volume, content: str
) -> None:
    (volume.root / "source").mkdir()
    (volume.root / "source" / "disk.img").write_bytes(DISK)
    wanted = DISK + bytes(4 * MIB - len(DISK)) if content == "kubevirt" else DISK
    variables = volume.container(SOURCE="copy", CONTENT_TYPE=content, TARGET_SIZE=str(4 * MIB)).variables({})
    killed = 0
    for steps in range(0, 400, 2):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, str(steps), "importer"], env=variables, capture_output=True, timeout=60
        )
        if volume.disk.exists():
            assert volume.disk.read_bytes() == wanted
        if ended.returncode == 0:
            break
        assert ended.returncode == 99, ended.stderr
        killed += 1
    assert killed > 4
    assert (volume.left(), volume.disk.read_bytes()) == (["disk.img"], wanted)
