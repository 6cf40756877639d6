"""Whether a directory already is what a restore makes of it: the one of before ended, and died before anybody heard of it.

A mark cannot tell that, because the last thing that a restore does is to take it away. So all is compared that a restore gives: names, kinds, sizes, modes,
owners, times to the nanosecond, extended attributes, where links lead, which names are one file, and that there is nothing else. Contents are the caller's to
compare (see `checking`). Nothing is changed: what is a stranger's stays a stranger's, however alike it is.

What this restore itself could not bring back (owners without root, set-ID bits that nobody asked for) is no difference, but told as lost.
"""

import os
import stat
from collections.abc import Callable

from datamover.agent.files import losses, manifest
from datamover.agent.files.attributes import ACCESS_ACL, DEFAULT_ACL, PRIVILEGED, SET_ID
from datamover.agent.files.handles import Refused, enter_parent
from datamover.agent.files.losses import Losses
from datamover.agent.files.walk import LOST_AND_FOUND, extended_attributes
from datamover.agent.restore.order import STATE, Order

_KINDS: dict[str, Callable[[int], bool]] = {
    manifest.TOP: stat.S_ISDIR,
    manifest.DIRECTORY: stat.S_ISDIR,
    manifest.FILE: stat.S_ISREG,
    manifest.LINK: stat.S_ISLNK,
    "fifo": stat.S_ISFIFO,
    "character device": stat.S_ISCHR,
    "block device": stat.S_ISBLK,
}
_DEVICES = frozenset({"character device", "block device"})
_OURS = stat.S_IRWXU
"""Rights to the directory itself that an ordinary user needs until the mark is gone."""
_CAPABILITY = "security.capability"


def is_alike(
    top: int, order: Order, path: str, *, lost: Losses, unkept: Losses, tick: Callable[[], None] = lambda: None
) -> bool:
    """Tell whether the directory that `top` is a handle on has all that the manifest at `path` lists of what is wanted, and nothing else; False also for what
    cannot be looked at. `lost` and `unkept` are filled as a `Restoration` does. `tick` is called for each line, and may raise.

    Raises ValueError for a manifest that is damaged.
    """
    try:
        return _Comparison(top, order, lost=lost, unkept=unkept, tick=tick).run(path)
    except (OSError, RecursionError):
        return False


