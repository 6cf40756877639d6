"""The records below `.datamover/`: their names, their contents, and what a listing of them says. Pure.

    owner.json                       whose mirror <root> is (law L3)
    runs/<run id>/manifest.jsonl.gz  what the run set out to move; there before the first byte
    runs/<run id>/mirror-000000012   the run's place in the mirror's history, as a name, so that a listing tells it
    runs/<run id>/folder.json        the timestamp folder that the run holds
    runs/<run id>/outcome.json       written last; makes the run finished
    runs/<run id>/stopped            the run's last attempt has ended without success and moves nothing any more
    runs/<run id>/arriving/...       changed files of a live source, before they replace what is there (see `live`)
    claims/<timestamp>/<run id>.json who wants a timestamp folder

A run of a mirror has begun when both its manifest and its place are there.

Whoever may write to the bucket may write records, so none is believed as it is: they are decoded here, and one that is damaged or
contradicts what it is found under is a `Failure` of class `guard` that names the object. A damaged manifest is told by
`manifest.load_known`; what it lists then counts as unknown.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated

import msgspec

from datamover.agent.environment import Owner, is_run_id, is_timestamp
from datamover.agent.errors import Failure
from datamover.agent.files.names import is_canonical
from datamover.api import outside, transfer
from datamover.api.outside import Count, Unusable

FOLDER = transfer.STATE_FOLDER
OWNER = "owner.json"
MANIFEST = "manifest.jsonl.gz"
OUTCOME = "outcome.json"
HOLDER = "folder.json"
STOPPED = "stopped"
_ARRIVING = "arriving"
_PLACE = "mirror-"
_DATED = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})-?(\d{6})-")
"""How the run ids begin that the operator and this agent make: with the second in which the run was recorded."""
_LAST_PLACE = 10**15
"""Places in a mirror's history. A run each nanosecond would take eleven days to reach it, so a higher one is no place."""
_MARK = f"{FOLDER}/".encode()
_NESTED = f"/{FOLDER}/".encode()


class OwnerRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The contents of `owner.json`, every field written. `previous` is whose it was before it was adopted."""

    version: Count = 1
    cluster: str = ""
    namespace: str = ""
    pvc: str = ""
    created_by: str = ""
    created_at: str = ""
    object: str = ""
    adopted: bool = False
    previous: Owner | None = None

    @property
    def owner(self) -> Owner:
        """The volume."""
        return Owner(cluster=self.cluster, namespace=self.namespace, pvc=self.pvc)


class Seal(msgspec.Struct, frozen=True):
    """What tells a manifest from one that was cut off, replaced or is another run's: its size in bytes, its SHA-256 in hexadecimal digits."""

    bytes: Count
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class SealedOutcome(
    transfer.Outcome, frozen=True, gc=False, rename="camel", kw_only=True, tag_field="datamover", tag="outcome"
):
    """The contents of `outcome.json`: the outcome as the mover tells it, and the manifest as it was last written. Earlier versions have no `manifest`."""

    manifest: Seal | None = None


def sealed(outcome: transfer.Outcome, seal: Seal) -> SealedOutcome:
    """Return the record of an outcome."""
    return SealedOutcome(**msgspec.structs.asdict(outcome), manifest=seal)


