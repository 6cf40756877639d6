"""The files that the node's parts read."""

from pathlib import Path

import pytest

from cluster import node
from cluster.layout import Layout
from cluster.machine import MachineError


def test_containerd_is_told_where_this_machine_has_its_plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.secrets.mkdir()
    monkeypatch.setattr(node, "find_plugins", lambda: Path("/opt/cni/bin"))

    node.write_files(layout)

    assert 'bin_dir = "/opt/cni/bin"' in (layout.containerd / "config.toml").read_text()


def test_without_plugins_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(node, "find_plugins", lambda: None)

    with pytest.raises(MachineError, match="CNI_PATH"):
        node.write_files(Layout(tmp_path))


def test_a_file_that_has_not_changed_is_not_touched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.secrets.mkdir()
    monkeypatch.setattr(node, "find_plugins", lambda: Path("/opt/cni/bin"))
    node.write_files(layout)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    node.write_files(layout)

    assert {path: path.stat().st_mtime_ns for path in before} == before
