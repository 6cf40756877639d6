"""One re-verification of a point, step by step. Reads, never writes: a key that may list and read is enough.

    manifest -> what there should be ─> listing ─> missing, extra, other sizes and checksums ─> ask by name ─> read back ─> what was compared with what

Guarantees: what is compared is the destination with the *manifest*, which is proved to be the run's own; each method says what it did and no
more (law L4); memory does not grow with the number of objects.
Caveats: of a mirror that goes on meanwhile, what the later run has replaced differs; then that is said.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from datamover.agent.environment import is_timestamp
from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import MIRROR, Point
from datamover.agent.rclone import logs, records
from datamover.agent.rclone.options import for_checking, without_filters
from datamover.agent.rclone.progress import Reporter
from datamover.agent.verification.objects import Flaw, Found, Objects
from datamover.api import transfer

SIZE: Final = "size"
CHECKSUM: Final = "checksum"
DOWNLOAD: Final = "download"
SAMPLE: Final = "sample"
METHODS: Final = (SIZE, CHECKSUM, DOWNLOAD, SAMPLE)

_BATCH_OBJECTS = 10_000
_BATCH_BYTES = 16 << 30
"""What is read back by one run of the engine: a failure of it is made good by another, which reads so much again."""
_ASKED = 1000
"""How many objects that the listing does not show are asked for by name at once. Where none of these is there, the others are not asked for."""
_OF_ALL = frozenset({transfer.DENIED, transfer.INTERNAL})
"""What is no single object's trouble when it keeps all of them from being read."""
_ENCODED = {"RCLONE_S3_LIST_URL_ENCODE": "true"}
"""How names with control characters are listed by servers that do not list them by themselves."""


class Facts(msgspec.Struct):
    """What was compared with what, and what was found. Sizes in bytes.

    Of the `files` that the manifest has (files and links, an object each) `present` are there; `summed` were compared by the checksum that the store has
    recorded, `read` were read back, and `unread` were not although nothing is known to be wrong with them. Of `unknown` the manifest has no checksum. `plain`: the store's ETags are checksums. `staying` are
    objects that the manifest says stay and that are no files of the run. `rival` is a run that has begun to mirror there since; `live`: the
    source could change while it was read.
    """

    method: str
    percent: float = 100.0
    seed: str = ""
    files: int = 0
    bytes: int = 0
    present: int = 0
    summed: int = 0
    read: int = 0
    read_bytes: int = 0
    unread: int = 0
    unknown: int = 0
    staying: int = 0
    plain: bool = True
    flaws: dict[Flaw, int] = {}
    rival: str = ""
    live: bool = False
    said: str = ""

    @property
    def amiss(self) -> int:
        """How many objects are not as they should be."""
        return sum(self.flaws.values())

    @property
    def unproved(self) -> bool:
        """Whether less was read back than was asked for: there is nothing to hold what is read against where the manifest has no checksum."""
        if self.method == DOWNLOAD:
            return self.unread > 0
        wanted = math.ceil((self.read + self.unread) * self.percent / 100)
        return self.method == SAMPLE and self.read < wanted


