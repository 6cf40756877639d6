"""Modes, owners and POSIX ACLs as text: what `getfacl -R` writes and `setfacl --restore` reads. Pure but for the names of users.

The file is another project's format and comes back from a store that others may write to, so nothing in it is believed: a block that
cannot be read is counted, and its path is handed on as it is, for `files.handles` to refuse.

Written are numbers, not names: a name may be another user elsewhere. Names are understood where this system knows them. Paths begin with
that of the volume without its slash (`data/…`), as getfacl writes them for a path that it was given whole; paths from the volume's top
(`./…`) are understood as well, and which of the two a file has, its first path tells. A folder's path ends with a slash, which setfacl
takes as well: a store of objects keeps no empty folder, and so it can be made again.
"""

import functools
import re
import stat
import struct
from collections.abc import Callable, Iterable, Iterator

import msgspec

from datamover.agent.files import manifest

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

_VERSION = 2
_NOBODY = 0xFFFFFFFF
_USER_OBJECT, _USER, _GROUP_OBJECT, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NAMES = {_USER_OBJECT: "user", _USER: "user", _GROUP_OBJECT: "group", _GROUP: "group", _MASK: "mask", _OTHER: "other"}
_TAGS = {
    "user": (_USER_OBJECT, _USER),
    "group": (_GROUP_OBJECT, _GROUP),
    "mask": (_MASK, _MASK),
    "other": (_OTHER, _OTHER),
}
_ENTRY = re.compile(r"(default:|d:)?(user|group|mask|other|u|g|m|o):([^:]*):([r-])([w-])([x-])\s*")
_SHORT = {"u": "user", "g": "group", "m": "mask", "o": "other"}
_FLAGS = ((stat.S_ISUID, "s"), (stat.S_ISGID, "s"), (stat.S_ISVTX, "t"))
_OCTAL = re.compile(rb"\\([0-7]{3})")
_LONGEST_ID = 10
_LONGEST_BLOCK = 1 << 14
"""Lines of a block: an attribute has at most 64 KiB, so an ACL 8,192 entries, and a folder has two of them."""

Rights = list[tuple[int, int, int]]
"""Tag, rights and id of each entry of an ACL."""


class AccessList(msgspec.Struct, frozen=True):
    """What one block says. `path` is below the volume's top, empty for the top itself; `is_folder`: it is one for sure. Owners are None where
    nobody here knows the name.
    """

    path: bytes
    is_folder: bool
    uid: int | None
    gid: int | None
    mode: int
    access: bytes | None
    default: bytes | None


def write(entry: manifest.Entry, *, base: bytes) -> bytes:
    """Return the block of a file or folder below `base`, the volume's path without its slash."""
    raw = entry.raw_path
    lines = [
        b"# file: " + _escape(base + b"/" + raw if raw else base) + (b"/" if entry.type == manifest.DIRECTORY else b""),
        b"# owner: %d" % entry.uid,
        b"# group: %d" % entry.gid,
    ]
    if entry.mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        lines.append(b"# flags: " + "".join(name if entry.mode & bit else "-" for bit, name in _FLAGS).encode())
    given = entry.xattrs or {}
    rights = _unpack(given[ACCESS]) if ACCESS in given else None
    lines.append(_lines(rights) if rights else _lines_of_mode(entry.mode))
    if DEFAULT in given:
        lines += [b"default:" + _line(*right) for right in _unpack(given[DEFAULT])]
    return b"\n".join(lines) + b"\n\n"


