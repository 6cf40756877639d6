"""What each variable of the engine means for "unchanged", "there" and "done": one table. Pure.

`Completed` is a fact (law L4), and many of the engine's options make it untrue: what is compared with other places is not moved, what is
listed under other names is not found, what is limited is left out, and the engine says success. So every option that the engine
knows has a rule here, and none without a rule reaches it. The page on the mover has the same table; a test holds both, and the
table against the installed engine.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

from datamover.api import transfer

PREFIX = "RCLONE_"
REMOTE = f"RCLONE_CONFIG_{transfer.REMOTE.upper()}_"

ALLOWED = "passed on"
COUNTED = "taken account of"
OURS = "the mover's own"
REFUSED = "refused"
COMMAND = "runs a program"
TREATMENTS = (ALLOWED, COUNTED, OURS, REFUSED, COMMAND)
"""What becomes of a variable: it reaches the engine as it is; so it does, and the agent draws conclusions from it; it is taken away,
because the agent sets it or it has no meaning here; nothing is begun with it; it needs the DataMover's own word.
"""

_OFF = r"|0|f|false|off|0s|-1"
_ON = r"|1|t|true"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of some variables.

    `names` are without `RCLONE_`; one that ends with `*` stands for all that begin so. `why` completes "because …"; `instead` says what
    to do. `fine` matches the values with which a refused variable changes nothing, in small letters.
    """

    names: tuple[str, ...]
    treatment: str
    why: str
    instead: str = "Remove it."
    fine: str = _OFF


def _rule(names: str, treatment: str, why: str, instead: str = "Remove it.", fine: str = _OFF) -> Rule:
    return Rule(names=tuple(names.split()), treatment=treatment, why=why, instead=instead, fine=fine)


_NAMES = "what lies at the destination would have other names than the source, and nobody could tell whether all of it is there"

_PROFILE = _rule(
    "S3_SHARED_CREDENTIALS_FILE S3_PROFILE",
    COMMAND,
    "a profile can name a program that is run for its keys",
    "Put it into spec.additionalEnv of the DataMover itself: a Secret may not say what is run.",
    fine="",
)

