"""The Job that backs a volume up into a restic repository, or restores it from one. Pure.

Variables, mounts and arguments are an interface (documents); repositories made by others go on here, and the other way round.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from datamover.api import restic, transfer
from datamover.movers import authorities, replication
from datamover.movers.authorities import Authority
from datamover.movers.pod import Mount
from datamover.movers.replication import Engine, Movement, secret_mount, secret_variable
from kubekit.words.meta import Manifest

CONTAINER: Final = "restic"
CACHE: Final = "cache"
CACHE_PATH: Final = "/cache"
BACKOFF_LIMIT: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Which snapshots stay, as the object says it. None: nothing is said of these."""

    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None
    within: str | None = None
    last: str | None = None

    def options(self) -> str:
        """Return the flags of restic's `forget`; the last snapshot stays where nothing is said."""
        flags = (
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
            ("within", self.within),
            ("last", self.last),
        )
        # with a blank before each of them, as documented
        said = "".join(f" --keep-{name} {value}" for name, value in flags if value is not None)
        return said or restic.DEFAULT_FORGET_OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class ResticWork:
    """What restic is asked to do.

    `secret` is the Secret of the repository, and `keys` are the keys that it has: only those become variables. `cache_claim` keeps restic's cache.
    Of a backup: `retention`, and whether stale locks are removed before (`unlock`) and unused data after it (`prune`). Of a restore:
    `as_of` (RFC 3339), `previous`, and whether files that the snapshot does not have are deleted.
    """

    secret: str
    keys: AbstractSet[str]
    cache_claim: str
    authority: Authority | None = None
    retention: Retention = Retention()
    unlock: bool = False
    prune: bool = False
    remove_stale_locks: bool = False
    as_of: str | None = None
    previous: int = 0
    delete_extra_files: bool = False


def build_job(movement: Movement, work: ResticWork) -> Manifest:
    """Return the Job of a backup or a restore, as the movement's role says."""
    return replication.build(
        movement,
        Engine(
            name=CONTAINER,
            arguments=_actions(work) if movement.is_source else (restic.RESTORE,),
            environment=tuple(_environment(work)),
            mounts=tuple(_mounts(work)),
            backoff_limit=BACKOFF_LIMIT,
        ),
    )


def _actions(work: ResticWork) -> tuple[str, ...]:
    return (*((restic.UNLOCK,) if work.unlock else ()), restic.BACKUP, *((restic.PRUNE,) if work.prune else ()))


def _environment(work: ResticWork) -> list[Manifest]:
    plain = {
        restic.FORGET_OPTIONS: work.retention.options(),
        restic.DATA_DIR: transfer.DATA_PATH,
        restic.CACHE_DIR: CACHE_PATH,
        restic.RESTORE_AS_OF: work.as_of or "",
        restic.SELECT_PREVIOUS: str(work.previous),
        restic.RESTORE_OPTIONS: restic.DELETE_EXTRA_FILES if work.delete_extra_files else "",
    }
    # an optional key that is not there would still be an entry; users compare with the documented ones
    backend = [name for name in restic.BACKEND_KEYS if name in work.keys]
    rclone = sorted(name for name in work.keys if name.startswith(restic.RCLONE_PREFIX))
    files: dict[str, str] = {}
    if work.authority:
        files[transfer.CUSTOM_CA] = authorities.FILE
    if restic.GOOGLE_CREDENTIALS in work.keys:
        files[restic.GOOGLE_CREDENTIALS] = f"{restic.GOOGLE_CREDENTIALS_FOLDER}/{restic.GOOGLE_CREDENTIALS_FILE}"
    ours = {
        transfer.RESTIC: "",  # found on the image's PATH
        transfer.REMOVE_STALE_LOCKS: "true" if work.remove_stale_locks else "false",
    }
    return [
        *_values(plain),
        *(secret_variable(name, work.secret) for name in restic.REQUIRED_KEYS),
        *(secret_variable(name, work.secret, optional=True) for name in (*backend, *rclone)),
        *_values(files),
        *_values(ours),
    ]


def _values(values: dict[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _mounts(work: ResticWork) -> list[Mount]:
    mounts = [Mount(CACHE, CACHE_PATH, {"persistentVolumeClaim": {"claimName": work.cache_claim}})]
    if work.authority:
        mounts.append(authorities.mount_authority(work.authority))
    if restic.GOOGLE_CREDENTIALS in work.keys:
        item = {"key": restic.GOOGLE_CREDENTIALS, "path": restic.GOOGLE_CREDENTIALS_FILE}
        mounts.append(secret_mount("gcs-credentials", restic.GOOGLE_CREDENTIALS_FOLDER, work.secret, items=(item,)))
    return mounts
