"""What `datamover diff` prints."""

import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from datamover.agent.environment import is_timestamp
from datamover.agent.points import difference
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.points.choice import AS_OF, LATEST
from datamover.agent.points.difference import Change, Sum
from datamover.agent.points.tree import Leaf, Tree, read_tree
from datamover.agent.printing import readable
from datamover.cli.points.listing import encode_line, leaf_to_json, point_to_json
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, perform, tell_notes
from datamover.cli.terminal import warn

_SIGNS = {difference.NEW: "+", difference.GONE: "-", difference.CHANGED: "~"}


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
        with _other(bucket, place, other, disturbed=disturbed) as (after, sums, name):
            tell_notes(bucket)
            changes = difference.compare(tree, after, sum_after=sums, attributes=attributes)
            count = _print_json(before, name, changes) if machine else _print(changes)
        return Exit.DIFFERENT if count else Exit.DONE

    return perform("diff", place, work, machine=machine)


@contextmanager
def _other(bucket: Bucket, place: Place, other: str, *, disturbed: bool) -> Generator[tuple[Tree, Sum, dict[str, Any]]]:
    if not names_directory(other):
        point = bucket.choose(other, source=place.source, disturbed=disturbed)
        yield read_tree(bucket, point), difference.recorded, point_to_json(point)
        return
    tree = Tree(f"{bucket.scratch}/tree-of-directory")
    tally = difference.read_directory(other, tree)
    if tally.unreadable:
        warn(f"note: {tally.unreadable} paths cannot be read here, such as {', '.join(tally.unreadable_names)}")
    with difference.file_sums(other) as sums:
        yield tree, sums, {"directory": readable(os.fsencode(other))}


def _print(changes: Iterator[Change]) -> int:
    """Print a line for each path; return how many."""
    counts: Counter[str] = Counter()
    for change in changes:
        counts[change.kind] += 1
        what = f"  ({', '.join(change.what)})" if change.what else ""
        click.echo(f"{_SIGNS[change.kind]} {readable(change.path)}{what}")
    total = counts.total()
    if total:
        warn(", ".join(f"{counts[kind]} {kind}" for kind in _SIGNS))
    return total


def _print_json(before: Point, after: dict[str, Any], changes: Iterator[Change]) -> int:
    """Print one document, path by path; return how many. The exit code comes last, when it is known."""
    head = msgspec.json.encode({"before": point_to_json(before), "after": after})
    click.echo(head[:-1] + b',"changes":[', nl=False)
    count = 0
    for change in changes:
        document = {
            "change": change.kind,
            "what": change.what,
            "before": _side(change.before),
            "after": _side(change.after),
        }
        click.echo((b",\n" if count else b"\n") + encode_line(document), nl=False)
        count += 1
    click.echo(f'\n],"exitCode":{int(Exit.DIFFERENT if count else Exit.DONE)}}}')
    return count


def _side(leaf: Leaf | None) -> dict[str, Any] | None:
    return leaf_to_json(leaf) if leaf is not None else None
