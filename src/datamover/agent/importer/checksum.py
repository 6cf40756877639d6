"""The checksum that an object asks for, of the bytes as they are on the server. Pure."""

import hashlib
import hmac
from typing import Protocol

import msgspec

from datamover.api import importer


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
    return Checksum(*importer.split_checksum(text))
