"""Packages by hash: which mirrors are asked, what is believed, and what may be written."""

from pathlib import Path

import pytest

from datamover.cli.embedded.debian import (
    PackageBrokenError,
    PackageError,
    PackageGoneError,
    fetch,
    find_mirrors,
    unpack,
)
from support.debian import Archive, archive, make_package

__all__ = ["archive"]


def test_mirrors_are_those_that_are_named_else_those_of_apt(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(
        "Types: deb\n# URIs: http://old.example/debian\nURIs: http://one.example/debian\nSuites: trixie\n"
    )
    (folder / "other.list").write_text("deb [signed-by=/x] https://two.example/some/debian/ trixie main\n")
    (folder / "foreign.list").write_text("deb https://three.example/ubuntu noble main\n")
    (folder / "notes.txt").write_text("deb http://four.example/debian trixie main\n")
    sources = (tmp_path / "sources.list", folder)
    assert find_mirrors({}, sources=sources) == ["http://one.example/debian", "https://two.example/some/debian"]
    named = {"DATAMOVER_DEBIAN_MIRROR": "http://mine.example/debian/ http://next.example/debian"}
    assert find_mirrors(named, sources=sources) == ["http://mine.example/debian", "http://next.example/debian"]


def test_the_next_mirror_is_asked_where_one_has_not_the_file_or_is_down(archive: Archive) -> None:
    package = archive.add(make_package({"usr/bin/a": b"a"}), "a")
    mirrors = ["http://127.0.0.1:1/debian", f"{archive.mirror}/nothing/debian", archive.mirror]
    assert fetch(package, mirrors) == archive.files["/debian/pool/main/a/a_1%2Bb1_amd64.deb"]


def test_a_version_that_no_mirror_has_any_more_is_told_apart_from_mirrors_that_are_down(archive: Archive) -> None:
    package = archive.add(make_package({}), "a")
    archive.files.clear()
    with pytest.raises(PackageGoneError, match=r"a_1\+b1_amd64.deb cannot be fetched: HTTP 404"):
        fetch(package, [archive.mirror])
    with pytest.raises(PackageError, match="refused") as caught:
        fetch(package, [archive.mirror, "http://127.0.0.1:1/debian"])
    assert not isinstance(caught.value, PackageGoneError)
    with pytest.raises(PackageError, match="DATAMOVER_DEBIAN_MIRROR"):
        fetch(package, [])
    with pytest.raises(PackageError, match="begins with http"):
        fetch(package, ["file:///etc/debian"])


def test_a_file_that_is_not_the_pinned_one_is_not_believed(archive: Archive) -> None:
    package = archive.add(make_package({"usr/bin/a": b"a"}), "a")
    archive.damage("a")
    with pytest.raises(PackageBrokenError, match="SHA-256"):
        fetch(package, [archive.mirror])


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_files_and_links_are_unpacked_without_special_rights(tmp_path: Path, compression: str) -> None:
    content = make_package({"./usr/bin/a": b"program"}, links={"./usr/bin/b": "a"}, compression=compression)
    unpack(content, tmp_path)
    assert (tmp_path / "usr/bin/b").read_bytes() == b"program"
    assert (tmp_path / "usr/bin/a").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"!<arch>\n" + b"x" * 60,
        make_package({})[:-40],
        make_package({"../outside": b"a"}),
        make_package({"/outside": b"a"}),
        make_package({"inner/outside": b"a"}, links={"inner": ".."}),
    ],
    ids=["empty", "no header", "cut off", "above", "absolute", "behind a link"],
)
def test_what_is_no_package_or_would_write_elsewhere_is_refused(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(PackageBrokenError):
        unpack(content, target)
    assert [each.name for each in tmp_path.iterdir()] == ["target"]
    assert not list(target.rglob("outside"))
