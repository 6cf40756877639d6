"""Paths of this machine as text of an API object, which is UTF-8: a path is bytes, and the locale says what they look like.

A path that is UTF-8 is itself, in every locale. Any other is `bytes:` and its bytes, percent-encoded; absolute paths begin otherwise.
"""

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

_ESCAPED: Final = "bytes:"


def path_to_text(path: Path) -> str:
    """Return the text of an absolute path."""
    raw = os.fsencode(path)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return _ESCAPED + quote(raw)


def path_from_text(text: str) -> str:
    """Return the path as Python names it here and now; what was never a text of ours stays as it is."""
    raw = (
        unquote_to_bytes(text.removeprefix(_ESCAPED))
        if text.startswith(_ESCAPED)
        else text.encode("utf-8", "surrogatepass")
    )
    return os.fsdecode(raw)