class _Comparison:
    """One manifest beside one directory. Memory grows with the number of hard links, and of files that the run did not move."""

    def __init__(self, top: int, order: Order, *, lost: Losses, unkept: Losses, tick: Callable[[], None]) -> None:
        self._top = top
        self._order = order
        self._lost = lost
        self._unkept = unkept
        self._tick = tick
        self._user = os.geteuid()
        self._groups = frozenset((os.getegid(), *os.getgroups()))
        self._files: dict[str, int] = {}

    def run(self, path: str) -> bool:
        found = 0
        absent: set[bytes] = set()
        for _ in manifest.entries(path, absent=absent):
            self._tick()  # what was not moved is listed last
        for entry in manifest.entries(path):
            self._tick()
            if not self._order.wants(entry) or entry.key in absent:
                continue
            if entry.type in manifest.SPECIAL and not self._is_made(entry):
                continue  # that it is not there either, the number of paths shows
            there = self._find(entry)
            if there is None:
                if entry.type not in _DEVICES or not self._user:
                    return False
                self._lost.add(losses.DEVICE, entry.raw_path)
                continue
            if not self._is_same(entry, *there):
                return False
            found += entry.type != manifest.TOP
        return bool(found) and self._count() == found

    def _is_made(self, entry: manifest.Entry) -> bool:
        """Tell whether a restore makes such a special file."""
        if entry.type not in _KINDS:
            self._unkept.add(losses.SOCKET, entry.raw_path)
        elif not self._order.special:
            self._unkept.add(losses.SPECIAL, entry.raw_path)
        else:
            return True
        return False

    def _find(self, entry: manifest.Entry) -> tuple[os.stat_result, bytes, dict[str, bytes]] | None:
        """Return the status of what is at a path, where it leads if it is a link, and its extended attributes; None where nothing is."""
        if entry.type == manifest.TOP:
            return os.fstat(self._top), b"", extended_attributes(f"/proc/self/fd/{self._top}/.")
        try:
            with enter_parent(self._top, entry.raw_path) as (folder, name):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    return status, os.readlink(name, dir_fd=folder), {}
                return status, b"", extended_attributes(b"/proc/self/fd/%d/%s" % (folder, name))
        except (OSError, Refused):
            return None

    def _is_same(self, entry: manifest.Entry, status: os.stat_result, leads: bytes, found: dict[str, bytes]) -> bool:
        if not _KINDS[entry.type](status.st_mode):
            return False
        if entry.type == manifest.TOP and self._user not in {0, status.st_uid}:
            return True  # a volume's top folder that a Pod has by its group alone: nothing of it is ours to give
        if not self._is_owner(entry, status):
            return False
        if entry.type == manifest.LINK:
            return leads == entry.target_bytes and status.st_mtime_ns == entry.mtime
        if entry.type == manifest.FILE and not (status.st_size == entry.size and self._is_one(entry, status)):
            return False
        if entry.type in _DEVICES and entry.device != f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}":
            return False
        return (
            self._has_time(entry, status)
            and self._has_mode(entry, stat.S_IMODE(status.st_mode))
            and self._has_attributes(entry, found)
        )

    def _is_owner(self, entry: manifest.Entry, status: os.stat_result) -> bool:
        if (status.st_uid, status.st_gid) == (entry.uid, entry.gid):
            return True
        group = status.st_gid == entry.gid or entry.gid not in self._groups
        if not (self._user and status.st_uid == self._user and group):
            return False
        self._lost.add(losses.OWNER, entry.raw_path)
        return True

    def _is_one(self, entry: manifest.Entry, status: os.stat_result) -> bool:
        """Tell whether a file has the other names that it had, as far as they are wanted."""
        if entry.hardlink is None:
            return status.st_nlink == 1
        return self._files.setdefault(entry.hardlink, status.st_ino) == status.st_ino

    def _has_time(self, entry: manifest.Entry, status: os.stat_result) -> bool:
        if status.st_mtime_ns == entry.mtime:
            return True
        if entry.type != manifest.TOP:
            return False
        # taking the mark away has changed it, and a death came before it was set back
        self._lost.add(losses.TIME, entry.raw_path)
        return True

    def _has_mode(self, entry: manifest.Entry, now: int) -> bool:
        wanted = stat.S_IMODE(entry.mode)
        if now == wanted:
            return True
        if entry.type in {manifest.DIRECTORY, manifest.TOP}:
            # the kernel takes the group's bit when it is not a group of ours
            may_differ = stat.S_ISGID | (_OURS if entry.type == manifest.TOP else 0) if self._user else 0
            if (now ^ wanted) & ~may_differ:
                return False
            self._lost.add(losses.MODE, entry.raw_path, f"{now:04o}, not {wanted:04o}")
            return True
        if now != wanted & ~SET_ID or (self._order.privileges and not self._user):
            return False
        self._lost.add(
            losses.BITS_OF_OTHERS if self._order.privileges else losses.PRIVILEGED_BITS,
            entry.raw_path,
        )
        return True

    def _has_attributes(self, entry: manifest.Entry, found: dict[str, bytes]) -> bool:
        given = entry.xattrs or {}
        for name, value in given.items():
            if found.get(name) == value:
                continue
            if name in found or not name.startswith(PRIVILEGED) or self._order.privileges:
                return False
            self._lost.add(losses.PRIVILEGED_ATTRIBUTES, entry.raw_path, name)
        # what a file system or the kernel tells of itself in this way is nobody's
        return not any(
            name.startswith("user.") or name in {ACCESS_ACL, DEFAULT_ACL, _CAPABILITY} for name in found.keys() - given
        )

    def _count(self) -> int:
        """Return how many paths there are below the directory. What a file system keeps for itself, and the rest of a mark, are none."""

        def refuse(error: OSError) -> None:
            raise error

        count = 0
        for place, folders, files, _ in os.fwalk(b".", dir_fd=self._top, onerror=refuse):
            self._tick()
            if place == b".":
                folders[:] = [name for name in folders if name not in {STATE, LOST_AND_FOUND}]
            count += len(folders) + len(files)
        return count
