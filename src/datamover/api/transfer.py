"""The words between the operator and the agent in a mover container: environment, progress, outcome, exit codes.

Only msgspec, the standard library, `outside` and the structs of `restore` and `verification` are imported, and nothing slow: the agent reads this at every start.

Environment
    The documents' variables (Secret keys and `additionalEnv`) are in `REQUIRED_VARIABLES` and in the constants below it.
    What the operator adds starts with `DATAMOVER_`; it sets every one of them, so that no key of a Secret takes its place. Of these
    the agent needs `DATAMOVER_OWNER_PVC` for a mirror, and otherwise none.

Progress
    One JSON object a line on standard output, next to the engine's log lines for people. `read_progress` finds them.

Outcome
    One JSON object of at most `OUTCOME_LIMIT` bytes in the termination message, and as the last line of standard output.

Exit code
    0; `TERMINAL_EXIT_CODES` when another attempt of the same Job cannot help (the Pod failure policy fails the Job at
    once); `RETRYABLE_EXIT_CODES` when it may; 128 + signal number after SIGTERM (143) or SIGINT (130).
"""

import re
from typing import Final

import msgspec

from datamover.api import outside
from datamover.api.outside import Count, Unusable, Whole
from datamover.api.restore import Restored, clean_restored, shorten_restored
from datamover.api.verification import Compared, clean_compared

# --- environment: the documents' names ---------------------------------------------------------------------------

ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
SESSION_TOKEN: Final = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a variable
REGION: Final = "AWS_REGION"
BUCKET_HOST: Final = "BUCKET_HOST"
BUCKET_NAME: Final = "BUCKET_NAME"
BUCKET_PORT: Final = "BUCKET_PORT"
TLS_HOST: Final = "TLS_HOST"
CA_CERT: Final = "CA_CERT"
"""Certificates (PEM) of the authorities that the server's certificate may be of, in the place of the image's own. An addition of ours."""
ADD_TIMESTAMP_PREFIX: Final = "ADD_TIMESTAMP_PREFIX"
CUSTOM_PATH_PREFIX: Final = "CUSTOM_PATH_PREFIX"
VERIFY_BACKUP: Final = "VERIFY_BACKUP"

REQUIRED_VARIABLES: Final = (ACCESS_KEY, SECRET_KEY, BUCKET_HOST, BUCKET_NAME)
"""Variables without which nothing can be moved. They come from the Secret or from `additionalEnv`."""

DEFAULT_REGION: Final = "us-east-1"
DEFAULT_PORT: Final = 443

# --- environment: what the operator adds -------------------------------------------------------------------------

RUN_ID: Final = "DATAMOVER_RUN_ID"
"""The run's identity, the same for every attempt (law L6): letters, digits, `.`, `_` and `-`, at most 128."""
TIMESTAMP: Final = "DATAMOVER_TIMESTAMP"
"""`YYYY-MM-DD-HHMMSS` in UTC, decided once by the operator (law L6)."""
TIMESTAMP_FORM: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{6}")
"""The form of a timestamp; that there is such a moment it does not say."""
OWNER_CLUSTER: Final = "DATAMOVER_OWNER_CLUSTER"
"""UID of the cluster. With namespace and claim it is the identity of the mirrored volume (law L3)."""
OWNER_NAMESPACE: Final = "DATAMOVER_OWNER_NAMESPACE"
OWNER_PVC: Final = "DATAMOVER_OWNER_PVC"
"""Name of the *source* PersistentVolumeClaim, not of its clone."""
OBJECT: Final = "DATAMOVER_OBJECT"
"""Name of the DataMover object; recorded, never compared."""
DEADLINE: Final = "DATAMOVER_DEADLINE"
"""Seconds that the whole agent may take; unset or 0: no limit."""
ADOPT_DESTINATION: Final = "DATAMOVER_ADOPT_DESTINATION"
"""`true`: take what lies at the mirror's destination as ours."""
ALLOW_EMPTY_SOURCE: Final = "DATAMOVER_ALLOW_EMPTY_SOURCE"
"""`true`: an empty source may empty its mirror."""
VERIFY_METHOD: Final = "DATAMOVER_VERIFY"
"""How the destination is compared, from the DataMover's `spec.verify` (`write_verification`); empty: `VERIFY_BACKUP` decides."""
MAX_DELETE_PERCENT: Final = "DATAMOVER_MAX_DELETE_PERCENT"
"""0-100: a run that would lose more than this share of its mirror's objects is refused."""
COPY_METHOD: Final = "DATAMOVER_COPY_METHOD"
"""`Clone`, `Snapshot` or `Direct`. Only `Direct` means that the source may change while it is read."""
COPIED_AT: Final = "DATAMOVER_COPIED_AT"
"""`YYYY-MM-DD-HHMMSS` in UTC: the moment of the copy that is moved, or one before it; the same for every attempt of a run (law L6). A mirror does not replace a
later copy by an earlier one (law L3). Unset: `DATAMOVER_TIMESTAMP`, which came before the copy, or the attempt's own start; always
the latter with `Direct`, where each attempt reads the source anew.
"""
ROOT: Final = "DATAMOVER_ROOT"
"""Directory in which the container's mounts lie (the embedded node); default `/`."""
GRACE_PERIOD: Final = "DATAMOVER_GRACE_PERIOD"
"""Seconds between SIGTERM to the engine and SIGKILL; below the Pod's terminationGracePeriodSeconds."""
OUTAGE_LIMIT: Final = "DATAMOVER_OUTAGE_LIMIT"
"""Seconds after which a run against a server that does not answer gives up."""
RCLONE: Final = "DATAMOVER_RCLONE"
"""Path of the rclone program; default: found on PATH or beside the Python interpreter."""
RESTIC: Final = "DATAMOVER_RESTIC"
"""Path of the restic program, 0.18 or newer; default: found on PATH."""
REMOVE_STALE_LOCKS: Final = "DATAMOVER_REMOVE_STALE_LOCKS"
"""`true`: a lock that an earlier Pod of the same mover has left in a restic repository is removed by the next one."""

