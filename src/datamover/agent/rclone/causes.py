"""What servers answer when something is wrong, and what it means: the table. Pure data; `answers` looks into it.

The codes are those that AWS S3, Google Cloud Storage, Cloudflare R2, Ceph, MinIO, versitygw and others document; the HTTP codes are those of
servers and of proxies before them.

A row is for answers when it has `codes`, `statuses`, `words` or a `shape`, and for what is no answer when it has a `pattern`. The order of the
rows is the order in which people are told: without a key nothing else can be known.
"""

import msgspec

from datamover.api import transfer

_CHECK_SERVER = "check BUCKET_HOST, BUCKET_PORT and TLS_HOST"
NOT_S3 = (
    "What answers at {endpoint} is no S3 server but something else, such as a web page, a console or a proxy's login: "
    + _CHECK_SERVER
    + " (MinIO's console, for instance, has another port than its S3 server)."
)
"""What is told where web pages come instead of the answers of an S3 server."""


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """One way to fail, and what people are told. `{…}` in the sentence are `place`, `bucket`, `endpoint`.

    `codes` and `statuses` are those of an answer (`KMS.*` stands for all that begin so), `words` a pattern of what it says besides; one of them is
    enough, unless `narrowed` asks for code and words. `shape` is a pattern for answers that are no S3 server's. `pattern` is for texts
    that are no answer; `first`: although an answer stands in them. `single` tells that it may be about some objects and not about others.
    """

    failure_class: str
    reason: str
    sentence: str
    retryable: bool | None = None
    codes: tuple[str, ...] = ()
    words: str = ""
    narrowed: bool = False
    statuses: tuple[int, ...] = ()
    shape: str = ""
    pattern: str = ""
    first: bool = False
    single: bool = True