class Attempt:
    """See the module. `method` is one of `METHODS`, `percent` of a sample, which `seed` chooses; `tell` takes lines of progress, `scratch` is a
    directory of its own.
    """

    def __init__(
        self,
        bucket: Bucket,
        point: Point,
        *,
        method: str,
        percent: float,
        seed: str,
        tell: Callable[[str], None],
        scratch: str,
        report_as: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        batch: int = _BATCH_OBJECTS,
    ) -> None:
        """`report_as` is the run whose progress it is; empty: that of the point."""
        self.facts = Facts(method=method, percent=percent if method == SAMPLE else 100.0, seed=seed)
        self._bucket = bucket
        self._point = point
        self._report = Reporter(report_as or point.run_id, write=_nothing, tell=tell, monotonic=monotonic)
        self._scratch = scratch
        self._batch = batch
        self._folder = f"{point.folder}/" if point.folder else ""
        self._objects = Objects(f"{scratch}/objects")

    def close(self) -> None:
        """Let go of the table."""
        self._objects.close()

    def flawed(self) -> Iterator[Found]:
        """Yield what is not as the manifest says, by key."""
        return self._objects.flawed()

    def run(self) -> None:
        """Compare; `facts` and `flawed` tell what was found. Raises AgentError when it could not be compared."""
        facts, objects = self.facts, self._objects
        self._report.phase(transfer.WALKING)
        path = self._bucket.fetch_manifest(self._point)
        odd = self._load(path)
        facts.files, facts.bytes = objects.expected()
        facts.unknown = objects.unknown()
        facts.live = manifest.read_header(path).copy_method == transfer.DIRECT
        facts.plain = self._bucket.store.plain
        self._list(odd=odd)
        self._ask_by_name()
        facts.present, facts.summed, facts.staying = objects.present(), objects.summed(), objects.staying()
        if facts.method in {DOWNLOAD, SAMPLE}:
            objects.choose(percent=facts.percent, seed=facts.seed)
            self._read_back()
            facts.read = objects.read()
        facts.unread = objects.unread()
        facts.flaws = objects.counts()
        if facts.amiss and self._point.kind == MIRROR:
            facts.rival = self._find_rival()

    def _load(self, path: str) -> bool:
        try:
            return self._objects.load(path, tick=self._check_stop)
        except ValueError as why:
            raise Failure(
                transfer.GUARD,
                transfer.REASON_RECORD_UNUSABLE,
                f"The manifest of the run {self._point.run_id} cannot be used: {why}. Look at another point.",
            ) from None

    def _check_stop(self) -> None:
        self._bucket.engine.stop.check()
        self._report.repeat()

    # --- listing -------------------------------------------------------------------------------------------------

    def _list(self, *, odd: bool) -> None:
        """List what is there and compare; `odd`: some servers list some of the names in another way, so of two ways the better one counts."""
        self._report.phase(transfer.PROBING)
        others = self._other_copies() if self._point.kind == MIRROR else []
        flaws = self._take_listing(others, {})
        if odd and flaws:
            again = self._take_listing(others, _ENCODED)
            if again >= flaws:
                self._take_listing(others, {})

    def _take_listing(self, others: list[str], changes: dict[str, str]) -> int:
        rules = self._rules(others)
        listing = self._bucket.store.list_all(
            self._folder,
            sums=self.facts.method == CHECKSUM and self.facts.plain,
            extra=["--exclude-from", rules] if rules else [],
            changes=changes,
        )
        self._objects.take_listing(listing.rows())
        self._objects.judge_listing()
        if self._point.kind == MIRROR:
            self._pass_over_new_copies(others)
        return sum(self._objects.counts().values())

    def _rules(self, others: list[str]) -> str:
        """Return a file with what is no part of a mirror: records, and the folders of timestamped copies; empty for a point of another kind."""
        if self._point.kind != MIRROR:
            return ""
        path = f"{self._scratch}/not-compared"
        with open(path, "wb") as file:  # noqa: PTH123 - as everywhere in the agent
            file.writelines(b"/%s/**\n" % folder.encode() for folder in (records.FOLDER, *others))
        return path

    def _look(self) -> records.State:
        """Return what the records say now."""
        folder = f"{records.FOLDER}/"
        listing = self._bucket.store.list_all(folder)
        return records.read_state(folder.encode() + key for key, _ in listing.lines())

    def _other_copies(self) -> list[str]:
        """Return the folders that timestamped copies hold, but for those in which the manifest has something."""
        state = self._look()
        held = {
            records.held_folder(self._bucket.store.read(f"{records.FOLDER}/runs/{run_id}/{records.HOLDER}"))
            for run_id in state.holders
        }
        return sorted(
            folder
            for folder in state.claimed | held
            if is_timestamp(folder) and not self._objects.has_below(folder.encode())
        )

    def _pass_over_new_copies(self, others: list[str]) -> None:
        """Let what a timestamped copy has brought that began after the first look not be extra."""
        tops = (key.partition(b"/")[0].decode("utf-8", "replace") for key in self._objects.keys_with(Flaw.EXTRA))
        if any(is_timestamp(top) for top in tops):
            for folder in set(self._other_copies()).difference(others):
                self._objects.forgive_extra(folder.encode())

    def _ask_by_name(self) -> None:
        """Ask for what the listing does not show: a listing that is not whole is another trouble than an object that is gone."""
        folder = self._folder.encode()
        last = b""
        while missing := list(self._objects.keys_with(Flaw.MISSING, limit=_ASKED, behind=last)):
            last = missing[-1]
            found = {
                key.removeprefix(folder) for key, _ in self._bucket.store.find(folder + key for key in missing).lines()
            }
            if not found:
                return
            self._objects.note((key, Flaw.UNLISTED) for key in missing if key in found)
            self._check_stop()

    def _find_rival(self) -> str:
        """Return a run that has begun to mirror after this one; empty where there is none."""
        return next(iter(self._look().rivals(self._point.place, besides=self._point.run_id)), "")

    # --- reading back --------------------------------------------------------------------------------------------

    def _read_back(self) -> None:
        total, size = self._objects.wanted()
        self._report.found(files=total, size=size)
        self._report.phase(transfer.VERIFYING)
        environment = for_checking(without_filters(self._bucket.options.data))
        files = done = 0
        last = b""
        while batch := self._objects.next_batch(objects=self._batch, size=_BATCH_BYTES, behind=last):
            last = batch[-1][0]

            def told(line: logs.Line, files: int = files, done: int = done) -> None:
                if line.stats is not None:
                    self._report.advance(
                        files=min(total, files + line.stats.transfers),
                        size=min(size, done + line.stats.bytes),
                        total_files=total,
                        total_size=size,
                        speed=round(line.stats.speed, 1),
                        errors=line.stats.errors,
                    )

            found = self._read(batch, environment, told)
            self._objects.settle((key, _judge(md5, found.get(key))) for key, _, md5 in batch)
            files, done = files + len(batch), done + sum(length for _, length, _ in batch)
            self.facts.read_bytes += sum(length for key, length, _ in batch if key in found)
            self._check_stop()

    def _read(
        self,
        batch: list[tuple[bytes, int, bytes]],
        environment: Mapping[str, str],
        told: Callable[[logs.Line], None],
    ) -> dict[bytes, bytes]:
        """Return the MD5 of these objects, of those that can be read. Raises Failure when none of several can."""
        found: dict[bytes, bytes] = {}
        for _ in range(2):  # what one look could not read another one may
            left = [key for key, _, _ in batch if key not in found]
            if not left:
                break
            more, trouble = self._bucket.store.read_back(left, folder=self._folder, environment=environment, told=told)
            found |= more
            if trouble is not None:
                if not found and len(batch) > 1 and trouble.failure_class in _OF_ALL:
                    raise trouble
                self.facts.said = trouble.message
        return found


def _judge(expected: bytes, found: bytes | None) -> Flaw | None:
    if found is None:
        return Flaw.UNREADABLE
    return None if found == expected else Flaw.CONTENTS


def _nothing(line: str) -> None:
    """Show people nothing: who calls shows the progress."""
    del line
