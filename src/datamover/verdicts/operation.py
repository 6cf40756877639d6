"""The id of an operation: all that a process needs that knows nothing else. Velero starts another one for every look. Pure.

Velero keeps the id in the bucket and hands it back unchanged. It may also hand over one of another version of this program, or of somebody else's, and
whoever can write into the bucket can write one. So it is read within limits, and believed only as far as it is about this backup.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from datamover.api.outside import Decoder, Unusable
from datamover.verdicts.configuration import DEFAULT_PACE, LARGEST_PACE, LARGEST_TIMEOUT, Configuration

PREFIX: Final = "hcp1-"
"""Begins every id. The digit is the version of what follows."""
LIMIT: Final = 2048
"""Characters of an id."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")]
_Uid = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[A-Za-z0-9._-]*\Z")]
_LAST: Final = 253_402_300_799  # the end of the year 9999: what a datetime can say
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=_LAST)]


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True):
    u: _Uid
    n: _Name
    h: _Name
    s: _Seconds
    t: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_TIMEOUT)] | None = None
    p: Annotated[int, msgspec.Meta(ge=1, le=LARGEST_PACE)] = int(DEFAULT_PACE.total_seconds())
    m: bool = False


_decode: Final = Decoder(_Wire, limit=LIMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What was begun: for which backup and which control plane, when, and under which configuration.

    The configuration is the one of that moment: one that is changed meanwhile is that of the next backup.
    """

    backup_uid: str
    namespace: str
    name: str
    started: datetime
    configuration: Configuration

    def encode(self) -> str:
        """Return the id. Raises ValueError where a name or UID is none that Kubernetes gives."""
        configuration = self.configuration
        wire = _Wire(
            u=self.backup_uid,
            n=self.namespace,
            h=self.name,
            s=int(self.started.timestamp()),
            t=int(configuration.data_upload_timeout.total_seconds() // 60) if configuration.timeout_set else None,
            p=int(configuration.data_upload_check_pace.total_seconds()),
            m=configuration.migration,
        )
        raw = msgspec.json.encode(wire)
        _decode(raw)  # what cannot be read again is not handed out
        return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> Operation:
    """Return what an id says. Raises Unusable for what is none of ours."""
    if not text.startswith(PREFIX):
        raise Unusable("it is no operation of this plugin")
    if len(text) > LIMIT:
        raise Unusable(f"it is longer than {LIMIT} characters")
    body = text.removeprefix(PREFIX)
    try:
        raw = base64.b64decode((body + "=" * (-len(body) % 4)).encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise Unusable("it is damaged") from None
    wire = _decode(raw)
    configuration = Configuration(data_upload_check_pace=timedelta(seconds=wire.p), migration=wire.m)
    if wire.t is not None:
        configuration = Configuration(
            data_upload_timeout=timedelta(minutes=wire.t),
            data_upload_check_pace=configuration.data_upload_check_pace,
            timeout_set=True,
            migration=wire.m,
        )
    return Operation(
        backup_uid=wire.u,
        namespace=wire.n,
        name=wire.h,
        started=datetime.fromtimestamp(wire.s, UTC),
        configuration=configuration,
    )
