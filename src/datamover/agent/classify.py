"""From what the engine said to a class, a reason and a sentence. Pure.

The engine's exit code says little (1 for nearly everything), so its error lines are read. Where several things went wrong, the one that must
be mended first is told: without a key nothing else can be known.
"""

import re

import msgspec

from datamover.agent import logs
from datamover.agent.errors import Failure
from datamover.api import transfer

_EXAMPLES = 5
KILLED = -9
"""What ended by SIGKILL. Nobody sends that to an engine whose errors are then asked for, but the kernel when memory runs out."""
_OUT_OF_MEMORY = (
    "rclone was killed, as the kernel does when a container reaches its memory limit, or the node's memory runs out. Raise spec.mover.resources.limits.memory, or lower "
    "RCLONE_TRANSFERS and RCLONE_CHECKERS in spec.additionalEnv."
)


class Cause(msgspec.Struct, frozen=True):
    """One way to fail: how its lines look, and what people are told. `{…}` are `place`, `bucket`, `endpoint`."""

    pattern: str
    failure_class: str
    reason: str
    sentence: str
    retryable: bool | None = None


_CAUSES = (
    Cause(
        r"AuthorizationHeaderMalformed|IllegalLocationConstraint|PermanentRedirect",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "The server expects another region: set AWS_REGION to the bucket's.",
    ),
    Cause(
        r"RequestTimeTooSkewed",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_CREDENTIALS,
        "The server refuses the request's time: the clock of this node or of the server is wrong.",
        retryable=True,
    ),
    Cause(
        r"InvalidAccessKeyId|UserNotFound|NoSuchUser|SignatureDoesNotMatch|InvalidToken|ExpiredToken|TokenRefreshRequired|InvalidClientTokenId|UnrecognizedClient"
        r"|InvalidSecurity|NoCredentialsErr|NoCredentialProviders|failed to refresh cached credentials|get credentials|XAmzContentSHA256Mismatch",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_CREDENTIALS,
        "The server at {endpoint} does not accept the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the Secret"
        " (and AWS_SESSION_TOKEN, if it is a temporary one).",
    ),
    Cause(
        r"UserSuspended|AllAccessDisabled|AccountProblem",
        transfer.DENIED,
        transfer.REASON_ACCESS_DENIED,
        "The server at {endpoint} has suspended the account that the credentials belong to: let whoever runs it enable the account again, or put"
        " another one's keys into the Secret.",
    ),
    Cause(
        r"AccessDenied|UnauthorizedAccess|StatusCode: 403|StatusCode: 401",
        transfer.DENIED,
        transfer.REASON_ACCESS_DENIED,
        "The credentials are known, but they may not do this at {place}: they need the rights to list the bucket and to get, put and"
        " delete objects in it.",
    ),
    Cause(
        r"NoSuchBucket",
        transfer.NOT_FOUND,
        transfer.REASON_BUCKET_NOT_FOUND,
        "There is no bucket {bucket!r} at {endpoint}: create it, or mend BUCKET_NAME or BUCKET_HOST.",
    ),
    Cause(
        r"no space left on device|ENOSPC|StorageFull|QuotaExceeded|disk quota exceeded|InsufficientCapacity|StatusCode: 507",
        transfer.NO_SPACE,
        transfer.REASON_NO_SPACE,
        "No space left on device: the destination {place} is full or over its quota. Make room there, then run again; what arrived stays.",
    ),
    Cause(
        r"server gave HTTP response to HTTPS client|HTTP request to an HTTPS server|malformed HTTP response|first record does not look like a TLS"
        # what a TLS server says to plain HTTP is no XML, and often cut off
        r"|StatusCode: 400,.*deserialization failed",
        transfer.NETWORK,
        transfer.REASON_TLS_MISMATCH,
        '{endpoint} does not speak what TLS_HOST says: set TLS_HOST to "false" for plain HTTP or "true" for HTTPS, and check BUCKET_PORT.',
        retryable=False,
    ),
    Cause(
        r"x509|certificate|tls: ",
        transfer.NETWORK,
        transfer.REASON_TLS_UNTRUSTED,
        "The certificate of {endpoint} is not trusted: put the certificate (PEM) of the authority that signed it into the"
        " Secret's key CA_CERT, or use the name that the certificate is for in BUCKET_HOST.",
        retryable=False,
    ),
    Cause(
        r"timeout awaiting response headers",
        transfer.NETWORK,
        transfer.REASON_SERVER_UNREACHABLE,
        "The server at {endpoint} takes requests and does not answer them: it hangs, or its storage does, as when that is full.",
    ),
    Cause(
        r"unseekable stream is not supported without TLS",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "RCLONE_S3_PROVIDER is one that needs TLS: set TLS_HOST to true, or leave the provider out.",
    ),
    Cause(
        r"connection refused|no such host|server misbehaving|name resolution|network is unreachable|no route to host|i/o timeout|timeout"
        r"|deadline exceeded|connection reset|broken pipe|unexpected EOF|: EOF|use of closed network|http2: |connection timed out|StatusCode: 0,"
        r"|host is down|proxyconnect",
        transfer.NETWORK,
        transfer.REASON_SERVER_UNREACHABLE,
        "The server at {endpoint} cannot be reached: check BUCKET_HOST, BUCKET_PORT, TLS_HOST, network policies and the server itself.",
    ),
    Cause(
        r"KeyTooLong|file name too long|InvalidArgument.*key|InvalidObjectName|XMinioInvalidObjectName|ObjectParentIsFile|IsDirectory",
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_NAME_REFUSED,
        "The server does not take some of the source's names (too long for it, or a file where it has a folder). Rename them.",
    ),
    Cause(
        r"can't copy - source file is being updated|source file is being updated|failed to open source object: .*no such file or directory",
        transfer.SOURCE_CHANGED,
        transfer.REASON_SOURCE_CHANGED,
        "Files of the source changed while they were read. Back up a clone or a snapshot, or stop what writes.",
    ),
    Cause(
        r"permission denied|operation not permitted|input/output error|failed to open source object|failed to open directory|failed to read"
        r" directory|structure needs cleaning|stale (NFS )?file handle",
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
        "Files of the source cannot be read by the mover; everything else was moved and nothing was deleted. Give its user the right to"
        " read them (fsGroup, or the mover's securityContext).",
    ),
    Cause(
        r"corrupted on transfer|BadDigest|hash(es)? differ|md5 differ|sizes differ|files differ|InvalidDigest|XAmzContentChecksumMismatch|IncompleteBody",
        transfer.VERIFY,
        transfer.REASON_VERIFICATION_FAILED,
        "Bytes arrived at {place} other than they were sent.",
    ),
    Cause(
        r"StatusCode: 5\d\d|StatusCode: 429|SlowDown|InternalError|ServiceUnavailable|Throttl|TooManyRequests|RequestTimeout|OperationAborted",
        transfer.NETWORK,
        transfer.REASON_SERVER_ERROR,
        "The server at {endpoint} fails or is overloaded; look at its own log.",
    ),
    Cause(
        r"default values: failed to|Invalid value when setting|invalid argument .* for|Failed to read --|Failed to create file system|malformed rule"
        r"|failed to make fs for|can't use -|Can't set -|the usage of --files-from|didn't find section in config|unknown flag",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "rclone does not accept one of the RCLONE_ variables; correct or remove it in additionalEnv.",
    ),
    Cause(
        r"directory not found|bucket (does not exist|not found)|StatusCode: 404|StatusCode: 301",
        transfer.NOT_FOUND,
        transfer.REASON_BUCKET_NOT_FOUND,
        "The server at {endpoint} has no bucket {bucket!r}, or what answers there is not an S3 server: check BUCKET_NAME, BUCKET_HOST"
        " and BUCKET_PORT.",
    ),
)
"""In the order in which they are told; the first whose pattern is in any error line wins."""

