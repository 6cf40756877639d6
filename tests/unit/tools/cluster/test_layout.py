"""Where a cluster may be."""

from pathlib import Path

import pytest

from cluster.layout import DEFAULT_DIRECTORY, PORTS, LayoutError, find_layout
from cluster.rig import Rig


def test_without_a_name_it_is_the_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAMOVER_CLUSTER", "")

    assert find_layout().directory == Path(DEFAULT_DIRECTORY).resolve()


def test_links_on_the_way_are_followed_since_the_kernel_follows_them_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    monkeypatch.setenv("DATAMOVER_CLUSTER", f"{tmp_path}/link/../link/cluster")

    assert find_layout().directory == tmp_path / "there" / "cluster"


@pytest.mark.parametrize("name", ["cluster", "./cluster", "/with space", "/with\ttab", "/", "/a,b", "/a:b", '/a"b'])
def test_a_place_that_not_every_part_could_be_told_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("DATAMOVER_CLUSTER", name)

    with pytest.raises(LayoutError, match="DATAMOVER_CLUSTER="):
        find_layout()


def test_a_link_to_such_a_place_is_refused_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "with space")
    monkeypatch.setenv("DATAMOVER_CLUSTER", str(tmp_path / "link"))

    with pytest.raises(LayoutError, match="with space"):
        find_layout()


def test_every_part_with_a_port_is_a_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAMOVER_CLUSTER", str(tmp_path))

    assert set(PORTS) <= set(Rig(find_layout()).daemons(Path()))
