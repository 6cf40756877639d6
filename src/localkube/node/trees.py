"""Copying directory trees. Blocking: call these in a thread.

A copy keeps what a volume can hold: modes, times to the nanosecond, owners (as root), symbolic links, hard links, extended attributes and
ACLs, holes, named pipes, sockets and devices, names in any bytes, depth beyond PATH_MAX. File contents are shared by reflink
(FICLONE) where the file system can, and copied where it cannot.

Guarantees: nothing below the source is written to; no symbolic link is followed on either side; what could not be kept is counted or
raised, never left out in silence.
Left out is what is in `lost+found` at the top, as in a backup of the tree itself; an empty directory stands for it.
Caveats: file systems that are mounted below come along, as in such a backup. A copy is made file by file. Neither way gives one moment for the whole tree, so files that change meanwhile are counted
(`CopyReport.changed`, `vanished`); the writer must rest for a consistent copy.

TreeError
├── Unreadable      files or directories that may not be read; the message names the first ones
├── NotCopyable     a special file that may not be made here (a device, without root)
├── Nested          source and destination lie in one another
└── Stopped         the copy was called off
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localkube.node.walking import GONE, Parts, below, opened, quote

_FICLONE = 0x40049409
_CHUNK = 16 * 1024 * 1024
_ATTEMPTS = 3
_NAMED = 5
_LOST_AND_FOUND = "lost+found"
_NO_REFLINK = {errno.EOPNOTSUPP, errno.EXDEV, errno.ENOTTY, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ETXTBSY}
_NO_RANGE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY}
_NO_ATTRIBUTE = {errno.EOPNOTSUPP, errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSPC, errno.E2BIG, errno.ERANGE}
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TreeError(Exception):
    """A tree could not be copied. The message is for people; names are escaped."""


class Unreadable(TreeError):  # noqa: N818 - says what is the matter
    """Something may not be read."""


class NotCopyable(TreeError):  # noqa: N818
    """A special file may not be made here."""


class Nested(TreeError):  # noqa: N818
    """Source and destination lie in one another."""


class Stopped(TreeError):  # noqa: N818
    """The copy was called off."""


@dataclass(slots=True)
class CopyReport:
    """What a copy did. Counts of entries; `size` in bytes as files show it."""

    files: int = 0
    directories: int = 0
    links: int = 0
    special: int = 0
    size: int = 0
    reflinked: int = 0
    copied: int = 0
    changed: int = 0
    vanished: int = 0
    lost_attributes: int = 0
    lost_owners: int = 0

    @property
    def method(self) -> str:
        """`reflink`, `copy`, or `reflink+copy`; for a tree without files what would have been used is not known: `copy`."""
        if self.reflinked and self.copied:
            return "reflink+copy"
        return "reflink" if self.reflinked else "copy"


def never() -> bool:
    """Do not stop."""
    return False


def copy_tree(source: Path, destination: Path, *, reflink: bool = True, stop: Callable[[], bool] = never) -> CopyReport:
    """Copy the tree at `source` to `destination`, which must not exist. On any error the destination is left as far as it got.

    `stop` is asked between files and between pieces of large ones. Raises TreeError, and OSError for what the file system says (ENOSPC).
    """
    real = source.resolve(strict=True)
    target = destination.parent.resolve(strict=True) / destination.name
    if target.is_relative_to(real) or real.is_relative_to(target):
        raise Nested(f"{quote(str(real))} and {quote(str(target))} lie in one another")
    destination.mkdir(mode=0o700)
    with opened(str(real)) as origin, opened(str(target)) as root:
        return _Copy(origin, root, reflink=reflink, stop=stop).run()


class _Copy:
    """One copy of a tree. Directories are opened component by component from the two roots, so neither depth nor a swapped symbolic
    link matters, and only a handful of descriptors is open at a time.
    """

    def __init__(self, origin: int, root: int, *, reflink: bool, stop: Callable[[], bool]) -> None:
        self._origin = origin
        self._root = root
        self._stop = stop
        self._no_reflink: set[int] = set() if reflink else {os.fstat(origin).st_dev}
        self._reflink = reflink
        self._first_links: dict[tuple[int, int], tuple[Parts, str]] = {}
        self._directories: list[tuple[Parts, os.stat_result]] = []
        self._unreadable: list[str] = []
        self._unreadable_count = 0
        self.report = CopyReport()

    def run(self) -> CopyReport:
        waiting: list[Parts] = [()]
        while waiting:
            waiting += self._copy_directory(waiting.pop())
        if self._unreadable_count:
            names = ", ".join(self._unreadable)
            more = self._unreadable_count - len(self._unreadable)
            raise Unreadable(
                f"{self._unreadable_count} entries cannot be read by this user: {names}{f' and {more} more' if more else ''}"
            )
        for parts, status in reversed(self._directories):  # children first: a read-only parent must not stop them
            with below(self._root, parts) as target, below(self._origin, parts, missing_ok=True) as source:
                self._keep(source if source >= 0 else None, target, status)
        return self.report

    def _copy_directory(self, parts: Parts) -> list[Parts]:
        try:
            with below(self._origin, parts) as source:
                status = os.fstat(source)
                with os.scandir(source) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
                with below(self._root, parts) as target:
                    self._directories.append((parts, status))
                    self.report.directories += 1
                    return [
                        (*parts, entry.name) for entry in entries if self._copy_entry(source, target, parts, entry.name)
                    ]
        except PermissionError as error:
            self._cannot_read(parts, error)
        except OSError as error:
            if error.errno not in GONE or not parts:
                raise
            self.report.vanished += 1
        return []

    def _copy_entry(self, source: int, target: int, parts: Parts, name: str) -> bool:
        """Copy what is not a directory; for a directory make it and return True, so that its content comes later."""
        if self._stop():
            raise Stopped("the copy was called off")
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(name, 0o700, dir_fd=target)
                # what a file system keeps at its top for itself, and often for root alone, is no part of a backup (see `agent.walk`)
                return bool(parts) or name != _LOST_AND_FOUND
            if self._is_linked(status, target, name):
                return False
            if stat.S_ISREG(status.st_mode):
                status = self._copy_file(source, target, name)
            elif stat.S_ISLNK(status.st_mode):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
                self.report.links += 1
                self._keep_of_name(target, name, status)
            else:
                self._make_special(target, parts, name, status)
        except PermissionError as error:
            self._cannot_read((*parts, name), error)
        except OSError as error:
            if error.errno not in GONE:
                raise
            self.report.vanished += 1
        else:
            if status.st_nlink > 1:
                self._first_links[status.st_dev, status.st_ino] = (parts, name)
        return False

    def _cannot_read(self, parts: Parts, error: PermissionError) -> None:
        self._unreadable_count += 1
        if len(self._unreadable) < _NAMED:
            self._unreadable.append(
                quote("/".join(parts) or ".") + ("" if error.errno == errno.EACCES else f" ({error.strerror})")
            )

    def _is_linked(self, status: os.stat_result, target: int, name: str) -> bool:
        first = self._first_links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is None:
            return False
        parts, first_name = first
        with below(self._root, parts) as directory:
            os.link(first_name, name, src_dir_fd=directory, dst_dir_fd=target, follow_symlinks=False)
        self.report.links += 1
        return True

    def _make_special(self, target: int, parts: Parts, name: str, status: os.stat_result) -> None:
        try:
            if stat.S_ISFIFO(status.st_mode):
                os.mkfifo(name, 0o600, dir_fd=target)
            else:
                os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
        except PermissionError as error:
            where = quote("/".join((*parts, name)))
            raise NotCopyable(
                f"{where} is a device, and only root may make one; copyMethod: Direct needs no copy and leaves devices out"
            ) from error
        self.report.special += 1
        self._keep_of_name(target, name, status)

    def _copy_file(self, source: int, target: int, name: str) -> os.stat_result:
        reader = os.open(name, _READ_FILE, dir_fd=source)
        try:
            status = os.fstat(reader)
            if not stat.S_ISREG(status.st_mode):  # swapped since it was looked at
                raise FileNotFoundError(errno.ENOENT, "no longer a regular file")
            if self._unreadable_count:
                return status  # the copy fails anyway: only go on to name what else cannot be read
            writer = os.open(
                name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target
            )
            try:
                status = self._copy_steadily(reader, writer)
                self._keep(reader, writer, status)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
        self.report.files += 1
        self.report.size += status.st_size
        return status

    def _copy_steadily(self, reader: int, writer: int) -> os.stat_result:
        """Copy the content; anew, some times, when the file changed meanwhile. Returns what it was when the last attempt began."""
        attempt = 0
        while True:
            attempt += 1
            before = os.fstat(reader)
            os.ftruncate(writer, 0)
            if self._share(reader, writer, before):
                self.report.reflinked += 1
                return before
            self._copy_content(reader, writer, before.st_size)
            steady = _state(before) == _state(os.fstat(reader))
            if steady or attempt == _ATTEMPTS:
                self.report.copied += before.st_size > 0
                self.report.changed += not steady
                return before  # when it changed: the older time makes the next comparison see a difference

    def _share(self, reader: int, writer: int, status: os.stat_result) -> bool:
        if not self._reflink or status.st_dev in self._no_reflink or not status.st_size:
            return False
        try:
            fcntl.ioctl(writer, _FICLONE, reader)
        except OSError as error:
            if error.errno not in _NO_REFLINK:
                raise
            if error.errno not in (errno.ETXTBSY, errno.EPERM):
                self._no_reflink.add(status.st_dev)
            return False
        return True

    def _copy_content(self, reader: int, writer: int, size: int) -> None:
        offset = 0
        while offset < size:
            try:
                start = os.lseek(reader, offset, os.SEEK_DATA)
                end = min(size, os.lseek(reader, start, os.SEEK_HOLE))
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole follows
                    break
                if error.errno != errno.EINVAL:
                    raise
                start, end = offset, size  # a file system that does not know holes
            if start >= size or not self._copy_range(reader, writer, start, end):
                break
            offset = end
        os.ftruncate(writer, size)

    def _copy_range(self, reader: int, writer: int, start: int, end: int) -> bool:
        """Copy bytes [start, end). Returns False when the file ends before."""
        by_range = hasattr(os, "copy_file_range")
        while start < end:
            if self._stop():
                raise Stopped("the copy was called off")
            piece = min(_CHUNK, end - start)
            done = 0
            if by_range:
                try:
                    done = os.copy_file_range(reader, writer, piece, start, start)
                except OSError as error:
                    if error.errno not in _NO_RANGE:
                        raise
                by_range = done > 0
            if not done:
                data = os.pread(reader, min(piece, 1024 * 1024), start)
                while done < len(data):
                    done += os.pwrite(writer, data[done:], start + done)
            if not done:
                return False
            start += done
        return True

    def _keep(self, source: int | None, target: int, status: os.stat_result) -> None:
        """Give the open target the owner, attributes, mode and times of the source."""
        self._own(lambda: os.fchown(target, status.st_uid, status.st_gid))
        for attribute in _attributes(source):
            try:
                os.setxattr(target, attribute, os.getxattr(source or 0, attribute))
            except OSError as error:
                if error.errno not in _NO_ATTRIBUTE and error.errno != errno.ENODATA:
                    raise
                self.report.lost_attributes += attribute != "security.selinux"  # labels follow the place
        os.fchmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _keep_of_name(self, target: int, name: str, status: os.stat_result) -> None:
        """The same for what cannot be opened: links and special files. They carry no attributes that a user may set."""
        self._own(lambda: os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False))
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)  # just made here: no link to follow
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)

    def _own(self, give: Callable[[], None]) -> None:
        try:
            give()
        except PermissionError:
            self.report.lost_owners += 1


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _attributes(source: int | None) -> list[str]:
    if source is None or not hasattr(os, "listxattr"):
        return []
    try:
        return os.listxattr(source)
    except OSError:
        return []
