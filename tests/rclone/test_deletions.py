"""That a mirror deletes nothing whose file is in its source, whatever the walk thought. Real engine, real servers."""

import contextlib
import gzip
import json
import os
import stat
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container
from support.s3 import S3Server, find_rclone, wait_for

SOURCE = str(Path(transfer.__file__).parents[2])


def fill(container: Container, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = container.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def before_the_copy(container: Container, commands: str) -> dict[str, str]:
    """Return variables with which these shell commands run in the source between the walk and the copy."""
    program = find_rclone()
    assert program
    wrapper = container.root / "engine"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in "copy "*"{container.data} "*) (cd "{container.data}" && {commands}) ;; esac\n'
        f'exec "{program}" "$@"\n'
    )
    wrapper.chmod(0o755)
    return {"DATAMOVER_RCLONE": str(wrapper)}


def failing_walk(container: Container, folder: str, error: str) -> dict[str, str]:
    """Return variables with which the agent, not the engine, fails to list this folder, as for a moment on a shaky disk."""
    place = container.root / "patched"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import errno, os\nreal = os.scandir\n"
        "def scandir(path='.'):\n"
        f"    if os.fsencode(path).endswith(b'/{folder}'):\n"
        f"        raise OSError(errno.{error}, os.strerror(errno.{error}))\n"
        "    return real(path)\n"
        "os.scandir = scandir\n"
    )
    return {"PYTHONPATH": f"{place}{os.pathsep}{SOURCE}"}


def manifest_of(server: S3Server, run: str) -> list[dict[str, object]]:
    raw = server.objects(records=True)[f".datamover/runs/{run}/manifest.jsonl.gz"]
    lines = [json.loads(line) for line in gzip.decompress(raw).splitlines()]
    return [line for line in lines if line.get("type") not in {"digest", "digests"}]


FILES = {"state.db": "one", "dir/x": "x", "gone": "gone", "a": "a", "b": "b"}


@pytest.mark.parametrize("content", ["one", "two, and longer"])
def test_a_live_file_that_is_replaced_by_its_application_stays(
    any_container: Container, any_s3: S3Server, content: str
) -> None:
    """Absent while we looked, there again for the engine, which finds it unchanged or moves it."""
    fill(any_container, FILES)
    assert any_container.run(DATAMOVER_COPY_METHOD="Direct").code == 0
    os.utime(any_container.data / "state.db", ns=(10**18, 10**18))
    for name in ("state.db", "gone"):
        (any_container.data / name).unlink()
    again = before_the_copy(any_container, f"printf '%s' '{content}' > state.db")
    ended = any_container.run(DATAMOVER_COPY_METHOD="Direct", DATAMOVER_RUN_ID="run-2", VERIFY_BACKUP="true", **again)
    assert ended.code == 0, ended.output
    assert any_s3.objects()["state.db"] == content.encode()
    assert "gone" not in any_s3.objects()
    assert ended.outcome.deleted == 1
    assert "1 object(s) stay" in ended.outcome.message
    assert "state.db" in ended.outcome.message
    entries = {entry.get("path"): entry for entry in manifest_of(any_s3, "run-2")}
    assert entries["state.db"]["type"] == "file"
    third = any_container.run(DATAMOVER_COPY_METHOD="Direct")
    assert third.code == 0, third.output
    assert (third.outcome.transferred_files, third.outcome.deleted) == (0, 0)


def test_a_copy_in_which_files_appear_is_not_trusted(container: Container, s3: S3Server) -> None:
    fill(container, FILES)
    assert container.run().code == 0
    for name in ("state.db", "gone"):
        (container.data / name).unlink()
    ended = container.run(**before_the_copy(container, "printf two > state.db"))
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
    ), ended.output
    assert outcome.retryable
    assert outcome.deleted == 0
    assert "state.db" in outcome.message
    assert set(s3.objects()) == set(FILES)
    again = container.run()
    assert again.code == 0, again.output
    assert set(s3.objects()) == set(FILES) - {"gone"}


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "ENOENT"])
def test_a_folder_that_the_walk_could_not_list_keeps_its_objects(
    container: Container, s3: S3Server, error: str
) -> None:
    fill(container, FILES)
    assert container.run().code == 0
    (container.data / "gone").unlink()
    (container.data / "a").write_text("changed")
    ended = container.run(VERIFY_BACKUP="true", **failing_walk(container, "dir", error))
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
    ), ended.output
    assert outcome.retryable
    assert ended.code in transfer.RETRYABLE_EXIT_CODES
    for word in ("1 path(s)", "'dir'", "nothing was deleted"):
        assert word in outcome.message
    assert set(s3.objects()) == set(FILES)
    assert s3.objects()["a"] == b"changed"
    assert container.run().outcome.deleted == 1
    assert set(s3.objects()) == set(FILES) - {"gone"}


