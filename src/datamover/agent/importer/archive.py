"""A tar, extracted into a folder. Blocking.

Guarantees: nothing is written outside the folder, whatever names and links are in the archive: a name that is absolute or holds `..`, a link that leads
out, a device, a pipe, refuse the whole of it; no link is followed on the way to a name; no privilege comes with it (set-ID bits, owners). What comes is
bounded by the room that there is, and all headers before a file by what names need, so memory stays flat and no header takes long. What was written is
told to an inventory, so that it can be read back.
"""

import errno
import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Final, cast

import msgspec

from datamover.agent import printing
from datamover.agent.errors import Failure
from datamover.agent.importer import refusals, stage
from datamover.agent.importer.inventory import Inventory
from datamover.api import transfer

_PIECE: Final = 1 << 20
_LONGEST_NAME: Final = 4096
_DEEPEST: Final = 256
_HEADERS: Final = 2 << 20
"""Bytes of all headers before one file, and of what headers say about all files: tarfile keeps what they hold, many times their size."""
_MOST_DIGITS: Final = 1024
"""In a row, in a header: tarfile looks for numbers in a time that grows with the square of them, deaf to every signal."""
_DIGITS: Final = re.compile(rb"[0-9]+")
_LOST_AND_FOUND: Final = "lost+found"
_UNFIT: Final = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EMLINK})
_OPEN: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Extracted(msgspec.Struct):
    """What was in it."""

    files: int = 0
    bytes: int = 0
    links: int = 0


class ForwardReader:
    """Pieces as a file that tarfile takes: it is read from its beginning to its end, and no header of it is larger than a piece."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._at = 0
        self.headers: int | None = _HEADERS
        """Bytes that headers may still have; None while a file is read."""

    def tell(self) -> int:
        """Return how much was read."""
        return self._at

    def seek(self, place: int, _whence: int = 0) -> int:
        """Read up to a place that follows."""
        if place < self._at:
            raise tarfile.ReadError("it does not go forward")
        while self._at < place:
            if not self._take(min(_PIECE, place - self._at)):
                raise tarfile.ReadError("it is cut off")
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, fewer at the end only."""
        if not 0 <= size <= _PIECE + tarfile.RECORDSIZE:
            raise _too_much()
        piece = self._take(size)
        if self.headers is not None:
            self.headers -= size
            if self.headers < 0 or any(len(each) > _MOST_DIGITS for each in _DIGITS.findall(piece)):
                raise _too_much()
        return piece

    def _take(self, size: int) -> bytes:
        found: list[bytes | memoryview] = []
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    break
            part = self._rest[:size]
            self._rest = self._rest[len(part) :]
            self._at += len(part)
            size -= len(part)
            found.append(part)
        return b"".join(found)


def extract(
    pieces: Iterator[bytes], folder: str, *, limit: int, inventory: Inventory, alive: Callable[[], None]
) -> Extracted:
    """Extract all of it; `limit` bytes are the most that its files may have. Raises Failure, and OSError of the volume."""
    done = Extracted()
    top = os.open(folder, _FOLDER)
    try:
        # it reads, seeks and tells, and no more is asked of it
        reader = ForwardReader(pieces)
        source = cast("IO[bytes]", cast("object", reader))
        with tarfile.open(fileobj=source, mode="r:") as archive:
            remembered: list[tarfile.TarInfo] = vars(archive)["members"]  # every one of them, which nobody asks for
            while (member := archive.next()) is not None:
                remembered.clear()
                reader.headers = None
                if sum(len(key) + len(value) for key, value in archive.pax_headers.items()) > _HEADERS:
                    raise _too_much()
                alive()
                try:
                    _extract(archive, member, top, done, inventory, limit=limit)
                except OSError as error:
                    if error.errno in _UNFIT:
                        raise _refused(
                            printing.readable(os.fsencode(member.name)),
                            f"the volume takes no such name or link ({error.strerror})",
                        ) from None
                    raise
                reader.headers = _HEADERS
    except RecursionError:
        raise _too_much() from None
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise refusals.damaged(f"the archive is none, or is damaged: {printing.printable(str(error))[:200]}") from None
    finally:
        os.close(top)
    return done


def _extract(
    archive: tarfile.TarFile, member: tarfile.TarInfo, top: int, done: Extracted, inventory: Inventory, *, limit: int
) -> None:
    name = _safe(member.name)
    if not name:  # the folder itself
        return
    shown = printing.readable(os.fsencode(name))
    if name == _LOST_AND_FOUND and member.isdir():
        return  # the volume has its own, or needs none
    if name.split("/")[0] == stage.FOLDER:
        raise _refused(shown, "that is where the importer works")
    parent, leaf = _enter(top, name, inventory)
    try:
        if member.isdir():
            _make_folder(parent, leaf, member.mode, name, inventory)
            return
        _make_way(parent, leaf, shown, name, inventory)
        if member.isreg():
            if done.bytes + member.size > limit:
                raise refusals.too_large(done.bytes + member.size, limit, what="archive")
            size, digest = _write(archive, member, parent, leaf)
            inventory.add_file(name, size=size, digest=digest)
            done.files += 1
            done.bytes += member.size
        elif member.issym():
            if not _stays_within(name, member.linkname):
                raise _refused(shown, "it is a link that leads out of the volume")
            os.symlink(member.linkname, leaf, dir_fd=parent)
            inventory.add_link(name, member.linkname)
            done.links += 1
        elif member.islnk():
            _link(top, name, _safe(member.linkname), parent, leaf, inventory)
            done.links += 1
        else:
            raise _refused(shown, "it is a device, a pipe, or of a kind that is not known")
    finally:
        os.close(parent)


