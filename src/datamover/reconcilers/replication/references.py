"""Secrets and certificates that a spec points to. Pure."""

from datamover.api.volsync import names
from datamover.api.volsync.common import CustomCA
from datamover.api.volsync.replication_destination import (
    RcloneDestination,
    ResticDestination,
    RsyncDestination,
    RsyncTLSDestination,
)
from datamover.api.volsync.replication_source import RcloneSource, ResticSource, RsyncSource, RsyncTLSSource
from datamover.movers import rsync_ssh
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.mounts import more_volumes


def named_secrets(ask: Ask) -> tuple[str, ...]:
    """Return the names of the Secrets that the spec points to."""
    options = ask.options
    found: list[str | None] = []
    if isinstance(options, ResticSource | ResticDestination):
        found.append(options.repository)
    if isinstance(options, RcloneSource | RcloneDestination):
        found.append(options.rclone_config)
    if isinstance(options, RsyncTLSSource | RsyncTLSDestination):
        found.append(options.key_secret)
    if isinstance(options, RsyncSource | RsyncDestination):
        found.append(options.ssh_keys or names.ssh_secret(ask.role, rsync_ssh.MAIN, ask.metadata.name))
    ca = custom_ca_of(ask)
    if ca is not None:
        found.append(ca.secret_name)
    secrets = (volume.volume_source.secret for volume in more_volumes(ask))
    found += [secret.secret_name for secret in secrets if secret is not None]
    return tuple(dict.fromkeys(name for name in found if name))


def custom_ca_of(ask: Ask) -> CustomCA | None:
    """Return the certificates that the spec points to; None without any."""
    options = ask.options
    if isinstance(options, ResticSource | ResticDestination | RcloneSource | RcloneDestination):
        ca = options.custom_ca
        return ca if ca is not None and (ca.secret_name or ca.config_map_name) else None
    return None
