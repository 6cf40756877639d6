"""Checksums in manifests: what has one, that it is right, and that it costs no request but the one for an object that came in parts."""

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.files import manifest, names
from datamover.api import transfer
from support.agent import Container, Ended
from support.memory_s3 import MemoryS3
from support.s3 import S3Server

RUNS = ".datamover/runs"
IN_PARTS = {"RCLONE_S3_UPLOAD_CUTOFF": "5M", "RCLONE_S3_CHUNK_SIZE": "5M"}
LARGE = bytes(range(256)) * (6 << 12)
FILES = {b"plain": b"plain", b"empty": b"", b"dir/new\nline;semi": b"odd", b"latin-\xe9": b"latin", b"large": LARGE}


def fill(root: Path, files: dict[bytes, bytes] = FILES) -> None:
    for name, content in files.items():
        path = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def sums(files: dict[bytes, bytes] = FILES) -> dict[bytes, str]:
    return {names.key_of(name): hashlib.md5(content).hexdigest() for name, content in files.items()}


class Records:
    """The records of runs, as a store has them."""

    def __init__(self, objects: dict[str, bytes], scratch: Path) -> None:
        self._objects = objects
        self._path = scratch / "manifest"

    def manifest(self, run: str) -> str:
        self._path.write_bytes(self._objects[f"{RUNS}/{run}/manifest.jsonl.gz"])
        return str(self._path)

    def digests(self, run: str) -> dict[bytes, str]:
        return {key: md5.hex() for key, md5 in manifest.digests(self.manifest(run))}

    def outcome(self, run: str) -> dict[str, Any]:
        return json.loads(self._objects[f"{RUNS}/{run}/outcome.json"])

    def seal(self, run: str) -> dict[str, Any]:
        raw = self._objects[f"{RUNS}/{run}/manifest.jsonl.gz"]
        return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def run(container: Container, number: int, **environment: str | None) -> Ended:
    ended = container.run(DATAMOVER_RUN_ID=f"run-{number}", **environment)
    assert ended.code == 0, ended.output
    return ended


@pytest.fixture
def store_container(tmp_path: Path) -> Any:
    with MemoryS3() as store:
        yield store, Container(tmp_path / "container", store.secret() | IN_PARTS)


@pytest.mark.parametrize("stamped", ["false", "true"])
def test_every_object_that_the_engine_compared_has_its_checksum_in_the_manifest(
    any_container: Container, any_s3: S3Server, tmp_path: Path, stamped: str
) -> None:
    files = FILES if any_s3.name == "rclone" else {name: FILES[name] for name in FILES if b"\xe9" not in name}
    fill(any_container.data, files)
    (any_container.data / "link").symlink_to("plain")
    ended = run(any_container, 1, ADD_TIMESTAMP_PREFIX=stamped, **IN_PARTS)
    found = Records(any_s3.objects(records=True), tmp_path)
    expected = sums(files | {b"link.rclonelink": b"plain"})
    assert found.digests("run-1") == expected
    told = found.outcome("run-1")
    assert told["manifest"] == found.seal("run-1")
    assert "sha256" not in ended.message.decode()
    said = json.loads(ended.message)
    assert told.keys() == said.keys() | {"manifest"}
    assert {name: told[name] for name in said if name != "finishedAt"} == {
        name: value for name, value in said.items() if name != "finishedAt"
    }


def test_a_run_that_moves_nothing_has_the_checksums_without_asking_for_them(
    store_container: tuple[MemoryS3, Container], tmp_path: Path
) -> None:
    store, container = store_container
    fill(container.data)
    run(container, 1)
    asked = {key for method, key in store.seen if method == "HEAD" and not key.startswith(".datamover/")}
    assert asked == {"large"}
    store.seen.clear()
    run(container, 2)
    data = [(method, key) for method, key in store.seen if key and not key.startswith(".datamover/")]
    assert data == [("HEAD", "large")], "the engine's own, to compare it"
    whole = [each for each in store.seen if each == ("GET", "")]
    (container.data / "plain").write_bytes(b"other")
    store.seen.clear()
    run(container, 3)
    assert len(whole) < len([each for each in store.seen if each == ("GET", "")]), "only then it was listed again"
    found = Records(store.objects(records=True), tmp_path)
    assert found.digests("run-1") == found.digests("run-2") == sums()
    assert found.digests("run-3") == sums(FILES | {b"plain": b"other"})
    for number in (1, 2, 3):
        assert found.outcome(f"run-{number}")["manifest"] == found.seal(f"run-{number}")


