"""What servers, and proxies before them, answer when something is wrong: the very words of the real engine, and what people are told."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.errors import Failure
from datamover.agent.rclone import logs
from datamover.agent.rclone.classify import Errors
from datamover.api import transfer
from support.agent import Container
from support.answering import Answering, Reply, Request, s3_error, web_page
from support.s3 import S3Server, find_rclone

CONFIG, CREDENTIALS, DENIED = transfer.CONFIG, transfer.CREDENTIALS, transfer.DENIED
NETWORK, INTERNAL, VERIFY = transfer.NETWORK, transfer.INTERNAL, transfer.VERIFY
NAMES, NO_SPACE, NOT_FOUND = transfer.SOURCE_UNREADABLE, transfer.NO_SPACE, transfer.NOT_FOUND
INVALID, WRONG, REFUSED = (
    transfer.REASON_INVALID_CONFIGURATION,
    transfer.REASON_WRONG_CREDENTIALS,
    transfer.REASON_ACCESS_DENIED,
)
SERVER, NOT_S3, LOCKED = transfer.REASON_SERVER_ERROR, transfer.REASON_NOT_S3, transfer.REASON_OBJECT_LOCKED
LARGE, NAME, FULL = transfer.REASON_TOO_LARGE, transfer.REASON_NAME_REFUSED, transfer.REASON_NO_SPACE
ABSENT, MISMATCH = transfer.REASON_BUCKET_NOT_FOUND, transfer.REASON_TLS_MISMATCH

FINAL, AGAIN = False, True

ANSWERS: list[tuple[Reply, str, str, bool, str]] = [
    # credentials
    (s3_error(403, "InvalidAccessKeyId"), CREDENTIALS, WRONG, FINAL, "AWS_ACCESS_KEY_ID"),
    (s3_error(403, "SignatureDoesNotMatch"), CREDENTIALS, WRONG, FINAL, "AWS_SECRET_ACCESS_KEY"),
    (s3_error(400, "ExpiredToken"), CREDENTIALS, WRONG, FINAL, "AWS_SESSION_TOKEN"),
    (s3_error(400, "InvalidToken"), CREDENTIALS, WRONG, FINAL, "AWS_SESSION_TOKEN"),
    (s3_error(400, "TokenRefreshRequired"), CREDENTIALS, WRONG, FINAL, "AWS_SESSION_TOKEN"),
    (s3_error(401, "Unauthorized", "Missing or invalid credentials"), CREDENTIALS, WRONG, FINAL, "AWS_ACCESS_KEY_ID"),
    (s3_error(403, "RequestTimeTooSkewed"), CREDENTIALS, WRONG, AGAIN, "clock"),
    (s3_error(400, "ExpiredRequest", "Request signature has expired."), CREDENTIALS, WRONG, AGAIN, "clock"),
    (
        s3_error(
            400,
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the Credential is mal-formed; expecting KEY/YYYYMMDD/REGION/SERVICE/aws4_request",
        ),
        CREDENTIALS,
        WRONG,
        FINAL,
        "encoded twice",
    ),
    # region and address
    (
        s3_error(
            400,
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        ),
        CONFIG,
        INVALID,
        FINAL,
        "AWS_REGION",
    ),
    (s3_error(400, "InvalidRegionName"), CONFIG, INVALID, FINAL, "AWS_REGION"),
    (s3_error(400, "IllegalLocationConstraintException"), CONFIG, INVALID, FINAL, "AWS_REGION"),
    (s3_error(301, "PermanentRedirect"), CONFIG, INVALID, FINAL, "BUCKET_HOST"),
    (web_page(301), CONFIG, INVALID, FINAL, "BUCKET_HOST"),
    (s3_error(307, "TemporaryRedirect"), NETWORK, SERVER, AGAIN, "BUCKET_HOST"),
    (web_page(307), NETWORK, SERVER, AGAIN, "BUCKET_HOST"),
    # accounts, rights and locks
    (s3_error(403, "AccountProblem"), DENIED, REFUSED, FINAL, "account"),
    (s3_error(403, "AllAccessDisabled"), DENIED, REFUSED, FINAL, "account"),
    (s3_error(403, "UserSuspended", "UnknownError"), DENIED, REFUSED, FINAL, "account"),
    (s3_error(403, "NotEntitled"), DENIED, REFUSED, FINAL, "signed up"),
    (web_page(402, "Payment Required"), DENIED, REFUSED, FINAL, "not paid"),
    (s3_error(403, "AccessDenied", "Access Denied"), DENIED, REFUSED, FINAL, "rights"),
    (s3_error(403, "Something.New"), DENIED, REFUSED, FINAL, "Something.New"),
    (web_page(403, "Forbidden"), DENIED, REFUSED, FINAL, "rights"),
    (Reply(403), DENIED, REFUSED, FINAL, "rights"),
    (web_page(401, "Unauthorized"), DENIED, REFUSED, FINAL, "another login"),
    (
        s3_error(403, "AccessDenied", "Access Denied because object protected by object lock."),
        DENIED,
        LOCKED,
        FINAL,
        "hold",
    ),
    (s3_error(400, "InvalidRequest", "Object is WORM protected and cannot be overwritten"), DENIED, LOCKED, FINAL, ""),
    (s3_error(403, "ObjectLockedByBucketPolicy"), DENIED, LOCKED, FINAL, "addTimestampPrefix"),
    (
        s3_error(403, "AccessDenied", "Object 'a' is subject to bucket's retention policy and cannot be deleted"),
        DENIED,
        LOCKED,
        FINAL,
        "retention",
    ),
    (
        s3_error(403, "AccessDenied", 'User: arn:aws:iam::1:user/retention may not on resource: "worm"'),
        DENIED,
        REFUSED,
        FINAL,
        "rights",
    ),
    (
        s3_error(403, "AccessDenied", "User: u is not authorized to perform: kms:GenerateDataKey on this resource"),
        DENIED,
        REFUSED,
        FINAL,
        "kms:GenerateDataKey",
    ),
    # encryption
    (s3_error(400, "KMS.DisabledException"), CONFIG, INVALID, FINAL, "RCLONE_S3_SSE_KMS_KEY_ID"),
    (s3_error(400, "KMS.NotFoundException"), CONFIG, INVALID, FINAL, "RCLONE_S3_SSE_KMS_KEY_ID"),
    (s3_error(400, "KMS.KMSInvalidStateException"), CONFIG, INVALID, FINAL, "RCLONE_S3_SSE_KMS_KEY_ID"),
    (s3_error(403, "CloudKmsDisabledKey"), CONFIG, INVALID, FINAL, "RCLONE_S3_SSE_KMS_KEY_ID"),
    (s3_error(400, "InvalidEncryptionAlgorithmError"), CONFIG, INVALID, FINAL, "RCLONE_S3_SERVER_SIDE_ENCRYPTION"),
    (s3_error(404, "ServerSideEncryptionConfigurationNotFoundError"), CONFIG, INVALID, FINAL, "default encryption"),
    (s3_error(400, "UnsupportedEncryption"), CONFIG, INVALID, FINAL, "RCLONE_S3_SERVER_SIDE_ENCRYPTION"),
    (
        s3_error(400, "InvalidRequest", "The object was stored using a form of Server Side Encryption."),
        CONFIG,
        INVALID,
        FINAL,
        "RCLONE_S3_SSE_CUSTOMER_",
    ),
    (
        s3_error(
            400, "InvalidArgument", "Requests with Customer provided keys must provide an appropriate secret key."
        ),
        CONFIG,
        INVALID,
        FINAL,
        "RCLONE_S3_SSE_CUSTOMER_",
    ),
    (
        s3_error(
            400, "InvalidArgument", "The calculated MD5 hash of the key did not match the hash that was provided."
        ),
        CONFIG,
        INVALID,
        FINAL,
        "RCLONE_S3_SSE_CUSTOMER_",
    ),
    (
        s3_error(
            400,
            "InvalidRequest",
            "Content-MD5 HTTP header is required for Put Part requests with Object Lock parameters",
        ),
        CONFIG,
        INVALID,
        FINAL,
        "RCLONE_S3_DISABLE_CHECKSUM",
    ),
    # buckets, names and sizes
    (s3_error(400, "InvalidBucketName"), CONFIG, INVALID, FINAL, "BUCKET_NAME"),
    (s3_error(404, "NoSuchBucket"), NOT_FOUND, ABSENT, FINAL, "'b'"),
    (Reply(404), NOT_FOUND, ABSENT, FINAL, "'b'"),
    (s3_error(403, "SslRequired"), NETWORK, MISMATCH, FINAL, "TLS_HOST"),
    (s3_error(409, "BucketAlreadyExists"), CONFIG, INVALID, FINAL, "somebody else's"),
    (s3_error(400, "UserProjectMissing"), CONFIG, INVALID, FINAL, "RCLONE_S3_REQUESTER_PAYS"),
    (s3_error(400, "TooManyBuckets"), CONFIG, INVALID, FINAL, "RCLONE_S3_NO_CHECK_BUCKET"),
    (s3_error(400, "KeyTooLongError"), NAMES, NAME, FINAL, "Rename"),
    (s3_error(400, "XMinioInvalidObjectName"), NAMES, NAME, FINAL, "Rename"),
    (s3_error(409, "ObjectParentIsFile"), NAMES, NAME, FINAL, "Rename"),
    (s3_error(400, "InvalidArgument", "The key may not hold this."), NAMES, NAME, FINAL, "Rename"),
    (s3_error(400, "EntityTooLarge"), CONFIG, LARGE, FINAL, "RCLONE_S3_UPLOAD_CUTOFF"),
    (web_page(413, "413 Request Entity Too Large"), CONFIG, LARGE, FINAL, "client_max_body_size"),
    (Reply(413), CONFIG, LARGE, FINAL, "proxy-body-size"),
    (s3_error(400, "MetadataTooLarge"), CONFIG, INVALID, FINAL, "RCLONE_METADATA"),
    (s3_error(400, "EntityTooSmall"), CONFIG, INVALID, FINAL, "RCLONE_S3_CHUNK_SIZE"),
    (s3_error(411, "MissingContentLength"), CONFIG, INVALID, FINAL, "Content-Length"),
    # what a server does not do
    (s3_error(501, "NotImplemented"), CONFIG, INVALID, FINAL, "RCLONE_S3_PROVIDER"),
    (web_page(501), CONFIG, INVALID, FINAL, "RCLONE_S3_PROVIDER"),
    (s3_error(400, "InvalidStorageClass"), CONFIG, INVALID, FINAL, "RCLONE_S3_STORAGE_CLASS"),
    (s3_error(400, "AccessControlListNotSupported"), CONFIG, INVALID, FINAL, "RCLONE_S3_ACL"),
    (s3_error(403, "InvalidObjectState"), CONFIG, INVALID, FINAL, "archive"),
    (s3_error(405, "MethodNotAllowed"), CONFIG, NOT_S3, FINAL, "BUCKET_HOST"),
    (web_page(405), CONFIG, NOT_S3, FINAL, "BUCKET_HOST"),
    (web_page(407), CONFIG, INVALID, FINAL, "HTTPS_PROXY"),
    # space
    (s3_error(403, "QuotaExceeded", "UnknownError"), NO_SPACE, FULL, AGAIN, "quota"),
    (s3_error(507, "XMinioStorageFull"), NO_SPACE, FULL, AGAIN, "full"),
    (s3_error(400, "XMinioAdminBucketQuotaExceeded"), NO_SPACE, FULL, AGAIN, "quota"),
    (s3_error(500, "InternalError", "write: no space left on device"), NO_SPACE, FULL, AGAIN, "full"),
    (s3_error(507, "InsufficientCapacity"), NO_SPACE, FULL, AGAIN, "full"),
    (web_page(507), NO_SPACE, FULL, AGAIN, "full"),
    # what heals by itself
    (s3_error(503, "SlowDown"), NETWORK, SERVER, AGAIN, "RCLONE_TPSLIMIT"),
    (s3_error(429, "TooManyRequests"), NETWORK, SERVER, AGAIN, "RCLONE_TPSLIMIT"),
    (s3_error(503, "XMinioServerNotInitialized"), NETWORK, SERVER, AGAIN, "fails"),
    (web_page(429), NETWORK, SERVER, AGAIN, "RCLONE_TPSLIMIT"),
    (web_page(503), NETWORK, SERVER, AGAIN, "RCLONE_TPSLIMIT"),
    (Reply(503), NETWORK, SERVER, AGAIN, "RCLONE_TPSLIMIT"),
    *((web_page(status), NETWORK, SERVER, AGAIN, "proxy") for status in (502, 504, 520, 521, 522, 523, 524, 530)),
    (s3_error(500, "InternalError"), NETWORK, SERVER, AGAIN, "its own log"),
    (web_page(500), NETWORK, SERVER, AGAIN, "its own log"),
    (Reply(500), NETWORK, SERVER, AGAIN, "its own log"),
    (s3_error(599, "Odd"), NETWORK, SERVER, AGAIN, "its own log"),
    (s3_error(400, "RequestTimeout"), NETWORK, SERVER, AGAIN, "slow"),
    (s3_error(409, "OperationAborted"), NETWORK, SERVER, AGAIN, "at this moment"),
    (s3_error(409, "ConditionalRequestConflict"), NETWORK, SERVER, AGAIN, "at this moment"),
    (s3_error(400, "BadDigest"), VERIFY, transfer.REASON_VERIFICATION_FAILED, AGAIN, "other than they were sent"),
    # what nobody knows
    (s3_error(400, "SomethingNew", "Never heard of."), INTERNAL, SERVER, AGAIN, "SomethingNew: Never heard of."),
    (s3_error(418, "Teapot", "Short and stout."), INTERNAL, SERVER, AGAIN, "Teapot: Short and stout."),
    (s3_error(412, "PreconditionFailed"), INTERNAL, SERVER, AGAIN, "PreconditionFailed"),
    (Reply(400), CONFIG, INVALID, FINAL, "TLS_HOST"),
    (web_page(400, "The plain HTTP request was sent to HTTPS port"), CONFIG, INVALID, FINAL, "TLS_HOST"),
]


class Scripted:
    """A server whose next answers are told to it, and the engine that asks it."""

    def __init__(self, scratch: Path) -> None:
        self.reply = Reply(500)
        self.server = Answering(1, lambda _: self.reply)
        (scratch / "one file.txt").write_text("content")
        self._scratch = scratch

    def put(self) -> Failure:
        """Return what is told when the engine puts a file there."""
        return self.tell("copy", "--no-check-dest", str(self._scratch), "s3generic:b/p/")

    def list(self) -> Failure:
        """Return what is told when the engine lists."""
        return self.tell("lsf", "--recursive", "s3generic:b/p/")

    def tell(self, *arguments: str) -> Failure:
        # now and then the engine closes the connection before it has read the answer; with its usual retries nobody sees that
        for _ in range(5):
            ended = self._run(*arguments)
            if b"use of closed network connection" not in ended.stderr:
                break
        assert ended.returncode, "the engine says that this was a success"
        errors = Errors()
        for raw in ended.stderr.splitlines():
            errors.add(logs.read_line(raw))
        return errors.failure(
            code=ended.returncode, place="s3generic:b/p/", bucket="b", endpoint="http://minio:9000", total=1
        )

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        program = find_rclone()
        assert program
        return subprocess.run(
            [program, *arguments],
            env={
                "RCLONE_CONFIG": "/dev/null",
                "AWS_ACCESS_KEY_ID": "AKIASOMEBODY",
                "AWS_SECRET_ACCESS_KEY": "whatever-it-is",
                "RCLONE_CONFIG_S3GENERIC_TYPE": "s3",
                "RCLONE_CONFIG_S3GENERIC_PROVIDER": "Other",
                "RCLONE_CONFIG_S3GENERIC_ENV_AUTH": "true",
                "RCLONE_CONFIG_S3GENERIC_REGION": "us-east-1",
                "RCLONE_CONFIG_S3GENERIC_ENDPOINT": f"http://127.0.0.1:{self.server.port}",
                "RCLONE_CONFIG_S3GENERIC_FORCE_PATH_STYLE": "true",
                "RCLONE_S3_NO_CHECK_BUCKET": "true",
                "RCLONE_S3_NO_HEAD": "true",
                "RCLONE_USE_JSON_LOG": "true",
                "RCLONE_LOW_LEVEL_RETRIES": "1",
                "RCLONE_RETRIES": "1",
            },
            capture_output=True,
            check=False,
        )


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    script = Scripted(tmp_path_factory.mktemp("scripted"))
    with script.server:
        yield script


@pytest.mark.parametrize(
    ("reply", "failure_class", "reason", "retryable", "word"),
    ANSWERS,
    ids=[f"{reply.status}-{number}" for number, (reply, *_) in enumerate(ANSWERS)],
)
def test_each_answer_to_an_upload_is_told_as_what_it_is(
    scripted: Scripted, reply: Reply, failure_class: str, reason: str, retryable: bool, word: str
) -> None:
    scripted.reply = reply
    told = scripted.put()
    assert (told.failure_class, told.reason, told.retryable) == (failure_class, reason, retryable), told.message
    assert word in told.message
    assert len(told.message) < 1000


LISTED = [row for row in ANSWERS if row[0].status in {301, 307, 400, 401, 403, 405, 407, 413, 429, 501, 502, 503, 521}]


@pytest.mark.parametrize(
    ("reply", "failure_class", "reason", "retryable", "word"),
    LISTED[::3],
    ids=[f"{reply.status}-{number}" for number, (reply, *_) in enumerate(LISTED[::3])],
)
def test_an_answer_to_a_listing_means_the_same(
    scripted: Scripted, reply: Reply, failure_class: str, reason: str, retryable: bool, word: str
) -> None:
    scripted.reply = reply
    told = scripted.list()
    assert (told.failure_class, told.reason, told.retryable) == (failure_class, reason, retryable), told.message
    assert word in told.message


def test_a_page_in_the_place_of_a_listing_is_no_s3_server(scripted: Scripted) -> None:
    scripted.reply = web_page(200, "Welcome")
    told = scripted.list()
    assert (told.failure_class, told.reason, told.retryable) == (CONFIG, NOT_S3, FINAL), told.message


def test_a_listing_that_is_cut_off_is_the_line_and_not_another_server(scripted: Scripted) -> None:
    body = b'<?xml version="1.0"?><ListBucketResult><Name>b</Name><Contents><Key>p/a</Key>'
    for headers in ({"Content-Type": "application/xml"}, {"Content-Length": "5000"}):
        scripted.reply = Reply(200, body, headers)
        told = scripted.list()
        assert (told.failure_class, told.retryable) == (NETWORK, AGAIN), told.message


PLAUSIBLE = {
    "an empty page": Reply(200),
    "no content": Reply(204),
    "JSON": Reply(200, b'{"ok":true}', {"Content-Type": "application/json"}),
    "a page that is XML as well": Reply(200, b"<html><body><p>Hello</p></body></html>", {"Content-Type": "text/html"}),
    "another page": web_page(200),
}


def test_a_server_that_sends_requests_on_to_one_that_is_not_there_is_told_as_that(scripted: Scripted) -> None:
    scripted.reply = Reply(302, b"", {"Location": "https://login.invalid/"})
    told = scripted.list()
    assert told.reason == transfer.REASON_SERVER_UNREACHABLE
    assert "sent on to login.invalid" in told.message


@pytest.mark.parametrize("size", [10, 6 << 20], ids=["whole", "in parts"])
def test_an_upload_whose_error_comes_as_a_success_is_not_completed(
    container: Container, s3: S3Server, size: int
) -> None:
    (container.data / "a").write_bytes(b"x" * size)
    error = s3_error(200, "InternalError", "We encountered an internal error.")

    def lie(request: Request) -> Reply | None:
        if "/.datamover/" in request.path:
            return None
        ends = request.method == "POST" and "uploadId=" in request.path
        return error if ends or (request.method == "PUT" and "uploadId=" not in request.path) else None

    with Answering(s3.port, lie) as server:
        ended = container.run(
            BUCKET_PORT=str(server.port),
            RCLONE_S3_UPLOAD_CUTOFF="5Mi",
            RCLONE_LOW_LEVEL_RETRIES="1",
            RCLONE_RETRIES="1",
        )
    outcome = ended.outcome
    assert not outcome.succeeded, ended.output
    assert outcome.reason in {SERVER, transfer.REASON_VERIFICATION_FAILED}
    assert outcome.retryable
    assert outcome.problems[0].split(" ")[0] == "a"
    assert not any(name.endswith("outcome.json") for name in s3.objects(records=True))


PROXIES = {
    "that wants a password": (web_page(407), CONFIG, INVALID, FINAL, "NO_PROXY"),
    "that forbids": (web_page(403), NETWORK, transfer.REASON_SERVER_UNREACHABLE, AGAIN, "the proxy's own rules"),
    "that does not reach the server": (
        web_page(502),
        NETWORK,
        transfer.REASON_SERVER_UNREACHABLE,
        AGAIN,
        "HTTPS_PROXY",
    ),
    "that is out of order": (web_page(503), NETWORK, transfer.REASON_SERVER_UNREACHABLE, AGAIN, "HTTPS_PROXY"),
}


@pytest.mark.parametrize(
    ("proxy", "tls"), [*((proxy, "true") for proxy in PROXIES), ("that wants a password", "false")]
)
def test_a_proxy_on_the_way_is_told_as_one(container: Container, proxy: str, tls: str) -> None:
    reply, failure_class, reason, retryable, word = PROXIES[proxy]
    reasons = {407: "Proxy Authentication Required", 403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}
    with Answering(1, lambda _: reply, reasons=reasons) as server:
        ended = container.run(
            BUCKET_HOST="s3.invalid",
            TLS_HOST=tls,
            HTTPS_PROXY=f"http://somebody:secret-word@127.0.0.1:{server.port}",
            HTTP_PROXY=f"http://somebody:secret-word@127.0.0.1:{server.port}",
            DATAMOVER_OUTAGE_LIMIT="3",
        )
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason, outcome.retryable) == (failure_class, reason, retryable), (
        ended.output
    )
    assert word in outcome.message
    assert "secret-word" not in ended.output


def test_a_proxy_that_is_not_there_is_told_as_one(container: Container) -> None:
    ended = container.run(
        BUCKET_HOST="s3.invalid", TLS_HOST="true", HTTPS_PROXY="http://127.0.0.1:1", DATAMOVER_OUTAGE_LIMIT="2"
    )
    assert ended.outcome.reason == transfer.REASON_SERVER_UNREACHABLE, ended.output
    assert "The proxy on the way" in ended.outcome.message


def test_a_web_server_without_such_a_page_is_no_s3_server_either(container: Container) -> None:
    (container.data / "a").write_text("a")
    with Answering(1, lambda _: web_page(404, "404 Not Found")) as server:
        outcome = container.run(BUCKET_PORT=str(server.port)).outcome
    assert (outcome.failure_class, outcome.reason) == (CONFIG, NOT_S3)


def test_a_setting_that_the_server_never_takes_ends_the_run_soon(container: Container, s3: S3Server) -> None:
    for number in range(400):
        (container.data / f"file-{number}").write_text("a")

    def refuse(request: Request) -> Reply | None:
        return s3_error(400, "InvalidStorageClass") if request.method == "PUT" and request.of_data else None

    with Answering(s3.port, refuse) as server:
        ended = container.run(BUCKET_PORT=str(server.port), RCLONE_S3_STORAGE_CLASS="COLD", RCLONE_TPSLIMIT="100")
        tried = sum(request.method == "PUT" and request.of_data for request in server.requests)
    assert ended.outcome.reason == INVALID, ended.output
    assert "RCLONE_S3_STORAGE_CLASS" in ended.outcome.message
    assert "of 400 objects" in ended.outcome.message
    assert "No file arrived" in ended.outcome.message
    assert tried < 400


@pytest.mark.parametrize("timestamped", ["false", "true"])
@pytest.mark.parametrize("page", PLAUSIBLE)
def test_a_web_server_that_likes_everything_is_no_destination(
    container: Container, page: str, timestamped: str
) -> None:
    (container.data / "a").write_text("a")
    with Answering(1, lambda _: PLAUSIBLE[page]) as server:
        ended = container.run(BUCKET_PORT=str(server.port), ADD_TIMESTAMP_PREFIX=timestamped)
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (CONFIG, NOT_S3), ended.output
    assert "BUCKET_PORT" in outcome.message
    assert not outcome.retryable
    assert not [request for request in server.requests if request.method in {"PUT", "POST", "DELETE"}]


def test_an_error_that_comes_as_an_empty_listing_overwrites_no_mirror(container: Container, s3: S3Server) -> None:
    (container.data / "a").write_text("mine")
    assert container.run().code == 0
    (container.data / "a").write_text("somebody else's")
    listing = s3_error(200, "InternalError")

    def answer(request: Request) -> Reply | None:
        listed = request.method == "GET" and "prefix=" in request.path and not request.path.startswith("/backups/")
        return Reply(200, listing.body, listing.headers) if listed else None

    with Answering(s3.port, answer) as server:
        ended = container.run(BUCKET_PORT=str(server.port), DATAMOVER_OWNER_PVC="another")
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (NETWORK, SERVER), ended.output
    assert outcome.retryable
    assert "owner.json is there" in outcome.message
    assert s3.objects() == {"a": b"mine"}


def test_the_way_out_of_a_proxy_that_takes_no_large_request_works(container: Container, s3: S3Server) -> None:
    (container.data / "large").write_bytes(b"x" * (11 << 20))
    (container.data / "small").write_bytes(b"x")

    def limited(request: Request) -> Reply | None:
        return web_page(413, "413 Request Entity Too Large") if request.length > 6 << 20 else None

    with Answering(s3.port, limited) as proxy:
        refused = container.run(BUCKET_PORT=str(proxy.port), DATAMOVER_RUN_ID="first")
        told = refused.outcome
        assert (told.failure_class, told.reason) == (CONFIG, LARGE), refused.output
        assert "1 of 2 objects: 'large'" in told.message
        assert "1 file arrived" in told.message
        assert told.problems == ("large",)
        ended = container.run(BUCKET_PORT=str(proxy.port), RCLONE_S3_UPLOAD_CUTOFF="5Mi", DATAMOVER_RUN_ID="second")
    assert ended.code == 0, ended.output


@pytest.mark.parametrize(
    ("reply", "reason", "said"),
    [
        (s3_error(403, "AccessDenied", "Access Denied"), REFUSED, "AccessDenied"),
        (s3_error(400, "KeyTooLongError", "Your key is too long"), NAME, "KeyTooLong"),
        (s3_error(500, "InternalError", "Try again"), SERVER, "InternalError"),
        (s3_error(418, "Teapot", "Short and stout"), SERVER, "Teapot"),
    ],
    ids=["denied", "name", "server", "unknown"],
)
def test_what_some_objects_meet_names_them_and_says_how_many_of_how_many(
    container: Container, s3: S3Server, reply: Reply, reason: str, said: str
) -> None:
    for number in range(20):
        (container.data / f"file-{number:02}").write_text(f"{number}")

    def refuse(request: Request) -> Reply | None:
        return reply if request.method == "PUT" and "file-1" in request.path else None

    with Answering(s3.port, refuse) as server:
        ended = container.run(BUCKET_PORT=str(server.port), RCLONE_LOW_LEVEL_RETRIES="1", RCLONE_RETRIES="1")
    outcome = ended.outcome
    assert outcome.reason == reason, ended.output
    assert "10 of 20 objects" in outcome.message
    assert "file-1" in outcome.message
    assert said in outcome.message
    assert "10 files arrived in this attempt" in outcome.message
    assert len(outcome.problems) == 5
    assert len(s3.objects()) == 10


def test_a_retention_that_refuses_deletions_says_so_and_what_to_do(container: Container, s3: S3Server) -> None:
    for name in ("keep", "gone-1", "gone-2"):
        (container.data / name).write_text(name)
    assert container.run().code == 0
    for name in ("gone-1", "gone-2"):
        (container.data / name).unlink()

    def locked(request: Request) -> Reply | None:
        reply = s3_error(403, "AccessDenied", "Access Denied because object protected by object lock.")
        return reply if request.method == "DELETE" else None

    with Answering(s3.port, locked) as server:
        ended = container.run(BUCKET_PORT=str(server.port), DATAMOVER_MAX_DELETE_PERCENT="100")
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (DENIED, LOCKED), ended.output
    for words in (
        "could not be deleted",
        "2 of 2 objects",
        "'gone-1'",
        "legal hold",
        "addTimestampPrefix",
        "All files arrived",
    ):
        assert words in outcome.message
    assert set(s3.objects()) == {"keep", "gone-1", "gone-2"}