# a file that changes under the engine's hands looks to it like a request that failed, and Ceph answers 403 when a quota is used up
_SPECIFIC = frozenset({transfer.SOURCE_CHANGED, transfer.NO_SPACE})
_MATCHING = sorted(range(len(_CAUSES)), key=lambda number: _CAUSES[number].failure_class not in _SPECIFIC)

_ERROR_LEVELS = frozenset({"emergency", "alert", "critical", "error"})
_LOCAL_WRITE = re.compile(r"(open|write|create|mkdir) \S+: no space left", re.IGNORECASE)
# what the engine says before its log is set up, and when it breaks down
_EARLY = re.compile(r"panic:|fatal error:|\d{4}/\d\d/\d\d [\d:]+ (ERROR|CRITICAL|ALERT|EMERGENCY|Fatal)")
_MISSING = re.compile(r"object not found|NoSuchKey|StatusCode: 404")
_OF_DATA = frozenset({transfer.SOURCE_UNREADABLE, transfer.SOURCE_CHANGED, transfer.VERIFY})
_BOILERPLATE = re.compile(
    r"exceeded maximum number of attempts, \d+, |https response error StatusCode: 0, |request send failed, "
)
_URL = re.compile(r'"https?://[^"]*"')
_XML_CODE = re.compile(r"<Code>(\w+)</Code>")


