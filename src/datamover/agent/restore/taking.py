"""Bringing a file or a folder of a point below a directory: contents, links, folders, permission bits and times. Not a whole restore: owners,
extended attributes, hard links and special files do not come.

Guarantees: nothing outside the directory is touched, whatever the manifest says and whatever links are there: no link is followed, no folder
entered through one. Nothing that is there is replaced unless that is wanted, and then by a rename. Each file is compared with the manifest
before it takes its name: in size, and in MD5 where there is one. A folder that was there keeps mode and time, unless things are replaced; one with
something in it is never removed. No set-user-ID or set-group-ID bit comes. What an object has beyond its file's
size does not fill the disk (see `fetching`).
Assumptions: Linux; nobody else writes to the directory meanwhile.
Caveats: what is under way lies in a folder `.datamover-get-…` in the directory, which a kill leaves behind. The whole of it needs room at once.
"""

import os
import shutil
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.files.flushing import flush_file_system
from datamover.agent.files.handles import Refused, enter_parent, make_folder, put
from datamover.agent.files.losses import Losses, because
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.points.tree import Leaf, Tree, no_such_path
from datamover.agent.printing import quote_names, readable
from datamover.agent.restore.checking import digest_of
from datamover.agent.restore.entry import make_fetching
from datamover.agent.restore.fetching import BATCH_BYTES, BATCH_FILES, Fetching
from datamover.agent.restore.progress import Reporter
from datamover.agent.restore.wanted import SIZES, File
from datamover.api import amounts, transfer

_PERMISSIONS = 0o777
_EXAMPLES = 5
_REMEMBERED = 10_000
"""Objects that are longer than they should be of which the names are kept; of more it is said that they did not come."""
_MISSING = "what has no object at the destination any more"
_OTHER_SIZE = "what has another size at the destination than in the manifest"
_OTHER_SUM = "what has another checksum at the destination than in the manifest"
_THERE = "what is there already as something else"
_SPECIAL = "pipes, devices and sockets"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Taken(msgspec.Struct):
    """What came. `summed` is of how many files the checksum was compared, not the size alone; `lost` what did not come, `unkept` what never does."""

    files: int = 0
    links: int = 0
    folders: int = 0
    bytes: int = 0
    summed: int = 0
    lost: Losses = msgspec.field(default_factory=Losses)
    unkept: Losses = msgspec.field(default_factory=Losses)


def take(bucket: Bucket, point: Point, tree: Tree, path: bytes, directory: str, *, overwrite: bool = False) -> Taken:
    """Bring the file, link or folder at `path` (the empty one: all) below `directory`, which is made when it is not there, under its last name.

    Raises Failure when the point has no such path, or a special file there, when something would be replaced that should not be, and when there is no room: then nothing is
    written. Raises OSError when the directory cannot be used.
    """
    leaf = tree.find(path)
    if leaf is None and not tree.has_children(path):
        raise no_such_path(path, point, tree)
    if leaf is not None and leaf.entry.type in manifest.SPECIAL:
        raise _no_contents(leaf)
    work = _Work(tree, path, leaf)
    made = _make_directory(directory)
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    staging = f".datamover-get-{os.urandom(4).hex()}"
    try:
        if not overwrite:
            _demand_free(work, top, directory)
        _demand_room(work, top, directory)
        os.mkdir(staging, 0o700, dir_fd=top)
        inner = os.open(staging, _FOLDER, dir_fd=top)
        try:
            longer = _fetch(bucket, point, work, inner)
            if overwrite:  # also when the machine dies the old one goes only for a new one that is on the disk
                flush_file_system(f"/proc/self/fd/{top}")
            return _Placing(work, top=top, staging=inner, overwrite=overwrite, longer=longer).run()
        finally:
            os.close(inner)
            shutil.rmtree(staging, ignore_errors=True, dir_fd=top)
    except Failure:
        if made:
            with suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106 - as everywhere in the agent
        raise
    finally:
        os.close(top)


def _no_contents(leaf: Leaf) -> Failure:
    name = readable(leaf.path)
    return Failure(
        transfer.NOT_FOUND,
        transfer.REASON_PATH_NOT_FOUND,
        f"'{name}' is no file, but a {leaf.entry.type}: a store has nothing of it. Nothing was written. `datamover restore --special` makes pipes and devices anew.",
        problems=(name,),
    )


class _Work:
    """What is to come, and under which names: the last part of the path and what is below it."""

    def __init__(self, tree: Tree, path: bytes, leaf: Leaf | None) -> None:
        self._tree = tree
        self._path = path
        self._leaf = leaf
        self._cut = len(path.rpartition(b"/")[0])

    def leaves(self) -> Iterator[tuple[Leaf, bytes]]:
        """Yield each path with the name that it gets below the directory, folders before what is in them."""
        leaf = self._leaf
        if leaf is not None and self._path:
            yield leaf, self.named(leaf.path)
        if leaf is None or leaf.entry.type in {manifest.DIRECTORY, manifest.TOP}:
            for each in self._tree.below(self._path):
                yield each, self.named(each.path)

    def named(self, raw: bytes) -> bytes:
        """Return the name below the directory."""
        return raw[self._cut :].removeprefix(b"/")


