"""A point compared with its manifest by the agent's process as a Job runs it: told by its environment alone."""

from pathlib import Path

import pytest

from datamover.api import transfer
from datamover.api.verification import Compared
from support.agent import Container, Ended
from support.s3 import S3Server

RUN, COMPARISON = "20240801143052-run", "comparison-1"
FILES = {"a": b"first", "sub/b": b"second", "sub/c": b"third", "empty": b""}


@pytest.fixture
def job(tmp_path: Path, s3: S3Server) -> Container:
    """The container of a comparison's Job; it has no volume."""
    given = s3.secret() | {transfer.RUN_ID: COMPARISON, transfer.OUTAGE_LIMIT: "20", "DATAMOVER_POINT": RUN}
    return Container(tmp_path / "job", given, arguments=["verify"])


def back_up(container: Container, *, run: str = RUN, at: str = "2024-08-01-143052", **changes: str | None) -> None:
    for name, content in FILES.items():
        path = container.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    ended = container.run(DATAMOVER_RUN_ID=run, DATAMOVER_TIMESTAMP=at, **changes)
    assert ended.code == 0, ended.output


def compared(ended: Ended) -> Compared:
    found = ended.outcome.comparison_made
    assert found is not None, ended.output
    assert transfer.decode_outcome(ended.output.splitlines()[-1]) == ended.outcome, "the last line as well"
    return found


@pytest.mark.parametrize("stamped", [None, "true"], ids=["mirror", "timestamped"])
def test_what_is_as_its_manifest_says_is_so_by_each_method_and_nothing_is_written(
    container: Container, job: Container, s3: S3Server, stamped: str | None
) -> None:
    back_up(container, ADD_TIMESTAMP_PREFIX=stamped)
    before = s3.objects(records=True)
    for method, summed, read in (
        ("size", 0, 0),
        ("checksums", 4, 0),
        ("download", 0, 4),
        ("sample:50%", 0, 2),
        ("", 4, 0),
    ):
        ended = job.run(DATAMOVER_VERIFY=method)
        outcome, told = ended.outcome, compared(ended)
        assert (ended.code, outcome.reason, outcome.succeeded, outcome.verified) == (0, "Succeeded", True, True)
        assert (outcome.run_id, outcome.verification) == (COMPARISON, method or "checksums")
        assert (outcome.files, outcome.checked_files, outcome.read_files) == (4, summed, read)
        assert (told.point, told.moment, told.volume) == (RUN, "2024-08-01-143052", "production/app-data")
        assert (told.compared, told.differing, told.unproved, told.state) == (4, 0, 0, "complete")
        assert bool(told.seed) == method.startswith("sample")
        assert "all there, and nothing that it does not name" in outcome.message
    assert s3.objects(records=True) == before


def test_what_was_done_to_the_store_is_found_and_counted(container: Container, job: Container, s3: S3Server) -> None:
    """One flipped byte, one object missing, one extra, an old copy in the place of the new one."""
    back_up(container)
    s3.put({"a": b"fir5t", "more": b"extra", "sub/b": b"SECOND"})
    s3.remove("sub/c")
    ended = job.run(DATAMOVER_VERIFY="download")
    outcome, told = ended.outcome, compared(ended)
    assert (outcome.failure_class, outcome.reason) == (transfer.VERIFY, "BackupDamaged"), ended.output
    assert (outcome.verified, outcome.retryable) == (False, False)
    assert ended.code == outcome.exit_code
    assert ended.code in transfer.TERMINAL_EXIT_CODES, "another attempt would find the same"
    assert (told.missing, told.other, told.extra, told.unproved) == (1, 2, 1, 0)
    assert [problem.partition("  ")[0] for problem in outcome.problems] == ["~ a", "+ more", "~ sub/b", "- sub/c"]
    assert "4 not as it says" in outcome.message


def test_findings_are_bounded(container: Container, job: Container, s3: S3Server) -> None:
    back_up(container)
    s3.put({f"{'x' * 200}{number:03}": b"" for number in range(40)})
    ended = job.run(DATAMOVER_VERIFY="size")
    assert compared(ended).extra == 40
    assert 0 < len(ended.outcome.problems) <= 16
    assert len(transfer.encode_outcome(ended.outcome)) <= transfer.OUTCOME_LIMIT


def test_a_manifest_that_was_cut_off_is_found(container: Container, job: Container, s3: S3Server) -> None:
    back_up(container)
    manifest = f".datamover/runs/{RUN}/manifest.jsonl.gz"
    s3.put({manifest: s3.objects(records=True)[manifest][:-40]})
    ended = job.run()
    assert (ended.outcome.reason, ended.outcome.succeeded) == (transfer.REASON_RECORD_UNUSABLE, False), ended.output
    assert ended.outcome.verified is None, "of the objects nothing is known"
    assert compared(ended).point == RUN


def test_a_point_that_a_later_run_has_replaced_is_no_damage(container: Container, job: Container, s3: S3Server) -> None:
    back_up(container)
    back_up(container, run="later", at="2024-08-02-143052")
    ended = job.run()
    assert (ended.outcome.reason, ended.outcome.failure_class) == ("PointSuperseded", transfer.NOT_FOUND)
    assert "is superseded" in ended.outcome.message
    (container.data / "a").write_bytes(b"other")
    assert container.run(DATAMOVER_RUN_ID="last", DATAMOVER_TIMESTAMP="2024-08-03-143052").code == 0
    s3.remove(".datamover/runs/last/outcome.json")
    disturbed = job.run(DATAMOVER_POINT="later")
    assert disturbed.outcome.reason == "ComparisonDisturbed", disturbed.output
    assert disturbed.outcome.verified is None
    assert disturbed.code in transfer.RETRYABLE_EXIT_CODES


def test_a_store_that_is_away_is_no_damage(container: Container, job: Container, s3: S3Server) -> None:
    back_up(container)
    ended = job.run(BUCKET_PORT="1", DATAMOVER_OUTAGE_LIMIT="1")
    assert ended.outcome.failure_class == transfer.NETWORK, ended.output
    assert ended.outcome.verified is None
    assert ended.code in transfer.RETRYABLE_EXIT_CODES
    assert compared(ended).differing == 0


def test_no_secret_is_told(container: Container, job: Container, s3: S3Server) -> None:
    back_up(container)
    secret = s3.secret()["AWS_SECRET_ACCESS_KEY"]
    s3.put({f"{secret}.txt": b""})
    ended = job.run()
    assert ended.outcome.reason == "BackupDamaged"
    assert secret not in ended.output
