"""Repositories that are locked, and movers that end in the middle. Real restic."""

import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from datamover.api import transfer
from support.proxy import Proxy
from support.restic import PASSWORD, Mover, leave_lock
from support.s3 import S3Server, wait_for

POD = "volsync-src-app-bbbbb"
EARLIER = "volsync-src-app-aaaaa"

in_a_pod = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root, and unshare: a Pod has a host name of its own",
)


def pod(name: str) -> list[str]:
    """Return what gives a process the host name of a Pod."""
    return ["unshare", "--uts", "/bin/sh", "-c", 'hostname "$0" && exec "$@"', name]


def locks(mover: Mover) -> int:
    return len(list((mover.repository / "locks").iterdir()))


def test_a_lock_of_somebody_who_lives_is_told_with_its_holder(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    leave_lock(mover.repository, hostname="laptop", age=60)
    ended = mover.act("backup", DATAMOVER_REMOVE_STALE_LOCKS="true")
    outcome = ended.outcome
    assert outcome.reason == transfer.REASON_REPOSITORY_LOCKED, ended.output
    assert outcome.retryable
    assert "on laptop, renewed 6" in outcome.message
    assert "spec.restic.unlock" in outcome.message
    assert "locked" in outcome.log
    assert locks(mover) == 1


def test_a_stale_lock_goes_by_unlock_and_no_other(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    leave_lock(mover.repository, hostname="laptop", age=60)
    leave_lock(mover.repository, hostname="laptop", age=3600)
    assert mover.act("unlock", "backup").outcome.reason == transfer.REASON_REPOSITORY_LOCKED
    assert locks(mover) == 1
    (next((mover.repository / "locks").iterdir())).unlink()
    leave_lock(mover.repository, hostname="laptop", age=3600)
    ended = mover.act("unlock", "backup", "prune")
    assert ended.code == 0, ended.output


@in_a_pod
def test_a_lock_that_our_own_dead_mover_left_is_told_with_its_cure(mover: Mover) -> None:
    (mover.data / "file").write_text("x")
    leave_lock(mover.repository, hostname=EARLIER, age=400)
    mover.wrapper = pod(POD)
    outcome = mover.act("backup").outcome
    assert outcome.reason == transfer.REASON_REPOSITORY_LOCK_LEFT
    for word in (EARLIER, "spec.restic.unlock", "remove-stale-locks"):
        assert word in outcome.message
    assert locks(mover) == 1
    removing = mover.act("backup", DATAMOVER_REMOVE_STALE_LOCKS="true")
    assert removing.code == 0, removing.output
    assert locks(mover) == 0


@in_a_pod
@pytest.mark.parametrize(
    ("others", "age"),
    [((), 100), (("laptop",), 400), (("volsync-src-other-aaaaa",), 400)],
    ids=["young", "beside another", "another object"],
)
def test_a_lock_that_somebody_may_hold_is_not_removed(mover: Mover, others: tuple[str, ...], age: int) -> None:
    (mover.data / "file").write_text("x")
    leave_lock(mover.repository, hostname=EARLIER, age=age, exclusive=not others)
    for other in others:
        leave_lock(mover.repository, hostname=other, age=age)
    mover.wrapper = pod(POD)
    ended = mover.act("backup", DATAMOVER_REMOVE_STALE_LOCKS="true")
    assert ended.outcome.retryable
    assert ended.outcome.reason in {transfer.REASON_REPOSITORY_LOCKED, transfer.REASON_REPOSITORY_LOCK_LEFT}
    assert locks(mover) == 1 + len(others)


@pytest.fixture
def slow(mover: Mover, s3: S3Server):
    """A repository behind a slow line, in the place of the mover's."""
    place = s3.bucket() / "below"
    shutil.copytree(mover.repository, place)
    (mover.data / "large").write_bytes(os.urandom(30_000_000))
    with Proxy(s3.port, rate=3_000_000) as proxy:
        mover.environment |= {
            "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{proxy.port}/backups/below",
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        }
        yield place


def has_lock(place: Path) -> bool:
    return (place / "locks").is_dir() and any((place / "locks").iterdir())


def moving(place: Path) -> bool:
    """Tell whether files are stored: a restic that is stopped while it only waits for others' locks leaves its own."""
    return has_lock(place) and any(each.is_file() for each in (place / "data").rglob("*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_mover_that_is_told_to_stop_removes_its_lock(mover: Mover, slow: Path, number: int) -> None:
    mover.arguments = ["restic", "backup"]
    with mover.start() as running:
        wait_for(lambda: moving(slow))
        running.process.send_signal(number)
        ended = running.wait()
    assert ended.code == 128 + number
    assert ended.outcome.reason == transfer.REASON_INTERRUPTED
    assert not has_lock(slow)


@in_a_pod
def test_a_mover_that_is_killed_leaves_a_lock_that_the_next_one_tells(mover: Mover, slow: Path) -> None:
    mover.arguments = ["restic", "backup"]
    mover.wrapper = pod(EARLIER)
    with mover.start() as running:
        wait_for(lambda: moving(slow))
        for pid in running.children():
            os.kill(pid, signal.SIGKILL)
        ended = running.wait()
    assert ended.outcome.reason == transfer.REASON_OUT_OF_MEMORY
    assert has_lock(slow)
    mover.wrapper = pod(POD)
    (mover.data / "large").write_bytes(b"small now")
    # a backup goes beside a lock that is not exclusive; to forget does not
    outcome = mover.act("backup").outcome
    assert outcome.reason == transfer.REASON_REPOSITORY_LOCK_LEFT
    assert EARLIER in outcome.message


def test_no_secret_is_on_a_command_line_or_said(mover: Mover, slow: Path) -> None:
    """Law L8."""
    seen: set[bytes] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:
                    continue
            time.sleep(0.05)

    (mover.data / "large").write_bytes(b"x")
    watcher = threading.Thread(target=watch)
    watcher.start()
    ended = mover.act("backup", "prune")
    done.set()
    watcher.join()
    assert ended.code == 0, ended.output
    assert any(b"backup\0--json" in line for line in seen)
    said = "\n".join(
        [ended.output, ended.errors, ended.message.decode(), *(line.decode(errors="replace") for line in seen)]
    )
    for secret in (PASSWORD, mover.environment["AWS_SECRET_ACCESS_KEY"], mover.environment["AWS_ACCESS_KEY_ID"]):
        assert secret not in said
