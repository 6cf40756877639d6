"""Condenses the Go structs of the Kubernetes API into `messages.txt`: the field numbers of their protobuf form.

    python -m schemas.messages MODULES VERSION > messages.txt

`MODULES` is the folder that holds `api@VERSION` and `apimachinery@VERSION` (a Go module cache, for instance). The format is described at the
top of the table; `localkube.store.protobuf` reads it. What a field's value looks like is not said there: that is in `builtin.txt`.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schemas.definitions import ROOTS

_FILES = (
    "api@{version}/authentication/v1/types.go",
    "api@{version}/authorization/v1/types.go",
    "api@{version}/batch/v1/types.go",
    "api@{version}/coordination/v1/types.go",
    "api@{version}/core/v1/types.go",
    "api@{version}/events/v1/types.go",
    "api@{version}/rbac/v1/types.go",
    "api@{version}/scheduling/v1/types.go",
    "api@{version}/storage/v1/types.go",
    "apimachinery@{version}/pkg/apis/meta/v1/types.go",
)
_ALIASES = {"metav1": "apimachinery.pkg.apis.meta.v1", "v1": "api.core.v1", "corev1": "api.core.v1"}
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(
    r'^\t(?:(\w+)\s+)?([*\[\]\w.]+)\s+`[^`]*json:"([^"]*)"[^`]*protobuf:"\w+,(\d+),[^`]*`', re.MULTILINE
)

HEADER = """\
# The numbers of fields in the protobuf form of built-in kinds.
# Made by tools/schemas/messages.py from the Go structs of Kubernetes (Apache-2.0). Do not edit.
#
# NAME                        a message
#  NUMBER FIELD[?] [NAME]     a field: its JSON name ("^" when its fields lie in the message itself), "?" when an empty value
#                             means something, and the message that it or each of its items is
#
"""


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    name: str
    pointer: bool
    type: str

    def __str__(self) -> str:
        return f" {self.number} {self.name}{'?' if self.pointer else ''}" + (f" {self.type}" if self.type else "")


def condense(sources: dict[str, str], roots: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of the table. `sources` are Go files by the package that they stand for."""
    structs: dict[str, list[_Line]] = {}
    for package, source in sources.items():
        for match in _STRUCT.finditer(source):
            structs[f"{package}.{match[1]}"] = list(_fields(match[2], package))
    wanted = [root for root in roots if root in structs]
    seen = set(wanted)
    while wanted:
        for line in structs[wanted.pop()]:
            if line.type in structs and line.type not in seen:
                seen.add(line.type)
                wanted.append(line.type)
    for name in sorted(seen):
        yield name
        for line in sorted(structs[name], key=lambda line: line.number):
            known = line.type if line.type in structs else ""
            yield str(_Line(line.number, line.name, line.pointer, known))


def _fields(body: str, package: str) -> Iterator[_Line]:
    for _, kind, tag, number in _FIELD.findall(body):
        name = "^" if tag.endswith(",inline") and not tag.split(",")[0] else tag.split(",")[0]
        plain = re.sub(r"^(?:\*|\[\]|map\[[\w.]+\])+", "", kind)
        prefix, dot, last = plain.partition(".")
        where = f"{_ALIASES.get(prefix, prefix)}.{last}" if dot else f"{package}.{plain}"
        yield _Line(int(number), name, kind.startswith("*"), where)


def main(modules: str, version: str) -> None:
    """Read the sources and print the table."""
    sources: dict[str, str] = {}
    for pattern in _FILES:
        path = Path(modules) / pattern.format(version=version)
        package = ".".join(pattern.format(version="").replace("@", "").split("/")[:-1])
        sources[package] = path.read_text("utf-8")
    roots = tuple(root for root in ROOTS if not root.startswith("apiextensions"))
    sys.stdout.write(HEADER)
    for line in condense(sources, (*roots, "api.core.v1.Binding")):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
