"""A bucket, opened for reading: its records as points, the manifest of one, its objects.

Guarantees: nothing is written into the bucket, so keys that may list and read are enough. What comes from it is taken in within limits: a
listing ends, a record that is too long is not fetched, memory grows with the number of runs alone. What an outage of the server disturbs is
tried again until the outage limit.
Errors: `Failure` with the class of what went wrong and a sentence with the way out; `Stopped` when the work is to end.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from datamover.agent.children import Stop
from datamover.agent.environment import MOVERS_ADVICE
from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.points import catalogue, choice
from datamover.agent.points.catalogue import MIRROR, Point, Reading, Seen, build
from datamover.agent.rclone import digests, logs, process, records
from datamover.agent.rclone.access import prepare_engine
from datamover.agent.rclone.destination import Destination
from datamover.agent.rclone.options import Options
from datamover.agent.rclone.settings import Store, read_store
from datamover.agent.scratch import failure_of_table
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

_BATCH = 500
"""Runs whose records are read at once while one of a certain volume is looked for."""
_TRIES = 20
"""So many of the newest runs may turn out to be unusable before it is left to people."""
_HEAD = 1 << 16
"""Bytes of a manifest in which its first line is."""
_WHOLE = 4 << 20
"""Bytes up to which a manifest is brought whole for its first line: who chooses a point reads all of it afterwards."""
_FEW = 4
"""Records up to which each is asked of the engine that runs already: one more process takes longer than they do."""


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """Points, the newest first. `more` is how many older runs there are of which nothing was read. `root` is the place as people name it."""

    root: str
    points: tuple[Point, ...]
    more: int = 0


class Bucket:
    """`<root>`, see the module. `settings` say where it is; `store` is the mover's own view of it, of which only the reading half may be used;
    `engine` and `options` are for what reads files, and `show` takes the engine's log lines. `wait` takes what the
    server's trouble is while it is waited for. `tell` takes sentences for people about what was passed
    over or is left out, each of them once; `notes` keeps them.

    One thread uses it. What was read is kept, so it is a view of one moment.
    """

    def __init__(
        self,
        settings: Store,
        *,
        store: Destination,
        engine: process.Engine,
        options: Options,
        scratch: str,
        show: Callable[[logs.Line], None] = lambda _: None,
        wait: Callable[[str], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.show = show
        self.store = store
        self.engine = engine
        self.options = options
        self.scratch = scratch
        self.notes: list[str] = []
        self.wait = wait
        self._tell = tell
        self._now = now
        self._seen: Seen | None = None
        self._read: dict[str, Reading] = {}
        self._asked: set[str] = set()
        self._manifests: dict[str, str] = {}
        self._brought: dict[str, str] = {}
        self._asks = False
        """Whether small things are asked of an engine that keeps running."""

    @property
    def root(self) -> str:
        """`bucket` or `bucket/prefix`, as people name it."""
        return self.settings.root

    def note(self, sentence: str) -> None:
        """Tell something beside the answer, if it was not told before."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            self._tell(sentence)

    def look(self) -> Seen:
        """Return what a listing of the records shows. Raises Failure, also for what is no S3 server."""
        if self._seen is not None:
            return self._seen
        folder = f"{records.FOLDER}/"
        seen = Seen()
        listing = self.store.probe(lambda: self.store.list_all(folder))
        try:
            for key, size in listing.lines():
                seen.take(folder.encode() + key, size)
        except Unusable as why:
            raise Failure(
                transfer.GUARD,
                transfer.REASON_RECORD_UNUSABLE,
                f"The records at {self.root}/{folder} cannot be taken in: {why}. Look at what is there; move those of old runs away, or use the prefix"
                " of one backup (--prefix).",
            ) from None
        if not seen.objects:
            # a server that answers everything with success lists nothing
            self.store.prove_empty(f"{folder}{records.OWNER}", known=records.is_record)
        self._seen = seen
        return seen

    def list_points(self, *, limit: int = 0, source: str = "") -> Catalogue:
        """Return the newest `limit` runs (0: all), and the mirror's last complete one; only those of `source` where that is given. Raises Failure."""
        seen = self.look()
        order, standing = seen.order(), seen.standing()
        if standing:
            order.sort(key=lambda run_id: run_id != standing)
        found: tuple[Point, ...] = ()
        done = 0
        while done < len(order) and (not limit or len(found) < limit):
            done = min(len(order), done + (max(limit, _BATCH) if source and limit else limit or len(order)))
            self._gather(order[:done], outcomes=True)
            points = build(order[:done], seen=seen, read=self._read)
            found = tuple(point for point in points if not source or point.volume == source)
        return Catalogue(root=self.root, points=found, more=len(order) - done)

    def choose(self, text: str, *, source: str = "", disturbed: bool = False) -> Point:
        """Return the point that a word means, with its records read: its state is what they tell, its files are there as far as records can tell.

        See `choice` for the words. `source` is `NAMESPACE/PVC`, empty for any; `disturbed` lets `latest` and `as-of` be a disturbed one. Raises
        Failure of reason `PointNotFound`, `PointAmbiguous`, `PointUnusable`, `InvalidConfiguration`, or what is wrong with the bucket.
        """
        word = choice.read_word(text, now=self._now())
        # what is read next is asked of it; it starts while another process lists
        self.store.control.start_early()
        self._asks = True
        seen = self.look()
        if word.exact:
            run_ids = seen.answering_to(word.name)
            self._gather(run_ids, outcomes=True)
            return self._settle(choice.choose(build(run_ids, seen=seen, read=self._read), word, source=source))
        standing = seen.standing()
        order = [run_id for run_id in seen.order() if seen.kind(run_id) != MIRROR or run_id == standing or not standing]
        besides: set[str] = set()
        while True:
            point = self._settle(
                self._find(order, word, source=source, disturbed=disturbed, besides=besides), quietly=True
            )
            late = word.until and point.moment > word.until
            if point.restorable and not late:
                return point
            besides.add(point.run_id)
            if not late:
                self.note(f"the run {point.run_id} is passed over: it is {point.state}: {point.why}")
            if len(besides) > _TRIES:
                choice.demand_usable(point)
                raise _too_many(besides)

    def find(self, run_id: str) -> Point | None:
        """Return the run of this id with its records read, whatever its state; None where nothing is recorded of it. Raises Failure."""
        if run_id not in self.look().runs:
            return None
        self._gather([run_id], outcomes=True)
        return self._settle(build([run_id], seen=self.look(), read=self._read)[0], quietly=True)

    def _find(
        self, order: Sequence[str], word: choice.Word, *, source: str, disturbed: bool, besides: Collection[str]
    ) -> Point:
        """Return the newest that fits by what is read of it: whose each run is, and no more."""
        # without a name all must be known: there may be another volume's among them
        done = 0
        while True:
            done = min(len(order), done + _BATCH) if source else len(order)
            self._gather(order[:done], outcomes=False)
            points = build(order[:done], seen=self.look(), read=self._read)
            try:
                return choice.choose(points, word, source=source, disturbed=disturbed, besides=besides)
            except Failure:
                if done >= len(order):
                    raise

    def _settle(self, point: Point, *, quietly: bool = False) -> Point:
        """Return a point with all of its records read. Raises Failure when they show that it is none, unless `quietly`."""
        self._gather([point.run_id], outcomes=True)
        self._read_header(point.run_id)
        settled = build([point.run_id], seen=self.look(), read=self._read)[0]
        if not quietly:
            choice.demand_usable(settled)
        return settled

    def has_none_of(self, source: str) -> bool:
        """Tell whether no run here is of `source` (`NAMESPACE/PVC`; empty: any), nor may be. Of each run it is read whose it is. Raises Failure.

        Whatever its state: a run whose records are damaged, lost or not finished is no proof that there was no backup.
        """
        seen = self.look()
        order = seen.order()
        self._gather(order, outcomes=False)
        points = build(order, seen=seen, read=self._read)
        # a mirror is of one volume, and only the manifest of its last complete run is looked into
        mirrored = next((point.volume for point in points if point.run_id == seen.standing()), "")
        if seen.has_unrecorded or (seen.is_mirror and not mirrored):
            return False
        volumes = [point.volume or (mirrored if point.kind == MIRROR else "") for point in points]
        return not any(not source or volume in {"", source} for volume in volumes)

    def fetch_manifest(self, point: Point) -> str:
        """Return the path of a point's manifest, brought here: whole, of a version that is known, and this run's own.

        It is proved by its size and SHA-256 where the outcome has them, else by being read to its end. Raises Failure of reason
        `RecordUnusable` otherwise. It stays until the bucket is closed; fetched once.
        """
        if point.run_id in self._manifests:
            return self._manifests[point.run_id]
        place = point.run_folder + records.MANIFEST
        try:
            path = self._brought.pop(place, "") or self.store.fetch(place)
            header = manifest.read_header(path)
            if header.run_id != point.run_id:
                raise Unusable(f"it is of the run '{outside.clean(header.run_id, limit=outside.NAME_LIMIT)}'")
            if point.source is not None and catalogue.clean_owner(header.source) != point.source:
                raise Unusable(
                    f"it is of the volume {catalogue.clean_owner(header.source)}, and the run of {point.source}"
                )
            if point.manifest is None:
                manifest.check_whole(path)
            elif digests.seal(path) != point.manifest:
                raise Unusable("it is not the one that the outcome of its run names: it was cut off or replaced since")
        except ValueError as why:
            raise Failure(
                transfer.GUARD,
                transfer.REASON_RECORD_UNUSABLE,
                f"The manifest {self.store.remote(place)} cannot be used: {why}. So it is not known what the run {point.run_id} left. Its files may be"
                " whole all the same: they can be read with any S3 client. Ask for another point, or restore that object.",
            ) from None
        self._manifests[point.run_id] = path
        return path

    def list_keys(self, keys: Iterable[bytes]) -> str:
        """Return a file with these keys, a line each, as the engine takes lists of them (`--files-from-raw`)."""
        path = f"{self.scratch}/keys-{os.urandom(4).hex()}"
        with open(path, "wb") as file:  # noqa: PTH123 - as everywhere in the agent
            file.writelines(key + b"\n" for key in keys)
        return path

    def _gather(self, run_ids: Iterable[str], *, outcomes: bool) -> None:
        """Read the folder records of these runs, of the mirror's last complete one the head of its manifest, and with `outcomes` those."""
        seen = self.look()
        wanted: list[str] = []
        standing = seen.standing()
        for run_id in run_ids:
            run = seen.runs[run_id]
            names = [records.HOLDER] if run.holder else []
            if outcomes and run.finished:
                names.append(records.OUTCOME)
            for name in names:
                path = f"{records.FOLDER}/runs/{run_id}/{name}"
                if path not in self._asked:
                    self._asked.add(path)
                    wanted.append(path)
            if run_id == standing:
                self._read_header(run_id)
        self._take([path for path in wanted if not self._refuse(path, seen)])

    def _refuse(self, path: str, seen: Seen) -> bool:
        """Note a record that is too long to be fetched."""
        *_, run_id, name = path.split("/")
        if (run_id, name) not in seen.oversized:
            return False
        self._reading(run_id).flaw = f"its {name} cannot be used: it is longer than {outside.RECORD_LIMIT} bytes"
        return True

    def _take(self, paths: Sequence[str]) -> None:
        files = self._ask_for(paths) if self._asks and len(paths) <= _FEW else {}
        rest = [path for path in paths if path not in files]
        if rest:
            folder = self.store.bring(rest, limit=outside.RECORD_LIMIT)
            files |= {path: f"{folder}/{path}" for path in rest}
        for path in paths:
            *_, run_id, name = path.split("/")
            reading = self._reading(run_id)
            try:
                with open(files[path], "rb") as file:  # noqa: PTH123 - as everywhere in the agent
                    raw = file.read(outside.RECORD_LIMIT + 1)
                os.unlink(files[path])  # noqa: PTH108 - as everywhere in the agent
            except FileNotFoundError:
                reading.flaw = (
                    reading.flaw or f"its {name} was there a moment ago and cannot be found: something deletes there"
                )
                continue
            if name == records.OUTCOME:
                catalogue.take_outcome(raw, into=reading)
            else:
                catalogue.take_holder(raw, into=reading)

    def _read_header(self, run_id: str) -> None:
        path = f"{records.FOLDER}/runs/{run_id}/{records.MANIFEST}"
        if path in self._asked or not self.look().runs[run_id].manifest:
            return
        self._asked.add(path)
        found = self._ask_for([path], limit=_WHOLE) if self._asks and self._is_short(run_id) else {}
        if path in found:
            self._brought[path] = found[path]
            with open(found[path], "rb") as file:  # noqa: PTH123 - as everywhere in the agent
                start = file.read(_HEAD)
        else:
            start = self.store.start_of(path, size=_HEAD)
        catalogue.take_header(start, into=self._reading(run_id))

    def _is_short(self, run_id: str) -> bool:
        """Tell whether a manifest is short enough to be brought whole, as the listing has it."""
        return self.look().manifest_bytes(run_id) <= _WHOLE

    def _ask_for(self, paths: Iterable[str], *, limit: int = outside.RECORD_LIMIT) -> dict[str, str]:
        """Return where these objects lie now that are of at most `limit` bytes; what cannot be had this way is left out, and asked for in the other.

        Raises Failure when the server cannot be reached.
        """
        found: dict[str, str] = {}
        for path in paths:
            try:
                found[path] = self.store.fetch(path, limit=limit)
            except Unusable:
                continue
            except Failure as failure:
                if failure.failure_class == transfer.NETWORK:
                    raise
        return found

    def rest(self) -> None:
        """Let the engine go that answers small requests; one more of them starts it again."""
        self.store.control.end()

    def _reading(self, run_id: str) -> Reading:
        return self._read.setdefault(run_id, Reading())