RULES = (
    # --- nothing, or not all, is moved, and the engine says success
    _rule("DRY_RUN INTERACTIVE", REFUSED, "nothing would be moved"),
    _rule(
        "COMPARE_DEST COPY_DEST",
        REFUSED,
        "a file that is at the other place would not be moved, so the destination would not be whole",
        "Remove it: unchanged files of a mirror are not moved again anyway.",
    ),
    _rule(
        "IGNORE_EXISTING UPDATE REFRESH_TIMES LOCAL_NO_CHECK_UPDATED LOCAL_CASE_INSENSITIVE IGNORE_CASE_SYNC FIX_CASE",
        REFUSED,
        "files that changed could stay at the destination as they were, or half a file be taken for a whole one",
        'Remove it; RCLONE_CHECKSUM: "false" spares the reading of unchanged files, by size and time of change.',
    ),
    _rule(
        "USE_SERVER_MODTIME",
        REFUSED,
        "the time at which an object arrived says nothing about the file that it was made of",
        'Remove it; RCLONE_CHECKSUM: "false" compares size and time of change.',
    ),
    _rule(
        "IGNORE_SIZE",
        REFUSED,
        "the size is what tells of half a file",
        "Remove it; RCLONE_IGNORE_TIMES moves all anew.",
    ),
    _rule(
        "LOCAL_TIME_TYPE",
        REFUSED,
        "a file can change without that time doing so",
        "Remove it, or write mtime.",
        fine="|mtime",
    ),
    _rule(
        "LOCAL_HASHES",
        REFUSED,
        "without MD5 nothing can be compared by checksum",
        "Remove it, or have md5 in the list.",
        fine=r"|(.*,)?\s*md5\s*(,.*)?",
    ),
    _rule(
        "DISABLE",
        REFUSED,
        "it takes abilities from the engine on which the mover counts",
        "Remove it; RCLONE_FAST_LIST and RCLONE_MULTI_THREAD_STREAMS choose the common ones.",
        fine="",
    ),
    _rule(
        "ERROR_ON_NO_TRANSFER",
        REFUSED,
        "a mirror to which nothing has to be moved would be a failure",
        "Remove it; status.run.transferredFiles tells how many were moved.",
    ),
    # --- something is moved, renamed or deleted behind the mover's back
    _rule(
        "BACKUP_DIR SUFFIX SUFFIX_KEEP_EXTENSION",
        REFUSED,
        "what is replaced would be moved to places that the mover knows nothing of",
        "Remove it; addTimestampPrefix: true keeps every copy, and so does a bucket with versions.",
    ),
    _rule(
        "DELETE_EXCLUDED MAX_DELETE_SIZE",
        REFUSED,
        "the mover deletes by itself, under its guards, and would not do as it says",
        "Remove it; guards.maxDeletePercent or RCLONE_MAX_DELETE limit what a mirror deletes, and what a filter hides stays.",
    ),
    _rule("NAME_TRANSFORM LOCAL_UNICODE_NORMALIZATION", REFUSED, _NAMES),
    _rule(
        "NO_UNICODE_NORMALIZATION",
        REFUSED,
        "two spellings of one name are two files",
        'Remove it, or write "true".',
        fine=_ON,
    ),
    _rule("LOCAL_ENCODING", REFUSED, _NAMES, "Remove it, or write Raw.", fine="|raw"),
    _rule(
        "S3_VERSIONS S3_VERSION_AT S3_VERSION_DELETED S3_DIRECTORY_MARKERS",
        REFUSED,
        "listings would show other objects than those that are there now, and the mirror judges by them",
        "Remove it; to look at old versions, use rclone by hand.",
        fine=r"|0|f|false|off|0001-01-01t00:00:00z",
    ),
    _rule(
        "S3_DECOMPRESS",
        REFUSED,
        "objects would have neither size nor checksum",
        "Remove it, and bring compressed objects back by hand.",
    ),
    _rule(
        "S3_DOWNLOAD_URL",
        REFUSED,
        "what is read back would come from a cache in front of the store, not from the store",
        "Remove it; BUCKET_HOST is where all is read.",
        fine="",
    ),
    _rule("LOCAL_ZERO_SIZE_LINKS", REFUSED, "links would have no size to compare"),
    # --- another thing than the S3 server
    _rule(
        "CONFIG_S3GENERIC_TYPE",
        REFUSED,
        "the records and the checks are made for S3 itself, not for what wraps it (alias, crypt, union and the like)",
        "Remove it, or write s3; the page on encryption says what can be had at rest.",
        fine="|s3",
    ),
    _rule(
        "CONFIG_S3GENERIC_GLOBAL.* CONFIG_S3GENERIC_OVERRIDE.*",
        REFUSED,
        "it sets any other option in a way that is not seen",
        "Set that option's own variable.",
        fine="",
    ),
    _rule(
        "CONFIG CONFIG_DIR CONFIG_PASS",
        REFUSED,
        "a configuration file can set any option in a way that is not seen",
        "Set RCLONE_CONFIG_S3GENERIC_… or RCLONE_S3_… variables.",
        fine="|/dev/null",
    ),
    _rule(
        "RC RC_* METRICS_*",
        REFUSED,
        "it opens a server in the mover, which others could give orders to or which takes the place of the mover's own",
        "Remove it; the operator's metrics tell of the run.",
    ),
    _rule("CPUPROFILE MEMPROFILE", REFUSED, "every process of the engine would write the same file", fine=""),
    _rule(
        "DUMP",
        REFUSED,
        "goroutines, openfiles, filters, mapper, curl and auth go where listings are read from, run programs or show keys",
        "Use headers, bodies, requests, responses or errors.",
        fine=r"|\s*(headers|bodies|requests|responses|errors)\s*(,\s*(headers|bodies|requests|responses|errors)\s*)*",
    ),
    # --- programs
    _rule(
        "PASSWORD_COMMAND METADATA_MAPPER *_SSH *_COMMAND",
        COMMAND,
        "it runs a program in the mover",
        "Put it into spec.additionalEnv of the DataMover itself: a Secret may not say what is run.",
        fine="",
    ),
    _PROFILE,
    # --- what changes the meaning of "unchanged" or of "the source", and is reckoned with
    _rule(
        "CHECKSUM SIZE_ONLY IGNORE_TIMES MODIFY_WINDOW NO_CHECK_DEST",
        COUNTED,
        "it says how unchanged files are recognised; the outcome tells so, and verification does not go by it",
    ),
    _rule(
        "IGNORE_CHECKSUM",
        COUNTED,
        "after an upload the store's checksum is not looked at (the store checks what it receives all the same); the outcome tells so, and verification"
        " does not go by it",
    ),
    _rule(
        "FILTER FILTER_FROM INCLUDE INCLUDE_FROM EXCLUDE EXCLUDE_FROM EXCLUDE_IF_PRESENT FILES_FROM FILES_FROM_RAW FILES_FROM0 MIN_SIZE MAX_SIZE"
        " MAX_DEPTH IGNORE_CASE METADATA_INCLUDE METADATA_INCLUDE_FROM METADATA_EXCLUDE METADATA_EXCLUDE_FROM METADATA_FILTER"
        " METADATA_FILTER_FROM",
        COUNTED,
        "it chooses what is moved, deleted and verified; what it leaves out is in none of the numbers",
    ),
    _rule(
        "MIN_AGE MAX_AGE",
        COUNTED,
        "it chooses as above; an age is counted from the attempt's beginning, the same for all its steps",
    ),
    _rule(
        "HASH_FILTER",
        COUNTED,
        "it chooses as above; @/n, which chooses anew in every step, is refused",
        "Write k/n.",
        fine=r"[^@]*",
    ),
    _rule(
        "LINKS COPY_LINKS SKIP_LINKS LOCAL_LINKS LOCAL_COPY_LINKS LOCAL_SKIP_LINKS ONE_FILE_SYSTEM LOCAL_ONE_FILE_SYSTEM",
        COUNTED,
        "it says what becomes of symbolic links and of other file systems",
    ),
    _rule(
        "MAX_DELETE",
        COUNTED,
        "a mirror that would lose more is refused",
        "Write how many objects may be deleted, in digits, or -1 for any number.",
        fine=r"|-1|[0-9]{1,18}",
    ),
    _rule(
        "MAX_TRANSFER MAX_DURATION CUTOFF_MODE IMMUTABLE",
        COUNTED,
        "an attempt that reaches the limit, or that would change an object, fails; another one goes on from there",
    ),
    _rule("BW_LIMIT", COUNTED, "another name for BWLIMIT"),
    _rule(
        "TIMEOUT CONTIMEOUT EXPECT_CONTINUE_TIMEOUT LOW_LEVEL_RETRIES RETRIES RETRIES_SLEEP",
        COUNTED,
        "it says how long a server may take, and how often it is asked again",
    ),
    _rule(
        "S3_SERVER_SIDE_ENCRYPTION S3_SSE_*",
        COUNTED,
        "the store's ETags may be no checksums then, see the page on encryption",
    ),
    _rule(
        "S3_DISABLE_CHECKSUM",
        COUNTED,
        "large objects have no checksum then: size and time of change decide, and verification reads them back",
    ),
    # --- what the mover sets for itself, or what has no meaning here
    _rule(
        "LOG_LEVEL VERBOSE QUIET LOG_FILE LOG_FILE_* LOG_FORMAT LOG_SYSTEMD SYSLOG SYSLOG_FACILITY USE_JSON_LOG PROGRESS PROGRESS_TERMINAL_TITLE STATS"
        " STATS_* MAX_STATS_GROUPS COLOR HUMAN_READABLE NO_CONSOLE WINDOWS_EVENT_LOG_LEVEL",
        OURS,
        "the mover reads the engine's log; LOG_LEVEL, VERBOSE and QUIET choose what people see of it",
    ),
    _rule(
        "TRACK_RENAMES TRACK_RENAMES_STRATEGY DELETE_BEFORE DELETE_DURING DELETE_AFTER IGNORE_ERRORS INPLACE PARTIAL_SUFFIX AUTO_CONFIRM ASK_PASSWORD"
        " DUMP_HEADERS DUMP_BODIES DEFAULT_TIME SERVER_SIDE_ACROSS_CONFIGS LOCAL_CASE_SENSITIVE LOCAL_NOUNC LOCAL_NO_CLONE LOCAL_NO_PREALLOCATE"
        " LOCAL_NO_SPARSE LOCAL_NO_SET_MODTIME LOCAL_METADATA_RESTORE_SPECIAL_BITS LOCAL_FATAL_IF_NO_SPACE LOCAL_DESCRIPTION HELP VERSION",
        OURS,
        "it concerns commands or directions that the mover does not use, so it is left out",
    ),
    # --- what is a matter of speed, of the line or of the store
    _rule(
        "TRANSFERS CHECKERS CHECK_FIRST ORDER_BY MAX_BACKLOG NO_TRAVERSE FAST_LIST LIST_CUTOFF BUFFER_SIZE USE_MMAP MAX_BUFFER_MEMORY MULTI_THREAD_*"
        " STREAMING_UPLOAD_CUTOFF BWLIMIT BWLIMIT_FILE TPSLIMIT TPSLIMIT_BURST MAX_CONNECTIONS FS_CACHE_EXPIRE_* KV_LOCK_TIME CACHE_DIR TEMP_DIR",
        ALLOWED,
        "it is a matter of speed and memory",
    ),
    _rule(
        "CA_CERT CLIENT_CERT CLIENT_KEY CLIENT_PASS NO_CHECK_CERTIFICATE BIND DSCP HEADER HEADER_UPLOAD HEADER_DOWNLOAD HTTP_PROXY DISABLE_HTTP2"
        " DISABLE_HTTP_KEEP_ALIVES NO_GZIP_ENCODING USE_COOKIES USER_AGENT",
        ALLOWED,
        "it is a matter of the line",
    ),
    _rule(
        "METADATA METADATA_SET NO_UPDATE_MODTIME NO_UPDATE_DIR_MODTIME LOCAL_SKIP_SPECIALS SKIP_SPECIALS",
        ALLOWED,
        "it is about what is written beside the contents, or what is said of them",
    ),
    _rule(
        "S3_PROVIDER S3_ENV_AUTH S3_ACCESS_KEY_ID S3_SECRET_ACCESS_KEY S3_SESSION_TOKEN S3_REGION S3_ENDPOINT S3_LOCATION_CONSTRAINT S3_ACL S3_BUCKET_ACL"
        " S3_REQUESTER_PAYS S3_STORAGE_CLASS S3_UPLOAD_CUTOFF S3_CHUNK_SIZE S3_MAX_UPLOAD_PARTS S3_COPY_CUTOFF S3_ROLE_* S3_UPLOAD_CONCURRENCY"
        " S3_FORCE_PATH_STYLE S3_V2_AUTH S3_USE_* S3_LEAVE_PARTS_ON_ERROR S3_LIST_CHUNK S3_LIST_VERSION S3_LIST_URL_ENCODE"
        " S3_LIST_VERSIONS_OLDEST_FIRST S3_NO_CHECK_BUCKET S3_NO_HEAD S3_NO_HEAD_OBJECT S3_ENCODING S3_MEMORY_POOL_* S3_DISABLE_HTTP2 S3_MIGHT_GZIP"
        " S3_NO_SYSTEM_METADATA S3_STS_ENDPOINT S3_SIGN_ACCEPT_ENCODING S3_DIRECTORY_BUCKET S3_SDK_LOG_MODE S3_IBM_* S3_OBJECT_LOCK_*"
        " S3_BYPASS_GOVERNANCE_RETENTION S3_BUCKET_OBJECT_LOCK_ENABLED S3_DESCRIPTION",
        ALLOWED,
        "it says how this store is spoken to, and what it does with what it gets",
    ),
)
"""In the order in which a variable looks for its rule; the first that names it counts."""


