"""Packages of Debian, by hash: fetched from a mirror, looked at, and unpacked without root and without dpkg.

A package is pinned by the SHA-256 of its file, so it does not matter which mirror sends it, nor over what. Mirrors are those that
`DATAMOVER_DEBIAN_MIRROR` names (addresses, with blanks between them; each ends in `/debian`), else those that the machine's own apt
uses. No mirror is built in: a machine that is no Debian has to be told one.

Guarantees: what is unpacked is the pinned file and nothing else; nothing is written outside the directory that is given.

Standard library only, and nothing else of the project: the tools of the repository run it before anything is installed.
"""

import hashlib
import io
import lzma
import platform
import re
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Final

MIRROR_VARIABLE: Final = "DATAMOVER_DEBIAN_MIRROR"
"""Names mirrors that are asked in the place of those of apt."""
SECURITY: Final = "debian-security"
"""The archive of security updates; it lies beside `debian` on every mirror."""
MOST_BYTES: Final = 64_000_000
SECONDS: Final = 30.0
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_AR: Final = b"!<arch>\n"
_SOURCES: Final = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


class PackageError(Exception):
    """A package cannot be had. The message says why."""


class PackageGoneError(PackageError):
    """No mirror has this version any more."""


class PackageBrokenError(PackageError):
    """What came is not the package that was asked for."""


@dataclass(frozen=True, slots=True)
class Package:
    """One file of Debian's archive."""

    name: str
    version: str
    path: str
    """Where it lies on a mirror, below the archive."""
    size: int
    sha256: str
    archive: str = "debian"

    @property
    def file_name(self) -> str:
        """The name of the file."""
        return self.path.rpartition("/")[2]


def architecture() -> str | None:
    """Return Debian's name for the machine that this runs on; None where no package is pinned for it."""
    return _MACHINES.get(platform.machine()) if platform.system() == "Linux" else None


def find_mirrors(environment: Mapping[str, str], *, sources: Sequence[Path] = _SOURCES) -> list[str]:
    """Return the addresses of mirrors, without a slash at the end: the named ones, else apt's. Reads files of apt."""
    named = environment.get(MIRROR_VARIABLE, "").split()
    found = named or [each for path in sources for file in _configuration_files(path) for each in _addresses(file)]
    return list(dict.fromkeys(each.rstrip("/") for each in found))


def _configuration_files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix in {".list", ".sources"})
    return [path] if path.is_file() else []


def _addresses(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith(("deb ", "URIs:")):
            yield from re.findall(r"https?://[^\s\]]+/debian/?(?=\s|$)", line)


def fetch(package: Package, mirrors: Sequence[str]) -> bytes:
    """Return the package's file from the first mirror that has it. Raises PackageError."""
    if not mirrors:
        raise PackageError(f"no mirror of Debian is known here: name one in {MIRROR_VARIABLE}")
    refusals: list[str] = []
    gone = True
    for mirror in mirrors:
        root = mirror.removesuffix("/debian") + "/" + package.archive if package.archive != "debian" else mirror
        try:
            content = _get(f"{root}/{urllib.parse.quote(package.path)}")
        except urllib.error.HTTPError as error:
            error.close()
            gone = gone and error.code in {404, 410}
            refusals.append(f"HTTP {error.code}")
        except (OSError, HTTPException, ValueError) as error:
            gone = False
            refusals.append(str(error) or type(error).__name__)
        else:
            check(package, content)
            return content
    problem = PackageGoneError if gone else PackageError
    raise problem(f"{package.file_name} cannot be fetched: {'; '.join(refusals)}")


def _get(address: str) -> bytes:
    if not address.startswith(("http://", "https://")):
        raise ValueError("a mirror is an address that begins with http:// or https://")
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310 - looked at above
        content: bytes = answer.read(MOST_BYTES + 1)
    return content


def check(package: Package, content: bytes) -> None:
    """Raise PackageBrokenError unless `content` is the pinned file."""
    if len(content) != package.size or hashlib.sha256(content).hexdigest() != package.sha256:
        raise PackageBrokenError(f"{package.file_name} is not the file that is pinned (size or SHA-256 differ)")


def unpack(content: bytes, target: Path) -> None:
    """Unpack the files and links of a package into a directory: without owners, special rights and devices. Raises PackageBrokenError."""
    try:
        for name, member in _members(content):
            if name.startswith("data.tar"):
                with tarfile.open(fileobj=io.BytesIO(member)) as archive:
                    for entry in archive:
                        _unpack_entry(archive, entry, target)
                return
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
        raise PackageBrokenError(f"the package cannot be read: {error}") from error
    raise PackageBrokenError("the package has no files")


def _unpack_entry(archive: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> None:
    path = target / _inside(entry.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.resolve() != path.parent.absolute():
        raise ValueError(f"{entry.name} lies behind a link")
    if entry.isdir():
        path.mkdir(exist_ok=True)
    elif entry.issym():
        path.symlink_to(entry.linkname)
    elif entry.isfile() and (source := archive.extractfile(entry)) is not None:
        with path.open("wb") as file:
            shutil.copyfileobj(source, file)
        path.chmod(entry.mode & 0o755)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name} is outside")
    return path


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of an `ar` archive."""
    if not content.startswith(_AR):
        raise ValueError("this is no Debian package")
    start = len(_AR)
    while start + 60 <= len(content):
        header = content[start : start + 60]
        size = int(header[48:58])
        member = content[start + 60 : start + 60 + size]
        if len(member) != size:
            raise ValueError("it is cut off")
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), member
        start += 60 + size + size % 2
