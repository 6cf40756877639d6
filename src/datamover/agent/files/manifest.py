# ruff: noqa: PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""The manifest of a run: every path of the source with what a store cannot keep. JSON lines, gzip.

It is uploaded before the first byte of data (the *intent*), so that whatever a crash leaves behind, the next run knows what
may be there (law L3). The first line is the `Header`, then one line a path (the volume's own top folder first, which manifests of before do not have), then lines about objects that are not in the
source, then the `end` line. Lines added after the run (a live source, checksums) form further gzip members.

A `copy` line names the latest copy of the volume that was mirrored before this run: `path` the run, `target` the moment.

Known to the mirror after an unfinished run: files, links, `stale`, `unseen` and `kept`, without `excluded` and `vanished`; after a
finished one the same without `stale` and `unseen`. `unseen` is what the mirror wrote and the listing before the run did not show: only a
run that came to its end has shown that it is gone. `found` is what an earlier run may have written, so it is neither deleted nor foreign.

A `digest` line has the MD5 of the object at a key, where it is proved that the object has the source's bytes. They come last, and a `digests` line
with their number ends them: it says that they were looked for, so that an object without one has none.
"""

import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Annotated, BinaryIO

import msgspec

from datamover.agent import printing
from datamover.agent.environment import Owner
from datamover.agent.files import names
from datamover.api import outside
from datamover.api.outside import Count

VERSION = 1
FILE = "file"
LINK = "link"
DIRECTORY = "directory"
TOP = "top"
"""The volume's own top folder, without a path. A type of its own, so that readers of before pass over it."""
SPECIAL = frozenset({"fifo", "socket", "character device", "block device", "unknown"})
_PATHS = frozenset({FILE, LINK, DIRECTORY, TOP}) | SPECIAL
STALE = "stale"
KEPT = "kept"
EXCLUDED = "excluded"
VANISHED = "vanished"
FOUND = "found"
UNSEEN = "unseen"
COPY = "copy"
DIGEST = "digest"
DIGESTS = "digests"
SKIPPED = "skipped"
END = "end"

SPECIAL_FILE = "special"
"""Why something is not at the destination, or not in the manifest: it is a pipe, a socket or a device, which no object can be."""
LOST_AND_FOUND = "lost+found"
"""It is what a file system keeps at its top for itself."""
UNREADABLE = "unreadable"
"""It could not be read, or be looked at; the run deletes nothing and fails."""
ATTRIBUTES = "attributes"
"""Its extended attributes are longer than a line; all else is there."""

_MD5 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
_Id = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
_LEVEL = 3  # a third of the time of level 6 for a tenth more bytes


class Header(msgspec.Struct, frozen=True, rename="camel", kw_only=True, tag_field="datamover", tag="manifest"):
    """Whose files these are. Every field is written, the version above all. Times RFC 3339.

    `copied_at` is the moment of the copy, `YYYY-MM-DD-HHMMSS` (these sort by time); empty in those of earlier versions.
    """

    version: Count = VERSION
    run_id: str = ""
    object: str = ""
    source: Owner = Owner()
    copy_method: str = ""
    copied_at: str = ""
    created_at: str = ""


class Entry(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True, omit_defaults=True):
    """One path of the source, or one key at the destination (`stale`, `kept`, `unseen`, `excluded`, `vanished`, `found`, `digest`).

    `path` is UTF-8; where the name is not, `path` is for people and `raw` has the bytes (base64 in JSON). `mtime` in
    nanoseconds; `mode` the permission bits; `hardlink` the same word for all names of one file; `xattrs` with base64 values, ACLs
    among them; `device` major and minor. `skipped` says why something is left out; a path of which nothing more is known has the type `skipped`.
    """

    type: str
    path: str = ""
    raw: bytes | None = None
    size: Count = 0
    mtime: int = 0  # file systems know years that 64 bits of nanoseconds do not
    mode: _Id = 0
    uid: _Id = 0
    gid: _Id = 0
    target: str | None = None
    raw_target: bytes | None = None
    hardlink: str | None = None
    device: str | None = None
    xattrs: dict[str, bytes] | None = None
    sparse: bool = False
    entries: Count = 0
    md5: _MD5 | None = None
    skipped: str | None = None

    @property
    def raw_path(self) -> bytes:
        """The path's bytes."""
        return self.path.encode() if self.raw is None else self.raw

    @property
    def describes_path(self) -> bool:
        """Whether it says what is at a path of the source, its top folder among them: no other line can be compared or restored."""
        return self.type in _PATHS

    @property
    def target_bytes(self) -> bytes:
        """Where a link leads, as the file system has it; empty where the manifest does not say it."""
        return (self.target or "").encode() if self.raw_target is None else self.raw_target

    @property
    def key(self) -> bytes:
        """The key at the destination."""
        if self.type in {FILE, LINK}:
            return names.key_of(self.raw_path + (names.LINK_SUFFIX if self.type == LINK else b""))
        return self.raw_path


_decode_header = outside.Decoder(Header)
_decode_entry = outside.Decoder(Entry, limit=outside.LINE_LIMIT)


def skipped(raw: bytes, why: str) -> Entry:
    """Return a line about a path of which nothing more is known."""
    return msgspec.structs.replace(about(SKIPPED, raw), skipped=why)


def about(kind: str, key: bytes) -> Entry:
    """Return a line about a key at the destination."""
    try:
        return Entry(type=kind, path=key.decode())
    except UnicodeDecodeError:
        return Entry(type=kind, path=printing.readable(key), raw=key)


class Writer:
    """Streams a manifest into a file. `shortened` names paths whose extended attributes are too long for a line and were left out."""

    def __init__(self, path: str, header: Header) -> None:
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 - closed by close()
        self._compress = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)  # 31: with gzip's header and checksum
        self._encode = msgspec.json.Encoder().encode_into
        self._buffer = bytearray()
        self._entries = 0
        self.shortened: list[str] = []
        self._encode(header, self._buffer)
        self._buffer += b"\n"

    def add(self, entry: Entry) -> None:
        """Add a line."""
        start = len(self._buffer)
        self._encode(entry, self._buffer, start)
        if len(self._buffer) - start > outside.LINE_LIMIT:  # nobody would read it again
            self._encode(msgspec.structs.replace(entry, xattrs=None, skipped=ATTRIBUTES), self._buffer, start)
            self.shortened.append(printing.readable(entry.raw_path))
        self._buffer += b"\n"
        self._entries += 1
        if len(self._buffer) > 1 << 16:
            self._file.write(self._compress.compress(self._buffer))
            self._buffer.clear()

    def close(self) -> None:
        """Write the end line and close the file."""
        if not self._file.closed:
            self.add(Entry(type=END, entries=self._entries))
            self._file.write(self._compress.compress(self._buffer) + self._compress.flush())
            self._file.close()


