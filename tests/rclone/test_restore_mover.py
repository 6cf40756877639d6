"""A point restored by the agent's process as a Job runs it: told by its environment alone, killed, and taken up again."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import restore as words
from datamover.api import transfer
from support.agent import Container, Ended
from support.fidelity import fingerprint
from support.points import forge
from support.s3 import S3Server, wait_for

RUN = "20240801143052-run"
RESTORE = "restore-1"
STATE = ".datamover-restore"
SLOWLY = {"RCLONE_BWLIMIT": "8k", "RCLONE_TRANSFERS": "1"}
"""With these, what takes a moment takes half a minute."""
SIZE = 16384


@pytest.fixture
def job(tmp_path: Path, s3: S3Server) -> Container:
    """The container of a restore's Job, with an empty volume at /data."""
    given = s3.secret() | {transfer.RUN_ID: RESTORE, transfer.OUTAGE_LIMIT: "20"}
    return Container(tmp_path / "job", given, arguments=["restore"])


def back_up(container: Container, *, run: str = RUN, at: str = "2024-08-01-143052", **changes: str | None) -> None:
    ended = container.run(DATAMOVER_RUN_ID=run, DATAMOVER_TIMESTAMP=at, **changes)
    assert ended.code == 0, ended.output


def fill(container: Container, *, files: int = 12, size: int = SIZE) -> dict[bytes, object]:
    """Put files and what a store cannot keep into a volume; return all of it."""
    (container.data / "folder").mkdir()
    for number in range(files):
        (container.data / f"folder/{number:02}").write_bytes(bytes([number]) * size)
    (container.data / "link").symlink_to("folder/00")
    (container.data / "folder").chmod(0o750)
    os.utime(container.data / "folder", ns=(1, 1_234_567_890_123_456_789))
    return dict(fingerprint(container.data))


def restored(ended: Ended) -> words.Restored:
    found = ended.outcome.restoration
    assert found is not None, ended.output
    return found


def refused(ended: Ended, reason: str, *, code: int, target: str = words.UNTOUCHED) -> None:
    assert (ended.outcome.reason, ended.code) == (reason, code), ended.output
    assert ended.outcome.exit_code == code
    assert restored(ended).target == target
    assert "--" not in ended.outcome.message, "options are a command's"
    assert "command" not in ended.outcome.message


def arrived(target: Path) -> int:
    """Return how many files are on their way or in their places."""
    return sum(len(files) for _, _, files in os.walk(target)) - len(list((target / STATE).glob("*")))


def names(target: Path) -> list[str]:
    return sorted(os.listdir(target))


# --- to the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stamped", [None, "true"], ids=["mirror", "timestamped"])
def test_whole(container: Container, job: Container, stamped: str | None) -> None:
    """What comes back is what went in, and the outcome says what came and what was compared."""
    before = fill(container)
    back_up(container, ADD_TIMESTAMP_PREFIX=stamped)
    ended = job.run()
    assert ended.code == 0, ended.output
    assert fingerprint(job.data) == before
    told, outcome = restored(ended), ended.outcome
    assert (told.point, told.moment, told.volume) == (RUN, "2024-08-01-143052", "production/app-data")
    assert (told.state, told.target, told.empty, told.resumed) == ("complete", "whole", False, False)
    assert (told.by_checksum, told.by_size, told.losses, told.left_out, told.kept_files) == (12, 0, (), (), 0)
    assert (outcome.files, outcome.bytes, outcome.transferred_files) == (12, 12 * SIZE, 12)
    assert outcome.transferred_bytes == 12 * SIZE
    assert (outcome.run_id, outcome.reason, outcome.succeeded) == (RESTORE, transfer.REASON_SUCCEEDED, True)
    assert outcome.timestamp == ("2024-08-01-143052" if stamped else None)
    assert outcome.engine.startswith("rclone v")
    assert outcome.message == (
        "Restored 2024-08-01-143052 of production/app-data: 12 files (192 KiB), every one compared with the manifest by its checksum."
    )
    assert transfer.decode_outcome(ended.output.splitlines()[-1]) == outcome, "the last line as well"


def test_volume_behind_a_link(container: Container, job: Container, tmp_path: Path) -> None:
    """A node that keeps volumes as directories mounts them by links; what is a link in the volume is none of them."""
    before = fill(container)
    back_up(container)
    volume = tmp_path / "volume"
    job.data.rename(volume)
    job.data.symlink_to(volume)
    ended = job.run()
    assert ended.code == 0, ended.output
    assert fingerprint(volume) == before
    assert job.data.is_symlink()


