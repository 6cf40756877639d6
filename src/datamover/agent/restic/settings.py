"""Reading the environment of restic's mover. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from datamover.agent.environment import Reader, lasts
from datamover.agent.errors import Misconfigured
from datamover.agent.restic.choices import read_moment, read_policy, read_restore_options
from datamover.api import outside, rclone_conf, restic, transfer
from datamover.api.outside import Unusable

_MOUNTS: Final = ("/mnt/", "/data", "/cache", "/tmp", "/customca/", f"{restic.GOOGLE_CREDENTIALS_FOLDER}/")  # noqa: S108 - volumes of the Pod
_VOLUMES: Final = "/mnt/"
_LOCAL: Final = "local:"
_RCLONE: Final = "rclone:"
_HOST: Final = re.compile(r"sftp://([^/?#]*)|sftp:([^:]*)")
_OPTION: Final = re.compile(r"(?:^|[@\[])-")
"""A hyphen where a host or a user may begin: behind any @, for who is the host is the business of restic's own reading, and in brackets, which it removes."""
_RELATIVE: Final = re.compile(r"local:(?!/)|[^/:]+(?:/|$)")
"""A repository that is a path, and not one from the top: others have the name of their store and a colon."""
_TEMPORARY: Final = "/tmp"  # noqa: S108 - a volume of the Pod
_USELESS: Final = (
    "RCLONE_DRY_RUN",
    "RCLONE_INTERACTIVE",
    "RCLONE_RC",
    "RCLONE_METRICS_",
    "RCLONE_CPUPROFILE",
    "RCLONE_MEMPROFILE",
    "RCLONE_LOG_FILE",
)
_PASSED: Final = ("PATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", *restic.PROXY_VARIABLES)
"""What restic needs of the mover's environment beside the keys of its Secret."""
_GARBAGE: Final = ("GOGC", "GOMEMLIMIT", "GOMAXPROCS")
PROBE_LIMIT: Final = 60.0
"""Seconds that the first look at the repository may take: restic itself would try for a quarter of an hour."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What restic's mover is asked to do. `variables` is restic's environment, `place` the repository as the Secret has it; other paths are those
    of this machine.
    """

    actions: tuple[str, ...]
    run_id: str
    root: str
    data: str
    cache: str
    temporary: str
    place: str
    policy: tuple[str, ...]
    as_of: datetime | None
    previous: int
    restore_options: tuple[str, ...]
    remove_stale_locks: bool
    allow_empty: bool
    padded_password: bool
    engine: str
    rclone: str
    rclone_configuration: str
    deadline: float
    grace: float
    probe_limit: float
    variables: dict[str, str]
    notices: tuple[str, ...]

    @property
    def is_behind_rclone(self) -> bool:
        """Whether restic reaches the repository through rclone."""
        return self.place.startswith(_RCLONE)

    @property
    def remote(self) -> str:
        """What rclone calls the repository, if it is behind rclone."""
        return self.place.removeprefix(_RCLONE)

    @property
    def contained(self) -> bool:
        """Whether the volume is at its usual path, which snapshots then have in their names."""
        return not self.root


def read_settings(environ: Mapping[str, str], actions: Sequence[str]) -> Settings:
    """Return the settings. Raises Misconfigured with everything that is wrong."""
    read = Reader(environ)
    _check_actions(actions, read)
    root = read.text(transfer.ROOT).rstrip("/")
    repository = _repository(read, root)
    if not environ.get(restic.PASSWORD):
        read.problems.append(f"{restic.PASSWORD} is not set or empty; put it into the Secret that spec.restic.repository names")  # fmt: skip
    cache = place(read.text(restic.CACHE_DIR, "/cache"), root)
    settings = Settings(
        actions=tuple(actions),
        run_id=read.text(transfer.RUN_ID),
        root=root,
        data=place(read.text(restic.DATA_DIR, transfer.DATA_PATH), root),
        cache=cache,
        temporary=root + _TEMPORARY,
        place=repository,
        policy=_options(environ, read, restic.FORGET_OPTIONS, read_policy),
        as_of=_as_of(read),
        previous=_previous(read),
        restore_options=_options(environ, read, restic.RESTORE_OPTIONS, read_restore_options),
        remove_stale_locks=read.switch(transfer.REMOVE_STALE_LOCKS),
        allow_empty=read.switch(transfer.ALLOW_EMPTY_SOURCE),
        padded_password=(password := environ.get(restic.PASSWORD, "")) != password.strip(),
        engine=read.text(transfer.RESTIC),
        rclone=read.text(transfer.RCLONE),
        rclone_configuration=place(read.text(rclone_conf.CONFIG), root),
        deadline=read.number(transfer.DEADLINE, 0, low=0, high=1e9),
        grace=read.number(transfer.GRACE_PERIOD, transfer.DEFAULT_GRACE_PERIOD, low=0, high=3600),
        probe_limit=min(
            PROBE_LIMIT, read.number(transfer.OUTAGE_LIMIT, transfer.DEFAULT_OUTAGE_LIMIT, low=1, high=1e6)
        ),
        variables=_variables(environ, read, root=root, repository=_locate(repository, root), cache=cache),
        notices=tuple(read.notices),
    )
    if read.problems:
        raise Misconfigured(f"The mover's environment is wrong: {'; '.join(read.problems)}.")
    return settings


