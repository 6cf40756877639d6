# ruff: noqa: PTH110, PTH112, PTH114, PTH115, PTH118, PTH119, PTH120, PTH123, PTH208, S603, S607  # links are followed by name; the programs are the build stage's
"""Copy Python, what it needs and the paths that are named into an empty root: no shell, no package manager, nothing setuid.

    python3 rootfs.py ROOT [PATH...]

Runs in the build stage of the Containerfile, under the interpreter that is to be copied. Goes by what is there, not by names of packages: the
standard library, the shared libraries that `ldd` names for every program and library that was copied, the certificates of the base. For every
Debian package that a file came from, its copyright and an entry in /var/lib/dpkg/status.d are kept, where scanners of images look.

Guarantees: a symbolic link comes with what it points to; a library that is wanted and not there fails the build; Python is compiled
ahead, because nothing can be written later, and those files do not depend on times.
Assumptions: a Debian base with glibc and the certificates in /etc/ssl/certs/ca-certificates.crt.

Standard library only: nothing is installed where it runs.
"""

import compileall
import os
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# What no program of ours imports: tests, desktop, terminals, installers, and database formats that bring libraries of their own.
LEFT_OUT = (
    "__pycache__", "config-*", "dist-packages", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tests",
    "tkinter", "turtledemo", "_curses*.so", "_dbm*.so", "_gdbm*.so", "_test*.so", "_ctypes_test*.so", "_tkinter*.so", "_xx*.so",
    "nis*.so", "ossaudiodev*.so", "readline*.so", "xx*.so",
)  # fmt: skip
KEPT = (
    "/etc/debian_version",
    "/etc/os-release",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/openssl.cnf",
)
OPTIONAL = frozenset({"/etc/debian_version", "/etc/ssl/openssl.cnf", "/usr/lib/ssl/openssl.cnf"})
OPENED_BY_NAME = ("libgcc_s.so.1",)  # glibc opens it when a thread ends early; no program names it
DIRECTORIES = {"config": 0o755, "data": 0o755, "dev": 0o755, "proc": 0o755, "run": 0o755, "sys": 0o755, "tmp": 0o1777}
WRITTEN = {
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\ndatamover:x:65532:65532:datamover:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n",
    "etc/group": "root:x:0:\ndatamover:x:65532:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
LOGIN = "/usr/bin/datamover-agent-login"
WITH_SSHD = WRITTEN | {
    "etc/passwd": f"root:x:0:0:root:/root:{LOGIN}\n"
    "sshd:x:101:65534:sshd:/run/sshd:/nonexistent\n"
    "datamover:x:65532:65532:datamover:/:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n",
}
"""sshd gives up its rights to the user `sshd` in the empty folder /run/sshd, and starts the login program for the one command that it allows."""


class Root:
    """The new root, filled from the running system."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.copied: set[str] = set()
        self._ignore = shutil.ignore_patterns(*LEFT_OUT)

    def add(self, path: str) -> str:
        """Copy a file, a directory or a link with what it points to; return where it really lies. Raises FileNotFoundError."""
        real = "/"
        parts = [part for part in path.split("/") if part]
        while parts:
            part = parts.pop(0)
            if part == "..":
                real = os.path.dirname(real)
                continue
            here = os.path.join(real, part)
            if os.path.islink(here):
                self._link(here)
                pointed = os.readlink(here)
                parts = [each for each in pointed.split("/") if each and each != "."] + parts
                if pointed.startswith("/"):
                    real = "/"
                continue
            real = here
        if os.path.isdir(real):
            self._tree(real)
        else:
            self._file(real)
        return real

    def resolve_libraries(self) -> None:
        """Add the shared libraries of everything that was copied. Raises SystemExit when one is not there."""
        seen: set[str] = set()
        for name in OPENED_BY_NAME:
            for found in _libraries_called(name):
                self.add(found)
        while waiting := sorted(self.copied - seen):
            seen |= self.copied
            wanted: set[str] = set()
            for path in waiting:
                if _is_elf(path):
                    wanted |= _needed(path)
            for library in sorted(wanted):
                self.add(library)

    def _link(self, path: str) -> None:
        there = self._place(path)
        if not there.is_symlink():
            there.symlink_to(os.readlink(path))
            self.copied.add(path)

    def _file(self, path: str) -> None:
        if path in self.copied:
            return
        there = self._place(path)
        shutil.copy2(path, there)
        there.chmod(stat.S_IMODE(there.stat().st_mode) & 0o755)  # no setuid, nothing that others may write
        self.copied.add(path)

    def _tree(self, path: str) -> None:
        self._place(path).mkdir(exist_ok=True)
        names = os.listdir(path)
        for name in sorted(set(names) - set(self._ignore(path, names) if _is_python(path) else ())):
            inner = os.path.join(path, name)
            if os.path.islink(inner) and not os.path.exists(inner):
                continue
            self.add(inner)

    def _place(self, path: str) -> Path:
        there = self.target / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        return there


def _is_python(path: str) -> bool:
    return path == STDLIB or path.startswith(f"{STDLIB}/")


STDLIB = sysconfig.get_path("stdlib")


def _is_elf(path: str) -> bool:
    if os.path.islink(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def _needed(path: str) -> set[str]:
    answer = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if "not found" in answer.stdout:
        sys.exit(f"{path} wants a library that is not there:\n{answer.stdout}")
    return set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", answer.stdout, re.MULTILINE))


def _libraries_called(name: str) -> list[str]:
    listing = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    return re.findall(rf"^\s+{re.escape(name)} .* => (/\S+)$", listing, re.MULTILINE)[:1]


def keep_package_records(root: Root) -> list[str]:
    """Write the copyright and the record of every Debian package that a copied file came from; return their names."""
    database = Path("/var/lib/dpkg")
    if not (database / "status").exists():
        return []
    copied = {os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in root.copied}
    owners: set[str] = set()
    real: dict[str, str] = {}
    for listing in (database / "info").glob("*.list"):
        for line in listing.read_text(encoding="utf-8").splitlines():
            folder, _, name = line.rpartition("/")
            if folder not in real:
                real[folder] = os.path.realpath(folder or "/")
            if os.path.join(real[folder], name) in copied and not os.path.isdir(line):
                owners.add(listing.stem.partition(":")[0])
                break
    owners.add("ca-certificates")  # its bundle is made at installation, so that no list has it
    records = root.target / "var/lib/dpkg/status.d"
    records.mkdir(parents=True)
    kept: list[str] = []
    for stanza in (database / "status").read_text(encoding="utf-8").split("\n\n"):
        match = re.search(r"^Package: (\S+)$", stanza, re.MULTILINE)
        # packages of engines are unpacked only: nothing of theirs is to run here
        kept_states = ("\nStatus: install ok installed", "\nStatus: install ok unpacked")
        if match is None or match[1] not in owners or not any(state in stanza for state in kept_states):
            continue
        name = match[1]
        (records / name).write_text(stanza.strip() + "\n", encoding="utf-8")
        kept.append(name)
        copyright_file = Path("/usr/share/doc") / name / "copyright"
        if copyright_file.exists():
            root.add(str(copyright_file))
        else:
            sys.stderr.write(f"warning: the base has no {copyright_file}\n")
    return sorted(kept)


def compile_python(target: Path, folders: Iterable[str]) -> None:
    """Compile ahead, without times in the files, so that they hold whatever an image builder does to times."""
    for folder in folders:
        done = compileall.compile_dir(
            target / folder.lstrip("/"), maxlevels=30, quiet=1, force=True, stripdir=str(target), prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip
        if not done:
            sys.exit(f"{folder} does not compile")


def unwanted(target: Path) -> Iterator[str]:
    """Yield the paths that must not be in an image: with special rights, or writable by everybody."""
    for folder, names, files in os.walk(target):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode) or path == os.path.join(target, "tmp"):
                continue
            if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH):
                yield path


def main(arguments: list[str]) -> int:
    """Fill the root; returns the exit code."""
    target = Path(arguments[0])
    target.mkdir(mode=0o755)
    root = Root(target)
    for path in KEPT:
        if os.path.exists(path) or path not in OPTIONAL:
            root.add(path)
    interpreter = os.path.join(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    for path in (interpreter, os.path.join(sys.base_prefix, "bin/python3"), STDLIB, *arguments[1:]):
        root.add(path)
    root.resolve_libraries()
    packages = keep_package_records(root)
    for name, mode in DIRECTORIES.items():
        (target / name).mkdir(exist_ok=True)
        (target / name).chmod(mode)
    serves_ssh = LOGIN in arguments
    if serves_ssh:
        (target / "root").mkdir(mode=0o700, exist_ok=True)
        (target / "run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name, text in (WITH_SSHD if serves_ssh else WRITTEN).items():
        (target / name).write_text(text, encoding="utf-8")
    for configuration in ("/etc/ld.so.conf", "/etc/ld.so.conf.d"):
        if os.path.exists(configuration):
            root.add(configuration)
    subprocess.run(["/sbin/ldconfig", "-r", target], check=True)
    shutil.rmtree(target / "var/cache", ignore_errors=True)  # of ldconfig itself
    compile_python(target, [STDLIB, *(path for path in arguments[1:] if os.path.isdir(path))])
    if found := sorted(unwanted(target)):
        sys.exit(f"these must not be in an image: {', '.join(found)}")
    size = sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, files in os.walk(target) for name in files)
    sys.stderr.write(f"{len(root.copied)} files of {len(packages)} Debian packages and ours, {size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
