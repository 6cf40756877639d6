"""Where databases are looked for, what is unpacked, and what is said where one cannot be had. Fetching them is what `make databases` does."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import databases
from debian_packages import FetchError


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(databases, "ROOT", tmp_path / "root")


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH" "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def test_all_programs_on_the_path_win_then_the_installed_then_the_fetched(tmp_path: Path) -> None:
    programs = databases.DATABASES["postgresql"].programs
    environment = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for place in ("cache/datamover/databases/postgresql/bin", "root/usr/lib/postgresql/15/bin", "bin"):
        put(tmp_path / place, *programs[1:])
        before = databases.find_databases(environment).get("postgresql")
        assert before != tmp_path / place
        put(tmp_path / place, *programs)
        assert databases.find_databases(environment)["postgresql"] == tmp_path / place


def test_what_is_unpacked_finds_its_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(names: Sequence[str], *, place: Path) -> Path:
        assert names in [each.packages for each in databases.DATABASES.values()]
        programs = next(each.programs for each in databases.DATABASES.values() if each.packages == names)
        put(place / "tree" / "usr" / "sbin", *programs)
        put(place / "tree" / "usr" / "lib" / "here", "libaio.so.1")
        return place / "tree"

    monkeypatch.setattr(databases, "unpack_packages", unpack)
    environment = {"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "cache" / "datamover" / "databases").mkdir(parents=True)
    found = databases.provide_databases(environment)
    assert set(found) == set(databases.DATABASES)
    said = subprocess.run([found["mariadb"] / "mariadb", "-N"], capture_output=True, text=True, check=True)
    assert said.stdout == f"{tmp_path}/cache/datamover/databases/mariadb/tree/usr/lib/here -N\n"


def test_what_cannot_be_had_is_told_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack(names: Sequence[str], *, place: Path) -> Path:
        raise FetchError(f"no {names[0]} in {place.name}")

    monkeypatch.setattr(databases, "unpack_packages", unpack)
    with pytest.raises(FetchError, match=r"postgresql: no postgresql-15 .* Cure: install it"):
        databases.provide_databases({"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert not (tmp_path / "cache" / "datamover" / "databases" / "postgresql").exists()
