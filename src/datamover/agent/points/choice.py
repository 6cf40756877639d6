"""The word for a point to one point, or to one clear error. Pure.

latest              the newest complete one
YYYY-MM-DD-HHMMSS   the folder of a timestamped copy, or the moment of a mirror's copy
RUN                 a run's id
as-of:TIME          the newest whose copy is not later: RFC 3339, a date (its end, in UTC), or an age such as `2h`

`latest` and `as-of` pass over what is not complete: a run that did not end is no point. A point that is asked for by its own name is given, or
it is said why it cannot be.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec

from datamover.agent.environment import is_run_id, is_timestamp
from datamover.agent.errors import Failure
from datamover.agent.points.catalogue import COMPLETE, DISTURBED, INCOMPLETE, NEWER_FORMAT, SUPERSEDED, Point
from datamover.agent.printing import printable
from datamover.api import outside, transfer
from datamover.api.points import AS_OF, FORMS, LATEST, read_moment

_WAY_OUT: Final = "`datamover points` lists what is there"
_NAMED: Final = 8


class Word(msgspec.Struct, frozen=True):
    """What is asked for: `name` is a moment or a run's id, `until` the moment that nothing may be later than. Both empty: the newest."""

    name: str = ""
    until: str = ""

    @property
    def exact(self) -> bool:
        """Whether one certain run is meant."""
        return bool(self.name)


def read_word(text: str, *, now: datetime) -> Word:
    """Return what a word asks for; ages are reckoned from `now` (UTC). Raises Failure when it is none."""
    if text == LATEST:
        return Word()
    if text.startswith(AS_OF):
        return Word(until=_moment(text.removeprefix(AS_OF), now=now))
    if is_timestamp(text) or is_run_id(text):
        return Word(name=text)
    raise _unusable_word(text, FORMS)


def _moment(text: str, *, now: datetime) -> str:
    try:
        return read_moment(text, now=now)
    except ValueError as error:
        raise _unusable_word(f"{AS_OF}{text}", str(error)) from None


def choose(
    points: Sequence[Point],
    word: Word,
    *,
    source: str = "",
    disturbed: bool = False,
    besides: Collection[str] = (),
) -> Point:
    """Return the one that is meant, among `points` in any order; `source` is the `NAMESPACE/PVC` that it must be of, empty for any.

    `disturbed`: such a one may be taken for `latest` and `as-of` as well. `besides` are run ids that are known not to be it. Raises Failure, of
    reason `PointNotFound`, `PointAmbiguous` or `PointUnusable`.
    """
    among = [point for point in points if not source or point.volume == source]
    if word.exact:
        return _named(points, among, word.name, source=source)
    ready = [
        point
        for point in among
        if (point.state == COMPLETE or (disturbed and point.state == DISTURBED)) and point.run_id not in besides
    ]
    fitting = [point for point in ready if point.moment and (not word.until or point.moment <= word.until)]
    if not fitting:
        raise _none(among, word, source=source, ready=ready, everything=points)
    volumes = sorted({point.volume for point in fitting})
    if len(volumes) > 1:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_POINT_AMBIGUOUS,
            f"There are points of {len(volumes)} volumes: {_list(volumes)}. Say which with --source NAMESPACE/PVC.",
            problems=tuple(volumes[:_NAMED]),
        )
    return max(fitting, key=lambda point: (point.moment, point.place, point.run_id))


def demand_usable(point: Point) -> None:
    """Raise Failure, of reason `PointUnusable`, when the files of a point cannot be had."""
    if point.restorable:
        return
    title = f"The run {point.run_id}" + (f" ({point.moment})" if point.moment else "")
    advice = {
        SUPERSEDED: "A mirror has its last complete run only: ask for `latest`. Timestamped copies (addTimestampPrefix) keep each run.",
        INCOMPLETE: f"Ask for another one; {_WAY_OUT}.",
        NEWER_FORMAT: "Use a newer datamover.",
    }.get(point.state, f"Its files may be whole: they lie at <root>/{point.folder}. {_WAY_OUT}.")
    raise Failure(
        transfer.NOT_FOUND,
        transfer.REASON_POINT_UNUSABLE,
        f"{title} is {point.state}: {point.why}. {advice}",
    )


def _named(points: Sequence[Point], among: Sequence[Point], name: str, *, source: str) -> Point:
    found = [point for point in among if name in {point.run_id, point.moment, point.folder}]
    if len(found) > 1:
        by_id = [point for point in found if point.run_id == name]
        by_folder = [point for point in found if point.folder == name]
        usable = [point for point in found if point.restorable]
        narrowed = next((each for each in (by_id, by_folder, usable) if len(each) == 1), None)
        if narrowed is None:
            ids = [point.run_id for point in found]
            raise Failure(
                transfer.CONFIG,
                transfer.REASON_POINT_AMBIGUOUS,
                f"{len(found)} runs go by {name}: {_list(ids)}. Say one of these.",
                problems=tuple(ids[:_NAMED]),
            )
        found = narrowed
    if not found:
        others = [point for point in points if name in {point.run_id, point.moment, point.folder} and point.volume]
        of = f" It is of {others[0].volume}, not of {source}." if others and source else ""
        raise Failure(
            transfer.NOT_FOUND,
            transfer.REASON_POINT_NOT_FOUND,
            f"There is no point {printable(name)} here.{of} {_WAY_OUT}.",
        )
    demand_usable(found[0])
    return found[0]


def _none(
    among: Sequence[Point], word: Word, *, source: str, ready: Sequence[Point], everything: Sequence[Point]
) -> Failure:
    """Return why nothing fits."""
    reason = transfer.REASON_POINT_NOT_FOUND
    if not everything:
        told = "There is no backup of datamover's here. Look at the bucket's name and at --prefix."
    elif not among:
        volumes = sorted({point.volume for point in everything if point.volume})
        told = (
            f"There is no backup of {printable(source)} here"
            + (f"; there are such of {_list(volumes)}" if volumes else "")
            + "."
        )
    elif ready and word.until:
        oldest = min(point.moment for point in ready)
        told = f"No complete point is as old as {word.until}: the oldest is {oldest}."
    else:
        disturbed = [point for point in among if point.state == DISTURBED]
        if disturbed:
            reason = transfer.REASON_POINT_UNUSABLE
            told = (
                f"The last complete run of the mirror, {disturbed[0].run_id}, is disturbed: {disturbed[0].why}. Ask for it by its id, or with"
                " --disturbed: each file is compared with its manifest, and what is another one by now is told."
            )
        else:
            states = sorted({point.state for point in among})
            told = (
                f"None of the {len(among)} run(s) here is complete: they are {', '.join(states)}. {_WAY_OUT}, and why."
            )
    return Failure(transfer.NOT_FOUND, reason, told)


def _unusable_word(text: str, advice: str) -> Failure:
    word = outside.clean(printable(text), limit=outside.NAME_LIMIT)
    return Failure(transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION, f"'{word}' names no point: {advice}.")


def _list(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(word or "no volume in particular" for word in words[:_NAMED]) + more
