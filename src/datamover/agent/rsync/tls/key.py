"""The key that both sides have. Nothing here is ever printed (law L8)."""

import os
import re

import msgspec

from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.redaction import Redactor
from datamover.api import transfer

_LIMIT = 1 << 14
_SHORTEST = 16
"""Bytes of a key below which stunnel takes none."""
_LINE = re.compile(r"(?P<identity>[^\s:]{1,127}):(?P<key>\S{16,1024})")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


class Key(msgspec.Struct, frozen=True):
    """Identities and their keys, line by line."""

    lines: tuple[str, ...]

    def redactor(self) -> Redactor:
        """Return what takes the key out of text."""
        return Redactor({f"KEY_{number}": line.partition(":")[2] for number, line in enumerate(self.lines)})

    def write(self, path: str) -> None:
        """Write the file that stunnel reads, for nobody else's eyes."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self.lines)


def read_key(path: str) -> Key:
    """Return the key in a file of the Secret. Raises Misconfigured, without a word of what is in it."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib would take a tenth of the start-up budget
            raw = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise Misconfigured(
            f"There is no key: {path} is missing. The Secret that keySecret names must have a key `psk.txt`; copy it from the namespace of the"
            " ReplicationDestination, whose status names it."
        ) from None
    except OSError as error:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            f"The key {path} cannot be read: {error.strerror}. The mover's user must be the Secret volume's owner, or of its group (fsGroup).",
        ) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = "?"
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(raw) > _LIMIT or not lines or not all(_is_sound(line) for line in lines):
        raise Misconfigured(
            f"The key in {path} has the wrong form: each line must be an identity, a colon and a key of at least {_SHORTEST} bytes"
            " (volsync:<128 hexadecimal digits>). Is it encoded twice (base64 in stringData), or cut off?"
        )
    return Key(lines)


def _is_sound(line: str) -> bool:
    match = _LINE.fullmatch(line)
    if match is None or not line.isprintable():
        return False
    key = match["key"]
    # hexadecimal digits count half, as stunnel reads them
    return len(key) // (2 if _HEX.fullmatch(key) else 1) >= _SHORTEST
