"""What a controller tells people about an object, to be recorded as an Event of Kubernetes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """The type (Normal or Warning), reason and message of an Event."""

    type: str
    reason: str
    message: str
