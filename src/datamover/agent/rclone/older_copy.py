# ruff: noqa: PTH123  # bytes paths, which pathlib lacks, and a start-up budget that it would take a tenth of
"""What a timestamped copy takes over from the last one of the same volume: files that have not changed are copied by the store itself.

    newest claims of this volume ──> its outcome and manifest, proved ──> files of its size and time of change ──> copied within the store

Guarantees: this saves sending and decides nothing. The passes that follow compare each object that was copied with the bytes of its file, by the
MD5 that the store's listing has of it, and send what differs, is missing, or has none there (law L4). A checksum that was put beside an object when it was
sent is copied with it, and says nothing of the copy. Nothing of the older copy changes. What cannot be read, proved or copied is sent.
Caveats: for small files a request costs more than their bytes, and what goes in parts has no MD5 in a listing, so those are sent in any case.
"""

import heapq
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import msgspec

from datamover.agent.environment import Owner, is_run_id, is_timestamp
from datamover.agent.errors import Failure
from datamover.agent.files import manifest, names
from datamover.agent.rclone import digests, records
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.live import is_on
from datamover.agent.rclone.options import for_checking, without_filters
from datamover.agent.rclone.progress import Reporter
from datamover.agent.rclone.sync import Sync
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

SIZES = range(4 << 20, 200 << 20)
"""Bytes of a file that is copied within the store. Measured with 400 MB/s over 20 ms of round trip: files of 1 MiB were copied in 1.3 times the
time in which they were sent, of 4 MiB in 1.0 times, of 64 MiB in half of it. From 200 MiB on the engine sends in parts.
"""
_IN_PARTS = ("_UPLOAD_CUTOFF", "_COPY_CUTOFF", "_MULTI_THREAD_CUTOFF")
"""Ends of the variables by which a user has the engine send or copy in parts what is smaller, or has the store do so."""
_OTHERWISE = (
    "RCLONE_SIZE_ONLY",
    "RCLONE_IGNORE_TIMES",
    "RCLONE_IGNORE_CHECKSUM",
    "RCLONE_NO_CHECK_DEST",
    "RCLONE_NO_TRAVERSE",
    "RCLONE_IMMUTABLE",
)
"""Switches with which what was copied is not compared by a listing's checksums, is sent all the same, or could not be replaced."""
_LIMITED = ("RCLONE_MAX_TRANSFER", "RCLONE_MAX_DURATION")
"""A user who limits what a run moves, or its time, gets no other work done before it."""
WORTH = 16 << 20
"""Bytes of such files from which it is looked for an older copy at all."""
_TRIES = 5
"""So many of the volume's newest copies may be unfinished, damaged or deleted before it is left."""
_CLAIMS = 50
"""So many claims are read at once, the newest first: a root may be shared by many volumes."""
_READINGS = 4
"""How often."""
_CLAIM_BYTES = 4 << 10
"""What a claim has, on the average at most."""
_SEARCH = 60.0
"""Seconds after which no further copy is looked at."""
_PATIENCE, _SLOWEST = 60.0, 4 << 20
"""Seconds that the store may take to copy, and the bytes of each more: a slower one is sent what is left."""
_FEW = 50
"""Of that many files of the older copy one is wanted at least, where its folder is listed; fewer are asked for one by one."""


def is_proved(environment: Mapping[str, str]) -> bool:
    """Tell whether the engine, run with this environment, proves of all that the store has copied whether it is what lies in the volume."""
    if not is_on(environment, "RCLONE_CHECKSUM") or any(is_on(environment, name) for name in _OTHERWISE):
        return False
    return not any(value.strip() and name.endswith((*_IN_PARTS, *_LIMITED)) for name, value in environment.items())


class Copy(msgspec.Struct, frozen=True):
    """A complete timestamped copy of the volume: its folder, and its manifest here."""

    folder: str
    manifest: str


def find_copy(
    destination: Destination,
    *,
    owner: Owner,
    besides: str,
    say: Callable[[str], None],
    monotonic: Callable[[], float] = time.monotonic,
) -> Copy | None:
    """Return the newest complete copy of a volume that is not in the folder `besides` and of which files are there; None where there is none that can
    be used, or the store takes too long to tell.

    Raises what stops the attempt; a store that fails is told by `say`, for the copying itself will meet it again.
    """
    end = monotonic() + _SEARCH
    try:
        for folder, run_id in islice(_own_claims(destination, owner=owner, besides=besides), _TRIES):
            if monotonic() > end:
                say("No older copy is taken over from, because the store takes too long to tell of one")
                return None
            path = _manifest_of(destination, folder=folder, run_id=run_id, owner=owner)
            if path and _is_there(destination, folder=folder, path=path):
                return Copy(folder, path)
    except Failure as why:
        say(f"No older copy is taken over from, because the records cannot be read: {why}")
    return None


def _own_claims(destination: Destination, *, owner: Owner, besides: str) -> Iterator[tuple[str, str]]:
    """Yield folder and run of the volume's own claims, the newest first."""

    def claims() -> Iterator[tuple[str, str]]:
        for key, _ in destination.list_all(f"{records.FOLDER}/claims/").lines():
            folder, _, name = key.decode("utf-8", "replace").partition("/")
            run_id = name.removesuffix(".json")
            if is_timestamp(folder) and folder != besides and is_run_id(run_id):
                yield folder, run_id

    newest = heapq.nlargest(_CLAIMS * _READINGS, claims())
    for start in range(0, len(newest), _CLAIMS):
        some = newest[start : start + _CLAIMS]
        paths = [f"{records.FOLDER}/claims/{folder}/{run_id}.json" for folder, run_id in some]
        brought = destination.bring(paths, limit=_CLAIM_BYTES)
        for claim, path in zip(some, paths, strict=True):
            if _is_of(f"{brought}/{path}", claim, owner=owner):
                yield claim


