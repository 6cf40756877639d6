# ruff: noqa: PTH114, PTH115, PTH116, PTH118  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""One pass over the source: counts, the manifest, and the paths for the ledger.

Guarantees: nothing is opened for reading but directories, nothing is followed, memory does not grow with the number of files
(only with the number of directories that wait to be read).
Caveats: of a live source it is a view while files come and go; what vanishes between listing and looking is left out. In a frozen
copy nothing can vanish, so there it counts as unreadable.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator

import msgspec

from datamover.agent import printing
from datamover.agent.files import manifest, names
from datamover.api import transfer

_EXAMPLES = 5
_CHECK_EVERY = 256
LOST_AND_FOUND = b"lost+found"
"""What file systems keep at their top for themselves; it is not the user's data."""
_OWN_FOLDER = transfer.STATE_FOLDER.encode()
_SKIPPED_XATTRS = frozenset({"security.selinux"})  # the node's own label, different on every node
_LARGE = 64 << 20
_PATH_MAX = 4096
"""Bytes of a path that the kernel takes in one call, the NUL at its end counted."""
_LONGEST_NAME = 256
"""A slash and the longest name of a file."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_VANISHED = (FileNotFoundError, NotADirectoryError)


Reach = dict[bytes, bool]


class Tally(msgspec.Struct):
    """What the walk found. Sizes in bytes; the lists hold the first few names for people.

    `out_of_reach` are folders below which the engine cannot look, because paths there are longer than the kernel takes, and whether there is
    any file or link, which no object can be: keys are shorter still.
    """

    files: int = 0
    bytes: int = 0
    directories: int = 0
    symlinks: int = 0
    hardlinks: int = 0
    special: int = 0
    unreadable: int = 0
    large: int = 0
    unlistable: int = 0
    too_long: int = 0
    link_like: int = 0
    misspelt: int = 0
    reserved: bool = False
    lost_and_found: bool = False
    special_names: list[str] = []
    unreadable_names: list[str] = []
    unlistable_names: list[str] = []
    too_long_names: list[str] = []
    link_like_names: list[str] = []
    misspelt_names: list[str] = []
    out_of_reach: Reach = {}

    @property
    def objects(self) -> int:
        """Files and links: what becomes an object."""
        return self.files + self.symlinks


def _note(examples: list[str], raw: bytes) -> None:
    """Keep a name for people, if there are few of them."""
    if len(examples) < _EXAMPLES:
        examples.append(printing.readable(raw))


def _miss(tally: Tally, raw: bytes) -> None:
    """Count a path that could not be looked at, or not be read."""
    tally.unreadable += 1
    _note(tally.unreadable_names, raw)


def walk(
    source: bytes,
    *,
    tally: Tally,
    add: Callable[[manifest.Entry], None],
    prefix_size: int,
    tick: Callable[[], None],
    frozen: bool = False,
) -> Iterator[tuple[bytes, int, int]]:
    """Yield key, size and time of change (ns) of every file and link below `source`; fill `tally`; give every path to `add`.

    `frozen`: the source is a copy that nobody writes to. `prefix_size` is what the destination puts before a key, in bytes. `tick` is called every now and then; it may raise. Raises
    OSError only when `source` itself cannot be read. The first line given to `add` is about `source` itself.
    """
    add(msgspec.structs.replace(_entry(source, os.stat(source), b"", Tally()), type=manifest.TOP))
    waiting: list[bytes] = [b""]
    met = 0
    while waiting:
        folder = waiting.pop()
        with contextlib.ExitStack() as stack:
            try:
                scan = stack.enter_context(_scan(source, folder, stack))
            except OSError as error:
                if not folder:
                    raise
                if frozen or not isinstance(error, _VANISHED):
                    _miss(tally, folder)
                    add(manifest.skipped(folder, manifest.UNREADABLE))
                continue
            for item in _items(scan, tally, folder, add):
                met += 1
                if met % _CHECK_EVERY == 0:
                    tick()
                path = folder + b"/" + item.name if folder else item.name
                if not folder and item.name == LOST_AND_FOUND and item.is_dir(follow_symlinks=False):
                    tally.lost_and_found = True
                    add(manifest.skipped(path, manifest.LOST_AND_FOUND))
                    continue
                if not folder and item.name == _OWN_FOLDER:
                    tally.reserved = True
                try:
                    entry = _entry(item.path, item.stat(follow_symlinks=False), path, tally)
                except OSError as error:
                    if frozen or not isinstance(error, _VANISHED):
                        _miss(tally, path)
                        add(manifest.skipped(path, manifest.UNREADABLE))
                    continue
                add(entry)
                if len(source) + 1 + len(path) >= _PATH_MAX:
                    _lose_reach(path, tally, content=entry.type in {manifest.FILE, manifest.LINK})
                if entry.type == manifest.DIRECTORY:
                    waiting.append(path)
                elif entry.type in {manifest.FILE, manifest.LINK}:
                    _check_name(entry, path, prefix_size, tally)
                    yield entry.key, entry.size, entry.mtime


def _check_name(entry: manifest.Entry, path: bytes, prefix_size: int, tally: Tally) -> None:
    """Count a file or link whose name is too long for a key, is not listed, or reads as something else at the destination."""
    is_link = entry.type == manifest.LINK
    suffix = len(names.LINK_SUFFIX) if is_link else 0
    # only names that are not ASCII are spelt longer than they are
    if prefix_size + len(path) + suffix > names.KEY_LIMIT or not path.isascii():
        _check_size(path, suffix, prefix_size, tally)
    if not names.listable(path):
        tally.unlistable += 1
        _note(tally.unlistable_names, path)
    if not is_link and path.endswith(names.LINK_SUFFIX):
        tally.link_like += 1
        _note(tally.link_like_names, path)
    if is_link and names.is_misspelt(path):
        tally.misspelt += 1
        _note(tally.misspelt_names, path)


def _scan(source: bytes, folder: bytes, stack: contextlib.ExitStack) -> "os._ScandirIterator[bytes]":  # pyright: ignore[reportPrivateUsage] - typeshed has no public name
    """List a folder. One whose path is longer than the kernel takes is opened piece by piece, links not followed."""
    place = source + b"/" + folder if folder else source
    if len(place) + _LONGEST_NAME < _PATH_MAX:
        return os.scandir(place)
    descriptor = os.open(source, _FOLDER)
    try:
        for piece in _pieces(folder):
            deeper = os.open(piece, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
    except OSError:
        os.close(descriptor)
        raise
    stack.callback(os.close, descriptor)
    return os.scandir(b"/proc/self/fd/%d" % descriptor)


def _pieces(folder: bytes) -> Iterator[bytes]:
    """Cut a path at its slashes into pieces that the kernel takes."""
    start = 0
    while len(folder) - start >= _PATH_MAX:
        cut = folder.rindex(b"/", start, start + _PATH_MAX)
        yield folder[start:cut]
        start = cut + 1
    yield folder[start:]


def _lose_reach(path: bytes, tally: Tally, *, content: bool) -> None:
    """Note the first folder on the way to `path` whose own path is too long for a key, so that nothing below can be an object."""
    cut = path.index(b"/", names.KEY_LIMIT)
    tally.out_of_reach[path[:cut]] = content or tally.out_of_reach.get(path[:cut], False)


def measure(source: bytes, keys: Iterable[bytes], *, tally: Tally, prefix_size: int) -> None:
    """Look anew which names are too long, cannot be listed, look like links or are misspelt, among what is really to be moved."""
    tally.too_long, tally.unlistable, tally.link_like, tally.misspelt = 0, 0, 0, 0
    tally.misspelt_names.clear()
    tally.too_long_names.clear()
    tally.unlistable_names.clear()
    tally.link_like_names.clear()
    for key in keys:
        raw = names.raw_of(key)
        _check_size(raw, 0, prefix_size, tally)
        if not names.listable(raw):
            tally.unlistable += 1
            _note(tally.unlistable_names, raw)
        if raw.endswith(names.LINK_SUFFIX) and os.path.lexists(source + b"/" + raw):
            tally.link_like += 1
            _note(tally.link_like_names, raw)
        link = names.raw_of(key.removesuffix(names.LINK_SUFFIX))
        if key.endswith(names.LINK_SUFFIX) and names.is_misspelt(link) and os.path.islink(source + b"/" + link):
            tally.misspelt += 1
            _note(tally.misspelt_names, link)


def describe(source: bytes, key: bytes, *, follows: bool) -> manifest.Entry:
    """Return the manifest's line about an object that was moved although the walk had not seen it; gone again, or of another kind by
    now, it is `kept`. `follows`: the engine follows links.
    """
    raw = names.raw_of(key)
    scan = names.raw_of(key.removesuffix(names.LINK_SUFFIX))
    for candidate in (raw, scan):
        place = os.path.join(source, candidate)
        try:
            entry = _entry(place, os.stat(place) if follows else os.lstat(place), candidate, Tally())
        except (OSError, ValueError):  # the latter for a NUL, which only a key made by hand has
            continue
        if entry.type in {manifest.FILE, manifest.LINK} and entry.key == key:
            return entry
    return manifest.about(manifest.KEPT, key)


def _items(
    scan: "os._ScandirIterator[bytes]",  # pyright: ignore[reportPrivateUsage] - typeshed has no public name
    tally: Tally,
    folder: bytes,
    add: Callable[[manifest.Entry], None],
) -> "Iterator[os.DirEntry[bytes]]":
    """Yield a directory's items; one that cannot be read to its end counts as unreadable."""
    while True:
        try:
            item = next(scan)
        except StopIteration:
            return
        except OSError:
            _miss(tally, folder)
            add(manifest.skipped(folder, manifest.UNREADABLE))
            return
        yield item


