"""Records that are lost, hidden or dropped: a mirror stays its volume's, and nothing is said to be there that is not. Real engine."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.answering import Answering, Hiding, Reply, Request
from support.s3 import S3Server, find_rclone

MANY = {f"f{number:02}": f"content {number}" for number in range(20)}
STRANGER = {"DATAMOVER_OWNER_PVC": "other-data"}
MARKER = ".datamover/owner.json"


def fill(container: Container, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def record(server: S3Server, key: str) -> Path:
    return server.directory / "backups" / key


def lose(server: S3Server, *words: str) -> None:
    """Delete the records with one of these words in their keys, as a lifecycle rule or somebody would."""
    records = [key for key in server.objects(records=True) if key.startswith(".datamover/")]
    server.remove(*(key for key in records if any(word in key for word in words)))


def another(container: Container, files: dict[str, str]) -> Container:
    other = Container(container.root / "another", dict(container.environment))
    fill(other, files)
    return other


def refused(ended: Ended, reason: str) -> transfer.Outcome:
    assert (ended.outcome.reason, ended.outcome.succeeded) == (reason, False), ended.output
    return ended.outcome


# --- whose mirror it is -------------------------------------------------------------------------------------------------


def test_a_mirror_without_its_marker_is_still_its_volumes(any_container: Container, any_s3: S3Server) -> None:
    fill(any_container, MANY)
    assert any_container.run(DATAMOVER_RUN_ID="run-1").code == 0
    lose(any_s3, "owner.json")
    before = any_s3.objects(records=True)
    stranger = another(any_container, dict.fromkeys(list(MANY)[:12], "a stranger's") | {"theirs": "1"})
    outcome = refused(stranger.run(**STRANGER), transfer.REASON_DESTINATION_NOT_OWNED)
    for word in ("production/app-data", "(.datamover/owner.json) is lost", "Nothing was moved or deleted", "adopt"):
        assert word in outcome.message
    assert any_s3.objects(records=True) == before
    (any_container.data / "f00").unlink()
    ended = any_container.run(DATAMOVER_RUN_ID="run-2")
    assert (ended.code, ended.outcome.deleted) == (0, 1), ended.output
    assert MARKER in any_s3.objects(records=True)
    refused(stranger.run(**STRANGER), transfer.REASON_DESTINATION_NOT_OWNED)


@pytest.mark.parametrize(
    "lost",
    [
        ("owner.json", "outcome.json"),
        ("owner.json", "run-2/manifest"),
        ("owner.json", "run-2/mirror-"),
        ("owner.json", "/mirror-"),
        ("owner.json", "manifest"),
        ("owner.json", "run-2/mirror-", "run-2/manifest"),
        ("owner.json", "/runs/"),
        ("owner.json", "run-1/"),
    ],
    ids=" ".join,
)
def test_no_loss_of_records_opens_a_mirror_to_a_stranger(
    container: Container, s3: S3Server, lost: tuple[str, ...]
) -> None:
    fill(container, MANY)
    for run in ("run-1", "run-2"):
        assert container.run(DATAMOVER_RUN_ID=run).code == 0
    lose(s3, *lost)
    before = s3.objects(records=True)
    stranger = another(container, MANY | {"theirs": "1"})
    refused(stranger.run(**STRANGER), transfer.REASON_DESTINATION_NOT_OWNED)
    assert s3.objects(records=True) == before
    # the way out that is named works, and leads back
    assert stranger.run(DATAMOVER_ADOPT_DESTINATION="true", DATAMOVER_GRACE_PERIOD="1", **STRANGER).code == 0
    refused(container.run(), transfer.REASON_DESTINATION_NOT_OWNED)


def test_a_mirror_whose_last_records_were_a_strangers_is_nobodys_without_its_marker(
    container: Container, s3: S3Server
) -> None:
    """The stranger had adopted it; then its marker, and the manifest of its run, were lost."""
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    stranger = another(container, MANY | {"f00": "theirs now"})
    adopted = stranger.run(DATAMOVER_RUN_ID="theirs", DATAMOVER_ADOPT_DESTINATION="true", **STRANGER)
    assert adopted.code == 0, adopted.output
    lose(s3, "owner.json", "theirs/manifest")
    outcome = refused(container.run(DATAMOVER_RUN_ID="run-2"), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "'theirs'" in outcome.message
    assert s3.objects()["f00"] == b"theirs now"


def test_a_marker_does_not_make_a_strangers_records_ours(container: Container, s3: S3Server) -> None:
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    marker = record(s3, MARKER).read_bytes()
    stranger = another(container, MANY | {"f00": "theirs now"})
    assert stranger.run(DATAMOVER_RUN_ID="theirs", DATAMOVER_ADOPT_DESTINATION="true", **STRANGER).code == 0
    s3.put({MARKER: marker})
    outcome = refused(container.run(DATAMOVER_RUN_ID="run-2"), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "production/other-data" in outcome.message
    assert s3.objects()["f00"] == b"theirs now"
    back = container.run(DATAMOVER_RUN_ID="run-3", DATAMOVER_ADOPT_DESTINATION="true")
    assert back.code == 0, back.output
    assert container.run(DATAMOVER_RUN_ID="run-4").code == 0


def test_an_adoption_that_was_broken_off_after_its_marker_goes_on(container: Container, s3: S3Server) -> None:
    stranger = another(container, MANY)
    assert stranger.run(DATAMOVER_RUN_ID="theirs", **STRANGER).code == 0
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1", DATAMOVER_ADOPT_DESTINATION="true").code == 0
    lose(s3, "/run-1/")
    ended = container.run(DATAMOVER_RUN_ID="run-2")
    assert ended.code == 0, ended.output


@pytest.mark.parametrize("who", [{}, STRANGER], ids=["its own volume", "a stranger"])
def test_a_marker_that_only_the_listing_hides_is_asked_for_by_its_name(
    any_container: Container, any_s3: S3Server, who: dict[str, str]
) -> None:
    fill(any_container, MANY)
    assert any_container.run().code == 0
    before = any_s3.objects(records=True)
    with Hiding(any_s3.port, lambda key: key == MARKER) as store:
        ended = any_container.run(BUCKET_PORT=str(store.port), **who)
    outcome = refused(ended, transfer.REASON_LISTING_INCOMPLETE)
    assert outcome.retryable
    assert MARKER in outcome.message
    assert any_s3.objects(records=True) == before


def test_the_marker_is_never_older_than_the_records_of_the_last_run(container: Container, s3: S3Server) -> None:
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    before, long_ago = record(s3, MARKER).read_bytes(), time.time() - 90 * 86400
    os.utime(record(s3, MARKER), (long_ago, long_ago))
    assert container.run(DATAMOVER_RUN_ID="run-2").code == 0
    assert record(s3, MARKER).read_bytes() == before
    assert time.time() - record(s3, MARKER).stat().st_mtime < 3600


def test_records_of_others_timestamped_copies_do_not_hold_a_mirror_up(container: Container, s3: S3Server) -> None:
    stranger = another(container, {"a": "1"})
    stamped = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": "2024-08-06-143052"}
    assert stranger.run(DATAMOVER_RUN_ID="theirs", **stamped, **STRANGER).code == 0
    s3.remove("2024-08-06-143052/a")  # thinned out, as the documentation says
    fill(container, MANY)
    for run in ("run-1", "run-2"):
        ended = container.run(DATAMOVER_RUN_ID=run)
        assert ended.code == 0, ended.output
    lose(s3, "owner.json")
    assert container.run(DATAMOVER_RUN_ID="run-3").code == 0


# --- records that the store took and dropped -----------------------------------------------------------------------------


def dropping(word: str) -> Callable[[Request], Reply | None]:
    def rule(request: Request) -> Reply | None:
        dropped = request.method == "PUT" and word in request.path
        return Reply(200, headers={"ETag": '"0"'}) if dropped else None

    return rule


@pytest.mark.parametrize(
    ("word", "stamped", "moved"),
    [
        ("owner.json", False, False),
        ("manifest.jsonl.gz", False, False),
        ("mirror-000000001", False, False),
        ("outcome.json", False, True),
        ("folder.json", True, True),
        ("manifest.jsonl.gz", True, True),
        ("outcome.json", True, True),
        ("/claims/", True, False),
    ],
)
def test_a_record_that_the_store_took_and_dropped_is_missed_before_completed_is_said(
    container: Container, s3: S3Server, word: str, stamped: bool, moved: bool
) -> None:
    fill(container, MANY)
    given = {"DATAMOVER_RUN_ID": "run-1", "ADD_TIMESTAMP_PREFIX": "true" if stamped else "false"}
    with Answering(s3.port, dropping(word)) as store:
        ended = container.run(BUCKET_PORT=str(store.port), RCLONE_RETRIES="1", **given)
    if (word, stamped) == ("owner.json", False):
        assert ended.outcome.failure_class in (transfer.GUARD, transfer.VERIFY), ended.output
    else:
        outcome = refused(ended, transfer.REASON_RECORD_LOST)
        assert word.strip("/").removesuffix("s") in outcome.message
        assert outcome.retryable
    assert bool(s3.objects()) == moved
    again = container.run(**given)
    assert again.code == 0, again.output


def test_a_marker_that_is_dropped_when_it_is_refreshed_is_no_loss_while_the_old_one_stands(
    container: Container, s3: S3Server
) -> None:
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    fill(container, {"f00": "changed"})
    with Answering(s3.port, dropping("owner.json")) as store:
        assert container.run(BUCKET_PORT=str(store.port)).code == 0


def test_a_steady_mirror_asks_the_store_only_twice_more_for_its_records(container: Container, s3: S3Server) -> None:
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    with Answering(s3.port, lambda request: None) as store:
        assert container.run(BUCKET_PORT=str(store.port), DATAMOVER_RUN_ID="run-2").code == 0
    records = [request for request in store.requests if ".datamover" in request.path]
    kinds = {
        "put": sum(request.method == "PUT" for request in records),
        "listed": sum(request.method == "GET" and "max-keys=" in request.path for request in records),
    }
    # the manifest twice: before the first byte, and with the checksums of the run before
    assert kinds == {"put": 5, "listed": 2}, [f"{request.method} {request.path}" for request in records]


# --- a listing that is cut short ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["f05", "zz", ".datamover/p"], ids=["amid the files", "at the end", "amid the records"])
def test_a_mirror_forgets_nothing_over_a_listing_that_is_cut_short(
    any_container: Container, any_s3: S3Server, cut: str
) -> None:
    fill(any_container, MANY | {"zz-old": "gone soon"})
    assert any_container.run(DATAMOVER_RUN_ID="run-1").code == 0
    (any_container.data / "zz-old").unlink()
    with Hiding(any_s3.port, lambda key: key > cut) as store:
        cut_short = any_container.run(BUCKET_PORT=str(store.port), DATAMOVER_RUN_ID="run-2")
    assert not cut_short.outcome.succeeded, cut_short.output
    assert cut_short.outcome.retryable
    assert cut_short.outcome.deleted == 0
    assert "zz-old" in any_s3.objects()
    healthy = any_container.run(DATAMOVER_RUN_ID="run-3")
    assert (healthy.code, healthy.outcome.deleted) == (0, 1), healthy.output
    assert set(any_s3.objects()) == set(MANY)


def test_a_run_that_was_broken_off_does_not_forget_what_it_did_not_see(container: Container, s3: S3Server) -> None:
    """Neither listed nor found by its name for the time of one run, which then fails."""
    fill(container, MANY | {"zz-old": "gone soon"})
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    (container.data / "zz-old").unlink()
    s3.remove("zz-old")
    failed = container.run(DATAMOVER_RUN_ID="run-2", RCLONE_TRANSFERS="many")
    assert failed.outcome.failure_class == transfer.CONFIG
    s3.put({"zz-old": "gone soon"})
    healthy = container.run(DATAMOVER_RUN_ID="run-3")
    assert (healthy.code, healthy.outcome.deleted) == (0, 1), healthy.output


def test_what_somebody_deleted_from_the_mirror_is_forgotten_by_the_next_run(container: Container, s3: S3Server) -> None:
    fill(container, MANY | {"old": "1"})
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    (container.data / "old").unlink()
    s3.remove("old")
    assert container.run(DATAMOVER_RUN_ID="run-2").code == 0
    s3.put({"old": "somebody else's now"})
    refused(container.run(DATAMOVER_RUN_ID="run-3"), transfer.REASON_DESTINATION_NOT_OWNED)
    assert s3.objects()["old"] == b"somebody else's now"


# --- a timestamped folder with something else in it -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["Clone", "Direct"])
def test_an_extra_object_in_a_timestamped_folder_is_found_by_verification(
    any_container: Container, any_s3: S3Server, method: str
) -> None:
    fill(any_container, {"a": "1", "b": "2"})
    stamped = {
        "ADD_TIMESTAMP_PREFIX": "true",
        "DATAMOVER_TIMESTAMP": "2024-08-06-143052",
        "DATAMOVER_COPY_METHOD": method,
    }
    wrapper = any_container.root / "engine"
    program = find_rclone()
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in "copy "*"{any_container.data} "*) "{program}" "$@"; code=$?;'
        f' echo x | "{program}" rcat s3generic:backups/2024-08-06-143052/extra; exit $code ;; esac\nexec "{program}" "$@"\n'
    )
    wrapper.chmod(0o755)
    theirs = {"DATAMOVER_RCLONE": str(wrapper), "DATAMOVER_RUN_ID": "run-1"}
    outcome = refused(any_container.run(VERIFY_BACKUP="true", **stamped, **theirs), transfer.REASON_VERIFICATION_FAILED)
    assert outcome.verified is False
    assert "1 object(s) that are not of this copy: extra" in outcome.message
    assert ".datamover/runs/run-1/outcome.json" not in any_s3.objects(records=True)
    told = any_container.run(**stamped | {"DATAMOVER_RUN_ID": "run-2", "DATAMOVER_RCLONE": str(wrapper)})
    assert told.code == 0, told.output
    any_s3.remove("2024-08-06-143052/extra")
    again = any_container.run(VERIFY_BACKUP="true", DATAMOVER_RUN_ID="run-1", **stamped)
    assert (again.code, again.outcome.verified) == (0, True), again.output


# --- what is beside and below a mirror ------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before the adoption", "after it"])
def test_an_adopted_mirror_keeps_timestamped_copies_whose_claims_are_lost(
    container: Container, s3: S3Server, when: str
) -> None:
    fill(container, MANY)
    stamped = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": "2024-08-06-143052"}
    assert container.run(DATAMOVER_RUN_ID="run-1", **stamped).code == 0
    if when == "after it":
        assert container.run(DATAMOVER_RUN_ID="run-2", DATAMOVER_ADOPT_DESTINATION="true").code == 0
    lose(s3, "/claims/")
    ended = container.run(
        DATAMOVER_RUN_ID="run-3", DATAMOVER_ADOPT_DESTINATION="true", DATAMOVER_MAX_DELETE_PERCENT="100"
    )
    assert (ended.code, ended.outcome.deleted) == (0, 0), ended.output
    assert len(s3.objects("2024-08-06-143052")) == len(MANY)


@pytest.mark.parametrize("adopt", ["true", "false"])
def test_a_volume_that_holds_destinations_itself_is_no_other_movers(
    container: Container, s3: S3Server, adopt: str
) -> None:
    """As the volume of an S3 server does. With adoption left on, and without a marker."""
    fill(container, MANY | {"bucket/.datamover/owner.json": "{}"})
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    if adopt == "false":
        s3.remove(MARKER)
    ended = container.run(DATAMOVER_RUN_ID="run-2", DATAMOVER_ADOPT_DESTINATION=adopt)
    assert ended.code == 0, ended.output
    s3.put({"team/.datamover/owner.json": "{}"})
    refused(
        container.run(DATAMOVER_RUN_ID="run-3", DATAMOVER_ADOPT_DESTINATION="true"),
        transfer.REASON_DESTINATION_NOT_OWNED,
    )


def test_a_run_that_lost_records_leaves_no_outcome_behind(container: Container, s3: S3Server) -> None:
    fill(container, MANY)
    stamped = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": "2024-08-06-143052"}
    with Answering(s3.port, dropping("manifest.jsonl.gz")) as store:
        refused(container.run(BUCKET_PORT=str(store.port), **stamped), transfer.REASON_RECORD_LOST)
    assert not any(key.endswith("/outcome.json") for key in s3.objects(records=True))


def test_a_timestamped_run_finds_its_folder_again_by_its_claim(container: Container, s3: S3Server) -> None:
    fill(container, MANY)
    stamped = {"ADD_TIMESTAMP_PREFIX": "true", "DATAMOVER_TIMESTAMP": "2024-08-06-143052", "DATAMOVER_RUN_ID": "run-1"}
    assert container.run(**stamped).code == 0
    lose(s3, "folder.json")
    ended = container.run(**stamped)
    assert (ended.code, ended.outcome.timestamp, ended.outcome.transferred_files) == (0, "2024-08-06-143052", 0)
    assert ".datamover/runs/run-1/folder.json" in s3.objects(records=True)


def test_a_damaged_marker_may_be_deleted_and_the_mirror_goes_on(container: Container, s3: S3Server) -> None:
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    s3.put({MARKER: '{"cluster"'})
    outcome = refused(container.run(DATAMOVER_RUN_ID="run-2"), transfer.REASON_DESTINATION_NOT_OWNED)
    assert "or delete it" in outcome.message
    s3.remove(MARKER)
    assert container.run(DATAMOVER_RUN_ID="run-2").code == 0
