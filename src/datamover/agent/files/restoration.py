"""Giving files that came back from an object store what only the manifest knows: `datamover-agent apply-manifest`.

Whoever may write to the bucket may write manifests and files, and a restore often runs as root, so nothing in a manifest is believed.

Guarantees: nothing outside the given directory is touched, whatever the manifest says and whatever links were restored into the
directory: names that are absolute or hold `..` are refused, no folder is entered through a link, and the last part of a path is never
followed. No privilege comes back unasked: set-user-ID and set-group-ID bits of files, file capabilities and other attributes of the
kernel's, and special files need a flag. Contents stay what they are. One thing that cannot be had keeps nothing else from coming back, and
each kind of loss is told, once. Running it twice does no harm.
Assumptions: Linux (`O_PATH`, /proc); nobody else writes to the directory meanwhile.
Caveats: contents are not compared with the manifest's checksums: `datamover restore` does that before it gives attributes. Memory grows with
the number of folders, of hard links, and of files that the run did not move (which may be missing).
"""

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NoReturn

import msgspec

from datamover.agent import printing
from datamover.agent.files import losses, manifest
from datamover.agent.files.attributes import AttributeSetter
from datamover.agent.files.handles import Refused, enter_parent, make_folder, opened, put
from datamover.agent.files.losses import Losses, because

LEFT_OUT = 1
"""Exit code when something was left out."""
UNUSABLE = 2
"""Exit code when the manifest or the directory cannot be used at all."""

_CHUNK = 1 << 20
_KINDS: dict[str, Callable[[int], bool]] = {
    manifest.FILE: stat.S_ISREG,
    manifest.DIRECTORY: stat.S_ISDIR,
    manifest.LINK: stat.S_ISLNK,
}
_DEVICES = {"fifo": stat.S_IFIFO, "character device": stat.S_IFCHR, "block device": stat.S_IFBLK}
_OLD = (
    "the manifest is of an earlier version and has nothing about the volume's own top folder: give the directory its owner and mode"
    " yourself, where a program asks for them"
)

