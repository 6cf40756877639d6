"""An older copy never replaces a newer one (laws L3, L4). Real engine, real servers."""

import os
import signal
import threading
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.answering import Answering, Reply, Request
from support.s3 import S3Server, wait_for

SOURCE = str(Path(transfer.__file__).parents[2])
MONDAY = {"DATAMOVER_RUN_ID": "20240805000000-monday", "DATAMOVER_COPIED_AT": "2024-08-05-000003"}
TUESDAY = {"DATAMOVER_RUN_ID": "20240806000000-tuesday", "DATAMOVER_COPIED_AT": "2024-08-06-000003"}
FILES = {f"f{number}": "as ever" for number in range(10)}


def fill(container: Container, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.fixture
def monday(container: Container) -> Container:
    """Where Monday's clone is; Sunday's backup is there."""
    fill(container, FILES)
    sunday = container.run(DATAMOVER_RUN_ID="20240804000000-sunday", DATAMOVER_COPIED_AT="2024-08-04-000003")
    assert sunday.code == 0, sunday.output
    fill(container, {"report": "of Monday"})
    return container


@pytest.fixture
def tuesday(monday: Container) -> Container:
    """Where Tuesday's clone is."""
    other = Container(monday.root / "tuesday", dict(monday.environment))
    fill(other, FILES | {"report": "of Tuesday", "new": "on Tuesday"})
    return other


def holding(container: Container, module: str, name: str) -> tuple[dict[str, str], Path, Path]:
    """Return variables with which an attempt waits before this function of its own; what it makes then, what it waits for."""
    there, go, place = container.root / "there", container.root / "go", container.root / "patched"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        f"import os, time\nfrom datamover.agent.rclone.{module} import {name.partition('.')[0]} as owner\n"
        f"real = owner.{name.partition('.')[2]}\n"
        "def held(self, *given, **named):\n"
        f"    open({str(there)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(go)!r}):\n        time.sleep(0.05)\n"
        "    return real(self, *given, **named)\n"
        f"owner.{name.partition('.')[2]} = held\n"
    )
    return {"PYTHONPATH": f"{place}{os.pathsep}{SOURCE}"}, there, go


@pytest.mark.parametrize(
    "moment", ["mirror.Mirror.settle", "mirror.Mirror.announce", "ledger.Ledger.blockers"], ids=lambda it: it[-8:]
)
def test_a_slow_older_run_is_refused_before_its_first_byte_and_for_good_when_it_is_tried_again(
    monday: Container, tuesday: Container, s3: S3Server, moment: str
) -> None:
    module, _, name = moment.partition(".")
    held, there, go = holding(monday, module, name)
    with monday.start(**MONDAY, **held) as running:
        wait_for(there.exists)
        done = tuesday.run(DATAMOVER_GRACE_PERIOD="1", **TUESDAY, **looking_often(tuesday))
        assert done.code == 0, done.output
        newest = s3.objects()
        go.touch()
        first = running.wait().outcome
    assert first.reason in (transfer.REASON_DESTINATION_BUSY, transfer.REASON_NEWER_BACKUP_EXISTS), first.message
    assert s3.objects() == newest
    again = monday.run(**MONDAY)
    outcome = again.outcome
    assert (again.code, outcome.reason, outcome.retryable) == (24, transfer.REASON_NEWER_BACKUP_EXISTS, False)
    for word in ("'20240806000000-tuesday'", "2024-08-06-000003", "2024-08-05-000003", "create a new DataMover"):
        assert word in outcome.message
    assert s3.objects() == newest
    assert newest["report"] == b"of Tuesday"
    # the way out: a copy of the volume as it is now
    wednesday = monday.run(DATAMOVER_RUN_ID="20240807000000-wednesday", DATAMOVER_COPIED_AT="2024-08-07-000000")
    assert wednesday.code == 0, wednesday.output
    assert s3.objects()["report"] == b"of Monday"


def test_an_older_run_is_refused_also_when_it_began_before_the_newer_one_and_that_one_failed(
    monday: Container, tuesday: Container, s3: S3Server
) -> None:
    def full(request: Request) -> Reply | None:
        return Reply(507) if request.method == "PUT" and "/report" in request.path else None

    with Answering(s3.port, full) as store:
        failed = tuesday.run(BUCKET_PORT=str(store.port), RCLONE_RETRIES="1", RCLONE_LOW_LEVEL_RETRIES="1", **TUESDAY)
    assert not failed.outcome.succeeded
    assert s3.objects()["new"] == b"on Tuesday"
    assert monday.run(**MONDAY).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS
    assert tuesday.run(**TUESDAY).code == 0


def test_the_moment_of_a_newer_copy_outlives_its_records(monday: Container, tuesday: Container) -> None:
    """Later runs carry it on: what is compared is the latest of all copies, not that of the last run."""
    assert tuesday.run(**TUESDAY | {"DATAMOVER_RUN_ID": "by-hand-1"}).code == 0
    same = {"DATAMOVER_RUN_ID": "by-hand-2", "DATAMOVER_COPIED_AT": TUESDAY["DATAMOVER_COPIED_AT"]}
    assert tuesday.run(**same).code == 0
    assert monday.run(**MONDAY).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS


