"""`datamover verify`: what lies in a bucket, held against the manifest of a point. Real engine, real servers, damage made in their files."""

import json
import re
import shutil
import threading
from pathlib import Path

import pytest

from datamover.api import transfer
from rclone.test_digests import IN_PARTS, LARGE, fill
from rclone.test_points import mirror, timestamped
from rclone.test_verification import flip
from support.agent import Container
from support.answering import Answering, Reply, Request, s3_error
from support.memory_s3 import MemoryS3
from support.points import Said, datamover, forge, write_secret
from support.s3 import S3Server

FILES = {b"a.txt": b"first", b"sub/b.txt": b"second", b"sub/c;odd\nname": b"third", b"empty": b"", b"large": LARGE}
WHERE = ["mirror", "timestamped"]


class Bucket:
    """A bucket with one point in it, and the command over it."""

    def __init__(self, container: Container, server: S3Server, folder: Path, *, stamped: bool) -> None:
        self.container = container
        self.server = server
        self.secret = write_secret(folder / "secret.yaml", server.secret())
        fill(container.data, FILES)
        (container.data / "link").symlink_to("a.txt")
        # one after another: see S3Server.make_folders, and a folder of that time would be another run's
        how = IN_PARTS | {"RCLONE_TRANSFERS": "1"}
        self.run = timestamped(container, 1, **how) if stamped else mirror(container, 1, **how)
        self.root = server.directory / "backups"
        self.folder = self.root / ("2024-08-01-101500" if stamped else "")

    def verify(self, *arguments: str, word: str = "latest") -> Said:
        said = datamover("verify", "--secret", self.secret, *arguments, word)
        assert "Traceback" not in said.errors
        return said

    def found(self, *arguments: str) -> dict[str, str]:
        """Return path to finding; the exit code and the counts must fit."""
        said = self.verify("-o", "json", *arguments)
        document = said.document
        found = {each["path"]: each["finding"] for each in document["findings"]}
        assert said.code == document["exitCode"] == (1 if found else 0), said.errors
        assert sum(document["counts"].values()) == len(found)
        return found


@pytest.fixture(params=WHERE)
def bucket(request: pytest.FixtureRequest, any_container: Container, any_s3: S3Server, tmp_path: Path) -> Bucket:
    return Bucket(any_container, any_s3, tmp_path, stamped=request.param == "timestamped")


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def test_an_untouched_point_is_what_its_manifest_says_and_each_method_says_what_it_did(bucket: Bucket) -> None:
    before = snapshot(bucket.root)
    said = bucket.verify()
    assert said.code == 0, said.errors
    head = "of production/app-data: 6 objects (6.0 MiB) in the manifest, all there, and nothing that it does not name. Compared with it: "
    assert said.text.endswith(
        f"{head}6 by the checksum that the store has recorded; nothing was read back, so rot at rest does not show.\n"
    )
    assert bucket.verify("--method", "size").text.endswith(
        f"{head}6 by size alone; what is in them was not looked at.\n"
    )
    assert bucket.verify("--method", "download").text.endswith(f"{head}6 read back (6.0 MiB) and by checksum.\n")
    sample = bucket.verify("--sample", "40").text
    assert re.search(r"3 read back \([^)]+\) and by checksum \(a sample of 40 %\), 3 by size alone\.\n$", sample)
    assert snapshot(bucket.root) == before, "nothing was written"


