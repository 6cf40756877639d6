# bytes and handles, which pathlib lacks
"""Bringing back from the safety copy what a restore has touched. Blocking.

Guarantees: what was not there before goes, everything else gets content, kind, names and attributes of the copy, folders their times last; what the
restore cannot have touched is left alone. Nothing is followed, in the target or in the copy; a file comes to its place whole. Killed anywhere, it can be
done again, or the restore goes on: the mark stays until all is there and on the disk. What of attributes cannot be had goes to `lost`; anything else
raises OSError, and the mark stays.
Assumptions: Linux; nobody else writes below the target; nobody at all writes to the copy.
Caveats: memory grows with the number of folders and of files with several names. Time of change (ctime) and of access are not brought back.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from datamover.agent.files import holes, manifest
from datamover.agent.files.attributes import AttributeSetter
from datamover.agent.files.handles import enter_parent, opened
from datamover.agent.files.losses import Losses, because
from datamover.agent.restore.order import Order
from datamover.agent.restore.safety import Place, find, touched
from datamover.agent.restore.target import Target
from datamover.agent.scratch import FULL

_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
_RIGHTS: Final = stat.S_IRWXU
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = b"new"
_LABEL: Final = "security.selinux"
"""The node's own, different on every node."""
_ACCESS_LISTS: Final = "system."
_KINDS: Final = {stat.S_IFREG: manifest.FILE, stat.S_IFDIR: manifest.DIRECTORY, stat.S_IFLNK: manifest.LINK}

Inode = tuple[int, int]