def _make_directory(directory: str) -> bool:
    try:
        os.mkdir(directory)  # noqa: PTH102 - as everywhere in the agent
    except FileExistsError:
        return False
    return True


def _demand_free(work: _Work, top: int, directory: str) -> None:
    """Raise Failure when something would be replaced: any file or link, and a folder where none is to come."""
    found: list[str] = []
    count = 0
    for leaf, name in work.leaves():
        with suppress(OSError, Refused), enter_parent(top, name) as (folder, last):
            there = os.stat(last, dir_fd=folder, follow_symlinks=False)
            if leaf.entry.type == manifest.DIRECTORY and _is_folder(there):
                continue
            count += 1
            if len(found) < _EXAMPLES:
                found.append(readable(name))
    if count:
        raise Failure(
            transfer.GUARD,
            transfer.REASON_INVALID_CONFIGURATION,
            f"{count} of the paths are in {readable(os.fsencode(directory))} already: {quote_names(found, count)}. Nothing was written. Name another"
            " directory, or say --overwrite to replace them.",
            problems=tuple(found),
        )


def _demand_room(work: _Work, top: int, directory: str) -> None:
    wanted = sum(leaf.entry.size for leaf, _ in work.leaves() if leaf.entry.type == manifest.FILE)
    status = os.fstatvfs(top)
    free = status.f_bavail * status.f_frsize
    if wanted > free:
        raise _no_room(
            f"{amounts.size(wanted)} are to come, and {readable(os.fsencode(directory))} has room for {amounts.size(free)}"
        )


def _no_room(why: str) -> Failure:
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_TARGET_TOO_SMALL,
        f"{why}. Nothing was written. Name a directory with more room, or a part of the point.",
    )


def _is_folder(status: os.stat_result) -> bool:
    from stat import S_ISDIR

    return S_ISDIR(status.st_mode)


def _fetch(bucket: Bucket, point: Point, work: _Work, inner: int) -> set[bytes]:
    """Bring the objects of all files into the folder, as they are called in the point; return the keys of the first that have more bytes than their
    files had and did not come for that. What else does not come is found out afterwards.
    """

    def tell(line: str) -> None:
        progress = transfer.read_progress(line)
        if progress is not None:
            bucket.wait(progress.trouble)

    fetching = make_fetching(
        bucket,
        point,
        into=inner,
        # by its descriptor: the name may lead elsewhere a moment later
        path=f"/proc/{os.getpid()}/fd/{inner}/",
        report=Reporter(point.run_id, write=_ignore, tell=tell, monotonic=time.monotonic),
        scratch=bucket.scratch,
        show=bucket.show,
        grace=bucket.engine.stop.grace,
    )
    longer: set[bytes] = set()
    for batch in _batches(work):
        _bring(fetching, batch)
        longer.update(file.key for file in batch if len(longer) < _REMEMBERED and fetching.why_missing(file))
    if fetching.said:
        bucket.note(fetching.said)
    return longer


