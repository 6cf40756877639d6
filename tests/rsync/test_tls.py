"""rsync-tls from volume to volume: our mover on both sides."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from datamover.api import transfer
from support import odd_tree
from support.agent import Container, Ended
from support.engines import demand_engines_for_all
from support.s3 import wait_for
from support.tls import Breaking, listening, new_key, processes_in, side, to, wait_gone

ROOT = os.geteuid() == 0


def open_to_all(folder: Path) -> None:
    """Let everybody enter a folder of pytest's."""
    for each in (folder, *folder.parents):
        if each.stat().st_mode & 0o055 == 0 and each.owner() == folder.owner():
            each.chmod(0o755)


def cycle(source: Container, destination: Container, port: int, **changes: str) -> tuple[Ended, Ended]:
    """Send once; return how the source and the destination ended."""
    with listening(destination, port) as receiving:
        sent = source.run(**to(port), **changes)
        assert sent.outcome.succeeded, sent.output
        return sent, receiving.wait()


def test_everything_arrives_as_it_is_and_what_the_source_has_not_goes(
    source: Container, destination: Container, port: int
) -> None:
    odd_tree.make(source.data)
    for volume in (source, destination):
        (volume.data / "lost+found").mkdir()
        (volume.data / "lost+found" / volume.root.name).touch()
    (destination.data / "links").mkdir()
    (destination.data / "links" / "extra").write_text("deep")
    (destination.data / "extra").mkdir()
    (destination.data / "extra" / "file").write_text("at the root")
    (destination.data / "hello").mkdir()
    (destination.data / "hello" / "no-file").write_text("in the place of a file")
    (destination.data / "sticky").write_text("in the place of a folder")
    sent, received = cycle(source, destination, port)
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)
    assert (destination.data / "lost+found" / "destination").exists()
    assert not (destination.data / "lost+found" / "source").exists()
    assert (destination.data / "sparse").stat().st_blocks * 512 < 1 << 20
    assert received.code == sent.code == 0
    assert received.outcome.succeeded
    assert sent.outcome.symlinks == received.outcome.symlinks == 6
    assert sent.outcome.bytes == received.outcome.bytes
    assert sent.outcome.deleted >= 4
    for each in (sent.outcome.log, received.outcome.log):
        assert "rsync completed in " in each
        assert all("bytes" in line or "completed" in line for line in each.splitlines()), each
    assert "sent " in sent.outcome.log
    # the second time nothing is sent, and the links stay whole
    (source.data / "empty").unlink()
    sent, received = cycle(source, destination, port)
    assert (sent.outcome.transferred_files, sent.outcome.deleted) == (0, 1)
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)
    for each in (source, destination):
        assert list((each.root / "tmp").iterdir()) == []
        wait_gone(each.root)


def test_a_half_restored_source_is_refused(source: Container, destination: Container, port: int) -> None:
    (source.data / ".datamover-restore").mkdir()
    (destination.data / "precious").touch()
    with listening(destination, port):
        outcome = source.run(**to(port)).outcome
        assert (outcome.failure_class, outcome.reason) == (transfer.GUARD, transfer.REASON_SOURCE_UNFINISHED)
    assert [path.name for path in destination.data.iterdir()] == ["precious"]


def test_two_thousand_small_files_arrive_and_progress_is_told(
    source: Container, destination: Container, port: int
) -> None:
    for folder in range(21):
        (source.data / str(folder)).mkdir()
        for number in range(100):
            (source.data / str(folder) / str(number)).write_text(f"{folder} {number}")
        # rsync compares whole seconds: a folder that is made at the destination in the same one keeps its own fraction
        os.utime(source.data / str(folder), (1_700_000_000, 1_700_000_000))
    sent, _ = cycle(source, destination, port)
    assert sent.outcome.files == sent.outcome.transferred_files == 2101
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)
    phases = [each.phase for each in sent.progress]
    assert phases[0] == transfer.PROBING
    assert phases[-1] == transfer.RECORDING
    assert sent.progress[-1].total_files >= 2101 + 21