def test_progress(container: Container, job: Container) -> None:
    """Lines as a backup's mover prints them, of the restore's own run."""
    fill(container)
    back_up(container)
    ended = job.run()
    assert {line.run_id for line in ended.progress} == {RESTORE}
    phases = list(dict.fromkeys(line.phase for line in ended.progress))
    assert phases == ["probing", "walking", "syncing", "recording"]
    last = ended.progress[-1]
    assert (last.files, last.bytes) == (last.total_files, last.total_bytes) == (12, 12 * SIZE)


def test_choices(container: Container, job: Container) -> None:
    """Point, source and path are heard; a part of the point is all that comes."""
    fill(container)
    back_up(container, ADD_TIMESTAMP_PREFIX="true")
    (container.data / "folder/00").write_text("later")
    back_up(container, run="20240802143052-run", at="2024-08-02-143052", ADD_TIMESTAMP_PREFIX="true")
    chosen = {words.POINT: "as-of:2024-08-01", words.SOURCE: "production/app-data", words.PATH: "folder/00"}
    ended = job.run(**chosen)
    assert ended.code == 0, ended.output
    assert [name for name, kept in fingerprint(job.data).items() if kept.content is not None] == [b"folder/00"]
    assert (job.data / "folder/00").stat().st_size == SIZE
    assert restored(ended).point == RUN
    assert "Restored 'folder/00' of 2024-08-01-143052" in ended.outcome.message
    refused(
        job.run(**{words.POINT: "latest", words.SOURCE: "production/other"}), transfer.REASON_POINT_NOT_FOUND, code=23
    )


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
@pytest.mark.parametrize("theirs", [False, True], ids=["own", "group"])
def test_losses(container: Container, job: Container, theirs: bool) -> None:
    """Nobody, in a volume of his own or in one that he has by its group alone, as a node gives it: what only root can give is told by kind, and is
    no failure. Killed, it goes on.
    """
    before = fill(container)
    os.chown(container.data / "folder/03", 1234, 4321)
    os.mkfifo(container.data / "pipe")
    back_up(container)
    (job.root / "dev/termination-log").touch()
    for path in (job.root, *job.root.rglob("*")):
        os.chown(path, 65534, 65534)
    if theirs:
        os.chown(job.data, 0, 65534)
        job.data.chmod(0o2770)
    # but for the way to the test's own folders, which only root may go
    reading = "+dac_read_search"
    job.wrapper = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        f"--inh-caps={reading}",
        f"--ambient-caps={reading}",
    ]
    interrupt(job, signal.SIGKILL)
    ended = job.run()
    assert ended.code == 0, ended.output
    told = restored(ended)
    assert (told.target, told.resumed) == ("whole", True)
    lost = {loss.kind: (loss.count, loss.example) for loss in told.losses}
    assert lost["owner or group, which only root may give away"][0] >= 13
    assert [(loss.count, loss.example) for loss in told.left_out] == [(1, "pipe")]
    assert "Not all of their attributes came back: " in ended.outcome.message
    after = fingerprint(job.data)
    assert after.keys() == before.keys()
    for name, kept in before.items():
        if name != b".":
            assert (after[name].content, after[name].mode) == (kept.content, kept.mode), name


# --- interrupted ----------------------------------------------------------------------------------------------------


def interrupt(job: Container, number: signal.Signals, **changes: str | None) -> Ended:
    """Restore slowly, and send a signal as soon as the first file has come."""
    with job.start(**SLOWLY, **changes) as running:
        wait_for(lambda: (job.data / STATE / "marker.json").exists() and arrived(job.data) > 0)
        running.process.send_signal(number)
        return running.wait()


def test_sigterm(container: Container, job: Container) -> None:
    """It says so, leaves a mark, and the next Pod goes on."""
    before = fill(container)
    back_up(container)
    ended = interrupt(job, signal.SIGTERM)
    refused(ended, transfer.REASON_INTERRUPTED, code=143, target=words.MARKED)
    assert (job.data / STATE).is_dir()
    again = job.run()
    assert again.code == 0, again.output
    assert (restored(again).resumed, restored(again).target) == (True, "whole")
    assert fingerprint(job.data) == before


def test_sigkill(container: Container, job: Container) -> None:
    """Killed twice, and the third one ends it."""
    before = fill(container)
    back_up(container)
    for _ in range(2):
        ended = interrupt(job, signal.SIGKILL)
        assert (ended.code, ended.message) == (-9, b"")
    again = job.run()
    assert again.code == 0, again.output
    assert restored(again).resumed
    assert fingerprint(job.data) == before