def _is_of(path: str, claim: tuple[str, str], *, owner: Owner) -> bool:
    """Tell whether a claim that was brought here is one of this volume, for this folder and run."""
    try:
        with open(path, "rb") as file:
            found = records.read_claim(file.read(outside.RECORD_LIMIT + 1))
    except (OSError, Unusable):  # withdrawn meanwhile, or nobody's
        return False
    return (found.timestamp, found.run_id, found.source) == (*claim, owner)


def _manifest_of(destination: Destination, *, folder: str, run_id: str, owner: Owner) -> str:
    """Return the path of the manifest of a run that has ended well, was of this volume, and went into this folder; empty otherwise."""
    run_folder = f"{records.FOLDER}/runs/{run_id}/"
    if not {records.HOLDER, records.OUTCOME, records.MANIFEST} <= set(destination.names_below(run_folder)):
        return ""
    place = run_folder + records.HOLDER
    try:
        held = records.read_holder(_read(destination, place), place=place, run_id=run_id, source=owner)
        ended = records.read_ended(_read(destination, run_folder + records.OUTCOME))
        if held.timestamp != folder or not ended.succeeded or ended.manifest is None:
            return ""
        path = destination.fetch(run_folder + records.MANIFEST, limit=ended.manifest.bytes, expected=False)
        header = manifest.read_header(path)
        whole = digests.seal(path) == ended.manifest and (header.run_id, header.source) == (run_id, owner)
    except Failure as failure:
        if failure.retryable:
            raise
        return ""  # damaged, of another volume, or gone meanwhile
    except ValueError:
        return ""  # no record, too long, or of another version
    return path if whole else ""


def _is_there(destination: Destination, *, folder: str, path: str) -> bool:
    """Tell whether the store still has a file of a copy: folders are deleted to thin them out, and their records stay."""
    try:
        found = next((entry.key for entry in manifest.entries(path) if _may_be_copied(entry)), None)
    except ValueError:
        return False
    return found is not None and any(True for _ in destination.find([f"{folder}/".encode() + found]).lines())


def _may_be_copied(entry: manifest.Entry) -> bool:
    """Tell whether a line of a manifest is about a file that the store may copy, and that the engine's log calls by its name."""
    return entry.type == manifest.FILE and entry.size in SIZES and names.logged(entry.key) == entry.key


def _read(destination: Destination, path: str) -> bytes:
    """Return a record. It is not waited for one that a listing shows and the store does not have."""
    with open(destination.fetch(path, limit=outside.RECORD_LIMIT, expected=False), "rb") as file:
        return file.read()


def mark_unchanged(ledger: Ledger, path: str) -> int:
    """Note in the ledger which files the older copy of this manifest has as they are now; return how many files it has. Raises ValueError for a damaged one.

    As they are now: of the same size and time of change, and with a checksum by which a copy can be told from another.
    """
    count = 0

    def files() -> Iterator[tuple[bytes, int, int]]:
        nonlocal count
        for entry in manifest.entries(path):
            if entry.type == manifest.FILE:
                count += 1
                if _may_be_copied(entry):
                    yield entry.key, entry.size, entry.mtime

    ledger.add_older(files())
    ledger.prove_older(manifest.digests(path))
    return count


def take_over(
    copy: Copy,
    *,
    ledger: Ledger,
    sync: Sync,
    destination: Destination,
    folder: str,
    environment: Mapping[str, str],
    report: Reporter,
    scratch: str,
    say: Callable[[str], None],
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Have the store copy the unchanged files of an older copy into `folder` (with its slash), and note in the ledger what it says to have copied.

    What goes wrong is told by `say`: those files are sent. Raises what stops the attempt.
    """
    try:
        entries = mark_unchanged(ledger, copy.manifest)
    except ValueError as why:
        say(f"Nothing is taken over from the copy {copy.folder}, because its manifest is damaged: {why}")
        return
    count, size = ledger.older_size()
    if not count:
        return
    listed = f"{scratch}/older"
    with open(listed, "wb") as file:
        file.writelines(key + b"\n" for key in ledger.older())
    few = ["--no-traverse"] if count * _FEW < entries else []
    interrupt, sync.interrupt = sync.interrupt, _limit(_PATIENCE + size / _SLOWEST, monotonic=monotonic)
    report.start(transfer.COPYING, files=count, size=size)
    try:
        sync.copy(
            destination.remote(f"{copy.folder}/"),
            destination.remote(folder),
            # the copy is judged by the pass that comes
            environment=for_checking(without_filters(environment))
            | {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "2"},
            extra=[*few, "--no-check-dest", "--files-from-raw", listed],
            total=lambda: count,
            uploaded=lambda name, _: ledger.add_taken_over(name.encode()),
            arriving=True,
            statistics=report.copied,
        )
    except Failure as failure:
        say(f"Unchanged files could not be copied within the store, so they are sent: {failure.message}")
    finally:
        sync.interrupt = interrupt
    files, total = ledger.sources()
    report.start(transfer.SYNCING, files=files, size=total)


def _limit(seconds: float, *, monotonic: Callable[[], float]) -> Callable[[], Failure | None]:
    """Return what ends a copying that has taken longer than so many seconds from now on."""
    end = monotonic() + seconds

    def look() -> Failure | None:
        if monotonic() <= end:
            return None
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_SERVER_ERROR,
            f"The store has not copied them within {seconds:.0f} s; sending them takes no longer.",
        )

    return look