def test_two_runs_of_one_volume_at_once_never_end_with_the_older_copy_over_the_newer(
    monday: Container, tuesday: Container, s3: S3Server
) -> None:
    codes: dict[str, list[int]] = {"monday": [], "tuesday": []}

    def attempts(name: str, container: Container, given: dict[str, str]) -> None:
        for _ in range(3):  # as its Job would
            codes[name].append(container.run(**given).code)
            if codes[name][-1] not in transfer.RETRYABLE_EXIT_CODES:
                return

    threads = [
        threading.Thread(target=attempts, args=("monday", monday, MONDAY)),
        threading.Thread(target=attempts, args=("tuesday", tuesday, TUESDAY)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if codes["tuesday"][-1] != 0:
        codes["tuesday"].append(tuesday.run(**TUESDAY).code)
    assert codes["tuesday"][-1] == 0, codes
    assert s3.objects()["report"] == b"of Tuesday", codes
    assert s3.objects()["new"] == b"on Tuesday", codes
    assert monday.run(**MONDAY).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS


def test_a_run_of_an_earlier_version_is_taken_at_the_moment_in_its_id(monday: Container, tuesday: Container) -> None:
    """Its manifest has no moment."""
    place = tuesday.root / "earlier"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import msgspec\nfrom datamover.agent.rclone.attempt import Attempt\nreal = Attempt._header\n"
        "Attempt._header = lambda self: msgspec.structs.replace(real(self), copied_at='')\n"
    )
    earlier = {"PYTHONPATH": f"{place}{os.pathsep}{SOURCE}"}
    assert tuesday.run(**TUESDAY | earlier).code == 0
    assert monday.run(**MONDAY).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS


def test_a_moment_that_has_not_come_yet_is_of_a_wrong_clock_and_has_a_way_out(
    container: Container, s3: S3Server
) -> None:
    fill(container, FILES)
    wrong = container.run(DATAMOVER_RUN_ID="run-1", DATAMOVER_COPIED_AT="2999-01-01-000000")
    assert wrong.code == 0
    refused = container.run(DATAMOVER_RUN_ID="run-2").outcome
    assert refused.reason == transfer.REASON_NEWER_BACKUP_EXISTS
    assert "a clock has gone wrong" in refused.message
    assert "spec.guards.adoptDestination: true" in refused.message
    assert container.run(DATAMOVER_RUN_ID="run-3", DATAMOVER_ADOPT_DESTINATION="true").code == 0
    after = container.run(DATAMOVER_RUN_ID="run-4")
    assert after.code == 0, after.output


def test_adoption_does_not_lift_the_refusal_of_a_real_newer_copy(monday: Container, tuesday: Container) -> None:
    assert tuesday.run(**TUESDAY).code == 0
    ended = monday.run(DATAMOVER_ADOPT_DESTINATION="true", **MONDAY)
    assert ended.outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS


def test_another_volumes_moments_do_not_count_once_its_mirror_is_adopted(container: Container) -> None:
    fill(container, FILES)
    assert container.run(DATAMOVER_OWNER_PVC="other", **TUESDAY).code == 0
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true", **MONDAY)
    assert adopted.code == 0, adopted.output
    assert container.run(**MONDAY).code == 0


def test_each_attempt_reads_a_live_source_anew_so_its_own_start_counts(monday: Container, tuesday: Container) -> None:
    assert tuesday.run(**TUESDAY).code == 0
    live = monday.run(DATAMOVER_COPY_METHOD="Direct", DATAMOVER_TIMESTAMP="2024-08-05-000000", **MONDAY)
    assert live.code == 0, live.output


def test_without_a_moment_the_runs_own_second_counts(monday: Container, tuesday: Container) -> None:
    assert tuesday.run(**TUESDAY).code == 0
    given = {"DATAMOVER_RUN_ID": MONDAY["DATAMOVER_RUN_ID"], "DATAMOVER_TIMESTAMP": "2024-08-05-000000"}
    assert monday.run(**given).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS


def test_a_newer_run_is_not_held_up_by_an_older_one_that_gave_way(
    monday: Container, tuesday: Container, s3: S3Server
) -> None:
    """The older one announces itself while the newer one moves its files, and is refused."""
    held, there, go = holding(tuesday, "attempt", "Attempt._compare")
    late, late_there, late_go = holding(monday, "mirror", "Mirror.announce")
    with monday.start(**MONDAY, **late) as older:
        wait_for(late_there.exists)
        with tuesday.start(**TUESDAY, **held) as newer:
            wait_for(there.exists)
            late_go.touch()
            assert older.wait().outcome.reason == transfer.REASON_DESTINATION_BUSY
            go.touch()
            ended = newer.wait()
    assert ended.code == 0, ended.output
    assert s3.objects()["report"] == b"of Tuesday"


@pytest.mark.parametrize("lost", [("/mirror-",), ("/manifest",), ("/manifest", "/mirror-")], ids=" ".join)
def test_an_older_copy_replaces_nothing_also_when_the_newer_run_has_lost_records(
    container: Container, s3: S3Server, lost: tuple[str, ...]
) -> None:
    fill(container, FILES | {"report": "of Sunday"})
    assert container.run(DATAMOVER_RUN_ID="20240804000000-sunday", DATAMOVER_COPIED_AT="2024-08-04-000003").code == 0
    fill(container, {"report": "of Tuesday"})
    assert container.run(**TUESDAY).code == 0
    records = [
        key for key in s3.objects(records=True) if key.startswith(f".datamover/runs/{TUESDAY['DATAMOVER_RUN_ID']}")
    ]
    s3.remove(*(key for key in records if any(word in key for word in lost)))
    fill(container, {"report": "of Monday!"})
    assert container.run(**MONDAY).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS
    assert s3.objects()["report"] == b"of Tuesday"


def test_ids_of_a_clock_that_is_ahead_hold_up_no_newer_copy(container: Container) -> None:
    """The operator's clock names the run, the API server's the copy."""
    fill(container, FILES)
    for run, copied in (("20240804001000-one", "2024-08-04-000003"), ("20240804001200-two", "2024-08-04-000203")):
        ended = container.run(DATAMOVER_RUN_ID=run, DATAMOVER_COPIED_AT=copied)
        assert ended.code == 0, ended.output


def holds(store: S3Server, key: str, content: bytes) -> bool:
    """Tell whether this is what an object holds, at a store that is being written to."""
    try:
        return store.objects().get(key) == content
    except FileNotFoundError:  # it was only a temporary file
        return False


def looking_often(container: Container) -> dict[str, str]:
    """Return variables with which an attempt looks for rivals several times a second."""
    place = container.root / "often"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "from datamover.agent.rclone import rivals\nrivals.LOOK_SECONDS, rivals._MARGIN = 0.3, 1.0\n"
    )
    return {"PYTHONPATH": f"{place}{os.pathsep}{SOURCE}"}


