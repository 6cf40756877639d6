"""The environment of a container in which a point is compared with its manifest, read once into frozen settings. Pure.

The variables and their meaning are those of `datamover.api.verification` and, for the bucket, of `datamover.api.transfer`.
"""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader, is_run_id
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone.settings import Store, read_store
from datamover.agent.verification.attempt import CHECKSUM, DOWNLOAD, SAMPLE, SIZE
from datamover.api import restore as words
from datamover.api import transfer

ADVICE = "put it into the Secret of the bucket, or beside it into the DataMover's own variables"
"""Where a variable goes that is missing."""
_METHODS = {
    transfer.SIZE: SIZE,
    transfer.CHECKSUMS: CHECKSUM,
    transfer.DOWNLOAD: DOWNLOAD,
    transfer.SAMPLE: SAMPLE,
}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a comparison is told from outside. Times in seconds. `point` is a word for one, `source` the `NAMESPACE/PVC` that it must be of, empty
    for any. `wanted` is the method in the words of an outcome. `notices` are not those of the store.
    """

    run_id: str
    store: Store
    point: str
    source: str
    wanted: transfer.Verification
    deadline: float
    grace: float
    notices: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """The method in the words of `attempt`."""
        return _METHODS[self.wanted.name]


def read_settings(environ: Mapping[str, str], *, run_id: str) -> Settings:
    """Return the settings; `run_id` stands in for one that nobody has given. Raises Misconfigured with every variable that is wrong."""
    read = Reader(environ, advice=ADVICE)
    given = read.text(transfer.RUN_ID, run_id)
    if not is_run_id(given):
        read.problems.append(f"{transfer.RUN_ID} is {given!r}; use letters, digits, '.', '_' and '-', at most 128")
    wanted = _wanted(read)
    point = read.text(words.POINT, words.LATEST)
    source = read.text(words.SOURCE)
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
        wanted=wanted,
        deadline=deadline,
        grace=grace,
        notices=tuple(read.notices),
    )


def _wanted(read: Reader) -> transfer.Verification:
    text = read.text(transfer.VERIFY_METHOD)
    usual = transfer.Verification(transfer.CHECKSUMS)
    try:
        wanted = transfer.read_chosen_verification(text) or usual
    except ValueError as error:
        read.problems.append(f"{transfer.VERIFY_METHOD} is {text[:40]!r}; {error}")
        return usual
    if not wanted.name:
        read.problems.append(f"{transfer.VERIFY_METHOD} is {text!r}, and that compares nothing; name a method")
        return usual
    return wanted