ALLOW_COMMANDS: Final = "DATAMOVER_ALLOW_COMMANDS"
"""Names of variables, with commas between them, that may run programs: those that the DataMover's own spec sets (`runs_programs`)."""

DIRECTION: Final = "DIRECTION"
"""`source` or `destination`: which side of a replication the mover is."""
SOURCE_DIRECTION: Final = "source"
DESTINATION_DIRECTION: Final = "destination"
CUSTOM_CA: Final = "CUSTOM_CA"
"""File of the certificates (PEM) of the authorities that the server's certificate may be of."""
DESTINATION_ADDRESS: Final = "DESTINATION_ADDRESS"
"""Host name or address of the destination that a source sends to."""
DESTINATION_PORT: Final = "DESTINATION_PORT"
PRIVILEGED_MOVER: Final = "PRIVILEGED_MOVER"
"""`1`: the mover is root and may give files to their owners (documents)."""
DEBUG_MOVER: Final = "DEBUG_MOVER"
"""Anything: the mover does nothing and waits, so that people can look into its container."""
LISTEN_PORT: Final = "LISTEN_PORT"
"""Port that a destination listens on instead of the documented one: several of them on one machine want one each."""
RSYNC: Final = "DATAMOVER_RSYNC"
"""Path of the rsync program; default: found on PATH."""
STUNNEL: Final = "DATAMOVER_STUNNEL"
"""Path of the stunnel program; default: found on PATH."""

DEFAULT_MAX_DELETE_PERCENT: Final = 50.0
DEFAULT_GRACE_PERIOD: Final = 20.0
DEFAULT_OUTAGE_LIMIT: Final = 120.0

AWS_FILES: Final = frozenset({"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"})
"""Variables that name files of profiles; a profile can name a program that is run for its keys."""
_PROGRAMS: Final = re.compile(
    r"PATH|LD_[A-Z_]+|PYTHON[A-Z_]*|OPENSSL_[A-Z_]+|GCONV_PATH|GLIBC_TUNABLES|BASH_ENV|ENV"
    # a remote's name may have any letter, and `global.` or `override.` may stand before an option
    r"|RCLONE_.*(_COMMAND|METADATA_MAPPER|_SSH|SHARED_CREDENTIALS_FILE|PLUGIN_PATH|S3_PROFILE|S3GENERIC_PROFILE)|RCLONE_.*PASSWORD_COMMAND",
    re.DOTALL,
)
_PARAMETER: Final = re.compile(r",\s*([A-Za-z0-9_.-]+)\s*=")


def runs_programs(variable: str) -> bool:
    """Tell whether a variable can make the mover run a program that its image does not mean to run.

    Only the DataMover's own spec may set such a one; a Secret, whose every key is a variable, may not.
    """
    return variable in AWS_FILES or _PROGRAMS.fullmatch(variable) is not None


