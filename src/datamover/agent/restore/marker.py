# ruff: noqa: PTH208  # handles, which pathlib lacks
"""The mark of a directory that is being restored: `marker.json` in its `.datamover-restore`. Read within limits, written so that it is whole or not there."""

import os

import msgspec

from datamover.agent import printing
from datamover.agent.restore.order import STATE, Order, Origin
from datamover.api import outside
from datamover.api.outside import Count, Unusable

VERSION = 1
FETCHING = "fetching"
APPLYING = "applying"
INCOMPLETE = "incomplete"
NAME = "marker.json"
LOCK = "lock"
PROBLEMS = "problems.txt"
LIST = "manifest.jsonl.gz"
"""What a restore touches: the manifest of its point. There from before the marker until after it, where it may be rolled back."""
NEW = ".new"
"""What a name has behind it while its file is written."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BEGUN = frozenset({LOCK, f"{NAME}{NEW}", LIST, f"{LIST}{NEW}"})
"""What may be there before there is a marker."""
_PIECE = 1 << 20
_NOTE = "The directory that this lies in is being restored and is not whole. The same command goes on from here."


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Which restore is under way in a target. `path` is for people and for comparing, `begun` RFC 3339, `restore` the id of the order that chose the
    point (`Order.restore`), `boot` the run of the machine in which it has begun: what that wrote may, in another one, not have come to its disk.
    """

    version: Count = VERSION
    note: str = _NOTE
    run: str
    place: str
    folder: str = ""
    path: str = ""
    begun: str = ""
    phase: str = FETCHING
    restore: str = ""
    boot: str = ""

    def is_same(self, other: "Marker") -> bool:
        """Tell whether both are the same restore, whatever has become of it."""
        return (self.run, self.place, self.folder, self.path) == (other.run, other.place, other.folder, other.path)


_decode_marker = outside.Decoder(Marker)


def mark_of(order: Order, origin: Origin, *, now: str) -> Marker:
    """Return what marks a target of this restore."""
    return Marker(
        run=origin.run_id,
        place=origin.place,
        folder=origin.folder,
        path=printing.readable(order.path),
        begun=now,
        restore=order.restore,
        boot=boot_id(),
    )


def boot_id() -> str:
    """Return which run of this machine this is; empty where that is not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - a start-up budget
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""


def read_marker(top: int) -> tuple[Marker | None, str]:
    """Return the marker, or why there is none that can be read. A folder in which nothing was written yet marks nothing."""
    try:
        state = os.open(STATE, FOLDER, dir_fd=top)
    except OSError as error:
        return None, f"it is no folder that can be opened ({error.strerror})"
    try:
        try:
            file = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=state)
        except FileNotFoundError:
            return None, "" if set(os.listdir(state)) <= _BEGUN else "its marker.json is missing"
        with os.fdopen(file, "rb") as stream:
            found = _decode_marker(stream.read(outside.RECORD_LIMIT + 1))
    except Unusable as why:
        return None, f"of its marker.json, {why}"
    except OSError as error:
        return None, f"its marker.json cannot be read ({error.strerror})"
    finally:
        os.close(state)
    return (
        (found, "")
        if found.version == VERSION
        else (None, f"it has version {found.version}, which this program does not know")
    )


def write_marker(state: int, marker: Marker) -> None:
    """Say in the folder `state` which restore this is and how far; it is on the disk when this returns."""
    save_file(state, NAME, msgspec.json.format(msgspec.json.encode(marker)) + b"\n")


def save_file(state: int, name: str, content: bytes) -> None:
    """Put a file of ours there, whole; it is on the disk when this returns."""
    new = f"{name}{NEW}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600, dir_fd=state), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, name, src_dir_fd=state, dst_dir_fd=state)
    os.fsync(state)


def save_list(state: int, path: str) -> None:
    """Keep the manifest at `path` there, whole; it is on the disk when this returns. There may be one that nobody has begun with."""
    new = f"{LIST}{NEW}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(path, "rb") as source, os.fdopen(os.open(new, flags, 0o600, dir_fd=state), "wb") as file:  # noqa: PTH123 - as above
        while piece := source.read(_PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, LIST, src_dir_fd=state, dst_dir_fd=state)
    os.fsync(state)
