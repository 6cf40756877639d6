"""What was taken of an upload."""

import msgspec


class Taken(msgspec.Struct, frozen=True):
    """The upload that was taken: how many bytes came, and their checksum."""

    bytes: int
    checksum: str
