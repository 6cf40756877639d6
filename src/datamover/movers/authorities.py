"""Certificates that the object points to, as a file in the mover's container. Pure."""

from dataclasses import dataclass
from typing import Final

from datamover.movers.pod import Mount
from datamover.movers.replication import secret_mount

FOLDER: Final = "/customca"
FILE: Final = f"{FOLDER}/ca.crt"
"""Where the mover finds them."""
_VOLUME: Final = "custom-ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Where the certificates are that a server's certificate may be of: a key of a Secret, or of a ConfigMap."""

    key: str
    secret: str = ""
    config_map: str = ""


def mount_authority(authority: Authority) -> Mount:
    """Return the mount of the certificates."""
    item = {"key": authority.key, "path": FILE.removeprefix(f"{FOLDER}/")}
    if authority.secret:
        return secret_mount(_VOLUME, FOLDER, authority.secret, items=(item,))
    return Mount(_VOLUME, FOLDER, {"configMap": {"name": authority.config_map, "items": [item]}})
