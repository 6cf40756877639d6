"""deploy/images/plugin: what goes into the one file of the plugin, and how Python finds it there."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"tested_{name}", ROOT / f"deploy/images/plugin/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bundle = load("bundle")
boot = load("boot")


# What goes in


@pytest.mark.parametrize(
    ("path", "module"),
    [
        (f"lib-dynload/_json{SUFFIX}", "_json"),
        (f"grpc/_cython/cygrpc{SUFFIX}", "grpc._cython.cygrpc"),
        ("google/_upb/_message.abi3.so", "google._upb._message"),
        ("config-3.11-x86_64-linux-gnu/libpython3.11.so", None),
        ("asyncio/base_events.py", None),
    ],
)
def test_a_module_in_machine_code_has_its_full_name(path: str, module: str | None) -> None:
    assert bundle.extension_name(path) == module


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("asyncio/base_events.py", True),
        (f"lib-dynload/_ssl{SUFFIX}", True),
        (f"lib-dynload/_sqlite3{SUFFIX}", False),
        (f"lib-dynload/_testcapi{SUFFIX}", False),
        (f"multidict/_testcapi{SUFFIX}", False),
        ("sqlite3/dbapi2.py", False),
        ("google/protobuf/tests/any.py", False),
        ("site-packages/pip/__init__.py", False),
        ("asyncio/__pycache__/base_events.cpython-311.pyc", False),
    ],
)
def test_tests_and_what_brings_libraries_of_its_own_stay_out(path: str, *, wanted: bool) -> None:
    assert bundle.is_wanted(path) is wanted


def test_modules_are_compiled_and_can_be_imported_from_behind_a_program(tmp_path: Path) -> None:
    source = tmp_path / "source/outer/inner"
    source.mkdir(parents=True)
    (source / "deep.py").write_text("WORD = 'found'\n")
    (source / "words.txt").write_text("not code")
    made = bundle.Bundle()

    assert made.add_modules(tmp_path / "source") == []
    launcher = tmp_path / "launcher"
    launcher.write_bytes(b"\x7fELF of any length")
    made.write(launcher, tmp_path / "file")

    with zipfile.ZipFile(tmp_path / "file") as archive:
        assert archive.namelist() == ["outer/", "outer/inner/", "outer/inner/deep.pyc"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    content = (tmp_path / "file").read_bytes()
    assert content.startswith(launcher.read_bytes())
    assert content[-8:] == b"%08x" % zlib.crc32(content[:-8])
    assert os.access(tmp_path / "file", os.X_OK)
    command = [sys.executable, "-c", "from outer.inner.deep import WORD; print(WORD)"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path / "file")}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("found\n", "")


def test_what_does_not_compile_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def\n")
    with pytest.raises(SyntaxError):
        bundle.Bundle().add_modules(tmp_path)


LDD = """\
	linux-vdso.so.1 (0x00007fa88b931000)
	libssl.so.3 => {0}/libssl.so.3 (0x00007fa88b91b000)
	libc.so.6 => {0}/libc.so.6 (0x00007fa88a21e000)
	{0}/ld-linux-x86-64.so.2 (0x00007fa88b933000)
"""


def answer_of_ldd(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    (folder / "ldd").write_text(f"#!/bin/sh\ncat <<'EOF'\n{text}EOF\n")
    (folder / "ldd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_loader_and_every_library_come_along_by_the_names_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("python3", "libssl.so.3", "libc.so.6", "ld-linux-x86-64.so.2"):
        (tmp_path / name).write_text(name)
    answer_of_ldd(monkeypatch, tmp_path, LDD.format(tmp_path))
    made = bundle.Bundle()

    made.add_runtime(tmp_path / "python3", [])

    assert made.entries == {
        "runtime/interpreter": b"python3",
        "runtime/loader": b"ld-linux-x86-64.so.2",
        "runtime/libraries/libssl.so.3": b"libssl.so.3",
        "runtime/libraries/libc.so.6": b"libc.so.6",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\tlibz.so.1 => not found\n", "wants a library that is not there"),
        ("\tstatically linked\n", "one dynamic loader of glibc"),
    ],
)
def test_a_base_that_lacks_something_fails_the_build(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    answer_of_ldd(monkeypatch, tmp_path, text)
    with pytest.raises(SystemExit, match=said):
        bundle.Bundle().add_runtime(tmp_path / "python3", [])


def test_only_packages_of_which_something_is_in_the_file_are_told(tmp_path: Path) -> None:
    root, database, system = tmp_path / "root", tmp_path / "info", tmp_path / "system"
    for folder in (root / "var/lib/dpkg/status.d", root / "usr/lib", database, system):
        folder.mkdir(parents=True)
    files = {"libc6": f"{system}/libc.so.6", "libpython": "/usr/lib/json.py", "sqlite": f"{system}/libsqlite3.so"}
    for name, path in files.items():
        (root / "var/lib/dpkg/status.d" / name).write_text(f"Package: {name}\n")
        (root / "usr/share/doc" / name).mkdir(parents=True)
        (database / f"{name}{':amd64' if name == 'libc6' else ''}.list").write_text(f"/.\n/usr\n{path}\n")
    (database / "sqlite-more.list").write_text("/usr/lib/json.py\n")
    (system / "libc.so.6").write_text("")
    (system / "link").symlink_to(system)
    sources = [root / "usr/lib/json.py", system / "link/libc.so.6"]

    assert bundle.forget_records(root, sources, database=database) == ["libc6", "libpython"]

    assert sorted(path.name for path in (root / "var/lib/dpkg/status.d").iterdir()) == ["libc6", "libpython"]
    assert sorted(path.name for path in (root / "usr/share/doc").iterdir()) == ["libc6", "libpython"]


# How it is found


@pytest.fixture
def archive(tmp_path: Path) -> str:
    with zipfile.ZipFile(tmp_path / "file", "w") as made:
        made.writestr("extensions/fast.thing.so", b"machine code")
    return str(tmp_path / "file")


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_machine_code_is_found_in_a_file_without_a_name(archive: str, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    finder = boot.Extensions(archive, place if place == "memory" else str(folder))

    first = finder.find_spec("fast.thing")
    second = finder.find_spec("fast.thing")

    assert isinstance(first.loader, importlib.machinery.ExtensionFileLoader)
    assert Path(first.origin).read_bytes() == b"machine code"
    assert first.origin != second.origin
    assert os.readlink(first.origin).startswith("/memfd:fast.thing" if place == "memory" else str(folder))
    assert list(folder.iterdir()) == []
    for spec in (first, second):
        os.close(int(Path(spec.origin).name))


def test_what_is_not_there_is_left_to_others(archive: str) -> None:
    assert boot.Extensions(archive, "memory").find_spec("fast.other") is None


def test_where_no_file_can_be_had_the_import_says_so(archive: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        boot.Extensions(archive, str(tmp_path / "none")).find_spec("fast.thing")
