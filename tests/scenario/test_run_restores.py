"""`datamover run` with DataMoverRestores, as its users run it: a process, real rclone, a real S3 server, files compared byte by byte."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.s3 import S3Server

API = "datamover.a-cup-of.coffee/v1alpha1"
BUCKET = {"bucket": {"secretName": "backup-credentials"}}
INTO_NEW = {"claimName": "app-restored", "create": {"storage": "1Gi"}}
INTO = {"claimName": "app-restored"}


@dataclass
class Desk:
    """A directory with a volume, a place to restore into, and a state directory."""

    place: Path
    secret: dict[str, Any]

    @property
    def source(self) -> Path:
        return self.place / "data"

    @property
    def target(self) -> Path:
        return self.place / "target"

    def run(self, *objects: dict[str, Any], arguments: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the document of the command; `code` is its exit code."""
        (self.place / "manifests.yaml").write_text(yaml.safe_dump_all([self.secret, *objects]))
        words = [sys.executable, "-m", "datamover.cli.main", "run", "--state", str(self.place / "state"), "-o", "json"]
        words += ["-f", str(self.place / "manifests.yaml"), *arguments]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
        assert ended.stdout, ended.stderr
        return {"code": ended.returncode, **json.loads(ended.stdout)}

    def back_up(self) -> None:
        mover = {
            "apiVersion": API,
            "kind": "DataMover",
            "metadata": {"name": "nightly"},
            "spec": {"sourcePvc": "app-data", "secretName": "backup-credentials", "deletePvcAfterBackup": True},
        }
        found = self.run(mover, arguments=("--volume", f"app-data={self.source}"))
        assert found["code"] == 0, found

    def restore(self, *, into: bool = False, name: str = "back", **spec: Any) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the status. `into`: the target stands for the claim."""
        target = {"target": INTO if into else INTO_NEW}
        asked = {
            "apiVersion": API,
            "kind": "DataMoverRestore",
            "metadata": {"name": name},
            "spec": {"source": BUCKET, **target, **spec},
        }
        volume = ("--volume", f"app-restored={self.target}") if into else ()
        found = self.run(asked, arguments=volume)
        (shown,) = found["dataMoverRestores"]
        return found["code"], shown["status"]

    def made(self) -> Path:
        """Return the directory of the one claim that was made."""
        (found,) = (self.place / "state" / "node" / "volumes").glob("pvc-*")
        return found


@pytest.fixture
def desk(tmp_path: Path, s3: S3Server) -> Desk:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "backup-credentials"},
        "stringData": s3.secret(),
    }
    found = Desk(tmp_path, secret)
    (found.source / "etc").mkdir(parents=True)
    found.target.mkdir()
    for index in range(10):
        (found.source / f"file-{index}.txt").write_text(f"content {index}")
    (found.source / "etc" / "app.conf").write_text("port = 80")
    (found.source / "file-1.txt").chmod(0o640)
    (found.source / "link").symlink_to("file-1.txt")
    return found


def tree(top: Path) -> dict[str, Any]:
    """Return what is below a directory: content and mode of files, where links lead."""
    return {
        str(path.relative_to(top)): path.readlink()
        if path.is_symlink()
        else (path.stat().st_mode, path.read_bytes() if path.is_file() else None)
        for path in sorted(top.rglob("*"))
    }


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_a_backup_comes_back_into_a_claim_that_is_made(desk: Desk) -> None:
    desk.back_up()

    code, status = desk.restore()

    assert code == 0, status
    assert status["phase"] == "Completed"
    assert tree(desk.made()) == tree(desk.source)
    told = conditions(status)
    assert told["Complete"] == ("True", "Completed")
    assert told["Verified"] == ("True", "Verified")
    assert told["CleanedUp"] == ("True", "CleanedUp")
    run = status["run"]
    assert (run["files"], run["target"]) == (11, "whole")
    assert run["point"]
    assert run["copied"]


def test_a_part_of_a_data_movers_backup_comes_back_into_a_directory(desk: Desk) -> None:
    desk.back_up()

    code, status = desk.restore(into=True, source={"dataMover": "nightly"}, path="etc")

    assert code == 0, status
    assert [str(path.relative_to(desk.target)) for path in sorted(desk.target.rglob("*"))] == ["etc", "etc/app.conf"]
    assert (desk.target / "etc" / "app.conf").read_text() == "port = 80"
    assert status["run"]["source"] == "default/app-data"


def test_what_is_not_empty_stays_as_it_is_unless_it_may_be_overwritten(desk: Desk) -> None:
    desk.back_up()
    (desk.target / "mine").write_text("mine")
    (desk.target / "file-2.txt").write_text("another")

    code, status = desk.restore(into=True)

    assert (code, status["phase"]) == (1, "Failed")
    assert conditions(status)["Restored"] == ("False", "TargetNotEmpty")
    assert sorted(path.name for path in desk.target.iterdir()) == ["file-2.txt", "mine"]

    code, status = desk.restore(into=True, overwrite=True)

    assert code == 0, status
    assert (desk.target / "mine").read_text() == "mine"
    assert (desk.target / "file-2.txt").read_text() == "content 2"


def claims(desk: Desk) -> list[str]:
    """Return the volumes that were made in the state directory and are still there."""
    return [path.name for path in (desk.place / "state" / "node" / "volumes").glob("pvc-*")]


def test_in_place_what_the_point_has_replaces_what_is_there_and_the_copy_goes(desk: Desk) -> None:
    desk.back_up()
    (desk.target / "mine").write_text("mine")
    (desk.target / "file-2.txt").write_text("another")

    code, status = desk.restore(into=True, inPlace=True)

    assert code == 0, status
    assert (status["phase"], status["run"]["target"]) == ("Completed", "whole")
    assert (desk.target / "mine").read_text() == "mine"
    assert (desk.target / "file-2.txt").read_text() == "content 2"
    assert status["run"]["safety"]["claimName"].startswith("safety-app-restored-")
    assert conditions(status)["CleanedUp"] == ("True", "CleanedUp")
    assert not claims(desk), "the copy is gone"


def test_in_place_a_restore_that_fails_leaves_the_claim_as_it_was(desk: Desk, s3: S3Server) -> None:
    desk.back_up()
    for number in (1, 2, 3):
        (desk.target / f"file-{number}.txt").write_text("before")
    (desk.target / "link").symlink_to("elsewhere")
    before = tree(desk.target)
    (s3.bucket() / "file-7.txt").write_bytes(b"content X")

    code, status = desk.restore(into=True, inPlace=True)

    assert (code, status["phase"]) == (1, "Failed"), status
    assert conditions(status)["Restored"] == ("False", "RestoredOtherwise")
    assert status["run"]["target"] == "rolled-back"
    assert "kept" not in status["run"]["safety"]
    assert "The directory is as it was before: it was rolled back from its safety copy." in status["message"]
    assert tree(desk.target) == before


@pytest.mark.parametrize(("word", "code", "reason"), [("Fail", 1, "PointNotFound"), ("Empty", 0, "NothingToRestore")])
def test_an_empty_bucket_is_missing_or_allowed(desk: Desk, word: str, code: int, reason: str) -> None:
    ended, status = desk.restore(into=True, onMissing=word)
    assert ended == code, status
    assert conditions(status)["Restored"][1] == reason
    assert not list(desk.target.iterdir())


def test_a_store_that_cannot_be_reached_is_never_missing(desk: Desk) -> None:
    desk.secret["stringData"] = {**desk.secret["stringData"], "AWS_SECRET_ACCESS_KEY": "wrong"}
    code, status = desk.restore(into=True, onMissing="Empty")
    assert (code, conditions(status)["Restored"][1]) == (1, "WrongCredentials")


def test_a_claim_that_is_not_there_is_told_with_the_way_out(desk: Desk) -> None:
    code, status = desk.restore(target=INTO)
    assert (code, conditions(status)["Stalled"]) == (3, ("True", "TargetNotFound"))
    assert "spec.target.create" in status["message"]


def test_a_word_that_names_no_point_is_told(desk: Desk) -> None:
    code, status = desk.restore(point="as-of:2024-02-31")
    assert (code, conditions(status)["Stalled"]) == (3, ("True", "InvalidSpec"))


def test_one_that_is_cancelled_has_a_code_of_its_own_and_runs_when_that_is_taken_back(desk: Desk) -> None:
    desk.back_up()
    code, status = desk.restore(into=True, cancel=True)
    assert (code, conditions(status)["Failed"]) == (5, ("True", "Cancelled"))
    assert status["message"].endswith("To try again: set spec.cancel to false, then run the same command.")
    assert not list(desk.target.iterdir())

    assert desk.restore(into=True, cancel=False)[0] == 0
    assert tree(desk.target) == tree(desk.source)