class Reader:
    """Reads blocks. `damaged` counts those that cannot be understood. `user` and `group` return the number of a name, None for an unknown one."""

    def __init__(self, *, base: bytes, user: Callable[[str], int | None], group: Callable[[str], int | None]) -> None:
        self.damaged = 0
        self._base = base
        self._user = user
        self._group = group
        self._below: bool | None = None

    def read(self, lines: Iterable[bytes]) -> Iterator[AccessList]:
        """Yield what the lines say."""
        block: list[bytes] = []
        for line in (*lines, b"\n") if isinstance(lines, list) else _with_end(lines):
            text = line.rstrip(b"\r\n")
            if text.strip():
                if len(block) <= _LONGEST_BLOCK:  # a file of one block without end would take many times its size
                    block.append(text)
            elif block:
                try:
                    yield self._block(block)
                except ValueError:
                    self.damaged += 1
                block = []

    def _block(self, lines: list[bytes]) -> AccessList:
        if len(lines) > _LONGEST_BLOCK:
            raise ValueError("no file system has an ACL of that length")
        path: bytes | None = None
        owner = group = flags = ""
        access: Rights = []
        default: Rights = []
        for line in lines:
            if line.startswith(b"# file: "):
                path = self._path(line.removeprefix(b"# file: "))
            elif line.startswith(b"# owner: "):
                owner = _text(line, b"# owner: ")
            elif line.startswith(b"# group: "):
                group = _text(line, b"# group: ")
            elif line.startswith(b"# flags: "):
                flags = _text(line, b"# flags: ")
            elif not line.startswith(b"#"):
                is_default, right = self._right(line.partition(b"#")[0].decode())
                (default if is_default else access).append(right)
        if path is None:
            raise ValueError("no path")
        return AccessList(
            path=path.rstrip(b"/"),
            is_folder=path.endswith(b"/"),
            uid=_number(owner, self._user),
            gid=_number(group, self._group),
            mode=_mode(access) | _special_bits(flags),
            access=_pack(access) if _is_extended(access) else None,
            default=_pack(default) if default else None,
        )

    def _path(self, written: bytes) -> bytes:
        path = _OCTAL.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), written).lstrip(b"/")
        while path.startswith(b"./"):
            path = path[2:].lstrip(b"/")
        if self._below is None:
            self._below = path.rstrip(b"/") == self._base
        if self._below:
            if path != self._base and not path.startswith(self._base + b"/"):
                raise ValueError("not below the volume")
            path = path[len(self._base) + 1 :]
        return b"" if path in {b".", b"./"} else path

    def _right(self, text: str) -> tuple[bool, tuple[int, int, int]]:
        match = _ENTRY.fullmatch(text.strip())
        if match is None:
            raise ValueError("no entry")
        kind = _SHORT.get(match[2], match[2])
        whose = match[3]
        plain, named = _TAGS[kind]
        rights = sum(bit for bit, letter in zip((4, 2, 1), match.groups()[3:], strict=True) if letter != "-")
        if not whose:
            return bool(match[1]), (plain, rights, _NOBODY)
        number = _number(whose, self._user if kind == "user" else self._group)
        if number is None or plain == named:
            raise ValueError("unknown name")
        return bool(match[1]), (named, rights, number)


def _with_end(lines: Iterable[bytes]) -> Iterator[bytes]:
    yield from lines
    yield b"\n"


def _text(line: bytes, start: bytes) -> str:
    return line.removeprefix(start).decode().strip()


def _number(text: str, find: Callable[[str], int | None]) -> int | None:
    if text.isascii() and text.isdigit():
        number = int(text[: _LONGEST_ID + 1])
        if number >= _NOBODY:
            raise ValueError("no user has this number")
        return number
    return find(text) if text else None


def _escape(path: bytes) -> bytes:
    return path.replace(b"\\", b"\\134").replace(b"\n", b"\\012").replace(b"\r", b"\\015")


def _line(tag: int, rights: int, number: int) -> bytes:
    whose = "" if number == _NOBODY else str(number)
    letters = "".join(letter if rights & bit else "-" for bit, letter in ((4, "r"), (2, "w"), (1, "x")))
    return f"{_NAMES[tag]}:{whose}:{letters}".encode()


def _lines(rights: Rights) -> bytes:
    return b"\n".join(_line(*right) for right in rights)


@functools.cache  # there are 4,096, and millions of files have them
def _lines_of_mode(mode: int) -> bytes:
    return _lines(
        [
            (_USER_OBJECT, mode >> 6 & 7, _NOBODY),
            (_GROUP_OBJECT, mode >> 3 & 7, _NOBODY),
            (_OTHER, mode & 7, _NOBODY),
        ]
    )


def _mode(rights: Rights) -> int:
    """Return the mode that belongs to an ACL: the mask stands for the group. Raises ValueError where one of the three is missing."""
    found = {tag: value for tag, value, _ in rights}
    if not {_USER_OBJECT, _GROUP_OBJECT, _OTHER} <= found.keys():
        raise ValueError("user, group or other is missing")
    return found[_USER_OBJECT] << 6 | found.get(_MASK, found[_GROUP_OBJECT]) << 3 | found[_OTHER]


def _special_bits(flags: str) -> int:
    if not flags:
        return 0
    if len(flags) != len(_FLAGS) or any(
        letter not in ("-", name) for letter, (_, name) in zip(flags, _FLAGS, strict=True)
    ):
        raise ValueError("no flags")
    return sum(bit for letter, (bit, _) in zip(flags, _FLAGS, strict=True) if letter != "-")


def _is_extended(rights: Rights) -> bool:
    return any(tag in (_USER, _GROUP, _MASK) for tag, _, _ in rights)


def _unpack(value: bytes) -> Rights:
    """Return the entries of an attribute; none where there is none, or of another version."""
    if len(value) < 4 or struct.unpack_from("<I", value)[0] != _VERSION:
        return []
    whole = len(value) - (len(value) - 4) % 8
    return [
        (tag, rights, number) for tag, rights, number in struct.iter_unpack("<HHI", value[4:whole]) if tag in _NAMES
    ]


def _pack(rights: Rights) -> bytes:
    return struct.pack("<I", _VERSION) + b"".join(
        struct.pack("<HHI", *each) for each in sorted(rights, key=lambda each: (each[0], each[2]))
    )
