"""`datamover points`, `ls`, `cat`, `get` and `diff` as their users run them: processes, a real S3 server, runs of the real agent."""

import os
from pathlib import Path

import pytest

from rclone.test_points import mirror, timestamped
from support.agent import Container
from support.answering import Answering, Request, s3_error, web_page
from support.points import Said, datamover, forge, write_secret
from support.s3 import S3Server

READS = frozenset({"GET", "HEAD"})


@pytest.fixture
def secret(tmp_path: Path, s3: S3Server) -> Path:
    return write_secret(tmp_path / "secret.yaml", s3.secret())


def test_a_bucket_and_its_key_are_enough(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "a.txt").write_text("first")
    (container.data / "b.txt").write_text("first")
    first = timestamped(container, 1)
    second = timestamped(container, 2)

    said = datamover("points", "--secret", secret)
    assert said.code == 0, said.errors
    assert [line.split()[:4] for line in said.text.splitlines()[1:]] == [
        ["2024-08-02-101500", "complete", "timestamped", "production/app-data"],
        ["2024-08-01-101500", "complete", "timestamped", "production/app-data"],
    ]
    document = datamover("points", "--secret", secret, "-o", "json").document
    assert [point["run"] for point in document["points"]] == [second, first]
    assert document["points"][0]["files"] == 2


def test_files_are_listed_and_printed(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "sub").mkdir()
    (container.data / "sub/a.txt").write_text("first")
    (container.data / "b.bin").write_bytes(os.urandom(3 << 20))
    run_id = timestamped(container, 1)
    said = datamover("ls", "--secret", secret, "latest")
    assert [line.split()[-1] for line in said.text.splitlines()] == ["b.bin", "sub"]
    assert "-rw-r--r--" in said.text
    listed = datamover("ls", "-R", "-o", "json", "--secret", secret, run_id).document
    assert [entry["path"] for entry in listed["paths"]] == ["b.bin", "sub", "sub/a.txt"]

    assert datamover("cat", "--secret", secret, run_id, "sub/a.txt").output == b"first"
    assert datamover("cat", "--secret", secret, "as-of:2024-08-01", "/sub/a.txt").output == b"first"
    assert datamover("cat", "--secret", secret, "latest", "b.bin").output == (container.data / "b.bin").read_bytes()


@pytest.mark.timeout(200)
def test_points_are_brought_and_compared(container: Container, s3: S3Server, secret: Path, tmp_path: Path) -> None:
    (container.data / "sub").mkdir()
    (container.data / "sub/a.txt").write_text("first")
    first = timestamped(container, 1)
    (container.data / "sub/a.txt").write_text("second")
    timestamped(container, 2)
    said = datamover("get", "--secret", secret, "latest", ".", tmp_path / "whole")
    assert said.code == 0, said.errors
    assert (tmp_path / "whole/sub/a.txt").read_text() == "second"
    again = datamover("get", "--secret", secret, "latest", "sub/a.txt", tmp_path / "whole/sub", "-o", "json")
    assert again.code == 2
    assert "--overwrite" in again.document["error"]

    said = datamover("diff", "--secret", secret, first, "latest")
    assert (said.code, said.text) == (1, "~ sub/a.txt  (contents, time)\n")
    assert "1 changed" in said.errors
    assert datamover("diff", "--contents", "--secret", secret, "latest", tmp_path / "whole").code == 0
    changed = datamover("diff", "-o", "json", "--contents", "--secret", secret, first, f"{tmp_path}/whole")
    assert changed.document["exitCode"] == changed.code == 1
    assert [each["after"]["path"] for each in changed.document["changes"]] == ["sub/a.txt"]


