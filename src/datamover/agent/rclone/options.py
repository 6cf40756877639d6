"""The environment of the engine's processes. Pure.

All our defaults are variables, never flags, so that a user's `RCLONE_*` wins by itself, and no secret is on a command line
(law L8). An option of the remote can be set in two ways, `RCLONE_CONFIG_S3GENERIC_X` and `RCLONE_S3_X`, of which rclone prefers the
first: ours is set only when the user used neither.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from datamover.agent.rclone.engine_options import engine_variables
from datamover.agent.rclone.settings import Store
from datamover.api import credentials, outside, transfer
from datamover.api.outside import Unusable
from datamover.api.periods import read_period

_REMOTE = f"RCLONE_CONFIG_{transfer.REMOTE.upper()}_"
_BACKEND = "RCLONE_S3_"

# What an object of ours in `.datamover/` is read and written with: how to reach the server, and nothing that chooses, limits
# or rewrites files.
_CONNECTION = (
    _REMOTE,
    _BACKEND,
    "RCLONE_CONFIG",
    "RCLONE_CA_CERT",
    "RCLONE_CLIENT_",
    "RCLONE_NO_CHECK_CERTIFICATE",
    "RCLONE_CONTIMEOUT",
    "RCLONE_TIMEOUT",
    "RCLONE_EXPECT_CONTINUE_TIMEOUT",
    "RCLONE_LOW_LEVEL_RETRIES",
    "RCLONE_RETRIES",
    "RCLONE_TPSLIMIT",
    "RCLONE_BIND",
    "RCLONE_USER_AGENT",
    "RCLONE_HEADER",
    "RCLONE_HTTP_PROXY",
    "RCLONE_DISABLE_HTTP",
    "RCLONE_USE_COOKIES",
    "RCLONE_DUMP",
    "RCLONE_CACHE_DIR",
    "RCLONE_TEMP_DIR",
)

# With one of the following the engine's idea of "all files of the source" may differ from what the walk sees, so the engine is
# asked. It refuses the first ones beside a list of files.
_FILTERS = (
    "RCLONE_FILTER",
    "RCLONE_INCLUDE",
    "RCLONE_EXCLUDE",
    "RCLONE_FILES_FROM",
    "RCLONE_MIN_SIZE",
    "RCLONE_MAX_SIZE",
    "RCLONE_MIN_AGE",
    "RCLONE_MAX_AGE",
    "RCLONE_MAX_DEPTH",
    "RCLONE_IGNORE_CASE",
    "RCLONE_HASH_FILTER",
    "RCLONE_METADATA_INCLUDE",
    "RCLONE_METADATA_EXCLUDE",
    "RCLONE_METADATA_FILTER",
)
_SELECTION = (
    *_FILTERS,
    "RCLONE_LINKS",
    "RCLONE_COPY_LINKS",
    "RCLONE_SKIP_LINKS",
    "RCLONE_ONE_FILE_SYSTEM",
    "RCLONE_LOCAL_",
)

_LISTS = "RCLONE_FILES_FROM"
_FOLLOW = ("RCLONE_COPY_LINKS", "RCLONE_LOCAL_COPY_LINKS")
_OFF = frozenset({"", "false", "0", "f"})
_FROM = (
    "RCLONE_EXCLUDE_FROM",
    "RCLONE_INCLUDE_FROM",
    "RCLONE_FILTER_FROM",
    "RCLONE_FILES_FROM",
    "RCLONE_FILES_FROM_RAW",
    "RCLONE_METADATA_EXCLUDE_FROM",
    "RCLONE_METADATA_INCLUDE_FROM",
    "RCLONE_METADATA_FILTER_FROM",
)

# How unchanged files are recognised.
_COMPARISON = (
    "RCLONE_CHECKSUM",
    "RCLONE_SIZE_ONLY",
    "RCLONE_IGNORE_TIMES",
    "RCLONE_IGNORE_CHECKSUM",
    "RCLONE_MODIFY_WINDOW",
    "RCLONE_NO_CHECK_DEST",
)
# What limits or forbids moving; a check moves nothing, and what it reads back counts as moved for the engine.
_LIMITS = ("RCLONE_MAX_TRANSFER", "RCLONE_MAX_DURATION", "RCLONE_CUTOFF_MODE", "RCLONE_IMMUTABLE")
_AGES = ("RCLONE_MIN_AGE", "RCLONE_MAX_AGE")

ENGINE_TIMEOUT = 300.0
"""Seconds that the engine lets pass without a byte before it gives an answer up, by its own default; a test holds it against the engine."""
SILENCE = ENGINE_TIMEOUT + 300.0
"""Seconds without any line of an engine that tells its statistics every second, whatever it waits for: then it hangs."""
LEVELS = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
"""The engine's log levels, from the gravest to the most talkative."""
DEFAULT_LEVEL = "NOTICE"
"""What went wrong, and nothing of what went well: INFO, which the original's `-v` meant, has a line for each file."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Environments of the engine, and what the user's own choices mean for the agent.

    `data` is for moving and checking files, `records` for the objects below `.datamover/` and for listings. `level` is how much
    people see. `selects`: the user chose which files go; `lists_files`: by a list of them. `follows`: the engine follows links.
    `comparison` names how unchanged files are recognised; `size_only`: by their size alone.
    """

    data: dict[str, str]
    records: dict[str, str]
    level: str
    selects: bool
    lists_files: bool
    follows: bool
    compares: bool
    size_only: bool = False

    @property
    def comparison(self) -> str:
        """`checksum`, or `user` when a variable chose another way."""
        return "user" if self.compares else "checksum"


