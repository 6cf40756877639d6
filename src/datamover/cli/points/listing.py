"""What `datamover points` and `datamover ls` print."""

import json
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datamover.agent.files import manifest
from datamover.agent.points.bucket import Bucket, Catalogue
from datamover.agent.points.catalogue import Point
from datamover.agent.points.tree import Leaf, Tree, no_such_path, read_tree
from datamover.agent.printing import readable
from datamover.api.amounts import size
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, perform
from datamover.cli.terminal import open_console, print_document, say
from kubekit.words.text import SHAPELESS

_TRICKS = re.compile(SHAPELESS)
_KINDS = {
    manifest.FILE: stat.S_IFREG,
    manifest.DIRECTORY: stat.S_IFDIR,
    manifest.TOP: stat.S_IFDIR,
    manifest.LINK: stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "character device": stat.S_IFCHR,
    "block device": stat.S_IFBLK,
}


def list_points(place: Place, *, limit: int, machine: bool) -> Exit:
    """Print the points of a bucket."""

    def work(bucket: Bucket) -> Exit:
        found = bucket.list_points(limit=limit, source=place.source)
        if machine:
            document: dict[str, Any] = {
                "exitCode": Exit.DONE,
                "root": found.root,
                "points": [point_to_json(point) for point in found.points],
                "more": found.more,
            }
            print_document(msgspec.json.format(msgspec.json.encode(document), indent=2))
        else:
            _print_points(open_console(), found, place)
        return Exit.DONE

    return perform("points", place, work, machine=machine)


def point_to_json(point: Point) -> dict[str, Any]:
    """Return a point as JSON has it; documented in docs/cli.md."""
    return {
        "point": point.name,
        "run": point.run_id,
        "state": point.state,
        "why": point.why,
        "kind": point.kind,
        "folder": point.folder,
        "moment": point.moment,
        "source": {"cluster": point.source.cluster, "namespace": point.source.namespace, "pvc": point.source.pvc}
        if point.source is not None
        else None,
        "object": point.object,
        "files": point.files,
        "bytes": point.bytes,
        "verified": point.verified,
        "verification": point.verification,
        "finishedAt": point.finished_at,
    }


def _print_points(console: Console, found: Catalogue, place: Place) -> None:
    if not found.points:
        whose = f" of {place.source}" if place.source else ""
        say(console, f"{found.root}: no backup{whose} here")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("POINT", "STATE", "KIND", "VOLUME", "FILES", "SIZE", "RUN", "WHY"):
        table.add_column(heading, overflow="fold", justify="right" if heading in {"FILES", "SIZE"} else "left")
    for point in found.points:
        table.add_row(*map(Text, _cells(point)))
    console.print(table)
    if found.more:
        say(console, f"and {found.more} older runs; --limit 0 reads all")


def _cells(point: Point) -> tuple[str, ...]:
    return (
        point.name,
        point.state,
        point.kind,
        point.volume or "-",
        str(point.files) if point.files is not None else "-",
        size(point.bytes) if point.bytes is not None else "-",
        point.run_id,
        point.why,
    )


def list_paths(place: Place, word: str, path: bytes, *, deep: bool, disturbed: bool, machine: bool) -> Exit:
    """Print what is in a folder of a point, or one path."""

    def work(bucket: Bucket) -> Exit:
        point = bucket.choose(word, source=place.source, disturbed=disturbed)
        tree = read_tree(bucket, point)
        leaves = _leaves(tree, path, point, deep=deep)
        if machine:
            _print_json(point, leaves)
        else:
            for leaf in leaves:
                click.echo(_line(leaf, below=b"" if deep else path))
        return Exit.DONE

    return perform("ls", place, work, machine=machine)


def _leaves(tree: Tree, path: bytes, point: Point, *, deep: bool) -> Iterator[Leaf]:
    leaf = tree.find(path)
    if leaf is not None and leaf.entry.type not in {manifest.DIRECTORY, manifest.TOP}:
        return iter((leaf,))
    if leaf is None and not tree.has_children(path):
        raise no_such_path(path, point, tree)
    return tree.below(path, deep=deep)


def _line(leaf: Leaf, *, below: bytes) -> str:
    entry = leaf.entry
    name = leaf.path.removeprefix(below + b"/") if below else leaf.path
    target = entry.target_bytes
    arrow = f" -> {readable(target)}" if entry.type == manifest.LINK else ""
    mode = stat.filemode(_KINDS.get(entry.type, 0) | entry.mode)
    return f"{mode} {f'{entry.uid}:{entry.gid}':>11} {entry.size:>14} {tell_time(entry.mtime)} {readable(name)}{arrow}"


def tell_time(nanoseconds: int) -> str:
    """Return a moment in UTC, to the second; a year that no clock of ours knows as the number that it is."""
    try:
        return f"{datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds}ns"


def leaf_to_json(leaf: Leaf) -> dict[str, Any]:
    """Return a path as its line in the manifest has it, with the MD5 of its object."""
    found: dict[str, Any] = msgspec.to_builtins(leaf.entry)
    if leaf.md5 is not None:
        found["md5"] = leaf.md5.hex()
    return found


def encode_line(document: dict[str, Any]) -> bytes:
    """Return JSON on one line; what could play tricks on a terminal comes escaped, as JSON can."""
    text = msgspec.json.encode(document).decode()
    return _TRICKS.sub(lambda found: json.dumps(found[0])[1:-1], text).encode()


def _print_json(point: Point, leaves: Iterator[Leaf]) -> None:
    """Print one document, path by path: there may be millions."""
    head = msgspec.json.encode({"exitCode": Exit.DONE, "point": point_to_json(point)})
    click.echo(head[:-1] + b',"paths":[', nl=False)
    between = b"\n"
    for leaf in leaves:
        click.echo(between + encode_line(leaf_to_json(leaf)), nl=False)
        between = b",\n"
    click.echo(b"\n]}")