def _batches(work: _Work) -> Iterator[list[File]]:
    """Yield the files that are brought together: those of like sizes, because the engine may write none beyond the largest of them."""
    least = -1
    for largest in SIZES:
        batch: list[File] = []
        size = 0
        for leaf, _ in work.leaves():
            if leaf.entry.type != manifest.FILE or not least < leaf.entry.size <= largest:
                continue
            if len(batch) >= BATCH_FILES or (batch and size + leaf.entry.size > BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(File(leaf.entry.key, leaf.entry.size, leaf.md5.hex() if leaf.md5 is not None else ""))
            size += leaf.entry.size
        if batch:
            yield batch
        least = largest


def _bring(fetching: Fetching, batch: list[File]) -> None:
    try:
        fetching.fetch(batch)
    except Failure as failure:
        if failure.reason != transfer.REASON_TARGET_TOO_SMALL:
            raise  # as when it is the place for temporary files that is full
        # a restore marks its directory then; this leaves nothing behind
        raise _no_room("No space was left where the files go, or a quota was reached") from None


def _ignore(line: str) -> None:
    """Show nothing: it is over soon."""


class _Placing:
    """Gives what came its names."""

    def __init__(self, work: _Work, *, top: int, staging: int, overwrite: bool, longer: Collection[bytes]) -> None:
        self._work = work
        self._top = top
        self._staging = staging
        self._overwrite = overwrite
        self._longer = longer
        self._taken = Taken()
        self._passed: set[bytes] = set()
        self._made: set[bytes] = set()

    def run(self) -> Taken:
        folders: list[tuple[Leaf, bytes]] = []
        for leaf, name in self._work.leaves():
            act = {
                manifest.FILE: self._place_file,
                manifest.LINK: self._place_link,
                manifest.DIRECTORY: self._make_folder,
            }.get(leaf.entry.type)
            if act is None:
                self._taken.unkept.add(_SPECIAL, leaf.path)
            elif self._try(act, leaf, name) and leaf.entry.type == manifest.DIRECTORY:
                folders.append((leaf, name))
        for leaf, name in reversed(folders):
            if self._overwrite or name in self._made:
                self._try(self._finish_folder, leaf, name)
        return self._taken

    def _try(self, act: Callable[[Leaf, bytes], None], leaf: Leaf, name: bytes) -> bool:
        try:
            act(leaf, name)
        except Refused as refused:
            self._taken.lost.add(refused.kind, leaf.path)
        except FileExistsError:
            self._taken.lost.add(_THERE, leaf.path)
        except (OSError, ValueError, OverflowError) as error:
            self._taken.lost.add(because("everything", error), leaf.path)
        else:
            return True
        return False

    def _make_folders_above(self, name: bytes) -> None:
        """Make the folders on the way that have no line of their own, or whose line comes later."""
        parts = name.split(b"/")[:-1]
        for count in range(1, len(parts) + 1):
            above = b"/".join(parts[:count])
            if above not in self._passed:
                with suppress(FileExistsError):
                    self._make(above)
                self._passed.add(above)

    def _make(self, name: bytes) -> bool:
        """Make a folder where none is; return whether it is new. What it takes the place of is there until this ends."""
        with enter_parent(self._top, name) as (folder, last):
            if not make_folder(last, folder, mode=0o777, aside=self._staging if self._overwrite else None):
                return False
        self._made.add(name)
        return True

    def _make_folder(self, _: Leaf, name: bytes) -> None:
        self._make_folders_above(name)
        self._make(name)
        self._taken.folders += name in self._made

    def _finish_folder(self, leaf: Leaf, name: bytes) -> None:
        with enter_parent(self._top, name) as (folder, last):
            handle = os.open(last, _FOLDER, dir_fd=folder)
            try:
                _dress(handle, leaf)
            finally:
                os.close(handle)

    def _place_link(self, leaf: Leaf, name: bytes) -> None:
        entry = leaf.entry
        self._make_folders_above(name)
        made = b"link-%s" % os.urandom(6).hex().encode()
        os.symlink(entry.target_bytes, made, dir_fd=self._staging)
        try:
            os.utime(made, ns=(entry.mtime, entry.mtime), dir_fd=self._staging, follow_symlinks=False)
            self._give_name(made, name, inner=self._staging)
        except BaseException:
            os.unlink(made, dir_fd=self._staging)
            raise
        self._taken.links += 1

    def _place_file(self, leaf: Leaf, name: bytes) -> None:
        if leaf.entry.key in self._longer:
            raise Refused(_OTHER_SIZE)
        self._make_folders_above(name)
        with _arrived(self._staging, leaf.path) as (inner, source, handle):
            self._check(leaf, handle)
            _dress(handle, leaf)
            self._give_name(source, name, inner=inner)
        self._taken.files += 1
        self._taken.bytes += leaf.entry.size

    def _give_name(self, source: bytes, name: bytes, *, inner: int) -> None:
        """Move what is whole to its place. What is replaced is there until the new one is (law L3)."""
        with enter_parent(self._top, name) as (folder, last):
            if self._overwrite:
                put(source, last, inner=inner, folder=folder)
            else:
                _move_where_nothing_is(source, last, inner=inner, folder=folder)

    def _check(self, leaf: Leaf, handle: int) -> None:
        """Raise Refused when what came is not the file."""
        if os.fstat(handle).st_size != leaf.entry.size:
            raise Refused(_OTHER_SIZE)
        if leaf.md5 is None:
            return
        if digest_of(handle) != leaf.md5:
            raise Refused(_OTHER_SUM)
        self._taken.summed += 1


@contextmanager
def _arrived(staging: int, path: bytes) -> Generator[tuple[int, bytes, int]]:
    """Give folder, name and a handle of a file that came. Raises Refused when none did."""
    with ExitStack() as stack:
        try:
            inner, source = stack.enter_context(enter_parent(staging, path))
            handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=inner)
        except FileNotFoundError:
            raise Refused(_MISSING) from None
        stack.callback(os.close, handle)
        yield inner, source, handle


def _move_where_nothing_is(source: bytes, name: bytes, *, inner: int, folder: int) -> None:
    """Move a file or link. Raises FileExistsError when something is."""
    try:
        os.link(source, name, src_dir_fd=inner, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError from None
        os.rename(source, name, src_dir_fd=inner, dst_dir_fd=folder)
    else:
        os.unlink(source, dir_fd=inner)


def _dress(handle: int, leaf: Leaf) -> None:
    """Give permission bits and time of change."""
    os.fchmod(handle, leaf.entry.mode & _PERMISSIONS)
    os.utime(handle, ns=(leaf.entry.mtime, leaf.entry.mtime))