def test_a_live_folder_that_vanishes_from_the_walk_alone_keeps_its_objects(container: Container, s3: S3Server) -> None:
    fill(container, FILES)
    live = {"DATAMOVER_COPY_METHOD": "Direct"}
    assert container.run(**live).code == 0
    (container.data / "gone").unlink()
    ended = container.run(**live, **failing_walk(container, "dir", "ENOENT"))
    assert ended.code == 0, ended.output
    assert set(s3.objects()) == set(FILES) - {"gone"}
    assert ended.outcome.deleted == 1
    assert "dir/x" in ended.outcome.message
    after = container.run(**live)
    assert after.code == 0, after.output
    assert set(s3.objects()) == set(FILES) - {"gone"}


def test_what_changed_its_kind_does_not_hold_a_frozen_copy_up(any_container: Container, any_s3: S3Server) -> None:
    data = any_container.data
    fill(any_container, {name: name for name in ("file", "d/x", "became-pipe", "one", "two", "three", "four", "five")})
    (data / "link").symlink_to("one")
    assert any_container.run().code == 0
    (data / "file").unlink()
    (data / "file").symlink_to("one")
    (data / "d").rename(data / "moved")
    (data / "d").symlink_to("moved")
    (data / "became-pipe").unlink()
    os.mkfifo(data / "became-pipe")
    (data / "link").unlink()
    (data / "link").write_text("a file now")
    ended = any_container.run()
    assert ended.code == 0, ended.output
    assert set(any_s3.objects()) == {
        *("file.rclonelink", "d.rclonelink", "moved/x", "link", "one", "two", "three", "four", "five")
    }
    assert ended.outcome.deleted == 4


def test_lost_and_found_of_an_adopted_mirror_stays(container: Container, s3: S3Server) -> None:
    s3.put({"lost+found/found": "1", "keep": "1"})
    fill(container, {"keep": "1", "lost+found/found": "1"})
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert adopted.code == 0, adopted.output
    assert container.run().code == 0
    assert set(s3.objects()) == {"keep", "lost+found/found"}


def test_what_filters_leave_out_may_be_unreadable(container: Container, s3: S3Server) -> None:
    fill(container, {"secret/key": "1", "a": "1", "b": "2", "c": "3"})
    assert container.run(RCLONE_EXCLUDE="/secret/**").code == 0
    (container.data / "c").unlink()
    ended = container.run(RCLONE_EXCLUDE="/secret/**", **failing_walk(container, "secret", "EACCES"))
    assert ended.code == 0, ended.output
    assert ended.outcome.deleted == 1
    assert set(s3.objects()) == {"a", "b"}


# --- the share that may be lost -----------------------------------------------------------------------------------------


def test_a_volume_that_was_made_anew_does_not_replace_its_mirror(container: Container, s3: S3Server) -> None:
    fill(container, {f"db{number}": "data" * number for number in range(1, 21)})
    assert container.run().code == 0
    before = s3.objects()
    for path in container.data.iterdir():
        path.unlink()
    fill(container, {f"fresh{number}": "init" for number in range(21)})
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_SOURCE_SHRUNK
    for word in (
        "the files of 20 (100 %) are gone",
        "50 % is allowed",
        "spec.guards.maxDeletePercent",
        "Nothing was moved or deleted",
    ):
        assert word in ended.outcome.message
    assert s3.objects() == before
    assert container.run(DATAMOVER_MAX_DELETE_PERCENT="99").outcome.reason == transfer.REASON_SOURCE_SHRUNK
    allowed = container.run(DATAMOVER_MAX_DELETE_PERCENT="100")
    assert allowed.code == 0, allowed.output
    assert len(s3.objects()) == 21


def test_files_that_were_all_emptied_do_not_empty_their_objects(container: Container, s3: S3Server) -> None:
    fill(container, {f"f{number}": "data" for number in range(10)} | {"always-empty": ""})
    assert container.run().code == 0
    for number in range(10):
        (container.data / f"f{number}").write_text("")
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_SOURCE_SHRUNK
    assert "those of 10 have shrunk to less than a tenth" in ended.outcome.message
    assert s3.objects()["f0"] == b"data"


