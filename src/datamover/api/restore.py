"""The words between the operator and the mover that restores a point of a bucket into a volume: environment, and what its outcome says besides. Pure.

Only msgspec, the standard library and `outside` are imported, and nothing slow: the agent reads this at every start.

The destination is named as a DataMover's mover has it (`transfer`: keys of a Secret, or variables). Whoever sets the environment sets every variable
below, an empty one where there is nothing to say, so that no key of a Secret is heard in its place.

Progress is that of `transfer`. In the outcome `files` and `bytes` are what of the point is wanted, `transferred_*` what this attempt fetched,
`timestamp` the point's own folder (null for a mirror), `checked_files` of how many files the checksum was compared, and `restored` the rest.
`reason` and `class` are those of `transfer`; after a success in which there was nothing to restore (`onMissing: Empty`) `restored.empty` is true.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from datamover.api import amounts, outside
from datamover.api.outside import Count

CONTAINER: Final = "restore"
"""Name of the container, and the agent's first argument."""

# --- environment ----------------------------------------------------------------------------------------------------

POINT: Final = "DATAMOVER_POINT"
"""`latest` (also when it is empty), `YYYY-MM-DD-HHMMSS`, a run's id, or `as-of:TIME`."""
LATEST: Final = "latest"
SOURCE: Final = "DATAMOVER_POINT_SOURCE"
"""`NAMESPACE/PVC` whose points count; empty: there is one volume only."""
PATH: Final = "DATAMOVER_POINT_PATH"
"""The file or folder of the point that is wanted, at the place that it has in the volume; empty: all of it."""
TARGET: Final = "DATAMOVER_TARGET"
"""The directory that is filled, below `DATAMOVER_ROOT`; default `/data`. It exists: a volume is mounted there."""
OVERWRITE: Final = "DATAMOVER_OVERWRITE"
"""`true`: a target that is not empty is restored into. What the point has replaces what is at its paths, everything else stays."""
ON_MISSING: Final = "DATAMOVER_ON_MISSING"
"""`Fail` or `Empty`: what it means that the bucket was listed and has no run of the source, of whatever state."""
FAIL: Final = "Fail"
EMPTY: Final = "Empty"
DISTURBED: Final = "DATAMOVER_DISTURBED"
"""`true`: `latest` and `as-of` may be a mirror's last complete run after which another one has begun."""
PRIVILEGES: Final = "DATAMOVER_PRIVILEGES"
"""`true`: set-ID bits of files and attributes that begin with `security.` or `trusted.` come back as well."""
SPECIAL: Final = "DATAMOVER_SPECIAL"
"""`true`: pipes and device nodes are made."""
ROLL_BACK_FROM: Final = "DATAMOVER_ROLLBACK_FROM"
"""Where a copy of the whole target is mounted for reading, below `DATAMOVER_ROOT`, taken while nobody used it: a restore that fails is rolled back from
there. It means `DATAMOVER_OVERWRITE` as well. Empty: none."""
SAFETY_PATH: Final = "/safety"
"""Where the operator lets it be mounted."""

# --- outcome --------------------------------------------------------------------------------------------------------

UNTOUCHED: Final = "untouched"
MARKED: Final = "marked"
WHOLE: Final = "whole"
ROLLED_BACK: Final = "rolled-back"
TARGETS: Final = (UNTOUCHED, MARKED, WHOLE, ROLLED_BACK)
"""What a target is after an attempt: as it was before; plainly marked as neither that nor whole; whole; as it was before once more, brought back from its
safety copy (`losses` are then what of it did not come back)."""

_KINDS: Final = 8
"""Kinds of losses that an outcome names at most, and notes."""
_NOTE_LIMIT: Final = 400
"""Characters of a note."""


class Loss(msgspec.Struct, frozen=True, gc=False):
    """One kind of loss, of how many paths, and the first of them."""

    kind: str = ""
    count: Count = 0
    example: str = ""


class Restored(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """What became of a restore, beside what every outcome says. Sizes in bytes; words are clean.

    `point` is the run's id (empty: none was chosen), `moment` the moment of its copy (`YYYY-MM-DD-HHMMSS` in UTC), `volume` its `NAMESPACE/PVC`, `state`
    `complete` or `disturbed`. `target` is one of `TARGETS`. `empty`: there was no point, and that was allowed. `resumed`: an earlier attempt had
    begun. `kept_files` were there already and right, `linked_files` are further names. `by_checksum` and `by_size` say of how many files what
    was compared with the manifest. `losses` are what did not come back, `left_out` what the backup never had, both by kind.
    """

    point: str = ""
    moment: str = ""
    volume: str = ""
    state: str = ""
    target: str = UNTOUCHED
    empty: bool = False
    resumed: bool = False
    kept_files: Count = 0
    linked_files: Count = 0
    by_checksum: Count = 0
    by_size: Count = 0
    losses: tuple[Loss, ...] = ()
    left_out: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()


def clean_restored(found: Restored, *, tidy: Callable[[str], str] = str) -> Restored:
    """Return the same with words that can be printed and that are not too long; a target that is not known counts as `MARKED`. `tidy` is done to each
    word before.
    """

    def word(text: str) -> str:
        return outside.clean(tidy(text), limit=outside.NAME_LIMIT)

    def losses(given: tuple[Loss, ...]) -> tuple[Loss, ...]:
        return tuple(Loss(word(loss.kind), loss.count, word(loss.example)) for loss in given[:_KINDS])

    return msgspec.structs.replace(
        found,
        point=word(found.point),
        moment=word(found.moment),
        volume=word(found.volume),
        state=word(found.state),
        target=outside.known(found.target, TARGETS, otherwise=MARKED),
        losses=losses(found.losses),
        left_out=losses(found.left_out),
        notes=tuple(outside.clean(tidy(note), limit=_NOTE_LIMIT) for note in found.notes[:_KINDS]),
    )


def shorten_restored(found: Restored) -> Restored | None:
    """Return the same with less in it: notes go first, then what the backup never had, then examples, then losses. None: there is nothing left to take."""
    if found.notes:
        return msgspec.structs.replace(found, notes=())
    if found.left_out:
        return msgspec.structs.replace(found, left_out=())
    if any(loss.example for loss in found.losses):
        return msgspec.structs.replace(found, losses=tuple(Loss(loss.kind, loss.count) for loss in found.losses))
    if found.losses:
        return msgspec.structs.replace(found, losses=found.losses[:-1])
    return None


def tell_comparison(*, by_checksum: int, by_size: int) -> str:
    """Return what was compared with what, in words that go on a sentence: no more than was done (law L4)."""
    if not by_checksum + by_size:
        return "no file to compare"
    if not by_size:
        return "every one compared with the manifest by its checksum"
    if not by_checksum:
        return "every one compared with the manifest by its size alone, for that has no checksums of them"
    return f"{by_checksum} compared with the manifest by checksum, {by_size} by size alone, for it has none of them"


def tell_losses(losses: Sequence[Loss]) -> str:
    """Return how many losses of which kinds there are, in one sentence without its full stop; empty where nothing was lost."""
    return "; ".join(f"{amounts.count(loss.count, 'path')} lost {loss.kind}" for loss in losses)