def test_what_was_done_to_the_store_is_found_and_named(bucket: Bucket) -> None:
    flip(bucket.folder / "a.txt")
    flip(bucket.folder / "large")
    contents = {"a.txt": "contents", "large": "contents"}
    assert bucket.found("--method", "download") == contents
    # versitygw tells what it recorded; `rclone serve s3` reads what lies there
    recorded = bucket.found()
    assert recorded in ({}, dict.fromkeys(contents, "checksum")), recorded
    assert bool(recorded) == (bucket.server.name == "rclone")
    assert bucket.found("--method", "size") == {}

    bucket.server.remove(*(str((bucket.folder / name).relative_to(bucket.root)) for name in ("sub/b.txt",)))
    prefix = f"{bucket.folder.relative_to(bucket.root)}/".removeprefix("./")
    bucket.server.put({f"{prefix}sub/new": b"extra", f"{prefix}empty": b"no more"})
    damage = {"sub/b.txt": "missing", "sub/new": "extra", "empty": "size"}
    assert bucket.found("--method", "size") == damage
    assert bucket.found("--method", "download") == damage | contents
    said = bucket.verify("--method", "download")
    assert said.code == 1
    assert said.text.splitlines()[:-1] == [
        "~ a.txt  (contents: what was read back has another checksum than the manifest has)",
        "~ empty  (size: 7 bytes, and 0 in the manifest)",
        "~ large  (contents: what was read back has another checksum than the manifest has)",
        "- sub/b.txt  (missing)",
        "+ sub/new  (it is not in the manifest)",
    ]
    assert "5 not as it says (1 missing, 1 size, 2 contents, 1 extra)" in said.text


def test_an_old_copy_in_the_place_of_the_new_one_is_found(
    any_container: Container, any_s3: S3Server, tmp_path: Path
) -> None:
    bucket = Bucket(any_container, any_s3, tmp_path, stamped=False)
    kept = tmp_path / "kept"
    shutil.copytree(bucket.root, kept)
    (bucket.container.data / "a.txt").write_bytes(b"FIRST")
    (bucket.container.data / "sub/b.txt").write_bytes(b"longer")
    mirror(bucket.container, 2, **IN_PARTS)
    assert bucket.found() == {}
    any_s3.put({"a.txt": b"first"})
    assert bucket.found() == {"a.txt": "checksum"}
    any_s3.put({"sub/b.txt": b"old"})
    assert bucket.found("--method", "size") == {"sub/b.txt": "size"}
    assert bucket.found("--method", "download") == {"a.txt": "contents", "sub/b.txt": "size"}


def test_a_mirror_is_not_held_against_copies_beside_it(
    any_container: Container, any_s3: S3Server, tmp_path: Path
) -> None:
    bucket = Bucket(any_container, any_s3, tmp_path, stamped=False)
    timestamped(bucket.container, 2)
    any_s3.put({"2024-08-09-101500/nobody": b"claims this"})
    said = bucket.verify("-o", "json", word=bucket.run).document
    assert {each["path"]: each["finding"] for each in said["findings"]} == {"2024-08-09-101500/nobody": "extra"}


def test_a_mirror_in_which_a_later_run_has_begun_says_that(container: Container, s3: S3Server, tmp_path: Path) -> None:
    bucket = Bucket(container, s3, tmp_path, stamped=False)
    (container.data / "a.txt").write_bytes(b"FIRST")
    later = mirror(container, 2, **IN_PARTS)
    said = bucket.verify(word=bucket.run)
    assert said.code == 2
    assert "is superseded" in said.errors
    assert "A mirror has its last complete run only" in said.errors
    s3.remove(f".datamover/runs/{later}/outcome.json")
    assert bucket.verify().code == 2
    said = bucket.verify("--disturbed")
    assert said.code == 1
    assert said.text.startswith("~ a.txt  (checksum")
    assert f"the run {later} has begun to mirror there since" in said.errors


@pytest.mark.parametrize("damage", ["cut off", "replaced", "newer"])
def test_a_manifest_that_is_not_the_runs_own_is_refused(
    container: Container, s3: S3Server, tmp_path: Path, damage: str
) -> None:
    bucket = Bucket(container, s3, tmp_path, stamped=True)
    path = bucket.root / f".datamover/runs/{bucket.run}/manifest.jsonl.gz"
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "replaced":
        other = timestamped(container, 2, **IN_PARTS)
        shutil.copy(bucket.root / f".datamover/runs/{other}/manifest.jsonl.gz", path)
    else:
        outcome = bucket.root / f".datamover/runs/{bucket.run}/outcome.json"
        outcome.write_text(json.dumps(json.loads(outcome.read_text()) | {"version": 99}))
    said = bucket.verify(word=bucket.run)
    assert said.code == 2
    told = {"cut off": "cannot be used", "replaced": "is of the run", "newer": "newer"}[damage]
    assert told in said.errors, said.errors


