"""Where the data of a qcow2 image end, as its own tables say. Blocking.

What lies behind the end of an image reads as zeros for `qemu-img`, which converts an image that was cut off without a word. So the tables are read
here first. They are somebody else's: each is read once for each part of the disk that it stands for, so their number is bounded by the disk's size.

Source: docs/interop/qcow2 of QEMU.
"""

import os
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from typing import Final

from datamover.agent.importer import refusals

_HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQ")
_EXTENDED: Final = 16
"""Entries have 128 bits: each part (subcluster) of a cluster is there or not."""
_PARTS: Final = 32
_PLACE: Final = 0x00FF_FFFF_FFFF_FE00
_PACKED: Final = 1 << 62
_ZEROS: Final = 1
_SECTOR: Final = 512


def demand_whole(path: str, *, alive: Callable[[], None]) -> None:
    """See that an image, whose header was found good, has all that its tables name. `alive` is called for each table. Raises Failure, and OSError of the image."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.fstat(descriptor).st_size
        for end in _ends(descriptor, alive):
            if end > there:
                raise refusals.damaged(
                    f"it is a qcow2 of {there} bytes that names data up to byte {end}: it is cut off"
                )
    finally:
        os.close(descriptor)


def _ends(descriptor: int, alive: Callable[[], None]) -> Iterator[int]:
    """Yield how far the image must reach, for each table and each table's farthest cluster."""
    head = os.pread(descriptor, _HEADER.size + 8, 0)
    _, version, _, _, bits, size, _, _, first, *_ = _HEADER.unpack_from(head)
    extended = version > 2 and bool(struct.unpack_from(">Q", head, _HEADER.size)[0] & _EXTENDED)
    cluster = 1 << bits
    entries = cluster // (16 if extended else 8)
    tables = -(-size // (cluster * entries))
    yield first + 8 * tables
    for begin in range(0, tables, entries):
        for number, entry in enumerate(_read(descriptor, first + 8 * begin, min(entries, tables - begin)), begin):
            alive()
            place = entry & _PLACE
            if not place:
                continue
            yield place + cluster
            table = _read(descriptor, place, cluster // 8)
            guest = size - number * entries * cluster
            yield _reach_extended(table, bits, guest) if extended else _reach(table, bits, guest)


def _reach(table: "array[int]", bits: int, left: int) -> int:
    """Return where the farthest cluster of a table ends; `left` bytes of the disk begin with its first one."""
    cluster, farthest = 1 << bits, 0
    for number, entry in enumerate(table):
        if not entry:
            continue
        if entry & _PACKED:
            end = _reach_packed(entry, bits)
        elif entry & _ZEROS or not entry & _PLACE:
            continue
        else:
            end = (entry & _PLACE) + min(cluster, left - number * cluster)
        farthest = max(farthest, end)
    return farthest


def _reach_extended(table: "array[int]", bits: int, left: int) -> int:
    cluster, farthest = 1 << bits, 0
    for number, (entry, parts) in enumerate(zip(table[::2], table[1::2], strict=True)):
        if entry & _PACKED:
            end = _reach_packed(entry, bits)
        elif entry & _PLACE and (has := parts & 0xFFFF_FFFF):
            end = (entry & _PLACE) + min(cluster // _PARTS * has.bit_length(), left - number * cluster)
        else:
            continue
        farthest = max(farthest, end)
    return farthest


def _reach_packed(entry: int, bits: int) -> int:
    """Return where a packed cluster ends: with its last sector, to which QEMU fills every image up."""
    width = 62 - (bits - 8)
    place, more = entry & ((1 << width) - 1), (entry & (_PACKED - 1)) >> width
    return place // _SECTOR * _SECTOR + (more + 1) * _SECTOR


def _read(descriptor: int, place: int, count: int) -> "array[int]":
    """Return so many numbers; fewer at the end of the image."""
    found = array("Q")
    raw = os.pread(descriptor, 8 * count, place) if place <= sys.maxsize - 8 * count else b""
    found.frombytes(raw[: len(raw) // 8 * 8])
    if sys.byteorder == "little":
        found.byteswap()
    return found
