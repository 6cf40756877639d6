"""The words between the operator and the mover that compares a point of a bucket with its manifest: environment, and what its outcome says besides. Pure.

Only msgspec, the standard library and `outside` are imported, and nothing slow: the agent reads this at every start.

The point is named by `DATAMOVER_POINT` and `DATAMOVER_POINT_SOURCE` (`restore`), the method by `DATAMOVER_VERIFY` (`transfer`), which is `checksums`
where it is empty. Whoever sets the environment sets each of them, so that no key of a Secret is heard in its place.

Progress is that of `transfer`. In the outcome `files` and `bytes` are what the manifest has, `checked_files` how many objects were compared by the
checksum that the store has recorded, `read_files` how many were read back, `problems` the first findings, and `compared` the rest. It has succeeded only
when nothing differs. Else `reason` is `BackupDamaged` (a difference was found), `RecordUnusable` (manifest or outcome are gone, not the run's own, or not whole),
`PointSuperseded` (a later run of the mirror is complete), `ComparisonDisturbed` (one has begun, so that differences mean nothing) or what kept it from comparing.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from datamover.api import outside
from datamover.api.outside import Count

CONTAINER: Final = "verify"
"""Name of the container, and the agent's first argument."""

DAMAGE: Final = frozenset({"BackupDamaged", "RecordUnusable", "PointNotFound"})
"""Reasons with which the condition `Verified` says that a backup is not as it was."""

_NOTES: Final = 8
_NOTE_LIMIT: Final = 400
"""Characters of a note."""


class Compared(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """What became of a comparison, beside what every outcome says. Counts are of objects; words are clean.

    `point` is the run's id (empty: none was chosen), `moment` the moment of its copy, `volume` its `NAMESPACE/PVC`, `state` `complete` or `disturbed`. `method`
    is that of an outcome (`sample:5%`), `seed` what chose the sample. `compared` objects of the manifest are there in whatever form; `missing` are not;
    `other` have another size, checksum or content; `extra` are in no manifest; `unproved` could not be read back, or listed.
    """

    point: str = ""
    moment: str = ""
    volume: str = ""
    state: str = ""
    method: str = ""
    seed: str = ""
    compared: Count = 0
    missing: Count = 0
    other: Count = 0
    extra: Count = 0
    unproved: Count = 0
    notes: tuple[str, ...] = ()

    @property
    def differing(self) -> int:
        """How many objects are known not to be as the manifest says."""
        return self.missing + self.other + self.extra


def clean_compared(found: Compared, *, tidy: Callable[[str], str] = str) -> Compared:
    """Return the same with words that can be printed and that are not too long. `tidy` is done to each word before."""

    def word(text: str) -> str:
        return outside.clean(tidy(text), limit=outside.NAME_LIMIT)

    return msgspec.structs.replace(
        found,
        point=word(found.point),
        moment=word(found.moment),
        volume=word(found.volume),
        state=word(found.state),
        method=word(found.method),
        seed=word(found.seed),
        notes=tuple(outside.clean(tidy(note), limit=_NOTE_LIMIT) for note in found.notes[:_NOTES]),
    )
