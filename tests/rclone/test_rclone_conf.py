"""The rclone mover of ReplicationSources and ReplicationDestinations, with the real engine, a directory and a faithful server."""

import os
import re
import stat
from pathlib import Path

import pytest

from datamover.api import transfer
from support.fidelity import fingerprint
from support.rclone_conf import Mover, Place, fill, local_place, place
from support.s3 import wait_for

__all__ = ["place"]

ACLS = "permissions.facl"


def comparable(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Return all that a cycle keeps: everything but links, and the times of folders, which a store of objects has not."""
    return {
        name: (kept.mode, kept.uid, kept.gid, kept.content, kept.attributes, stat.S_ISDIR(kept.mode) or kept.mtime)
        for name, kept in fingerprint(root).items()
        if not name.startswith(b"lost+found")
    }


def test_a_cycle_brings_back_contents_modes_owners_acls_and_empty_folders(tmp_path: Path, place: Place) -> None:
    source = Mover(tmp_path / "source", place, source=True)
    fill(source.data)
    sent = source.run()
    assert sent.code == 0, sent.output
    assert set(place.files()) >= {"a.txt", "dir/b c.txt", "none", ACLS}
    assert not any(name.startswith(("lost+found", ".datamover")) for name in place.files())
    assert sent.outcome.reason == "Succeeded"
    assert (sent.outcome.files, sent.outcome.transferred_files) == (4, 5 - 1)
    assert sent.outcome.engine.startswith("rclone v1.")
    assert sent.outcome.destination == f"store:{place.path}/"
    assert [line.split(":")[0].split(" in ")[0] for line in sent.outcome.log.splitlines()][-2:] == [
        "Elapsed time",
        "Rclone completed",
    ]
    assert "Transferred:" in sent.outcome.log
    assert "Transferred:" in sent.said
    assert {each.phase for each in sent.progress} >= {transfer.WALKING, transfer.SYNCING, transfer.RECORDING}

    back = Mover(tmp_path / "destination", place, source=False)
    (back.data / "stale").write_text("goes")
    received = back.run()
    assert received.code == 0, received.output
    assert "not restored" not in received.outcome.message
    assert received.outcome.deleted == 1
    assert comparable(back.data) == comparable(source.data)


def test_a_second_sync_deletes_what_is_gone_and_moves_only_what_changed(tmp_path: Path, place: Place) -> None:
    source = Mover(tmp_path / "source", place, source=True)
    for name in ("a", "b", "c/d"):
        path = source.data / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert source.run().code == 0
    place.put("by-hand")
    (source.data / "a").unlink()
    (source.data / "b").write_text("B")
    second = source.run()
    assert second.code == 0
    assert set(place.files()) == {"b", "c/d", ACLS}
    assert place.files()["b"] == b"B"
    assert (second.outcome.transferred_files, second.outcome.deleted) == (1, 2)
    assert "# file: data/c/d\n" in place.files()[ACLS].decode()


def test_a_half_restored_volume_is_refused(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    make(there.folder, ["good"])
    source = Mover(tmp_path / "source", there, source=True)
    make(source.data, [".datamover-restore/marker.json", "half"])
    outcome = source.run().outcome
    assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_SOURCE_UNFINISHED)
    assert set(there.files()) == {"good"}


GUARDED = [
    # what the volume has, what the remote has, allowed, whether it is refused
    ([], ["x"], False, True),
    ([], ["x"], True, False),
    ([], [], False, False),
    ([], [ACLS], False, False),
    (["folder/"], ["x"], False, True),
    (["lost+found/x"], ["deep/x"], False, True),
    (["a"], ["x", "y", "z"], False, False),
    ([ACLS, "lost+found/x"], ["x"], False, True),
]


@pytest.mark.parametrize(("volume", "remote", "allowed", "refused"), GUARDED)
def test_nothing_never_replaces_something_on_the_way_out(
    tmp_path: Path, volume: list[str], remote: list[str], allowed: bool, refused: bool
) -> None:
    there = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", there, source=True)
    make(source.data, volume)
    make(there.folder, remote)
    ended = source.run(DATAMOVER_ALLOW_EMPTY_SOURCE="true" if allowed else "false")
    if not refused:
        assert ended.code == 0, ended.output
        kept = {name for name in volume if not name.endswith("/") and not name.startswith("lost+found")}
        assert set(there.files()) == kept | {ACLS}
        return
    assert ended.outcome.reason == "EmptySource"
    assert ended.outcome.failure_class == "guard"
    assert "allow-empty-source to true on the ReplicationSource" in ended.outcome.message
    assert "would delete all of them" in ended.outcome.log
    assert set(there.files()) == set(remote)


@pytest.mark.parametrize(
    ("volume", "remote", "allowed", "refused"),
    [
        (["x"], [], False, True),
        (["x"], [ACLS], False, True),
        (["x"], [], True, False),
        (["lost+found/"], [], False, False),
        (["x"], ["y"], False, False),
    ],
)
def test_nothing_never_replaces_something_on_the_way_back(
    tmp_path: Path, volume: list[str], remote: list[str], allowed: bool, refused: bool
) -> None:
    there = local_place(tmp_path / "remote")
    back = Mover(tmp_path / "destination", there, source=False)
    make(back.data, volume)
    make(there.folder, remote)
    ended = back.run(DATAMOVER_ALLOW_EMPTY_SOURCE="true" if allowed else "false")
    found = {str(path.relative_to(back.data)) for path in back.data.rglob("*") if path.is_file()}
    if refused:
        assert ended.outcome.reason == "EmptySource"
        assert "on the ReplicationDestination" in ended.outcome.message
        assert found == set(volume)
    else:
        assert ended.code == 0, ended.output
        assert found == {name for name in remote if name != ACLS}


def make(root: Path, names: list[str]) -> None:
    for name in names:
        path = root / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(name)


WRONG_SECRET = "wrong-secret-0123456789"


def test_wrong_keys_are_told_as_such_and_no_secret_is_anywhere(tmp_path: Path, place: Place) -> None:
    if place.options["type"] == "local":
        pytest.skip("a directory has no keys")
    place.options["secret_access_key"] = WRONG_SECRET
    place.options["session_token"] = '{"access_token": "inner-token-0123456789"}'
    source = Mover(tmp_path / "source", place, source=True)
    (source.data / "a").write_text("a")
    ended = source.run(RCLONE_DUMP="headers", RCLONE_LOG_LEVEL="DEBUG", RCLONE_RETRIES="1")
    assert ended.outcome.reason == "WrongCredentials", ended.outcome.message
    assert ended.outcome.failure_class == "credentials"
    assert "rclone.conf" in ended.outcome.message
    assert "BUCKET_HOST" not in ended.outcome.message
    assert ended.outcome.log
    everything = ended.output + ended.errors + ended.message.decode()
    assert WRONG_SECRET not in everything
    assert "inner-token-0123456789" not in everything
    assert place.options["access_key_id"] not in everything


def test_a_server_that_is_not_there_is_told_with_what_to_check(tmp_path: Path) -> None:
    options = {
        "type": "s3",
        "endpoint": "http://127.0.0.1:1",
        "access_key_id": "abcdefgh",
        "secret_access_key": "ijklmnop",
    }
    source = Mover(tmp_path / "source", Place(tmp_path, path="bucket/x", options=options), source=True)
    (source.data / "a").write_text("a")
    ended = source.run(DATAMOVER_OUTAGE_LIMIT="1", RCLONE_RETRIES="1", RCLONE_LOW_LEVEL_RETRIES="1")
    assert ended.outcome.reason == "ServerUnreachable", ended.outcome.message
    assert ended.outcome.retryable
    assert "its address in rclone.conf" in ended.outcome.message


def test_a_place_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    there.path = str(tmp_path / "nothing")
    back = Mover(tmp_path / "destination", there, source=False)
    ended = back.run(RCLONE_RETRIES="1")
    assert ended.outcome.reason == "BucketNotFound"
    assert "rcloneDestPath" in ended.outcome.message


CONFIGURATIONS = {
    "another section": ("[other]\ntype = local\n", r"no section \[store\]; there is \[other\]"),
    "none at all": ("", r"no section \[store\]; there is none"),
    "no configuration": ("secret-word-0123456789\n", "cannot be read: write sections"),
    "encrypted": ("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nAAAA\n", "RCLONE_CONFIG_PASS"),
    "a program": ("[store]\ntype = sftp\nssh = touch /tmp/x\n", r"ssh in section \[store\] is set: it runs a program"),
    "a program behind an alias": (
        '[store]\ntype = alias\nremote = :webdav,url="http://127.0.0.1:9/",bearer_token_command="touch x":\n',
        "remote in section .* has the parameter bearer_token_command",
    ),
    "a global program": (
        "[store]\ntype = local\nglobal.metadata_mapper = touch\n",
        "global.metadata_mapper in section",
    ),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_what_is_wrong_in_the_secret_is_told_and_nothing_begins(tmp_path: Path, case: str) -> None:
    text, told = CONFIGURATIONS[case]
    there = local_place(tmp_path / "remote")
    there.put("stays")
    source = Mover(tmp_path / "source", there, source=True)
    (source.data / "a").write_text("a")
    source.configuration.write_text(text)
    ended = source.run()
    assert ended.outcome.reason == "InvalidConfiguration"
    assert ended.code == 20
    assert re.search(told, ended.outcome.message), ended.outcome.message
    assert "secret-word-0123456789" not in ended.output + ended.errors
    assert set(there.files()) == {"stays"}


def test_a_file_of_the_users_that_has_the_name_of_ours_is_told_to_be_left_out(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", there, source=True)
    (source.data / "a").write_text("a")
    (source.data / "permissions.facl").write_text("mine")
    ended = source.run()
    assert ended.outcome.succeeded
    assert "permissions.facl at the top of the volume is left out" in ended.outcome.message


def test_a_folder_that_has_the_name_of_ours_is_left_out_as_well(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", there, source=True)
    (source.data / "a").write_text("a")
    (source.data / "permissions.facl").mkdir()
    (source.data / "permissions.facl" / "inner").write_text("mine")
    ended = source.run()
    assert ended.outcome.succeeded, ended.output
    assert "permissions.facl at the top of the volume is left out" in ended.outcome.message
    assert set(there.files()) == {"a", "permissions.facl"}


def test_a_volume_that_cannot_be_entered_is_told(tmp_path: Path) -> None:
    source = Mover(tmp_path / "source", local_place(tmp_path / "remote"), source=True)
    ended = source.run(MOUNT_PATH="/elsewhere")
    assert ended.outcome.reason == "SourceNotFound"
    assert "The volume at /elsewhere cannot be read" in ended.outcome.message


def test_a_missing_file_names_the_key_that_the_secret_needs(tmp_path: Path) -> None:
    source = Mover(tmp_path / "source", local_place(tmp_path / "remote"), source=True)
    source.configuration.unlink()
    ended = source.run()
    assert ended.outcome.reason == "InvalidConfiguration"
    assert "needs the key rclone.conf" in ended.outcome.message


def test_the_secrets_variables_win_over_the_defaults_and_a_remote_without_checksums_is_compared_by_time(
    tmp_path: Path,
) -> None:
    there = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", there, source=True)
    (source.data / "a").write_text("one")
    (source.data / "b.tmp").write_text("left out")
    os.symlink("a", source.data / "link")
    text = "[store]\ntype = crypt\nremote = {}\npassword = {}\nfilename_encryption = off\ndirectory_name_encryption = false\nsuffix = none\n"
    source.configuration.write_text(text.format(there.folder, "0kTmIUo3xU0Dz3dS7HBbSwTjSRM6u3Ss"))
    first = source.run(RCLONE_DEST_PATH="inner", RCLONE_EXCLUDE="*.tmp")
    assert first.code == 0, first.output
    assert set(there.files()) == {"inner/a", f"inner/{ACLS}"}
    assert "1 symbolic link left out" in first.outcome.message
    before = there.files()["inner/a"]
    (source.data / "a").write_text("two")  # of the same size
    os.utime(source.data / "a", (2_000_000_000, 2_000_000_000))
    second = source.run(RCLONE_DEST_PATH="inner", RCLONE_EXCLUDE="*.tmp")
    assert second.code == 0
    assert there.files()["inner/a"] != before
    assert second.outcome.comparison == "time"
    assert "no checksums" in second.outcome.message


def test_a_hostile_list_of_modes_reaches_nothing_outside_and_what_cannot_be_had_is_told(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    outside = tmp_path / "outside"
    outside.write_text("mine")
    outside.chmod(0o600)
    there.put("a")
    there.put("good")
    blocks = [
        ("data", "user::rwx\ngroup::r-x\nother::r-x"),
        ("data/../../outside", "user::rwx\ngroup::rwx\nother::rwx"),
        ("data/link/outside", "user::rwx\ngroup::rwx\nother::rwx"),
        ("data/a", "user::rw-\ngroup::what\nother::---"),
        ("data/gone", "user::rw-\ngroup::r--\nother::---"),
        ("data/good", "user::r--\ngroup::---\nother::---"),
    ]
    there.put(ACLS, "".join(f"# file: {name}\n# owner: root\n# group: root\n{rights}\n\n" for name, rights in blocks))
    back = Mover(tmp_path / "destination", there, source=False)
    os.symlink(tmp_path, back.data / "link")
    ended = back.run(RCLONE_LINKS="true", RCLONE_MAX_DELETE="0")
    ended = ended if ended.code == 0 else back.run()
    assert ended.code == 0, ended.output
    assert stat.S_IMODE(outside.stat().st_mode) == 0o600
    assert stat.S_IMODE((back.data / "good").stat().st_mode) == 0o400
    assert "not restored" in ended.outcome.message
    assert "cannot be understood" in ended.outcome.message


def test_a_stop_is_told_and_leaves_no_child(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", there, source=True)
    (source.data / "large").write_bytes(os.urandom(1 << 22))
    with source.container.start(**source.environment, RCLONE_BWLIMIT="100k") as running:
        wait_for(lambda: '"phase":"syncing"' in running.output)
        running.terminate()
        ended = running.wait(timeout=30)
    assert ended.code == 143
    assert ended.outcome.reason == "Interrupted"


def test_a_mover_that_is_looked_into_moves_nothing_and_waits(tmp_path: Path) -> None:
    there = local_place(tmp_path / "remote")
    source = Mover(tmp_path / "source", there, source=True)
    (source.data / "a").write_text("a")
    with source.container.start(**source.environment, DEBUG_MOVER="1") as running:
        wait_for(lambda: "DEBUG_MOVER is set" in running.output)
        running.terminate()
        assert running.wait(timeout=30).code == 143
    assert there.files() == {}