def test_a_renamed_folder_is_finished_by_a_later_attempt(container: Container, s3: S3Server) -> None:
    """The first one had moved the new names and was ended before it deleted the old ones."""
    fill(container, {f"old/{number}": str(number) for number in range(10)})
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    (container.data / "old").rename(container.data / "new")
    (container.data / "late").mkdir()
    failed = container.run(DATAMOVER_RUN_ID="run-2", **failing_walk(container, "late", "EIO"))
    assert failed.outcome.reason == transfer.REASON_SOURCE_UNREADABLE
    assert len(s3.objects()) == 20
    ended = container.run(DATAMOVER_RUN_ID="run-3")
    assert ended.code == 0, ended.output
    assert set(s3.objects()) == {f"new/{number}" for number in range(10)}


# --- whose it is --------------------------------------------------------------------------------------------------------


def test_two_volumes_without_a_name_are_not_one_owner(container: Container, s3: S3Server) -> None:
    nameless = dict.fromkeys(("DATAMOVER_OWNER_PVC", "DATAMOVER_OWNER_NAMESPACE", "DATAMOVER_OWNER_CLUSTER"))
    fill(container, FILES)
    ended = container.run(**nameless)
    assert (ended.outcome.failure_class, ended.outcome.reason) == (
        transfer.CONFIG,
        transfer.REASON_INVALID_CONFIGURATION,
    )
    assert "say whose volume this is" in ended.outcome.message
    assert s3.objects(records=True) == {}
    stamped = container.run(ADD_TIMESTAMP_PREFIX="true", **nameless)
    assert stamped.code == 0, stamped.output


def test_a_marker_without_a_name_is_nobodys(container: Container, s3: S3Server) -> None:
    fill(container, FILES)
    assert container.run().code == 0
    s3.put({".datamover/owner.json": '{"version":1,"cluster":"","namespace":"","pvc":""}'})
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_DESTINATION_NOT_OWNED
    assert "names no volume" in ended.outcome.message
    adopted = container.run(DATAMOVER_ADOPT_DESTINATION="true")
    assert adopted.code == 0, adopted.output
    assert container.run().code == 0


def test_the_engine_is_what_runs_in_these_tests(container: Container) -> None:
    """The wrapper above must be one that the agent really starts."""
    variables = before_the_copy(container, "touch marked")
    assert stat.S_IMODE(os.stat(variables["DATAMOVER_RCLONE"]).st_mode) == 0o755
    fill(container, {"a": "1"})
    container.run(**variables)
    assert (container.data / "marked").exists()


# --- two runs at once ---------------------------------------------------------------------------------------------------


def held_at(container: Container, words: str) -> tuple[dict[str, str], Path, Path]:
    """Return variables with which the engine waits before a command that begins so; what it makes then, and what it waits for."""
    program = find_rclone()
    assert program
    there, go = container.root / "there", container.root / "go"
    wrapper = container.root / "held"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in "{words}"*) touch "{there}"; while [ ! -f "{go}" ]; do sleep 0.05; done ;; esac\n'
        f'exec "{program}" "$@"\n'
    )
    wrapper.chmod(0o755)
    return {"DATAMOVER_RCLONE": str(wrapper)}, there, go


@pytest.mark.parametrize(("moment", "deleted"), [("check ", 0), ("delete ", 1)])
def test_a_run_that_begins_while_another_one_verifies_or_deletes_is_noticed_by_it(
    container: Container, s3: S3Server, moment: str, deleted: int
) -> None:
    """The older one knows a clone without `gone`; the newer one finds it, unchanged, and ends before the older one deletes."""
    fill(container, FILES)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    newer = Container(container.root / "newer", dict(container.environment))
    fill(newer, FILES)
    (container.data / "gone").unlink()
    held, there, go = held_at(container, moment)
    with container.start(DATAMOVER_RUN_ID="older", VERIFY_BACKUP="true", **held) as running:
        wait_for(there.exists)
        ended = newer.run(DATAMOVER_RUN_ID="newer", VERIFY_BACKUP="true", DATAMOVER_GRACE_PERIOD="1")
        assert ended.code == 0, ended.output
        go.touch()
        outcome = running.wait().outcome
    assert (outcome.reason, outcome.retryable, outcome.deleted) == (transfer.REASON_DESTINATION_BUSY, True, deleted)
    assert "'newer'" in outcome.message
    assert ("Nothing was deleted" in outcome.message) == (not deleted)
    assert ("gone" in s3.objects()) == (not deleted)


