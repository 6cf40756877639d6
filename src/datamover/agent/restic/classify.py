"""From a restic command that failed to a class, a reason and a sentence that says what to do. Pure.

restic tells a missing repository, a lock and a wrong password by exit codes of their own; everything else is read from its words, and those
are restic's, its libraries' or the server's.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from datamover.agent.errors import Failure
from datamover.agent.printing import quote_names
from datamover.agent.restic.messages import ERROR, EXIT_ERROR, Message
from datamover.agent.restic.process import Answer
from datamover.api import restic, transfer

NO_REPOSITORY: Final = 10
LOCKED: Final = 11
WRONG_PASSWORD: Final = 12
INCOMPLETE: Final = 3
"""Of a backup: some files could not be read, and the snapshot is without them."""
KILLED: Final = -9
_EXAMPLES: Final = 5
_LONGEST: Final = 300

_NO_SPACE: Final = re.compile(r"no space left on device|disk quota exceeded|file too large", re.IGNORECASE)
_ABSENT: Final = re.compile(
    r"repository does not exist|specified bucket does not exist|NoSuchBucket|NoSuchKey|specified key does not exist"
    r"|unable to open config file: (?:stat|Stat|lstat)[^\n]*(?:no such file|does not exist|not found)",
    re.IGNORECASE,
)
"""What a server says of a repository, or its bucket, that is not there yet."""
_TRANSIENT: Final = frozenset({transfer.REASON_SERVER_UNREACHABLE, transfer.REASON_SERVER_ERROR})
_RETRYING: Final = re.compile(r"^\S.* returned error, retrying after")
_VANISHED: Final = re.compile(r"no such file or directory|stale file handle", re.IGNORECASE)


class Cause(NamedTuple):
    """What words mean. `sentence` may have `{repository}` in it."""

    words: re.Pattern[str]
    failure_class: str
    reason: str
    sentence: str
    retryable: bool | None = None


def _cause(words: str, failure_class: str, reason: str, sentence: str, *, retryable: bool | None = None) -> Cause:
    return Cause(re.compile(words, re.IGNORECASE), failure_class, reason, sentence, retryable)


CAUSES: Final = (
    _cause(
        r"wrong password or no key found|no key could be found",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_PASSWORD,
        f"The password does not open the repository {{repository}}: correct {restic.PASSWORD} in the Secret. It is the one with which the repository was"
        " made; without it nobody can read what is in it.",
    ),
    _cause(
        r"no credentials found|NoCredentialProviders|could not find default credentials|credentials: could not|no such profile",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_CREDENTIALS,
        "There are no credentials for {repository}: put the keys that its kind of store needs into the Secret, such as AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY for S3.",
    ),
    _cause(
        r"InvalidAccessKeyId|No user exists with the provided access key|access key id you provided does not exist|SignatureDoesNotMatch|signature we calculated|401 Unauthorized|status code 401|unexpected HTTP response \(401\)"
        r"|AuthenticationFailed|bad_auth_token|invalid_grant|ExpiredToken|RequestTimeTooSkewed|Authorization failed",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_CREDENTIALS,
        "The server of {repository} does not accept the credentials: correct the keys in the Secret.",
    ),
    _cause(
        r"Access ?Denied|403 Forbidden|status code 403|unexpected HTTP response \(403\)|\b403\b.*forbidden|AuthorizationPermissionMismatch",
        transfer.DENIED,
        transfer.REASON_ACCESS_DENIED,
        "The server of {repository} knows the keys but does not allow this: they need to list, read, write and delete there.",
    ),
    _cause(
        r"certificate signed by unknown authority|x509: |tls: failed to verify",
        transfer.NETWORK,
        transfer.REASON_TLS_UNTRUSTED,
        "The certificate of the server of {repository} is not trusted: put its authority's certificate into a Secret or ConfigMap and name that in"
        " spec.restic.customCA.",
        retryable=False,
    ),
    _cause(
        r"server gave HTTP response to HTTPS client|malformed HTTP response|client sent an HTTP request to an HTTPS server",
        transfer.NETWORK,
        transfer.REASON_TLS_MISMATCH,
        "One side of {repository} speaks HTTP and the other HTTPS: write the scheme that the server has into the address, such as s3:http://....",
        retryable=False,
    ),
    _cause(
        r"connection refused|no such host|i/o timeout|network is unreachable|no route to host|connection reset|TLS handshake timeout|deadline exceeded|proxyconnect"
        r"|server misbehaving|timeout awaiting response headers",
        transfer.NETWORK,
        transfer.REASON_SERVER_UNREACHABLE,
        "The server of {repository} does not answer: check that it runs, that the address is right, and that a NetworkPolicy lets the mover reach it.",
    ),
    _cause(
        r"SlowDown|InternalError|ServiceUnavailable|502 Bad Gateway|503 Service|504 Gateway|unexpected HTTP response \(5\d\d\)",
        transfer.NETWORK,
        transfer.REASON_SERVER_ERROR,
        "The server of {repository} fails or is overloaded; it is tried again.",
    ),
    _cause(
        r"InvalidBucketName|Bucket name cannot|bucket name contains invalid|invalid backend|invalid repository|unable to parse|parsing repository location failed|s3: invalid format"
        r"|s3: bucket name not found|unknown backend|unsupported backend",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        f"{restic.REPOSITORY} is no address of a repository: write it as s3:https://host/bucket/folder, as a path below /mnt (moverVolumes), or as"
        " restic's documentation says for other stores.",
    ),
    _cause(
        r"ciphertext verification failed|decrypting blob .* failed|nonce is invalid|invalid data returned|not found in index|not found in repository|data is incorrect|Load\(<(?:data|index|snapshot)/.*(?:no such file|not exist)"
        r"|unsupported repository version|config or key \w+ is damaged|wrong data returned|repository contains (?:errors|damaged)|hash does not match id"
        r"|unable to load (?:tree|index)|tree \w+ not found",
        transfer.GUARD,
        transfer.REASON_REPOSITORY_DAMAGED,
        "The repository {repository} is damaged. Nothing was forgotten. Run `restic check` on it, then what it says (`restic repair index`, `restic repair"
        " snapshots`), or begin a new repository beside it.",
    ),
    _cause(
        r"permission denied|operation not permitted|read-only file system",
        transfer.DENIED,
        transfer.REASON_ACCESS_DENIED,
        "The mover may not write to {repository} or to its own folders: give its user the right by spec.restic.moverSecurityContext (runAsUser, fsGroup), or mount the"
        " volume of the repository so that it can be written to.",
    ),
)
"""Tried in this order: what has to be mended first stands first."""


def find_cause(text: str) -> Cause | None:
    """Return what the words mean."""
    return next((cause for cause in CAUSES if cause.words.search(text)), None)


def is_absent(answer: Answer) -> bool:
    """Tell whether the repository is not there, so that it may be made: never where only nobody answered."""
    if answer.code == NO_REPOSITORY:
        return True
    found = find_cause(answer.text)
    # restic asks "Is there a repository at the following location?" whatever went wrong, so that says nothing
    return answer.code != 0 and _ABSENT.search(answer.text) is not None and found is None


def is_definite(text: str) -> bool:
    """Tell whether a server has said something that asking again does not change."""
    cause = find_cause(text)
    return _ABSENT.search(text) is not None if cause is None else cause.reason not in _TRANSIENT


def is_retrying(message: Message) -> bool:
    """Tell whether restic says that a request failed, and that it tries again by itself."""
    return _RETRYING.search(message.message) is not None


def failure_of(
    answer: Answer, *, repository: str, doing: str, folders: Sequence[str] = (), padded_password: bool = False
) -> Failure:
    """Return what to tell of a command that failed. `doing` is what it was for, such as `the backup`; `folders` are restic's own, for its cache
    and what is temporary; `padded_password`: white space begins or ends the password.
    """
    if answer.code == KILLED and not answer.timed_out:
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_OUT_OF_MEMORY,
            "restic was killed, as the kernel does when a container reaches its memory limit, or the node's memory runs out. Raise"
            " spec.restic.moverResources.limits.memory.",
        )
    if answer.code == NO_REPOSITORY:
        return Failure(
            transfer.NOT_FOUND,
            transfer.REASON_REPOSITORY_NOT_FOUND,
            f"There is no repository at {repository}: check {restic.REPOSITORY} in the Secret. A backup or a restore makes one.",
        )
    full = _find_line(answer, _NO_SPACE)
    if full:
        own = any(f"{folder}/" in full for folder in folders)
        return _full(full, own=own, repository=repository, restoring=doing == RESTORING)
    cause = CAUSES[0] if answer.code == WRONG_PASSWORD else find_cause(answer.text)
    if cause is None and answer.timed_out:
        cause = next(each for each in CAUSES if each.reason == transfer.REASON_SERVER_UNREACHABLE)
    if cause is None:
        return Failure(
            transfer.INTERNAL,
            transfer.REASON_ENGINE_FAILED,
            f"{doing[0].upper()}{doing[1:]} failed: restic ended with exit code {answer.code}{_quote(_last_words(answer))}. Its log has more.",
        )
    sentence = cause.sentence.format(repository=repository)
    if cause.reason == transfer.REASON_WRONG_PASSWORD and padded_password:
        sentence += " The password in the Secret begins or ends with white space, such as a new line, and that counts."
    quoted = _quote(_find_line(answer, cause.words) or _last_words(answer))
    return Failure(cause.failure_class, cause.reason, f"{sentence}{quoted}", retryable=cause.retryable)


RESTORING: Final = "the restore"


def failure_of_files(answer: Answer) -> Failure:
    """Return what to tell of a backup that left files out."""
    names = tuple(dict.fromkeys(each.item for each in answer.complaints if each.item))
    texts = [each.text for each in answer.complaints if each.message_type == ERROR]
    named = quote_names(names[:_EXAMPLES], len(names)) if names else "some files"
    if texts and all(map(_VANISHED.search, texts)):
        return Failure(
            transfer.SOURCE_CHANGED,
            transfer.REASON_SOURCE_CHANGED,
            f"Files vanished while they were read: {named}. The snapshot that was made is without them, and older ones are kept. It is tried again; copyMethod"
            " Snapshot or Clone reads a copy that does not change.",
            problems=names[:_EXAMPLES],
        )
    return Failure(
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
        f"The mover cannot read {named}. The snapshot that was made is without them, and older ones are kept. Give the mover the user of the application by"
        f" spec.restic.moverSecurityContext, or allow privileged movers in the namespace.{_quote(texts[0] if texts else '')}",
        problems=names[:_EXAMPLES],
    )


def _full(line: str, *, own: bool, repository: str, restoring: bool) -> Failure:
    if own:
        reason = transfer.REASON_NO_LOCAL_SPACE
        sentence = "No space is left in the mover's cache or temporary folder: raise spec.restic.cacheCapacity (the cache needs about a hundredth of the data)."
    elif restoring:
        reason = transfer.REASON_NO_SPACE
        sentence = "No space is left in the volume that is restored to: raise spec.restic.capacity, or give a larger destinationPVC."
    else:
        reason = transfer.REASON_NO_SPACE
        sentence = (
            f"No space is left where the repository {repository} is: give it more, keep fewer snapshots (spec.restic.retain), or prune more often"
            " (spec.restic.pruneIntervalDays)."
        )
    return Failure(transfer.NO_SPACE, reason, f"{sentence}{_quote(line)}")


def _find_line(answer: Answer, words: re.Pattern[str]) -> str:
    """Return the first line that has the words, or the empty string."""
    return next((line for line in answer.text.splitlines() if words.search(line)), "")


def _last_words(answer: Answer) -> str:
    """Return the line that says most: restic's last word, else its last complaint."""
    last = [each.text for each in answer.complaints if each.message_type == EXIT_ERROR]
    other = [each.text for each in answer.complaints if each.message_type != EXIT_ERROR]
    chosen = last[-1] if last and "context canceled" not in last[-1] else (other or last or [""])[-1]
    return chosen.split("\n")[0]


def _quote(line: str) -> str:
    return f" ({_brief(line)})" if line else ""


def _brief(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:120]}…{text[-170:]}"
