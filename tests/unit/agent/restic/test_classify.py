"""From restic's words to a reason and a way out. The texts are what restic 0.18 and its libraries print."""

import pytest

from datamover.agent.restic import classify
from datamover.agent.restic.messages import Message
from datamover.agent.restic.process import Answer
from datamover.api import transfer


def answer(text: str, *, code: int = 1, timed_out: bool = False, kind: str = "", item: str = "") -> Answer:
    complaints = tuple(Message(message_type=kind, message=line, item=item) for line in text.splitlines())
    return Answer(code=code, timed_out=timed_out, complaints=complaints, summary=None, output=b"")


HINT = "Fatal: unable to open config file: context canceled\nIs there a repository at the following location?\ns3:x"
NO_BUCKET = "Stat(<config/>) returned error, retrying after 867ms: Stat: The specified bucket does not exist."
REFUSED = 'Stat(<config/>) returned error, retrying after 1s: Stat: Get "http://h/": dial tcp 127.0.0.1:1: connect: connection refused'
SIGNATURE = "Stat(<config/>) returned error, retrying after 1s: Stat: The request signature we calculated does not match the signature you provided."


@pytest.mark.parametrize(
    ("code", "text", "absent"),
    [
        (10, "Fatal: repository does not exist", True),
        (1, f"{NO_BUCKET}\n{HINT}", True),
        (130, f"{NO_BUCKET}\n{HINT}", True),
        (1, f"{REFUSED}\n{HINT}", False),
        (1, f"{SIGNATURE}\n{HINT}", False),
        (1, HINT, False),  # restic asks that whatever went wrong
        (12, "Fatal: wrong password or no key found", False),
        (11, "unable to create lock in backend: repository is already locked", False),
        (0, "", False),
    ],
)
def test_a_repository_is_made_only_where_the_server_said_that_there_is_none(code: int, text: str, absent: bool) -> None:
    assert classify.is_absent(answer(text, code=code)) == absent


@pytest.mark.parametrize(
    ("text", "definite"),
    [(NO_BUCKET, True), (SIGNATURE, True), (REFUSED, False), ("503 Service Unavailable", False), ("hello", False)],
)
def test_what_asking_again_does_not_change_is_not_asked_again(text: str, definite: bool) -> None:
    assert classify.is_definite(text) == definite


CASES = {
    "Fatal: wrong password or no key found": transfer.REASON_WRONG_PASSWORD,
    "s3.getCredentials: no credentials found. Use `-o s3.unsafe-anonymous-auth=true`": transfer.REASON_WRONG_CREDENTIALS,
    SIGNATURE: transfer.REASON_WRONG_CREDENTIALS,
    "Stat: No user exists with the provided access key ID.": transfer.REASON_WRONG_CREDENTIALS,
    "Stat: Access Denied.": transfer.REASON_ACCESS_DENIED,
    "unexpected HTTP response (401): 401 Unauthorized": transfer.REASON_WRONG_CREDENTIALS,
    "x509: certificate signed by unknown authority": transfer.REASON_TLS_UNTRUSTED,
    "http: server gave HTTP response to HTTPS client": transfer.REASON_TLS_MISMATCH,
    REFUSED: transfer.REASON_SERVER_UNREACHABLE,
    "dial tcp: lookup nosuch.invalid on 10.0.0.1:53: no such host": transfer.REASON_SERVER_UNREACHABLE,
    "unexpected HTTP response (502): 502 Bad Gateway": transfer.REASON_SERVER_ERROR,
    "client.GetObject: Bucket name cannot be shorter than 3 characters": transfer.REASON_INVALID_CONFIGURATION,
    "decrypting blob <tree/a817546c> from 8b8ad16a failed: nonce is invalid": transfer.REASON_REPOSITORY_DAMAGED,
    "ciphertext verification failed": transfer.REASON_REPOSITORY_DAMAGED,
    "open /mnt/r/data/xx: permission denied": transfer.REASON_ACCESS_DENIED,
    "unable to open repository at b2:b:p: Fatal: unable to open B2 backend: Account ID ($B2_ACCOUNT_ID) is empty": transfer.REASON_WRONG_CREDENTIALS,
    "conn.Authenticate: Can't find AuthVersion in AuthUrl - set explicitly": transfer.REASON_WRONG_CREDENTIALS,
    "Stat: The difference between the request time and the server's time is too large.": transfer.REASON_WRONG_CREDENTIALS,
    'unable to open repository at rclone:x:y: exec: "rclone": executable file not found in $PATH': transfer.REASON_ENGINE_MISSING,
    'rclone: Failed to create file system for "x:y": didn\'t find section in config file': transfer.REASON_INVALID_CONFIGURATION,
    "unable to start the sftp session, error: error receiving version packet from server": transfer.REASON_INVALID_CONFIGURATION,
    "Stat: XML syntax error on line 3: element <hr> closed by </body>": transfer.REASON_NOT_S3,
    "Stat: Please reduce your request rate.": transfer.REASON_SERVER_ERROR,
    "cannot parse root certificate from /customca/ca.crt": transfer.REASON_INVALID_CONFIGURATION,
    "Integrity check failed: Data seems to be missing.": transfer.REASON_REPOSITORY_DAMAGED,
    "something nobody has seen": transfer.REASON_ENGINE_FAILED,
}