def test_what_stands_in_the_way_does_not_go_beside_another_run(container: Container, s3: S3Server) -> None:
    """The other one runs after this one has uploaded its intent, and before its first deletion."""
    fill(container, FILES)
    assert container.run(DATAMOVER_RUN_ID="run-1").code == 0
    newer = Container(container.root / "newer", dict(container.environment))
    fill(newer, FILES)
    (container.data / "a").unlink()
    fill(container, {"a/inner": "1"})
    there, go, place = container.root / "there", container.root / "go", container.root / "patched"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import os, time\nfrom datamover.agent.rclone.ledger import Ledger\nreal = Ledger.blockers\n"
        "def blockers(self):\n"
        f"    open({str(there)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(go)!r}):\n        time.sleep(0.05)\n"
        "    return real(self)\n"
        "Ledger.blockers = blockers\n"
    )
    held = {"PYTHONPATH": f"{place}{os.pathsep}{SOURCE}"}
    with container.start(DATAMOVER_RUN_ID="older", **held) as running:
        wait_for(there.exists)
        assert newer.run(DATAMOVER_RUN_ID="newer", DATAMOVER_GRACE_PERIOD="1").code == 0
        go.touch()
        outcome = running.wait().outcome
    assert (outcome.reason, outcome.deleted) == (transfer.REASON_DESTINATION_BUSY, 0), outcome.message
    assert s3.objects()["a"] == b"a"


# --- a live source, between the look and the copy -------------------------------------------------------------------------

DIRECT = {"DATAMOVER_COPY_METHOD": "Direct"}
MANY = {f"f{number}": "x" for number in range(10)}


@pytest.mark.parametrize("commands", ["rm app.log", "mv app.log app.log.1"])
def test_a_changed_file_that_goes_meanwhile_leaves_a_mirror_that_goes_on(
    container: Container, s3: S3Server, commands: str
) -> None:
    fill(container, MANY | {"app.log": "old"})
    assert container.run(DATAMOVER_RUN_ID="run-1", **DIRECT).code == 0
    fill(container, {"app.log": "longer now"})
    ended = container.run(DATAMOVER_RUN_ID="run-2", **DIRECT, **before_the_copy(container, commands))
    assert ended.code == 0, ended.output
    assert "1 file(s) vanished from the live source" in ended.outcome.message
    assert s3.objects()["app.log"] == b"old", "its last copy stays until a run has asked its guards"
    fill(container, {"new": "n"})
    third = container.run(DATAMOVER_RUN_ID="run-3", **DIRECT)
    assert third.code == 0, third.output
    assert set(s3.objects()) == {path.name for path in container.data.iterdir()}


def test_a_live_run_that_was_killed_after_it_had_moved_more_than_announced_is_followed_by_one_that_works(
    container: Container, s3: S3Server
) -> None:
    fill(container, MANY)
    assert container.run(DATAMOVER_RUN_ID="run-1", **DIRECT).code == 0
    program, moved = find_rclone(), container.root / "moved"
    wrapper = container.root / "killed"
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in "copy "*"{container.data} "*)\n'
        f'echo t > "{container.data}/tmp.new"; echo 1 > "{container.data}/x.log"\n'
        f'"{program}" "$@"; touch "{moved}"; exec sleep 30 ;; esac\nexec "{program}" "$@"\n'
    )
    wrapper.chmod(0o755)
    with container.start(DATAMOVER_RUN_ID="run-2", DATAMOVER_RCLONE=str(wrapper), **DIRECT) as running:
        wait_for(moved.exists)
        children = running.children()
        running.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, 9)
    assert "tmp.new" in s3.objects()
    (container.data / "tmp.new").unlink()
    fill(container, {"x.log": "grown since"})
    for run in ("run-2", "run-3"):
        ended = container.run(DATAMOVER_RUN_ID=run, **DIRECT)
        assert ended.code == 0, ended.output
        assert s3.objects()["x.log"] == b"grown since"
        assert s3.objects()["tmp.new"] == b"t\n", "nobody knows whose it is"
        assert "1 object(s) came to the mirror" in ended.outcome.message


# --- a copy in which nothing may change -------------------------------------------------------------------------------------


