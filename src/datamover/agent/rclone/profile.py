"""Settings of the engine by the shape of the data. Pure. Only defaults: a user's `RCLONE_*` wins.

Measured against one server over 20 ms of round trip, interleaved with rclone's own defaults: many small files 8.8 times as fast, 400 mixed
files twice, large ones the same (no setting beat the default there, so theirs only bounds the memory).
"""

from collections.abc import Mapping

import msgspec

SMALL = "small"
MIXED = "mixed"
BIG = "big"

_MIB = 1 << 20


class Shape(msgspec.Struct, frozen=True):
    """What the source is like: number of objects, bytes, files of at least 64 MiB."""

    objects: int
    bytes: int
    large: int


def kind_of(shape: Shape) -> str:
    """Return `small`, `mixed` or `big` by the mean size, and by files so large that buffers count."""
    mean = shape.bytes / shape.objects if shape.objects else 0
    if mean >= 64 * _MIB:
        return BIG
    return MIXED if mean >= _MIB or shape.large > 4 else SMALL


COMMON = {
    "RCLONE_FAST_LIST": "true",
    "RCLONE_LINKS": "true",
    # content decides: the store's MD5 comes with the listing, while times of change cost a request for each object
    "RCLONE_CHECKSUM": "true",
    # a PUT carries Content-MD5, and the listing afterwards is compared with the walk; asking again for each object doubles the time
    "RCLONE_S3_NO_HEAD": "true",
    # names are bytes: two spellings of one accented letter are two files
    "RCLONE_NO_UNICODE_NORMALIZATION": "true",
    "RCLONE_LOCAL_ENCODING": "Raw",
}
"""What every profile has."""

_BY_KIND = {
    SMALL: {"RCLONE_TRANSFERS": "32", "RCLONE_CHECKERS": "32"},
    # fewer at once and no read-ahead: 16 times 16 MiB of buffer would not fit into a small Pod, and gained nothing
    MIXED: {"RCLONE_TRANSFERS": "16", "RCLONE_CHECKERS": "32", "RCLONE_BUFFER_SIZE": "0", "RCLONE_USE_MMAP": "true"},
    # each transfer holds four chunks of 5 MiB
    BIG: {"RCLONE_TRANSFERS": "8", "RCLONE_CHECKERS": "32"},
}


_EXCLUSIVE = {
    # the engine refuses two ways to treat links, and mixes two ways to compare
    "RCLONE_LINKS": ("RCLONE_COPY_LINKS", "RCLONE_SKIP_LINKS", "RCLONE_LOCAL_LINKS"),
    "RCLONE_CHECKSUM": (
        "RCLONE_SIZE_ONLY",
        "RCLONE_IGNORE_TIMES",
        "RCLONE_MODIFY_WINDOW",
    ),
}
"""Defaults that are not set beside a variable of the user's that decides the same."""


def defaults(shape: Shape, *, user: Mapping[str, str]) -> dict[str, str]:
    """Return the engine's default variables for this shape, without those that `user` decides by another variable."""
    chosen = COMMON | _BY_KIND[kind_of(shape)]
    return {
        name: value for name, value in chosen.items() if not any(other in user for other in _EXCLUSIVE.get(name, ()))
    }