def append(path: str, entries: Iterator[Entry]) -> int:
    """Add lines to a closed manifest as a gzip member of their own; return how many. Nothing is written for none. Memory does not grow with them."""
    buffer = bytearray()
    encode = msgspec.json.Encoder().encode_into
    compress = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    count = 0
    with open(path, "ab") as file:
        start = file.tell()
        try:
            for entry in entries:
                encode(entry, buffer, len(buffer))
                buffer += b"\n"
                count += 1
                if len(buffer) > 1 << 16:
                    file.write(compress.compress(buffer))
                    buffer.clear()
            if count:
                file.write(compress.compress(buffer) + compress.flush())
        except BaseException:
            file.truncate(start)  # half a member would damage the whole
            raise
    return count


Known = tuple[bytes, int | None, bool]
"""A key, its time of change (ns; None where the manifest has none), and whether the run was to delete it."""


def load_known(
    path: str,
    *,
    run_id: str,
    finished: bool,
    add: Callable[[Iterator[Known]], None],
    forget: Callable[[Iterator[bytes]], None],
    doubt: Callable[[Iterator[bytes]], None],
    find: Callable[[Iterator[bytes]], None],
    miss: Callable[[Iterator[Known]], None] | None = None,
    copied: Callable[[tuple[str, str]], None] | None = None,
) -> Header:
    """Give the keys that the run of this manifest, and those before it, may have left at the destination; return its header.

    `copied` gets moment and run of the latest copy before. `add`, `forget`, `doubt` (files that vanished), `miss` (`unseen`; `add` unless given) and `find` get streams in an order in which the last word counts. Raises ValueError when the file is not a whole manifest of a version that this agent knows, or is
    another run's.
    """
    header = read_header(path)
    if header.run_id != run_id:
        raise ValueError(f"it says that it is of run {header.run_id!r}")
    # read to its end first: of a damaged one nothing at all is known, not what stands before the damage
    seen = _survey(path)
    add(_keys(path, {FILE, LINK} if finished else {FILE, LINK, STALE}))
    for kind, tell in ((EXCLUDED, forget), (VANISHED, doubt)):
        if kind in seen:
            tell(key for key, _, _ in _keys(path, {kind}))
    if UNSEEN in seen and not finished:
        (miss or add)(_keys(path, {UNSEEN}))
    if KEPT in seen:
        add(_keys(path, {KEPT}))
    if COPY in seen and copied is not None:
        for entry in _entries(path, {COPY}):
            copied((entry.target or "", entry.path))
    if FOUND in seen:
        find(key for key, _, _ in _keys(path, {FOUND}))
    return header


