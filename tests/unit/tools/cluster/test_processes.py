"""Whose a process is."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster import processes

DIRECTORY = Path("/var/lib/it")
OVERLAY = "81 52 0:44 / / ro,relatime - overlay overlay rw,lowerdir=/a,upperdir={upper},workdir=/b\n"


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Return a function that adds a process to a pretended /proc."""
    monkeypatch.setattr(processes, "_PROCESSES", tmp_path)
    (tmp_path / "self").mkdir()

    def add(pid: int, *line: str, mounts: str = "") -> None:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in line))
        (tmp_path / str(pid) / "mountinfo").write_text(mounts)

    return add


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        (["/cache/kubelet", "--config=/var/lib/it/secrets/kubelet.yaml"], True),
        (["kubelet", "--config", "/var/lib/it/secrets/kubelet.yaml"], True),
        (["/cache/kubelet", "--config=/var/lib/kubelet/config.yaml"], False),
        (["/cache/kubelet", "--config=/var/lib/it-of-another/x"], False),
        (["/cache/kubelet", "--config=/srv/var/lib/it/x"], False),
        (["tail", "-f", "/var/lib/it/logs/kubelet.log"], False),
        (["/var/lib/it/bin/kubelet"], False),
        ([], False),  # a kernel thread, or one that has ended
    ],
)
def test_a_program_is_ours_when_it_is_told_a_place_of_ours(
    pretend: Callable[..., None], line: list[str], ours: bool
) -> None:
    pretend(7, *line)

    assert processes.find_programs("kubelet", DIRECTORY) == ([7] if ours else [])


def test_containers_are_known_by_their_layers_and_their_shims_by_our_socket(pretend: Callable[..., None]) -> None:
    pretend(1, "init", mounts="20 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    pretend(2, "/pause", mounts=OVERLAY.format(upper="/var/lib/it/containerd/root/1/fs"))
    pretend(3, "/pause", mounts=OVERLAY.format(upper="/var/lib/docker/1/fs"))
    pretend(4, "/pause", mounts=OVERLAY.format(upper="/var/lib/it-of-another/1/fs"))
    # our layers are mounted on the node as well, for everybody to see
    pretend(5, "sh", mounts=OVERLAY.format(upper="/var/lib/it/1/fs").replace("/ / ro", "/ /var/lib/it/rootfs ro"))
    pretend(6, "/usr/bin/containerd-shim-runc-v2", "-address", "/var/lib/it/containerd/containerd.sock")
    pretend(7, "/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock")

    assert sorted(processes.find_containers(DIRECTORY)) == [2, 6]


def test_what_is_found_is_killed_and_waited_for(tmp_path: Path) -> None:
    script = "import sys, time; print(flush=True); time.sleep(60)"
    command = ["containerd-shim-runc-v2", "-c", script, "-address", f"{tmp_path}/containerd.sock"]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert processes.find_containers(tmp_path) == [process.pid]

        processes.end_containers(tmp_path)

        assert processes.find_containers(tmp_path) == []
        assert process.wait(timeout=5) == -9


def test_the_age_is_counted_from_the_start_of_the_process() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            assert 0 <= processes.age_of(process.pid) < 5
            assert processes.age_of(os.getpid()) >= processes.age_of(process.pid)
            assert processes.memory_of(process.pid) > 0
        finally:
            process.kill()
    assert (processes.started_at(process.pid), processes.age_of(process.pid)) == ("", 0)
