"""What the words of restic, its libraries and its servers mean: a table from patterns to a reason and a sentence that says what to do. Pure."""

import re
from typing import Final, NamedTuple

from datamover.api import restic, transfer


class Words:
    """A pattern for words, large or small letters alike. It is compiled when it is first looked for: an attempt that goes well needs hardly any."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def search(self, text: str) -> re.Match[str] | None:
        """Return where the words are in a text."""
        return re.search(self._pattern, text, re.IGNORECASE)


class Cause(NamedTuple):
    """What words mean. `sentence` may have `{repository}` in it."""

    words: Words
    failure_class: str
    reason: str
    sentence: str
    retryable: bool | None = None


def _cause(words: str, failure_class: str, reason: str, sentence: str, *, retryable: bool | None = None) -> Cause:
    return Cause(Words(words), failure_class, reason, sentence, retryable)


CAUSES: Final = (
    _cause(
        r"repository already contains keys",
        transfer.GUARD,
        transfer.REASON_REPOSITORY_DAMAGED,
        "There are keys at {repository}, and no config file: the repository was made only in part, or has lost that file. Bring the file `config` back from a copy;"
        f" or, if there is nothing below `snapshots`, delete the folder `keys` there; or write another path in {restic.REPOSITORY}.",
    ),
    _cause(
        r"wrong password or no key found|no key could be found",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_PASSWORD,
        f"The password does not open the repository {{repository}}: correct {restic.PASSWORD} in the Secret. It is the one with which the repository was"
        " made; without it nobody can read what is in it.",
    ),
    _cause(
        r"no credentials found|NoCredentialProviders|could not find default credentials|credentials: could not|no such profile"
        r"|unable to open \w+ backend: .* is empty|find AuthVersion in AuthUrl",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_CREDENTIALS,
        "There are no credentials for {repository}: put the keys that its kind of store needs into the Secret, such as AWS_ACCESS_KEY_ID and"
        " AWS_SECRET_ACCESS_KEY for S3.",
    ),
    _cause(
        r"root certificate",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "What spec.restic.customCA names is no certificate: put the authority's certificate there, as text that begins with -----BEGIN CERTIFICATE-----.",
    ),
    _cause(
        r"RequestTimeTooSkewed|difference between the request time",
        transfer.CREDENTIALS,
        transfer.REASON_WRONG_CREDENTIALS,
        "The clocks of the node and of the server of {repository} differ too much for a signature to hold: set them right.",
        retryable=True,
    ),
    _cause(
        r"InvalidAccessKeyId|No user exists with the provided access key|access key id you provided does not exist|SignatureDoesNotMatch|signature we calculated|401 Unauthorized|status code 401|unexpected HTTP response \(401\)"
        r"|AuthenticationFailed|bad_auth_token|invalid_grant|ExpiredToken|Authorization failed",
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
        r"SlowDown|reduce your request rate|InternalError|encountered an internal error|ServiceUnavailable|service (?:is )?(?:currently |temporarily )?unavailable|502 Bad Gateway|503 Service|504 Gateway|unexpected HTTP response \(5\d\d\)",
        transfer.NETWORK,
        transfer.REASON_SERVER_ERROR,
        "The server of {repository} fails or is overloaded; it is tried again.",
    ),
    _cause(
        r"specified bucket does not exist|NoSuchBucket",
        transfer.NOT_FOUND,
        transfer.REASON_BUCKET_NOT_FOUND,
        f"The bucket of {{repository}} is not there, or is gone: create it, or correct {restic.REPOSITORY} in the Secret.",
    ),
    _cause(
        r"XML syntax error|expected element type|invalid character '<'",
        transfer.CONFIG,
        transfer.REASON_NOT_S3,
        "What answers at {repository} is no such server but something else, such as a web page, a console or a proxy's login: correct the address.",
    ),
    _cause(
        r"Stat: 301 |PermanentRedirect|AuthorizationHeaderMalformed|region '[^']*' is wrong",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "The server of {repository} sends the mover elsewhere: the bucket is in another region, or the address is not the server's own. Correct the address, and"
        " AWS_DEFAULT_REGION in the Secret.",
    ),
    _cause(
        r"executable file not found",
        transfer.CONFIG,
        transfer.REASON_ENGINE_MISSING,
        "restic needs another program for {repository} (rclone for rclone:, ssh for sftp:), and the mover has none: use a mover image that has it.",
    ),
    _cause(
        r"didn't find section in config file",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "rclone knows no such remote as {repository} names: describe it by keys of the Secret, such as RCLONE_CONFIG_NAME_TYPE, or name a configuration file below /mnt"
        " (moverVolumes) by its key RCLONE_CONFIG.",
    ),
    _cause(
        r"unable to start the sftp session",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        "ssh does not get to {repository}, for which it would need a key that this mover has no place for: use rclone:, with a remote of type sftp that the Secret describes.",
    ),
    _cause(
        r"InvalidBucketName|Bucket name cannot|bucket name contains invalid|invalid backend|unable to parse|parsing repository location failed|s3: invalid format"
        r"|s3: bucket name not found|unknown backend|unsupported backend",
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
        f"{restic.REPOSITORY} is no address of a repository: write it as s3:https://host/bucket/folder, as a path below /mnt (moverVolumes), or as"
        " restic's documentation says for other stores.",
    ),
    _cause(
        r"could be damaged|file is too short|config file has zero size|Data seems to be missing|ciphertext verification failed|decrypting blob .* failed|nonce is invalid|invalid data returned|not found in index|not found in repository|data is incorrect|Load\(<(?:data|index|snapshot)/.*(?:no such file|not exist)"
        r"|unsupported repository version|config or key \w+ is damaged|wrong data returned|repository contains (?:errors|damaged)|hash does not match id"
        r"|unable to load (?:tree|index)|tree \w+ not found",
        transfer.GUARD,
        transfer.REASON_REPOSITORY_DAMAGED,
        "The repository {repository} is damaged. Run `restic check` on it, then what it says (`restic repair index`, `restic repair"
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


def cause_of(reason: str) -> Cause:
    """Return the first cause of a reason."""
    return next(cause for cause in CAUSES if cause.reason == reason)


def find_cause(text: str) -> Cause | None:
    """Return what the words mean."""
    return next((cause for cause in CAUSES if cause.words.search(text)), None)