def test_a_peer_with_another_key_is_refused_and_both_sides_are_told_and_the_right_one_is_still_served(
    source: Container, destination: Container, port: int, tmp_path: Path
) -> None:
    stranger = side(tmp_path / "stranger", new_key())
    (stranger.data / "evil").write_text("evil")
    with listening(destination, port) as receiving:
        refused = stranger.run(**to(port))
        assert refused.outcome.failure_class == transfer.CREDENTIALS
        assert refused.outcome.reason == transfer.REASON_WRONG_CREDENTIALS
        assert "keySecret" in refused.outcome.message
        assert "rsync" in refused.outcome.log
        wait_for(lambda: "a peer (127.0.0.1:" in receiving.output)
        assert list(destination.data.iterdir()) == []
        assert source.run(**to(port)).outcome.succeeded
        assert receiving.wait().outcome.succeeded
    assert (destination.data / "hello").exists()


def test_an_unknown_identity_is_refused(source: Container, destination: Container, port: int, key: str) -> None:
    (source.root / "keys" / "psk.txt").write_text(key.replace("volsync:", "somebody:"))
    with listening(destination, port):
        assert source.run(**to(port)).outcome.reason == transfer.REASON_WRONG_CREDENTIALS


def test_nobody_who_listens_is_told_and_waited_for_and_a_stop_ends_the_wait(source: Container, port: int) -> None:
    with source.start(**to(port)) as sending:
        wait_for(lambda: "Trying again in 2 s" in sending.output)
        sending.terminate()
        ended = sending.wait()
    assert (ended.code, ended.outcome.reason) == (143, transfer.REASON_INTERRUPTED)
    assert "Connection refused (111)" in ended.outcome.message
    assert "cannot be reached" in ended.said
    assert any("Connection refused" in each.trouble for each in ended.progress)
    wait_gone(source.root)


def test_a_name_that_nobody_has_is_told(source: Container, port: int) -> None:
    with source.start(**to(port) | {"DESTINATION_ADDRESS": "no-such-host.invalid"}) as sending:
        wait_for(lambda: "Trying again" in sending.output)
        assert "Error resolving" in sending.output


def test_a_connection_that_breaks_in_the_middle_is_tried_again(
    source: Container, destination: Container, port: int
) -> None:
    (source.data / "big").write_bytes(os.urandom(4 << 20))
    between = Breaking(port, after=1 << 20)
    try:
        with listening(destination, port) as receiving:
            sent = source.run(**to(between.port))
            received = receiving.wait()
    finally:
        between.close()
    assert between.cut == 1
    assert "Trying again in 2 s" in sent.said
    assert sent.outcome.succeeded
    assert received.outcome.succeeded
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)


def test_a_source_that_vanishes_leaves_a_destination_that_serves_the_next_one(
    source: Container, destination: Container, port: int
) -> None:
    (source.data / "big").write_bytes(os.urandom(24 << 20))
    with listening(destination, port) as receiving:
        with source.start(**to(port)) as sending:
            wait_for(
                lambda: (
                    any(path.name.startswith(".big") for path in destination.data.iterdir())
                    or (destination.data / "big").exists()
                )
            )
            sending.process.kill()
        wait_for(lambda: not processes_in(source.root))
        assert receiving.process.poll() is None
        assert source.run(**to(port)).outcome.succeeded
        assert receiving.wait().outcome.succeeded
    assert odd_tree.described(destination.data) == odd_tree.described(source.data)


