"""Timestamped copies, with the real engine and real servers."""

import json
import os
import threading

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.s3 import S3Server

STAMP = "2024-08-06-143052"
NEXT = "2024-08-06-143053"


def fill(container: Container, files: dict[str, str]) -> dict[str, bytes]:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {name: content.encode() for name, content in files.items()}


def copy(container: Container, run: str, **changes: str | None) -> Ended:
    return container.run(
        **{"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": STAMP, "DATAMOVER_RUN_ID": run} | changes
    )


def test_a_copy_goes_into_the_folder_that_the_operator_decided(any_container: Container, any_s3: S3Server) -> None:
    files = fill(any_container, {"a": "1", "b/c": "2"})
    ended = copy(any_container, "run-1", CUSTOM_PATH_PREFIX="nightly")
    assert ended.code == 0, ended.output
    assert ended.outcome.timestamp == STAMP
    assert ended.outcome.destination == f"s3generic:backups/nightly/{STAMP}/"
    assert any_s3.objects(f"nightly/{STAMP}") == files


def test_only_the_exact_word_true_asks_for_a_folder(container: Container, s3: S3Server) -> None:
    files = fill(container, {"a": "1"})
    ended = copy(container, "run-1", ADD_TIMESTAMP_PREFIX="True")
    assert ended.outcome.timestamp is None
    assert s3.objects() == files


def test_without_an_operator_the_folder_is_the_start_of_the_run(container: Container, s3: S3Server) -> None:
    fill(container, {"a": "1"})
    ended = container.run(ADD_TIMESTAMP_PREFIX="true", TZ="America/New_York")
    begun = ended.outcome.started_at
    assert ended.outcome.timestamp == f"{begun[:10]}-{begun[11:13]}{begun[14:16]}{begun[17:19]}"


def test_the_attempts_of_one_run_share_one_folder(any_container: Container, any_s3: S3Server) -> None:
    files = fill(any_container, {"a": "1", "b": "2"})
    copy(any_container, "run-1")
    files |= fill(any_container, {"c": "3"})
    again = copy(any_container, "run-1")
    assert again.code == 0, again.output
    assert again.outcome.timestamp == STAMP
    assert again.outcome.transferred_files == 1
    assert {key.split("/")[0] for key in any_s3.objects()} == {STAMP}
    assert any_s3.objects(STAMP) == files


def test_an_attempt_that_lost_its_folder_once_goes_on_in_the_one_it_took(container: Container, s3: S3Server) -> None:
    fill(container, {"a": "1"})
    copy(container, "run-1")
    second = copy(container, "run-2")
    assert second.outcome.timestamp == NEXT
    again = copy(container, "run-2")
    assert again.outcome.timestamp == NEXT
    assert sorted({key.split("/")[0] for key in s3.objects()}) == [STAMP, NEXT]


def test_a_folder_that_holds_something_already_is_not_used(container: Container, s3: S3Server) -> None:
    fill(container, {"a": "1"})
    s3.put({f"{STAMP}/theirs": "precious"})
    ended = copy(container, "run-1")
    assert ended.outcome.timestamp == NEXT
    assert s3.objects(STAMP) == {"theirs": b"precious"}


def test_runs_of_one_second_take_a_folder_each(any_container: Container, any_s3: S3Server) -> None:
    roots = [
        Container(any_container.root.parent / f"container-{number}", any_container.environment) for number in range(3)
    ]
    for number, container in enumerate(roots):
        fill(container, {f"only-{number}": str(number)})
    ended: dict[int, Ended] = {}

    def run(number: int) -> None:
        ended[number] = copy(roots[number], f"run-{number}", DATAMOVER_OWNER_PVC=f"volume-{number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ended[number].code for number in range(3)] == [0, 0, 0], "\n".join(end.output for end in ended.values())
    stamps = {ended[number].outcome.timestamp for number in range(3)}
    assert len(stamps) == 3
    for number in range(3):
        assert any_s3.objects(str(ended[number].outcome.timestamp)) == {f"only-{number}": str(number).encode()}


def test_nothing_is_ever_deleted(container: Container, s3: S3Server) -> None:
    first = fill(container, {"a": "1", "b": "2"})
    copy(container, "run-1")
    os.unlink(container.data / "b")
    ended = copy(container, "run-2", DATAMOVER_TIMESTAMP="2024-08-07-143052")
    assert ended.outcome.deleted == 0
    assert s3.objects(STAMP) == first
    assert s3.objects("2024-08-07-143052") == {"a": b"1"}


def test_an_empty_source_makes_an_empty_copy_that_says_so(container: Container, s3: S3Server) -> None:
    ended = copy(container, "run-1")
    assert ended.code == 0
    assert ended.outcome.files == 0
    assert s3.objects() == {}
    assert ended.outcome.reason == transfer.REASON_SUCCEEDED


def holder_of(s3: S3Server, run: str) -> dict[str, object]:
    return json.loads(s3.objects(records=True)[f".datamover/runs/{run}/folder.json"])


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": ""},
        {"timestamp": "../elsewhere"},
        {"timestamp": "others"},
        {"runId": "run-2"},
        {"source": {"cluster": "c", "namespace": "n", "pvc": "other"}},
        {"timestamp": 7},
        None,
    ],
)
def test_a_folder_record_that_was_tampered_with_leads_nowhere(
    container: Container, s3: S3Server, changes: dict[str, object] | None
) -> None:
    fill(container, {"a": "1"})
    s3.put({"a": "theirs", "others/a": "theirs"})
    copy(container, "run-1")
    record = "{" if changes is None else json.dumps(holder_of(s3, "run-1") | changes)
    s3.put({".datamover/runs/run-1/folder.json": record})
    before = s3.objects(records=True)
    fill(container, {"b": "2"})
    again = copy(container, "run-1")
    outcome = again.outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_RECORD_UNUSABLE), again.output
    assert not outcome.retryable
    for word in ("s3generic:backups/.datamover/runs/run-1/folder.json", "delete that object"):
        assert word in outcome.message
    assert s3.objects(records=True) == before
