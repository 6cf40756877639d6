"""From what an object asks to the Job of its mover. Pure."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import msgspec

from datamover.api import restic as repository
from datamover.api.volsync import names
from datamover.api.volsync.replication_destination import (
    RcloneDestination,
    ResticDestination,
    RsyncDestination,
    RsyncTLSDestination,
)
from datamover.api.volsync.replication_source import (
    RcloneSource,
    ReplicationSourceStatus,
    ResticSource,
    Retain,
    RsyncSource,
    RsyncTLSSource,
)
from datamover.movers import rclone_conf, restic, rsync_ssh, rsync_tls
from datamover.movers.authorities import Authority
from datamover.movers.rclone_conf import RcloneWork
from datamover.movers.replication import Movement
from datamover.movers.restic import ResticWork, Retention
from datamover.reconcilers.replication.ask import Ask
from datamover.reconcilers.replication.facts import Facts, Settings
from datamover.reconcilers.replication.needs import is_privileged, is_restricted, key_secret_of
from datamover.reconcilers.replication.references import custom_ca_of
from kubekit.words.core import SecretKeys
from kubekit.words.meta import Manifest
from kubekit.words.timestamps import moment_of

PRUNE_DAYS: Final = 7
"""Days between two prunes where nothing is said."""


def build_job(ask: Ask, facts: Facts, movement: Movement) -> Manifest:
    """Return the Job of the chosen method."""
    options, keys = ask.options, key_secret_of(ask) or ""
    match options:
        case ResticSource() | ResticDestination():
            return restic.build_job(movement, _restic(ask, options, facts))
        case RcloneSource() | RcloneDestination():
            return rclone_conf.build_job(movement, _rclone(ask, options, facts))
        case RsyncTLSSource():
            return rsync_tls.build_job(movement, keys=keys, address=options.address, port=options.port)
        case RsyncTLSDestination():
            return rsync_tls.build_job(movement, keys=keys)
        case RsyncSource() | RsyncDestination():
            port = options.port if ask.is_source else None
            return rsync_ssh.build_job(movement, keys=keys, address=options.address, port=port)


def notes_of(ask: Ask, facts: Facts, settings: Settings) -> dict[str, str]:
    """Return what is to be known of the Job later, and only its making can say."""
    options = ask.options
    wanted = options.unlock if isinstance(options, ResticSource) else None
    noted = {names.ASKED_ANNOTATION: digest_of(ask, facts, settings)}
    return {**noted, names.UNLOCK_ANNOTATION: wanted} if wanted else noted


KEYS: Final = "."
"""What stands between the two parts of a digest."""
_NOT_THE_MOVERS: Final = frozenset(
    {
        *("copyMethod", "capacity", "storageClassName", "accessModes", "volumeSnapshotClassName", "volumeMode"),
        *("destinationPVC", "cleanupTempPVC", "cleanupCachePVC"),
        *("cacheCapacity", "cacheStorageClassName", "cacheAccessModes"),
        *("serviceType", "serviceAnnotations", "path", "sshUser"),
        *("pruneIntervalDays", "unlock"),
    }
)
"""Options that are no matter of a mover that is there: volumes and Services are looked at for themselves, and the last two count once for each Job."""


def digest_of(ask: Ask, facts: Facts, settings: Settings) -> str:
    """Return a digest of all that people choose of a mover's Pod, and after `KEYS` one of its keys alone. What only time or a failure changes is not in it."""
    wishes = (names.DEBUG_ANNOTATION, names.ALLOW_EMPTY_ANNOTATION, names.REMOVE_STALE_LOCKS_ANNOTATION)
    options: dict[str, Any] = msgspec.to_builtins(ask.options)
    chosen = (
        {key: value for key, value in options.items() if value is not None and key not in _NOT_THE_MOVERS},
        [ask.metadata.annotation(wish) for wish in wishes],
        is_privileged(facts),
        is_restricted(facts),
        settings.mover_image,
    )
    return f"{_digest(chosen)}{KEYS}{_digest(key_secret_of(ask))[:8]}"


def _digest(chosen: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(chosen, order="deterministic")).hexdigest()[:16]


def _restic(ask: Ask, options: ResticSource | ResticDestination, facts: Facts) -> ResticWork:
    secret = options.repository or ""
    work = ResticWork(
        secret=secret,
        keys=_keys_of(facts, secret, unknown=repository.BACKEND_KEYS),
        cache_claim=names.cache_claim(ask.role, ask.metadata.name),
        authority=_authority(ask),
        remove_stale_locks=ask.metadata.annotation(names.REMOVE_STALE_LOCKS_ANNOTATION) == "true",
    )
    if isinstance(options, ResticDestination):
        return replace(
            work,
            as_of=options.restore_as_of,
            previous=options.previous or 0,
            delete_extra_files=bool(options.enable_file_deletion),
        )
    return replace(
        work,
        retention=_retention(options.retain),
        unlock=bool(options.unlock) and options.unlock != _last_unlocked(facts),
        prune=_is_prune_due(options, facts),
    )


def _rclone(ask: Ask, options: RcloneSource | RcloneDestination, facts: Facts) -> RcloneWork:
    secret = options.rclone_config or ""
    return RcloneWork(
        secret=secret,
        keys=_keys_of(facts, secret, unknown=()),
        section=options.rclone_config_section or "",
        path=options.rclone_dest_path or "",
        authority=_authority(ask),
    )


def _keys_of(facts: Facts, secret: str, *, unknown: tuple[str, ...]) -> frozenset[str]:
    """Return the keys that a Secret has; `unknown` where nobody may look: a variable of a key that is not there is left out by the kubelet."""
    found = facts.belongings.secrets.get(secret)
    return frozenset(found.keys if isinstance(found, SecretKeys) else unknown)


def _authority(ask: Ask) -> Authority | None:
    ca = custom_ca_of(ask)
    if ca is None or not ca.key:
        return None
    return Authority(
        key=ca.key, secret=ca.secret_name or "", config_map="" if ca.secret_name else ca.config_map_name or ""
    )


def _retention(retain: Retain | None) -> Retention:
    said = retain or Retain()
    return Retention(
        hourly=said.hourly,
        daily=said.daily,
        weekly=said.weekly,
        monthly=said.monthly,
        yearly=said.yearly,
        within=said.within,
        last=said.last,
    )


def _is_prune_due(options: ResticSource, facts: Facts) -> bool:
    """Tell whether unused data is to be removed: so many days after the last time, or after the object was made."""
    status = facts.obj.status
    pruned = status.restic.last_pruned if isinstance(status, ReplicationSourceStatus) and status.restic else None
    since = moment_of(pruned or facts.obj.metadata.creation_timestamp, default=facts.run.now.timestamp())
    days = PRUNE_DAYS if options.prune_interval_days is None else options.prune_interval_days
    return facts.run.now.timestamp() > since + timedelta(days=max(days, 0)).total_seconds()


def _last_unlocked(facts: Facts) -> str | None:
    status = facts.obj.status
    return status.restic.last_unlocked if isinstance(status, ReplicationSourceStatus) and status.restic else None
