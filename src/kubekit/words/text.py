"""Text from outside, made safe to show: without characters that move the cursor, hide text or reverse its direction. Pure."""

import re
from typing import Final

MESSAGE_LIMIT: Final = 1024
"""Characters of a sentence for people, in conditions and events."""

# control characters (C0, C1), formats without a glyph (soft hyphen, direction marks and overrides, zero-width space, word joiners,
# byte order mark, annotations, tags), line and paragraph separators, halves of surrogate pairs. The joiners U+200C and U+200D stay:
# some languages are written with them.
SHAPELESS: Final = (
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""A pattern of one such character."""
_UNCLEAN: Final = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+|" + SHAPELESS)


def clean(text: str, *, limit: int = MESSAGE_LIMIT) -> str:
    r"""Return text as a terminal, a log and a status can take it, of at most `limit` characters; `…` stands for what was cut.

    White space becomes a space; every other invisible character becomes its escape: ESC is `\x1b`, a mirrored `\u202e`.
    """
    if len(text) > limit:
        text = text[:limit] + "…"  # one more than fits, so that it is cut below
    if _UNCLEAN.search(text):
        text = _UNCLEAN.sub(_escape, text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escape(match: re.Match[str]) -> str:
    letter = match[0][0]
    code = ord(letter)
    if letter in "\t\n\v\f\r\x85\u2028\u2029":
        return " "  # for all of them in a row
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
