"""The environment of the container, read once into frozen settings. Pure.

The variables and their meaning are those of the synchronization document; see `datamover.api.transfer`. `RCLONE_*` variables
are the user's and win over everything that is set here, because all defaults of ours are given as variables as well.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from datamover.agent.errors import Misconfigured
from datamover.agent.rclone import engine_options
from datamover.api import credentials, outside, transfer
from datamover.api.outside import Unusable

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CERTIFICATES = re.compile(
    r"(?:[^-]*-----BEGIN (?:TRUSTED )?CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END (?:TRUSTED )?CERTIFICATE-----)+[^-]*"
)
_HOST = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+")


class Owner(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Identity of the mirrored volume: the source, not the DataMover object (law L3)."""

    cluster: str = ""
    namespace: str = ""
    pvc: str = ""

    def __str__(self) -> str:
        """Return the owner as people name it."""
        parts = [part for part in (self.namespace, self.pvc) if part]
        name = "/".join(parts) if parts else "no volume in particular"
        return f"{name} of cluster {self.cluster}" if self.cluster else name


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an attempt is told from outside. Times in seconds; paths absolute. `timestamp` and `copied_at`, the moment of the copy
    or one before it, are `YYYY-MM-DD-HHMMSS`.
    """

    run_id: str
    timestamp: str
    copied_at: str
    bucket: str
    prefix: str
    add_timestamp: bool
    verification: transfer.Verification
    owner: Owner
    object_name: str
    access_key: str
    secret_key: str
    region: str
    endpoint: str
    authorities: str
    data: str
    config: str
    termination: str
    direct: bool
    adopt: bool
    allow_empty: bool
    max_delete_percent: float
    deadline: float
    grace: float
    outage_limit: float
    engine: str
    commands: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def root(self) -> str:
        """`<root>` without the remote's name: `bucket` or `bucket/prefix`."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket


class _Reader:
    """Reads variables one by one and collects what is wrong, so that the user sees all of it at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.notices: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        value = self._environ.get(name, "")
        trimmed = value.strip()
        if trimmed != value:
            # `echo KEY | base64` leaves a newline in every other Secret; it is never meant
            self.notices.append(f"{name} has white space at its ends; it is ignored")
        return trimmed or default

    def word(self, name: str) -> str:
        """Return a text that goes into records, which are UTF-8."""
        value = self.text(name)
        if value != value.encode("utf-8", "replace").decode():
            self.problems.append(f"{name} is {value!r}; that is not UTF-8, so no record can hold it")
        return value

    def has(self, name: str) -> bool:
        return bool(self._environ.get(name, "").strip())

    def required(self, name: str) -> str:
        value = self.text(name)
        if not value:
            state = "is empty" if name in self._environ else "is not set"
            self.problems.append(
                f"{name} {state}; put it into the Secret that secretName points to, or into additionalEnv"
            )
        return value

    def switch(self, name: str, *, default: bool = False) -> bool:
        value = self.text(name)
        if value in {"true", "false"}:
            return value == "true"
        if value:
            self.problems.append(f'{name} is {value!r}; write "true" or "false", in small letters and quoted')
        return default

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            return outside.number(value, low=low, high=high)
        except Unusable:
            self.problems.append(f"{name} is {value!r}; write a number from {low:g} to {high:g}")
            return default


def read_settings(environ: Mapping[str, str], *, now: datetime, token: str) -> Settings:
    """Return the settings, or raise Misconfigured with every variable that is wrong.

    `now` (UTC) and `token` (a few random letters) stand in for what the operator did not decide: stand-alone runs.
    """
    read = _Reader(environ)
    access_key, secret_key = _keys(read)
    endpoint = _endpoint(read)
    bucket, prefix = _root(read)
    timestamp = read.text(transfer.TIMESTAMP, write_timestamp(now))
    if not is_timestamp(timestamp):
        read.problems.append(f"{transfer.TIMESTAMP} is {timestamp!r}; write YYYY-MM-DD-HHMMSS in UTC")
    run_id = read.text(transfer.RUN_ID, f"{timestamp}-{token}")
    if not is_run_id(run_id):
        read.problems.append(f"{transfer.RUN_ID} is {run_id!r}; use letters, digits, '.', '_' and '-', at most 128")
    method = read.text(transfer.COPY_METHOD, transfer.CLONE)
    if method not in {transfer.CLONE, transfer.SNAPSHOT, transfer.DIRECT}:
        read.problems.append(f"{transfer.COPY_METHOD} is {method!r}; write Clone, Snapshot or Direct")
    commands = tuple(name for name in read.text(transfer.ALLOW_COMMANDS).replace(",", " ").split() if name)
    read.problems.extend(engine_options.find_problems(environ, commands=commands))
    read.notices.extend(
        f"{name} is no variable that this mover knows of rclone; it has no effect"
        for name in engine_options.find_unknown(environ)
    )
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
    settings = Settings(
        run_id=run_id,
        timestamp=timestamp,
        copied_at=_copied_at(read, direct=method == transfer.DIRECT, timestamp=timestamp, now=now),
        bucket=bucket,
        prefix=prefix,
        add_timestamp=add_timestamp,
        verification=_verification(read),
        owner=owner,
        object_name=read.word(transfer.OBJECT),
        access_key=access_key,
        secret_key=secret_key,
        region=read.text(transfer.REGION, transfer.DEFAULT_REGION),
        endpoint=endpoint,
        authorities=_authorities(read),
        data=root + transfer.DATA_PATH,
        config=root + transfer.CONFIG_PATH,
        termination=root + transfer.TERMINATION_PATH,
        direct=method == transfer.DIRECT,
        adopt=read.switch(transfer.ADOPT_DESTINATION),
        allow_empty=read.switch(transfer.ALLOW_EMPTY_SOURCE),
        max_delete_percent=read.number(
            transfer.MAX_DELETE_PERCENT, transfer.DEFAULT_MAX_DELETE_PERCENT, low=0, high=100
        ),
        deadline=read.number(transfer.DEADLINE, 0, low=0, high=1e9),
        grace=read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600),
        outage_limit=read.number(transfer.OUTAGE_LIMIT, transfer.DEFAULT_OUTAGE_LIMIT, low=1, high=1e6),
        engine=read.text(transfer.RCLONE),
        commands=commands,
        notices=tuple(read.notices),
    )
    if read.problems:
        raise Misconfigured(f"The mover's environment is wrong: {'; '.join(read.problems)}.")
    return settings


def _copied_at(read: _Reader, *, direct: bool, timestamp: str, now: datetime) -> str:
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


def read_timestamp(text: str) -> datetime:
    """Return the moment that a timestamp folder names. Raises ValueError when there is no such moment."""
    # not strptime: it imports the locale and calendar modules, a tenth of the start-up budget
    date, clock = text[:10].split("-"), text[11:]
    return datetime(*map(int, (*date, clock[0:2], clock[2:4], clock[4:6])), tzinfo=UTC)


def write_timestamp(moment: datetime) -> str:
    """Return `YYYY-MM-DD-HHMMSS` of a moment in UTC."""
    return f"{moment:%Y-%m-%d-%H%M%S}"


def is_run_id(text: str) -> bool:
    """Tell whether a text can be the name of a run: letters, digits, `.`, `_` and `-`, at most 128."""
    return _RUN_ID.fullmatch(text) is not None


def is_timestamp(text: str) -> bool:
    """Tell whether a text is the name of a timestamp folder: `YYYY-MM-DD-HHMMSS` of a moment that there is."""
    if not transfer.TIMESTAMP_FORM.fullmatch(text):
        return False
    try:
        read_timestamp(text)
    except ValueError:
        return False
    return True


def _keys(read: _Reader) -> tuple[str, str]:
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


def _endpoint(read: _Reader) -> str:
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


def _verification(read: _Reader) -> transfer.Verification:
    value = read.text(transfer.VERIFY_BACKUP)
    try:
        return transfer.read_verification(value)
    except ValueError as error:
        read.problems.append(f"{transfer.VERIFY_BACKUP} is {value[:40]!r}; {error}")
        return transfer.Verification()


def _authorities(read: _Reader) -> str:
    found = read.text(transfer.CA_CERT)
    if found and not _CERTIFICATES.fullmatch(found):
        read.problems.append(
            f"{transfer.CA_CERT} is no certificate; put the authority's certificates there as PEM text, from -----BEGIN CERTIFICATE----- to"
            " -----END CERTIFICATE-----, and no keys"
        )
        return ""
    return found


def _root(read: _Reader) -> tuple[str, str]:
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
