"""What a stream of bytes is, by its first ones and never by its name. Pure."""

import re
import struct
from typing import Final

from datamover.api import outside

HEAD: Final = 4096
"""So many bytes tell."""

EMPTY: Final = "empty"
PAGE: Final = "a web page"
TEXT: Final = "a text"
RAW: Final = "raw"
GZIP: Final = "gz"
XZ: Final = "xz"
QCOW2: Final = "qcow2"
TAR: Final = "tar"
OTHERS: Final = "other"

NO_IMAGES: Final = frozenset({EMPTY, PAGE, TEXT})
PACKED: Final = frozenset({GZIP, XZ})

_MAGICS: Final = (
    (0, b"\x1f\x8b\x08", GZIP),
    (0, b"\xfd7zXZ\0", XZ),
    (0, b"QFI\xfb", QCOW2),
    (257, b"ustar", TAR),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"BZh", "bzip2"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"\x5d\0\0", "lzma"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"conectix", "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"QED\0", "qed"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"\x3a\xff\x26\xed", "android sparse"),
    (0, b"MSWIM\0\0\0", "wim"),
)
"""Place, bytes, format. A raw disk begins with code of a boot sector or a file system, none of which looks like these."""
_TEXT: Final = re.compile(rb"[\t\n\r\f -~\x80-\xff]+")
_MARKUP: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[!?A-Za-z]")
"""The beginning of a page, or of a server's error. A text that is shorter than `HEAD` is one of a server's as well: no disk is as short."""
_BZIP2_BLOCKS: Final = (b"1AY&SY", b"\x17rE8P\x90")
_ALL_OTHERS: Final = frozenset(name for _, _, name in _MAGICS) - {GZIP, XZ, QCOW2, TAR}


def detect(head: bytes) -> str:
    """Return the format of a stream that begins with these bytes (`HEAD` of them, or all there are)."""
    if not head:
        return EMPTY
    if outside.is_page(head):
        return PAGE
    if (_MARKUP.match(head) or len(head) < HEAD) and _is_text(head):
        return TEXT
    for place, magic, name in _MAGICS:
        if head.startswith(magic, place) and _confirm(name, head):
            return name
    return RAW


def _is_text(head: bytes) -> bool:
    if not _TEXT.fullmatch(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > HEAD - 4  # a letter that goes on in the next bytes
    return True


def is_other(found: str) -> bool:
    """Tell whether this is a format that is known, and not read."""
    return found in _ALL_OTHERS


def is_fixed_vhd(tail: bytes) -> bool:
    """Tell whether what looked like a raw disk ends like a VHD of fixed size: the disk itself, and 512 bytes that are no part of it."""
    return len(tail) == 512 and tail.startswith(b"conectix")


def _confirm(name: str, head: bytes) -> bool:
    """Look closer where few bytes are all of the magic."""
    if name == "bzip2":
        return head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS
    if name == "lzma":  # a raw disk may begin so: the size that is unknown, or below a pebibyte, tells
        return len(head) > 13 and (head[5:13] == b"\xff" * 8 or 0 < struct.unpack_from("<Q", head, 5)[0] < 1 << 50)
    return True