def find_program(value: str) -> str:
    """Return the parameter by which rclone would run a program if it took this value as a remote, such as `:webdav,bearer_token_command=…:`; empty
    where there is none. Parameters follow commas, also within a remote that is a parameter itself.
    """
    found = (
        name for name in _PARAMETER.findall(value) if runs_programs(f"RCLONE_S3_{re.sub('[.-]', '_', name).upper()}")
    )
    return next(found, "")


CLONE: Final = "Clone"
SNAPSHOT: Final = "Snapshot"
DIRECT: Final = "Direct"

# --- places ------------------------------------------------------------------------------------------------------

DATA_PATH: Final = "/data"
CONFIG_PATH: Final = "/config"
TERMINATION_PATH: Final = "/dev/termination-log"
BLOCK_PATH: Final = "/dev/block"
"""The device of a Block volume."""
KEYS_PATH: Final = "/keys"
TLS_PORT: Final = 8000
"""Where the destination of an rsync-tls listens in its Pod, and behind its Service unless the object says otherwise (documents)."""
TLS_KEY: Final = "psk.txt"
"""Key of a Secret, and so file in /keys: an identity, a colon, and the key of both sides in hexadecimal digits (documents)."""
SSH_PORT: Final = 8022
"""Where the destination of an rsync over ssh listens in its Pod (documents)."""
SSH_SOURCE: Final = "source"
"""Key of a Secret, and so file in /keys: the private key by which a source logs in. The public ones end in `.pub` (documents)."""
SSH_SOURCE_PUBLIC: Final = "source.pub"
SSH_DESTINATION: Final = "destination"
"""The private host key of a destination."""
SSH_DESTINATION_PUBLIC: Final = "destination.pub"
REMOTE: Final = "s3generic"
"""Name of the rclone remote; users override its options with `RCLONE_CONFIG_S3GENERIC_*`."""
STATE_FOLDER: Final = ".datamover"
"""Folder below `<root>` for owner marker, manifests, outcomes and claims. Never mirrored into, never mirrored away."""
RESTORE_MARK: Final = ".datamover-restore"
"""Folder at the top of a volume, or directory, that is being restored: while it is there, that is neither what it was nor whole."""

# --- classes of failure ------------------------------------------------------------------------------------------

CONFIG: Final = "config"
CREDENTIALS: Final = "credentials"
DENIED: Final = "denied"
NOT_FOUND: Final = "not_found"
NETWORK: Final = "network"
NO_SPACE: Final = "no_space"
SOURCE_CHANGED: Final = "source_changed"
SOURCE_UNREADABLE: Final = "source_unreadable"
GUARD: Final = "guard"
VERIFY: Final = "verify"
DEADLINE_EXCEEDED: Final = "deadline"
INTERRUPTED: Final = "interrupted"
INTERNAL: Final = "internal"

FAILURE_CLASSES: Final = (
    CONFIG,
    CREDENTIALS,
    DENIED,
    NOT_FOUND,
    GUARD,
    SOURCE_UNREADABLE,
    DEADLINE_EXCEEDED,
    NETWORK,
    NO_SPACE,
    SOURCE_CHANGED,
    VERIFY,
    INTERNAL,
    INTERRUPTED,
)
"""All classes; the place of a class is its offset in the ranges of exit codes, so it never changes."""

TERMINAL_CLASSES: Final = frozenset(
    {CONFIG, CREDENTIALS, DENIED, NOT_FOUND, GUARD, SOURCE_UNREADABLE, DEADLINE_EXCEEDED}
)
"""Classes that another attempt with the same Pod cannot heal, unless the outcome itself says `retryable`."""

# --- reasons: CamelCase constants, stable, for conditions, events and metrics (law L10) ----------------------------