def test_deadline(container: Container, job: Container) -> None:
    """It is the end of this attempt, however far it came, and what came counts for another one."""
    before = fill(container)
    back_up(container)
    ended = job.run(DATAMOVER_DEADLINE="3", **SLOWLY)
    assert (ended.outcome.reason, ended.code) == (transfer.REASON_DEADLINE_EXCEEDED, 26), ended.output
    assert (restored(ended).target == words.MARKED) == (job.data / STATE / "marker.json").exists()
    assert job.run().code == 0
    assert fingerprint(job.data) == before


def test_the_point_is_chosen_once(container: Container, job: Container) -> None:
    """A backup that ends between two attempts is not mixed into what the first one has begun (law L6)."""
    before = fill(container)
    back_up(container, ADD_TIMESTAMP_PREFIX="true")
    interrupt(job, signal.SIGKILL)
    for name in ("folder/00", "folder/05"):
        (container.data / name).write_text("later")
    back_up(container, run="20240802143052-run", at="2024-08-02-143052", ADD_TIMESTAMP_PREFIX="true")
    ended = job.run()
    assert ended.code == 0, ended.output
    assert restored(ended).point == RUN
    assert fingerprint(job.data) == before
    # another restore would be one of the newer point
    shutil.rmtree(job.data)
    job.data.mkdir()
    assert restored(job.run(**{transfer.RUN_ID: "restore-2"})).point == "20240802143052-run"


def test_the_point_is_gone(container: Container, job: Container) -> None:
    """The mirror has gone on: what has begun cannot be finished, and that is said."""
    fill(container)
    back_up(container)
    interrupt(job, signal.SIGKILL)
    (container.data / "folder/00").write_text("later")
    back_up(container, run="20240802143052-run", at="2024-08-02-143052")
    ended = job.run()
    refused(ended, transfer.REASON_POINT_UNUSABLE, code=23, target=words.MARKED)
    assert ended.outcome.message.startswith(
        f"An earlier attempt of this restore has begun with the run {RUN}, and it cannot be"
    )
    assert "empty it, that folder included, and restore anew" in ended.outcome.message


def test_ended_unheard(container: Container, job: Container) -> None:
    """One that died after the mark was gone and before its outcome was heard: the next one finds that all is there."""
    before = fill(container)
    back_up(container)
    assert job.run().code == 0
    again = job.run()
    assert again.code == 0, again.output
    told = restored(again)
    assert (told.resumed, told.kept_files, again.outcome.transferred_files, told.target) == (False, 12, 0, "whole")
    assert fingerprint(job.data) == before
    # nor does it matter how much of the mark it could take away
    (job.data / STATE).mkdir(mode=0o700)
    (job.data / STATE / "lock").touch()
    assert job.run().code == 0
    assert names(job.data) == ["folder", "link"]
    assert fingerprint(job.data) == before
    (job.data / "folder/another").write_text("a stranger's")
    refused(job.run(), transfer.REASON_TARGET_NOT_EMPTY, code=24)


def test_another_restore_is_refused(container: Container, job: Container) -> None:
    fill(container)
    back_up(container, ADD_TIMESTAMP_PREFIX="true")
    interrupt(job, signal.SIGKILL)
    back_up(container, run="20240802143052-run", at="2024-08-02-143052", ADD_TIMESTAMP_PREFIX="true")
    ended = job.run(**{transfer.RUN_ID: "restore-2"})
    refused(ended, transfer.REASON_TARGET_UNFINISHED, code=24, target=words.MARKED)


def test_at_once(container: Container, job: Container) -> None:
    """Two of one Job: the second one finds the first at it, and may be tried again."""
    fill(container)
    back_up(container)
    with job.start(**SLOWLY) as running:
        wait_for(lambda: (job.data / STATE / "marker.json").exists())
        second = Container(job.root, job.environment, arguments=["restore"]).run()
        refused(second, transfer.REASON_TARGET_BUSY, code=44, target=words.MARKED)
        running.process.kill()


# --- refused --------------------------------------------------------------------------------------------------------


def test_wrong_key(container: Container, job: Container) -> None:
    fill(container)
    back_up(container)
    for missing in (words.FAIL, words.EMPTY):
        refused(
            job.run(AWS_SECRET_ACCESS_KEY="wrong", **{words.ON_MISSING: missing}),
            transfer.REASON_WRONG_CREDENTIALS,
            code=21,
        )
    assert names(job.data) == []