def _safe(name: str) -> str:
    """Return a name below the folder, empty for the folder itself. Raises Failure."""
    shown = printing.readable(os.fsencode(name))
    if name.startswith("/"):
        raise _refused(shown, "its name is absolute")
    if len(name) > _LONGEST_NAME or "\0" in name:
        raise _refused(shown[:200], "its name is none")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise _refused(shown, "its name leads upwards")
    if len(parts) > _DEEPEST:
        raise _refused(shown, f"it is more than {_DEEPEST} folders deep")
    return "/".join(parts)


def _stays_within(name: str, target: str) -> bool:
    """Tell whether a link leads to a place below the folder. Upwards it may lead at its beginning only: behind another link nobody knows where that is."""
    parts = [part for part in target.split("/") if part not in {"", "."}]
    up = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    return (
        bool(target)
        and not target.startswith("/")
        and ".." not in parts[up:]
        and up <= name.count("/")
        and "\0" not in target
    )


def _enter(top: int, name: str, inventory: Inventory) -> tuple[int, str]:
    """Return a handle on the folder that a name is in, which is made where it is not there, and the last part. No link is followed. Raises Failure."""
    *above, leaf = name.split("/")
    folder = os.dup(top)
    try:
        for depth, part in enumerate(above, 1):
            try:
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=folder)
                inventory.add_folder("/".join(above[:depth]))
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                raise _refused(
                    printing.readable(os.fsencode(name)), f"it is behind a link, or a file ({error.strerror})"
                ) from None
            os.close(folder)
            folder = inner
    except BaseException:
        os.close(folder)
        raise
    return folder, leaf


def _make_folder(parent: int, leaf: str, mode: int, name: str, inventory: Inventory) -> None:
    with suppress(FileExistsError):
        os.mkdir(leaf, dir_fd=parent)
        inventory.add_folder(name)
    inner = os.open(leaf, _FOLDER, dir_fd=parent)
    try:
        # the rights of the owner stay, or the next name could not be written
        os.fchmod(inner, (mode & 0o777) | 0o700)
    finally:
        os.close(inner)


def _make_way(parent: int, leaf: str, shown: str, name: str, inventory: Inventory) -> None:
    """Remove an earlier member of the same name, as tar does."""
    try:
        inventory.drop(name, parent=parent, leaf=leaf)
    except FileNotFoundError:
        return
    try:
        os.unlink(leaf, dir_fd=parent)
    except OSError:
        raise _refused(shown, "a folder has its name") from None


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, leaf: str) -> tuple[int, bytes]:
    """Write a file; return how many bytes went into it, and their SHA-256."""
    source = archive.extractfile(member)
    assert source is not None
    descriptor = os.open(leaf, _OPEN, 0o600, dir_fd=parent)
    size, digest = 0, hashlib.sha256()
    try:
        while piece := source.read(_PIECE):
            size += len(piece)
            digest.update(piece)
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        os.fchmod(descriptor, (member.mode & 0o777) | 0o600)
        moment = max(0, int(member.mtime))
        os.utime(descriptor, (moment, moment))
    finally:
        os.close(descriptor)
    return size, digest.digest()


def _link(top: int, path: str, target: str, parent: int, leaf: str, inventory: Inventory) -> None:
    """Make a hard link to a file of the archive itself, or to a link, which may lead somewhere else from its new place `path`."""
    shown = printing.readable(os.fsencode(path))
    if not target:
        raise _refused(shown, "it is a hard link to no file")
    folder, name = _enter(top, target, inventory)
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if (found.st_mode & 0o170000) not in {0o100000, 0o120000}:
            raise _refused(shown, "it is a hard link to no file")
        if found.st_mode & 0o170000 == 0o120000 and not _stays_within(path, os.readlink(name, dir_fd=folder)):
            raise _refused(shown, "it is a link that leads out of the volume")
        os.link(name, leaf, src_dir_fd=folder, dst_dir_fd=parent, follow_symlinks=False)
        inventory.add_name(path, of=target, parent=folder, leaf=name)
    except FileNotFoundError:
        raise _refused(shown, "it is a hard link to a file that is not there") from None
    finally:
        os.close(folder)


def _too_much() -> Failure:
    return refusals.of_image("it is an archive with a header larger than any name needs")


def _refused(shown: str, why: str) -> Failure:
    return Failure(
        transfer.CONFIG,
        transfer.REASON_IMAGE_REFUSED,
        f"The archive is not taken: '{shown[:200]}' cannot be extracted, for {why}. Nothing of it is kept. Make it anew without that.",
    )