REASON_SUCCEEDED: Final = "Succeeded"
REASON_INVALID_CONFIGURATION: Final = "InvalidConfiguration"
REASON_ENGINE_MISSING: Final = "EngineMissing"
REASON_WRONG_CREDENTIALS: Final = "WrongCredentials"
REASON_ACCESS_DENIED: Final = "AccessDenied"
REASON_BUCKET_NOT_FOUND: Final = "BucketNotFound"
REASON_OBJECT_LOCKED: Final = "ObjectLocked"
REASON_TOO_LARGE: Final = "TooLarge"
REASON_NOT_S3: Final = "NotAnS3Server"
REASON_SOURCE_NOT_FOUND: Final = "SourceNotFound"
REASON_SERVER_UNREACHABLE: Final = "ServerUnreachable"
REASON_TLS_UNTRUSTED: Final = "TLSUntrusted"
REASON_TLS_MISMATCH: Final = "TLSMismatch"
REASON_SERVER_ERROR: Final = "ServerError"
REASON_NO_SPACE: Final = "NoSpaceLeft"
REASON_NO_LOCAL_SPACE: Final = "NoLocalSpaceLeft"
REASON_SOURCE_CHANGED: Final = "SourceChanged"
REASON_SOURCE_UNREADABLE: Final = "SourceUnreadable"
REASON_SOURCE_UNFINISHED: Final = "SourceUnfinished"
REASON_NAME_TOO_LONG: Final = "NameTooLong"
REASON_NAME_COLLISION: Final = "NameCollision"
REASON_NAME_REFUSED: Final = "NameRefused"
REASON_DESTINATION_NOT_OWNED: Final = "DestinationNotOwned"
REASON_DESTINATION_BUSY: Final = "DestinationBusy"
REASON_NEWER_BACKUP_EXISTS: Final = "NewerBackupExists"
REASON_LISTING_INCOMPLETE: Final = "ListingIncomplete"
REASON_EMPTY_SOURCE: Final = "EmptySource"
REASON_SOURCE_SHRUNK: Final = "SourceShrunk"
REASON_RESERVED_NAME: Final = "ReservedName"
REASON_PEER_INCOMPATIBLE: Final = "PeerIncompatible"
REASON_RECORD_UNUSABLE: Final = "RecordUnusable"
REASON_RECORD_LOST: Final = "RecordLost"
REASON_NO_FREE_FOLDER: Final = "NoFreeFolder"
REASON_VERIFICATION_FAILED: Final = "VerificationFailed"
REASON_BACKUP_DAMAGED: Final = "BackupDamaged"
REASON_POINT_SUPERSEDED: Final = "PointSuperseded"
REASON_COMPARISON_DISTURBED: Final = "ComparisonDisturbed"
REASON_COMPARISON_UNFINISHED: Final = "ComparisonUnfinished"
REASON_INVALID_SPEC: Final = "InvalidSpec"
"""What the spec says contradicts what only the mover can see. The operator's word for it, which finds the rest."""
REASON_DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
REASON_INTERRUPTED: Final = "Interrupted"
REASON_ENGINE_FAILED: Final = "EngineFailed"
REASON_ENGINE_SILENT: Final = "EngineSilent"
REASON_DESTINATION_TOO_SMALL: Final = "DestinationTooSmall"
REASON_HOST_KEY_CHANGED: Final = "HostKeyChanged"
REASON_OUT_OF_MEMORY: Final = "OutOfMemory"
REASON_WRONG_PASSWORD: Final = "WrongPassword"  # noqa: S105 - a reason
REASON_REPOSITORY_LOCKED: Final = "RepositoryLocked"
REASON_REPOSITORY_LOCK_LEFT: Final = "RepositoryLockLeft"
REASON_REPOSITORY_NOT_FOUND: Final = "RepositoryNotFound"
REASON_REPOSITORY_DAMAGED: Final = "RepositoryDamaged"
REASON_NOT_AN_IMAGE: Final = "NotAnImage"
REASON_IMAGE_REFUSED: Final = "ImageRefused"
REASON_IMAGE_DAMAGED: Final = "ImageDamaged"
REASON_LENGTH_UNKNOWN: Final = "LengthUnknown"
REASON_CHECKSUM_MISMATCH: Final = "ChecksumMismatch"
REASON_REDIRECT_REFUSED: Final = "RedirectRefused"
REASON_POINT_NOT_FOUND: Final = "PointNotFound"
REASON_POINT_AMBIGUOUS: Final = "PointAmbiguous"
REASON_POINT_UNUSABLE: Final = "PointUnusable"
REASON_PATH_NOT_FOUND: Final = "PathNotFound"
REASON_TARGET_NOT_EMPTY: Final = "TargetNotEmpty"
REASON_TARGET_UNFINISHED: Final = "TargetUnfinished"
REASON_TARGET_BUSY: Final = "TargetBusy"
REASON_SAFETY_COPY_UNUSABLE: Final = "SafetyCopyUnusable"
REASON_TARGET_UNUSABLE: Final = "TargetUnusable"
REASON_TARGET_READ_ONLY: Final = "TargetReadOnly"
REASON_TARGET_TOO_SMALL: Final = "TargetTooSmall"
REASON_RESTORED_OTHERWISE: Final = "RestoredOtherwise"
REASON_INTERNAL_ERROR: Final = "InternalError"