def without_filters(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a command that is given a list of files, which were chosen with the filters before."""
    return {name: value for name, value in environment.items() if not name.startswith(_FILTERS)}


def compares_contents(environment: Mapping[str, str]) -> bool:
    """Tell whether the engine compares checksums of all that it finds unchanged, and of all that it sends."""

    def is_set(name: str) -> bool:
        return environment.get(f"RCLONE_{name}", "").strip().lower() not in _OFF

    if is_set("SIZE_ONLY") or is_set("IGNORE_CHECKSUM"):
        return False
    # with the latter two nothing is found unchanged
    return is_set("CHECKSUM") or is_set("IGNORE_TIMES") or is_set("NO_CHECK_DEST")


def for_checking(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a check: nothing of what recognises unchanged files or limits moving, so that no such option weakens it
    (law L4). The filters stay: they say what is to be checked.
    """
    return {name: value for name, value in environment.items() if not name.startswith((*_COMPARISON, *_LIMITS))}


def without_etags(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be set where ETags are no MD5, as they are not where the store encrypts with keys of a key service.

    What is sent does not change: the bucket's own encryption stays in force, and the store goes on to check what it receives. The engine must
    not judge what arrived by the ETag (it would delete it), nor recognise unchanged files by it: size and time of change decide, unless the
    user chose.
    """
    chosen = {"RCLONE_IGNORE_CHECKSUM": "true", f"{_REMOTE}USE_MULTIPART_ETAG": "false"}
    if not any(name.startswith(_COMPARISON[:2]) for name in environment):
        chosen["RCLONE_CHECKSUM"] = "false"
    return chosen


def _fix_ages(environment: dict[str, str], now: datetime) -> None:
    """Turn ages into moments: each step of an attempt would reckon them from another now, and so take other files."""
    for name in _AGES:
        age = read_period(environment.get(name, ""))
        if age is not None:
            try:
                environment[name] = f"{now - timedelta(seconds=age):%Y-%m-%dT%H:%M:%S.%fZ}"
            except OverflowError:  # before the first year there are no files
                continue


def file_lists(environment: Mapping[str, str], variables: tuple[str, ...] = _FROM) -> list[tuple[str, str]]:
    """Return variable and path of each file that the engine is to read rules or names from. Several are written as CSV."""
    found: list[tuple[str, str]] = []
    for variable in variables:
        value = environment.get(variable)
        if value:
            import csv  # a tenth of the start-up budget, for what nearly nobody sets

            found += [(variable, path) for row in csv.reader([value]) for path in row if path]
    return found


def engine_options(
    environ: Mapping[str, str],
    settings: Store,
    *,
    config_file: str,
    temporary: str,
    authorities_file: str,
    now: datetime,
) -> Options:
    """Return the engine's environments.

    `config_file` is where rclone may write a configuration if it wants to (it holds no secret of ours); `temporary` a
    writable directory; `authorities_file` where the settings' authorities are, if there are any. Ages are reckoned from `now` (UTC).
    """
    base = engine_variables(environ, commands=settings.commands)
    base.pop("JOURNAL_STREAM", None)  # would turn the JSON log into one for the journal
    _fix_ages(base, now)
    if "RCLONE_BW_LIMIT" in base:  # the documents' name for it
        base.setdefault("RCLONE_BWLIMIT", base["RCLONE_BW_LIMIT"])
    base.setdefault("RCLONE_CONFIG", config_file)
    base.setdefault("RCLONE_CACHE_DIR", f"{temporary}/cache")
    base["HOME"] = settings.config
    base["TMPDIR"] = temporary
    # trimmed, where the Secret had white space around them
    keys = {transfer.ACCESS_KEY: settings.access_key, transfer.SECRET_KEY: settings.secret_key}
    for name in (*keys, transfer.SESSION_TOKEN):
        value = keys.get(name, base.get(name, "").strip() if settings.access_key else "")
        if value:
            base[name] = value
        else:
            base.pop(name, None)
    # a mover that is nobody would otherwise become its node (and a wrong role would first be waited for)
    base.setdefault(credentials.METADATA_DISABLED, "true")
    base.setdefault(transfer.REGION, settings.region)
    if settings.authorities:
        base.setdefault("RCLONE_CA_CERT", authorities_file)
    _set_remote(base, settings)
    level = wanted_level(environ)
    base["RCLONE_LOG_LEVEL"] = max(level, "INFO", key=LEVELS.index)
    base |= LOG
    records = {
        name: value
        for name, value in base.items()
        if not name.startswith("RCLONE_") or name.startswith(_CONNECTION) or name in {*LOG, "RCLONE_LOG_LEVEL"}
    }
    records |= {
        "RCLONE_STATS": "0",
        "RCLONE_FAST_LIST": "true",
        "RCLONE_S3_NO_HEAD": "true",
        "RCLONE_LOCAL_ENCODING": "Raw",
        "RCLONE_NO_UNICODE_NORMALIZATION": "true",
    }
    # the agent tries again where that makes sense
    records.setdefault("RCLONE_LOW_LEVEL_RETRIES", "4")
    for name, value in _DEFAULTS.items():
        base.setdefault(name, value)
        records.setdefault(name, value)
    return Options(
        data=base,
        records=records,
        level=level,
        selects=any(name.startswith(_SELECTION) and value.strip() for name, value in environ.items()),
        lists_files=any(name.startswith(_LISTS) and value.strip() for name, value in environ.items()),
        follows=any(environ.get(name, "").strip().lower() not in _OFF for name in _FOLLOW),
        compares=any(name.startswith(_COMPARISON) and value.strip() for name, value in environ.items()),
        size_only=environ.get("RCLONE_SIZE_ONLY", "").strip().lower() not in _OFF,
    )


def keeps_links(environment: Mapping[str, str]) -> bool:
    """Tell whether the engine keeps symbolic links as `NAME.rclonelink`, and so takes every file of such a name for one."""
    return any(environment.get(name, "").strip().lower() not in _OFF for name in ("RCLONE_LINKS", "RCLONE_LOCAL_LINKS"))


LOG = {"RCLONE_USE_JSON_LOG": "true", "RCLONE_STATS": "1s", "RCLONE_STATS_LOG_LEVEL": "NOTICE"}
"""The log as JSON on standard error with statistics every second, nothing else."""

_DEFAULTS = {
    # never create a bucket that somebody misspelt; the probe says whether it is there
    "RCLONE_S3_NO_CHECK_BUCKET": "true",
}


def _set_remote(base: dict[str, str], settings: Store) -> None:
    for option, value in {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENV_AUTH": "true",
        "REGION": settings.region,
        "ENDPOINT": settings.endpoint,
        "FORCE_PATH_STYLE": "true",
    }.items():
        if _REMOTE + option not in base and _BACKEND + option not in base:
            base[_REMOTE + option] = value


def wanted_level(environ: Mapping[str, str]) -> str:
    """Return the log level that the user asked for. rclone refuses two of these variables at once; here the most talkative wins."""
    asked: list[str] = []
    level = environ.get("RCLONE_LOG_LEVEL", "").strip().upper()
    if level in LEVELS:
        asked.append(level)
    verbose = environ.get("RCLONE_VERBOSE", "").strip().lower()
    if verbose:
        try:
            count = outside.integer(verbose)
        except Unusable:
            count = int(verbose == "true")
        asked.append("DEBUG" if count >= 2 else "INFO" if count == 1 else "NOTICE")
    if environ.get("RCLONE_QUIET", "").strip().lower() in {"true", "1"}:
        asked.append("ERROR")
    return max(asked, key=LEVELS.index, default=DEFAULT_LEVEL)