@pytest.mark.parametrize("case", ["of an earlier version", "one is missing", "touched"])
def test_checksums_that_the_run_before_cannot_give_come_from_a_listing(
    store_container: tuple[MemoryS3, Container], tmp_path: Path, case: str
) -> None:
    store, container = store_container
    fill(container.data)
    run(container, 1)
    key = f"{RUNS}/run-1/manifest.jsonl.gz"
    lines = gzip.decompress(store.objects(records=True)[key]).splitlines(keepends=True)
    digests = [line for line in lines if b'"digest"' in line]
    assert len(digests) == len(FILES)
    if case == "touched":
        os.utime(container.data / "plain", ns=(7, 7))
    else:
        gone = [*digests, lines[-1]] if case == "of an earlier version" else digests[:1]
        store.put({key: gzip.compress(b"".join(line for line in lines if line not in gone))})
    run(container, 2)
    assert Records(store.objects(records=True), tmp_path).digests("run-2") == sums()


@pytest.mark.parametrize(
    "environment",
    [{"RCLONE_SIZE_ONLY": "true"}, {"RCLONE_IGNORE_CHECKSUM": "true"}, {"RCLONE_MODIFY_WINDOW": "1s"}],
    ids=lambda each: next(iter(each)),
)
def test_where_the_user_compares_otherwise_nothing_is_proved(
    store_container: tuple[MemoryS3, Container], tmp_path: Path, environment: dict[str, str]
) -> None:
    store, container = store_container
    fill(container.data)
    run(container, 1, **environment)
    found = Records(store.objects(records=True), tmp_path)
    with pytest.raises(ValueError, match="it has no checksums"):
        found.digests("run-1")
    assert found.outcome("run-1")["manifest"] == found.seal("run-1")
    run(container, 2)
    assert Records(store.objects(records=True), tmp_path).digests("run-2") == sums()


def test_where_etags_are_no_checksums_nothing_is_proved(
    store_container: tuple[MemoryS3, Container], tmp_path: Path
) -> None:
    store, container = store_container
    store.etag = lambda content: hashlib.md5(content + b"salt").hexdigest()
    fill(container.data)
    run(container, 1)
    with pytest.raises(ValueError, match="it has no checksums"):
        Records(store.objects(records=True), tmp_path).digests("run-1")


def test_of_a_live_source_a_file_that_changed_meanwhile_has_none(
    store_container: tuple[MemoryS3, Container], tmp_path: Path
) -> None:
    store, container = store_container
    fill(container.data)

    def busy(method: str, key: str) -> None:
        # its object has arrived, and the listing after the run is next
        if (method, key) == ("PUT", "plain"):
            (container.data / "empty").write_bytes(b"full")
            os.utime(container.data / "plain", ns=(7, 7))

    store.busy = busy
    container.run(DATAMOVER_RUN_ID="run-1", DATAMOVER_COPY_METHOD="Direct")
    store.busy = lambda _, __: None
    ended = container.run(DATAMOVER_RUN_ID="run-2", DATAMOVER_COPY_METHOD="Direct")
    assert ended.code == 0, ended.output
    found = Records(store.objects(records=True), tmp_path)
    assert found.digests("run-2") == sums(FILES | {b"empty": b"full"})
    listed: list[str] = []

    def later(method: str, key: str) -> None:
        listed.append(key)
        if (method, key) == ("HEAD", "large") and listed.count(
            "large"
        ) == 2:  # the first is the engine's, to compare it
            os.utime(container.data / "plain", ns=(9, 9))

    store.busy = later
    run(container, 3, DATAMOVER_COPY_METHOD="Direct")
    expected = sums(FILES | {b"empty": b"full"})
    del expected[b"plain"]
    assert Records(store.objects(records=True), tmp_path).digests("run-3") == expected


def test_a_run_that_fails_proves_nothing_and_the_next_one_does(
    store_container: tuple[MemoryS3, Container], tmp_path: Path
) -> None:
    store, container = store_container
    fill(container.data)
    run(container, 1)
    (container.data / "new").write_bytes(b"new")
    store.loses = lambda key: key == "new"
    ended = container.run(DATAMOVER_RUN_ID="run-2")
    store.loses = lambda _: False
    assert ended.outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output
    assert f"{RUNS}/run-2/outcome.json" not in store.objects(records=True)
    with pytest.raises(ValueError, match="it has no checksums"):
        Records(store.objects(records=True), tmp_path).digests("run-2")
    run(container, 3)
    assert Records(store.objects(records=True), tmp_path).digests("run-3") == sums(FILES | {b"new": b"new"})


