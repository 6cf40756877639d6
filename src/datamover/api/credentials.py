"""Where a mover can get its credentials from, other than from two keys. Pure; operator and agent use the same table.

Everything here is about variables: those of the AWS SDK that rclone uses, and rclone's own. A cloud's webhook puts the first two rows into a Pod
whose service account has a role; the operator cannot see that, so a service account named in the spec is taken as a promise that this happens.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from datamover.api import transfer

WEB_IDENTITY_TOKEN_FILE: Final = "AWS_WEB_IDENTITY_TOKEN_FILE"  # noqa: S105 - the name of a variable
ROLE: Final = "AWS_ROLE_ARN"
CONTAINER_URI: Final = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
CONTAINER_PATH: Final = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
METADATA_DISABLED: Final = "AWS_EC2_METADATA_DISABLED"
"""`false` asks for the node's own credentials, from instance metadata. Without this they are never used: a mover must not act with its node's rights by accident."""
METADATA_WANTED: Final = "false"

_REMOTE: Final = f"RCLONE_CONFIG_{transfer.REMOTE.upper()}_"

SOURCES: Final = (
    (WEB_IDENTITY_TOKEN_FILE, ROLE),
    (CONTAINER_URI,),
    (CONTAINER_PATH,),
    ("AWS_SHARED_CREDENTIALS_FILE",),
    ("AWS_CONFIG_FILE",),
    ("RCLONE_S3_SHARED_CREDENTIALS_FILE",),
    (f"{_REMOTE}SHARED_CREDENTIALS_FILE",),
    ("RCLONE_S3_ACCESS_KEY_ID", "RCLONE_S3_SECRET_ACCESS_KEY"),
    (f"{_REMOTE}ACCESS_KEY_ID", f"{_REMOTE}SECRET_ACCESS_KEY"),
)
"""Variables that together are a source of credentials."""

KEYS: Final = (transfer.ACCESS_KEY, transfer.SECRET_KEY)


class Found(msgspec.Struct, frozen=True):
    """Which credentials an environment holds. `missing` are the keys without which there are none; `half` is the missing part of a source that is only half given."""

    missing: tuple[str, ...] = ()
    half: tuple[str, ...] = ()


def find_credentials(has: Callable[[str], bool], *, promised: bool) -> Found:
    """Return what is missing. `has` tells whether a variable has a value; `promised`: the credentials are known to come from elsewhere.

    One key of two is always a mistake, even beside another source: it would be silently ignored, and the role of the other source used.
    """
    missing = tuple(key for key in KEYS if not has(key))
    if len(missing) != len(KEYS):
        return Found(missing=missing)
    if promised or any(all(map(has, source)) for source in SOURCES):
        return Found()
    begun = next((source for source in SOURCES if any(map(has, source))), ())
    return Found(missing=missing, half=tuple(name for name in begun if not has(name)))
