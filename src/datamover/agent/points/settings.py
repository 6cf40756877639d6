"""What every mover that works on a point is told: which bucket, which point, how long. Pure."""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader, is_run_id
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone.settings import Store, read_store
from datamover.api import restore as words
from datamover.api import transfer


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. `point` is a word for one, `source` the `NAMESPACE/PVC` that it must be of, empty for any. `notices` are not those of the store."""

    run_id: str
    store: Store
    point: str
    source: str
    deadline: float
    grace: float
    notices: tuple[str, ...] = ()


def read_asked(read: Reader, environ: Mapping[str, str], *, run_id: str, advice: str) -> Asked:
    """Return it, when everything else is read; `run_id` stands in for one that nobody has given, `advice` says where a variable goes that is missing.
    Raises Misconfigured with every variable that is wrong, those among them that `read` has met before.
    """
    given = read.text(transfer.RUN_ID, run_id)
    if not is_run_id(given):
        read.problems.append(f"{transfer.RUN_ID} is {given!r}; use letters, digits, '.', '_' and '-', at most 128")
    point = read.text(words.POINT, words.LATEST)
    source = read.text(words.SOURCE)
    deadline = read.number(transfer.DEADLINE, 0, low=0, high=1e9)
    grace = read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600)
    told = [f"The mover's environment is wrong: {'; '.join(read.problems)}."] if read.problems else []
    store = None
    try:
        store = read_store(environ, advice=advice)
    except Misconfigured as wrong:
        told.append(wrong.message)
    if store is None or told:
        raise Misconfigured(" ".join(told))
    return Asked(
        run_id=given,
        store=store,
        point=point,
        source=source,
        deadline=deadline,
        grace=grace,
        notices=tuple(read.notices),
    )