def test_store_down(container: Container, job: Container, s3: S3Server) -> None:
    """It is never missing, and another attempt may do better; in the middle the mark stays."""
    before = fill(container)
    back_up(container)
    s3.kill()
    for missing in (words.FAIL, words.EMPTY):
        ended = job.run(DATAMOVER_OUTAGE_LIMIT="2", **{words.ON_MISSING: missing})
        refused(ended, transfer.REASON_SERVER_UNREACHABLE, code=47)
    assert names(job.data) == []
    s3.start()
    with job.start(DATAMOVER_OUTAGE_LIMIT="2", **SLOWLY) as running:
        wait_for(lambda: (job.data / STATE / "marker.json").exists() and arrived(job.data) > 0)
        s3.kill()
        ended = running.wait()
    refused(ended, transfer.REASON_SERVER_UNREACHABLE, code=47, target=words.MARKED)
    s3.start()
    assert job.run().code == 0
    assert fingerprint(job.data) == before


def test_missing_bucket(job: Container) -> None:
    for missing in (words.FAIL, words.EMPTY):
        ended = job.run(BUCKET_NAME="nowhere", **{words.ON_MISSING: missing})
        refused(ended, transfer.REASON_BUCKET_NOT_FOUND, code=23)


def test_no_point(container: Container, job: Container, s3: S3Server) -> None:
    """A bucket in which nothing of the source is, is a failure, or allowed."""
    s3.bucket()
    source = {words.SOURCE: "production/app-data"}
    refused(job.run(**source), transfer.REASON_POINT_NOT_FOUND, code=23)
    allowed = source | {words.ON_MISSING: words.EMPTY}
    ended = job.run(**allowed)
    assert ended.code == 0, ended.output
    assert (restored(ended).empty, restored(ended).target, restored(ended).point) == (True, "untouched", "")
    assert ended.outcome.message == (
        "There is no backup of production/app-data at backups, and that is allowed: the volume is left as it is."
    )
    assert names(job.data) == []
    fill(container)
    back_up(container, DATAMOVER_OWNER_PVC="other")
    back_up(container, run="20240802143052-run", at="2024-08-02-143052", DATAMOVER_OWNER_PVC="other")
    assert restored(job.run(**allowed)).empty, "what is of another volume does not count, nor what is of it no more"
    refused(
        job.run(**{words.ON_MISSING: words.EMPTY, words.POINT: "2020-01-01-000000"}),
        transfer.REASON_POINT_NOT_FOUND,
        code=23,
    )
    (job.data / "file").write_text("here")
    refused(job.run(**allowed), transfer.REASON_TARGET_NOT_EMPTY, code=24)


TRACES: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "unfinished": lambda records: {name: value for name, value in records.items() if "outcome" not in name},
    "holder": lambda records: {name: value for name, value in records.items() if "folder" not in name},
    "claim": lambda records: {name: value for name, value in records.items() if "/claims/" in name},
    "damaged": lambda records: records | {".datamover/runs/r-1/folder.json": b"{"},
}


@pytest.mark.parametrize("trace", TRACES)
def test_traces_of_a_backup(job: Container, s3: S3Server, trace: str) -> None:
    """Records that are lost, damaged or unfinished prove nothing: such a bucket is not one without a backup."""
    s3.bucket()
    s3.put(TRACES[trace](forge("r-1", "2024-08-01-143052")))
    ended = job.run(**{words.SOURCE: "production/app-data", words.ON_MISSING: words.EMPTY})
    assert ended.code != 0, ended.output
    assert not restored(ended).empty
    refused(ended, transfer.REASON_POINT_NOT_FOUND, code=23)
    assert "it is not taken for one without a backup" in ended.outcome.message


def test_disturbed(container: Container, job: Container) -> None:
    """A mirror that another run has begun to change is restored only when that is said."""
    before = fill(container)
    back_up(container)
    (container.data / "folder/zz").write_bytes(bytes(1 << 20))
    with container.start(
        DATAMOVER_RUN_ID="20240802143052-run", DATAMOVER_TIMESTAMP="2024-08-02-143052", **SLOWLY
    ) as running:
        wait_for(lambda: '"phase":"syncing"' in running.output)
        running.process.kill()
    refused(job.run(), transfer.REASON_POINT_UNUSABLE, code=23)
    ended = job.run(**{words.DISTURBED: "true"})
    assert ended.code == 0, ended.output
    assert restored(ended).state == "disturbed"
    assert fingerprint(job.data) == before


