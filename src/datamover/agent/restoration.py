"""Giving files that came back from an object store what only the manifest knows: `datamover-agent apply-manifest`.

Whoever may write to the bucket may write manifests and files, and a restore often runs as root, so nothing in a manifest is believed.

Guarantees: nothing outside the given directory is touched, whatever the manifest says and whatever links were restored into the
directory: names that are absolute or hold `..` are refused, no folder is entered through a link, and the last part of a path is never
followed. No privilege comes back unasked: set-user-ID and set-group-ID bits of files, file capabilities and other attributes of the
kernel's, and special files need a flag. Whatever is left out is said, and counts in the exit code. Running it twice does no harm.
Assumptions: Linux (`O_PATH`, /proc); nobody else writes to the directory meanwhile.
Caveats: contents are not compared with the manifest; it has no checksums. Memory grows with the number of folders, of hard links,
and of files that the run did not move (which may be missing).
"""

import os
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

from datamover.agent import manifest, names

LEFT_OUT = 1
"""Exit code when something was left out."""
UNUSABLE = 2
"""Exit code when the manifest or the directory cannot be used at all."""

_SET_ID = stat.S_ISUID | stat.S_ISGID
_PRIVILEGED = ("security.", "trusted.")
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LEAF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_KINDS: dict[str, Callable[[int], bool]] = {
    manifest.FILE: stat.S_ISREG,
    manifest.DIRECTORY: stat.S_ISDIR,
    manifest.LINK: stat.S_ISLNK,
}
_DEVICES = {"fifo": stat.S_IFIFO, "character device": stat.S_IFCHR, "block device": stat.S_IFBLK}


