"""Reading the object of one file: as a stream, held against what the manifest says of it.

Guarantees: no more bytes are given on than the file had; what came is compared in size, and in MD5 where the manifest has one.
"""

import hashlib
from collections.abc import Callable

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.points.tree import Leaf
from datamover.agent.printing import readable
from datamover.api import transfer


class Proof(msgspec.Struct, frozen=True):
    """What was compared: `bytes` came, as many as the file had; `summed` tells whether their MD5 was compared as well."""

    bytes: int
    summed: bool


def files_place(bucket: Bucket, point: Point) -> str:
    """Return the engine's name of the folder where a point's files are."""
    return bucket.store.remote(f"{point.folder}/" if point.folder else "")


def stream(bucket: Bucket, point: Point, leaf: Leaf, *, write: Callable[[bytes], object]) -> Proof:
    """Give the bytes of a file to `write`, piece by piece. Raises Failure of reason `VerificationFailed` when they are not the file's; what was
    given on until then is not to be used. What `write` raises goes on.
    """
    listed = bucket.list_keys([leaf.entry.key])
    found = hashlib.md5(usedforsecurity=False)
    size = 0
    excess = False
    child = bucket.engine.start(
        ["cat", "--no-traverse", "--files-from-raw", listed, files_place(bucket, point)],
        environment=bucket.options.records,
        on_line=bucket.show,
    )
    try:
        for piece in child.pieces():
            taken = piece[: leaf.entry.size - size]
            found.update(taken)
            size += len(taken)
            write(taken)
            if len(taken) < len(piece):
                excess = True
                break
        code = 0 if excess else child.wait()
        if code:
            raise bucket.store.explain(child.errors, code, total=1)
    finally:
        child.close()
    name = readable(leaf.path)
    if excess:
        raise _another(point, name, f"its object is longer than the {leaf.entry.size} bytes of the file")
    if size != leaf.entry.size:
        missing = "there is no such object any more" if not size else f"{size} of {leaf.entry.size} bytes came"
        raise _another(point, name, missing)
    if leaf.md5 is not None and found.digest() != leaf.md5:
        raise _another(point, name, "its bytes have another checksum than those of the file")
    return Proof(bytes=size, summed=leaf.md5 is not None)


def _another(point: Point, name: str, why: str) -> Failure:
    return Failure(
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        f"What lies there is not the file '{name}' of the point {point.name}: {why}. Somebody replaced or deleted it since, or it is damaged. Ask for"
        " another point, or restore the object from an older version, if the bucket keeps them.",
        problems=(name,),
    )
