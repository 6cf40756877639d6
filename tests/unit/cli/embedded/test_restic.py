"""Which restic the embedded world takes, and what is said where there is none."""

import threading
from pathlib import Path

import pytest

from datamover.cli.embedded import restic
from datamover.cli.embedded.restic import ResticMissing, find_restic, provide_restic
from support.debian import Archive, archive, make_package

__all__ = ["archive"]


def program(version: str) -> str:
    return f"#!/bin/sh\n[ $1 = version ] && echo 'restic {version} compiled with go1.24.4 on linux/amd64'\n"


def put(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(program(version))
    path.chmod(0o755)
    return path


def pin(monkeypatch: pytest.MonkeyPatch, archive: Archive, *, version: str = "0.18.0") -> None:
    package = archive.add(make_package({"./usr/bin/restic": program(version).encode()}), "restic")
    monkeypatch.setattr(restic, "PACKAGES", {restic.architecture(): package})


@pytest.mark.parametrize(
    ("version", "taken"), [("0.18.0", True), ("0.19.2", True), ("1.0", True), ("0.17.3", False), ("none", False)]
)
def test_the_one_on_the_path_is_taken_where_it_is_new_enough(tmp_path: Path, version: str, taken: bool) -> None:
    here = put(tmp_path / "bin" / "restic", version)
    found = find_restic({"PATH": str(here.parent), "XDG_CACHE_HOME": str(tmp_path)})
    assert found == (here if taken else None)


def test_the_named_one_wins_and_is_never_replaced_in_silence(tmp_path: Path) -> None:
    on_path = put(tmp_path / "bin" / "restic", "0.18.0")
    named = put(tmp_path / "mine", "0.19.0")
    environment = {"PATH": str(on_path.parent), "DATAMOVER_RESTIC": str(named)}
    assert provide_restic(environment) == named
    put(named, "0.14.0")
    with pytest.raises(ResticMissing, match=r"is restic 0.14.0: install restic 0.18 or newer"):
        provide_restic(environment)
    named.unlink()
    with pytest.raises(ResticMissing, match="is no restic"):
        provide_restic(environment)


def test_the_package_is_fetched_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Archive
) -> None:
    pin(monkeypatch, archive)
    environment = {"PATH": "", "HOME": str(tmp_path), "DATAMOVER_DEBIAN_MIRROR": archive.mirror}
    assert find_restic(environment) is None
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(provide_restic(environment))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert len(archive.asked) == 1
    archive.files.clear()  # offline from now on
    assert provide_restic(environment) == found[0]
    assert sorted(each.name for each in found[0].parent.parent.iterdir()) == [".lock", found[0].parent.name]


def test_without_a_network_the_cure_is_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Archive
) -> None:
    pin(monkeypatch, archive)
    environment = {"PATH": "", "HOME": str(tmp_path), "DATAMOVER_DEBIAN_MIRROR": "http://127.0.0.1:1/debian"}
    with pytest.raises(ResticMissing, match=r"cannot be fetched .*: install restic 0.18 or newer, or name one in DATA"):
        provide_restic(environment)
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == [".lock"]


def test_a_program_that_does_not_run_here_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Archive
) -> None:
    pin(monkeypatch, archive, version="(does not run)")
    environment = {"PATH": "", "HOME": str(tmp_path), "DATAMOVER_DEBIAN_MIRROR": archive.mirror}
    with pytest.raises(ResticMissing, match="does not run on this machine"):
        provide_restic(environment)
    assert find_restic(environment) is None


def test_a_machine_for_which_none_is_pinned_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restic, "architecture", lambda: None)
    with pytest.raises(ResticMissing, match="none that can be fetched for this machine"):
        provide_restic({"PATH": "", "HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
