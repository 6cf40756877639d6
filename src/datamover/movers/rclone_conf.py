"""The Job that mirrors a volume to a remote of the user's rclone.conf, or back. Pure. Variables and mounts are an interface (documents)."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from datamover.api import rclone_conf, transfer
from datamover.api.volsync import names as words
from datamover.movers import authorities, replication
from datamover.movers.authorities import Authority
from datamover.movers.replication import Engine, Movement, secret_mount, secret_variable
from kubekit.words.meta import Manifest

CONFIG_FOLDER: Final = "/rclone-config/"
_VOLUME: Final = "rclone-secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class RcloneWork:
    """What is mirrored where. `secret` has rclone.conf, and `keys` are its keys: those that begin with `RCLONE_` become variables.

    `section` is that of the remote, `path` the path there.
    """

    secret: str
    keys: AbstractSet[str]
    section: str
    path: str
    authority: Authority | None = None


def build_job(movement: Movement, work: RcloneWork) -> Manifest:
    """Return the Job."""
    return replication.build(
        movement,
        Engine(
            name=words.Method.RCLONE,
            environment=tuple(_environment(movement, work)),
            mounts=(
                secret_mount(_VOLUME, CONFIG_FOLDER, work.secret),
                *((authorities.mount_authority(work.authority),) if work.authority else ()),
            ),
        ),
    )


def _environment(movement: Movement, work: RcloneWork) -> list[Manifest]:
    ours = {
        rclone_conf.CONFIG: CONFIG_FOLDER + rclone_conf.CONFIG_KEY,
        rclone_conf.DESTINATION_PATH: work.path,
        transfer.DIRECTION: transfer.SOURCE_DIRECTION if movement.is_source else transfer.DESTINATION_DIRECTION,
        rclone_conf.MOUNT_PATH: transfer.DATA_PATH,
        rclone_conf.SECTION: work.section,
        **({transfer.CUSTOM_CA: authorities.FILE} if work.authority else {}),
    }
    # a key with the name of one of these would be a second variable of that name
    chosen = sorted(key for key in work.keys if key.startswith(rclone_conf.PREFIX) and key not in ours)
    return [
        *(secret_variable(key, work.secret, optional=True) for key in chosen),
        *({"name": name, "value": value} for name, value in ours.items()),
    ]
