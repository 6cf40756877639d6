"""A restore in place by the agent's process as a Job runs it: rolled back from the safety copy when it fails, gone on with when it was killed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from datamover.api import restore as words
from datamover.api import transfer
from support.agent import Container, Ended
from support.fidelity import Kept, fingerprint
from support.s3 import S3Server, wait_for

RUN = "20240801143052-run"
STATE = ".datamover-restore"
SLOWLY = {"RCLONE_BWLIMIT": "8k", "RCLONE_TRANSFERS": "1"}
SIZE = 16384


def restored(ended: Ended) -> words.Restored:
    found = ended.outcome.restoration
    assert found is not None, ended.output
    return found


class Volume:
    """A backed-up volume that has changed since, its safety copy, and the container of a restore into it."""

    def __init__(self, container: Container, s3: S3Server, tmp_path: Path) -> None:
        (container.data / "folder").mkdir()
        for number in range(12):
            (container.data / f"folder/{number:02}").write_bytes(bytes([number]) * SIZE)
        (container.data / "link").symlink_to("folder/00")
        (container.data / "only/in/backup").mkdir(parents=True)
        (container.data / "only/in/backup/file").write_text("old")
        backed_up = container.run(DATAMOVER_RUN_ID=RUN, DATAMOVER_TIMESTAMP="2024-08-01-143052")
        assert backed_up.code == 0, backed_up.output
        given = s3.secret() | {
            transfer.RUN_ID: "restore-1",
            transfer.OUTAGE_LIMIT: "5",
            words.ROLL_BACK_FROM: "/safety",
        }
        self.job = Container(tmp_path / "job", given, arguments=["restore"])
        self.path, self.s3 = self.job.data, s3
        self.change()
        self.before = fingerprint(self.path)
        subprocess.run(["cp", "-a", str(self.path), str(self.job.root / "safety")], check=True)

    def change(self) -> None:
        """Let the volume be another one than the backup."""
        (self.path / "folder").mkdir()
        for number in range(6):
            (self.path / f"folder/{number:02}").write_bytes(b"now" * number)
            os.utime(self.path / f"folder/{number:02}", ns=(1, 1_650_000_000_123_456_789))
        (self.path / "folder/00").chmod(0o600)
        os.setxattr(self.path / "folder/01", "user.mine", b"1")
        os.link(self.path / "folder/02", self.path / "another-name")
        (self.path / "link").symlink_to("nowhere")
        (self.path / "mine").write_text("mine")
        (self.path / "folder").chmod(0o751)
        os.utime(self.path / "folder", ns=(1, 1_650_000_000_000_000_001))
        os.utime(self.path, ns=(1, 1_650_000_000_000_000_002))

    def now(self) -> dict[bytes, Kept]:
        return fingerprint(self.path)

    def demand_rolled_back(self, ended: Ended, reason: str) -> None:
        assert (ended.outcome.reason, restored(ended).target) == (reason, words.ROLLED_BACK), ended.output
        assert restored(ended).losses == ()
        assert self.now() == self.before
        assert "is as it was before" in ended.outcome.message
        assert STATE not in ended.outcome.message


@pytest.fixture
def volume(container: Container, s3: S3Server, tmp_path: Path) -> Volume:
    return Volume(container, s3, tmp_path)


def flip(volume: Volume) -> None:
    place = volume.s3.bucket() / "folder/05"
    place.write_bytes(b"\xff" + place.read_bytes()[1:])


def lose(volume: Volume) -> None:
    volume.s3.remove("folder/11")


@pytest.mark.parametrize("harm", [flip, lose])
def test_a_store_that_has_another_object_or_none(volume: Volume, harm: Callable[[Volume], None]) -> None:
    harm(volume)
    volume.demand_rolled_back(volume.job.run(), transfer.REASON_RESTORED_OTHERWISE)


def test_whole(volume: Volume) -> None:
    ended = volume.job.run()
    assert (ended.code, restored(ended).target) == (0, words.WHOLE), ended.output
    assert (volume.path / "folder/05").read_bytes() == bytes([5]) * SIZE
    assert (volume.path / "mine").read_text() == "mine"
    assert not (volume.path / STATE).exists()


def arrived(target: Path) -> int:
    """Return how many files are on their way or in their places."""
    return sum(len(files) for _, _, files in os.walk(target / STATE / "files"))


def interrupt(volume: Volume, number: signal.Signals) -> Ended:
    """Restore slowly, and send a signal as soon as the first file has come."""
    with volume.job.start(**SLOWLY) as running:
        wait_for(lambda: (volume.path / STATE / "marker.json").exists() and arrived(volume.path) > 0)
        running.process.send_signal(number)
        return running.wait()


def test_killed_and_then_rolled_back(volume: Volume) -> None:
    """A Pod that is killed or stopped rolls nothing back. The next one rolls back what they have done, also when the store says nothing any more."""
    stopped = interrupt(volume, signal.SIGTERM)
    assert restored(stopped).target == words.MARKED, stopped.output
    assert interrupt(volume, signal.SIGKILL).code == -9
    assert volume.now() != volume.before
    volume.s3.kill()
    volume.demand_rolled_back(volume.job.run(DATAMOVER_OUTAGE_LIMIT="2"), transfer.REASON_SERVER_UNREACHABLE)
    volume.s3.start()


def test_killed_and_gone_on_with(volume: Volume) -> None:
    assert interrupt(volume, signal.SIGKILL).code == -9
    ended = volume.job.run()
    assert (ended.code, restored(ended).target, restored(ended).resumed) == (0, words.WHOLE, True), ended.output
    assert (volume.path / "folder/05").read_bytes() == bytes([5]) * SIZE


def test_without_its_copy_nothing_is_touched(volume: Volume) -> None:
    """A volume that is not mounted is an empty folder: by it everything would be new, and be removed."""
    safety = volume.job.root / "safety"
    shutil.rmtree(safety)
    safety.mkdir()
    ended = volume.job.run()
    assert (ended.outcome.reason, restored(ended).target) == (transfer.REASON_SAFETY_COPY_UNUSABLE, words.UNTOUCHED)
    assert volume.now() == volume.before
