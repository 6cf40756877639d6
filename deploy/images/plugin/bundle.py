"""Make the one file that is the plugin for Velero out of a root that rootfs.py has filled.

    python3 bundle.py ROOT SITE_PACKAGES LAUNCHER FILE [--forget-records]

Runs in the build stage of the Containerfile, under the interpreter that ROOT holds. FILE is LAUNCHER with a zip archive behind it, in which nothing is
compressed, since it is read at every start:

runtime/loader, runtime/interpreter, runtime/libraries/SONAME   what launcher.go starts
extensions/MODULE.so                                            modules in machine code, which boot.py imports
everything else                                                 the standard library and SITE_PACKAGES, compiled

The archive's comment, which is the end of the file, is the CRC-32 of all before it: by that the launcher knows a file that is not whole.

With --forget-records the records of packages of which nothing is in the file are removed from ROOT, which is then not the system's own: what the image
says of itself is what is in it.

Guarantees: every library that one of these asks for is in the file, so what the machine has where the plugin runs does not matter; a library that is
wanted and not there fails the build. The archive has its entries in order, and all of one time.

Standard library only: nothing is installed where it runs.
"""

import importlib.machinery
import importlib.util
import marshal
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

BOOT = Path(__file__).with_name("boot.py")
WITHOUT_PACKAGES = frozenset(
    {
        "curses",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "sqlite3",
        "test",
        "tkinter",
        "turtledemo",
        "unittest",
        "venv",
    }
)
"""Packages of the standard library that the plugin never imports."""
WITHOUT_EXTENSIONS = frozenset(
    {"_bz2", "_crypt", "_curses", "_curses_panel", "_dbm", "_gdbm", "_lzma", "_sqlite3", "_tkinter", "_uuid"}
    | {"audioop", "nis", "ossaudiodev", "readline", "spwd"}
)
"""Modules in machine code that bring a library which nothing else wants, or that nothing imports. Who asks for them does without."""
LOADER = re.compile(r"^\s*(/\S*ld-linux\S*) \(0x", re.MULTILINE)
LIBRARY = re.compile(r"^\s*(\S+) => (/\S+) \(0x", re.MULTILINE)
DATABASE = Path("/var/lib/dpkg/info")
CHECKSUM = 8
"""Letters of the checksum at the end."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def extension_name(path: str) -> str | None:
    """Return the full name of the module that a file below a folder of modules holds; None where it holds no machine code."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if path.endswith(suffix):
            parts = path.removesuffix(suffix).removeprefix("lib-dynload/").split("/")
            return (
                ".".join(parts) if all(map(str.isidentifier, parts)) else None
            )  # else a library for who builds upon Python
    return None


def is_wanted(path: str) -> bool:
    """Tell whether a file below a folder of modules is for the plugin."""
    parts = path.split("/")
    module = extension_name(path)
    return (
        parts[0] not in WITHOUT_PACKAGES
        and not {"__pycache__", "site-packages", "dist-packages", "tests"} & set(parts)
        and (module is None or (module not in WITHOUT_EXTENSIONS and not module.rpartition(".")[2].startswith("_test")))
    )


def compiled(source: bytes, name: str) -> bytes:
    """Return a module as Python imports it without its source, and without a question of times. Raises SyntaxError."""
    code = compile(source, name, "exec", dont_inherit=True)
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    return header + marshal.dumps(code)