# --- exit codes --------------------------------------------------------------------------------------------------

EXIT_SUCCESS: Final = 0
TERMINAL_EXIT_CODES: Final = range(20, 40)
RETRYABLE_EXIT_CODES: Final = range(40, 60)
EXIT_SIGTERM: Final = 143


def exit_code(failure_class: str | None, *, retryable: bool) -> int:
    """Return the exit code of an outcome: 0 without a class, else a fixed one of the terminal or the retryable range."""
    if failure_class is None:
        return EXIT_SUCCESS
    if failure_class == INTERRUPTED:
        return EXIT_SIGTERM
    offset = (
        FAILURE_CLASSES.index(failure_class) if failure_class in FAILURE_CLASSES else FAILURE_CLASSES.index(INTERNAL)
    )
    return (RETRYABLE_EXIT_CODES if retryable else TERMINAL_EXIT_CODES)[offset]


# --- destinations ------------------------------------------------------------------------------------------------

_DELETE: Final = 0x7F
_SPACE: Final = 0x20


def path_prefix(text: str) -> str:
    """Return `CUSTOM_PATH_PREFIX` without leading and trailing slashes; empty when there is nothing left.

    Raises ValueError with a sentence for people when a segment is empty, `.`, `..` or `.datamover`, or holds a control
    character: such keys would hide data or reach into another mirror's records (law L3).
    """
    trimmed = text.strip("/")
    if not trimmed:
        return ""
    for segment in trimmed.split("/"):
        if not segment:
            raise ValueError("it has an empty segment (two slashes in a row)")
        if segment in {".", ".."}:
            raise ValueError(f"it has the segment {segment!r}, which object stores do not resolve")
        if segment == STATE_FOLDER:
            raise ValueError(f"{STATE_FOLDER!r} is where datamover keeps its own records")
        if any(ord(letter) < _SPACE or ord(letter) == _DELETE for letter in segment):
            raise ValueError("it has a control character")
    return trimmed


def destination(bucket: str, *, prefix: str = "", timestamp: str | None = None) -> str:
    """Return the engine's name of a destination: `s3generic:bucket/prefix/timestamp/`, always with a final slash."""
    parts = [bucket, *([prefix] if prefix else []), *([timestamp] if timestamp else [])]
    return f"{REMOTE}:{'/'.join(parts)}/"


# --- verification ------------------------------------------------------------------------------------------------

NONE: Final = "none"
SIZE: Final = "size"
CHECKSUMS: Final = "checksums"
DOWNLOAD: Final = "download"
SAMPLE: Final = "sample"
METHOD_NAMES: Final = {"None": NONE, "Size": SIZE, "Checksum": CHECKSUMS, "Download": DOWNLOAD, "Sample": SAMPLE}
"""The methods as `spec.verify.method` has them, and as outcomes name them."""
_SHOWN: Final = {name: shown for shown, name in METHOD_NAMES.items()}
_SAMPLE: Final = re.compile(r"sample:([0-9]{1,3}(?:\.[0-9]{1,6})?)%")


class Verification(msgspec.Struct, frozen=True, gc=False):
    """What is compared: `name` is empty (nothing but what the listing brings anyway), or one of four methods; `percent` is that of a sample."""

    name: str = ""
    percent: float = 0.0

    def __str__(self) -> str:
        """Return the method as the outcome names it."""
        return f"{self.name}:{self.percent:g}%" if self.name == SAMPLE else self.name


def read_verification(text: str) -> Verification:
    """Return what `VERIFY_BACKUP` asks for. Raises ValueError with what to write instead."""
    text = text.strip()
    if text in {"", "false"}:
        return Verification()
    if text == "true":
        return Verification(CHECKSUMS)
    if text == DOWNLOAD:
        return Verification(DOWNLOAD)
    match = _SAMPLE.fullmatch(text)
    if match and 0 < float(match[1]) <= 100:
        return Verification(SAMPLE, float(match[1]))
    raise ValueError(
        'write "true" (checksums recorded by the store), "download" (read everything back), "sample:5%" (read that share back, more than 0 and at most'
        ' 100) or "false", in small letters'
    )


def write_verification(wanted: Verification | None) -> str:
    """Return `DATAMOVER_VERIFY`: empty where nothing was chosen, so that `VERIFY_BACKUP` decides."""
    if wanted is None:
        return ""
    return str(wanted) if wanted.name else NONE