def option_of(variable: str) -> str | None:
    """Return the name under which the table has a variable, or None when it is none of the engine's.

    Options of the remote have two names, `RCLONE_S3_X` and `RCLONE_CONFIG_S3GENERIC_X`; both are `S3_X`, but for those that only the
    second form has.
    """
    if variable.startswith(REMOTE):
        option = variable.removeprefix(REMOTE)
        special = option == "TYPE" or option.startswith(("GLOBAL.", "OVERRIDE."))
        return f"{REMOTE.removeprefix(PREFIX)}{option}" if special else f"S3_{option}"
    return variable.removeprefix(PREFIX) if variable.startswith(PREFIX) else None


def find_rule(option: str) -> Rule | None:
    """Return the rule about an option, by its name in the table."""
    return next((rule for rule in RULES if any(_is_named(option, name) for name in rule.names)), None)


def _is_named(option: str, name: str) -> bool:
    if name.endswith("*"):
        return option.startswith(name[:-1])
    return option.endswith(name[1:]) if name.startswith("*") else option == name


def find_problems(environ: Mapping[str, str], *, commands: Iterable[str] = ()) -> list[str]:
    """Return what is wrong with the engine's variables; `commands` names those that may run programs because the DataMover says so.

    An empty value counts as unset.
    """
    permitted = frozenset(commands)
    problems: list[str] = []
    for variable, value in sorted(environ.items()):
        if not value.strip():
            continue
        if variable in transfer.AWS_FILES and variable not in permitted:
            problems.append(_told(variable, _PROFILE))
            continue
        option = option_of(variable)
        rule = find_rule(option) if option else None
        if rule is None or rule.treatment in {ALLOWED, OURS}:
            continue
        if rule.treatment == COMMAND:
            if variable not in permitted:
                problems.append(_told(variable, rule))
        elif (rule.treatment == REFUSED or rule.fine != _OFF) and not _is_fine(rule, value):
            problems.append(_told(variable, rule, value=value if rule.fine not in {"", _OFF} else ""))
    return problems


