"""What `datamover diff` prints."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypedDict

import click
import msgspec

from datamover.agent.environment import is_timestamp
from datamover.agent.points import difference
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.points.difference import Change, Compared, Sum
from datamover.agent.points.tree import Leaf, Tree, read_tree
from datamover.agent.printing import readable
from datamover.api.amounts import count
from datamover.api.points import AS_OF, LATEST
from datamover.cli.points.listing import encode_line, leaf_to_json, point_to_json
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, perform
from datamover.cli.terminal import warn

_DIFFERENCES = (difference.NEW, difference.GONE, difference.CHANGED)
_SIGNS = {difference.NEW: "+", difference.GONE: "-", difference.CHANGED: "~", difference.UNPROVED: "?"}
_EXITS = {
    difference.EQUAL: Exit.DONE,
    difference.DIFFERENT: Exit.DIFFERENT,
    difference.UNPROVED: Exit.UNPROVED,
}


def names_directory(text: str) -> bool:
    """Tell whether a directory is meant, and no point: it has a slash in it, or is one that is there and no word for a point."""
    if "/" in text or text in {".", ".."}:
        return True
    word = text == LATEST or text.startswith(AS_OF) or is_timestamp(text)
    return not word and os.path.isdir(text)  # noqa: PTH112 - an argument of any bytes


def show_difference(place: Place, word: str, other: str, *, disturbed: bool, attributes: bool, machine: bool) -> Exit:
    """Print what differs between a point and another one, or a directory."""

    def work(bucket: Bucket) -> Exit:
        before = bucket.choose(word, source=place.source, disturbed=disturbed)
        tree = read_tree(bucket, before)
        compared = Compared()
        with _other(bucket, place, other, disturbed=disturbed) as (after, how, name):
            changes = difference.compare(tree, after, compared=compared, attributes=attributes, **how)
            _print_json(before, name, changes, compared) if machine else _print(changes, compared)
        return _EXITS[compared.result]

    return perform("diff", place, work, machine=machine)


class _How(TypedDict, total=False):
    sum_after: Sum
    unkept: Callable[[Leaf], str]


@contextmanager
def _other(
    bucket: Bucket, place: Place, other: str, *, disturbed: bool
) -> Generator[tuple[Tree, _How, dict[str, Any]]]:
    if not names_directory(other):
        point = bucket.choose(other, source=place.source, disturbed=disturbed)
        yield read_tree(bucket, point), {}, point_to_json(point)
        return
    tree = Tree(f"{bucket.scratch}/tree-of-directory")
    difference.read_directory(other, tree)
    with difference.file_sums(other) as sums:
        how: _How = {"sum_after": sums, "unkept": difference.kept_by_restores}
        yield tree, how, {"directory": readable(os.fsencode(other))}


def _print(changes: Iterator[Change], compared: Compared) -> None:
    """Print a line for each path that differs or cannot be compared, and what that comes to."""
    counts: Counter[str] = Counter()
    for change in changes:
        counts[change.kind] += 1
        what = f"  ({', '.join(change.what)})" if change.what else ""
        click.echo(f"{_SIGNS[change.kind]} {readable(change.path)}{what}")
    if counts.total():
        warn(", ".join(f"{counts[kind]} {kind}" for kind in _SIGNS if counts[kind] or kind in _DIFFERENCES))
    for line in compared.skipped.lines():
        warn(f"not in both, and no difference: {line}")
    if compared.by_time:
        warn(
            f"note: of {count(compared.by_time, 'file')} only size and time were compared, and they are the same: there is no checksum of them"
        )
    if compared.result == difference.UNPROVED:
        warn("no difference is known, but not everything could be compared")


def _print_json(before: Point, after: dict[str, Any], changes: Iterator[Change], compared: Compared) -> None:
    """Print one document, path by path. What it comes to is last, when it is known."""
    head = msgspec.json.encode({"before": point_to_json(before), "after": after})
    click.echo(head[:-1] + b',"changes":[', nl=False)
    between = b"\n"
    for change in changes:
        document = {
            "change": change.kind,
            "what": change.what,
            "before": _side(change.before),
            "after": _side(change.after),
        }
        click.echo(between + encode_line(document), nl=False)
        between = b",\n"
    end = {
        "result": compared.result,
        "different": compared.different,
        "notCompared": compared.unproved,
        "comparedBySizeAndTime": compared.by_time,
        "skipped": compared.skipped.kinds(),
        "exitCode": _EXITS[compared.result],
    }
    click.echo(b"\n]," + encode_line(end)[1:])


def _side(leaf: Leaf | None) -> dict[str, Any] | None:
    return leaf_to_json(leaf) if leaf is not None else None