def read_chosen_verification(text: str) -> Verification | None:
    """Return what `DATAMOVER_VERIFY` says, None where it is empty. Raises ValueError with what it may be."""
    if not text:
        return None
    if text in {NONE, SIZE, CHECKSUMS, DOWNLOAD}:
        return Verification("" if text == NONE else text)
    match = _SAMPLE.fullmatch(text)
    if match and 0 < float(match[1]) <= 100:
        return Verification(SAMPLE, float(match[1]))
    raise ValueError(f"write {NONE}, {SIZE}, {CHECKSUMS}, {DOWNLOAD}, or {SAMPLE}:5%")


def contradiction(chosen: Verification, variable: str) -> str:
    """Return what is wrong where `spec.verify` asks for `chosen` and `VERIFY_BACKUP` for something else; empty where both say the same. Raises ValueError
    when the variable's value is none.
    """
    if read_verification(variable) == chosen:
        return ""
    return (
        f"spec.verify asks for the method {show_verification(write_verification(chosen))}, and {VERIFY_BACKUP} is {variable.strip()[:40]!r}, which is"
        f" another one: remove {VERIFY_BACKUP} from spec.additionalEnv and from the Secret, or spec.verify.method, or let both say the same"
    )


def show_verification(method: str) -> str:
    """Return a method of an outcome in the words of `spec.verify`: `Checksum`, `Sample:5%`; empty for one that is not known."""
    name, _, percent = method.partition(":")
    shown = _SHOWN.get(name, "")
    return f"{shown}:{percent}" if shown and percent else shown


def tell_verification(*, method: str, checked: int, read: int, files: int) -> str:
    """Return what was compared with what: no more than was done (law L4). `method` as in an outcome, with `files` in all."""
    if not method:
        return "the mover compared what is at the destination with the source; it does not say how"
    if method == SIZE and files:
        return (
            f"{files} of {files} files were compared with the store's listing by name and size; their contents were not"
        )
    if not checked + read:
        return "there was no file to compare"
    if method == DOWNLOAD:
        return f"{read} of {files} files were read back and compared with the source"
    if method.startswith(SAMPLE):
        return f"a sample of {read} of {files} files ({method}) was read back and compared with the source, the others by name and size only"
    if not checked:
        return f"{read} of {files} files were read back and compared with the source, for the store has no checksums of them"
    rest = f", and {read} of which it has none were read back" if read else ""
    return (
        f"{checked} of {files} files were compared with the source by checksums recorded by the store{rest}; rot at rest shows only in what"
        ' is read back (VERIFY_BACKUP: "download")'
    )


# --- progress ----------------------------------------------------------------------------------------------------

WALKING: Final = "walking"
PROBING: Final = "probing"
COPYING: Final = "copying"
"""The store itself copies what has not changed since an older copy. Then everything is compared all the same."""
SYNCING: Final = "syncing"
VERIFYING: Final = "verifying"
RECORDING: Final = "recording"
FILE_WORK: Final = 1 << 18
"""Bytes that are moved in about the time that a small file takes."""
AWAITING: Final = "awaiting"
RECEIVING: Final = "receiving"
SERVING: Final = (AWAITING, RECEIVING)
"""Phases of a mover that another one connects to. How long that takes is not its own affair, and what it receives it cannot count."""
PHASES: Final = (WALKING, PROBING, COPYING, SYNCING, VERIFYING, RECORDING, *SERVING)


class Progress(
    msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True, tag_field="datamover", tag="progress"
):
    """How far a run is. Sizes in bytes, `speed` in bytes a second, `eta` in seconds or null while unknown.

    `total_bytes` and `total_files` are what the walk of the source found (while `walking`: so far). `files` and `bytes` are what is
    known to be at the destination: transferred, or compared and found unchanged; bytes of unchanged files are reckoned from their number.
    While `verifying` they are what was compared once more; while `copying` all four are of what the store is to copy itself. `eta` is about all that is left to do in the phase. `trouble` is a sentence about the server while it
    does not answer, else empty.
    """

    run_id: str
    phase: str
    bytes: Count = 0
    total_bytes: Count = 0
    files: Count = 0
    total_files: Count = 0
    speed: float = 0.0
    eta: Whole | None = None
    errors: Count = 0
    elapsed: float = 0.0
    trouble: str = ""

    @property
    def work(self) -> tuple[int, int]:
        """What is done and what there is to do in this phase. A file counts as much as `FILE_WORK` bytes: each costs requests."""
        if self.phase == VERIFYING:
            return min(self.files, self.total_files), self.total_files
        done = min(self.bytes, self.total_bytes) + FILE_WORK * min(self.files, self.total_files)
        return done, self.total_bytes + FILE_WORK * self.total_files


