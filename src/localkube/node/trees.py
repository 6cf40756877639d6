"""Copying directory trees, by `cp -a` of coreutils.

A copy keeps what a volume can hold: modes, times, owners (as root), symbolic links, hard links, extended attributes and ACLs, holes, named
pipes, sockets and devices (as root), names in any bytes. File contents are shared by reflink where the file system can.

Guarantees: nothing below the source is written to; what this user cannot read or make is found out before anything is copied; whatever else `cp`
complains of fails the copy, but for two things that are told in the report: entries that went while they were copied, and attributes that could not be kept.
Left out is what is in `lost+found` at the top, as in a backup of the tree itself; an empty directory stands for it.
Caveats: file systems that are mounted below come along (so no `-x`), as in a backup without a copy. A copy is made file by file, not at one moment:
the writer must rest for a consistent one. `cp` follows a folder that is swapped for a symbolic link in the instant between looking at it and
opening it, so whoever writes to the tree meanwhile can lead it to what this user may read elsewhere. `cp` knows files by their paths, so a tree that is deeper than the longest path (4 KiB) fails.

TreeError
├── Unreadable      files or directories that may not be read; the message names the first ones
├── NotCopyable     it cannot be done here: a device without root, or a machine without the right `cp`
├── CopyFailed      what cp said
├── Nested          source and destination lie in one another
└── Stopped         the copy was called off
"""

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from localkube.node.leftovers import MARKER, tied
from localkube.node.walking import quote

_NAMED = 5
_LONGEST = 240
_NAMES_OF_CP = ("cp", "gnucp", "gcp")
"""What that of GNU is called: everywhere, on an Ubuntu whose cp is that of uutils, and by Homebrew and the BSDs."""
_LOST_AND_FOUND = "lost+found"
_CAP_CHOWN, _CAP_MKNOD = 0, 27
_DIRECT = "copyMethod: Direct needs no copy"
_WENT = (b": No such file or directory", b": Not a directory", b": Too many levels of symbolic links")
_QUOTES = (b"\xe2\x80\x98", b"'")
"""How a line begins in which cp names an entry and says nothing else: one of the source whose ACL it looked for."""
_READING = (*_QUOTES, b"cannot stat ", b"cannot open ", b"cannot access ", b"cannot read symbolic link ")
_UNKEPT = (b"setting attribute", b"getting attribute", b"listing attributes", b"preserving ", b"failed to preserve ")


class TreeError(Exception):
    """A tree could not be copied. The message is for people; names are escaped."""


class Unreadable(TreeError):  # noqa: N818 - says what is the matter
    """Something may not be read."""


class NotCopyable(TreeError):  # noqa: N818
    """It cannot be done by this user or on this machine."""


class CopyFailed(TreeError):  # noqa: N818
    """What cp said."""


class Nested(TreeError):  # noqa: N818
    """Source and destination lie in one another."""


class Stopped(TreeError):  # noqa: N818
    """The copy was called off."""


@dataclass(slots=True)
class Complaints:
    """Lines of cp of one sort: how many, and the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list[str])

    def add(self, line: bytes) -> None:
        """Take a line, without the program's name."""
        self.count += 1
        if len(self.first) < _NAMED:
            words = quote(os.fsdecode(line))
            middle = _LONGEST // 2  # the end of a line says what is the matter, the path before it can be endless
            self.first.append(words if len(words) <= _LONGEST else f"{words[:middle]}...{words[-middle:]}")

    def __str__(self) -> str:
        more = self.count - len(self.first)
        return f"cp said: {'; '.join(self.first)}{f'; and {more} more' if more else ''}"


@dataclass(slots=True)
class CopyReport:
    """What a copy is not. `went`: entries that went or were replaced while they were copied; `unkept`: attributes that could not be set."""

    lost_owners: int = 0
    went: Complaints = field(default_factory=Complaints)
    unkept: Complaints = field(default_factory=Complaints)


async def copy_tree(
    source: Path,
    destination: Path,
    *,
    reflink: bool = True,
    stop: asyncio.Event | None = None,
    mark: str = "",
) -> CopyReport:
    """Copy the tree at `source` to `destination`, which must not exist. On any error the destination is left as far as it got.

    Setting `stop` ends the copy with Stopped; cancelling it kills cp. `mark` marks cp as this node's (`localkube.node.leftovers`).
    Raises TreeError, OSError.
    """
    stop = stop or asyncio.Event()
    try:
        program = await asyncio.to_thread(_find_cp)
        report = CopyReport(await asyncio.to_thread(survey, source, stop.is_set))
        destination, names = await asyncio.to_thread(_begin, source, destination)
    except asyncio.CancelledError:
        stop.set()  # whoever cancels is shutting the node down; a thread cannot be left behind
        raise
    command = [
        *tied(),
        *(program, "-a", "--preserve=xattr", f"--reflink={'auto' if reflink else 'never'}", "--sparse=auto"),
        # cp takes it for granted that the superuser may give files away, and drops the mode of those where that fails
        *(["--no-preserve=ownership"] if os.geteuid() == 0 and not _is_able(_CAP_CHOWN) else []),
        *("-t", str(destination), "--"),
    ]
    for some in _fit_command_line(["."] if names is None else names):
        await _run(command + some, source, mark, stop, report)
    status = await asyncio.to_thread(source.stat)  # fails when the tree itself went, which cp takes for one more entry
    if names is not None:
        await asyncio.to_thread(_keep_top, source, status, destination)
    return report


