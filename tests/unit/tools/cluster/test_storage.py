"""The file system of the volumes, also where an earlier `up` ended in the middle."""

import subprocess
from pathlib import Path

import pytest

from cluster import storage
from cluster.layout import Layout
from cluster.machine import MachineError


class Programs:
    """The machine's programs, pretended: notes what is called, and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: set[str] = set()

    def run(self, command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        name = Path(command[0]).name
        self.calls.append(name)
        failed = name in self.failing
        return subprocess.CompletedProcess(command, int(failed), "", f"{name} is out of order" if failed else "")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    pretended = Programs()
    monkeypatch.setattr(storage.subprocess, "run", pretended.run)
    return pretended


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *file_systems: str) -> None:
    listing = tmp_path / "filesystems"
    listing.write_text("".join(f"\t{name}\n" for name in file_systems))
    monkeypatch.setattr(storage, "_FILE_SYSTEMS", listing)


def test_the_file_system_is_made_once(programs: Programs, layout: Layout) -> None:
    storage.mount_volumes(layout)
    storage.mount_volumes(layout)

    assert programs.calls == ["mkfs.btrfs", "mount", "btrfs", "mount", "btrfs"]
    assert layout.volumes_image.stat().st_size == storage.SIZE


def test_a_file_system_that_was_not_made_to_its_end_is_made_anew(programs: Programs, layout: Layout) -> None:
    programs.failing.add("mkfs.btrfs")
    with pytest.raises(MachineError, match=r"mkfs\.btrfs is out of order"):
        storage.mount_volumes(layout)
    assert not layout.volumes_image.exists()

    programs.failing.clear()
    storage.mount_volumes(layout)

    assert programs.calls == ["mkfs.btrfs", "mkfs.btrfs", "mount", "btrfs"]
    assert not layout.volumes_image.with_suffix(".new").exists()


def test_quotas_are_turned_on_also_when_an_earlier_one_ended_before(
    monkeypatch: pytest.MonkeyPatch, programs: Programs, layout: Layout
) -> None:
    monkeypatch.setattr(storage.os.path, "ismount", lambda path: path == layout.volumes)

    storage.mount_volumes(layout)

    assert programs.calls == ["btrfs"]


def test_a_kernel_without_btrfs_has_volumes_in_directories(
    monkeypatch: pytest.MonkeyPatch,
    programs: Programs,
    layout: Layout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    know(monkeypatch, tmp_path, "ext4", "nfs")
    programs.failing.add("mount")

    storage.mount_volumes(layout)

    assert "btrfs" not in programs.calls
    assert "volumes are directories" in capsys.readouterr().err


def test_with_btrfs_in_the_kernel_a_failed_mount_is_an_error(
    monkeypatch: pytest.MonkeyPatch, programs: Programs, layout: Layout, tmp_path: Path
) -> None:
    know(monkeypatch, tmp_path, "ext4", "btrfs")
    programs.failing.add("mount")

    with pytest.raises(MachineError, match="though the kernel has btrfs: mount is out of order"):
        storage.mount_volumes(layout)