class Errors:
    """Collects what the engine complained of. Memory does not grow with the number of errors.

    `names` are the first few objects concerned, by cause.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._names: dict[int, list[str]] = {}
        self._other = ""
        self._patterns = [re.compile(cause.pattern, re.IGNORECASE) for cause in _CAUSES]

    def add(self, line: logs.Line) -> None:
        """Take a line of the engine's log into account."""
        final = line.level == "notice" and line.msg.startswith("Failed to ")
        crash = not line.level and _EARLY.match(line.msg) is not None
        if not (line.level in _ERROR_LEVELS or final or crash):
            return
        summary = final or line.msg.startswith("Attempt ")
        if not summary:
            self.count += 1
        said = _without_names(line)
        for number in _MATCHING:
            if self._patterns[number].search(said):
                self._first.setdefault(number, line.msg)
                if not summary:
                    self._counts[number] = self._counts.get(number, 0) + 1
                    examples = self._names.setdefault(number, [])
                    if line.object and line.object not in examples and len(examples) < _EXAMPLES:
                        examples.append(line.object)
                return
        self._other = self._other or line.msg

    def amount(self, failure_class: str) -> int:
        """Return how many lines belong to a class."""
        return sum(count for number, count in self._counts.items() if _CAUSES[number].failure_class == failure_class)

    def failure(self, *, code: int, place: str, bucket: str, endpoint: str) -> Failure:
        """Return what to tell about a command that ended with `code`."""
        if code == KILLED:
            return Failure(transfer.INTERNAL, transfer.REASON_OUT_OF_MEMORY, _OUT_OF_MEMORY)
        if not self._first:
            quoted = f": {_brief(self._other)}" if self._other else ""
            return Failure(
                transfer.INTERNAL,
                transfer.REASON_ENGINE_FAILED,
                f"rclone ended with exit code {code}{quoted}. Its log has more.",
            )
        number = min(self._first)
        cause = _CAUSES[number]
        text = self._first[number]
        sentence = cause.sentence.format(place=place, bucket=bucket, endpoint=endpoint)
        if cause.failure_class == transfer.NO_SPACE and _LOCAL_WRITE.search(text):
            return Failure(
                transfer.NO_SPACE,
                transfer.REASON_NO_LOCAL_SPACE,
                f"No space left on device in the mover's own scratch space (/config or /tmp): give it more. ({_brief(text)})",
            )
        return Failure(
            cause.failure_class,
            cause.reason,
            f"{sentence} ({_brief(text)})",
            retryable=cause.retryable,
            problems=tuple(self._names.get(number, ())),
        )


def server_code(text: str) -> str | None:
    """Return the S3 error code in a dumped answer of the server, or None when there is none (not an S3 server)."""
    match = _XML_CODE.search(text)
    return match[1] if match else None


def about_record(failure: Failure, text: str, *, place: str, reading: bool) -> Failure:
    """Return what to tell about a request for a record of ours at `place`, from what the same words would mean about data.

    `text` is what the engine said. It reads and writes records as it does files, so it would be the source that cannot be read.
    """
    if reading and _MISSING.search(text):
        return Failure(
            transfer.GUARD,
            transfer.REASON_RECORD_UNUSABLE,
            f"The record {place} was there a moment ago and cannot be found: something else deletes there. Nothing was moved or deleted; it is tried"
            f" again. ({_brief(text)})",
            retryable=True,
        )
    doing = f"The record {place} cannot be {'read' if reading else 'written'}"
    if failure.failure_class in _OF_DATA:
        return Failure(transfer.INTERNAL, transfer.REASON_ENGINE_FAILED, f"{doing}: {_brief(text)}")
    return Failure(
        failure.failure_class,
        failure.reason,
        f"{doing}. {failure.message}",
        retryable=failure.retryable,
    )


def _without_names(line: logs.Line) -> str:
    """Return what was said without the file's name where it stands as one, in an address or a path: whatever words it holds, nobody said them."""
    text = _URL.sub('""', line.msg)
    if line.object:
        text = text.removeprefix(f"{line.object}: ").replace(f"/{line.object}:", "/:")
    return text


def _brief(text: str) -> str:
    """Return the telling part of an engine's error: without request ids and what its SDK says of every request, at most 300 letters."""
    text = re.sub(r"\b(RequestID|HostID): [^,]*, ", "", text.replace("\n", " "))
    text = _BOILERPLATE.sub("", text)
    text = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", text)
    return text if len(text) <= 300 else f"{text[:120]}…{text[-170:]}"