def survey(source: Path, stop: Callable[[], bool]) -> int:
    """Look for what a copy by this user cannot have, before anything is copied; return how many owners it cannot keep.

    Raises Unreadable, NotCopyable, Stopped. What lies deeper than a path can name is left to cp.
    """
    lost, count, unreadable = 0, 0, list[str]()
    gives, makes_devices = _is_able(_CAP_CHOWN), _is_able(_CAP_MKNOD)
    groups = {os.getegid(), *os.getgroups()}
    for path, status in _entries(source, stop):
        name = quote(os.path.relpath(path, source))
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            if not makes_devices:
                raise NotCopyable(f"{name} is a device, and only root may make one; {_DIRECT} and leaves devices out")
        elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            wanted = os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else 0)
            if not os.access(path, wanted, effective_ids=True) and os.path.lexists(path):
                count += 1
                unreadable += [name] if len(unreadable) < _NAMED else []
        lost += not gives and (status.st_uid != os.geteuid() or status.st_gid not in groups)
    if count:
        more = f" and {count - len(unreadable)} more" if count > len(unreadable) else ""
        raise Unreadable(f"{count} entries cannot be read by this user: {', '.join(unreadable)}{more}; {_DIRECT}")
    return lost


def _entries(source: Path, stop: Callable[[], bool]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every path below `source`, itself included, but for what is in `lost+found`; follow no symbolic link."""
    top = os.fspath(source)
    yield top, source.stat()
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        with suppress(OSError), os.scandir(directory) as listing:  # what is unreadable was told of when it was yielded
            for entry in sorted(listing, key=lambda each: each.name):
                if stop():
                    raise Stopped("the copy was called off")
                with suppress(OSError):  # it went
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        if directory == top and entry.name == _LOST_AND_FOUND:
                            continue
                        waiting.append(entry.path)
                    yield entry.path, status


def _begin(source: Path, destination: Path) -> tuple[Path, list[str] | None]:
    """Make the destination. Return where it really is, and the names at the top that are to be copied; None for all of them."""
    real = source.resolve(strict=True)
    target = destination.parent.resolve(strict=True) / destination.name
    if target.is_relative_to(real) or real.is_relative_to(target):
        raise Nested(f"{quote(str(real))} and {quote(str(target))} lie in one another")
    target.mkdir(mode=0o700)
    reserved = real / _LOST_AND_FOUND
    if reserved.is_symlink() or not reserved.is_dir():
        return target, None
    # what a file system keeps at its top for itself, and often for root alone, is no part of a backup
    (target / _LOST_AND_FOUND).mkdir(mode=0o700)
    return target, [f"./{entry.name}" for entry in real.iterdir() if entry.name != _LOST_AND_FOUND]


def _keep_top(source: Path, status: os.stat_result, destination: Path) -> None:
    """Give the copy's top folder the source's attributes. Last: what is made in it changes its times, and it may be read-only."""
    with suppress(PermissionError):
        os.chown(destination, status.st_uid, status.st_gid)
    shutil.copystat(source, destination)


def _fit_command_line(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield the names in lists that fit a command line: one list, if there are not tens of thousands.

    Between two lists hard links become files of their own: cp sees them in two runs.
    """
    room = os.sysconf("SC_ARG_MAX") // 2
    some, left = list[str](), room
    for name in names:
        length = len(os.fsencode(name)) + 9  # and its end and a pointer to it
        if length > left:
            yield some
            some, left = [], room
        some.append(name)
        left -= length
    if some:
        yield some


async def _run(command: list[str], source: Path, mark: str, stop: asyncio.Event, report: CopyReport) -> None:
    """Run cp over some names of the source. Raises CopyFailed, Stopped."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=source,
        env={"LC_ALL": "C.UTF-8", MARKER: mark},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
        start_new_session=True,  # Ctrl-C in a terminal is for the node
    )
    stopping = asyncio.create_task(_kill_when(stop, process))
    try:
        failures = await _listen(process, report)
        code = await process.wait()
    finally:
        stopping.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if stop.is_set():
        raise Stopped("the copy was called off")
    if failures.count:
        raise CopyFailed(f"{failures}; {_DIRECT}")
    if code != 0 and not (code == 1 and report.went.count + report.unkept.count):
        raise CopyFailed(f"cp ended with {code}")


async def _kill_when(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    await stop.wait()
    with suppress(ProcessLookupError):
        process.kill()


async def _listen(process: asyncio.subprocess.Process, report: CopyReport) -> Complaints:
    """Sort what cp says into the report. Return what fails the copy; after some of that cp need not go on."""
    failures = Complaints()
    assert process.stderr is not None
    async for raw in process.stderr:
        _, _, line = raw.rstrip(b"\n").partition(b": ")  # before it stands the program's name
        if line.startswith(_UNKEPT):
            report.unkept.add(line)
        elif (line.startswith(_READING) and line.endswith(_WENT)) or line.startswith(b"skipping file "):
            report.went.add(line)
        else:
            failures.add(line)
            if failures.count == _NAMED:
                with suppress(ProcessLookupError):
                    process.kill()
    return failures


def _find_cp() -> str:
    """Return the path of a cp that can do it. Raises NotCopyable."""
    for found in filter(None, map(shutil.which, _NAMES_OF_CP)):
        told = subprocess.run([found, "--version"], capture_output=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
        if b"GNU coreutils" in told.stdout:
            return str(Path(found).absolute())
    raise NotCopyable(
        "copies of volumes are made by cp of GNU coreutils, which is not on the PATH (macOS, busybox and uutils have another cp):"
        f" install coreutils; {_DIRECT}"
    )


def _is_able(capability: int) -> bool:
    """Tell whether this process has a capability; where there are none, whether it is the superuser's."""
    try:
        effective = Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
    except (OSError, IndexError):
        return os.geteuid() == 0
    return bool(int(effective, 16) >> capability & 1)
