"""Texts that the real engine wrote, and what they mean."""

import pytest

from datamover.agent.errors import Failure
from datamover.agent.rclone.classify import Errors, about_record, server_code
from datamover.agent.rclone.logs import Line
from datamover.api import transfer

S3 = "operation error S3: ListObjects, https response error StatusCode: {}, RequestID: 7F2A, HostID: abc=, {}"
SENT = 'operation error S3: ListObjects, exceeded maximum number of attempts, 1, https response error StatusCode: 0, RequestID: , HostID: , request send failed, Get "http://minio:9000/b?delimiter=%2F": {}'


def tell(*texts: str, level: str = "error", code: int = 1) -> Failure:
    errors = Errors()
    for text in texts:
        errors.add(Line(level=level, msg=text, object="some/file"))
    return errors.failure(code=code, place="s3generic:backups/app/", bucket="backups", endpoint="http://minio:9000")


@pytest.mark.parametrize(
    ("text", "failure_class", "reason"),
    [
        (
            S3.format(
                403, "api error InvalidAccessKeyId: The Access Key Id you provided does not exist in our records."
            ),
            transfer.CREDENTIALS,
            transfer.REASON_WRONG_CREDENTIALS,
        ),
        (
            S3.format(403, "api error SignatureDoesNotMatch: The request signature we calculated does not match"),
            transfer.CREDENTIALS,
            transfer.REASON_WRONG_CREDENTIALS,
        ),
        (
            S3.format(400, "api error ExpiredToken: The provided token has expired."),
            transfer.CREDENTIALS,
            transfer.REASON_WRONG_CREDENTIALS,
        ),
        ("the server answers XAdminUserNotFound", transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS),
        ("Failed to configure s3 backend: NoCredentialsErr", transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS),
        (
            "operation error S3: ListObjects, get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found",
            transfer.CREDENTIALS,
            transfer.REASON_WRONG_CREDENTIALS,
        ),
        (
            S3.format(403, "api error RequestTimeTooSkewed: The difference between the request time"),
            transfer.CREDENTIALS,
            transfer.REASON_WRONG_CREDENTIALS,
        ),
        (S3.format(403, "api error AccessDenied: Access Denied"), transfer.DENIED, transfer.REASON_ACCESS_DENIED),
        (S3.format(403, "api error Forbidden: Forbidden"), transfer.DENIED, transfer.REASON_ACCESS_DENIED),
        (S3.format(403, "api error UserSuspended: UnknownError"), transfer.DENIED, transfer.REASON_ACCESS_DENIED),
        (
            S3.format(404, "api error NoSuchBucket: The specified bucket does not exist"),
            transfer.NOT_FOUND,
            transfer.REASON_BUCKET_NOT_FOUND,
        ),
        ("error listing: directory not found", transfer.NOT_FOUND, transfer.REASON_BUCKET_NOT_FOUND),
        (
            S3.format(
                400, 'api error AuthorizationHeaderMalformed: the region "eu-west-7" is wrong; expecting "us-east-1"'
            ),
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
        ),
        (
            SENT.format("dial tcp 127.0.0.1:1: connect: connection refused"),
            transfer.NETWORK,
            transfer.REASON_SERVER_UNREACHABLE,
        ),
        (
            SENT.format("dial tcp: lookup minio on 10.96.0.10:53: no such host"),
            transfer.NETWORK,
            transfer.REASON_SERVER_UNREACHABLE,
        ),
        (
            SENT.format("net/http: timeout awaiting response headers"),
            transfer.NETWORK,
            transfer.REASON_SERVER_UNREACHABLE,
        ),
        ("Failed to copy: connection timeout", transfer.NETWORK, transfer.REASON_SERVER_UNREACHABLE),
        (
            SENT.format("tls: failed to verify certificate: x509: certificate signed by unknown authority"),
            transfer.NETWORK,
            transfer.REASON_TLS_UNTRUSTED,
        ),
        (
            SENT.format("http: server gave HTTP response to HTTPS client"),
            transfer.NETWORK,
            transfer.REASON_TLS_MISMATCH,
        ),
        (
            S3.format(400, "deserialization failed, failed to copy error response body, connection reset by peer"),
            transfer.NETWORK,
            transfer.REASON_TLS_MISMATCH,
        ),
        (
            S3.format(503, "api error SlowDown: Please reduce your request rate."),
            transfer.NETWORK,
            transfer.REASON_SERVER_ERROR,
        ),
        (S3.format(500, "api error InternalError: Internal Error"), transfer.NETWORK, transfer.REASON_SERVER_ERROR),
        (
            S3.format(
                507, "api error XMinioStorageFull: Storage backend has reached its minimum free drive threshold."
            ),
            transfer.NO_SPACE,
            transfer.REASON_NO_SPACE,
        ),
        ("Failed to copy: No space left on device", transfer.NO_SPACE, transfer.REASON_NO_SPACE),
        (S3.format(403, "api error QuotaExceeded: UnknownError"), transfer.NO_SPACE, transfer.REASON_NO_SPACE),
        ("write /config/datamover-1/x: no space left on device", transfer.NO_SPACE, transfer.REASON_NO_LOCAL_SPACE),
        (
            "Failed to copyto: preallocate: file too big for remaining disk space",
            transfer.NO_SPACE,
            transfer.REASON_NO_LOCAL_SPACE,
        ),
        (
            "failed to open source object: open /data/x: permission denied",
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_UNREADABLE,
        ),
        (
            'error reading source directory "closed": failed to open directory "closed": open /data/closed: permission denied',
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_UNREADABLE,
        ),
        (
            "Failed to copy: read /data/x: input/output error",
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_UNREADABLE,
        ),
        (
            "Failed to copy: " + SENT.format("can't copy - source file is being updated (size changed from 1 to 2)"),
            transfer.SOURCE_CHANGED,
            transfer.REASON_SOURCE_CHANGED,
        ),
        (
            S3.format(400, "api error BadDigest: The Content-Md5 you specified did not match"),
            transfer.VERIFY,
            transfer.REASON_VERIFICATION_FAILED,
        ),
        ("corrupted on transfer: md5 hashes differ", transfer.VERIFY, transfer.REASON_VERIFICATION_FAILED),
        (
            S3.format(409, "api error ObjectParentIsFile: Object parent already exists as a file."),
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_REFUSED,
        ),
        (
            S3.format(400, "api error KeyTooLongError: Your key is too long"),
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_NAME_REFUSED,
        ),
        (
            'Failed to create file system for "s3generic:bkt/zz/": s3: chunk size: 1Mi is less than 5Mi',
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
        ),
        ("something nobody has seen before", transfer.INTERNAL, transfer.REASON_ENGINE_FAILED),
    ],
)
def test_each_text_has_its_class_and_reason(text: str, failure_class: str, reason: str) -> None:
    failure = tell(text)
    assert (failure.failure_class, failure.reason) == (failure_class, reason)
    assert len(failure.message) < 1000