@pytest.mark.parametrize("text", CASES)
def test_words_become_a_reason(text: str) -> None:
    failure = classify.failure_of(answer(text), repository="s3:x", doing="the backup")
    assert failure.reason == CASES[text]
    assert text[:100] in failure.message


def test_exit_codes_say_more_than_words() -> None:
    told = {
        10: transfer.REASON_REPOSITORY_NOT_FOUND,
        12: transfer.REASON_WRONG_PASSWORD,
        -9: transfer.REASON_OUT_OF_MEMORY,
        1: transfer.REASON_ENGINE_FAILED,
    }
    for code, reason in told.items():
        assert classify.failure_of(answer("", code=code), repository="r", doing="the prune").reason == reason
    timed_out = classify.failure_of(answer("", code=-9, timed_out=True), repository="r", doing="the first look")
    assert timed_out.reason == transfer.REASON_SERVER_UNREACHABLE


@pytest.mark.parametrize(
    ("line", "doing", "reason", "word"),
    [
        ("write /cache/abc/data/12: no space left on device", "the backup", transfer.REASON_NO_LOCAL_SPACE, "cacheCapacity"),
        ("write /tmp/restic-temp-pack-1: no space left on device", "the backup", transfer.REASON_NO_LOCAL_SPACE, "cacheCapacity"),
        ("write /mnt/r/data/12: no space left on device", "the backup", transfer.REASON_NO_SPACE, "spec.restic.retain"),
        ("write /data/x: no space left on device", classify.RESTORING, transfer.REASON_NO_SPACE, "spec.restic.capacity"),
        ("write /data/x: disk quota exceeded", classify.RESTORING, transfer.REASON_NO_SPACE, "spec.restic.capacity"),
    ],
)  # fmt: skip
def test_what_is_full_is_told_by_what_can_be_made_larger(line: str, doing: str, reason: str, word: str) -> None:
    failure = classify.failure_of(
        answer(f"{line}\nFatal: there were 2 errors"), repository="/mnt/r", doing=doing, folders=("/cache", "/tmp")
    )
    assert (failure.failure_class, failure.reason) == (transfer.NO_SPACE, reason)
    assert word in failure.message
    assert line in failure.message


def test_files_that_vanished_are_another_failure_than_those_that_may_not_be_read() -> None:
    gone = answer("open /data/a: no such file or directory", code=3, kind="error", item="/data/a")
    failure = classify.failure_of_files(gone, repository="r")
    assert (failure.failure_class, failure.retryable) == (transfer.SOURCE_CHANGED, True)
    assert failure.problems == ("/data/a",)
    private = answer("open /data/a: permission denied", code=3, kind="error", item="/data/a")
    failure = classify.failure_of_files(private, repository="r")
    assert (failure.failure_class, failure.retryable) == (transfer.SOURCE_UNREADABLE, False)
    assert "moverSecurityContext" in failure.message