CAUSES = (
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="Who hands out the mover's credentials (STS, the Pod identity agent, instance metadata) does not answer: check AWS_ENDPOINT_URL_STS,"
        " AWS_REGION, AWS_CONTAINER_CREDENTIALS_FULL_URI, network policies and proxies.",
        first=True,
        single=False,
        pattern=r"get credentials: (?!.*IMDS).*(no such host|connection refused|connection reset|i/o timeout|deadline exceeded|no route to host"
        r"|network is unreachable|EOF|timeout|StatusCode: (429|5\d\d)|IDPCommunicationError|Throttling)",
    ),
    Cause(
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="No credentials can be had: look at the role (AWS_ROLE_ARN), whether it trusts the mover's service account, and at the file of its token, at AWS_PROFILE if that is set;"
        " or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        first=True,
        single=False,
        pattern=r"NoCredentialsErr|NoCredentialProviders|failed to refresh cached credentials|get credentials|failed to get shared config profile",
    ),
    Cause(
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="The server refuses the request's time: the clock of this node or of the server is wrong.",
        retryable=True,
        single=False,
        codes=("RequestTimeTooSkewed", "RequestExpired", "ExpiredRequest", "RequestNotReadyYet"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server expects another region: set AWS_REGION to the bucket's.",
        single=False,
        codes=("AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"),
        words=r"(?<!/)\bregion\b(?!/)",
        narrowed=True,
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server does not know the region: set AWS_REGION to the bucket's.",
        single=False,
        codes=("IllegalLocationConstraint", "InvalidLocationConstraint", "InvalidRegion", "InvalidRegionName"),
    ),
    Cause(
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="The server at {endpoint} cannot read the access key: AWS_ACCESS_KEY_ID is no key. Is it encoded twice (base64 in stringData), or are"
        " there spaces or slashes in it?",
        single=False,
        codes=("AuthorizationHeaderMalformed", "AuthorizationQueryParametersError"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="{endpoint} says that the bucket {bucket!r} is at another address: set BUCKET_HOST to the endpoint of the bucket's own region (at AWS"
        " s3.REGION.amazonaws.com), and AWS_REGION to that region.",
        single=False,
        codes=("PermanentRedirect", "IncorrectEndpoint", "InvalidEndpoint", "InvalidHostHeader"),
        statuses=(301, 308),
    ),
    Cause(
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="The temporary credentials have expired, or their token is wrong: put fresh ones into the Secret (AWS_ACCESS_KEY_ID,"
        " AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN belong together), or remove AWS_SESSION_TOKEN if the keys are lasting ones.",
        single=False,
        codes=("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidClientTokenId"),
    ),
    Cause(
        failure_class=transfer.CREDENTIALS,
        reason=transfer.REASON_WRONG_CREDENTIALS,
        sentence="The server at {endpoint} does not accept the credentials: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the Secret"
        " (and AWS_SESSION_TOKEN, if it is a temporary one).",
        single=False,
        codes=(
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "Unauthorized",
            "UserNotFound",
            "NoSuchUser",
            "NoSuchAccessKey",
            "AccountNotFound",
            "UnrecognizedClient",
            "InvalidSecurity",
            "MissingSecurityHeader",
            "MissingSecurityElement",
            "MissingAuthenticationToken",
            "CredentialsNotSupported",
            "UnsupportedSignature",
            "InvalidSignature",
            "XAmzContentSHA256Mismatch",
            "ContentSHA256Mismatch",
        ),
    ),
    Cause(
        failure_class=transfer.DENIED,
        reason=transfer.REASON_ACCESS_DENIED,
        sentence="The server at {endpoint} has suspended the account that the credentials belong to, or the account is not paid or not signed up for"
        " storage: let whoever runs it enable the account again, or put another one's keys into the Secret.",
        single=False,
        codes=(
            "UserSuspended",
            "AllAccessDisabled",
            "AccountProblem",
            "AccountDisabled",
            "UserProjectAccountProblem",
            "NotSignedUp",
            "NotEntitled",
            "InvalidPayer",
            "UserDisabled",
        ),
        statuses=(402,),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The bucket {bucket!r} takes uploads with a checksum only, as one with an object lock does: leave RCLONE_S3_DISABLE_CHECKSUM out.",
        codes=("InvalidRequest",),
        words=r"content-md5|x-amz-checksum",
        narrowed=True,
    ),
    Cause(
        failure_class=transfer.DENIED,
        reason=transfer.REASON_OBJECT_LOCKED,
        sentence="Objects at {place} are locked (object lock, retention or a legal hold), so they may be neither replaced nor deleted before their time."
        " Let whoever owns the bucket lift the hold or the retention; or set addTimestampPrefix, whose copies replace and delete nothing.",
        words=r"\bWORM\b|object.?lock|legal hold|active hold|retention|retain.until|immutab",
        codes=("ObjectLocked", "ObjectLockedByBucketPolicy", "RetentionPolicyNotMet", "ObjectUnderActiveHold"),
    ),
    Cause(
        failure_class=transfer.DENIED,
        reason=transfer.REASON_ACCESS_DENIED,
        sentence="The credentials may not use the key that objects at {place} are encrypted with: give them the rights kms:GenerateDataKey and"
        " kms:Decrypt in the key's policy, or choose another key (RCLONE_S3_SSE_KMS_KEY_ID).",
        codes=("AccessDenied", "Forbidden"),
        words=r"\bkms:",
        narrowed=True,
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server cannot encrypt or decrypt as it is told: look at the key (is it enabled, and in the bucket's region?), at the bucket's"
        " default encryption, and at RCLONE_S3_SERVER_SIDE_ENCRYPTION, RCLONE_S3_SSE_KMS_KEY_ID and the RCLONE_S3_SSE_CUSTOMER_ variables.",
        codes=(
            "KMS.*",
            "CloudKms*",
            "InvalidEncryptionAlgorithm",
            "UnsupportedEncryption",
            "ServerSideEncryptionConfigurationNotFound",
            "CustomerEncryption*",
            "ResourceIsEncryptedWithCustomerEncryptionKey",
            "ResourceNotEncryptedWithCustomerEncryptionKey",
            "SSEEncryptedObject",
            "InvalidSSE",
            "InsecureSSECustomerRequest",
            "EncryptionTypeMismatch",
            "MissingSSECustomerKey",
            "SSECustomerKeyMismatch",
        ),
        words=r"form of server side encryption|customer.provided|hash of the key|secret key was invalid for the specified algorithm",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="A proxy on the way to {endpoint} asks for a name and a password: write them into HTTPS_PROXY or HTTP_PROXY in the Secret"
        " (http://NAME:PASSWORD@PROXY:PORT), or name {endpoint} in NO_PROXY.",
        single=False,
        statuses=(407,),
        pattern=r"Proxy Authentication Required",
    ),
    Cause(
        failure_class=transfer.DENIED,
        reason=transfer.REASON_ACCESS_DENIED,
        sentence="What answers at {endpoint} asks for another login than that of S3: a proxy that has its own, or no S3 server: "
        + _CHECK_SERVER
        + ".",
        single=False,
        statuses=(401,),
    ),
    Cause(
        failure_class=transfer.DENIED,
        reason=transfer.REASON_ACCESS_DENIED,
        sentence="The credentials are known, but they may not do this at {place}: they need the rights to list the bucket and to get, put and"
        " delete objects in it.",
        codes=(
            "AccessDenied",
            "UnauthorizedAccess",
            "InsufficientPermissions",
            "UserProjectAccessDenied",
            "UnexpectedIP",
        ),
        statuses=(403,),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server at {endpoint} does not take {bucket!r} for the name of a bucket: correct BUCKET_NAME. Most take 3 to 63 small letters, digits,"
        " '-' and '.'.",
        single=False,
        codes=("InvalidBucketName", "BucketNameInvalid"),
    ),
    Cause(
        failure_class=transfer.NOT_FOUND,
        reason=transfer.REASON_BUCKET_NOT_FOUND,
        sentence="There is no bucket {bucket!r} at {endpoint}: create it, or mend BUCKET_NAME or BUCKET_HOST.",
        single=False,
        codes=("NoSuchBucket", "BucketNotFound"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The bucket {bucket!r} at {endpoint} is somebody else's: choose another BUCKET_NAME, and leave RCLONE_S3_NO_CHECK_BUCKET out.",
        single=False,
        codes=("BucketAlreadyExists", "BucketConflict", "BucketNameUnavailable"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="Whoever asks the bucket {bucket!r} pays for it, and has to say so: set RCLONE_S3_REQUESTER_PAYS to true in spec.additionalEnv.",
        single=False,
        codes=("UserProjectMissing", "RequesterPaysNotAccepted"),
        words=r"requester.pays",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The account at {endpoint} may have no more buckets: create {bucket!r} yourself in the place of another one, and leave"
        " RCLONE_S3_NO_CHECK_BUCKET out.",
        single=False,
        codes=("TooManyBuckets",),
    ),
    Cause(
        failure_class=transfer.NO_SPACE,
        reason=transfer.REASON_NO_SPACE,
        sentence="No space left on device: the destination {place} is full or over its quota. Make room there, then run again; what arrived stays.",
        codes=(
            "StorageFull",
            "QuotaExceeded",
            "BucketQuotaExceeded",
            "BucketQuotaReached",
            "AccountQuotaExceeded",
            "InsufficientCapacity",
            "StorageLimitExceeded",
            "StorageCapExceeded",
            "OverQuota",
        ),
        statuses=(507,),
        words=r"no space left on device|quota exceeded|(storage|transaction) cap exceeded",
        # the last ones are the engine's own words for a local file that it cannot reserve the room of
        pattern=r"no space left on device|ENOSPC|disk quota exceeded|file too big for remaining disk space",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_TLS_MISMATCH,
        sentence='{endpoint} does not speak what TLS_HOST says: set TLS_HOST to "false" for plain HTTP or "true" for HTTPS, and check BUCKET_PORT.',
        retryable=False,
        single=False,
        codes=("SslRequired",),
        # what a TLS server says to plain HTTP is no XML, and often cut off
        shape=r"StatusCode: 400,.*deserialization failed",
        pattern=r"server gave HTTP response to HTTPS client|HTTP request to an HTTPS server|malformed HTTP response"
        r"|first record does not look like a TLS",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_TLS_UNTRUSTED,
        sentence="The certificate of {endpoint} has expired or is not valid yet: renew it there, or mend the clock of this node.",
        retryable=False,
        single=False,
        pattern=r"certificate has expired|not yet valid|tls: expired certificate",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_TLS_UNTRUSTED,
        sentence="The certificate of {endpoint} is for another name: write the name that it is for into BUCKET_HOST, or have a certificate made for this one.",
        retryable=False,
        single=False,
        pattern=r"certificate is valid for|certificate is not valid for any names|doesn't contain any IP SANs|unrecognized name",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_TLS_UNTRUSTED,
        sentence="{endpoint} wants a certificate of the mover, or does not take the one that it has: give it one in an image of your own"
        " (RCLONE_CLIENT_CERT and RCLONE_CLIENT_KEY name the files).",
        retryable=False,
        single=False,
        pattern=r"remote error: tls: (bad|unknown|unsupported)? ?certificate|certificate required",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_TLS_UNTRUSTED,
        sentence="The certificate of {endpoint} is not trusted: put the certificate (PEM) of the authority that signed it into the"
        " Secret's key CA_CERT, or use the name that the certificate is for in BUCKET_HOST.",
        retryable=False,
        single=False,
        pattern=r"x509|certificate|tls: ",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_NOT_S3,
        sentence=NOT_S3,
        retryable=False,
        single=False,
        statuses=(302, 303),
        # one that was cut off may be a listing
        shape=r"StatusCode: 2\d\d,.*deserialization failed.*(XML syntax error(?!.*EOF)|expected element)",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_NOT_S3,
        sentence="What answers at {endpoint} does not allow requests that every S3 server takes: it is a web server, the endpoint of a website, a"
        " gateway that only reads, or a proxy that filters: " + _CHECK_SERVER + ".",
        codes=("MethodNotAllowed", "InvalidHttpMethod"),
        statuses=(405,),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="The server at {endpoint} takes requests and does not answer them: it hangs, or its storage does, as when that is full.",
        single=False,
        pattern=r"timeout awaiting response headers",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="RCLONE_S3_PROVIDER is one that needs TLS: set TLS_HOST to true, or leave the provider out.",
        single=False,
        pattern=r"unseekable stream is not supported without TLS",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The address of a proxy, or a header, cannot be used: correct HTTPS_PROXY, HTTP_PROXY, RCLONE_HTTP_PROXY or the RCLONE_HEADER variables.",
        single=False,
        pattern=r"failed to set --http-proxy|invalid proxy|invalid header field|unsupported proxy|unknown scheme",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="The proxy on the way to {endpoint} cannot be reached, or does not let the mover through: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and"
        " the proxy's own rules.",
        single=False,
        # what Go says of a proxy's answer to CONNECT is that answer's words alone
        pattern=r"proxyconnect|request send failed, \w+ \"\":? ?(Forbidden|Bad Gateway|Service Unavailable|Gateway Time-?out|Bad Request|Not Found"
        r"|Method Not Allowed|Unauthorized)\b",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_UNREACHABLE,
        sentence="The server at {endpoint} cannot be reached: check BUCKET_HOST, BUCKET_PORT, TLS_HOST, network policies and the server itself.",
        single=False,
        pattern=r"connection refused|no such host|server misbehaving|name resolution|network is unreachable|no route to host|i/o timeout|timeout"
        r"|deadline exceeded|connection reset|broken pipe|unexpected EOF|: EOF|use of closed network|http2: |connection timed out|StatusCode: 0,"
        r"|host is down",
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_TOO_LARGE,
        sentence="The server at {endpoint}, or a proxy before it, takes no request of that size. Raise the proxy's limit (nginx: client_max_body_size,"
        " ingress-nginx: the annotation nginx.ingress.kubernetes.io/proxy-body-size) to 6 MiB or more, and send large files in parts that are smaller:"
        " RCLONE_S3_UPLOAD_CUTOFF: 5Mi in spec.additionalEnv (and RCLONE_S3_CHUNK_SIZE: 5Mi, if it was set).",
        codes=(
            "EntityTooLarge",
            "RequestEntityTooLarge",
            "MaxMessageLengthExceeded",
            "UploadTooLarge",
            "InlineDataTooLarge",
            "PayloadTooLarge",
        ),
        statuses=(413,),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="What the mover tells about a file is too much for the server at {endpoint}: leave RCLONE_METADATA and the RCLONE_HEADER variables out.",
        codes=("MetadataTooLarge", "RequestHeaderSectionTooLarge"),
        statuses=(431,),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="Large files are sent in parts that the server at {endpoint} does not take: set RCLONE_S3_CHUNK_SIZE to 5Mi or more, or leave it out.",
        codes=("EntityTooSmall", "InvalidPart", "InvalidPartOrder"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server at {endpoint} is not told how long a file is: a proxy before it leaves the header Content-Length out. Mend the proxy, or go"
        " around it.",
        codes=("MissingContentLength",),
        statuses=(411,),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server at {endpoint} has no such storage class: correct RCLONE_S3_STORAGE_CLASS, or leave it out.",
        codes=("InvalidStorageClass",),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The bucket {bucket!r} takes no access control lists: leave RCLONE_S3_ACL out.",
        codes=("AccessControlListNotSupported", "InvalidBucketAclWithObjectOwnership"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="An object at {place} lies in an archive and cannot be read: restore it there, and use a storage class that can be read at once"
        " (RCLONE_S3_STORAGE_CLASS, lifecycle rules of the bucket).",
        codes=("InvalidObjectState", "RestoreAlreadyInProgress", "ObjectNotInActiveTier"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server at {endpoint} does not know a function that it was asked for: set RCLONE_S3_PROVIDER to the server's kind, or leave out the"
        " RCLONE_S3_ variable that asks for it (storage class, ACL, encryption, checksums, tags).",
        codes=(
            "NotImplemented",
            "UnsupportedOperation",
            "UnsupportedArgument",
            "UnsupportedFeature",
            "FeatureNotEnabled",
        ),
        statuses=(501,),
    ),
    Cause(
        failure_class=transfer.SOURCE_UNREADABLE,
        reason=transfer.REASON_NAME_REFUSED,
        sentence="The server does not take some of the source's names (too long for it, or a file where it has a folder). Rename them.",
        codes=(
            "KeyTooLong",
            "InvalidObjectName",
            "InvalidKey",
            "InvalidURI",
            "ObjectParentIsFile",
            "ExistingObjectIsDirectory",
            "ObjectExistsAsDirectory",
            "ParentIsObject",
            "DirectoryObjectContainsData",
            "IsDirectory",
        ),
        statuses=(414,),
        pattern=r"file name too long",
    ),
    Cause(
        failure_class=transfer.SOURCE_UNREADABLE,
        reason=transfer.REASON_NAME_REFUSED,
        sentence="The server does not take some of the source's names. Rename them.",
        codes=("InvalidArgument", "InvalidRequest"),
        words=r"^(?!.*(encrypt|secret|customer|hash|header|x-amz)).*\b(key|name)\b",
        narrowed=True,
    ),
    Cause(
        failure_class=transfer.SOURCE_CHANGED,
        reason=transfer.REASON_SOURCE_CHANGED,
        sentence="Files of the source changed while they were read. Back up a clone or a snapshot, or stop what writes.",
        # a file that changes under the engine's hands looks to it like a request that failed
        first=True,
        pattern=r"can't copy - source file is being updated|source file is being updated|failed to open source object: .*no such file or directory"
        r"|src hash: hash: failed to open: .*no such file or directory",
    ),
    Cause(
        failure_class=transfer.SOURCE_UNREADABLE,
        reason=transfer.REASON_SOURCE_UNREADABLE,
        sentence="Files of the source cannot be read by the mover; everything else was moved and nothing was deleted. Give its user the right to"
        " read them (fsGroup, or the mover's securityContext).",
        pattern=r"permission denied|operation not permitted|input/output error|failed to open source object|failed to open directory|failed to read"
        r" directory|structure needs cleaning|stale (NFS )?file handle",
    ),
    Cause(
        failure_class=transfer.VERIFY,
        reason=transfer.REASON_VERIFICATION_FAILED,
        sentence="Bytes arrived at {place} other than they were sent.",
        codes=("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "IncompleteBody", "CrcMismatch"),
        pattern=r"corrupted on transfer|hash(es)? differ|md5 differ|sizes differ|files differ",
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="The server at {endpoint} is overloaded, or limits how often it may be asked. When it goes on: lower RCLONE_TRANSFERS and"
        " RCLONE_CHECKERS or set RCLONE_TPSLIMIT in spec.additionalEnv, and look at the server's own log.",
        codes=(
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "ServiceUnavailable",
            "ServerBusy",
            "TooManyRequests",
            "TooMuchConcurrency",
            "RateLimitExceeded",
            "UserRateLimitExceeded",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "Throttling",
            "Throttled",
        ),
        statuses=(429, 503),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="A proxy or load balancer answers in the place of the server at {endpoint}, which it cannot reach or which is too slow for it. Look at"
        " both, and at the proxy's time-outs.",
        statuses=(502, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="The server at {endpoint} did not get a request as a whole, or not in time; the line to it, or a proxy, is slow or breaks.",
        codes=("RequestTimeout", "ClientDisconnect", "ConnectionClosedByRequester", "ResponseInterrupted"),
        statuses=(408, 499),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="Something else changes the same objects or the bucket at {endpoint} at this moment.",
        codes=("OperationAborted", "ConditionalRequestConflict", "ConcurrentModification"),
        statuses=(409,),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="The server at {endpoint} sends requests elsewhere for the time being (a bucket that is new, or a proxy). When it goes on, set"
        " BUCKET_HOST to where it sends them.",
        single=False,
        codes=("TemporaryRedirect", "Redirect"),
        statuses=(307,),
    ),
    Cause(
        failure_class=transfer.NETWORK,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="The server at {endpoint} fails or is overloaded; look at its own log.",
        codes=("Internal", "InternalServer", "BackendDown", "ServerNotInitialized", "BackendError"),
        statuses=tuple(range(500, 600)),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="rclone does not accept one of the RCLONE_ variables; correct or remove it in additionalEnv.",
        single=False,
        pattern=r"default values: failed to|Invalid value when setting|invalid argument .* for|Failed to read --|Failed to create file system|malformed rule"
        r"|failed to make fs for|can't use -|Can't set -|the usage of --files-from|didn't find section in config|unknown flag",
    ),
    Cause(
        failure_class=transfer.NOT_FOUND,
        reason=transfer.REASON_BUCKET_NOT_FOUND,
        sentence="The server at {endpoint} has no bucket {bucket!r}, or what answers there is not an S3 server: check BUCKET_NAME, BUCKET_HOST"
        " and BUCKET_PORT.",
        single=False,
        codes=("NotFound",),
        statuses=(404, 410),
        pattern=r"directory not found|bucket (does not exist|not found)",
    ),
    Cause(
        failure_class=transfer.NOT_FOUND,
        reason=transfer.REASON_SERVER_ERROR,
        sentence="An object at {place} that was there a moment ago is gone: something else deletes there.",
        retryable=True,
        codes=("NoSuchKey", "NoSuchVersion", "NoSuchUpload"),
    ),
    Cause(
        failure_class=transfer.CONFIG,
        reason=transfer.REASON_INVALID_CONFIGURATION,
        sentence="The server at {endpoint} calls the requests wrong and does not say why. A server that speaks HTTPS answers so to plain HTTP: check"
        " TLS_HOST and BUCKET_PORT.",
        statuses=(400,),
    ),
)
"""In the order in which they are told; see the module."""

UNKNOWN = Cause(
    failure_class=transfer.INTERNAL,
    reason=transfer.REASON_SERVER_ERROR,
    sentence="The server at {endpoint} refuses requests with an error that datamover does not know; the server's documentation may.",
)
"""What is told of an answer that no row is for."""