def test_an_older_run_that_moves_files_already_stops_when_a_newer_one_begins_which_waits_for_that(
    monday: Container, tuesday: Container, s3: S3Server
) -> None:
    (monday.data / "large").write_bytes(b"m" * (3 << 20))
    (tuesday.data / "large").write_bytes(b"t" * (3 << 20))
    slowly = {"RCLONE_BWLIMIT": "100k", "RCLONE_TRANSFERS": "4", "DATAMOVER_GRACE_PERIOD": "2"}
    with monday.start(**MONDAY, **slowly, **looking_often(monday)) as running:
        wait_for(lambda: holds(s3, "report", b"of Monday"))
        newer = tuesday.run(**TUESDAY, **looking_often(tuesday))
        older = running.wait()
    assert newer.code == 0, newer.output
    assert (older.code, older.outcome.reason) == (44, transfer.REASON_DESTINATION_BUSY), older.output
    assert "It stopped amid its work" in older.outcome.message
    assert s3.objects() == {path.name: path.read_bytes() for path in tuesday.data.iterdir()}
    assert ".datamover/runs/20240805000000-monday/stopped" in s3.objects(records=True)
    assert monday.run(**MONDAY).outcome.reason == transfer.REASON_NEWER_BACKUP_EXISTS


def test_a_run_that_failed_and_said_so_is_not_waited_for_and_moves_again_on_its_next_attempt(
    monday: Container, s3: S3Server
) -> None:
    def full(request: Request) -> Reply | None:
        return Reply(507) if request.method == "PUT" and "/report" in request.path else None

    with Answering(s3.port, full) as store:
        failed = monday.run(BUCKET_PORT=str(store.port), RCLONE_RETRIES="1", RCLONE_LOW_LEVEL_RETRIES="1", **MONDAY)
    assert not failed.outcome.succeeded
    stopped = ".datamover/runs/20240805000000-monday/stopped"
    assert stopped in s3.objects(records=True)
    assert "waiting for an earlier run" not in monday.run(**TUESDAY).output
    again = monday.run(**MONDAY | {"DATAMOVER_COPIED_AT": TUESDAY["DATAMOVER_COPIED_AT"]})
    assert again.code == 0, again.output
    assert stopped not in s3.objects(records=True)


def test_a_run_that_was_killed_is_waited_for_no_longer_than_it_could_take_to_stop(
    monday: Container, tuesday: Container, s3: S3Server
) -> None:
    (monday.data / "large").write_bytes(b"m" * (3 << 20))
    with monday.start(RCLONE_BWLIMIT="100k", RCLONE_TRANSFERS="4", **MONDAY) as running:
        wait_for(lambda: holds(s3, "report", b"of Monday"))
        os.kill(running.process.pid, signal.SIGKILL)
    done = tuesday.run(DATAMOVER_GRACE_PERIOD="1", **TUESDAY, **looking_often(tuesday))
    assert done.code == 0, done.output
    assert s3.objects()["report"] == b"of Tuesday"
