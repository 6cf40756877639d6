"""The checksum that an object asks for, of the bytes as they are on the server. Pure."""

import hashlib
import hmac
import re
from typing import Final, Protocol

import msgspec

from datamover.api import importer

_FORM: Final = re.compile(r"([a-z0-9]+):([0-9A-Fa-f]+)")


class Digest(Protocol):
    """A digest of which more is to come."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...

    def hexdigest(self) -> str:
        """Return the digits of all that came."""
        ...


class Checksum(msgspec.Struct, frozen=True):
    """What the digest of the whole must be."""

    algorithm: str
    digits: str

    def begin(self) -> Digest:
        """Return a digest before its first byte."""
        return hashlib.new(self.algorithm, usedforsecurity=False)

    def fits(self, digest: Digest) -> bool:
        """Tell whether this is the digest of what was asked for."""
        return hmac.compare_digest(digest.hexdigest(), self.digits)


def parse(text: str) -> Checksum:
    """Return the checksum that a text such as `sha256:…` asks for. Raises ValueError with what is wrong, which goes on a sentence."""
    match = _FORM.fullmatch(text)
    if match is None or match[1] not in importer.ALGORITHMS:
        raise ValueError(
            f"it does not begin with one of {', '.join(importer.ALGORITHMS)} and a colon, followed by hexadecimal digits"
        )
    wanted = importer.ALGORITHMS[match[1]]
    if len(match[2]) != wanted:
        raise ValueError(f"it has {len(match[2])} digits; {match[1]} has {wanted}")
    return Checksum(match[1], match[2].lower())