def test_what_must_be_mended_first_is_told_first() -> None:
    failure = tell(
        "failed to open source object: open /data/x: permission denied",
        S3.format(500, "api error InternalError"),
        S3.format(403, "api error AccessDenied: Access Denied"),
    )
    assert failure.failure_class == transfer.DENIED


def test_the_message_quotes_the_error_without_request_ids_and_names_the_objects() -> None:
    failure = tell(S3.format(403, "api error AccessDenied: Access Denied"))
    assert "AccessDenied: Access Denied" in failure.message
    assert "RequestID" not in failure.message
    assert failure.problems == ("some/file",)


def test_a_used_up_quota_of_ceph_is_tried_again_and_a_suspended_account_is_no_missing_right() -> None:
    assert tell(S3.format(403, "api error QuotaExceeded: UnknownError")).retryable
    assert "suspended" in tell(S3.format(403, "api error UserSuspended: UnknownError")).message


def test_certificates_and_protocols_do_not_heal_by_themselves_but_outages_may() -> None:
    assert not tell(SENT.format("x509: certificate signed by unknown authority")).retryable
    assert not tell(SENT.format("http: server gave HTTP response to HTTPS client")).retryable
    assert tell(SENT.format("connection refused")).retryable
    assert not tell(S3.format(404, "api error NoSuchBucket")).retryable


SAID_OF_FILES = {
    "in an address": (
        'Failed to copy: operation error S3: PutObject, https response error StatusCode: 403, Put "http://s3/b/{name}?x-id=PutObject": api error AccessDenied: Access Denied.',
        transfer.REASON_ACCESS_DENIED,
    ),
    "in front": ("{name}: Failed to copy: api error AccessDenied: Access Denied.", transfer.REASON_ACCESS_DENIED),
    "in a path": (
        "Failed to copy: failed to open source object: open /data/{name}: permission denied",
        transfer.REASON_SOURCE_UNREADABLE,
    ),
    "nowhere": (
        "Failed to copy: dial tcp 10.0.0.1:443: connect: connection refused",
        transfer.REASON_SERVER_UNREACHABLE,
    ),
}


