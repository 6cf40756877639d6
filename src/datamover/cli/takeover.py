"""What becomes of each ReplicationSource and ReplicationDestination when this operator takes the place of VolSync's. Pure.

The objects, their children and their repositories stay as they are: names, owners and labels are the same. So nothing is copied anew; what has to
be said is what a mover of ours does otherwise, and what it does not do at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from datamover.api.outside import clean
from datamover.api.volsync import names
from datamover.api.volsync.names import Method, Synchronizing
from datamover.reconcilers.replication.ask import Ask, Replication, ask_of, is_external
from datamover.reconcilers.replication.order import copy_of, job_of, status_of


@dataclass(frozen=True, slots=True)
class Row:
    """One object. `goes_on`: this operator will synchronise it. `notes` are sentences without a full stop."""

    kind: str
    namespace: str
    name: str
    method: str
    state: str
    goes_on: bool
    notes: tuple[str, ...] = ()


def judge(obj: Replication, kind: str, children: Iterable[tuple[str, str]]) -> Row:
    """Return what becomes of an object. `children` are (kind, name) of what the original operator has made in its namespace."""
    meta, status, ask = obj.metadata, status_of(obj), ask_of(obj)
    told = status.condition(Synchronizing.TYPE)
    under_way = bool(status.last_sync_start_time)
    state = "synchronising" if under_way else clean(told.reason) if told is not None else "new"
    common = (kind, meta.namespace or "", meta.name)
    if is_external(obj):
        return Row(*common, "external", state, goes_on=False, notes=("another program's: it is left alone",))
    if not isinstance(ask, Ask):
        return Row(*common, _method_of(obj), state, goes_on=False, notes=(clean(ask),))
    return Row(*common, ask.method, state, goes_on=True, notes=tuple(_notes(ask, set(children), under_way=under_way)))


def _notes(ask: Ask, children: set[tuple[str, str]], *, under_way: bool) -> Iterable[str]:
    copy, job = copy_of(ask), job_of(ask)
    if under_way and ("Job", job) in children:
        yield f"Job {job} is followed to its end"
    elif under_way and copy.claim and ("PersistentVolumeClaim", copy.claim) in children:
        yield f"its copy {copy.claim} is used"
    elif under_way:
        yield "the synchronisation goes on from its beginning"
    cache = names.cache_claim(ask.role, ask.metadata.name)
    if ask.method == Method.RESTIC and ("PersistentVolumeClaim", cache) in children:
        yield f"cache {cache} and the repository are used as they are"
    elif ask.method == Method.RESTIC:
        yield "the repository is used as it is; a new cache is filled from it"
    if ask.paused:
        yield "paused, and stays so"


def _method_of(obj: Replication) -> str:
    spec = obj.spec
    return Method.SYNCTHING if spec is not None and getattr(spec, "syncthing", None) is not None else "none"
