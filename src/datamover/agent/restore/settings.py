"""The environment of a container in which a point is restored, read once into frozen settings. Pure.

The variables and their meaning are those of `datamover.api.restore` and, for the bucket, of `datamover.api.transfer`.
"""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader
from datamover.agent.points.settings import Asked, read_asked
from datamover.agent.restore.order import Order, read_path
from datamover.api import restore as words
from datamover.api import transfer

ADVICE = "put it into the Secret of the bucket, or beside it into the restore's own variables"
"""Where a variable goes that is missing."""


class Settings(Asked, frozen=True, kw_only=True):
    """Everything that a restore is told from outside. `may_be_missing`: a bucket that has nothing of that source is no failure."""

    order: Order
    disturbed: bool
    may_be_missing: bool


def read_settings(environ: Mapping[str, str], *, run_id: str) -> Settings:
    """Return the settings; `run_id` stands in for one that nobody has given. Raises Misconfigured with every variable that is wrong."""
    read = Reader(environ, advice=ADVICE)
    on_missing = read.text(words.ON_MISSING, words.FAIL)
    if on_missing not in {words.FAIL, words.EMPTY}:
        read.problems.append(f"{words.ON_MISSING} is {on_missing!r}; write Fail or Empty")
    directory, safety = _directory(read), _safety(read)
    overwrite = read.switch(words.OVERWRITE)
    order = Order(
        restore="",
        directory=directory,
        path=_path(read, environ),
        overwrite=overwrite or bool(safety),
        safety=safety,
        privileges=read.switch(words.PRIVILEGES),
        special=read.switch(words.SPECIAL),
    )
    disturbed = read.switch(words.DISTURBED)
    asked = read_asked(read, environ, run_id=run_id, advice=ADVICE)
    return Settings(
        **msgspec.structs.asdict(asked),
        order=msgspec.structs.replace(order, restore=asked.run_id),
        disturbed=disturbed,
        may_be_missing=on_missing == words.EMPTY,
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
