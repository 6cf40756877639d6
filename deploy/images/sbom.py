"""Write what is in an image as a CycloneDX document: Python packages, Debian packages, Python itself, and the Go modules of programs.

    python3 sbom.py ROOT PYTHON.json NAME VERSION [PROGRAM...] > sbom.cdx.json

PYTHON.json is what `cyclonedx-py environment` said of the image's Python environment; everything else is added to that document.
Debian packages are those that `rootfs.py` kept records of in ROOT; a Go PROGRAM carries the list of its modules in itself.

Standard library only: nothing is installed where it runs.
"""

import json
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

_GO_MAGIC = b"\xff Go buildinf:"
_GO_HEADER = 32
_GO_INLINE_STRINGS = 2  # flag of Go 1.18 and newer: version and modules follow the header


def debian_packages(root: Path) -> Iterator[dict[str, Any]]:
    """Yield a component for every Debian package with a record in `root`."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', _read(root / "etc/os-release"), re.MULTILINE))
    distribution = release.get("ID", "debian")
    for record in sorted((root / "var/lib/dpkg/status.d").glob("*")):
        fields = dict(re.findall(r"^(\S+): (.*)$", record.read_text(encoding="utf-8"), re.MULTILINE))
        name, version = fields["Package"], fields["Version"]
        purl = (
            f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}"
            f"?arch={fields['Architecture']}&distro={distribution}-{release.get('VERSION_ID', '')}"
        )
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def go_modules(program: bytes) -> Iterator[dict[str, Any]]:
    """Yield the components that a Go program says it was built from: the main module, its dependencies, the standard library.

    Raises ValueError for a program that says nothing.
    """
    start = program.find(_GO_MAGIC)
    while start >= 0 and start % 16:
        start = program.find(_GO_MAGIC, start + 1)
    if start < 0 or not program[start + 15] & _GO_INLINE_STRINGS:
        raise ValueError("the program does not tell what it was built from")
    version, rest = _string(program, start + _GO_HEADER)
    listing, _ = _string(program, rest)
    modules: list[tuple[str, str]] = [("stdlib", version.decode().removeprefix("go").partition(" ")[0])]
    for line in listing[16:-16].decode().splitlines():  # sixteen bytes on both sides mark the listing
        kind, *columns = line.split("\t")
        if kind in {"mod", "dep"}:
            modules.append((columns[0], columns[1]))
        elif kind == "=>":  # in place of the module before
            modules[-1] = (columns[0], columns[1])
    for name, number in modules:
        purl = f"pkg:golang/{quote(name)}@{quote(number)}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": number, "purl": purl}


def _string(data: bytes, start: int) -> tuple[bytes, int]:
    length = shift = 0
    while True:
        byte = data[start]
        start += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return data[start : start + length], start + length


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(arguments: list[str]) -> int:
    """Print the document; returns the exit code."""
    root, environment, name, version, *programs = arguments
    document: dict[str, Any] = json.loads(Path(environment).read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = {each["bom-ref"]: each for each in document.get("components", ())}
    packaged = {each["bom-ref"]: each for each in debian_packages(Path(root))}
    for each in found.values():  # our own wheel came from a place that only the build stage has
        if "file://" in json.dumps(each.get("externalReferences")):
            del each["externalReferences"]
    found |= packaged
    if not any(each["name"].startswith("python3") for each in packaged.values()):
        number = platform.python_version()
        found["python"] = {
            "type": "platform", "bom-ref": "python", "name": "python", "version": number, "purl": f"pkg:generic/python@{number}"
        }  # fmt: skip
    for program in programs:
        found |= {each["bom-ref"]: each for each in go_modules(Path(program).read_bytes())}
    document["components"] = [found[reference] for reference in sorted(found)]
    document["metadata"] = {
        **document.get("metadata", {}),
        "component": {"type": "container", "bom-ref": f"image:{name}", "name": name, "version": version},
    }
    # Dependencies are known among Python packages only, and the root of theirs is the image now.
    document["dependencies"] = [each for each in document.get("dependencies", ()) if each["ref"] in found]
    sys.stdout.write(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
