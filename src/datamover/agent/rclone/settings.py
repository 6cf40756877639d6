"""The environment of the container, read once into frozen settings. Pure.

The variables and their meaning are those of the synchronization document; see `datamover.api.transfer`. `RCLONE_*` variables
are the user's and win over everything that is set here, because all defaults of ours are given as variables as well.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict

import msgspec

from datamover.agent.environment import MOVERS_ADVICE, Owner, Reader, is_run_id, is_timestamp, write_timestamp
from datamover.agent.errors import Failure, Misconfigured
from datamover.agent.rclone import engine_options
from datamover.api import credentials, outside, transfer
from datamover.api.outside import Unusable

_CERTIFICATES = re.compile(
    r"(?:[^-]*-----BEGIN (?:TRUSTED )?CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END (?:TRUSTED )?CERTIFICATE-----)+[^-]*"
)
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+")


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bucket is, how it is reached, and what runs the engine: all that reading a destination needs. Times in seconds; `config` is an
    absolute path.
    """

    bucket: str
    prefix: str
    access_key: str
    secret_key: str
    region: str
    endpoint: str
    authorities: str
    config: str
    outage_limit: float
    engine: str
    commands: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """`<root>` without the remote's name: `bucket` or `bucket/prefix`."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket


class Settings(Store, frozen=True, kw_only=True):
    """Everything that an attempt is told from outside. Times in seconds; paths absolute. `timestamp` and `copied_at`, the moment of the copy
    or one before it, are `YYYY-MM-DD-HHMMSS`.
    """

    run_id: str
    timestamp: str
    copied_at: str
    add_timestamp: bool
    verification: transfer.Verification
    owner: Owner
    object_name: str
    data: str
    termination: str
    direct: bool
    adopt: bool
    allow_empty: bool
    max_delete_percent: float
    deadline: float
    grace: float


def read_store(environ: Mapping[str, str], *, advice: str = MOVERS_ADVICE) -> Store:
    """Return where the bucket is, and nothing that only a mover has. Raises Misconfigured with every variable that is wrong; `advice` says
    where to put one that is missing.
    """
    read = Reader(environ, advice=advice)
    found = _store(read, environ)
    if read.problems:
        raise Misconfigured(f"The way to the bucket is not known: {'; '.join(read.problems)}.")
    return Store(**found, notices=tuple(read.notices))


class _Found(TypedDict):
    bucket: str
    prefix: str
    access_key: str
    secret_key: str
    region: str
    endpoint: str
    authorities: str
    config: str
    outage_limit: float
    engine: str
    commands: tuple[str, ...]


def _store(read: Reader, environ: Mapping[str, str]) -> _Found:
    access_key, secret_key = _keys(read)
    endpoint = _endpoint(read)
    bucket, prefix = _root(read)
    commands = tuple(name for name in read.text(transfer.ALLOW_COMMANDS).replace(",", " ").split() if name)
    read.problems.extend(engine_options.find_problems(environ, commands=commands))
    read.notices.extend(
        f"{name} is no variable that this mover knows of rclone; it has no effect"
        for name in engine_options.find_unknown(environ)
    )
    return _Found(
        bucket=bucket,
        prefix=prefix,
        access_key=access_key,
        secret_key=secret_key,
        region=read.text(transfer.REGION, transfer.DEFAULT_REGION),
        endpoint=endpoint,
        authorities=_authorities(read),
        config=read.text(transfer.ROOT, "/").rstrip("/") + transfer.CONFIG_PATH,
        outage_limit=read.number(transfer.OUTAGE_LIMIT, transfer.DEFAULT_OUTAGE_LIMIT, low=1, high=1e6),
        engine=read.text(transfer.RCLONE),
        commands=commands,
    )


def read_settings(environ: Mapping[str, str], *, now: datetime, token: str) -> Settings:
    """Return the settings, or raise Misconfigured with every variable that is wrong; Failure of reason `InvalidSpec` where `VERIFY_BACKUP` says another
    method than the spec.

    `now` (UTC) and `token` (a few random letters) stand in for what the operator did not decide: stand-alone runs.
    """
    read = Reader(environ)
    store = _store(read, environ)
    timestamp = read.text(transfer.TIMESTAMP, write_timestamp(now))
    if not is_timestamp(timestamp):
        read.problems.append(f"{transfer.TIMESTAMP} is {timestamp!r}; write YYYY-MM-DD-HHMMSS in UTC")
    run_id = read.text(transfer.RUN_ID, f"{timestamp}-{token}")
    if not is_run_id(run_id):
        read.problems.append(f"{transfer.RUN_ID} is {run_id!r}; use letters, digits, '.', '_' and '-', at most 128")
    method = read.text(transfer.COPY_METHOD, transfer.CLONE)
    if method not in {transfer.CLONE, transfer.SNAPSHOT, transfer.DIRECT}:
        read.problems.append(f"{transfer.COPY_METHOD} is {method!r}; write Clone, Snapshot or Direct")
    root = read.text(transfer.ROOT, "/").rstrip("/")
    # the documents: only the exact string enables it, anything else is off
    add_timestamp = environ.get(transfer.ADD_TIMESTAMP_PREFIX) == "true"
    owner = Owner(
        cluster=read.word(transfer.OWNER_CLUSTER),
        namespace=read.word(transfer.OWNER_NAMESPACE),
        pvc=read.word(transfer.OWNER_PVC),
    )
    if not add_timestamp and not owner.pvc:
        # two volumes without a name would be one owner, and each would delete the other's files (law L3)
        read.problems.append(
            f"{transfer.OWNER_PVC} is not set; say whose volume this is, because a mirror belongs to a volume and deletes what that does not"
            f" have: any name that no other volume has, the same in every run (or set {transfer.ADD_TIMESTAMP_PREFIX}=true)"
        )
    verification, contradicted = _verification(read)
    settings = Settings(
        **store,
        run_id=run_id,
        timestamp=timestamp,
        copied_at=_copied_at(read, direct=method == transfer.DIRECT, timestamp=timestamp, now=now),
        add_timestamp=add_timestamp,
        verification=verification,
        owner=owner,
        object_name=read.word(transfer.OBJECT),
        data=root + transfer.DATA_PATH,
        termination=root + transfer.TERMINATION_PATH,
        direct=method == transfer.DIRECT,
        adopt=read.switch(transfer.ADOPT_DESTINATION),
        allow_empty=read.switch(transfer.ALLOW_EMPTY_SOURCE),
        max_delete_percent=read.number(
            transfer.MAX_DELETE_PERCENT, transfer.DEFAULT_MAX_DELETE_PERCENT, low=0, high=100
        ),
        deadline=read.number(transfer.DEADLINE, 0, low=0, high=1e9),
        grace=read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600),
        notices=tuple(read.notices),
    )
    if read.problems:
        raise Misconfigured(f"The mover's environment is wrong: {'; '.join(read.problems)}.")
    if contradicted:
        raise Failure(transfer.CONFIG, transfer.REASON_INVALID_SPEC, f"{contradicted}. Nothing was moved.")
    return settings


def _copied_at(read: Reader, *, direct: bool, timestamp: str, now: datetime) -> str:
    """Return the moment of the copy, in whole seconds, as Kubernetes tells it: no moment is later than another by a fraction of one."""
    given = read.text(transfer.COPIED_AT)
    if direct:
        return write_timestamp(now)
    if not given:
        return timestamp
    if not is_timestamp(given):
        read.problems.append(
            f"{transfer.COPIED_AT} is {given!r}; write the moment of the copy as YYYY-MM-DD-HHMMSS in UTC, or leave it out"
        )
    return given


def _keys(read: Reader) -> tuple[str, str]:
    """Return both keys; both are empty where the credentials come from somewhere else."""
    access_key, secret_key = read.text(transfer.ACCESS_KEY), read.text(transfer.SECRET_KEY)
    metadata = read.text(credentials.METADATA_DISABLED) == credentials.METADATA_WANTED
    found = credentials.find_credentials(read.has, promised=metadata)
    for name in found.missing:
        read.required(name)
    if len(found.missing) == len(credentials.KEYS):
        read.problems.append(
            f"nothing else brings credentials either: {', '.join(found.half)} is missing beside what is set"
            if found.half
            else "nothing else brings credentials either: no variable of a web identity, of a Pod's identity or of a file of profiles is set. Has the"
            " service account in spec.mover.serviceAccountName a role, and did the cluster's webhook see this Pod?"
        )
    return access_key, secret_key


def _endpoint(read: Reader) -> str:
    host = read.required(transfer.BUCKET_HOST)
    if host and not _HOST.fullmatch(host):
        read.problems.append(
            f"{transfer.BUCKET_HOST} is {host!r}; write only the host's name or address"
            f" (the port goes into {transfer.BUCKET_PORT}, https or http into {transfer.TLS_HOST})"
        )
    port = read.text(transfer.BUCKET_PORT, str(transfer.DEFAULT_PORT))
    try:
        port = str(outside.integer(port, low=1, high=65535))
    except Unusable:
        read.problems.append(f"{transfer.BUCKET_PORT} is {port!r}; write a number from 1 to 65535")
    tls = read.switch(transfer.TLS_HOST, default=True)
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if tls else 'http'}://{bracketed}:{port}"


def _verification(read: Reader) -> tuple[transfer.Verification, str]:
    """Return what is compared, and what is wrong where the spec and the variable differ. The operator does not see the Secret's values."""
    variable, name = read.text(transfer.VERIFY_BACKUP), transfer.VERIFY_BACKUP
    chosen = read.text(transfer.VERIFY_METHOD)
    try:
        asked = transfer.read_verification(variable)
        variable, name = chosen, transfer.VERIFY_METHOD
        wanted = transfer.read_chosen_verification(chosen)
    except ValueError as error:
        read.problems.append(f"{name} is {variable[:40]!r}; {error}")
        return transfer.Verification(), ""
    if wanted is None:
        return asked, ""
    given = read.text(transfer.VERIFY_BACKUP)
    return wanted, transfer.contradiction(wanted, given) if given else ""