_THEIRS = "the directory itself is another user's and keeps its own time"


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; return the exit code: 0, `LEFT_OUT` or `UNUSABLE` (argparse's own for wrong usage)."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            super().error(printing.printable(message))

    parser = Parser(
        prog="datamover-agent apply-manifest",
        description="Give restored files the modes, owners, times, attributes, hard links, holes and empty directories that a manifest lists, and"
        " the directory itself what the volume's own top folder had. Nothing outside DIRECTORY is touched. What is left out is said, and the"
        " exit code is then 1.",
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
    try:
        left_out = apply(given.manifest, given.directory, privileges=given.privileges, special=given.special, say=_say)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        _say(f"{printing.printable(f'{given.manifest} cannot be applied to {given.directory}: {why}')}")
        return UNUSABLE
    if left_out:
        _say(f"{left_out} left out.")
    return LEFT_OUT if left_out else 0


def _say(text: str) -> None:
    """Print a line in whatever encoding standard output has; what that lacks comes escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)  # noqa: T201 - a command for people
    except OSError:
        # nobody listens (any more), which keeps nothing from coming back; what is in the buffer would fail once more at the end
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def apply(path: str, directory: str, *, privileges: bool, special: bool, say: Callable[[str], None]) -> int:
    """Apply the manifest at `path` to `directory`; return how many things were left out, of which `say` has told each kind.

    What the backup itself left out (sockets; pipes and devices unless they are asked for) is told, and not counted.

    Raises ValueError when the manifest is damaged (what came before the damage has been applied) and OSError when `directory` cannot
    be opened.
    """
    top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    lost, unkept = Losses(), Losses()
    try:
        restoration = Restoration(top, privileges=privileges, special=special, lost=lost, unkept=unkept)
        try:
            restoration.run(path)
            notes = restoration.finish_top()
        finally:
            for line in lost.lines():
                say(f"left out: {line}")
            for line in unkept.lines():
                say(f"not in the backup: {line}")
        for note in notes:
            say(f"note: {note}.")
    finally:
        os.close(top)
    return lost.count


def _everything(entry: manifest.Entry) -> bool:
    del entry
    return True


def _nothing() -> None:
    return None


class Restoration:
    """One manifest, applied to the directory `top` is a handle on. What is lost goes to `lost`, what the backup never had to `unkept`.

    `wanted` chooses among the manifest's lines. `links`: symbolic links are made here, of the targets that the manifest has; else they were
    restored like files. `tick` is called for each line, and may raise. `aside` is a handle on a folder of the same file system for what has no
    name yet, so that an end in the middle leaves nothing where the files are. `replace`, which wants `aside`: what is no folder where one is to be, or no link
    where one is to be, goes; but no folder with something in it.
    """

    def __init__(
        self,
        top: int,
        *,
        privileges: bool,
        special: bool,
        lost: Losses,
        unkept: Losses,
        wanted: Callable[[manifest.Entry], bool] = _everything,
        links: bool = False,
        tick: Callable[[], None] = _nothing,
        aside: int | None = None,
        replace: bool = False,
    ) -> None:
        self._top = top
        self._replaces = replace
        self._wanted = wanted
        self._links = links
        self._tick = tick
        self._aside = aside
        self._special = special
        self._privileges = privileges
        self._lost = lost
        self._unkept = unkept
        self._attributes = AttributeSetter(lost=lost, privileges=privileges)
        self._first_names: dict[str, bytes] = {}
        self._absent: set[bytes] = set()
        self._has_top = False
        self._top_entry: manifest.Entry | None = None
        self._folders: list[manifest.Entry] = []
        self._linked = False

    def open_folders(self, path: str) -> None:
        """Make the folders that the manifest lists, and give ourselves the rights to them that an earlier round may have taken."""
        for entry in self._entries(path, absent=self._absent):
            if entry.type == manifest.TOP and self._top_entry is None:
                self._top_entry = entry
                self._attributes.unlock(self._top, os.fstat(self._top), stat.S_IRWXU)
            elif entry.type == manifest.DIRECTORY and self._try(entry, self._make_folder):
                self._folders.append(entry)
            self._linked = self._linked or entry.hardlink is not None

    def run(self, path: str) -> None:
        """Apply the manifest, to all but the directory itself."""
        self.open_folders(path)
        if self._linked:
            # before any file gets a mode with which its contents cannot be compared
            for entry in self._entries(path):
                if entry.type == manifest.FILE and entry.hardlink is not None:
                    self._join(entry, entry.hardlink)
        for entry in self._entries(path):
            if entry.type in manifest.SPECIAL:
                self._make_special_if_asked(entry)
            elif entry.type == manifest.LINK and self._links:
                if entry.key not in self._absent:
                    self._try(entry, self._make_link)
            elif entry.type not in {manifest.DIRECTORY, manifest.TOP}:
                self._try(entry, self._finish)
        # what is in a folder changes its time and may need its mode, so what is deeper comes first
        for entry in reversed(self._folders):
            self._tick()
            self._try(entry, self._finish)

    def prepare_top(self) -> None:
        """Give the directory itself what can be given while something in it is still to go: all but a mode that would keep us from that. `finish_top` tells."""
        top = self._top_entry
        if top is None:
            return
        if os.geteuid():
            top = msgspec.structs.replace(top, mode=top.mode | stat.S_IRWXU)
        quiet = AttributeSetter(lost=Losses(), privileges=self._privileges)
        self._finish_top(top, quiet)

    def finish_top(self) -> list[str]:
        """Give the directory itself what the volume's own top folder had; return what is to be said about it. Nothing in it may change any more."""
        if self._top_entry is None:
            return [] if self._has_top else [_OLD]
        return self._finish_top(self._top_entry, self._attributes)

    def _entries(self, path: str, *, absent: set[bytes] | None = None) -> Iterator[manifest.Entry]:
        for entry in manifest.entries(path, absent=absent):
            self._tick()
            self._has_top = self._has_top or entry.type == manifest.TOP
            if self._wanted(entry):
                yield entry

    def _finish_top(self, top: manifest.Entry, attributes: AttributeSetter) -> list[str]:
        status = os.fstat(self._top)
        theirs = os.geteuid() not in {0, status.st_uid}
        if theirs:
            # a volume's top folder that a Pod has by fsGroup alone: no reason to call a restore incomplete
            top = msgspec.structs.replace(top, mtime=status.st_mtime_ns)
        attributes.set(top, self._top, status)
        return [_THEIRS] if theirs else []

    def _try(self, entry: manifest.Entry, act: Callable[[manifest.Entry, int, bytes], None]) -> bool:
        raw = entry.raw_path
        try:
            with enter_parent(self._top, raw) as (folder, name):
                act(entry, folder, name)
        except Refused as refused:
            self._lost.add(refused.kind, raw)
        except FileNotFoundError:
            if entry.key not in self._absent:  # else the run itself did not move it
                self._lost.add(losses.NOT_RESTORED, raw)
        except (OSError, ValueError, OverflowError) as error:
            self._lost.add(because("everything", error), raw)
        else:
            return True
        return False

    # --- making ---------------------------------------------------------------------------------------------------

    def _make_folder(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        del entry
        with suppress(FileExistsError):
            make_folder(name, folder, mode=0o700, aside=self._aside if self._replaces else None)
        with opened(folder, name) as (leaf, status):
            if stat.S_ISDIR(status.st_mode):  # what else it is shows when it is finished
                self._attributes.unlock(leaf, status, stat.S_IRWXU)

    def _make_special_if_asked(self, entry: manifest.Entry) -> None:
        if entry.type not in _DEVICES:
            self._unkept.add(losses.SOCKET, entry.raw_path)
        elif not self._special:
            self._unkept.add(losses.SPECIAL, entry.raw_path)
        else:
            self._try(entry, self._make_special)

    def _make_special(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        kind = _DEVICES[entry.type]
        major, _, minor = (entry.device or "0:0").partition(":")
        device = os.makedev(int(major), int(minor))
        try:
            os.mknod(name, kind | 0o600, device, dir_fd=folder)
        except FileExistsError:
            pass
        except PermissionError as error:
            if kind == stat.S_IFIFO or error.errno != errno.EPERM:
                raise
            # as with owners: who lacks the right is told, and has all the rest
            self._lost.add(losses.DEVICE, entry.raw_path)
            return
        with opened(folder, name) as (leaf, status):
            if stat.S_IFMT(status.st_mode) != kind or (kind != stat.S_IFIFO and status.st_rdev != device):
                raise Refused(losses.OTHER)
            self._attributes.set(entry, leaf, status)

    def _make_link(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        target = entry.target_bytes
        if not target or b"\0" in target:
            raise Refused(losses.NO_TARGET)
        try:
            os.symlink(target, name, dir_fd=folder)
        except FileExistsError:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            is_link = stat.S_ISLNK(status.st_mode)
            if not (is_link or self._replaces):
                raise Refused(losses.OTHER) from None
            if not is_link or os.readlink(name, dir_fd=folder) != target:
                self._replace(name, folder, lambda new, at: os.symlink(target, new, dir_fd=at))
        self._finish(entry, folder, name)

    # --- finishing ------------------------------------------------------------------------------------------------

    def _finish(self, entry: manifest.Entry, folder: int, name: bytes) -> None:
        with opened(folder, name) as (leaf, status):
            if not _KINDS[entry.type](status.st_mode):
                raise Refused(losses.OTHER)
            if entry.type == manifest.LINK:
                self._attributes.set_link(entry, leaf, status, folder=folder, name=name)
            else:
                self._attributes.set(entry, leaf, status)

    def _join(self, entry: manifest.Entry, group: str) -> None:
        """Make a file another name of the first one of its group, if both have the same content. A file of its own is better than none."""
        raw = entry.raw_path
        try:
            with enter_parent(self._top, raw) as (folder, name):
                first = self._first_names.get(group)
                if first is None:
                    os.stat(name, dir_fd=folder, follow_symlinks=False)
                    self._first_names[group] = raw
                elif first != raw:
                    self._link(first, folder, name)
        except FileNotFoundError:
            return  # told when it is to be finished
        except Refused as refused:
            if refused.kind == losses.DIFFERENT:
                self._lost.add(refused.kind, raw)
        except (OSError, ValueError) as error:
            self._lost.add(because("the hard link", error), raw)

    def _link(self, first: bytes, folder: int, name: bytes) -> None:
        """Make `name` another name of the file `first`, if both have the same content."""
        with enter_parent(self._top, first) as (other, first_name):
            there = os.stat(first_name, dir_fd=other, follow_symlinks=False)
            here = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return
            if not (stat.S_ISREG(there.st_mode) and stat.S_ISREG(here.st_mode)):
                raise Refused(losses.OTHER)
            for where, called, status in ((other, first_name, there), (folder, name, here)):
                if not status.st_mode & stat.S_IRUSR:
                    with opened(where, called) as (leaf, _):
                        self._attributes.unlock(leaf, status, stat.S_IRUSR)
            if not _same_content(other, first_name, folder, name):
                raise Refused(losses.DIFFERENT)
            self._replace(
                name,
                folder,
                lambda new, at: os.link(first_name, new, src_dir_fd=other, dst_dir_fd=at, follow_symlinks=False),
            )

    def _replace(self, name: bytes, folder: int, make: Callable[[bytes, int], None]) -> None:
        """Let what `make` makes, under a name in a folder, be called `name`, in the place of what was."""
        new = b".datamover-%s" % os.urandom(6).hex().encode()
        at = folder if self._aside is None else self._aside
        make(new, at)
        try:
            put(new, name, inner=at, folder=folder)
        except (OSError, Refused):
            os.unlink(new, dir_fd=at)
            raise


def _same_content(folder: int, name: bytes, other: int, other_name: bytes) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
