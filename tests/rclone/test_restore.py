"""A backup by the real agent, restored from bucket and key alone with the real engine, compared to the last attribute."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.children import Stop
from datamover.agent.errors import Failure
from datamover.agent.restore import entry
from datamover.agent.restore.attempt import MARKED, WHOLE, Attempt, Facts, Limits
from datamover.agent.restore.entry import LIMITS, prepare_attempt
from datamover.agent.restore.order import Order
from datamover.agent.restore.progress import Reporter
from datamover.agent.restore.wanted import File
from datamover.api import transfer
from support.agent import Container
from support.fidelity import fingerprint
from support.odd_tree import make
from support.points import opened
from support.s3 import S3Server, find_rclone

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may give files away")
RUN = "20240801143052-run"
NASTY = [
    b"-rf",
    b"two\nlines",
    b"\xff\xfe\x80",
    b"x" * 255,
    "\u00e9".encode(),
    "e\u0301".encode(),
    b" ",
    b"~",
    b"* ?[a]{b}",
    b".partial",
    b"a.12345678.partial",
    "\uff0f".encode(),
    "\u2400".encode(),
]


class Restores:
    """Restores of one server's bucket."""

    def __init__(self, server: S3Server, scratch: Path) -> None:
        self.server = server
        self.scratch = scratch
        self.said: list[str] = []
        self.told: list[str] = []
        self.stop = Stop(grace=5)
        self.limits = LIMITS

    def run(
        self,
        directory: Path,
        *,
        word: str = "latest",
        secret: dict[str, str] | None = None,
        act: Callable[[Attempt], object] | None = None,
        **order: Any,
    ) -> Facts:
        environ = {"DATAMOVER_OUTAGE_LIMIT": "20"} | (secret or self.server.secret())
        place = self.scratch / f"scratch-{len(list(self.scratch.iterdir()))}"
        with opened(environ, place) as bucket:
            point = bucket.choose(word)
            attempt = prepare_attempt(
                bucket,
                point,
                Order(directory=str(directory), **order),
                stop=self.stop,
                grace=5,
                scratch=str(place),
                say=self.said.append,
                report=Reporter(point.run_id, write=self.said.append, tell=self.told.append, monotonic=time.monotonic),
                limits=self.limits,
            )
            self.facts = attempt.facts
            try:
                attempt.run()
            finally:
                attempt.close()
        return attempt.facts

    def refusal(self, directory: Path, **how: Any) -> Failure:
        with pytest.raises(Failure) as caught:
            self.run(directory, **how)
        return caught.value


@pytest.fixture
def restores(s3: S3Server, tmp_path: Path) -> Restores:
    (tmp_path / "restores").mkdir()
    return Restores(s3, tmp_path / "restores")


@pytest.fixture
def any_restores(any_s3: S3Server, tmp_path: Path) -> Restores:
    (tmp_path / "restores").mkdir()
    return Restores(any_s3, tmp_path / "restores")


def back_up(container: Container, **changes: str | None) -> None:
    ended = container.run(DATAMOVER_RUN_ID=RUN, DATAMOVER_TIMESTAMP="2024-08-01-143052", **changes)
    assert ended.code == 0, ended.output


def test_a_small_restore_takes_three_processes_of_the_engine(
    container: Container, restores: Restores, tmp_path: Path
) -> None:
    (container.data / "a").write_bytes(b"a")
    back_up(container)
    engine, started = tmp_path / "engine", tmp_path / "started"
    engine.write_text(f'#!/bin/sh\necho "$1" >> {started}\nexec {find_rclone()} "$@"\n')
    engine.chmod(0o755)
    restores.run(tmp_path / "target", secret=restores.server.secret() | {transfer.RCLONE: str(engine)})
    assert sorted(started.read_text().split()) == ["copy", "lsf", "rcd"]


def grow(top: Path) -> None:
    """Fill a volume with all that is hard to bring back."""
    make(top)
    (top / "carriage\rreturn").unlink()  # not every server can list it
    for raw in NASTY:
        (top / os.fsdecode(raw)).write_bytes(raw)
    deep = top.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    with (top / "large-sparse").open("wb") as file:
        file.truncate(40 << 20)
        for place in (0, (20 << 20) + 4096, (39 << 20) + 11):
            file.seek(place)
            file.write(b"\x55\xaa" * 2600)
    (top / "ends-with-a-hole").write_bytes(b"x")
    os.truncate(top / "ends-with-a-hole", 2 << 20)
    (top / "large").write_bytes(os.urandom(9 << 20))
    os.utime(top, ns=(1, 1_234_567_890_123_456_789))
    top.chmod(0o2750)


@needs_root
@pytest.mark.parametrize("stamped", [None, "true"], ids=["mirror", "timestamped"])
def test_everything_comes_back_and_holes_stay_holes(
    any_container: Container, any_restores: Restores, tmp_path: Path, stamped: str | None
) -> None:
    data = any_container.data
    grow(data)
    before = fingerprint(data)
    back_up(any_container, ADD_TIMESTAMP_PREFIX=stamped)
    target = tmp_path / "target"
    facts = any_restores.run(target, privileges=True)
    assert fingerprint(target) == before
    assert (facts.target, facts.lost, facts.left_out) == (WHOLE, (), ())
    for name in ("large-sparse", "ends-with-a-hole", "sparse"):
        assert (target / name).stat().st_blocks <= (data / name).stat().st_blocks + 16, name
    assert facts.files == facts.fetched + facts.linked
    last = transfer.read_progress(any_restores.told[-1])
    assert last is not None
    assert (last.files, last.bytes) == (last.total_files, last.total_bytes) == (facts.files, facts.bytes)