def test_where_there_are_no_checksums_sizes_alone_are_said_to_be_compared(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container.data, {b"a": b"1", b"b": b"22"})
        timestamped(container, 1, RCLONE_SIZE_ONLY="true")
        secret = write_secret(tmp_path / "secret.yaml", store.secret())
        store.seen.clear()
        for method, code in ((("--method", "checksum"), 0), (("--method", "download"), 4), (("--sample", "10"), 4)):
            said = datamover("verify", "--secret", secret, *method, "latest")
            assert said.code == code, said.errors
            assert "2 by size alone" in said.text
            assert "the manifest has no checksum of 2 objects: what is in them cannot be compared" in said.errors
            assert "reads back" not in said.errors
        assert {method for method, _ in store.seen} <= {"GET", "HEAD"}


def test_what_came_in_parts_and_has_no_checksum_is_compared_by_size_or_read_back(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container.data, {b"large": LARGE, b"small": b"1"})
        timestamped(container, 1, **IN_PARTS)
        key = "2024-08-01-101500/large"
        store.versions[key][-1].metadata.clear()
        secret = write_secret(tmp_path / "secret.yaml", store.secret())
        said = datamover("verify", "--secret", secret, "latest")
        assert (said.code, "1 by the checksum that the store has recorded, 1 by size alone" in said.text) == (0, True)
        store.versions[key][-1].content = bytes(len(LARGE))
        assert datamover("verify", "--secret", secret, "latest").code == 0
        said = datamover("verify", "--secret", secret, "--method", "download", "latest")
        assert (said.code, said.text.splitlines()[0].split()[:2]) == (1, ["~", "large"])


def test_what_the_listing_does_not_show_is_asked_for_by_name(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container.data, {b"hidden": b"1", b"there": b"22", b"gone": b"333"})
        timestamped(container, 1)
        secret = write_secret(tmp_path / "secret.yaml", store.secret())
        whole = store.listing

        def hiding(query: dict[str, str]) -> str:
            return re.sub(r"<Contents><Key>[^<]*hidden</Key>.*?</Contents>", "", whole(query))

        store.listing = hiding
        store.remove("2024-08-01-101500/gone")
        said = datamover("verify", "--secret", secret, "-o", "json", "latest")
        found = {each["path"]: each["finding"] for each in said.document["findings"]}
        assert found == {"gone": "missing", "hidden": "unlisted"}


def test_of_thousands_of_missing_objects_people_see_some_and_the_number(tmp_path: Path) -> None:
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container.data, {f"f{number:04}".encode(): b"1" for number in range(2300)})
        timestamped(container, 1)
        for key in store.objects():
            if not key.endswith("/f0000"):
                store.remove(key)
        secret = write_secret(tmp_path / "secret.yaml", store.secret())
        store.seen.clear()
        said = datamover("verify", "--secret", secret, "latest")
        assert said.code == 1
        *some, rest, last = said.text.splitlines()
        assert (len(some), rest) == (1000, "and 1299 more; -o json names them all")
        assert "2299 not as it says (2299 missing)" in last
        assert len({key for method, key in store.seen if method == "HEAD" and "101500/f" in key}) <= 1000
        document = datamover("verify", "--secret", secret, "-o", "json", "latest").document
        assert len(document["findings"]) == document["counts"]["missing"] == 2299


def test_names_with_control_characters_are_listed_as_they_are(tmp_path: Path, any_s3: S3Server) -> None:
    container = Container(tmp_path / "container", dict(any_s3.secret()))
    fill(container.data, {b"bell\x07 100%+": b"1", b"plain": b"2", b"esc\x1b[31m": b"3"})
    ended = container.run(ADD_TIMESTAMP_PREFIX="true")
    if any_s3.name == "versitygw":  # it cannot list such names
        assert ended.outcome.reason == transfer.REASON_NAME_REFUSED, ended.output
        assert ended.outcome.problems == (r"bell\x07 100%+", r"esc\x1b[31m")
        assert any_s3.objects() == {}
        return
    assert ended.code == 0, ended.output
    secret = write_secret(tmp_path / "secret.yaml", any_s3.secret())
    said = datamover("verify", "--secret", secret, "--method", "download", "latest")
    assert said.code == 0, said.text + said.errors
    assert "3 read back" in said.text


