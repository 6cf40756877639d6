"""Names of files, in three spellings. Pure.

*raw*
    the bytes that the file system has.
*key*
    the engine's own spelling, in which it lists, logs and takes names: raw, but control characters as their symbols (U+2400
    and on), and letters that would be mistaken for such a symbol quoted with U+201B. It never holds a newline, so a list of
    keys is lines. Bytes that are not UTF-8 stay as they are.
*stored*
    the object's key at the server: raw, but bytes that are not UTF-8 written as U+201B and two hex digits.

The rules are those of the engine's published encoding (https://rclone.org/overview/#encoding) with `RCLONE_LOCAL_ENCODING=Raw`; a
test holds them against the real engine.
"""

import re

LINK_SUFFIX = b".rclonelink"
"""What the engine puts behind the name of a symbolic link; the object holds the target."""
KEY_LIMIT = 1024
"""Bytes of an object's key that every S3 server must take."""

_QUOTE = "\u201b"
_SLASH = "\uff0f"
_DOT = "\uff0e"
_DOTS = frozenset({_DOT.encode(), _DOT.encode() * 2})
_DELETE_SYMBOL = "\u2421"
_SYMBOLS = 0x2400
_CONTROLS = 0x20
_DELETE = 0x7F

# any byte sequence that one of the rules below is about; nearly every name has none and is its own key
_UNUSUAL = re.compile(rb"[\x00-\x1f\x7f]|\xe2\x80\x9b|\xe2\x90[\x80-\xa1]|\xef\xbc[\x8e\x8f]")
_QUOTED = re.compile(f"{_QUOTE}(.)|([{chr(_SYMBOLS)}-{chr(_SYMBOLS + 0x1F)}{_DELETE_SYMBOL}{_SLASH}])", re.DOTALL)
_ESCAPED = re.compile("[\udc80-\udcff]")
# what XML 1.0 cannot carry, or a parser turns into something else; listings come as XML
_UNLISTABLE = re.compile(rb"[\x01-\x08\x0b-\x1f]|\xef\xbf[\xbe\xbf]")

# parts that no path has between its slashes, and letters that no key has as they are
_MADE_BY_HAND = re.compile(rb"\A/?\Z|\A/|/\Z|//|(?:\A|/)\.\.?(?:/|\Z)|[\x00-\x1f\x7f]")

_GLOB = re.compile(rb"[\\*?\[\]{}]")


def key_of(raw: bytes) -> bytes:
    """Return the key of a raw path (components separated by `/`)."""
    if not _UNUSUAL.search(raw):
        return raw
    return b"/".join(_component_key(component) for component in raw.split(b"/"))


def _component_key(raw: bytes) -> bytes:
    name = raw.decode("utf-8", "surrogateescape")
    if name in {_DOT, _DOT * 2}:
        return "".join(_QUOTE + letter for letter in name).encode()
    return "".join(_letter_key(letter) for letter in name).encode("utf-8", "surrogateescape")


def _letter_key(letter: str) -> str:
    code = ord(letter)
    if code < _CONTROLS:
        return chr(_SYMBOLS + code)
    if code == _DELETE:
        return _DELETE_SYMBOL
    if _SYMBOLS <= code < _SYMBOLS + _CONTROLS or letter in {_QUOTE, _SLASH, _DELETE_SYMBOL}:
        return _QUOTE + letter
    return letter


def raw_of(key: bytes) -> bytes:
    """Return the raw path of a key: the inverse of `key_of`."""
    if not _UNUSUAL.search(key):
        return key
    return b"/".join(_component_raw(component) for component in key.split(b"/"))


def is_canonical(key: bytes) -> bool:
    """Tell whether a file's path can be what becomes this key.

    Others are made by hand or by other programs: `/x`, `a//b`, `x/`, a part that is a dot. The engine takes some of them for another
    key when it is asked to delete them (`/x` for `x`), so none may be on a list of its (law L3).
    """
    if _MADE_BY_HAND.search(key):
        return False
    return not _UNUSUAL.search(key) or (b"\0" not in (raw := raw_of(key)) and key_of(raw) == key)


def is_misspelt(raw: bytes) -> bool:
    """Tell whether a link of this path would be listed under another name, once it is at the store: one that is called `\uff0e` or `\uff0e\uff0e`,
    which the engine quotes where that is all of a name, and not before `.rclonelink`.
    """
    return raw.rpartition(b"/")[2] in _DOTS


def is_quoted(key: bytes) -> bool:
    """Tell whether a key may be the engine's spelling of several stored ones: it quotes what other programs write plainly, or otherwise."""
    return _QUOTE.encode() in key or _ESCAPED.search(key.decode("utf-8", "surrogateescape")) is not None


def rule_for(key: bytes) -> bytes:
    """Return the engine's filter pattern for this key alone, counted from the root."""
    # a final slash would stand for a whole folder
    return b"/" + _GLOB.sub(rb"\\\g<0>", key.removesuffix(b"/")) + (b"[/]" if key.endswith(b"/") else b"")


def rule_below(raw: bytes) -> bytes:
    """Return the pattern for everything below this folder. A byte that is not UTF-8, which no pattern may hold, is any letter."""
    rule = rule_for(key_of(raw)).decode("utf-8", "surrogateescape")
    return _ESCAPED.sub("?", rule).encode() + b"/**"


def _component_raw(key: bytes) -> bytes:
    name = key.decode("utf-8", "surrogateescape")
    if name in {_QUOTE + _DOT, (_QUOTE + _DOT) * 2}:
        return name.replace(_QUOTE, "").encode()
    return _QUOTED.sub(_unquoted, name).encode("utf-8", "surrogateescape")


def _unquoted(match: re.Match[str]) -> str:
    quoted, symbol = match[1], match[2]
    if quoted is not None:
        code = ord(quoted)
        special = _SYMBOLS <= code < _SYMBOLS + _CONTROLS or quoted in {_QUOTE, _SLASH, _DELETE_SYMBOL}
        return quoted if special else _QUOTE + quoted
    if symbol == _SLASH:
        return "/"  # no file has one; only a key made by hand
    return chr(_DELETE) if symbol == _DELETE_SYMBOL else chr(ord(symbol) - _SYMBOLS)


def logged(key: bytes) -> bytes:
    """Return a key as the engine's JSON log spells it: each byte that is not UTF-8 as U+FFFD, so two keys may look alike."""
    if key.isascii():
        return key
    return _ESCAPED.sub("\ufffd", key.decode("utf-8", "surrogateescape")).encode()


def stored_size(raw: bytes) -> int:
    """Return the bytes that a raw path takes in an object's key at the server."""
    if raw.isascii():
        return len(raw)
    size = 0
    for component in raw.split(b"/"):
        name = component.decode("utf-8", "surrogateescape")
        if name in {_DOT, _DOT * 2}:
            size += len(component) + len(name) * len(_QUOTE.encode())
            continue
        for letter in name:
            code = ord(letter)
            if 0xDC80 <= code <= 0xDCFF:  # one byte that is not UTF-8: the quote and two hex digits
                size += 5
            elif letter in {_QUOTE, _SLASH, chr(_SYMBOLS)}:
                size += 6
            else:
                size += len(letter.encode())
    return size + raw.count(b"/")


def listable(raw: bytes) -> bool:
    """Tell whether a server that does not encode keys in its listings can list this name."""
    return not _UNLISTABLE.search(raw)