def test_equal_different_and_not_comparable_have_codes_of_their_own(s3: S3Server, secret: Path, tmp_path: Path) -> None:
    lines = [
        {"type": "file", "path": "plain", "size": 1, "mtime": 10**9, "mode": 0o644},
        {"type": "fifo", "path": "pipe", "skipped": "special"},
        {"type": "skipped", "path": "lost+found", "skipped": "lost+found"},
    ]
    run_id = "20240801101500-copy"
    s3.put(forge(run_id, "2024-08-01-101500", *lines) | {"2024-08-01-101500/plain": b"x"})
    target = tmp_path / "target"
    target.mkdir()
    (target / "plain").write_text("y")
    os.utime(target / "plain", ns=(10**9,) * 2)

    def diff(*more: str) -> Said:
        return datamover("diff", "--contents", "--secret", secret, run_id, f"{target}/", *more)

    said = diff()
    assert (said.code, said.text) == (4, "")
    assert "of 1 file only size and time were compared" in said.errors
    assert "special (1 path): 'pipe'" in said.errors
    told = diff("-o", "json").document
    assert (told["exitCode"], told["result"], told["comparedBySizeAndTime"], told["notCompared"]) == (
        *(4, "unproved"),
        *(1, 0),
    )
    assert told["skipped"] == [{"kind": "special", "count": 1, "examples": ["pipe"]}]
    os.utime(target / "plain", ns=(2 * 10**9,) * 2)
    assert (diff().code, diff().text) == (4, "? plain  (perhaps contents)\n")

    sum_of_x = "9dd4e461268c8034f5c8564e155c67a6"
    proof = [{"type": "digest", "path": "plain", "md5": sum_of_x}, {"type": "digests", "entries": 1}]
    s3.put(forge(run_id, "2024-08-01-101500", *lines, *proof))
    assert (diff().code, diff().text) == (1, "~ plain  (contents)\n")
    (target / "plain").write_text("x")
    told = diff("-o", "json").document
    assert (told["exitCode"], told["result"], told["changes"]) == (0, "equal", [])


def test_keys_that_may_only_read_suffice_and_nothing_is_written(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "a.txt").write_text("a")
    mirror(container, 1)
    before = s3.objects(records=True)

    def refuse_writing(request: Request):
        return None if request.method in READS else s3_error(403, "AccessDenied")

    with Answering(s3.port, refuse_writing) as proxy:
        secret = write_secret(tmp_path / "secret.yaml", s3.secret(BUCKET_PORT=str(proxy.port)))
        for arguments in (
            ["points"],
            ["ls", "latest"],
            ["cat", "latest", "a.txt"],
            ["get", "latest", "a.txt", tmp_path / "target"],
            ["diff", "--contents", "latest", f"{tmp_path}/target"],
        ):
            said = datamover(arguments[0], "--secret", secret, *arguments[1:])
            assert said.code == 0, (arguments, said.errors)
        methods = {request.method for request in proxy.requests}
    assert methods <= READS
    assert s3.objects(records=True) == before


def test_a_secret_in_any_form_and_the_environment_say_where_the_bucket_is(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "a.txt").write_text("a")
    mirror(container, 1, CUSTOM_PATH_PREFIX="shop")
    encoded = write_secret(tmp_path / "data.yaml", s3.secret(CUSTOM_PATH_PREFIX="shop"), data=True)
    plain = write_secret(tmp_path / "plain.yaml", s3.secret())
    wrong = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "BUCKET_NAME": "other", "AWS_PROFILE": "z"}
    assert datamover("cat", "--secret", encoded, "latest", "a.txt", environ=wrong).output == b"a"
    assert datamover("cat", "--secret", plain, "--prefix", "shop", "latest", "a.txt").output == b"a"
    assert datamover("cat", "--prefix", "shop", "latest", "a.txt", environ=s3.secret()).output == b"a"
    said = datamover("points", "--secret", plain)
    assert (said.code, said.text) == (0, "backups: no backup here\n")
    said = datamover("points")
    assert said.code == 2
    assert "BUCKET_NAME is not set; put it into the Secret that --secret names, or into the environment" in said.errors


def test_two_volumes_ask_for_the_source(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "a.txt").write_text("a")
    timestamped(container, 1)
    timestamped(container, 2, DATAMOVER_OWNER_PVC="other")
    said = datamover("ls", "--secret", secret, "latest", "-o", "json")
    assert (said.code, said.document["reason"]) == (2, "PointAmbiguous")
    assert datamover("ls", "--secret", secret, "--source", "production/other", "latest").code == 0