class ClaimRecord(msgspec.Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """The contents of a claim and of `folder.json`."""

    run_id: str
    timestamp: str
    source: Owner
    object: str = ""
    created_at: str = ""


class Ended(msgspec.Struct, frozen=True):
    """As much of an `outcome.json` as says whether a run ended well, and which manifest is its own; None of earlier versions."""

    succeeded: bool = False
    manifest: Seal | None = None


def read_ended(raw: bytes) -> Ended:
    """Return what an `outcome.json` says of that. Raises Unusable when it cannot be decoded."""
    return _decode_ended(raw)


def read_claim(raw: bytes) -> ClaimRecord:
    """Return the claim of any run, or its `folder.json`. Raises Unusable when it cannot be one."""
    found = _decode_claim(raw)
    if not is_timestamp(found.timestamp):
        word = outside.clean(found.timestamp, limit=outside.NAME_LIMIT)
        raise Unusable(f"it names the folder '{word}', which is no timestamp")
    return found


def read_owner(raw: bytes, *, place: str) -> OwnerRecord:
    """Return an owner marker; `place` is the object's name for people. Raises Failure when it cannot be one."""
    try:
        record = _decode_owner(raw)
        if record.version != OwnerRecord().version:
            raise Unusable(f"it has version {record.version}")  # noqa: TRY301 - it is told like what cannot be decoded
    except Unusable as why:
        raise Failure(
            transfer.GUARD,
            transfer.REASON_DESTINATION_NOT_OWNED,
            f"{place} cannot be read as a marker of this version's ({why}), so it is unknown whose mirror this is. Nothing was moved or deleted. Restore"
            " the object, or delete it, so that the records of the runs tell whose the mirror is, or use another prefix.",
        ) from None
    return record


def read_holder(raw: bytes, *, place: str, run_id: str, source: Owner) -> ClaimRecord:
    """Return the record of the folder that a run holds. Raises Failure when it cannot be that of this run of this source."""
    try:
        record = read_claim(raw)
    except Unusable as why:
        record, flaw = None, str(why)
    else:
        flaw = ""
    if record is None:
        wrong = f"is damaged ({flaw})"
    elif record.run_id != run_id:
        wrong = f"is of the run {record.run_id!r}"
    elif record.source != source:
        wrong = f"is of the volume {record.source}, not of {source}"
    else:
        return record
    raise Failure(
        transfer.GUARD,
        transfer.REASON_RECORD_UNUSABLE,
        f"{place} {wrong}, so it is unknown which folder this run holds. Nothing was moved. Find out who writes there; then delete that object or"
        " start another run, which takes a folder of its own.",
    )


def held_folder(raw: bytes) -> str:
    """Return the timestamp folder that the `folder.json` of any run names; empty when it cannot be one."""
    try:
        return read_claim(raw).timestamp
    except Unusable:
        return ""


_decode_owner = outside.Decoder(OwnerRecord)
_decode_ended = outside.Decoder(Ended)
_decode_claim = outside.Decoder(ClaimRecord)


def is_record(raw: bytes) -> bool:
    """Tell whether these are the contents of an owner marker or of a claim, as any version of this agent may have written them."""
    try:
        owner = _decode_owner(raw)
        if owner.pvc or owner.created_by:
            return True
    except Unusable:
        pass
    try:
        _decode_claim(raw)
    except Unusable:
        return False
    return True


class Run(msgspec.Struct):
    """What the names in a run's folder say."""

    manifest: bool = False
    finished: bool = False
    place: int | None = None
    holder: bool = False
    stopped: bool = False

    @property
    def begun(self) -> bool:
        """Whether a run of a mirror may have written data."""
        return self.manifest and self.place is not None


class State:
    """What a listing of `<root>` says about the records in it.

    `nested` names folders below with records of their own: other movers' destinations. `arriving` are the runs that have something left there.
    """

    def __init__(self) -> None:
        self.owned = False
        self.runs: dict[str, Run] = {}
        self.claimed: set[str] = set()
        self._claimants: set[str] = set()
        self.arriving: set[str] = set()
        self.nested: list[str] = []

    def take(self, key: bytes) -> bool:
        """Take a key of the listing into account; return whether it is a record of ours, and so no data."""
        if not key.startswith(_MARK):
            at = key.find(_NESTED)
            if at >= 0:
                folder = key[:at].decode("utf-8", "replace")
                if folder not in self.nested and len(self.nested) < 5:
                    self.nested.append(folder)
            return False
        parts = key.decode("utf-8", "replace").split("/")[1:]
        match parts:
            case ["owner.json"]:
                self.owned = True
            case ["runs", run_id, name] if is_run_id(run_id):  # no other is a run of ours
                run = self.runs.setdefault(run_id, Run())
                if name == MANIFEST:
                    run.manifest = True
                elif name == OUTCOME:
                    run.finished = True
                elif name == HOLDER:
                    run.holder = True
                elif name == STOPPED:
                    run.stopped = True
                elif name.startswith(_PLACE):
                    with suppress(Unusable):  # not a name that we give
                        run.place = max(run.place or 0, outside.integer(name.removeprefix(_PLACE), high=_LAST_PLACE))
            case ["runs", run_id, "arriving", *_] if is_run_id(run_id) and is_canonical(key):
                self.arriving.add(run_id)
            case ["claims", timestamp, name] if is_timestamp(timestamp):
                self.claimed.add(timestamp)
                self._claimants.add(name.removesuffix(".json"))
            case _:
                pass
        return True

    @property
    def latest(self) -> int:
        """The place of the last run of the mirror that has begun; 0 without one."""
        return max((run.place or 0 for run in self.runs.values() if run.begun), default=0)

    def latest_runs(self) -> list[str]:
        """Return the runs at that place: one, unless two mirrored at once. Their manifests say what is known."""
        return sorted(
            run_id for run_id, run in self.runs.items() if run.begun and run.place == self.latest and self.latest
        )

    def last_finished(self) -> str:
        """Return the run at the highest place that came to its end; empty without one."""
        return max(
            ((run.place or 0, run_id) for run_id, run in self.runs.items() if run.begun and run.finished),
            default=(0, ""),
        )[1]

    def runs_before(self) -> list[str]:
        """Return the runs at the highest place below that one."""
        places = [run.place for run in self.runs.values() if run.begun and run.place and run.place < self.latest]
        return sorted(run_id for run_id, run in self.runs.items() if run.begun and places and run.place == max(places))

    def unexplained(self, *, besides: str) -> tuple[str, ...]:
        """Return the runs, other than `besides`, that may have mirrored here last although no manifest can tell for which volume: it is
        lost, or its place is, and no record says that it was a timestamped copy.
        """
        return tuple(
            sorted(
                run_id
                for run_id, run in self.runs.items()
                if run_id != besides
                and not run.begun
                and ((run.place or 0) >= max(self.latest, 1) or (run.manifest and run.place is None and not run.holder))
            )
        )

    def recorded(self, *, besides: str, above: int = 0) -> list[tuple[str, str]]:
        """Return the moments in which the runs of the mirror, other than `besides`, were recorded, each with its run; without those whose
        ids do not tell. A run's copy cannot have been made before. Only runs at places higher than `above` count.
        """
        found = [
            (recorded_at(run_id), run_id)
            for run_id, run in self.runs.items()
            if run_id != besides and run.begun and (run.place or 0) > above
        ]
        return [each for each in found if each[0]]

    @property
    def holders(self) -> list[str]:
        """The timestamped runs whose claims are lost, so that only their `folder.json` tells which folders are theirs."""
        return sorted(run_id for run_id, run in self.runs.items() if run.holder and run_id not in self._claimants)

    def maimed(self, *, besides: str) -> list[str]:
        """Return the runs, other than `besides`, that may have mirrored here and have lost their manifest or their place since; the youngest
        first, by their ids. The manifests of later runs tell of those that only lost their manifest.
        """
        found = [
            run_id
            for run_id, run in self.runs.items()
            if run_id not in {besides, *self._claimants}
            and not run.begun
            and not run.holder
            and ((run.place or 0) >= max(self.latest, 1) or (run.place is None and (run.manifest or run.finished)))
        ]
        return sorted(found, key=lambda run_id: (recorded_at(run_id), run_id), reverse=True)

    def rivals(self, place: int, *, besides: str) -> tuple[str, ...]:
        """Return the runs, other than `besides`, that have begun at `place` or after it, finished or not.

        Whoever lists the records after a run at `place` has begun takes a higher one, also for another attempt of an older run; who
        listed them at the same time takes the same.
        """
        return tuple(
            sorted(
                run_id
                for run_id, run in self.runs.items()
                if run.begun and run_id != besides and (run.place or 0) >= place
            )
        )

    def unended(self, place: int, *, besides: str) -> tuple[str, ...]:
        """Return the runs, other than `besides`, that began before the one at `place` and may still be moving files: no record says that they
        have ended, and none that began later has finished, for which they would have given way.
        """
        finished = max((run.place or 0 for run in self.runs.values() if run.begun and run.finished), default=0)
        return tuple(
            sorted(
                run_id
                for run_id, run in self.runs.items()
                if run.begun
                and run_id != besides
                and not (run.finished or run.stopped)
                and finished < (run.place or 0) < place
            )
        )


def read_state(keys: Iterable[bytes]) -> State:
    """Return what these keys say; keys of data are passed over."""
    state = State()
    for key in keys:
        state.take(key)
    return state


def recorded_at(run_id: str) -> str:
    """Return the second in which a run was recorded, `YYYY-MM-DD-HHMMSS`, as its id begins; empty where it does not say."""
    found = _DATED.match(run_id)
    dated = "-".join(found.groups()) if found else ""
    return dated if is_timestamp(dated) else ""


def place_name(place: int) -> str:
    """Return the name of the object that says a run's place in the mirror's history."""
    return f"{_PLACE}{place:09d}"


def arriving_folder(run_id: str, *, word: str = "") -> str:
    """Return the folder, with a final slash, in which an attempt's changed files arrive; without its `word` that of all attempts of a run."""
    return f"{FOLDER}/runs/{run_id}/{_ARRIVING}/{f'{word}/' if word else ''}"