def test_a_manifest_that_leads_outside_is_refused_and_names_play_no_tricks(tmp_path: Path) -> None:
    line = {"type": "file", "size": 1, "mtime": 1, "mode": 0o644}
    with MemoryS3() as store:
        secret = write_secret(tmp_path / "secret.yaml", store.secret())
        store.put(forge("20240801101500-copy", "2024-08-01-101500", line | {"path": "../../etc/passwd"}))
        said = datamover("verify", "--secret", secret, "--method", "download", "latest")
        assert said.code == 2
        assert "which no file's path becomes at a store" in said.errors
        store.put(
            forge("20240801101500-copy", "2024-08-01-101500", line | {"path": "gone\x1b[2J\u202e"})
            | {"2024-08-01-101500/extra\u202e": b"1"}
        )
        for form in ("text", "json"):
            said = datamover("verify", "--secret", secret, "-o", form, "latest")
            assert said.code == 1
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said.text + said.errors)
        assert {each["finding"] for each in said.document["findings"]} == {"missing", "extra"}
        assert {method for method, _ in store.seen} <= {"GET", "HEAD"}


def test_a_server_that_is_away_and_wrong_words_have_their_exit_codes(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    secret = write_secret(tmp_path / "secret.yaml", s3.secret())
    assert datamover("verify", "--secret", secret, "latest").code == 2
    for wrong in (
        ["--method", "sample"],
        ["--method", "size", "--sample", "5"],
        ["--sample", "0"],
        ["--sample", "101"],
    ):
        assert datamover("verify", "--secret", secret, *wrong, "latest").code == 2
    (container.data / "a").write_text("1")
    timestamped(container, 1)
    s3.stop()
    said = datamover("verify", "--secret", secret, "-o", "json", "latest", environ={"DATAMOVER_OUTAGE_LIMIT": "1"})
    assert said.code == said.document["exitCode"] == 3, said.errors


def test_what_cannot_be_read_back_is_named_and_where_nothing_can_be_it_is_no_finding(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    fill(container.data, {b"a": b"1", b"b": b"22", b"c": b"333"})
    timestamped(container, 1)
    denied = {"/b"}

    def rule(request: Request) -> Reply | None:
        path = request.path.partition("?")[0]
        return s3_error(403, "AccessDenied") if request.method == "GET" and path.endswith(tuple(denied)) else None

    with Answering(s3.port, rule) as store:
        secret = write_secret(tmp_path / "secret.yaml", s3.secret(BUCKET_PORT=str(store.port)))
        said = datamover("verify", "--secret", secret, "--method", "download", "latest")
        assert said.code == 4, said.errors
        assert said.text.startswith("? b  (it cannot be read back)\n")
        assert "2 read back (4 B) and by checksum, 1 by size alone" in said.text
        assert "AccessDenied" in said.errors
        assert "reading back" in said.errors
        denied |= {"/a", "/c"}
        said = datamover("verify", "--secret", secret, "--method", "download", "latest")
        assert (said.code, said.text) == (2, "")
        assert "AccessDenied" in said.errors


def test_a_server_that_hangs_while_it_is_read_from_ends_the_command(tmp_path: Path) -> None:
    over = threading.Event()
    with MemoryS3() as store:
        container = Container(tmp_path / "container", store.secret())
        fill(container.data, {b"a": b"1", b"b": b"22"})
        timestamped(container, 1)
        secret = write_secret(tmp_path / "secret.yaml", store.secret())
        hangs: list[str] = []

        def busy(method: str, key: str) -> None:
            if method == "GET" and key.startswith("2024"):
                hangs.append(key)
            if hangs:
                over.wait(60)

        store.busy = busy
        try:
            said = datamover(
                *("verify", "--secret", secret, "--method", "download", "latest"),
                environ={"DATAMOVER_OUTAGE_LIMIT": "2"},
            )
        finally:
            over.set()
        assert said.code == 3, said.errors
        assert "The server has not answered for" in said.errors