def test_a_part_is_all_that_is_fetched(container: Container, restores: Restores, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (container.data / name).mkdir()
        (container.data / name / "file").write_text(name)
    back_up(container)
    facts = restores.run(tmp_path / "target", path=b"b")
    assert (facts.files, facts.fetched, facts.bytes) == (1, 1, 1)
    assert fingerprint(tmp_path / "target").keys() == {b".", b"b", b"b/file"}


def test_many_runs_of_the_engine_are_one_restore(container: Container, restores: Restores, tmp_path: Path) -> None:
    for number in range(25):
        (container.data / f"{number:02}").write_text("x" * number)
    before = fingerprint(container.data)
    back_up(container)
    restores.limits = Limits(files=10, bytes=150)
    facts = restores.run(tmp_path / "target")
    assert facts.fetched == 25
    assert fingerprint(tmp_path / "target") == before


def test_the_engine_is_given_no_limit_with_which_it_may_stand_still(
    container: Container, restores: Restores, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "file").write_text("content")
    back_up(container)
    seen: list[dict[str, str]] = []
    real = entry.Fetching.fetch

    def fetch(self: entry.Fetching, files: list[File]) -> None:
        copy = self._sync.copy

        def spied(*arguments: Any, environment: dict[str, str], **how: Any) -> None:
            seen.append(environment)
            copy(*arguments, environment=environment, **how)

        self._sync.copy = spied
        real(self, files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry.Fetching, "fetch", fetch)
        restores.run(tmp_path / "target", secret=s3.secret(RCLONE_MAX_TRANSFER="1G"))
    assert seen
    assert not [name for environment in seen for name in environment if name.startswith("RCLONE_MAX_TRANSFER")]


# --- stores that are not what they were -----------------------------------------------------------------------------


def test_objects_that_are_gone_other_or_longer_are_told_by_their_paths_and_all_others_come(
    any_container: Container, any_restores: Restores, any_s3: S3Server, tmp_path: Path
) -> None:
    data = any_container.data
    (data / "folder").mkdir()
    for name in ("gone", "longer", "folder/fine", "sparse-gone", "sparse-longer"):
        (data / name).write_text(f"this is {name}")
    for name in ("sparse-gone", "sparse-longer"):
        os.truncate(data / name, 2 << 20)
    before = fingerprint(data)
    back_up(any_container)
    kept = any_s3.objects()
    any_s3.remove("gone", "sparse-gone")
    any_s3.put({"longer": "x" * 10_000_000, "sparse-longer": kept["sparse-longer"] + b"x"})
    target = tmp_path / "target"
    failure = any_restores.refusal(target)
    assert (failure.reason, any_restores.facts.target) == (transfer.REASON_RESTORED_OTHERWISE, MARKED)
    told = (target / ".datamover-restore/problems.txt").read_text().splitlines()
    assert {line.partition(":")[0] for line in told} == {"gone", "longer", "sparse-gone", "sparse-longer"}
    assert (target / "folder/fine").read_text() == "this is folder/fine"
    any_s3.put({name: kept[name] for name in ("gone", "longer", "sparse-gone", "sparse-longer")})
    facts = any_restores.run(target)
    assert facts.resumed
    assert fingerprint(target) == before


def test_one_flipped_byte_is_found_although_the_store_vouches_for_it(
    container: Container, restores: Restores, s3: S3Server, tmp_path: Path
) -> None:
    data = container.data
    (data / "plain").write_text("this is plain")
    (data / "sparse").write_text("this is sparse")
    os.truncate(data / "sparse", 2 << 20)
    os.link(data / "plain", data / "twin")
    before = fingerprint(data)
    back_up(container)
    kept = s3.objects()
    flipped = bytearray(kept["sparse"])
    flipped[1 << 20] = 1
    s3.put({"plain": "THIS is plain", "twin": "THIS is plain", "sparse": bytes(flipped)})
    target = tmp_path / "target"
    failure = restores.refusal(target)
    assert failure.reason == transfer.REASON_RESTORED_OTHERWISE
    assert set(failure.problems) == {f"{name}: it has another checksum" for name in ("plain", "twin", "sparse")}
    assert [name for name in os.listdir(target) if name != ".datamover-restore"] == []
    s3.put({name: kept[name] for name in ("plain", "twin", "sparse")})
    facts = restores.run(target)
    assert (facts.resumed, facts.by_size) == (True, 0)
    assert fingerprint(target) == before


def test_a_store_that_is_down_ends_it_with_a_mark_and_it_goes_on_afterwards(
    container: Container, restores: Restores, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "file").write_text("content")
    before = fingerprint(container.data)
    back_up(container)
    target = tmp_path / "target"
    real = entry.Fetching.fetch

    def fetch(self: entry.Fetching, files: list[File]) -> None:
        s3.kill()
        real(self, files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entry.Fetching, "fetch", fetch)
        failure = restores.refusal(target, secret=s3.secret(DATAMOVER_OUTAGE_LIMIT="2"))
    assert (failure.failure_class, failure.retryable, restores.facts.target) == (transfer.NETWORK, True, MARKED)
    s3.start()
    assert restores.run(target).resumed
    assert fingerprint(target) == before


def test_a_wrong_key_touches_nothing(container: Container, restores: Restores, s3: S3Server, tmp_path: Path) -> None:
    (container.data / "file").write_text("content")
    back_up(container)
    with pytest.raises(Failure) as caught:
        restores.run(tmp_path / "target", secret=s3.secret(AWS_SECRET_ACCESS_KEY="wrong"))
    assert caught.value.failure_class == transfer.CREDENTIALS
    assert not (tmp_path / "target").exists()