@pytest.mark.parametrize(
    ("held", "allowed", "succeeds"),
    [(True, False, False), (True, True, True), (False, False, True)],
    ids=["held", "allowed", "empty-too"],
)
def test_an_empty_source_empties_no_destination_unless_that_is_allowed(
    source: Container, destination: Container, port: int, held: bool, allowed: bool, succeeds: bool
) -> None:
    (source.data / "hello").unlink()
    for volume in (source, destination):
        (volume.data / "lost+found").mkdir()
    if held:
        (destination.data / "precious").mkdir()
    with listening(destination, port) as receiving:
        sent = source.run(**to(port), DATAMOVER_ALLOW_EMPTY_SOURCE="true" if allowed else "false")
        assert sent.outcome.succeeded == succeeds, sent.output
        if succeeds:
            assert receiving.wait().outcome.succeeded
        else:
            assert (sent.outcome.failure_class, sent.outcome.reason) == (transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
            assert "allow-empty-source" in sent.outcome.message
            assert receiving.process.poll() is None
    assert (destination.data / "precious").exists() == (held and not allowed)
    assert (destination.data / "lost+found").exists()


@pytest.mark.parametrize("held", [True, False])
def test_a_source_of_empty_folders_deletes_no_file_of_a_destination(
    source: Container, destination: Container, port: int, held: bool
) -> None:
    (source.data / "hello").unlink()
    (source.data / "folder" / "sub").mkdir(parents=True)
    (destination.data / "folder" / "other").mkdir(parents=True)
    if held:
        (destination.data / "folder" / "other" / "precious").touch()
    with listening(destination, port) as receiving:
        sent = source.run(**to(port))
        if held:
            assert sent.outcome.reason == transfer.REASON_EMPTY_SOURCE, sent.output
            assert sent.outcome.log.endswith(sent.outcome.message)
        else:
            assert sent.outcome.succeeded, sent.output
            assert receiving.wait().outcome.succeeded
    assert (destination.data / "folder" / "other").exists() == held


def test_a_destination_waits_for_ever_and_a_stop_ends_it_and_all_that_it_started(
    destination: Container, port: int
) -> None:
    with listening(destination, port) as receiving:
        assert len(processes_in(destination.root)) >= 1
        receiving.terminate()
        ended = receiving.wait(timeout=20)
    assert (ended.code, ended.outcome.reason) == (143, transfer.REASON_INTERRUPTED)
    wait_gone(destination.root)


def test_a_port_that_is_taken_is_told(destination: Container, port: int, tmp_path: Path, key: str) -> None:
    with listening(destination, port):
        ended = side(tmp_path / "second", key).run(DIRECTION="destination", LISTEN_PORT=str(port))
    assert ended.outcome.reason == transfer.REASON_ENGINE_FAILED
    assert "Address already in use" in ended.outcome.message


def test_the_key_is_in_no_command_line_log_or_outcome(
    source: Container, destination: Container, port: int, key: str
) -> None:
    (source.data / "big").write_bytes(os.urandom(8 << 20))
    secret = key.partition(":")[2]
    lines: set[str] = set()
    with listening(destination, port) as receiving:
        with source.start(**to(port)) as sending:
            while sending.process.poll() is None:
                lines |= {*processes_in(source.root), *processes_in(destination.root)}
                time.sleep(0.02)
            sent = sending.wait()
        received = receiving.wait()
    assert any("stunnel" in line for line in lines)
    for text in (
        *lines,
        sent.output,
        received.output,
        sent.errors,
        received.errors,
        repr(sent.message),
        repr(received.message),
    ):
        assert secret not in text
    # nor may anybody read it in a file
    assert all(
        secret not in path.read_text()
        for each in (source, destination)
        for path in (each.root / "tmp").rglob("*")
        if path.is_file()
    )


def test_a_mover_that_people_want_to_look_into_waits(source: Container, port: int) -> None:
    with source.start(**to(port), DEBUG_MOVER="1") as sleeping:
        wait_for(lambda: "DEBUG_MOVER is set" in sleeping.output)
        assert processes_in(source.root) == []
        sleeping.terminate()
        assert sleeping.wait().code == 143


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is missing"),
        ("", "wrong form"),
        ("volsync", "wrong form"),
        ("volsync:abcdef", "wrong form"),
        ("volsync:" + "0" * 30, "wrong form"),
        ("dm9sc3luYzpoYWxmIGEga2V5", "wrong form"),
        ("volsync:" + "g" * 64 + "\x00", "wrong form"),
    ],
)
def test_a_key_that_is_none_is_told_without_a_word_of_it(
    source: Container, port: int, content: str | None, words: str
) -> None:
    path = source.root / "keys" / "psk.txt"
    path.unlink() if content is None else path.write_text(content)
    ended = source.run(**to(port))
    assert (ended.code, ended.outcome.reason) == (20, transfer.REASON_INVALID_CONFIGURATION)
    assert words in ended.outcome.message
    if content:
        assert content == "volsync" or content[-10:] not in ended.output