@pytest.mark.parametrize("name", ["StorageFull-report.txt", "sub/enospc.txt", "e", "connection refused"])
@pytest.mark.parametrize("where", SAID_OF_FILES)
def test_the_name_of_a_file_is_neither_taken_for_words_nor_takes_any_away(name: str, where: str) -> None:
    text, reason = SAID_OF_FILES[where]
    errors = Errors()
    errors.add(Line(level="error", msg=text.format(name=name), object=name))
    assert errors.failure(code=1, place="p", bucket="b", endpoint="e").reason == reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026 is after 2025",
            "renew it",
        ),
        ("tls: failed to verify certificate: x509: certificate is valid for minio.local, not s3.local", "BUCKET_HOST"),
        (
            "tls: failed to verify certificate: x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
            "BUCKET_HOST",
        ),
        ("remote error: tls: certificate required", "RCLONE_CLIENT_CERT"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "CA_CERT"),
    ],
)
def test_what_is_wrong_with_a_certificate_says_which_way_out(text: str, words: str) -> None:
    failure = tell(SENT.format(text))
    assert (failure.reason, failure.retryable) == (transfer.REASON_TLS_UNTRUSTED, False)
    assert words in failure.message


def test_a_server_that_hangs_is_not_told_as_one_that_is_not_there() -> None:
    message = tell(SENT.format("net/http: timeout awaiting response headers")).message
    assert "does not answer them" in message
    assert "check BUCKET_HOST" not in message


def test_a_provider_that_needs_tls_is_a_configuration_that_cannot_be() -> None:
    failure = tell("Failed to copy: unseekable stream is not supported without TLS and trailing checksum")
    assert (failure.failure_class, failure.retryable) == (transfer.CONFIG, False)
    assert "TLS_HOST" in failure.message


def test_the_words_of_every_request_are_left_out() -> None:
    message = tell(SENT.format("dial tcp 10.0.0.1:9000: connect: connection refused")).message
    assert "operation error S3: ListObjects, Get" in message
    assert "connection refused" in message
    for words in ("maximum number of attempts", "StatusCode: 0", "request send failed", "RequestID"):
        assert words not in message


def test_an_engine_that_was_killed_is_told_as_a_want_of_memory() -> None:
    failure = Errors().failure(code=-9, place="p", bucket="b", endpoint="e")
    assert failure.reason == transfer.REASON_OUT_OF_MEMORY
    assert "spec.mover.resources" in failure.message


def test_lines_that_are_no_errors_do_not_count() -> None:
    errors = Errors()
    for level in ("info", "debug", "notice"):
        errors.add(Line(level=level, msg="AccessDenied is the name of a file"))
    assert errors.count == 0
    failure = errors.failure(code=1, place="p", bucket="b", endpoint="e")
    assert failure.reason == transfer.REASON_ENGINE_FAILED


def test_summaries_are_understood_but_not_counted_twice() -> None:
    errors = Errors()
    errors.add(Line(level="error", msg="AccessDenied: Access Denied", object="a"))
    errors.add(Line(level="error", msg="Attempt 1/3 failed with 1 errors and: AccessDenied: Access Denied"))
    errors.add(Line(level="notice", msg="Failed to copy: AccessDenied: Access Denied"))
    assert errors.count == 1
    assert errors.amount(transfer.DENIED) == 1


def test_a_million_errors_take_no_more_memory_than_a_few() -> None:
    errors = Errors()
    for number in range(2000):
        errors.add(Line(level="error", msg="open /data/x: permission denied", object=f"file-{number}"))
    assert errors.amount(transfer.SOURCE_UNREADABLE) == 2000
    assert len(errors.failure(code=1, place="p", bucket="b", endpoint="e").problems) == 5


@pytest.mark.parametrize(
    "text",
    [
        """2026/11/21 09:30:02 ERROR+4 Failed to load "main" default values: failed to initialise "main" options: couldn't parse config item "transfers" = "many" as int""",
        """2026/11/21 09:30:03 CRITICAL: Invalid value when setting --s3-upload-cutoff from environment variable RCLONE_S3_UPLOAD_CUTOFF="zz": invalid argument "zz" for "--s3-upload-cutoff" flag""",
    ],
)
def test_options_that_the_engine_refuses_before_it_can_log_are_the_users(text: str) -> None:
    failure = tell(text, level="")
    assert (failure.failure_class, failure.reason) == (transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION)
    assert not failure.retryable