def place(path: str, root: str) -> str:
    """Return where a path of the container is on this machine: mounts lie below the root, everything else is the machine's own."""
    return f"{root}{path}" if root and f"{path}/".startswith(_MOUNTS) else path


def _check_actions(actions: Sequence[str], read: Reader) -> None:
    unknown = [action for action in actions if action not in restic.ACTIONS]
    if unknown:
        read.problems.append(f"{unknown[0][:40]!r} is no action; there are {', '.join(restic.ACTIONS)}")
    if not actions:
        read.problems.append(f"no action is given; there are {', '.join(restic.ACTIONS)}")
    if restic.RESTORE in actions and len(actions) > 1:
        read.problems.append("restore goes with no other action")


def _repository(read: Reader, root: str) -> str:
    given = read.text(restic.REPOSITORY)
    if not given:
        read.problems.append(f"{restic.REPOSITORY} is not set or empty; put it into the Secret that spec.restic.repository names")  # fmt: skip
    if given.startswith(_RCLONE) and (parameter := transfer.find_program(given)):
        read.problems.append(f"{restic.REPOSITORY} has the parameter {parameter!r}, which runs a program in the mover, and a Secret may not say what is run. Leave it out")  # fmt: skip
    if not given.isprintable():
        read.problems.append(f"{restic.REPOSITORY} is {given[:80]!r}, with a line end or another control character in it; write it in one line")  # fmt: skip
    elif (host := _HOST.match(given)) and _OPTION.search(host[1] or host[2] or ""):
        read.problems.append(f"{restic.REPOSITORY} has a host or a user that begins with a hyphen, which ssh would take as an option. Correct it")  # fmt: skip
    elif _RELATIVE.match(given):
        read.problems.append(f"{restic.REPOSITORY} is {given[:80]!r}, a path that does not begin with a slash: it would be within the volume itself. Mount a volume for it with moverVolumes, and write its path below /mnt")  # fmt: skip
    elif given.startswith(f"{_RCLONE}-"):
        read.problems.append(f"{restic.REPOSITORY} is {given[:80]!r}, which rclone would take as an option. Correct it")
    path = given.removeprefix(_LOCAL)
    if not root and path.startswith("/") and not lasts(path):
        read.problems.append(f"{restic.REPOSITORY} is {given!r}; what is there is gone with the Pod, or is the volume itself. Mount a volume for it with moverVolumes, and write its path below /mnt")  # fmt: skip
    return given


def _locate(repository: str, root: str) -> str:
    """Return where the repository is on this machine, if it is a path: `local:/mnt/x` is the same as `/mnt/x`."""
    path = repository.removeprefix(_LOCAL)
    if not path.startswith(_VOLUMES):
        return repository
    return f"{_LOCAL if path != repository else ''}{root}{path}"


def _options(
    environ: Mapping[str, str], read: Reader, name: str, parse: Callable[[str], tuple[str, ...]]
) -> tuple[str, ...]:
    value = environ.get(name, "").strip()  # the operator's own words begin with a blank
    try:
        return parse(value)
    except ValueError as error:
        read.problems.append(f"{name} is {value[:80]!r}; {error}")
        return ()


def _as_of(read: Reader) -> datetime | None:
    value = read.text(restic.RESTORE_AS_OF)
    moment = read_moment(value) if value else None
    if value and moment is None:
        read.problems.append(
            f"{restic.RESTORE_AS_OF} is {value[:40]!r}; write a moment as RFC 3339, such as 2026-11-29T12:00:00Z"
        )
    return moment


def _previous(read: Reader) -> int:
    value = read.text(restic.SELECT_PREVIOUS, "0")
    try:
        return outside.integer(value)
    except Unusable as error:
        read.problems.append(f"{restic.SELECT_PREVIOUS} is {value[:40]!r}; {error}")
        return 0


def _variables(environ: Mapping[str, str], read: Reader, *, root: str, repository: str, cache: str) -> dict[str, str]:
    """Return restic's environment: what it knows of the Secret, and nothing else that could change what it does."""
    names = (*_PASSED, *_GARBAGE, *restic.BACKEND_KEYS)
    found = {name: environ[name] for name in names if environ.get(name)}
    for name, value in environ.items():
        if not name.startswith(restic.RCLONE_PREFIX):
            continue
        if transfer.runs_programs(name) or transfer.find_program(value):
            read.notices.append(f"{name} could run a program in the mover; it is ignored")
        elif name.startswith(_USELESS) and value.strip():
            read.notices.append(
                f"{name} would let nothing be moved, a server be opened in the mover, or its own files be written anywhere; it is ignored"
            )
        elif name != rclone_conf.CONFIG:
            found[name] = value
    for name, own in ((transfer.CUSTOM_CA, "RESTIC_CACERT"), (restic.GOOGLE_CREDENTIALS, restic.GOOGLE_CREDENTIALS)):
        if path := read.text(name):
            found[own] = place(path, root)
    return {
        **found,
        restic.REPOSITORY: repository,
        restic.PASSWORD: environ.get(restic.PASSWORD, ""),  # as it is: white space at its ends counts
        restic.CACHE_DIR: cache,
        "TMPDIR": root + _TEMPORARY,
        "HOME": root + _TEMPORARY,
    }