def test_what_the_state_of_each_run_is_and_why(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "a.txt").write_text("one")
    first = mirror(container, 1)
    (container.data / "a.txt").write_text("two!")
    second = mirror(container, 2)
    s3.put(
        {
            ".datamover/runs/20240803143052-later/manifest.jsonl.gz": b"x",
            ".datamover/runs/20240803143052-later/mirror-000000003": b"",
        }
    )
    copy = timestamped(container, 4)
    s3.put({f".datamover/runs/{copy}/outcome.json": b"{}"})
    points = datamover("points", "--secret", secret, "-o", "json").document["points"]
    assert {point["run"]: point["state"] for point in points} == {
        first: "superseded",
        second: "disturbed",
        "20240803143052-later": "incomplete",
        copy: "damaged",
    }
    assert all(point["why"] for point in points)
    said = datamover("ls", "--secret", secret, "latest")
    assert said.code == 2
    assert "--disturbed" in said.errors
    said = datamover("cat", "--secret", secret, "--disturbed", "latest", "a.txt")
    assert (said.code, said.output) == (0, b"two!")
    said = datamover("diff", "--secret", secret, "--disturbed", "latest", "latest")
    assert (said.code, said.text) == (0, "")
    assert said.errors.count(f"note: the run {copy} is passed over") == 1
    said = datamover("cat", "--secret", secret, copy, "a.txt")
    assert said.code == 2
    assert "is damaged: its outcome.json cannot be used" in said.errors


def test_a_file_that_was_replaced_since_ends_with_one(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "a.txt").write_text("12345")
    timestamped(container, 1)
    s3.put({"2024-08-01-101500/a.txt": "123456"})
    said = datamover("cat", "--secret", secret, "latest", "a.txt")
    assert said.code == 1
    assert "longer than the 5 bytes" in said.errors


BAD = {
    "wrong key": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 2, "WrongCredentials"),
    "no bucket": ({"BUCKET_NAME": "nothing-there"}, 2, "BucketNotFound"),
    "https to http": ({"TLS_HOST": "true"}, 2, "TLSMismatch"),
    "no server": ({"BUCKET_PORT": "1", "DATAMOVER_OUTAGE_LIMIT": "2"}, 3, "ServerUnreachable"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_the_way_to_the_bucket_is_one_sentence(s3: S3Server, tmp_path: Path, case: str) -> None:
    changes, code, reason = BAD[case]
    secret = write_secret(tmp_path / "secret.yaml", s3.secret(**changes))
    said = datamover("points", "--secret", secret, "-o", "json", environ={"DATAMOVER_OUTAGE_LIMIT": "2"})
    assert (said.code, said.document["reason"]) == (code, reason), said.errors
    assert said.errors.count("datamover points:") == 1
    assert s3.secret_key not in said.errors


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_web_page_instead_of_a_store_is_told(s3: S3Server, tmp_path: Path, status: int) -> None:
    with Answering(s3.port, lambda _: web_page(status)) as proxy:
        secret = write_secret(tmp_path / "secret.yaml", s3.secret(BUCKET_PORT=str(proxy.port)))
        said = datamover("points", "--secret", secret, "-o", "json", environ={"DATAMOVER_OUTAGE_LIMIT": "2"})
    assert said.code in {2, 3}
    assert said.document["reason"] in {"NotAnS3Server", "ServerError", "BucketNotFound"}, said.errors


def test_paths_that_are_not_there_or_no_files_are_told(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "sub").mkdir()
    (container.data / "sub/a.txt").write_text("a")
    os.symlink("sub", container.data / "link")
    timestamped(container, 1)
    for command, path in (
        ("ls", "none"),
        ("cat", "none"),
        ("cat", "sub"),
        ("cat", "link"),
        ("ls", "../x"),
        ("cat", "sub/../sub/a.txt"),
    ):
        said = datamover(command, "--secret", secret, "latest", path)
        assert said.code == 2, (command, path)
        assert "Traceback" not in said.errors
        assert "no path" in said.errors or "is no file" in said.errors


def test_points_and_paths_are_completed(container: Container, s3: S3Server, secret: Path) -> None:
    (container.data / "sub").mkdir()
    (container.data / "sub/a.txt").write_text("a")
    timestamped(container, 1)

    def complete(*words: str) -> list[str]:
        line = " ".join(["datamover", *words])
        shell = {"_DATAMOVER_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        return [each.partition(",")[2] for each in datamover(environ=shell).text.split()]

    assert complete("ls", "--secret", str(secret), "2024") == ["2024-08-01-101500"]
    assert complete("ls", "--secret", str(secret), "la") == ["latest"]
    assert complete("cat", "--secret", str(secret), "latest", "s") == ["sub/"]
    assert complete("cat", "--secret", str(secret), "latest", "sub/") == ["sub/a.txt"]
    assert complete("ls", "--secret", "/nothing", "la") == ["latest"]
    assert complete("ls", "--secret", "/nothing", "2024") == []
