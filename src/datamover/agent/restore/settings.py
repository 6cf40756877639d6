"""The environment of a container in which a point is restored, read once into frozen settings. Pure.

The variables and their meaning are those of `datamover.api.restore` and, for the bucket, of `datamover.api.transfer`.
"""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader, is_run_id
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone.settings import Store, read_store
from datamover.agent.restore.order import Order, read_path
from datamover.api import restore as words
from datamover.api import transfer

ADVICE = "put it into the Secret of the bucket, or beside it into the restore's own variables"
"""Where a variable goes that is missing."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a restore is told from outside. Times in seconds. `point` is a word for one, `source` the `NAMESPACE/PVC` that it must be of, empty
    for any; `may_be_missing`: a bucket that has nothing of that source is no failure. `notices` are not those of the store.
    """

    run_id: str
    store: Store
    point: str
    source: str
    order: Order
    disturbed: bool
    may_be_missing: bool
    deadline: float
    grace: float
    notices: tuple[str, ...] = ()


def read_settings(environ: Mapping[str, str], *, run_id: str) -> Settings:
    """Return the settings; `run_id` stands in for one that nobody has given. Raises Misconfigured with every variable that is wrong."""
    read = Reader(environ, advice=ADVICE)
    given = read.text(transfer.RUN_ID, run_id)
    if not is_run_id(given):
        read.problems.append(f"{transfer.RUN_ID} is {given!r}; use letters, digits, '.', '_' and '-', at most 128")
    on_missing = read.text(words.ON_MISSING, words.FAIL)
    if on_missing not in {words.FAIL, words.EMPTY}:
        read.problems.append(f"{words.ON_MISSING} is {on_missing!r}; write Fail or Empty")
    directory, safety = _directory(read), _safety(read)
    overwrite = read.switch(words.OVERWRITE)
    order = Order(
        restore=given,
        directory=directory,
        path=_path(read, environ),
        overwrite=overwrite or bool(safety),
        safety=safety,
        privileges=read.switch(words.PRIVILEGES),
        special=read.switch(words.SPECIAL),
    )
    point = read.text(words.POINT, words.LATEST)
    source = read.text(words.SOURCE)
    disturbed = read.switch(words.DISTURBED)
    deadline = read.number(transfer.DEADLINE, 0, low=0, high=1e9)
    grace = read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600)
    told = [f"The mover's environment is wrong: {'; '.join(read.problems)}."] if read.problems else []
    store = None
    try:
        store = read_store(environ, advice=ADVICE)
    except Misconfigured as wrong:
        told.append(wrong.message)
    if store is None or told:
        raise Misconfigured(" ".join(told))
    return Settings(
        run_id=given,
        store=store,
        point=point,
        source=source,
        order=order,
        disturbed=disturbed,
        may_be_missing=on_missing == words.EMPTY,
        deadline=deadline,
        grace=grace,
        notices=tuple(read.notices),
    )


def _directory(read: Reader) -> str:
    """Return the target, absolute. It is the operator's word, and yet nothing above the root is one."""
    return _mount(read, words.TARGET, read.text(words.TARGET, transfer.DATA_PATH), such_as=transfer.DATA_PATH)


def _safety(read: Reader) -> str:
    text = read.text(words.ROLL_BACK_FROM)
    return _mount(read, words.ROLL_BACK_FROM, text, such_as=words.SAFETY_PATH) if text else ""


def _mount(read: Reader, variable: str, text: str, *, such_as: str) -> str:
    if not text.startswith("/") or ".." in text.split("/") or not text.strip("/"):
        read.problems.append(f"{variable} is {text!r}; write where the volume is mounted, such as {such_as}")
    return f"{read.text(transfer.ROOT, '/').rstrip('/')}/{text.strip('/')}"


def _path(read: Reader, environ: Mapping[str, str]) -> bytes:
    try:
        return read_path(environ.get(words.PATH, ""))  # white space at its ends may be meant
    except ValueError as error:
        read.problems.append(f"{words.PATH}: {error}")
        return b""