def _is_fine(rule: Rule, value: str) -> bool:
    return re.fullmatch(rule.fine, value.strip().lower()) is not None


def _told(variable: str, rule: Rule, *, value: str = "") -> str:
    shown = f" to {value[:40]!r}" if value else ""
    hand = f" (a run by hand names it in {transfer.ALLOW_COMMANDS})" if rule.treatment == COMMAND else ""
    return f"{variable} is set{shown}: {rule.why}. {rule.instead.removesuffix('.')}{hand}"


def engine_variables(environ: Mapping[str, str], *, commands: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment that the engine may have: nothing of the engine's own without a rule, nothing empty, and nothing that makes
    the loader or an interpreter run what somebody else has put somewhere.
    """
    permitted = frozenset(commands)
    kept: dict[str, str] = {}
    for variable, value in environ.items():
        if variable.upper().startswith(PREFIX):
            option = option_of(variable)
            rule = find_rule(option) if option else None
            if rule is None or rule.treatment == OURS or not value.strip():
                continue
        elif variable != "PATH" and transfer.runs_programs(variable) and variable not in permitted:
            continue
        kept[variable] = value
    return kept


def find_unknown(environ: Mapping[str, str]) -> list[str]:
    """Return the engine's variables that have no rule, and so do not reach it."""
    return sorted(
        variable
        for variable in environ
        if variable.upper().startswith(PREFIX) and find_rule(option_of(variable) or "") is None
    )