_PROGRESS_MARK: Final = b'{"datamover":"progress"'
_STAMP: Final = re.compile(rb"(?:[0-9TZ:.+-]{1,40} )?")
"""What may stand before it: the time that the container runtime has put there. Not a name that the engine logs."""
_decode_progress: Final = outside.Decoder(Progress, limit=outside.WORD_LIMIT)


def read_progress(line: bytes | str) -> Progress | None:
    """Return the progress that a log line carries, or None for every other line. Never raises. Its words are clean, a phase that is
    not known counts as `SYNCING`.
    """
    raw = line.encode("utf-8", "replace") if isinstance(line, str) else line
    start = raw.find(_PROGRESS_MARK, 0, len(_PROGRESS_MARK) + 64)
    if start < 0 or not _STAMP.fullmatch(raw, 0, start):
        return None
    try:
        found = _decode_progress(raw[start:].strip())
    except Unusable:
        return None
    return msgspec.structs.replace(
        found,
        run_id=outside.clean(found.run_id, limit=outside.NAME_LIMIT),
        phase=outside.known(found.phase, PHASES, otherwise=SYNCING),
        trouble=outside.clean(found.trouble),
    )


# --- outcome -----------------------------------------------------------------------------------------------------

OUTCOME_VERSION: Final = 1
OUTCOME_LIMIT: Final = 4096
"""Bytes that the kubelet keeps of a termination message."""
LOG_LIMIT: Final = 1024
"""Bytes of an engine's log in an outcome: what `status.latestMoverStatus.logs` may hold."""


class Outcome(
    msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True, tag_field="datamover", tag="outcome"
):
    """What became of one attempt.

    `failure_class` (JSON `class`) is null after a success, else one of `FAILURE_CLASSES`; `reason` is a CamelCase constant;
    `message` a sentence for people that says what to do. `files` and `bytes` are what the source holds and the destination
    should now hold; `transferred_*` what this attempt moved, `copied_*` what the
    store itself copied from an older copy of the volume instead; the rest was there. `deleted` counts objects removed from a mirror.
    `verified` is null when verification was not asked for, or had nothing to compare; `verification` is the method (`size`, `checksums`, `download`,
    `sample:5%`; empty in outcomes of movers that knew one only), `checked_files` how many files were compared with a checksum that the
    store had recorded, `read_files` how many were read back. `comparison` says how unchanged files were recognised:
    `checksum`, `time` (size and time of change, where the store's ETags are no checksums), `size` (where it has no times either), or `user` when an `RCLONE_*` variable
    chose another way. `problems` names the first few paths concerned. `log` is the end of the engine's log for people, as far as
    the movers of a ReplicationSource or ReplicationDestination tell it: at most `LOG_LIMIT` bytes of whole lines.
    `digest` tells the version of an object that was asked for without reading it. `restored` is there in outcomes of restores only (see
    `restoration`), `compared` in those of comparisons with a manifest (see `comparison_made`). Times are RFC 3339 in UTC.
    """

    version: Count = OUTCOME_VERSION
    run_id: str = ""
    succeeded: bool = False
    failure_class: str | None = msgspec.field(default=None, name="class")
    reason: str = ""
    message: str = ""
    retryable: bool = False
    destination: str = ""
    timestamp: str | None = None
    files: Count = 0
    bytes: Count = 0
    transferred_files: Count = 0
    transferred_bytes: Count = 0
    copied_files: Count = 0
    copied_bytes: Count = 0
    deleted: Count = 0
    skipped_special: Count = 0
    symlinks: Count = 0
    verified: bool | None = None
    verification: str = ""
    checked_files: Count = 0
    read_files: Count = 0
    comparison: str = ""
    engine: str = ""
    started_at: str = ""
    finished_at: str = ""
    problems: tuple[str, ...] = ()
    log: str = ""
    digest: str = ""
    restored: Restored | msgspec.UnsetType | None = msgspec.UNSET
    compared: Compared | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def restoration(self) -> Restored | None:
        """What became of a restore; None in the outcome of anything else."""
        return self.restored if isinstance(self.restored, Restored) else None

    @property
    def comparison_made(self) -> Compared | None:
        """What became of a comparison with a manifest; None in the outcome of anything else."""
        return self.compared if isinstance(self.compared, Compared) else None

    @property
    def exit_code(self) -> int:
        """The exit code that belongs to this outcome."""
        return exit_code(None if self.succeeded else self.failure_class or INTERNAL, retryable=self.retryable)


