"""What is looked for on the machine, and what is put back."""

import json
import os
from pathlib import Path

import pytest

from cluster import machine
from cluster.layout import Layout
from cluster.machine import MachineError


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "cluster")


def install_plugins(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in machine.PLUGINS:
        (folder / name).touch()
    return folder


def test_another_user_than_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(MachineError, match="need Linux and root"):
        machine.demand_root()


def test_the_programs_of_root_are_found_behind_those_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/mine:/usr/bin")

    machine.demand_root()
    machine.demand_root()

    folders = os.environ["PATH"].split(":")
    assert folders[:2] == ["/mine", "/usr/bin"]
    assert sorted(folders[2:]) == ["/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/sbin"]


def test_without_any_path_the_programs_are_found_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("PATH")

    machine.demand_root()

    assert {"/usr/sbin", "/usr/bin"} <= set(os.environ["PATH"].split(":"))


@pytest.mark.parametrize("place", ["debian", "fedora", "upstream"])
def test_plugins_are_found_where_each_distribution_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    monkeypatch.setattr(machine, "_PLUGIN_FOLDERS", [f"{tmp_path}/{name}" for name in ("debian", "fedora", "upstream")])
    monkeypatch.delenv("CNI_PATH", raising=False)
    assert machine.find_plugins() is None

    install_plugins(tmp_path / place)

    assert machine.find_plugins() == tmp_path / place


def test_the_place_that_the_user_names_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual, named = install_plugins(tmp_path / "usual"), install_plugins(tmp_path / "named")
    monkeypatch.setattr(machine, "_PLUGIN_FOLDERS", (str(usual),))
    monkeypatch.setenv("CNI_PATH", f"{tmp_path}/nothing:{named}")

    assert machine.find_plugins() == named
    (named / "portmap").unlink()
    assert machine.find_plugins() == usual


def test_settings_are_noted_once_and_put_back(monkeypatch: pytest.MonkeyPatch, layout: Layout, tmp_path: Path) -> None:
    setting = tmp_path / "ip_forward"
    setting.write_text("0\n")
    layout.directory.mkdir()
    monkeypatch.setattr(machine, "_SETTINGS", {str(setting): "1"})

    machine.change_settings(layout)
    machine.change_settings(layout)

    assert setting.read_text() == "1"
    assert json.loads(layout.before.read_text()) == {str(setting): "0"}
    machine.restore_settings(layout)
    assert setting.read_text() == "0"
    assert list(layout.directory.iterdir()) == []


class Groups:
    """Control groups of a machine with several hierarchies, as plain folders."""

    def __init__(self, root: Path, layout: Layout) -> None:
        self.root = root
        self.layout = layout

    def add_pod(self, uid: str, *, ours: bool) -> None:
        for hierarchy in ("pids", "memory"):
            (self.root / hierarchy / "kubepods" / "burstable").mkdir(parents=True, exist_ok=True)
            (self.root / hierarchy / "kubepods" / "besteffort" / f"pod{uid}" / "container").mkdir(parents=True)
        if ours:
            (self.layout.kubelet / "pods" / uid).mkdir(parents=True)

    def left(self) -> set[str]:
        return {path.name for path in self.root.rglob("*")}


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: Layout) -> Groups:
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "cgroup")
    return Groups(tmp_path / "cgroup", layout)


def test_control_groups_of_our_pods_go_with_all_above_them(groups: Groups) -> None:
    groups.add_pod("a", ours=True)
    groups.add_pod("b", ours=True)
    assert len(machine.pod_groups(groups.layout)) == 4

    machine.remove_cgroups(groups.layout)

    assert groups.left() == {"pids", "memory"}


def test_control_groups_of_another_kubelet_stay(groups: Groups) -> None:
    groups.add_pod("a", ours=True)
    groups.add_pod("b", ours=False)

    machine.remove_cgroups(groups.layout)

    assert groups.left() == {"pids", "memory", "kubepods", "besteffort", "podb", "container"}


def test_a_control_group_with_a_process_stays_and_is_told(
    monkeypatch: pytest.MonkeyPatch, groups: Groups, capsys: pytest.CaptureFixture[str]
) -> None:
    groups.add_pod("a", ours=True)
    (groups.root / "pids/kubepods/besteffort/poda/container/tasks").touch()

    machine.remove_cgroups(groups.layout)

    assert [group.name for group in machine.pod_groups(groups.layout)] == ["poda"]
    assert "poda/container stays" in capsys.readouterr().err