def entries(path: str, *, absent: set[bytes] | None = None) -> Iterator[Entry]:
    """Yield the lines of a manifest about paths of the source, its top folder among them, in their order. Raises ValueError as `load_known` does, at the latest at
    the end. `absent` is filled with the keys that the run did not move: excluded, or vanished.
    """
    for entry in every_line(path):
        if entry.describes_path:
            yield entry
        elif absent is not None and entry.type in {EXCLUDED, VANISHED}:
            absent.add(entry.key)


def every_line(path: str) -> Iterator[Entry]:
    """Yield all lines but the first, of whatever type, in their order. Raises ValueError as `load_known` does, at the latest at the end."""
    read_header(path)
    ended = False
    for number, line in enumerate(_lines(path)):
        if number:
            entry = _decode_entry(line)
            ended = ended or entry.type == END
            yield entry
    if not ended:
        raise ValueError("it is cut off: the end line is missing")


class NoDigests(ValueError):  # noqa: N818 - it is the word for what it is
    """A manifest for which nobody has looked for checksums: one of before, or of a run that did not come so far."""


def digests(path: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and MD5 (16 bytes) of what the run has proved. Of two lines about one key the last one counts.

    Raises ValueError, at the latest at the end: NoDigests when nobody has looked for them, and when some of them are missing.
    """
    count = 0
    counted = None
    for entry in _entries(path, {DIGEST, DIGESTS}):
        if entry.type == DIGESTS:
            counted = entry.entries
        elif entry.md5 is not None:
            count += 1
            yield entry.key, bytes.fromhex(entry.md5)
    if counted is None:
        raise NoDigests("it has no checksums")
    if counted != count:
        raise ValueError(f"it has {count} checksums and says that they are {counted}")


def _survey(path: str) -> set[str]:
    """Return the kinds of lines that a manifest has. Raises ValueError when it is not whole."""
    seen = {_decode_entry(line).type for number, line in enumerate(_lines(path)) if number}
    if END not in seen:
        raise ValueError("it is cut off: the end line is missing")
    return seen


def _keys(path: str, kinds: set[str]) -> Iterator[Known]:
    for entry in _entries(path, kinds):
        yield entry.key, entry.mtime if entry.type in {FILE, LINK} else None, entry.type == STALE


def _entries(path: str, kinds: set[str]) -> Iterator[Entry]:
    """Yield the lines of these kinds."""
    for number, line in enumerate(_lines(path)):
        if number:
            entry = _decode_entry(line)
            if entry.type in kinds:
                yield entry


class NewerFormat(ValueError):  # noqa: N818 - it is the word for what it is
    """A later version of this agent wrote it."""


def read_header(path: str) -> Header:
    """Return the first line. Raises ValueError when the file is no manifest of a version that this agent knows, NewerFormat for a later one."""
    lines = _lines(path)
    header = next(lines, b"")
    lines.close()
    return _known_header(header)


def parse_header(start: bytes) -> Header:
    """Return the first line from the first bytes of a manifest, however it goes on. Raises ValueError as `read_header` does."""
    pieces: list[bytes] = []
    try:
        for piece in outside.unpack((start,)):
            pieces.append(piece)
            if b"\n" in piece:
                break
    except outside.Unusable:
        if not any(b"\n" in piece for piece in pieces):
            raise
    return _known_header(b"".join(pieces).partition(b"\n")[0])


def check_whole(path: str) -> None:
    """Read a manifest to its end. Raises ValueError when it is not whole, or of a version that this agent does not know."""
    read_header(path)
    _survey(path)


def _known_header(line: bytes) -> Header:
    header = _decode_header(line)
    if header.version != VERSION:
        kind = NewerFormat if header.version > VERSION else ValueError
        raise kind(f"it has version {header.version}, which this agent does not know")
    return header


def _lines(path: str) -> Generator[bytes]:
    """Yield the lines of a gzip file, as they are unpacked; damage, and what is too much to be a manifest, comes as ValueError."""
    with open(path, "rb") as file:
        yield from outside.lines(outside.unpack(iter(lambda: file.read(outside.PIECE), b"")))
