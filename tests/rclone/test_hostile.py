"""A store is not believed: records, listings and answers that no honest one gives end a run soon, in little memory, with a reason."""

import gzip
import sys
import zlib
from dataclasses import replace

import pytest

from datamover.api import outside, transfer
from support.agent import Container, Ended
from support.answering import Answering, Reply, Request, web_page
from support.programs import GO
from support.s3 import S3Server

RECORDS = ".datamover"
UNUSABLE = (transfer.REASON_RECORD_UNUSABLE, transfer.REASON_DESTINATION_NOT_OWNED)
BOMB = b'{"pvc":"' + b"x" * (64 << 20) + b'"}'
DEEP = b'{"x":' + b"[" * 100_000


def fill(container: Container) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        (container.data / name).write_text(name)


# A process of its own, because a child's peak counts from the memory of the process that started it: here, that of all tests before this one.
MEASURING = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as peak:
    peak.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)
"""


def run(container: Container, **changes: str) -> Ended:
    """Run the agent; neither it nor its engine may take much memory."""
    peak = container.root / "peak"
    peak.unlink(missing_ok=True)
    engine: dict[str, str | None] = dict.fromkeys(GO)  # it collects its garbage as it does for users
    ended = replace(container, wrapper=[sys.executable, "-c", MEASURING, str(peak)]).run(**engine, **changes)
    assert int(peak.read_text()) < 400 << 10, "KiB"
    return ended


def refused(ended: Ended) -> transfer.Outcome:
    outcome = ended.outcome
    assert outcome.reason in UNUSABLE, ended.output
    assert outcome.failure_class == transfer.GUARD
    assert "Nothing was moved" in outcome.message
    assert outcome.deleted == outcome.transferred_files == 0
    return outcome


OWNERS = {
    "megabytes": BOMB,
    "depth": DEEP,
    "depth within its size": DEEP[: outside.RECORD_LIMIT - 1],
    "a number that no field holds": b'{"version":1e26}',
    "another type": b'{"pvc":7}',
    "words that move the cursor": b'{"version":1,"namespace":"\\u001b[2J","pvc":"all is well\\u202e"}',
}


@pytest.mark.parametrize("case", OWNERS)
def test_a_hostile_owner_marker_is_refused(container: Container, s3: S3Server, case: str) -> None:
    fill(container)
    assert container.run().code == 0
    (s3.directory / "backups" / RECORDS / "owner.json").write_bytes(OWNERS[case])
    outcome = refused(run(container))
    assert "\x1b" not in outcome.message
    assert "\u202e" not in outcome.message


@pytest.mark.parametrize("case", ["megabytes", "depth", "depth within its size"])
def test_a_hostile_folder_record_is_refused(container: Container, s3: S3Server, case: str) -> None:
    fill(container)
    changes = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_RUN_ID": "run-1", "DATAMOVER_TIMESTAMP": "2024-08-06-143052"}
    assert container.run(**changes).code == 0
    (s3.directory / "backups" / RECORDS / "runs/run-1/folder.json").write_bytes(OWNERS[case])
    assert refused(run(container, **changes)).reason == transfer.REASON_RECORD_UNUSABLE


def head(run_id: str) -> bytes:
    return b'{"datamover":"manifest","version":1,"runId":"%s"}\n' % run_id.encode()


def bomb(run_id: str) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [squeeze.compress(head(run_id))] + [squeeze.compress(b"x" * (1 << 20)) for _ in range(300)]
    return b"".join([*parts, squeeze.flush()])


MANIFESTS = {
    "300 MB in 300 KB": bomb,
    "depth": lambda run_id: gzip.compress(head(run_id) + DEEP),
    "a number that no field holds": lambda run_id: gzip.compress(
        head(run_id) + b'{"type":"file","path":"x","size":1e26}\n'
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_hostile_manifest_is_refused_in_little_memory(container: Container, s3: S3Server, case: str) -> None:
    fill(container)
    run_id = container.run().outcome.run_id
    path = s3.directory / "backups" / RECORDS / "runs" / run_id / "manifest.jsonl.gz"
    path.write_bytes(MANIFESTS[case](run_id))
    refused(run(container))
    assert set(s3.objects()) == {"a.txt", "b.txt", "c.txt"}


@pytest.mark.parametrize("place", ["mirror-²", "mirror-٣", "mirror-" + "9" * 200])
def test_a_name_that_only_looks_like_a_place_changes_nothing(container: Container, s3: S3Server, place: str) -> None:
    fill(container)
    run_id = container.run().outcome.run_id
    (s3.directory / "backups" / RECORDS / "runs" / run_id / place).write_bytes(b"")
    (s3.directory / "backups" / RECORDS / "runs" / ".. \x1b").mkdir()
    (container.data / "a.txt").unlink()
    assert run(container).code == 0
    assert set(s3.objects()) == {"b.txt", "c.txt"}


def test_a_limit_of_deletions_that_is_no_number_is_the_users_to_mend(container: Container) -> None:
    fill(container)
    outcome = container.run(RCLONE_MAX_DELETE="²").outcome
    assert outcome.reason == transfer.REASON_INVALID_CONFIGURATION
    assert "RCLONE_MAX_DELETE is set to '²'" in outcome.message


def page() -> Reply:
    """Return a page of a listing that says that another one follows."""
    contents = "".join(
        f"<Contents><Key>data/{number:04}</Key><Size>1</Size><LastModified>2024-08-06T14:30:52.000Z</LastModified>"
        '<ETag>"d41d8cd98f00b204e9800998ecf8427e"</ETag></Contents>'
        for number in range(1000)
    )
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken><NextMarker>again</NextMarker>"
    body = f"<?xml version='1.0'?><ListBucketResult><Name>backups</Name>{more}{contents}</ListBucketResult>"
    return Reply(200, body.encode(), {"Content-Type": "application/xml"})


@pytest.mark.parametrize("mode", ["mirror", "timestamped"])
def test_pages_that_never_end_end_the_run(container: Container, s3: S3Server, mode: str) -> None:
    fill(container)
    answer = page()
    with Answering(s3.port, lambda request: answer if "max-keys=" in request.path else None) as proxy:
        outcome = run(
            container,
            BUCKET_PORT=str(proxy.port),
            ADD_TIMESTAMP_PREFIX=str(mode == "timestamped").lower(),
            DATAMOVER_OUTAGE_LIMIT="5",
        ).outcome
    if mode == "mirror":
        assert outcome.reason == transfer.REASON_SERVER_ERROR
        assert "has no end: the server gives the same objects again and again, such as 'data/" in outcome.message
    else:
        assert outcome.reason == transfer.REASON_SERVER_UNREACHABLE, outcome.message


def test_pages_that_never_end_after_the_copy_of_a_few_files_end_the_run(container: Container, s3: S3Server) -> None:
    # the engine that runs already is asked first, and holds in memory what it has
    fill(container)
    # what is not below the folder that was asked for would not count
    answer = replace(page(), body=page().body.replace(b"<Key>data/", b"<Key>2024-08-01-143052/"))
    asked = 0

    def reply(request: Request) -> Reply | None:
        nonlocal asked
        if "max-keys=" in request.path and "delimiter=" not in request.path and "2024-08-01" in request.path:
            asked += 1
            return answer if asked > 1 else None  # the first one is the copy's own
        return None

    with Answering(s3.port, reply) as proxy:
        outcome = run(
            container,
            BUCKET_PORT=str(proxy.port),
            ADD_TIMESTAMP_PREFIX="true",
            DATAMOVER_TIMESTAMP="2024-08-01-143052",
        ).outcome
    assert outcome.reason == transfer.REASON_SERVER_ERROR, outcome.message
    assert "has no end: the server gives the same objects again and again, such as '" in outcome.message


def test_a_web_page_in_the_place_of_a_record_is_told_as_one(container: Container, s3: S3Server) -> None:
    fill(container)
    assert container.run().code == 0
    answer = web_page(200)
    with Answering(s3.port, lambda request: answer if "owner.json" in request.path else None) as proxy:
        outcome = run(container, BUCKET_PORT=str(proxy.port)).outcome
    assert outcome.reason == transfer.REASON_NOT_S3, outcome.message
    assert "owner.json" in outcome.message