def test_a_file_that_goes_from_a_clone_before_it_is_copied_fails_the_run(container: Container, s3: S3Server) -> None:
    fill(container, FILES)
    assert container.run().code == 0
    fill(container, {"new": "important"})
    ended = container.run(**before_the_copy(container, "rm new"))
    outcome = ended.outcome
    assert (ended.code, outcome.reason, outcome.retryable) == (50, transfer.REASON_VERIFICATION_FAILED, True)
    assert "new (missing; its file is gone from the copy of the volume)" in outcome.message
    assert set(s3.objects()) == set(FILES)


def test_a_file_named_like_a_link_is_refused_before_anything_is_moved(container: Container, s3: S3Server) -> None:
    fill(container, {"x.rclonelink": "real", "a": "a"})
    outcome = container.run().outcome
    assert outcome.reason == transfer.REASON_NAME_REFUSED
    assert "x.rclonelink" in outcome.message
    assert s3.objects() == {}
    ended = container.run(RCLONE_EXCLUDE="*.rclonelink")
    assert ended.code == 0, ended.output
    assert set(s3.objects()) == {"a"}


# --- mirrors of few files, and files that look like others -----------------------------------------------------------------


def test_a_few_disks_are_not_swept_for_one_larger(container: Container, s3: S3Server) -> None:
    fill(container, {f"disk-{letter}.img": letter * 100 for letter in "abcdefghi"})
    assert container.run().code == 0
    before = s3.objects()
    for path in container.data.iterdir():
        path.unlink()
    fill(container, {"everything.img": "x" * 5000})
    ended = container.run()
    assert ended.outcome.reason == transfer.REASON_SOURCE_SHRUNK, ended.output
    for word in (
        "the files of 9 (100 %), with 900 bytes (100 %), are gone",
        "50 % is allowed",
        "spec.guards.maxDeletePercent",
    ):
        assert word in ended.outcome.message
    assert s3.objects() == before
    allowed = container.run(DATAMOVER_MAX_DELETE_PERCENT="100")
    assert (allowed.code, allowed.outcome.deleted) == (0, 9), allowed.output


@pytest.mark.parametrize("kept", [1, 3, 7])
def test_dumps_that_are_named_by_their_day_come_and_go(container: Container, s3: S3Server, kept: int) -> None:
    fill(container, {f"dump-2024-08-{day:02}.sql": f"of day {day}" * 20 for day in range(1, kept + 1)})
    assert container.run().code == 0
    for day in range(kept + 1, kept + 4):
        fill(container, {f"dump-2024-08-{day:02}.sql": f"of day {day}" * 20})
        (container.data / f"dump-2024-08-{day - kept:02}.sql").unlink()
        ended = container.run()
        assert (ended.code, ended.outcome.deleted) == (0, 1), ended.output
    assert set(s3.objects()) == {path.name for path in container.data.iterdir()}


def test_files_of_the_same_sizes_and_names_are_not_taken_for_renamed_ones(
    any_container: Container, any_s3: S3Server
) -> None:
    fill(any_container, {f"vm-{number}/disk.img": f"contents {number:02}" for number in range(30)})
    assert any_container.run().code == 0
    before = any_s3.objects()
    for number in range(30):
        (any_container.data / f"vm-{number}/disk.img").unlink()
        (any_container.data / f"vm-{number}").rmdir()
    fill(any_container, {f"other-{number}/disk.img": f"emptied  {number:02}" for number in range(30)})
    ended = any_container.run()
    assert ended.outcome.reason == transfer.REASON_SOURCE_SHRUNK, ended.output
    assert "the files of 30 (100 %) are gone, not renamed" in ended.outcome.message
    assert any_s3.objects() == before


def test_renamed_files_are_known_by_their_checksums(any_container: Container, any_s3: S3Server) -> None:
    data = any_container.data
    fill(
        any_container, {f"old/{number}": f"contents {number}" for number in range(12)} | {"old/empty": "", "keep": "k"}
    )
    (data / "old/link").symlink_to("0")
    open(os.path.join(os.fsencode(data), b"old/bad\xff"), "w").close()
    (data / "old/large").write_bytes(os.urandom(9 << 20))
    parts = {"RCLONE_S3_UPLOAD_CUTOFF": "5M"}
    assert any_container.run(**parts).code == 0
    (data / "old").rename(data / "new")
    for number, path in enumerate((data / "new").iterdir()):
        if not path.is_symlink():
            os.utime(path, ns=(number, number))  # as after a copy
    ended = any_container.run(**parts)
    assert (ended.code, ended.outcome.deleted) == (0, 16), ended.output
    assert not [key for key in any_s3.objects() if key.startswith("old/")]
