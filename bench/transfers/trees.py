"""Trees of noise: made, changed by a hundredth, and compared with what came back."""

import os
from collections.abc import Iterator
from pathlib import Path

from bench.transfers.cases import MIB, Group, Tree

_IN_A_FOLDER = 100
_END = 64 << 10
"""Bytes at each end of a sparse file that are no hole."""


def make_tree(top: Path, tree: Tree) -> None:
    """Write the files of a tree below an empty directory."""
    for group, path, number in _files(top, tree):
        path.parent.mkdir(parents=True, exist_ok=True)
        size = group.size(number)
        with path.open("wb") as file:
            if group.sparse:
                file.truncate(size)
                for place in (0, max(0, size - _END)):
                    file.seek(place)
                    file.write(os.urandom(min(_END, size - place)))
            else:
                _write_noise(file.fileno(), size)


def change_tree(top: Path, tree: Tree) -> None:
    """Change a hundredth: every hundredth file of many, a stretch of each of a few. No size changes."""
    for group, path, number in _files(top, tree):
        if not group.few and number % 100:
            continue
        size = group.size(number)
        with path.open("r+b") as file:
            if group.few:
                file.seek(size // 2)
                size = max(1, size // 100)
            file.flush()
            _write_noise(file.fileno(), size)


def find_difference(source: Path, target: Path) -> str:
    """Return in which file two trees differ first: by its path, size or content; empty where they do not."""
    expected, found = _listed(source), _listed(target)
    if odd := expected ^ found:
        return f"{len(odd)} paths are only on one side, among them {min(odd)}"
    return next((path for path in sorted(expected) if not _alike(source / path, target / path)), "")


def filled(top: Path) -> int:
    """Return the bytes that the files of a directory take on the disk."""
    return sum((top / path).stat().st_blocks * 512 for path in _listed(top))


def _files(top: Path, tree: Tree) -> Iterator[tuple[Group, Path, int]]:
    for index, group in enumerate(tree.groups):
        for number in range(group.count):
            folder = top / f"kind-{index}" / f"{number // _IN_A_FOLDER:05}"
            yield group, folder / f"{number:07}.dat", number


def _write_noise(handle: int, size: int) -> None:
    while size > 0:
        size -= os.write(handle, os.urandom(min(size, MIB)))


def _listed(top: Path) -> set[str]:
    return {os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names}


def _alike(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as left, other.open("rb") as right:
        while block := left.read(MIB):
            if block != right.read(MIB):
                return False
    return True