def _too_many(besides: Collection[str]) -> Failure:
    return Failure(
        transfer.GUARD,
        transfer.REASON_POINT_UNUSABLE,
        f"The newest {len(besides)} runs cannot be used. `datamover points` says why of each; ask for one by its name.",
    )


@contextmanager
def open_bucket(
    environ: Mapping[str, str],
    *,
    scratch: str,
    stop: Stop,
    redact: Callable[[str], str] = str,
    say: Callable[[str], None] = lambda _: None,
    wait: Callable[[str], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
    advice: str = MOVERS_ADVICE,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Generator[Bucket]:
    """Give the bucket that the documented variables in `environ` name. Nothing is asked of the server yet.

    `scratch` is a directory of our own, which keeps what is fetched; `say` hears the engine's log lines, and `wait` what the server's
    trouble is while it is waited for, an empty text when that is over; `tell` hears what people should know beside the answer (`Bucket.note`); `advice` is where to put a variable that is missing. Raises Misconfigured,
    and Failure for a table in `scratch` that fails while the bucket is used.
    """
    settings = read_store(environ, advice=advice)
    engine, options = prepare_engine(settings, environ, scratch=scratch, stop=stop, redact=redact)

    def show(line: logs.Line) -> None:
        if logs.shown(line, level=options.level):
            say(logs.written(line))

    store = Destination(
        settings,
        engine=engine,
        environment=options.records,
        scratch=scratch,
        show=show,
        wait=wait,
    )
    try:
        yield Bucket(
            settings,
            store=store,
            engine=engine,
            options=options,
            scratch=scratch,
            show=show,
            wait=wait,
            tell=tell,
            now=now,
        )
    except sqlite3.DatabaseError as error:
        # what is read back from tables in the scratch directory fails wherever it is asked for
        raise failure_of_table(error) from None
    finally:
        store.close()
