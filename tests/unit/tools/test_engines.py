"""Where engines are looked for, what is fetched, and what is said where one cannot be had. Fetching them is what `make engines` does."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import engines
from support.debian import Archive, archive, make_package

__all__ = ["archive"]

TOOL = Path(__file__).resolve().parents[3] / "tools" / "engines.py"
PLACES = [
    ("rsync", "usr/bin/rsync"),
    ("stunnel4", "usr/bin/stunnel4"),
    ("openssh-server", "usr/sbin/sshd"),
    ("qemu-utils", "usr/bin/qemu-img"),
]


@pytest.fixture(autouse=True)
def only_this_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the folders in which sshd lies on every machine."""
    monkeypatch.setattr(engines, "SYSTEM_FOLDERS", ())


def put(folder: Path, *names: str, text: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def test_what_is_on_the_path_wins_and_stunnel_may_have_its_number(tmp_path: Path) -> None:
    here = put(tmp_path / "bin", "rsync", "stunnel4", "sshd", "ssh", "ssh-keygen", "qemu-img")
    put(here, "restic", text="#!/bin/sh\necho restic 0.18.1 compiled with go\n")
    found = engines.provide_engines({"PATH": str(here), "XDG_CACHE_HOME": str(tmp_path)})
    assert {name: path.name for name, path in found.items()} == {
        "restic": "restic",
        "rsync": "rsync",
        "stunnel": "stunnel4",
        "sshd": "sshd",
        "ssh": "ssh",
        "ssh-keygen": "ssh-keygen",
        "qemu-img": "qemu-img",
    }
    assert {path.parent for path in found.values()} == {here}


def pin(monkeypatch: pytest.MonkeyPatch, archive: Archive, tmp_path: Path) -> None:
    packages = [
        archive.add(make_package({place: b"#!/bin/sh\necho $1 of its package\n"}), name) for name, place in PLACES
    ]
    client = {"usr/bin/ssh": b"#!/bin/sh\n", "usr/bin/ssh-keygen": b"#!/bin/sh\n", "usr/lib/a/libwant.so.1": b"library"}
    packages.append(archive.add(make_package(client), "openssh-client"))
    pins = tmp_path / "pins.json"
    machine = engines.architecture()
    pins.write_text(json.dumps({machine: [asdict(each) for each in packages]}))
    monkeypatch.setattr(engines, "PINS", pins)
    monkeypatch.setenv("PATH", f"{put(tmp_path / 'empty')}:/usr/bin:/bin")


def test_what_is_missing_comes_from_pinned_packages_with_the_libraries_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Archive
) -> None:
    pin(monkeypatch, archive, tmp_path)
    here = put(tmp_path / "bin", "restic", text="#!/bin/sh\necho restic 0.18.1 compiled with go\n")
    environment = {
        "PATH": str(here),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DATAMOVER_DEBIAN_MIRROR": archive.mirror,
    }
    found = engines.provide_engines(environment)
    assert set(found) == set(engines.NAMES)
    said = subprocess.run([found["rsync"], "words"], capture_output=True, text=True, check=True)
    assert said.stdout == "words of its package\n"
    assert (found["rsync"].parent.parent / "lib" / "libwant.so.1").read_bytes() == b"library"
    fetched = len(archive.asked)
    assert engines.provide_engines(environment) == found
    assert len(archive.asked) == fetched


def test_a_package_with_another_hash_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: Archive
) -> None:
    pin(monkeypatch, archive, tmp_path)
    archive.damage("rsync")
    here = put(tmp_path / "bin", "restic", text="#!/bin/sh\necho restic 0.18.1 compiled with go\n")
    environment = {
        "PATH": str(here),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DATAMOVER_DEBIAN_MIRROR": archive.mirror,
    }
    with pytest.raises(engines.FetchError, match=r"rsync.* is not the file that is pinned .*make engines"):
        engines.provide_engines(environment)
    assert [each.suffix for each in (tmp_path / "cache" / "datamover" / "engines").iterdir()] == [".lock"]


def test_every_pin_of_the_repository_has_a_hash_and_a_place() -> None:
    pins = engines.read_pins()
    assert set(pins) == set(engines.ARCHITECTURES)
    for machine, packages in pins.items():
        assert [each.name for each in packages] == list(engines.PACKAGES)
        for each in packages:
            assert each.path.startswith("pool/")
            assert each.path.endswith((f"_{machine}.deb", "_all.deb"))
            assert len(bytes.fromhex(each.sha256)) == 32


def test_asking_which_are_here_fetches_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--print"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "restic" not in done.stdout
    assert os.listdir(tmp_path) == []