def test_not_empty(container: Container, job: Container) -> None:
    """What is there stays, unless it is to be overwritten; then all else stays."""
    fill(container)
    back_up(container)
    (job.data / "folder").mkdir()
    (job.data / "folder/00").write_text("mine")
    (job.data / "other").write_text("mine")
    refused(job.run(), transfer.REASON_TARGET_NOT_EMPTY, code=24)
    assert (job.data / "folder/00").read_text() == "mine"
    assert names(job.data) == ["folder", "other"]
    ended = job.run(**{words.OVERWRITE: "true"})
    assert ended.code == 0, ended.output
    assert (job.data / "folder/00").stat().st_size == SIZE
    assert (job.data / "other").read_text() == "mine"


def test_no_volume(job: Container) -> None:
    """Where nothing is mounted, nothing is made."""
    job.data.rmdir()
    refused(job.run(), transfer.REASON_TARGET_UNUSABLE, code=20)
    assert not job.data.exists()


def test_environment(job: Container) -> None:
    """Everything that is wrong is said at once, and no key is repeated."""
    ended = job.run(
        AWS_SECRET_ACCESS_KEY="s3cr3t-and-l0ng",
        BUCKET_HOST=None,
        **{
            words.PATH: "a/../b",
            words.ON_MISSING: "Maybe",
            words.OVERWRITE: "yes",
            transfer.RUN_ID: "a b",
            words.TARGET: "/../etc",
        },
    )
    assert (ended.code, ended.outcome.reason) == (20, transfer.REASON_INVALID_CONFIGURATION)
    for name in (words.PATH, words.ON_MISSING, words.OVERWRITE, words.TARGET, transfer.RUN_ID, "BUCKET_HOST"):
        assert name in ended.outcome.message
    assert "s3cr3t" not in ended.output


def test_word(job: Container, s3: S3Server) -> None:
    s3.bucket()
    refused(job.run(**{words.POINT: "yesterday at noon"}), transfer.REASON_INVALID_CONFIGURATION, code=20)


def test_secrets(container: Container, job: Container) -> None:
    """A key that a file is named after, or that is asked for as a path, is in no line and no outcome (law L8)."""
    secret = job.environment["AWS_SECRET_ACCESS_KEY"]
    (container.data / "other").write_text("x")
    back_up(container)
    ended = job.run(**{words.PATH: f"folder/{secret}"})
    refused(ended, transfer.REASON_PATH_NOT_FOUND, code=23)
    assert secret not in ended.output
    assert secret.encode() not in ended.message


@pytest.mark.parametrize("run", ["../x", "latest", "another"])
def test_mark_of_a_stranger(container: Container, job: Container, run: str) -> None:
    """Whoever may write into the volume may say that it is this restore's, and of which run: only a run of the volume that was asked for is taken."""
    fill(container)
    back_up(container, ADD_TIMESTAMP_PREFIX="true")
    back_up(
        container, run="another", at="2024-08-02-143052", ADD_TIMESTAMP_PREFIX="true", DATAMOVER_OWNER_PVC="secrets"
    )
    (job.data / STATE).mkdir(mode=0o700)
    mark = {"run": run, "place": "backups", "folder": "2024-08-02-143052/", "restore": RESTORE}
    (job.data / STATE / "marker.json").write_text(json.dumps(mark))
    ended = job.run(**{words.SOURCE: "production/app-data"})
    assert ended.code in {23, 24}, ended.output
    assert restored(ended).target == words.MARKED
    assert names(job.data) == [STATE]


def test_choice_of_files(container: Container, job: Container) -> None:
    """Variables by which a backup leaves files out leave none out of what the point has."""
    before = fill(container)
    back_up(container)
    ended = job.run(
        RCLONE_EXCLUDE="/folder/**",
        RCLONE_MAX_SIZE="1k",
        RCLONE_MAX_AGE="1s",
        ADD_TIMESTAMP_PREFIX="true",
        VERIFY_BACKUP="download",
    )
    assert ended.code == 0, ended.output
    assert fingerprint(job.data) == before


def test_mark_of_another_format(container: Container, job: Container) -> None:
    """A mark that cannot be read is told, and left."""
    fill(container)
    back_up(container)
    (job.data / STATE).mkdir(mode=0o700)
    (job.data / STATE / "marker.json").write_text(json.dumps({"version": 7, "run": "x", "place": "y"}))
    refused(job.run(), transfer.REASON_TARGET_UNFINISHED, code=24, target=words.MARKED)
