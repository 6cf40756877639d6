"""What `datamover cat` and `datamover get` do."""

import os
import sys
from typing import Any

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.files import manifest
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.points.objects import stream
from datamover.agent.points.tree import Leaf, no_such_path, read_tree
from datamover.agent.printing import printable, readable
from datamover.agent.restore.taking import Taken, take
from datamover.api import transfer
from datamover.api.amounts import count, size
from datamover.cli.points.listing import point_to_json
from datamover.cli.points.place import Place
from datamover.cli.points.work import Exit, perform
from datamover.cli.terminal import open_console, print_document, say, warn


def print_file(place: Place, word: str, path: bytes, *, disturbed: bool) -> Exit:
    """Write the bytes of a file to standard output."""

    def work(bucket: Bucket) -> Exit:
        point = bucket.choose(word, source=place.source, disturbed=disturbed)
        tree = read_tree(bucket, point)
        leaf = tree.find(path)
        if leaf is None and not tree.has_children(path):
            raise no_such_path(path, point, tree)
        _demand_file(leaf, path)
        assert leaf is not None
        sys.stdout.flush()
        descriptor = sys.stdout.fileno()
        try:
            proof = stream(bucket, point, leaf, write=lambda piece: _write(descriptor, piece))
        except BrokenPipeError:
            return Exit.DONE  # whoever reads has enough
        if not proof.summed and proof.bytes:
            warn("note: the manifest has no checksum of this file, so its size alone was compared")
        return Exit.DONE

    return perform("cat", place, work)


def _demand_file(leaf: Leaf | None, path: bytes) -> None:
    if leaf is not None and leaf.entry.type == manifest.FILE:
        return
    kind = leaf.entry.type if leaf is not None else manifest.DIRECTORY
    target = f" to '{printable(leaf.entry.target or '')}'" if leaf is not None and kind == manifest.LINK else ""
    raise Failure(
        transfer.NOT_FOUND,
        transfer.REASON_PATH_NOT_FOUND,
        f"'{readable(path) or '.'}' is no file, but a {'directory' if kind == manifest.TOP else kind}{target}. `datamover get` brings folders and links.",
    )


def _write(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def bring(
    place: Place, word: str, path: bytes, directory: str, *, disturbed: bool, overwrite: bool, machine: bool
) -> Exit:
    """Bring a file or folder of a point into a directory."""

    def work(bucket: Bucket) -> Exit:
        point = bucket.choose(word, source=place.source, disturbed=disturbed)
        tree = read_tree(bucket, point)
        taken = take(bucket, point, tree, path, directory, overwrite=overwrite)
        code = Exit.DIFFERENT if taken.lost.count or tree.refused else Exit.DONE
        _tell(point, taken, directory, code=code, machine=machine)
        return code

    return perform("get", place, work, machine=machine)


def _tell(point: Point, taken: Taken, directory: str, *, code: Exit, machine: bool) -> None:
    lost, unkept = list(taken.lost.lines()), list(taken.unkept.lines())
    if machine:
        document: dict[str, Any] = {
            "exitCode": code,
            "point": point_to_json(point),
            "directory": readable(os.fsencode(directory)),
            "files": taken.files,
            "links": taken.links,
            "folders": taken.folders,
            "bytes": taken.bytes,
            "checksums": taken.summed,
            "leftOut": lost,
            "notInTheBackup": unkept,
        }
        print_document(msgspec.json.format(msgspec.json.encode(document), indent=2))
        return
    console = open_console()
    say(
        console,
        f"{count(taken.files, 'file')}, {size(taken.bytes)}, {count(taken.links, 'link')} and {count(taken.folders, 'folder')} of {point.name} are in"
        f" {readable(os.fsencode(directory))}; checksums of {taken.summed} were compared, of the others the size",
    )
    for line in lost:
        warn(f"left out: {line}")
    for line in unkept:
        warn(f"not in the backup: {line}")
