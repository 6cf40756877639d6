"""The environment of a container in which a point is compared with its manifest, read once into frozen settings. Pure.

The variables and their meaning are those of `datamover.api.verification` and, for the bucket, of `datamover.api.transfer`.
"""

from collections.abc import Mapping

import msgspec

from datamover.agent.environment import Reader
from datamover.agent.points.settings import Asked, read_asked
from datamover.agent.verification.attempt import CHECKSUM, DOWNLOAD, SAMPLE, SIZE
from datamover.api import transfer

ADVICE = "put it into the Secret of the bucket, or beside it into the DataMover's own variables"
"""Where a variable goes that is missing."""
_METHODS = {
    transfer.SIZE: SIZE,
    transfer.CHECKSUMS: CHECKSUM,
    transfer.DOWNLOAD: DOWNLOAD,
    transfer.SAMPLE: SAMPLE,
}


class Settings(Asked, frozen=True, kw_only=True):
    """Everything that a comparison is told from outside. `wanted` is the method in the words of an outcome."""

    wanted: transfer.Verification

    @property
    def method(self) -> str:
        """The method in the words of `attempt`."""
        return _METHODS[self.wanted.name]


def read_settings(environ: Mapping[str, str], *, run_id: str) -> Settings:
    """Return the settings; `run_id` stands in for one that nobody has given. Raises Misconfigured with every variable that is wrong."""
    read = Reader(environ, advice=ADVICE)
    wanted = _wanted(read)
    asked = read_asked(read, environ, run_id=run_id, advice=ADVICE)
    return Settings(**msgspec.structs.asdict(asked), wanted=wanted)


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
