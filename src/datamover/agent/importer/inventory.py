"""What was put into a folder, so that all of it can be read back and compared. Blocking.

It is one number, whatever the order in which names come and go: the sum of the digests of all names, each with what it stands for. Memory grows with
hard links only, and not beyond a limit.
"""

import hashlib
import os
import stat
from collections.abc import Callable
from typing import Final

from datamover.agent.importer import refusals

PIECE: Final = 1 << 20
_MODULUS: Final = 1 << 256
_MOST: Final = 1 << 16
"""Digests of contents that are remembered by a file's name or number: what has many names is read once, and not once for each."""
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Inventory:
    """The names below a folder. They are relative to it; `alive` is called again and again while files are read."""

    def __init__(self, *, alive: Callable[[], None]) -> None:
        self._alive = alive
        self._sum = 0
        self._contents: dict[bytes, bytes] = {}

    def add_folder(self, name: str) -> None:
        """A folder was made."""
        self._add(_of_folder(name))

    def add_file(self, name: str, *, size: int, digest: bytes) -> None:
        """A file was written, and these are the SHA-256 and the number of the bytes that went into it."""
        self._add(_of_file(name, size, digest))

    def add_link(self, name: str, target: str) -> None:
        """A symbolic link was made."""
        self._add(_of_link(name, target))

    def add_name(self, name: str, *, of: str, parent: int, leaf: str) -> None:
        """A file or link that is called `of` got another name; `leaf` is it in the open folder `parent`. Raises OSError."""
        found = os.lstat(leaf, dir_fd=parent)
        if stat.S_ISLNK(found.st_mode):
            self.add_link(name, os.readlink(leaf, dir_fd=parent))
            return
        digest = self._contents.get(_key(of)) or self._read(leaf, parent)
        _remember(self._contents, _key(of), digest)
        _remember(self._contents, _key(name), digest)
        self.add_file(name, size=found.st_size, digest=digest)

    def drop(self, name: str, *, parent: int, leaf: str) -> None:
        """A file or link is about to be removed. What it holds is read, for what was written there is not remembered. Raises OSError."""
        found = os.lstat(leaf, dir_fd=parent)
        if stat.S_ISLNK(found.st_mode):
            gone = _of_link(name, os.readlink(leaf, dir_fd=parent))
        elif stat.S_ISREG(found.st_mode):
            digest = self._contents.pop(_key(name), b"") or self._read(leaf, parent)
            gone = _of_file(name, found.st_size, digest)
        else:
            return
        self._sum = (self._sum - gone) % _MODULUS

    def prove(self, folder: str) -> None:
        """Read back all that is in the folder, from the storage as far as it can be forgotten, and compare. Raises Failure and OSError."""
        there, read = Inventory(alive=self._alive), dict[bytes, bytes]()
        for above, folders, names, handle in os.fwalk(folder, onerror=_fail):
            place = f"{above[len(folder) + 1 :]}/".removeprefix("/")
            for name in (*folders, *names):
                self._alive()
                found = os.lstat(name, dir_fd=handle)
                path = f"{place}{name}"
                if stat.S_ISDIR(found.st_mode):
                    there.add_folder(path)
                elif stat.S_ISLNK(found.st_mode):
                    there.add_link(path, os.readlink(name, dir_fd=handle))
                else:
                    number = b"%d" % found.st_ino
                    digest = read.get(number) or self._read(name, handle)
                    if found.st_nlink > 1:
                        _remember(read, number, digest)
                    there.add_file(path, size=found.st_size, digest=digest)
        if there._sum != self._sum:
            raise refusals.not_as_written()

    def _add(self, item: int) -> None:
        self._sum = (self._sum + item) % _MODULUS

    def _read(self, leaf: str, parent: int) -> bytes:
        """Return the SHA-256 of a file, which is not kept in memory."""
        digest = hashlib.sha256()
        descriptor = os.open(leaf, _READ, dir_fd=parent)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := os.read(descriptor, PIECE):
                digest.update(piece)
                self._alive()
        finally:
            os.close(descriptor)
        return digest.digest()


def _remember(contents: dict[bytes, bytes], key: bytes, digest: bytes) -> None:
    if len(contents) >= _MOST:
        contents.clear()  # it costs time and is right all the same
    contents[key] = digest


def _key(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()


def _of_folder(name: str) -> int:
    return _item(b"folder", name)


def _of_file(name: str, size: int, digest: bytes) -> int:
    return _item(b"file %d %s" % (size, digest.hex().encode()), name)


def _of_link(name: str, target: str) -> int:
    return _item(b"link %s" % hashlib.sha256(os.fsencode(target)).hexdigest().encode(), name)


def _item(what: bytes, name: str) -> int:
    return int.from_bytes(hashlib.sha256(what + b"\0" + os.fsencode(name)).digest())


def _fail(error: OSError) -> None:
    raise error