class RollBack:
    """One target (`place`, claimed by us), rolled back from `copy`, a handle on the safety copy. `tick` is called often, and may raise."""

    def __init__(self, place: Target, copy: int, order: Order, *, lost: Losses, tick: Callable[[], None]) -> None:
        self._place = place
        self._top = place.top
        self._copy = copy
        self._order = order
        self._lost = lost
        self._tick = tick
        # what was there before is nobody's trick: set-ID bits and the kernel's own attributes come back as far as we may
        self._attributes = AttributeSetter(lost=lost, privileges=True)
        self._folders: list[bytes] = []
        self._names: dict[Inode, list[bytes]] = {}
        self._taken: set[Inode] = set()

    def run(self) -> None:
        """Bring everything back, and take the mark away. Raises OSError, ValueError for a list that is damaged, and what `tick` raises."""
        self._place.clear(self._place.files)
        self._place.clear(self._place.aside)
        self._unlock()
        self._remove_new()
        try:
            self._bring()
        except OSError as error:
            if error.errno not in FULL:
                raise
            # what is to go anyway may have the room
            self._make_room()
            self._bring()
        for raw in reversed(self._folders):
            self._tick()
            with find(self._copy, raw) as before, find(self._top, raw) as now:
                if before is not None and now is not None:
                    self._give(raw, before, now.folder, now.name)
        self._place.finish()
        self._finish_top()

    def _touched(self) -> Iterator[bytes]:
        return touched(self._place.listing, self._order, tick=self._tick)

    # --- what was not there ---------------------------------------------------------------------------------------------

    def _unlock(self) -> None:
        """Give ourselves the rights to folders of ours that the restore may have taken."""
        self._attributes.unlock(self._top, os.fstat(self._top), _RIGHTS)
        for raw in self._touched():
            with find(self._top, raw) as now:
                if now is not None and now.kind == stat.S_IFDIR:
                    with opened(now.folder, now.name) as (leaf, status):
                        self._attributes.unlock(leaf, status, _RIGHTS)

    def _remove_new(self) -> None:
        """Remove what the copy does not have."""
        folders: list[bytes] = []
        for raw in self._touched():
            with find(self._copy, raw) as before, find(self._top, raw) as now:
                if before is not None or now is None:
                    continue
                if now.kind == stat.S_IFDIR:
                    folders.append(raw)
                else:
                    os.unlink(now.name, dir_fd=now.folder)
        for raw in reversed(folders):
            with find(self._top, raw) as now:
                if now is not None:
                    os.rmdir(now.name, dir_fd=now.folder)

    def _make_room(self) -> None:
        """Remove files that are others than the copy's by their sizes: these come anew anyway."""
        self._place.clear(self._place.aside)
        for raw in self._touched():
            with find(self._copy, raw) as before, find(self._top, raw) as now:
                if before is None or now is None or now.kind != stat.S_IFREG:
                    continue
                if before.kind != stat.S_IFREG or before.status.st_size != now.status.st_size:
                    os.unlink(now.name, dir_fd=now.folder)

    # --- what was there -------------------------------------------------------------------------------------------------

    def _bring(self) -> None:
        self._folders.clear()
        self._names.clear()
        self._taken.clear()
        for raw in self._touched():
            with find(self._copy, raw) as before:
                if before is None:
                    continue
                if before.kind == stat.S_IFDIR:
                    self._bring_folder(raw)
                elif before.kind == stat.S_IFREG and before.status.st_nlink > 1:
                    self._names.setdefault(before.inode, []).append(raw)
                elif before.kind == stat.S_IFREG:
                    self._bring_file(raw, before)
                elif before.kind == stat.S_IFLNK:
                    self._bring_link(raw, before)
                else:
                    self._bring_special(raw, before)
        self._bring_names()

    def _bring_folder(self, raw: bytes) -> None:
        with enter_parent(self._top, raw) as (folder, name):
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)
                os.mkdir(name, 0o700, dir_fd=folder)
            with opened(folder, name) as (leaf, status):
                self._attributes.unlock(leaf, status, _RIGHTS)
        self._folders.append(raw)

    def _bring_file(self, raw: bytes, before: Place) -> None:
        with enter_parent(self._top, raw) as (folder, name):
            with find(self._top, raw) as now:
                # another name of a file that the restore has joined would get its attributes as well
                right = now is not None and now.status.st_nlink == 1 and self._is_same(before, now)
            if not right:
                self._put(folder, name, lambda new: self._write(before, new))
            self._give(raw, before, folder, name)

    def _bring_link(self, raw: bytes, before: Place) -> None:
        leads = before.leads()
        with enter_parent(self._top, raw) as (folder, name):
            with find(self._top, raw) as now:
                right = now is not None and now.kind == stat.S_IFLNK and now.leads() == leads
            if not right:
                self._put(folder, name, lambda new: os.symlink(leads, new, dir_fd=self._place.aside))
            self._give(raw, before, folder, name)

    def _bring_special(self, raw: bytes, before: Place) -> None:
        kind, device = before.kind, before.status.st_rdev
        with enter_parent(self._top, raw) as (folder, name):
            with find(self._top, raw) as now:
                right = now is not None and (now.kind, now.status.st_rdev) == (kind, device)
            if not right:
                self._put(folder, name, lambda new: os.mknod(new, kind | 0o600, device, dir_fd=self._place.aside))
            self._give(raw, before, folder, name)

    def _put(self, folder: int, name: bytes, make: Callable[[bytes], None]) -> None:
        """Make something aside and bring it to its place, whatever is there. Nothing that the copy does not have is in the way any more."""
        with suppress(FileNotFoundError):
            os.unlink(_NEW, dir_fd=self._place.aside)
        make(_NEW)
        try:
            os.rename(_NEW, name, src_dir_fd=self._place.aside, dst_dir_fd=folder)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=folder)
            os.rename(_NEW, name, src_dir_fd=self._place.aside, dst_dir_fd=folder)

    def _write(self, before: Place, new: bytes) -> None:
        """Copy a file's content, its holes as holes."""
        source = os.open(before.name, _READ, dir_fd=before.folder)
        try:
            sparse = before.status.st_blocks * _BLOCK < before.status.st_size
            target = os.open(new, _MAKE, 0o600, dir_fd=self._place.aside)
            try:
                offset = 0
                while piece := os.pread(source, _CHUNK, offset):
                    self._tick()
                    for begin, end in holes.data_in(piece) if sparse else ((0, len(piece)),):
                        _write_all(target, piece[begin:end], offset + begin)
                    offset += len(piece)
                os.ftruncate(target, offset)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _is_same(self, before: Place, now: Place) -> bool:
        """Tell whether a file of the target has the content of one of the copy."""
        if now.kind != stat.S_IFREG or now.status.st_size != before.status.st_size:
            return False
        try:
            there = os.open(now.name, _READ, dir_fd=now.folder)
        except PermissionError:
            return False
        try:
            source = os.open(before.name, _READ, dir_fd=before.folder)
            try:
                offset = 0
                while piece := os.pread(source, _CHUNK, offset):
                    self._tick()
                    if os.pread(there, _CHUNK, offset) != piece:
                        return False
                    offset += len(piece)
            finally:
                os.close(source)
        finally:
            os.close(there)
        return True

    # --- files with several names -----------------------------------------------------------------------------------------

    def _bring_names(self) -> None:
        """Make names of one file that once more. A name that the restore did not touch still is that file's."""
        others = self._other_names()
        for inode, members in self._names.items():
            self._tick()
            first = self._first_of([*others.get(inode, ()), *members])
            with find(self._copy, first or members[0]) as before:
                if before is None:
                    continue
                if first is None:
                    first = members[0]
                    with enter_parent(self._top, first) as (folder, name):
                        self._put(folder, name, lambda new, there=before: self._write(there, new))
                with find(self._top, first) as here:
                    if here is None:
                        continue
                    self._taken.add(here.inode)
                    for raw in members:
                        self._join(raw, here)
                    self._give(first, before, here.folder, here.name)

    def _other_names(self) -> dict[Inode, list[bytes]]:
        """Return the names in the copy that the restore has not touched, of files of which it has touched others."""
        found: dict[Inode, list[bytes]] = {}
        if not self._names:
            return found
        known = {raw for members in self._names.values() for raw in members}
        for place, _, files, handle in os.fwalk(b".", dir_fd=self._copy):
            self._tick()
            for name in files:
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                inode = (status.st_dev, status.st_ino)
                raw = os.path.normpath(os.path.join(place, name))  # noqa: PTH118
                if stat.S_ISREG(status.st_mode) and inode in self._names and raw not in known:
                    found.setdefault(inode, []).append(raw)
        return found

    def _first_of(self, names: list[bytes]) -> bytes | None:
        """Return the first of the names of a file under which the target still has its content; None where it has not, or only as another file's."""
        for raw in names:
            with find(self._copy, raw) as before, find(self._top, raw) as now:
                if before is None or now is None or now.inode in self._taken:
                    continue
                if self._is_same(before, now):
                    return raw
        return None

    def _join(self, raw: bytes, first: Place) -> None:
        with find(self._top, raw) as now:
            if now is not None and now.inode == first.inode:
                return

        def make(new: bytes) -> None:
            os.link(first.name, new, src_dir_fd=first.folder, dst_dir_fd=self._place.aside, follow_symlinks=False)

        with enter_parent(self._top, raw) as (folder, name):
            self._put(folder, name, make)

    # --- attributes -------------------------------------------------------------------------------------------------------

    def _give(self, raw: bytes, before: Place, folder: int, name: bytes) -> None:
        """Give what is at its place all that the copy's has."""
        with opened(before.folder, before.name) as (old, was), opened(folder, name) as (leaf, status):
            kind = _KINDS.get(before.kind, "")
            if kind == manifest.LINK:
                if not _is_alike(was, status):
                    entry = _entry(kind, raw, was, {})
                    self._attributes.set_link(entry, leaf, status, folder=folder, name=name)
                return
            self._set(_entry(kind, raw, was, _attributes_of(old)), leaf, was, status)

    def _finish_top(self) -> None:
        was, status = os.fstat(self._copy), os.fstat(self._top)
        theirs = os.geteuid() not in {0, status.st_uid}
        entry = _entry(manifest.TOP, b"", was, _attributes_of(self._copy))
        self._set(entry, self._top, was, status, timed=not theirs)

    def _set(
        self, entry: manifest.Entry, leaf: int, was: os.stat_result, status: os.stat_result, *, timed: bool = True
    ) -> None:
        if not timed:  # as a restore leaves the top folder of another user, which a Pod has by fsGroup alone
            entry = msgspec.structs.replace(entry, mtime=status.st_mtime_ns)
        here, wanted = _attributes_of(leaf), entry.xattrs or {}
        if here == wanted and _is_alike(was, status, timed=timed):
            return
        self._attributes.unlock(leaf, status, stat.S_IRUSR | stat.S_IWUSR)
        for each in here:
            if each not in wanted and not each.startswith(_ACCESS_LISTS):
                try:
                    os.removexattr(f"/proc/self/fd/{leaf}", each)
                except OSError as error:
                    self._lost.add(because("attributes", error), entry.raw_path, each)
        self._attributes.set(entry, leaf, status)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        done = os.pwrite(descriptor, left, offset)
        left, offset = left[done:], offset + done


def _is_alike(was: os.stat_result, status: os.stat_result, *, timed: bool = True) -> bool:
    return (was.st_mode, was.st_uid, was.st_gid) == (status.st_mode, status.st_uid, status.st_gid) and (
        not timed or was.st_mtime_ns == status.st_mtime_ns
    )


def _entry(kind: str, raw: bytes, was: os.stat_result, attributes: dict[str, bytes]) -> manifest.Entry:
    """Return what a manifest would say of a path of the copy. Holes are there already."""
    return manifest.Entry(
        type=kind,
        raw=raw,
        mtime=was.st_mtime_ns,
        mode=stat.S_IMODE(was.st_mode),
        uid=was.st_uid,
        gid=was.st_gid,
        xattrs=attributes or None,
    )


def _attributes_of(leaf: int) -> dict[str, bytes]:
    """Return the extended attributes of what a handle is on, as far as they may be read, without the node's own label."""
    place = f"/proc/self/fd/{leaf}"
    found: dict[str, bytes] = {}
    with suppress(OSError):  # the file system has none
        for name in os.listxattr(place):
            if name != _LABEL:
                with suppress(OSError):
                    found[name] = os.getxattr(place, name)
    return found
