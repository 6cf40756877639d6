"""What a restore could not bring back: each kind once, with how many paths it concerns and the first of them. Pure.

Memory does not grow with the number of losses.
"""

import msgspec

from datamover.agent import printing
from datamover.agent.printing import quote_names

_EXAMPLES = 5

NOT_RESTORED = "everything, because nothing of that name was restored"
NO_PATH = "everything, because the name is no path below the directory"
THROUGH = "everything, because the path leads through something that is no folder"
NO_TARGET = "everything, because the manifest does not say where the link leads"
OTHER = "everything, because something else is there"
IN_THE_WAY = "everything, because a folder with something in it is there, and none is removed"
DIFFERENT = "the hard link, because the contents differ"
OWNER = "owner or group, which only root may give away"
MODE = "the mode, which became another one"
TIME = "the time, which became another one"
PRIVILEGED_BITS = "set-user-ID and set-group-ID bits (--privileges sets them)"
BITS_OF_OTHERS = (
    "set-user-ID and set-group-ID bits, which would give another one's rights, because owner or group did not come back"
)
PRIVILEGED_ATTRIBUTES = "attributes that begin with security. or trusted. (--privileges sets them)"
SOCKET = "what nobody can make, such as sockets; programs make them anew"
SPECIAL = "pipes and devices (--special makes them)"
DEVICE = "devices, which only root may make"


def because(what: str, error: Exception) -> str:
    """Return the kind of loss that an error means; `what` is lost.

    The words are the kernel's, never a manifest's, so there are not many kinds.
    """
    text = (error.strerror if isinstance(error, OSError) else None) or "the manifest says what no file can have"
    return f"{what}, because: {text}"


_EVERYTHING = "everything, "


def is_whole(kind: str) -> bool:
    """Tell whether a loss is that of a whole path, and not of something about it."""
    return kind.startswith(_EVERYTHING)


def is_of_directory(kind: str) -> bool:
    """Tell whether a path is lost for what is in the directory, or what its file system does, and not for what came."""
    return kind in {THROUGH, OTHER, IN_THE_WAY} or kind.startswith(f"{_EVERYTHING}because: ")


class Loss(msgspec.Struct, frozen=True):
    """One kind of loss: how many paths it concerns, and the first of them for people."""

    kind: str
    count: int
    examples: tuple[str, ...]


class Losses:
    """Losses by kind, in the order in which the kinds came."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, list[str]]] = {}

    @property
    def count(self) -> int:
        """How many losses there are; a path may have several."""
        return sum(count for count, _ in self._kinds.values())

    def add(self, kind: str, raw: bytes, detail: str = "") -> None:
        """Note a loss of the path `raw`, of which `detail` says more."""
        count, examples = self._kinds.get(kind, (0, []))
        if len(examples) < _EXAMPLES:
            examples.append(printing.readable(raw or b".") + (f" ({printing.printable(detail)})" if detail else ""))
        self._kinds[kind] = (count + 1, examples)

    def kinds(self) -> tuple[Loss, ...]:
        """Return each kind, in the order in which they came."""
        return tuple(Loss(kind, count, tuple(examples)) for kind, (count, examples) in self._kinds.items())

    def lines(self) -> list[str]:
        """Return a line for each kind."""
        return [
            f"{kind} ({count} path{'' if count == 1 else 's'}): {quote_names(examples, count)}"
            for kind, (count, examples) in self._kinds.items()
        ]