class Bundle:
    """The archive: filled in any order, written in one."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.sources: set[Path] = set()
        """The files that they were made of."""

    def add_modules(self, folder: Path) -> list[Path]:
        """Add the modules of a folder; return the files of those in machine code. Raises SyntaxError."""
        extensions: list[Path] = []
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if not path.is_file() or not is_wanted(name):
                continue
            self.sources.add(path)
            if module := extension_name(name):
                self.entries[f"extensions/{module}.so"] = path.read_bytes()
                extensions.append(path)
            elif path.suffix == ".py":
                self.entries[f"{name}c"] = compiled(path.read_bytes(), name)
        return extensions

    def add_runtime(self, interpreter: Path, extensions: list[Path]) -> None:
        """Add interpreter, dynamic loader and the libraries that it and modules ask for. Raises SystemExit when one is not there."""
        loaders, found = set[str](), dict[str, str]()
        for path in (interpreter, *extensions):
            answer = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607 - of the build stage
            if "not found" in answer:
                sys.exit(f"{path} wants a library that is not there:\n{answer}")
            loaders |= set(LOADER.findall(answer))
            found |= dict(LIBRARY.findall(answer))
        if len(loaders) != 1:
            sys.exit(f"the base has to have one dynamic loader of glibc, and these were found: {sorted(loaders)}")
        self._take("runtime/loader", Path(loaders.pop()))
        self._take("runtime/interpreter", interpreter)
        for name, path in found.items():
            self._take(f"runtime/libraries/{name}", Path(path))

    def _take(self, name: str, path: Path) -> None:
        self.entries[name] = path.read_bytes()
        self.sources.add(path)

    def write(self, launcher: Path, target: Path) -> None:
        """Write the program: the launcher, and the archive behind it."""
        with target.open("w+b") as file:
            file.write(launcher.read_bytes())
            with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
                for name in sorted(self.entries.keys() | self._folders()):
                    archive.writestr(zipfile.ZipInfo(name, EPOCH), self.entries.get(name, b""))
                archive.comment = bytes(CHECKSUM)
            end = file.seek(-CHECKSUM, os.SEEK_END)
            checksum = 0
            file.seek(0)
            while piece := file.read(min(1 << 20, end - file.tell())):
                checksum = zlib.crc32(piece, checksum)
            file.write(b"%08x" % checksum)
        target.chmod(0o755)

    def _folders(self) -> set[str]:
        """Folders of modules that are packages without a file of their own: Python looks for those by an entry for the folder."""
        modules = [PurePosixPath(name) for name in self.entries if name.endswith(".pyc")]
        return {f"{folder}/" for name in modules for folder in name.parents[:-1]}


def forget_records(root: Path, sources: Iterable[Path], *, database: Path = DATABASE) -> list[str]:
    """Remove record and copyright of each Debian package of a root that none of these files came from; return the names of those that stay.

    `sources` are files of the root, or of the system that it was copied from.
    """
    if root == Path("/"):
        raise ValueError("these would be the system's own")
    real = {f"/{path.relative_to(root)}" if path.is_relative_to(root) else str(path.resolve()) for path in sources}
    kept: list[str] = []
    for record in sorted((root / "var/lib/dpkg/status.d").glob("*")):
        listings = (*database.glob(f"{record.name}.list"), *database.glob(f"{record.name}:*.list"))
        files = {line for listing in listings for line in listing.read_text(encoding="utf-8").splitlines()}
        if any(path in real or str(Path(path).resolve()) in real for path in files if not Path(path).is_dir()):
            kept.append(record.name)
        else:
            record.unlink()
            shutil.rmtree(root / "usr/share/doc" / record.name, ignore_errors=True)
    return kept


def main(arguments: list[str]) -> int:
    """Write the program; returns the exit code."""
    root, site_packages, launcher, target = map(Path, arguments[:4])
    bundle = Bundle()
    extensions = bundle.add_modules(root / sysconfig.get_path("stdlib").lstrip("/"))
    extensions += bundle.add_modules(root / site_packages.as_posix().lstrip("/"))
    interpreter = f"{sys.base_prefix}/bin/python3.{sys.version_info.minor}"
    bundle.add_runtime(root / interpreter.lstrip("/"), extensions)
    bundle.entries["__main__.pyc"] = compiled(BOOT.read_bytes(), BOOT.name)
    bundle.write(launcher, target)
    sys.stderr.write(f"{len(bundle.entries)} parts, {target.stat().st_size / 1e6:.1f} MB\n")
    if arguments[4:] == ["--forget-records"]:
        packages = forget_records(root, bundle.sources | {Path("/etc/os-release")})  # which the image has as well
        sys.stderr.write(f"of the Debian packages {', '.join(packages) or 'none'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