def _check_size(path: bytes, suffix: int, prefix_size: int, tally: Tally) -> None:
    if prefix_size + names.stored_size(path) + suffix > names.KEY_LIMIT:
        tally.too_long += 1
        _note(tally.too_long_names, path)


def _entry(place: bytes, status: os.stat_result, path: bytes, tally: Tally) -> manifest.Entry:
    mode = status.st_mode
    try:
        text, raw = path.decode(), None
    except UnicodeDecodeError:
        text, raw = printing.readable(path), path
    target: bytes | None = None
    hardlink: str | None = None
    device: str | None = None
    sparse = False
    skipped: str | None = None
    size = 0
    if stat.S_ISREG(mode):
        kind = manifest.FILE
        size = status.st_size
        tally.files += 1
        tally.bytes += size
        tally.large += size >= _LARGE
        sparse = status.st_blocks * 512 < size
        if status.st_nlink > 1:
            tally.hardlinks += 1
            hardlink = f"{status.st_dev:x}:{status.st_ino:x}"
        if not os.access(place, os.R_OK, effective_ids=True):
            _miss(tally, path)
            skipped = manifest.UNREADABLE
    elif stat.S_ISDIR(mode):
        kind = manifest.DIRECTORY
        tally.directories += 1
    elif stat.S_ISLNK(mode):
        kind = manifest.LINK
        target = os.readlink(place)
        size = len(target)
        tally.symlinks += 1
        tally.bytes += size
    else:
        kind = _special(mode)
        skipped = manifest.SPECIAL_FILE
        tally.special += 1
        _note(tally.special_names, path)
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            device = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    target_text, raw_target = (None, None) if target is None else _text(target)
    return manifest.Entry(
        type=kind,
        path=text,
        raw=raw,
        size=size,
        mtime=status.st_mtime_ns,
        mode=stat.S_IMODE(mode),
        uid=status.st_uid,
        gid=status.st_gid,
        target=target_text,
        raw_target=raw_target,
        hardlink=hardlink,
        device=device,
        xattrs=None if target is not None else extended_attributes(place) or None,
        sparse=sparse,
        skipped=skipped,
    )


def _text(raw: bytes) -> tuple[str, bytes | None]:
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return printing.readable(raw), raw


def _special(mode: int) -> str:
    for test, kind in (
        (stat.S_ISFIFO, "fifo"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "character device"),
        (stat.S_ISBLK, "block device"),
    ):
        if test(mode):
            return kind
    return "unknown"


def extended_attributes(path: bytes | str) -> dict[str, bytes]:
    """Return the extended attributes of what is at a path (a link itself) that may be read, ACLs among them."""
    try:
        found = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}  # not supported here, or not ours to see
    values: dict[str, bytes] = {}
    for name in found:
        if name not in _SKIPPED_XATTRS:
            try:
                values[name] = os.getxattr(path, name, follow_symlinks=False)
            except OSError:
                continue
    return values