def _authorities(read: Reader) -> str:
    found = read.text(transfer.CA_CERT)
    if found and not _CERTIFICATES.fullmatch(found):
        read.problems.append(
            f"{transfer.CA_CERT} is no certificate; put the authority's certificates there as PEM text, from -----BEGIN CERTIFICATE----- to"
            " -----END CERTIFICATE-----, and no keys"
        )
        return ""
    return found


def _root(read: Reader) -> tuple[str, str]:
    """Return bucket and prefix. `bucket/folder` in BUCKET_NAME worked with the original, so it still does."""
    given = read.required(transfer.BUCKET_NAME)
    bucket, _, folder = given.strip("/").partition("/")
    prefixes: list[str] = []
    for name, value in (
        (transfer.BUCKET_NAME, folder),
        (transfer.CUSTOM_PATH_PREFIX, read.text(transfer.CUSTOM_PATH_PREFIX)),
    ):
        try:
            prefix = transfer.path_prefix(value)
        except ValueError as error:
            read.problems.append(f"{name} is {value!r}; {error}")
            continue
        if prefix:
            prefixes.append(prefix)
    odd = any(letter.isspace() or not letter.isprintable() or letter in ":\\" for letter in bucket)
    if odd or (given and bucket in {"", ".", ".."}):
        read.problems.append(f"{transfer.BUCKET_NAME} is {given!r}; that is not a bucket's name")
    return bucket, "/".join(prefixes)