def test_a_key_with_white_space_windows_ends_of_lines_and_a_second_line_is_read(
    source: Container, destination: Container, port: int, key: str
) -> None:
    (source.root / "keys" / "psk.txt").write_text(f"  {key}\r\n\r\n")
    other = new_key().replace("volsync:", "another:")
    (destination.root / "keys" / "psk.txt").write_text(f"{other}\n{key}")
    cycle(source, destination, port)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DESTINATION_ADDRESS": ""}, "DESTINATION_ADDRESS is not set"),
        ({"DESTINATION_ADDRESS": "a b"}, "DESTINATION_ADDRESS is 'a b'"),
        ({"DESTINATION_ADDRESS": "peer\nexec = /bin/sh"}, "DESTINATION_ADDRESS is "),
        ({"DESTINATION_PORT": "70000"}, "DESTINATION_PORT is '70000'"),
        ({"DIRECTION": "sideways"}, "DIRECTION is 'sideways'"),
    ],
)
def test_each_wrong_variable_is_named(source: Container, port: int, changes: dict[str, str], words: str) -> None:
    ended = source.run(**to(port) | changes)
    assert ended.code == 20
    assert words in ended.outcome.message


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_a_mover_without_privileges_brings_the_files_as_its_own_and_says_so(
    source: Container, destination: Container, port: int, tmp_path: Path
) -> None:
    demand_engines_for_all("rsync", "stunnel")
    odd_tree.make(source.data)
    open_to_all(tmp_path)
    (destination.root / "dev" / "termination-log").touch()
    for path in (destination.root, *destination.root.rglob("*")):
        os.chown(path, 65534, 65534)
    # the root of a volume is somebody else's
    os.chown(destination.data, 0, 65534)
    destination.data.chmod(0o2775)
    # as file systems make it
    (destination.data / "lost+found").mkdir(mode=0o700)
    destination.wrapper = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    with listening(destination, port, PRIVILEGED_MOVER="0") as receiving:
        sent = source.run(**to(port))
        assert sent.outcome.succeeded, sent.output
        received = receiving.wait()
    assert received.outcome.succeeded, received.output
    assert (destination.data / "lost+found").stat().st_uid == 0
    assert received.said.count("has no privileges") == 1
    (destination.data / "lost+found").rmdir()
    there = odd_tree.described(destination.data, owners=False)
    here = odd_tree.described(source.data, owners=False)
    assert there.keys() == here.keys()
    assert {path: kept.content for path, kept in there.items()} == {path: kept.content for path, kept in here.items()}
    assert {kept.uid for kept in odd_tree.described(destination.data).values()} == {65534}
    assert destination.data.stat().st_uid == 0


@pytest.mark.skipif(not ROOT, reason="only root can be root without rights")
def test_root_without_rights_cannot_serve_and_is_told_the_ways_out(destination: Container, port: int) -> None:
    destination.wrapper = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    ended = destination.run(DIRECTION="destination", LISTEN_PORT=str(port), PRIVILEGED_MOVER="0")
    assert (ended.code, ended.outcome.reason) == (20, transfer.REASON_INVALID_CONFIGURATION)
    assert "privileged-movers" in ended.outcome.message
    assert "runAsUser" in ended.outcome.message


@pytest.mark.skipif(not ROOT, reason="root can become somebody who may not read")
def test_files_that_the_source_cannot_read_are_told_and_nothing_is_removed_there(
    source: Container, destination: Container, port: int, tmp_path: Path
) -> None:
    demand_engines_for_all("rsync", "stunnel")
    (source.data / "secret").write_text("secret")
    (source.data / "secret").chmod(0o600)
    (destination.data / "extra").write_text("stays")
    open_to_all(tmp_path)
    (source.root / "dev" / "termination-log").touch()
    for path in (
        source.root / "tmp",
        source.root / "keys",
        source.root / "keys" / "psk.txt",
        source.root / "dev" / "termination-log",
    ):
        os.chown(path, 65534, 65534)
    source.wrapper = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    with listening(destination, port) as receiving:
        sent = source.run(**to(port))
        assert receiving.process.poll() is None
    assert (sent.outcome.failure_class, sent.outcome.reason) == (
        transfer.SOURCE_UNREADABLE,
        transfer.REASON_SOURCE_UNREADABLE,
    ), sent.output  # fmt: skip
    assert "moverSecurityContext" in sent.outcome.message
    assert "Permission denied" in sent.outcome.log
    assert (destination.data / "extra").exists()


@pytest.mark.skipif(not ROOT, reason="only root can mount a small volume")
def test_a_full_destination_is_told_on_both_sides(source: Container, destination: Container, port: int) -> None:
    (source.data / "big").write_bytes(os.urandom(4 << 20))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", destination.data], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        with listening(destination, port) as receiving, source.start(**to(port)) as sending:
            wait_for(lambda: "Trying again" in sending.output)
            wait_for(lambda: "no space left on the volume" in receiving.output)
            sending.terminate()
            receiving.terminate()
            sent, received = sending.wait(), receiving.wait()
    finally:
        subprocess.run(["umount", "-l", destination.data], check=True)
    assert "no space left at the destination" in sent.said
    assert "No space left on device (28)" in sent.outcome.log
    assert "No space left on device (28)" in received.outcome.log
    assert "no space left" in received.outcome.message