class Refused(Exception):  # noqa: N818 - it is the word for what happens to the entry
    """An entry is left out; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; return the exit code: 0, `LEFT_OUT` or `UNUSABLE` (argparse's own for wrong usage)."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="datamover-agent apply-manifest",
        description="Give restored files the modes, owners, times, attributes, hard links and empty directories that a manifest lists."
        " Nothing outside DIRECTORY is touched. What is left out is said, and the exit code is then 1.",
    )
    parser.add_argument("manifest", metavar="MANIFEST", help="the manifest.jsonl.gz of the run")
    parser.add_argument("directory", metavar="DIRECTORY", help="where the files of that run were copied to")
    parser.add_argument(
        "--privileges",
        action="store_true",
        help="also set-user-ID and set-group-ID bits of files, and attributes that begin with security. or trusted. (file capabilities)",
    )
    parser.add_argument("--special", action="store_true", help="also make pipes and device nodes")
    given = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text)  # noqa: T201 - a command for people

    try:
        left_out = apply(given.manifest, given.directory, privileges=given.privileges, special=given.special, say=say)
    except (OSError, ValueError) as error:
        say(f"{given.manifest} cannot be applied to {given.directory}: {error}")
        return UNUSABLE
    if left_out:
        say(f"{left_out} left out.")
    return LEFT_OUT if left_out else 0


def apply(path: str, directory: str, *, privileges: bool, special: bool, say: Callable[[str], None]) -> int:
    """Apply the manifest at `path` to `directory`; return how many things were left out, each of which `say` has told.

    Raises ValueError when the manifest is damaged (what came before the damage has been applied) and OSError when `directory` cannot
    be opened.
    """
    top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _Restoration(top, privileges=privileges, special=special, say=say).run(path)
    finally:
        os.close(top)


class _Restoration:
    def __init__(self, top: int, *, privileges: bool, special: bool, say: Callable[[str], None]) -> None:
        self._top = top
        self._privileges = privileges
        self._special = special
        self._say = say
        self._left_out = 0
        self._owners = 0
        self._first_names: dict[str, bytes] = {}
        self._absent: set[bytes] = set()
        self._root = os.geteuid() == 0

    def run(self, path: str) -> int:
        folders: list[manifest.Entry] = []
        for entry in manifest.entries(path, absent=self._absent):
            if entry.type == manifest.DIRECTORY:
                self._try(entry, self._make_folder)
                folders.append(entry)
        for entry in manifest.entries(path):
            if entry.type in manifest.SPECIAL:
                self._try(entry, self._make_special)
            elif entry.type != manifest.DIRECTORY:
                self._try(entry, self._finish)
        # what is in a folder changes its time and may need its mode, so what is deeper comes first
        for entry in reversed(folders):
            self._try(entry, self._finish)
        if self._owners:
            self._leave_out(f"owner or group of {self._owners} paths: only root may give files away")
        return self._left_out

    def _try(self, entry: manifest.Entry, act: Callable[[manifest.Entry, int, bytes], None]) -> None:
        try:
            with self._parent(entry.raw_path) as (folder, name):
                act(entry, folder, name)
        except Refused as refused:
            self._leave_out(f"{_shown(entry)}: {refused}")
        except FileNotFoundError:
            if entry.key in self._absent:
                return  # the run itself did not move it
            self._leave_out(f"{_shown(entry)}: it was not restored")
        except (OSError, ValueError, OverflowError) as error:
            self._leave_out(f"{_shown(entry)}: {getattr(error, 'strerror', None) or error}")

    def _leave_out(self, text: str) -> None:
        self._left_out += 1
        self._say(f"left out: {text}")

    @contextmanager
    def _parent(self, raw: bytes) -> Generator[tuple[int, bytes]]:
        """Give the folder of a path, opened without following anything, and the last part of its name."""
        *above, name = raw.split(b"/")
        if any(part in {b"", b".", b".."} or b"\0" in part for part in (*above, name)):
            raise Refused("that is no path below the directory")
        folder = os.dup(self._top)
        try:
            for part in above:
                try:
                    inner = os.open(part, _FOLDER, dir_fd=folder)
                except NotADirectoryError:
                    raise Refused(f"it leads through {names.readable(part)!r}, which is no folder") from None
                os.close(folder)
                folder = inner
            yield folder, name
        finally:
            os.close(folder)

    # --- making ---------------------------------------------------------------------------------------------------

    def _make_folder(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        del entry
        with suppress(FileExistsError):  # what it is shows when it is finished
            os.mkdir(name, 0o700, dir_fd=folder)

    def _make_special(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        kind = _DEVICES.get(entry.type)
        if kind is None:
            raise Refused(f"a {entry.type} cannot be restored")
        if not self._special:
            raise Refused(f"a {entry.type} (--special makes it)")
        major, _, minor = (entry.device or "0:0").partition(":")
        with suppress(FileExistsError):
            os.mknod(name, kind | 0o600, os.makedev(int(major), int(minor)), dir_fd=folder)
        with _opened(folder, name) as (leaf, status):
            if stat.S_IFMT(status.st_mode) != kind:
                raise Refused("something else is there")
            self._dress(entry, folder, name, leaf, status)

    # --- finishing ------------------------------------------------------------------------------------------------

    def _finish(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        linked = entry.hardlink if entry.type == manifest.FILE else None
        first = self._first_names.get(linked) if linked else None
        if first is not None and first != entry.raw_path:
            self._link(first, folder, name)
        with _opened(folder, name) as (leaf, status):
            if not _KINDS[entry.type](status.st_mode):
                raise Refused("something else is there")
            self._dress(entry, folder, name, leaf, status)
        if linked:
            self._first_names.setdefault(linked, entry.raw_path)

    def _link(self, first: bytes, folder: int, name: bytes) -> None:
        """Make `name` another name of the file `first`, if both have the same content."""
        with self._parent(first) as (other, first_name):
            there = os.stat(first_name, dir_fd=other, follow_symlinks=False)
            here = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return
            if not (stat.S_ISREG(there.st_mode) and stat.S_ISREG(here.st_mode)):
                raise Refused("something else is there")
            if not _same_content(other, first_name, folder, name):
                raise Refused(f"it is no other name of {names.readable(first)!r}: their contents differ")
            new = b".datamover-%s" % os.urandom(6).hex().encode()
            os.link(first_name, new, src_dir_fd=other, dst_dir_fd=folder, follow_symlinks=False)
            os.replace(new, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _dress(self, entry: manifest.Entry, folder: int, name: bytes, leaf: int, status: os.stat_result) -> None:
        """Give owner, mode, attributes and time, in the order in which none undoes another."""
        if (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
            if self._root:
                os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
            else:
                self._owners += 1
        if entry.type != manifest.LINK:
            # by way of /proc, because a file that may not be opened can be given a mode all the same
            handle = f"/proc/self/fd/{leaf}"
            self._set_mode(entry, handle)
            self._set_attributes(entry, handle)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)

    def _set_mode(self, entry: manifest.Entry, handle: str) -> None:
        mode = stat.S_IMODE(entry.mode)
        # of a folder, the group's bit only says to which group new files belong
        if mode & _SET_ID and entry.type != manifest.DIRECTORY and not self._privileges:
            mode &= ~_SET_ID
            self._leave_out(f"{_shown(entry)}: its set-user-ID or set-group-ID bit (--privileges sets it)")
        os.chmod(handle, mode)  # noqa: PTH101 - a path is not what this is

    def _set_attributes(self, entry: manifest.Entry, handle: str) -> None:
        for attribute, value in (entry.xattrs or {}).items():
            if attribute.startswith(_PRIVILEGED) and not self._privileges:
                self._leave_out(f"{_shown(entry)}: its attribute {attribute!r} (--privileges sets it)")
                continue
            try:
                os.setxattr(handle, attribute, value)
            except OSError as error:
                self._leave_out(f"{_shown(entry)}: its attribute {attribute!r}: {error.strerror}")


def _shown(entry: manifest.Entry) -> str:
    """Return an entry's path for people; what would play tricks on a terminal comes escaped."""
    return repr(names.readable(entry.raw_path))


@contextmanager
def _opened(folder: int, name: bytes) -> Generator[tuple[int, os.stat_result]]:
    """Give a handle on what is at a name, links not followed, and its status."""
    leaf = os.open(name, _LEAF, dir_fd=folder)
    try:
        yield leaf, os.fstat(leaf)
    finally:
        os.close(leaf)


def _same_content(folder: int, name: bytes, other: int, other_name: bytes) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as one,
        os.fdopen(os.open(other_name, flags, dir_fd=other), "rb") as two,
    ):
        while True:
            chunk = one.read(_CHUNK)
            if chunk != two.read(_CHUNK):
                return False
            if not chunk:
                return True
