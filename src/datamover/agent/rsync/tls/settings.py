"""What the environment asks of one attempt. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from datamover.agent import debugging
from datamover.agent.environment import Reader, is_run_id, write_timestamp
from datamover.agent.errors import Misconfigured
from datamover.api import outside, transfer

TEMPORARY_PATH = "/tmp"  # noqa: S108 - the Pod's own volume
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. `peer` is the destination's address and `port` its port, both only at the source; `root` is what comes before all paths."""

    run_id: str
    is_source: bool
    peer: str
    port: int
    listen_port: int
    privileged: bool
    debug: bool
    allow_empty: bool
    deadline: float
    grace: float
    root: str
    rsync: str
    stunnel: str
    notices: tuple[str, ...]

    @property
    def key(self) -> str:
        """The file with the key."""
        return f"{self.root}{transfer.KEYS_PATH}/{transfer.TLS_KEY}"

    @property
    def temporary(self) -> str:
        """The folder for temporary files."""
        return self.root + TEMPORARY_PATH

    @property
    def peer_name(self) -> str:
        """The destination as people write it."""
        return f"[{self.peer}]:{self.port}" if ":" in self.peer else f"{self.peer}:{self.port}"


def read_settings(environ: Mapping[str, str], *, now: datetime, token: str) -> Settings:
    """Return the settings. Raises Misconfigured with everything that is wrong."""
    read = Reader(environ)
    address = read.text(transfer.DESTINATION_ADDRESS).removeprefix("[").removesuffix("]")
    direction = read.text(transfer.DIRECTION, transfer.SOURCE_DIRECTION if address else transfer.DESTINATION_DIRECTION)
    if direction not in {transfer.SOURCE_DIRECTION, transfer.DESTINATION_DIRECTION}:
        read.problems.append(f"{transfer.DIRECTION} is {direction!r}; write source or destination")
    is_source = direction == transfer.SOURCE_DIRECTION
    if is_source and not _HOST.fullmatch(address):
        state = f"is {address!r}; write a host's name or address" if address else "is not set"
        read.problems.append(
            f"{transfer.DESTINATION_ADDRESS} {state} (spec.rsyncTLS.address: that of the ReplicationDestination's status)"
        )
    run_id = read.text(transfer.RUN_ID, f"{write_timestamp(now)}-{token}")
    if not is_run_id(run_id):
        read.problems.append(f"{transfer.RUN_ID} is {run_id!r}; use letters, digits, '.', '_' and '-', at most 128")
    settings = Settings(
        run_id=run_id,
        is_source=is_source,
        peer=address,
        port=_port(read, transfer.DESTINATION_PORT),
        listen_port=_port(read, transfer.LISTEN_PORT),
        # whoever set this variable meant it: another project's word for it is any number but 0
        privileged=read.text(transfer.PRIVILEGED_MOVER, "0") not in {"0", "false"},
        debug=debugging.is_asked(environ),
        allow_empty=read.switch(transfer.ALLOW_EMPTY_SOURCE),
        deadline=read.number(transfer.DEADLINE, 0, low=0, high=1e9),
        grace=read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600),
        root=read.text(transfer.ROOT, "/").rstrip("/"),
        rsync=read.text(transfer.RSYNC),
        stunnel=read.text(transfer.STUNNEL),
        notices=tuple(read.notices),
    )
    if read.problems:
        raise Misconfigured(f"The mover's environment is wrong: {'; '.join(read.problems)}.")
    return settings


def _port(read: Reader, name: str) -> int:
    text = read.text(name, str(transfer.TLS_PORT))
    try:
        return outside.integer(text, low=1, high=65535)
    except outside.Unusable:
        read.problems.append(f"{name} is {text!r}; write a number from 1 to 65535")
        return transfer.TLS_PORT
