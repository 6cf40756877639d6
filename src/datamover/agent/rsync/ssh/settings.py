# ruff: noqa: PTH123  # a start-up budget that pathlib would take a tenth of
"""What rsync over ssh is asked to do, from the environment and /keys."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from datamover.agent import debugging
from datamover.agent.environment import Reader, is_run_id
from datamover.agent.errors import Misconfigured
from datamover.agent.rsync.volume import Volume, find_volume
from datamover.api import outside, transfer

DEFAULT_PORT: Final = 22
_DEADLINE_LIMIT: Final = 1e9
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252})")
_PUBLIC: Final = re.compile(r"((?:ssh|ecdsa|sk)-[A-Za-z0-9@.-]{1,60}) ([A-Za-z0-9+/]{16,16384}={0,3})(?:[ \t].*)?")
_PRIVATE: Final = "PRIVATE KEY"


class Keys(msgspec.Struct, frozen=True):
    """The keys of this side: the private one, and the public one of the other side as type and base64."""

    private: bytes
    peer: str

    def __repr__(self) -> str:
        """Return nothing of the private key (law L8)."""
        return f"Keys(peer={self.peer!r})"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `root` is where the container's mounts lie, empty for `/`; `address` and `port` are the destination's, or where it listens."""

    run_id: str
    root: str
    is_source: bool
    volume: Volume
    keys: Keys
    address: str
    port: int
    allow_empty: bool
    rsync: str
    debug: bool
    deadline: float
    grace: float
    notices: tuple[str, ...]

    @property
    def peer(self) -> str:
        """The destination as people name it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings. Raises Failure."""
    read = Reader(environ)
    root = read.text(transfer.ROOT, "/").rstrip("/")
    direction = read.required(transfer.DIRECTION)
    if direction not in {"", transfer.SOURCE_DIRECTION, transfer.DESTINATION_DIRECTION}:
        read.problems.append(f"{transfer.DIRECTION} is {direction!a}; it is `source` or `destination`")
    is_source = direction == transfer.SOURCE_DIRECTION
    address = read.text(transfer.DESTINATION_ADDRESS)
    if is_source and not address:
        read.problems.append(
            f"{transfer.DESTINATION_ADDRESS} is not set; put the destination's address into spec.rsync.address"
        )
    elif address and not _HOST.fullmatch(address):
        read.problems.append(
            f"{transfer.DESTINATION_ADDRESS} is {address[:80]!a}; that is neither a host name nor an address"
        )
    port = (
        read.number(transfer.DESTINATION_PORT, DEFAULT_PORT, low=1, high=65535)
        if is_source
        else read.number(transfer.LISTEN_PORT, transfer.SSH_PORT, low=1, high=65535)
    )
    run_id = read.text(transfer.RUN_ID)
    if run_id and not is_run_id(run_id):
        read.problems.append(f"{transfer.RUN_ID} is {run_id[:80]!a}; that is no run's name")
    deadline = read.number(transfer.DEADLINE, 0, low=0, high=_DEADLINE_LIMIT)
    grace = read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600)
    rsync = read.text(transfer.RSYNC)
    allow_empty = read.switch(transfer.ALLOW_EMPTY_SOURCE)
    keys = _read_keys(f"{root}{transfer.KEYS_PATH}", is_source=is_source, problems=read.problems)
    if read.problems:
        raise Misconfigured(f"The mover's environment is wrong: {'; '.join(read.problems)}.")
    return Settings(
        run_id=run_id,
        root=root,
        is_source=is_source,
        volume=find_volume(root),
        keys=keys,
        address=address,
        port=int(port),
        allow_empty=allow_empty,
        rsync=rsync,
        debug=debugging.is_asked(environ),
        deadline=deadline,
        grace=grace,
        notices=tuple(read.notices),
    )


def _read_keys(folder: str, *, is_source: bool, problems: list[str]) -> Keys:
    """Return the keys of this side; what is wrong with them goes to `problems`, without a word of a private one."""
    own, other = (
        (transfer.SSH_SOURCE, transfer.SSH_DESTINATION_PUBLIC)
        if is_source
        else (transfer.SSH_DESTINATION, transfer.SSH_SOURCE_PUBLIC)
    )
    private = _read_file(f"{folder}/{own}", problems)
    if private and _PRIVATE.encode() not in private:
        problems.append(f"the key `{own}` of the Secret with the ssh keys is no private key")
    public = _read_file(f"{folder}/{other}", problems).decode("ascii", "replace")
    match = _PUBLIC.fullmatch(public)
    if public and match is None:
        problems.append(f"the key `{other}` of the Secret with the ssh keys is not one line of a public key")
    # ssh reads no key without a newline at its end, and an editor of another system may have left more than one letter there
    return Keys(private.replace(b"\r", b"") + b"\n", f"{match[1]} {match[2]}" if match else "")


def _read_file(path: str, problems: list[str]) -> bytes:
    name = path.rpartition("/")[2]
    try:
        with open(path, "rb") as file:
            content = file.read(outside.RECORD_LIMIT).strip()
    except FileNotFoundError:
        problems.append(f"the Secret with the ssh keys has no key `{name}`")
        return b""
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}")
        return b""
    if not content:
        problems.append(f"the key `{name}` of the Secret with the ssh keys is empty")
    return content
