"""From the records below `.datamover/` to points. Pure.

A *point* is one run. What can be restored is told by its `state`:

complete      its outcome is there and fits, and its files are still those of this run
disturbed     a mirror's last complete run, after which another one has begun and not ended: files may be another run's by now
superseded    an older run of a mirror: its files are gone
incomplete    a run without an outcome: it did not end, or is not over
damaged       records are missing or contradict each other; `why` says which
newer-format  a later version of datamover wrote it

Guarantees: nothing is believed that a record says and another one contradicts; memory grows with the number of runs alone, of which there may
be `RUNS_LIMIT` (law L11).
Caveats: whether the manifest is whole is known when it is fetched, and whether the files are, when they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from datamover.agent.environment import Owner, is_run_id, is_timestamp
from datamover.agent.files import manifest
from datamover.agent.rclone import records
from datamover.api import outside, transfer
from datamover.api.outside import Unusable

COMPLETE: Final = "complete"
DISTURBED: Final = "disturbed"
SUPERSEDED: Final = "superseded"
INCOMPLETE: Final = "incomplete"
DAMAGED: Final = "damaged"
NEWER_FORMAT: Final = "newer-format"
STATES: Final = (COMPLETE, DISTURBED, SUPERSEDED, INCOMPLETE, DAMAGED, NEWER_FORMAT)

MIRROR: Final = "mirror"
TIMESTAMPED: Final = "timestamped"
UNKNOWN: Final = "unknown"

RUNS_LIMIT: Final = 500_000
"""Runs of one root: one each minute for a year."""
_CLAIMS_LIMIT = 8
"""Folders that are remembered of one run. It claims one after the other, and withdraws those that it does not get."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as its records tell it. Stable names: `agent/restore` and the commands go by them.

    `state` is one of `STATES`, `kind` `MIRROR`, `TIMESTAMPED` or `UNKNOWN`. `folder` is where the files lie below `<root>`, without slashes at
    its ends: empty for a mirror. `moment` is the moment of the copy, `YYYY-MM-DD-HHMMSS` in UTC, as exactly as the records that were read tell it
    (the folder's name, the mirror's manifest, or the second in the run's id); empty where none does. `source` is whose volume it is, None while no
    record was read that says so. `files` and `bytes` are what the run left there, None where its outcome was not read. `verification` is what was
    compared, as in an outcome. `manifest_bytes` is the size that the listing shows, `manifest`
    what the outcome says of it, None where it is of an earlier version. All words are clean:
    they can be printed.
    """

    run_id: str
    state: str
    kind: str
    why: str = ""
    folder: str = ""
    moment: str = ""
    place: int = 0
    source: Owner | None = None
    object: str = ""
    files: int | None = None
    bytes: int | None = None
    verified: bool | None = None
    verification: str = ""
    finished_at: str = ""
    manifest_bytes: int = -1
    manifest: records.Seal | None = None

    @property
    def name(self) -> str:
        """The word by which people ask for it: its moment, else the run's id."""
        return self.moment or self.run_id

    @property
    def volume(self) -> str:
        """`NAMESPACE/PVC` of the source; empty where that is not known."""
        return volume_of(self.source) if self.source is not None else ""

    @property
    def restorable(self) -> bool:
        """Whether its files are there: complete, or disturbed."""
        return self.state in {COMPLETE, DISTURBED}

    @property
    def run_folder(self) -> str:
        """Where its records are, below `<root>`, with a final slash."""
        return f"{records.FOLDER}/runs/{self.run_id}/"


def volume_of(owner: Owner) -> str:
    """Return `NAMESPACE/PVC`, or the claim alone where no namespace is known."""
    return f"{owner.namespace}/{owner.pvc}" if owner.namespace else owner.pvc


class Reading(msgspec.Struct, kw_only=True):
    """What the records of one run were found to say. `flaw` is why one of them cannot be used, `newer` that a later version wrote it."""

    outcome: transfer.Outcome | None = None
    seal: records.Seal | None = None
    holder: records.ClaimRecord | None = None
    header: manifest.Header | None = None
    flaw: str = ""
    newer: bool = False


class Seen:
    """What a listing of `.datamover/` shows. Raises Unusable for more runs than there can be."""

    def __init__(self) -> None:
        self._state = records.State()
        self._manifests: dict[str, int] = {}
        self._claims: dict[str, tuple[str, ...]] = {}
        self._claimants: dict[str, int] = {}
        self.objects = 0
        self.oversized: set[tuple[str, str]] = set()
        """Run and name of records that are too long to be one."""

    def take(self, key: bytes, size: int) -> None:
        """Take a key below `<root>` and its size in bytes into account."""
        self.objects += 1
        self._state.take(key)
        parts = key.decode("utf-8", "replace").split("/")[1:]
        match parts:
            case ["runs", run_id, records.MANIFEST] if is_run_id(run_id):
                self._manifests[run_id] = size
            case ["runs", run_id, records.OUTCOME | records.HOLDER as name] if size > outside.RECORD_LIMIT:
                if is_run_id(run_id):
                    self.oversized.add((run_id, name))
            case ["claims", timestamp, name] if is_timestamp(timestamp):
                run_id = name.removesuffix(".json")
                before = self._claims.get(run_id, ())
                if is_run_id(run_id) and len(before) < _CLAIMS_LIMIT:
                    self._claims[run_id] = (*before, timestamp)
                self._claimants[timestamp] = self._claimants.get(timestamp, 0) + 1
            case _:
                pass
        if max(len(self._state.runs), len(self._claims)) > RUNS_LIMIT:
            raise Unusable(f"it has records of more than {RUNS_LIMIT} runs")

    @property
    def runs(self) -> Mapping[str, records.Run]:
        """The runs that have records."""
        return self._state.runs

    @property
    def is_mirror(self) -> bool:
        """Whether the root is, or was, a volume's mirror."""
        return self._state.owned

    @property
    def has_unrecorded(self) -> bool:
        """Whether there are claims of folders by runs that have no records, or no more."""
        return any(run_id not in self.runs for run_id in self._claims)

    def claimed(self, run_id: str) -> str:
        """Return the folder that a run alone claims; empty where that is not certain."""
        found = self._claims.get(run_id, ())
        return found[0] if len(found) == 1 and self._claimants[found[0]] == 1 else ""

    def manifest_bytes(self, run_id: str) -> int:
        """Return the size of a run's manifest; -1 where there is none."""
        return self._manifests.get(run_id, -1)

    def kind(self, run_id: str) -> str:
        """Return what kind of run the names of its records show."""
        run = self.runs[run_id]
        if run.place is not None:
            return MIRROR
        return TIMESTAMPED if run.holder or run_id in self._claims else UNKNOWN

    def order(self) -> list[str]:
        """Return all runs, the newest first: by folder, by place, by the second in the id. No record was read for that."""
        return sorted(
            self.runs, key=lambda run_id: (self._second(run_id), self.runs[run_id].place or 0, run_id), reverse=True
        )

    def answering_to(self, name: str) -> list[str]:
        """Return the runs that may go by this name: an id, or a moment. Some of them may turn out to go by another when their records are read."""
        standing = self.standing()
        return [
            run_id
            for run_id, run in self.runs.items()
            if name in {run_id, self._second(run_id)} or run_id == standing or (run.holder and not self.claimed(run_id))
        ]

    def _second(self, run_id: str) -> str:
        return self.claimed(run_id) or records.recorded_at(run_id)

    def standing(self) -> str:
        """Return the last complete run of the mirror; empty where there is none."""
        done = [(run.place or 0, run_id) for run_id, run in self.runs.items() if run.place and run.finished]
        return max(done)[1] if done else ""

    def later(self, place: int, *, besides: str) -> str:
        """Return a run of the mirror that has begun at this place or after it and has not ended well; empty where there is none."""
        found = [
            (run.place, run_id)
            for run_id, run in self.runs.items()
            if run.place and run.place >= place and run_id != besides
        ]
        return max(found)[1] if found else ""


def build(run_ids: Iterable[str], *, seen: Seen, read: Mapping[str, Reading]) -> tuple[Point, ...]:
    """Return these runs as points, the newest first. `read` has what was read of them; what was not is not known."""
    standing = seen.standing()
    points = [_build(run_id, seen=seen, reading=read.get(run_id), standing=standing) for run_id in run_ids]
    return tuple(
        sorted(_part_folders(points), key=lambda point: (point.moment, point.place, point.run_id), reverse=True)
    )


def _build(run_id: str, *, seen: Seen, reading: Reading | None, standing: str) -> Point:
    run, kind = seen.runs[run_id], seen.kind(run_id)
    found = reading or Reading()
    folder = ""
    if kind == TIMESTAMPED:
        folder = found.holder.timestamp if found.holder is not None else seen.claimed(run_id)
    source = (
        found.header.source if found.header is not None else found.holder.source if found.holder is not None else None
    )
    copied = found.header.copied_at if found.header is not None and is_timestamp(found.header.copied_at) else ""
    state, why = _judge(run_id, seen=seen, run=run, kind=kind, folder=folder, reading=found, standing=standing)
    outcome = found.outcome
    return Point(
        run_id=run_id,
        state=state,
        kind=kind,
        why=why,
        folder=folder,
        moment=folder or copied or records.recorded_at(run_id),
        place=run.place or 0,
        source=clean_owner(source) if source is not None else None,
        object=outside.clean(
            found.holder.object if found.holder else found.header.object if found.header else "",
            limit=outside.NAME_LIMIT,
        ),
        files=outcome.files if outcome is not None else None,
        bytes=outcome.bytes if outcome is not None else None,
        verified=outcome.verified if outcome is not None else None,
        verification=outcome.verification if outcome is not None else "",
        finished_at=outcome.finished_at if outcome is not None else "",
        manifest_bytes=seen.manifest_bytes(run_id),
        manifest=found.seal,
    )


def _judge(
    run_id: str, *, seen: Seen, run: records.Run, kind: str, folder: str, reading: Reading, standing: str
) -> tuple[str, str]:
    """Return state and sentence."""
    if kind == MIRROR and run_id != standing and run.finished:
        current = seen.runs[standing]
        if run.place == current.place:
            return (
                DAMAGED,
                f"the run {standing} has the same place in the mirror's history, and both say that they are complete",
            )
        return SUPERSEDED, f"the files of this mirror are those of the run {standing} now"
    if not run.finished:
        ended = "its last attempt failed" if run.stopped else "it did not end, or is not over"
        return INCOMPLETE, f"there is no {records.OUTCOME}: {ended}"
    if reading.newer:
        return NEWER_FORMAT, reading.flaw
    flaw = reading.flaw or _contradiction(run_id, run=run, kind=kind, folder=folder, reading=reading)
    if flaw:
        return DAMAGED, flaw
    rival = seen.later(run.place or 0, besides=run_id) if kind == MIRROR else ""
    if rival:
        return DISTURBED, f"the run {rival} has begun to mirror since, and did not end well or is not over"
    return COMPLETE, ""


def _contradiction(run_id: str, *, run: records.Run, kind: str, folder: str, reading: Reading) -> str:
    """Return what does not fit together; empty when all does."""
    outcome, holder, header = reading.outcome, reading.holder, reading.header
    if not run.manifest:
        return f"its {records.MANIFEST} is missing"
    if kind == UNKNOWN:
        return f"neither its place in a mirror's history nor its folder is recorded: {records.HOLDER} is missing"
    if kind == MIRROR and run.holder:
        return f"it has a place in a mirror's history and a {records.HOLDER}"
    if kind == TIMESTAMPED and not folder:
        return f"no record tells its folder: {records.HOLDER} is missing"
    for name, found in (
        (records.OUTCOME, outcome.run_id if outcome else run_id),
        (records.HOLDER, holder.run_id if holder else run_id),
        (records.MANIFEST, header.run_id if header else run_id),
    ):
        if found != run_id:
            return f"its {name} is of the run {_quote(found)}"
    if outcome is not None and not outcome.succeeded:
        return f"its {records.OUTCOME} says that it failed"
    if outcome is not None and (outcome.timestamp or "") != folder:
        return f"its {records.OUTCOME} names the folder {_quote(outcome.timestamp or '')}, and not {_quote(folder)}"
    if holder is not None and header is not None and holder.source != header.source:
        return f"its {records.HOLDER} is of {_quote(str(holder.source))}, its {records.MANIFEST} of {_quote(str(header.source))}"
    return ""


def _part_folders(points: Sequence[Point]) -> list[Point]:
    """Call damaged what claims a folder that another complete point has as well."""
    held: dict[str, int] = {}
    for point in points:
        if point.folder and point.state == COMPLETE:
            held[point.folder] = held.get(point.folder, 0) + 1
    return [
        msgspec.structs.replace(
            point, state=DAMAGED, why=f"another complete run names the folder {point.folder} as well"
        )
        if point.state == COMPLETE and held.get(point.folder, 0) > 1
        else point
        for point in points
    ]


def clean_owner(owner: Owner) -> Owner:
    """Return the same in words that can be printed."""
    return Owner(
        cluster=outside.clean(owner.cluster, limit=outside.NAME_LIMIT),
        namespace=outside.clean(owner.namespace, limit=outside.NAME_LIMIT),
        pvc=outside.clean(owner.pvc, limit=outside.NAME_LIMIT),
    )


def _quote(word: str) -> str:
    return f"'{outside.clean(word, limit=outside.NAME_LIMIT)}'"


# --- reading records -----------------------------------------------------------------------------------------------


class _Version(msgspec.Struct, frozen=True):
    version: outside.Count = 1


_decode_version = outside.Decoder(_Version)


def take_outcome(raw: bytes, *, into: Reading) -> None:
    """Read an `outcome.json`; what is wrong with it becomes the flaw."""
    try:
        version = _decode_version(raw).version
        if version > transfer.OUTCOME_VERSION:
            into.newer = True
            raise Unusable(f"it has version {version}, which this datamover does not know")  # noqa: TRY301 - told alike
        into.outcome = transfer.parse_outcome(raw)
        if into.outcome is None:
            raise Unusable("it is no outcome")  # noqa: TRY301 - told alike
        into.seal = records.read_ended(raw).manifest
    except Unusable as why:
        into.flaw = f"its {records.OUTCOME} cannot be used: {why}"


def take_holder(raw: bytes, *, into: Reading) -> None:
    """Read a `folder.json`; what is wrong with it becomes the flaw."""
    try:
        into.holder = records.read_claim(raw)
    except Unusable as why:
        into.flaw = into.flaw or f"its {records.HOLDER} cannot be used: {why}"


def take_header(start: bytes, *, into: Reading) -> None:
    """Read the first line of a manifest from its first bytes; what is wrong with it becomes the flaw."""
    try:
        into.header = manifest.parse_header(start)
    except manifest.NewerFormat as why:
        into.newer = True
        into.flaw = f"its {records.MANIFEST} cannot be used: {why}"
    except ValueError as why:
        into.flaw = into.flaw or f"its {records.MANIFEST} cannot be used: {why}"
