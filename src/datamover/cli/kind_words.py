"""Words for the kinds that can be cancelled, as kubectl takes them."""

from typing import Final

KINDS: Final = {
    "datamover": "datamover",
    "datamovers": "datamover",
    "dm": "datamover",
    "datamoverrestore": "datamoverrestore",
    "datamoverrestores": "datamoverrestore",
    "dmr": "datamoverrestore",
    "restore": "datamoverrestore",
}
"""Words for the kinds, as kubectl takes them, and what they mean."""


def meant_kind(word: str) -> str | None:
    """Return the kind that a word means, None where it means none."""
    return KINDS.get(word.lower())
