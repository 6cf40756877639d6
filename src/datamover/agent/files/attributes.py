"""Giving one restored path its attributes, rights, owner, time and holes: all of them that can be had, whatever becomes of the others.

The order is the one in which none undoes another, and in which rights are given up last: what needs the right to write comes before a mode
that takes it, and everything before the owner, who alone may do it. Changing the owner takes set-ID bits and file capabilities away, so
these come after it.
"""

import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress

from datamover.agent.files import holes, losses, manifest
from datamover.agent.files.losses import Losses, because

SET_ID = stat.S_ISUID | stat.S_ISGID
PRIVILEGED = ("security.", "trusted.")
ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"
_ACL_VERSION = 2
_OWN_GROUP = 0x04


class AttributeSetter:
    """Sets the attributes of restored paths. `privileges`: with set-ID bits and the kernel's own attributes. What cannot be had goes to `lost`."""

    def __init__(self, *, lost: Losses, privileges: bool) -> None:
        self._lost = lost
        self._privileges = privileges
        self._user = os.geteuid()

    def unlock(self, leaf: int, status: os.stat_result, wanted: int) -> None:
        """Give ourselves the rights `wanted` to what is ours, for as long as it takes: an earlier round may have taken them."""
        if status.st_uid == self._user and wanted & ~status.st_mode:
            with suppress(OSError):
                os.chmod(_handle(leaf), stat.S_IMODE(status.st_mode) | wanted)  # noqa: PTH101 - a path is not what this is

    def set(self, entry: manifest.Entry, leaf: int, status: os.stat_result) -> None:
        """Give what `leaf` is a handle on (O_PATH, not a link; of the status `status`) all that the entry says."""
        place = _handle(leaf)
        if entry.xattrs or entry.sparse:
            self.unlock(leaf, status, stat.S_IRUSR | stat.S_IWUSR)
        if entry.sparse and entry.type == manifest.FILE:
            self._try("holes", entry, lambda: _punch(place))
        mode = stat.S_IMODE(entry.mode)
        if not self._set_attributes(entry, place):
            mode = _without_acl(mode, (entry.xattrs or {}).get(ACCESS_ACL, b""))
        folder = entry.type in {
            manifest.DIRECTORY,
            manifest.TOP,
        }  # of one, the group's bit only says to which group new files belong
        plain = mode if folder else mode & ~SET_ID
        now = os.fstat(leaf)  # what is right already may be somebody else's, who alone could set it
        allowed = stat.S_IMODE(now.st_mode) == plain or self._try("the mode", entry, lambda: os.chmod(place, plain))  # noqa: PTH101
        timed = now.st_mtime_ns == entry.mtime or self._try(
            "the time", entry, lambda: os.utime(place, ns=(entry.mtime, entry.mtime))
        )
        owned = self._own(entry, leaf, status, lambda uid, gid: os.chown(place, uid, gid))
        self._set_privileged(entry, place)
        if not folder:
            mode = self._allowed(entry, mode, owned=owned)
        if stat.S_IMODE(os.fstat(leaf).st_mode) != mode:
            with suppress(OSError):
                os.chmod(place, mode)  # noqa: PTH101
        self._look(entry, leaf, mode=mode if allowed else None, timed=timed)

    def set_link(self, entry: manifest.Entry, leaf: int, status: os.stat_result, *, folder: int, name: bytes) -> None:
        """Give a link its time and owner; it has no mode of its own."""
        timed = self._try(
            "the time",
            entry,
            lambda: os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False),
        )
        self._own(
            entry,
            leaf,
            status,
            lambda uid, gid: os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False),
        )
        self._look(entry, leaf, mode=None, timed=timed)

    def _try(self, what: str, entry: manifest.Entry, act: Callable[[], None]) -> bool:
        try:
            act()
        except (OSError, ValueError, OverflowError) as error:
            self._lost.add(because(what, error), entry.raw_path)
            return False
        return True

    def _set_attributes(self, entry: manifest.Entry, place: str) -> bool:
        """Set the attributes that need no privilege; return whether its ACL, if it has one, is there.

        An ACL that the file did not have is taken away: restored files inherit those of the folder that they come into.
        """
        there = True
        given = entry.xattrs or {}
        for name in (ACCESS_ACL, DEFAULT_ACL):
            if name not in given and (name == ACCESS_ACL or entry.type in {manifest.DIRECTORY, manifest.TOP}):
                with suppress(OSError):
                    os.removexattr(place, name)
        for name, value in given.items():
            if not name.startswith(PRIVILEGED):
                there = self._set_attribute(entry, place, name, value) and there
        return there

    def _set_privileged(self, entry: manifest.Entry, place: str) -> None:
        for name, value in (entry.xattrs or {}).items():
            if name.startswith(PRIVILEGED):
                if self._privileges:
                    self._set_attribute(entry, place, name, value)
                else:
                    self._lost.add(losses.PRIVILEGED_ATTRIBUTES, entry.raw_path, name)

    def _set_attribute(self, entry: manifest.Entry, place: str, name: str, value: bytes) -> bool:
        try:
            os.setxattr(place, name, value)
        except (OSError, ValueError) as error:
            self._lost.add(because("attributes", error), entry.raw_path, name)
            return name != ACCESS_ACL
        return True

    def _own(self, entry: manifest.Entry, leaf: int, status: os.stat_result, give: Callable[[int, int], None]) -> bool:
        """Give owner and group, or what of it may be given; return whether both are as they were."""
        if (status.st_uid, status.st_gid) == (entry.uid, entry.gid):
            return True
        for uid, gid in ((entry.uid, entry.gid), (-1, entry.gid), (entry.uid, -1)):
            with suppress(OSError, OverflowError):
                give(uid, gid)
                break
        now = os.fstat(leaf)
        if (now.st_uid, now.st_gid) == (entry.uid, entry.gid):
            return True
        self._lost.add(losses.OWNER, entry.raw_path)
        return False

    def _allowed(self, entry: manifest.Entry, mode: int, *, owned: bool) -> int:
        """Return the mode without bits that would give rights which nobody asked for, or other rights than they gave."""
        if mode & SET_ID and not (self._privileges and owned):
            self._lost.add(losses.BITS_OF_OTHERS if self._privileges else losses.PRIVILEGED_BITS, entry.raw_path)
            return mode & ~SET_ID
        return mode

    def _look(self, entry: manifest.Entry, leaf: int, *, mode: int | None, timed: bool) -> None:
        """Note what did not become what it was although nobody complained: a bit that the kernel drops, a time that the disk rounds."""
        now = os.fstat(leaf)
        if mode is not None and stat.S_IMODE(now.st_mode) != mode:
            self._lost.add(losses.MODE, entry.raw_path, f"{stat.S_IMODE(now.st_mode):04o}, not {mode:04o}")
        if timed and now.st_mtime_ns != entry.mtime:
            self._lost.add(losses.TIME, entry.raw_path)


def _handle(leaf: int) -> str:
    # by way of /proc, because what may not be opened can be given its attributes all the same
    return f"/proc/self/fd/{leaf}"


def _punch(place: str) -> None:
    descriptor = os.open(place, os.O_RDWR | os.O_CLOEXEC)
    try:
        holes.punch(descriptor)
    finally:
        os.close(descriptor)


def _without_acl(mode: int, acl: bytes) -> int:
    """Return a mode for a file whose ACL is missing: its group bits are those of the group, not of all whom the ACL names."""
    if len(acl) < 4 or struct.unpack_from("<I", acl)[0] != _ACL_VERSION:
        return mode & ~stat.S_IRWXG
    for tag, rights, _ in struct.iter_unpack("<HHI", acl[4 : len(acl) - (len(acl) - 4) % 8]):
        if tag == _OWN_GROUP:
            return mode & ~stat.S_IRWXG | mode & rights << 3
    return mode & ~stat.S_IRWXG
