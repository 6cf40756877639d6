"""Reading the environment of the container, and what any engine finds there: whose volume it is, the run's id, moments. Pure.

The variables and their meaning are those of the synchronization document; see `datamover.api.transfer`.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from datamover.api import outside, transfer
from datamover.api.outside import Unusable

MOVERS_ADVICE = "put it into the Secret that secretName points to, or into additionalEnv"
"""Where a variable goes that a DataMover's mover lacks."""

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Owner(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Identity of the mirrored volume: the source, not the DataMover object (law L3)."""

    cluster: str = ""
    namespace: str = ""
    pvc: str = ""

    def __str__(self) -> str:
        """Return the owner as people name it."""
        parts = [part for part in (self.namespace, self.pvc) if part]
        name = "/".join(parts) if parts else "no volume in particular"
        return f"{name} of cluster {self.cluster}" if self.cluster else name


class Reader:
    """Reads variables one by one and collects what is wrong in `problems`, so that the user sees all of it at once; `notices` are for people as well."""

    def __init__(self, environ: Mapping[str, str], *, advice: str = MOVERS_ADVICE) -> None:
        """`advice` says where to put what is missing."""
        self._environ = environ
        self._advice = advice
        self.problems: list[str] = []
        self.notices: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        """Return a text without white space at its ends; `default` when it is empty or not set."""
        value = self._environ.get(name, "")
        trimmed = value.strip()
        if trimmed != value:
            # `echo KEY | base64` leaves a newline in every other Secret; it is never meant
            self.notices.append(f"{name} has white space at its ends; it is ignored")
        return trimmed or default

    def word(self, name: str) -> str:
        """Return a text that goes into records, which are UTF-8."""
        value = self.text(name)
        if value != value.encode("utf-8", "replace").decode():
            self.problems.append(f"{name} is {value!r}; that is not UTF-8, so no record can hold it")
        return value

    def has(self, name: str) -> bool:
        """Tell whether a variable is set and not empty."""
        return bool(self._environ.get(name, "").strip())

    def required(self, name: str) -> str:
        """Return a text that must be there."""
        value = self.text(name)
        if not value:
            state = "is empty" if name in self._environ else "is not set"
            self.problems.append(f"{name} {state}; {self._advice}")
        return value

    def switch(self, name: str, *, default: bool = False) -> bool:
        """Return what `true` or `false` says; `default` when it is empty or not set."""
        value = self.text(name)
        if value in {"true", "false"}:
            return value == "true"
        if value:
            self.problems.append(f'{name} is {value!r}; write "true" or "false", in small letters and quoted')
        return default

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Return a number from `low` to `high`; `default` when it is empty or not set."""
        value = self.text(name)
        if not value:
            return default
        try:
            return outside.number(value, low=low, high=high)
        except Unusable:
            self.problems.append(f"{name} is {value!r}; write a number from {low:g} to {high:g}")
            return default


def lasts(path: str) -> bool:
    """Tell whether a path of the container is on a volume that stays when the Pod is gone, and is not the one that is moved: below /mnt, where those
    of moverVolumes are. Everything else goes with the Pod, whatever may be written there.
    """
    return os.path.normpath(f"/{path}").lstrip("/").startswith("mnt/")  # two slashes at the start stay two


def read_timestamp(text: str) -> datetime:
    """Return the moment that a timestamp folder names. Raises ValueError when there is no such moment."""
    # not strptime: it imports the locale and calendar modules, a tenth of the start-up budget
    date, clock = text[:10].split("-"), text[11:]
    return datetime(*map(int, (*date, clock[0:2], clock[2:4], clock[4:6])), tzinfo=UTC)


def write_timestamp(moment: datetime) -> str:
    """Return `YYYY-MM-DD-HHMMSS` of a moment in UTC."""
    return f"{moment:%Y-%m-%d-%H%M%S}"


def is_run_id(text: str) -> bool:
    """Tell whether a text can be the name of a run: letters, digits, `.`, `_` and `-`, at most 128."""
    return _RUN_ID.fullmatch(text) is not None


def is_timestamp(text: str) -> bool:
    """Tell whether a text is the name of a timestamp folder: `YYYY-MM-DD-HHMMSS` of a moment that there is."""
    if not transfer.TIMESTAMP_FORM.fullmatch(text):
        return False
    try:
        read_timestamp(text)
    except ValueError:
        return False
    return True