def encode_outcome(outcome: Outcome, *, limit: int = OUTCOME_LIMIT) -> bytes:
    """Return the outcome as one line of JSON of at most `limit` bytes: first `problems`, then what a restore tells of losses, or a comparison notes, then `log` by its first
    lines, then `message`, are cut.
    """
    encoded = msgspec.json.encode(outcome)
    while len(encoded) > limit and outcome.problems:
        outcome = msgspec.structs.replace(outcome, problems=outcome.problems[: len(outcome.problems) // 2])
        encoded = msgspec.json.encode(outcome)
    while len(encoded) > limit and outcome.restoration and (less := shorten_restored(outcome.restoration)):
        outcome = msgspec.structs.replace(outcome, restored=less)
        encoded = msgspec.json.encode(outcome)
    if len(encoded) > limit and outcome.comparison_made and outcome.comparison_made.notes:
        outcome = msgspec.structs.replace(outcome, compared=msgspec.structs.replace(outcome.comparison_made, notes=()))
        encoded = msgspec.json.encode(outcome)
    while len(encoded) > limit and outcome.log:
        outcome = msgspec.structs.replace(outcome, log=outcome.log.partition("\n")[2])
        encoded = msgspec.json.encode(outcome)
    while len(encoded) > limit and outcome.message:
        excess = len(encoded) - limit
        keep = max(0, len(outcome.message) - max(excess // 4, 16))  # a letter takes up to four bytes, or six escaped
        outcome = msgspec.structs.replace(outcome, message=outcome.message[:keep].rstrip(" …") + "…" if keep else "")
        encoded = msgspec.json.encode(outcome)
    return encoded


_OUTCOME_MARK: Final = b'{"datamover":"outcome"'
_decode_outcome: Final = outside.Decoder(Outcome, limit=outside.RECORD_LIMIT)


def parse_outcome(text: bytes | str | None) -> Outcome | None:
    """Return the outcome in a termination message, a log line or a record, or None when there is none. Its words are clean; a class that
    is not known counts as `INTERNAL`. Raises `outside.Unusable` when there is one that cannot be read.
    """
    if not text:
        return None
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    start = raw.find(_OUTCOME_MARK)
    if start < 0:
        return None
    found = _decode_outcome(raw[start:].strip())
    failure_class = found.failure_class
    if failure_class is not None:
        failure_class = outside.known(failure_class, FAILURE_CLASSES, otherwise=INTERNAL)
    return msgspec.structs.replace(
        found,
        run_id=outside.clean(found.run_id, limit=outside.NAME_LIMIT),
        failure_class=failure_class,
        reason=outside.clean(found.reason, limit=outside.NAME_LIMIT),
        message=outside.clean(found.message, limit=OUTCOME_LIMIT),
        destination=outside.clean(found.destination, limit=OUTCOME_LIMIT),
        timestamp=found.timestamp if TIMESTAMP_FORM.fullmatch(found.timestamp or "") else None,
        verification=outside.clean(found.verification, limit=outside.NAME_LIMIT),
        comparison=outside.clean(found.comparison, limit=outside.NAME_LIMIT),
        engine=outside.clean(found.engine, limit=outside.NAME_LIMIT),
        started_at=outside.clean(found.started_at, limit=outside.NAME_LIMIT),
        finished_at=outside.clean(found.finished_at, limit=outside.NAME_LIMIT),
        problems=tuple(outside.clean(problem, limit=OUTCOME_LIMIT) for problem in found.problems),
        log=clean_log(found.log),
        restored=msgspec.UNSET if found.restoration is None else clean_restored(found.restoration),
        compared=msgspec.UNSET if found.comparison_made is None else clean_compared(found.comparison_made),
    )


def clean_log(text: str) -> str:
    """Return the last whole lines that fit into `LOG_LIMIT` bytes, each of them clean."""
    kept: list[str] = []
    left = LOG_LIMIT
    for line in reversed(text[-4 * LOG_LIMIT :].splitlines()):
        cleaned = outside.clean(line, limit=LOG_LIMIT)
        left -= len(cleaned.encode()) + 1
        if left < -1:
            break
        kept.append(cleaned)
    return "\n".join(reversed(kept))


def decode_outcome(text: bytes | str | None) -> Outcome | None:
    """Return the outcome as `parse_outcome` does, and None also for one that cannot be read. Never raises."""
    try:
        return parse_outcome(text)
    except Unusable:
        return None