def test_a_crash_of_the_engine_is_quoted() -> None:
    assert "panic: runtime error" in tell("panic: runtime error: index out of range", level="").message


@pytest.mark.parametrize(
    ("text", "code"),
    [("<?xml?><Error><Code>NoSuchBucket</Code></Error>", "NoSuchBucket"), ("<html>404 Not Found</html>", None)],
)
def test_the_servers_own_code_is_found_in_its_answer(text: str, code: str | None) -> None:
    assert server_code(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "failed to open source object: object not found",
        "operation error S3: GetObject, https response error StatusCode: 404, api error NoSuchKey",
    ],
)
def test_a_record_that_vanished_is_looked_for_again_and_is_no_fault_of_the_source(text: str) -> None:
    told = about_record(tell(text), text, place="s3generic:b/.datamover/owner.json", reading=True)
    assert (told.failure_class, told.reason) == (transfer.GUARD, transfer.REASON_RECORD_UNUSABLE)
    assert told.retryable
    assert ".datamover/owner.json was there a moment ago" in told.message


@pytest.mark.parametrize("reading", [True, False])
def test_no_words_about_a_record_are_told_as_those_about_the_source(reading: bool) -> None:
    for text in ("permission denied", "failed to open source object: whatever", "corrupted on transfer: md5 differ"):
        told = about_record(tell(text), text, place="place", reading=reading)
        assert told.failure_class == transfer.INTERNAL
        assert told.retryable
        assert told.message.startswith(f"The record place cannot be {'read' if reading else 'written'}: ")
        assert text in told.message


def test_what_concerns_the_server_stays_what_it_is_and_names_the_record() -> None:
    for text in ("AccessDenied: Access Denied", "connection refused", "no space left on device"):
        before = tell(text)
        told = about_record(before, text, place="place", reading=False)
        assert (told.failure_class, told.reason, told.retryable) == (
            before.failure_class,
            before.reason,
            before.retryable,
        )
        assert told.message == f"The record place cannot be written. {before.message}"


def test_a_file_that_vanished_before_it_was_opened_is_a_change_and_tried_again() -> None:
    told = tell("Failed to copy: failed to open source object: lstat /data/temporary: no such file or directory")
    assert (told.failure_class, told.reason) == (transfer.SOURCE_CHANGED, transfer.REASON_SOURCE_CHANGED)
    assert told.retryable


GONE_WORDS = "open /data/a: no such file or directory"


@pytest.mark.parametrize(
    ("text", "spared"),
    [
        (f"Failed to calculate src hash: hash: failed to open: {GONE_WORDS}", True),
        ("Failed to copy: failed to open source object: lstat /data/a: no such file or directory", True),
        (
            f"Attempt 3/3 failed with 6 errors and: Failed to calculate src hash: hash: failed to open: {GONE_WORDS}",
            True,
        ),
        (f"Failed to copy with 6 errors: last error was: failed to open source object: {GONE_WORDS}", True),
        (f"Failed to copy: failed to open source object: {GONE_WORDS}", True),
        ("Failed to copy: failed to open source object: open /data/a: permission denied", False),
        (f"Failed to copy: failed to open source object: {GONE_WORDS}: permission denied", False),
        (f"failed to open directory: {GONE_WORDS}", False),
        (f"AccessDenied: failed to open source object: {GONE_WORDS}", False),
        ("corrupted on transfer: md5 differ", False),
    ],
)
def test_of_a_live_source_only_a_file_that_was_gone_when_it_was_to_be_read_is_spared(text: str, spared: bool) -> None:
    live, frozen = Errors(), Errors()
    live.spares_vanished = True
    for errors in (live, frozen):
        errors.add(Line(level="error", msg=text, object="a"))
    assert live.none is spared
    assert not frozen.none


def test_what_is_spared_hides_no_other_error() -> None:
    errors = Errors()
    errors.spares_vanished = True
    errors.add(Line(level="error", msg=f"Failed to copy: failed to open source object: {GONE_WORDS}", object="a"))
    errors.add(Line(level="error", msg="Failed to copy: AccessDenied: Access Denied", object="b"))
    errors.add(
        Line(level="error", msg=f"Attempt 1/1 failed with 2 errors and: failed to open source object: {GONE_WORDS}")
    )
    assert not errors.none
    told = errors.failure(code=1, place="p", bucket="b", endpoint="e")
    assert told.failure_class == transfer.DENIED
    assert "1 object: 'b'" in told.message