def rewrite(container: Container, name: bytes, content: bytes) -> None:
    """Change a file and keep its size."""
    path = container.data / os.fsdecode(name)
    assert len(content) == path.stat().st_size
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [b"plain", b"large", b"dir/new\nline;semi", b"latin-\xe9", b"link"],
    ids=["plain", "in parts", "odd", "not UTF-8", "link"],
)
def test_a_store_that_forgets_an_overwrite_of_the_same_size_is_found_out(
    store_container: tuple[MemoryS3, Container], name: bytes
) -> None:
    store, container = store_container
    fill(container.data)
    link = container.data / "link"
    link.symlink_to("plain")
    (container.data / "other").write_bytes(b"1")
    run(container, 1)
    if name == b"link":
        link.unlink()
        link.symlink_to("empty")
    else:
        rewrite(container, name, FILES[name][::-1])
    rewrite(container, b"other", b"2")
    shown = {b"link": "link.rclonelink", b"latin-\xe9": "latin-\\xe9"}.get(
        name, names.key_of(name).decode("utf-8", "replace")
    )
    stored = {b"link": "link.rclonelink", b"latin-\xe9": "latin-\u201bE9"}.get(name, name.decode("utf-8", "replace"))
    before = store.objects()[stored]
    store.loses = lambda key: key == stored
    # the second time the run that came to its end is not the latest; the third time another run has it on record
    for number in (2, 2, 3):
        ended = container.run(DATAMOVER_RUN_ID=f"run-{number}")
        outcome = ended.outcome
        assert outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output
        assert outcome.retryable
        assert outcome.problems == (shown,)
        assert "still has the older contents of 1 file(s) whose new ones were sent and acknowledged" in outcome.message
        assert f"{RUNS}/run-{number}/outcome.json" not in store.objects(records=True)
    store.loses = lambda _: False
    run(container, 3)
    assert store.objects()[stored] == (b"empty" if name == b"link" else before[::-1])


def test_what_is_sent_again_as_it_was_is_not_held_against_the_store(any_container: Container, any_s3: S3Server) -> None:
    container = any_container
    fill(container.data, {b"touched": b"1", b"healed": b"22", b"replaced": b"333"})
    run(container, 1)
    os.utime(container.data / "touched", ns=(7, 7))
    ended = run(container, 2)
    assert "0 were moved" in ended.outcome.message, "its contents are the same, so it is not sent"
    any_s3.put({"healed": "xx", "replaced": "yyy"})
    os.utime(container.data / "replaced", ns=(8, 8))
    ended = run(container, 3)
    assert "2 were moved" in ended.outcome.message
    assert any_s3.objects() == {"touched": b"1", "healed": b"22", "replaced": b"333"}
    ended = run(container, 4, RCLONE_IGNORE_TIMES="true")
    assert "3 were moved" in ended.outcome.message


def test_what_a_run_that_failed_has_moved_and_is_again_as_it_was_is_no_older_object(
    store_container: tuple[MemoryS3, Container],
) -> None:
    store, container = store_container
    fill(container.data)
    run(container, 1)
    rewrite(container, b"plain", b"PLAIN")
    (container.data / "new").write_bytes(b"new")
    store.loses = lambda key: key == "new"
    assert container.run(DATAMOVER_RUN_ID="run-2").outcome.problems == ("new (missing)",)
    assert store.objects()["plain"] == b"PLAIN"
    store.loses = lambda _: False
    rewrite(container, b"plain", b"plain")
    run(container, 3)
    assert store.objects()["plain"] == b"plain"


def test_of_a_live_source_what_changed_since_is_not_judged(store_container: tuple[MemoryS3, Container]) -> None:
    store, container = store_container
    fill(container.data)
    run(container, 1, DATAMOVER_COPY_METHOD="Direct")
    rewrite(container, b"plain", b"PLAIN")
    store.loses = lambda key: key == "plain"
    ended = container.run(DATAMOVER_RUN_ID="run-2", DATAMOVER_COPY_METHOD="Direct")
    assert ended.outcome.reason == transfer.REASON_VERIFICATION_FAILED, ended.output
    assert ended.outcome.problems == ("plain",)

    def busy(method: str, key: str) -> None:
        if (method, key) == ("PUT", "plain"):
            os.utime(container.data / "plain", ns=(9, 9))

    store.busy = busy
    ended = container.run(DATAMOVER_RUN_ID="run-3", DATAMOVER_COPY_METHOD="Direct")
    assert ended.outcome.succeeded, ended.output
