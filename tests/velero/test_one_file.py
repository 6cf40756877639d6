"""The plugin as one file, started where there is nothing else: no Python, no library, no shell, nothing that can be written."""

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.lone_plugin import CONTROL_PLANE, MEMORY, alone, forbid_memory, skips
from support.one_file import NAME
from support.velero_cluster import running_cluster
from support.velero_host import HostDead, VeleroHost, environment

HCPS = "/apis/hypershift.openshift.io/v1beta1/namespaces/clusters-a/hostedcontrolplanes"

pytestmark = [pytest.mark.xdist_group("one file"), pytest.mark.slow, pytest.mark.timeout(300)]


def test_it_is_listed_by_the_path_by_which_it_was_started_and_holds_little_memory(one_file: Path, tmp_path: Path):
    link = tmp_path / "another-name"
    link.symlink_to(one_file)
    with VeleroHost(command=[str(link)]) as host:
        assert {command for command, _, _ in host.plugins()} == {str(link)}
        assert all(skips(host) for _ in range(20))
        assert host.resident() < MEMORY
        assert (host.printed, host.noise) == (b"", [])
    assert not host.killed
    assert host.process.returncode == 0


def test_with_nothing_else_in_a_root_that_cannot_be_written_it_works(empty_root: Path):
    assert [str(path.relative_to(empty_root)) for path in empty_root.rglob("*") if path.is_file()] == [
        f"plugins/{NAME}"
    ]
    with VeleroHost(command=alone(empty_root)) as host:
        assert host.network == "tcp"
        assert host.plugins()[0][0] == f"/plugins/{NAME}"
        assert skips(host)
        assert host.resident() < MEMORY
        assert host.noise == []
    assert not host.killed


def test_there_it_asks_the_api_server_for_a_verdict(empty_root: Path, tmp_path: Path):
    (tmp_path / "cluster").mkdir()
    with running_cluster(tmp_path / "cluster", plain=False) as cluster:
        told = cluster.kubeconfig.read_bytes()
        assert b"https://" in told
        (empty_root / "kubeconfig").write_bytes(told)
        spec = {"platform": {"type": "AWS"}, "controllerAvailabilityPolicy": "SingleReplica"}
        plane = cluster.create(HCPS, "hosted", spec=spec)
        uid = "0a1b2c3d-0000-4000-8000-000000000001"
        backup: dict[str, Any] = {
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": {"name": "b", "namespace": "velero", "uid": uid, "creationTimestamp": "2026-11-30T00:00:00Z"},
            "spec": {"includedNamespaces": ["clusters-a"], "snapshotMoveData": True},
            "status": {"phase": "InProgress", "startTimestamp": "2026-11-30T00:00:00Z"},
        }
        with VeleroHost(command=alone(empty_root), environ=environment(KUBECONFIG="/kubeconfig")) as host:
            item, operation = host.backup(CONTROL_PLANE, plane, backup)
            assert item == plane
            progress = host.progress(CONTROL_PLANE, operation, backup)
            assert (progress.completed, progress.err) == (False, "")
            assert host.resident() < MEMORY
        assert any("hostedcontrolplanes/hosted" in path for _, path in cluster.requests)


def test_what_is_meant_for_another_python_or_loader_does_not_disturb_it(one_file: Path, tmp_path: Path):
    (tmp_path / "encodings.py").write_text("raise SystemExit('not this one')\n")
    told = {"PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONVERBOSE": "1", "PYTHONINSPECT": "1"}
    with VeleroHost(command=[str(one_file)], environ=environment(**told, LD_LIBRARY_PATH=str(tmp_path))) as host:
        assert skips(host)
        assert host.noise == []


# --- where memory cannot be executed ---


@pytest.fixture
def places(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Return a folder for temporary files, and one for plugins."""
    folders = tmp_path / "temporary", tmp_path / "plugins"
    for each in folders:
        each.mkdir()
    yield folders
    for each in folders:
        each.chmod(0o700)


def test_without_memory_it_takes_files_without_a_name_and_leaves_none(one_file: Path, places: tuple[Path, Path]):
    temporary, _ = places
    environ = environment(TMPDIR=str(temporary))
    with VeleroHost(command=[str(one_file)], environ=environ, preexec=forbid_memory) as host:
        assert skips(host)
        mapped = Path(f"/proc/{host.process.pid}/maps").read_text(encoding="utf-8")
        assert str(temporary) in mapped
        assert "memfd:" not in mapped
        assert {path.suffix for path in temporary.rglob("*") if path.is_file()} == set()
        assert host.resident() < MEMORY
    assert list(temporary.iterdir()) == []


def test_without_memory_and_temporary_files_it_takes_the_folder_of_plugins_and_shows_nothing_there(
    one_file: Path, places: tuple[Path, Path]
):
    temporary, plugins = places
    subprocess.run([one_file, "install", plugins], check=True, timeout=60)
    environ = environment(TMPDIR=str(temporary / "none"))
    with VeleroHost(command=[str(plugins / NAME)], environ=environ, preexec=forbid_memory) as host:
        assert skips(host)
        assert str(plugins) in Path(f"/proc/{host.process.pid}/maps").read_text(encoding="utf-8")
        assert [path.name for path in plugins.iterdir()] == [NAME]


def test_without_any_place_it_says_what_was_wrong_with_each(empty_root: Path):
    host = VeleroHost(command=alone(empty_root), preexec=forbid_memory)
    with pytest.raises(HostDead):
        host.__enter__()
    [said] = host.messages("error")
    assert said.startswith("the plugin cannot start: memory: memfd_create: operation not permitted")
    assert "/tmp: " in said
    assert "/plugins: " in said
    assert host.process.returncode == 1


# --- the file itself ---


def test_it_is_put_into_a_folder_whole_or_not_at_all(one_file: Path, tmp_path: Path):
    (tmp_path / NAME).write_text("an older one")
    done = subprocess.run([one_file, "install", tmp_path], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{NAME} is in {tmp_path}\n"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == one_file.read_bytes()
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o755


def test_a_folder_that_is_not_there_is_told(one_file: Path, tmp_path: Path):
    done = subprocess.run([one_file, "install", tmp_path / "none"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{NAME} cannot be put into {tmp_path}/none: ")
    assert done.stdout == ""


def test_a_velero_server_that_says_install_gets_a_plugin(one_file: Path, tmp_path: Path):
    with VeleroHost(command=[str(one_file)], arguments=["install", str(tmp_path)]) as host:
        assert host.plugins()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_whole_is_told_in_words_that_veleros_log_takes(one_file: Path, tmp_path: Path):
    part = tmp_path / NAME
    part.write_bytes(one_file.read_bytes()[:-100_000])
    part.chmod(0o755)
    done = subprocess.run([part], env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    line = json.loads(done.stderr)
    assert line["@level"] == "error"
    assert line["@message"].startswith(f"the plugin cannot start: {part} is not whole: ")


def test_started_by_hand_it_says_what_it_is(one_file: Path):
    environ = {key: value for key, value in environment().items() if key != "VELERO_PLUGIN"}
    done = subprocess.run([one_file, "--help"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("This program is a plugin for Velero")
