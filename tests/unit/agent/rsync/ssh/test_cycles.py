"""Whole cycles on loopback: our source and destination with each other, and each with stock ssh, sshd and rsync at the other end."""

import contextlib
import os
import random
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamover.agent.rsync.ssh import forced, login
from datamover.agent.rsync.ssh.destination import has_penalties
from datamover.api import transfer
from support.agent import Ended, Running
from support.confining import confinement_works
from support.engines import find_engine
from support.rsync_ssh import Client, Side, as_in_the_image, free_port, make_keys, stock_destination, with_mount
from support.tls import Breaking

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sshd and its forced command are root's")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("ssh") / "keys")


@pytest.fixture(scope="session")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_keys(tmp_path_factory.mktemp("ssh") / "keys")


@pytest.fixture
def source(tmp_path: Path, keys: Path) -> Side:
    find_engine("sshd")
    return Side(tmp_path / "source", transfer.SOURCE_DIRECTION, keys, free_port())


@pytest.fixture
def destination(tmp_path: Path, keys: Path, source: Side) -> Side:
    return Side(tmp_path / "destination", transfer.DESTINATION_DIRECTION, keys, source.port)


@pytest.fixture
def client(tmp_path: Path, keys: Path, source: Side) -> Client:
    return Client(keys, source.port, tmp_path)


@pytest.fixture
def listening(destination: Side) -> Iterator[Running]:
    with destination.start() as running:
        destination.wait_listening(running)
        yield running


def fill(folder: Path) -> None:
    """Write a tree with what a volume may have."""
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(random.Random(3).randbytes(300_000))
    (folder / "sub" / "file").chmod(0o640)
    os.chown(folder / "sub" / "file", 1234, 4321)
    os.link(folder / "sub" / "file", folder / "hard")
    (folder / "link").symlink_to("../keys")
    (folder / "ünï'; $(x) \n").write_text("a name")
    (folder / ("n" * 200)).write_text("long")
    with (folder / "sparse").open("wb") as file:
        file.truncate(50 << 20)
    (folder / "lost+found").mkdir()
    folder.chmod(0o750)
    # rsync compares whole seconds: what it makes in the same one keeps its own fraction
    for name in ("link", "sub/empty", "sub", "."):
        os.utime(folder / name, (1_700_000_000, 1_700_000_000), follow_symlinks=False)


def picture(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return what a tree is, for a comparison."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        name = str(path.relative_to(folder))
        if name.startswith("lost+found"):
            continue
        told = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hash(path.read_bytes())
        links = 0 if stat.S_ISDIR(told.st_mode) else told.st_nlink
        found[name] = (told.st_mode, told.st_uid, told.st_gid, told.st_mtime_ns, links, content)
    return found


def succeeded(ended: Ended) -> transfer.Outcome:
    assert ended.code == 0, f"{ended.outcome}\n{ended.output}\n{ended.errors}"
    return ended.outcome


def test_our_source_and_our_destination_make_two_volumes_equal(source: Side, destination: Side) -> None:
    fill(source.data)
    (destination.data / "stale" / "deep").mkdir(parents=True)
    (destination.data / "lost+found").mkdir()
    with destination.start() as running:
        destination.wait_listening(running)
        sent = source.run()
        received = running.wait(timeout=30)
    told, outcome = succeeded(sent), succeeded(received)
    assert picture(destination.data) == picture(source.data)
    assert (destination.data / "lost+found").exists()
    assert (destination.data / "sparse").stat().st_blocks < 2000
    assert "Rsync completed in" in told.log
    assert "bytes  received" in told.log
    assert told.deleted == 2
    assert "Rsync completed in" in outcome.log
    assert "bytes  received" in outcome.log
    assert outcome.bytes == told.bytes
    assert outcome.run_id == "ssh-1"
    assert [progress.phase for progress in sent.progress][-1] == transfer.RECORDING
    again_free(source)


def again_free(side: Side) -> None:
    """Nothing of the destination listens any more."""
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", side.port), timeout=2):
        pass


def test_no_secret_is_in_what_is_said_or_on_a_command_line(source: Side, destination: Side, listening: Running) -> None:
    fill(source.data)
    with source.start() as running:
        seen: set[str] = set()
        while running.process.poll() is None:
            seen |= set(command_lines())
            time.sleep(0.02)
        sent = running.wait()
    received = listening.wait(timeout=30)
    private = [
        (side.root / "keys" / name).read_text() for side, name in ((source, "source"), (destination, "destination"))
    ]
    parts = {line for text in private for line in text.splitlines() if len(line) > 40}
    everything = "\n".join([sent.output, sent.errors, received.output, received.errors, *seen])
    assert any("ssh_config" in line for line in seen), "no command line was seen"
    assert not [part for part in parts if part in everything]


def command_lines() -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue


def test_a_stock_client_sends_to_our_destination_and_ends_it(
    source: Side, destination: Side, client: Client, listening: Running
) -> None:
    fill(source.data)
    (destination.data / "stale").write_text("x")
    pushed = client.rsync("-aAHSxz", "--delete", "--exclude=lost+found", f"{source.data}/", "root@127.0.0.1:.")
    assert pushed.returncode == 0, pushed.stderr
    assert picture(destination.data) == picture(source.data)
    assert client.ssh("shutdown", "0").returncode == 0
    succeeded(listening.wait(timeout=30))


def test_our_source_sends_to_a_stock_destination(tmp_path: Path, source: Side, keys: Path) -> None:
    fill(source.data)
    folder = tmp_path / "stock"
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "stale").write_text("x")
    with stock_destination(folder, keys, data=data) as port:
        sent = source.run(DESTINATION_PORT=str(port))
    succeeded(sent)
    assert picture(data) == picture(source.data)
    assert (folder / "ordered").read_text() == "shutdown 0\n"


# --- what a client may try ------------------------------------------------------------------------------------------

TRIES = [  # each costs a connection; test_commands has many more
    ((), (), "there is no shell here"),
    (("sh", "-c", "touch HERE"), (), "refused"),
    (("rsync", "--server", "-r", ".", ".;touch HERE"), (), "refused"),
    (("rsync", "--server", "--sender", "-logDtpre.iLsfxCIvu", ".", "link/"), (), "no folder of that name"),
    (("rsync", "--server", "-logDtpre.iLsfxCIvu", ".", "link"), (), "no folder of that name"),
    (("datamover-blocks",), (), "wants a Block volume"),
    (("x",), ("-s",), ""),  # a subsystem
    (("x",), ("-tt",), "PTY allocation request failed"),
    ((), ("-N", "-R", "0:127.0.0.1:1"), ""),
]


def test_hostile_clients_run_nothing_but_what_is_permitted(
    tmp_path: Path, destination: Side, client: Client, listening: Running
) -> None:
    (destination.data / "link").symlink_to(destination.root / "keys")
    before = picture(destination.data)
    for command, options, said in TRIES:
        if "-N" in options:
            options = (*options, "-o", "ExitOnForwardFailure=yes")
        answer = client.ssh(*command, options=options)
        assert answer.returncode != 0, (command, options, answer)
        assert "PRIVATE KEY" not in answer.stdout + answer.stderr
        assert said in answer.stderr, (command, options, answer)
    assert picture(destination.data) == before
    # a forwarding to a port of the destination's own is opened by nobody
    opened = client.ssh(options=("-W", "127.0.0.1:1"))
    assert opened.returncode != 0
    assert "administratively prohibited" in opened.stderr
    # variables that would change what runs are not taken
    taken = client.ssh("shutdown", "x", options=("-o", "SetEnv=LD_PRELOAD=/x PYTHONPATH=/x PYTHONSTARTUP=/x"))
    assert "shutdown takes one code" in taken.stderr
    assert client.ssh("shutdown", "0").returncode == 0
    succeeded(listening.wait(timeout=30))
    assert not list(tmp_path.rglob("HERE"))


def test_a_link_in_the_volume_leads_nobody_out_of_it(
    tmp_path: Path, source: Side, destination: Side, client: Client, listening: Running
) -> None:
    """A client that first sends a link and then sends through it writes below the volume, or nothing."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (source.data / "way").symlink_to(outside)
    assert client.rsync("-a", f"{source.data}/", "root@127.0.0.1:.").returncode == 0
    (tmp_path / "loot").write_text("x")
    assert client.rsync("-a", str(tmp_path / "loot"), "root@127.0.0.1:way/").returncode != 0
    assert client.rsync("-aK", f"{tmp_path}/loot", "root@127.0.0.1:way").returncode != 0
    (source.data / "way").unlink()
    (source.data / "way").mkdir()
    (source.data / "way" / "loot").write_text("x")
    client.rsync("-a", f"{source.data}/", "root@127.0.0.1:.")
    assert list(outside.iterdir()) == []
    assert (destination.data / "way" / "loot").exists()


def test_the_rsync_of_a_client_reads_no_key_whatever_its_protocol_lets_it_do(
    tmp_path: Path, destination: Side, client: Client
) -> None:
    """A program that tries stands in the place of rsync."""
    if not confinement_works():
        pytest.skip("this kernel cannot confine a process")
    program = tmp_path / "program" / "bin" / "rsync"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\necho began; cat '{destination.root}/keys/destination'; echo x > '{tmp_path}/HERE'; echo x > made; cat {tmp_path}/*/*/*host_key\n"
    )
    program.chmod(0o755)
    with destination.start(DATAMOVER_RSYNC=str(program)) as running:
        destination.wait_listening(running)
        answer = client.ssh("rsync --server -r . .")
    assert answer.stdout == "began\n"
    assert "Permission denied" in answer.stderr
    assert (destination.data / "made").exists()
    assert not (tmp_path / "HERE").exists()


def test_another_key_is_let_in_nowhere(
    tmp_path: Path, source: Side, other_keys: Path, listening: Running, keys: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "source").write_bytes((other_keys / "source").read_bytes())
    (mixed / "source").chmod(0o600)
    (mixed / "destination.pub").write_bytes((keys / "destination.pub").read_bytes())
    stranger = Client(mixed, source.port, tmp_path)
    for command in ("shutdown 0", "rsync --server -r . .", ""):
        answer = stranger.ssh(command)
        assert answer.returncode == 255
        assert "Permission denied (publickey)" in answer.stderr
    assert listening.process.poll() is None


def test_roots_shell_takes_the_forced_command_only(tmp_path: Path) -> None:
    folder = str(tmp_path)
    command = " ".join(forced.command_of(folder))
    assert login.read_command(["-c", command]) == folder
    for arguments in (
        [], ["-c"], ["-c", ""], ["-i"], ["-c", "id"], ["-c", f"{command}; id"], ["-c", f"{command} x"], ["-c", "'"], ["-l", "-c", command],
        ["-c", command.replace("forced-command", "apply-manifest")], ["-c", f"env {command}"], [command],
    ):  # fmt: skip
        assert login.read_command(arguments) is None, arguments


def test_the_agent_under_the_name_of_the_login_program_is_that_shell(tmp_path: Path) -> None:
    shell = tmp_path / login.NAME
    main = Path(forced.__file__).parents[2] / "main.py"
    shell.write_text(f"#!{os.sys.executable}\n{main.read_text()}")
    shell.chmod(0o755)
    for arguments in ([], ["-c", "id"], ["-i"]):
        answer = subprocess.run([str(shell), *arguments], capture_output=True, text=True, input="id\n", check=False)
        assert (answer.returncode, answer.stdout) == (1, "")
        assert "there is no shell" in answer.stderr
    asked = subprocess.run(
        [str(shell), "-c", " ".join(forced.command_of(str(tmp_path)))],
        env={"SSH_ORIGINAL_COMMAND": "id"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == forced.REFUSAL_CODE
    assert "only rsync into the volume" in asked.stderr


def test_seven_capabilities_and_the_login_program_are_enough(
    tmp_path: Path, source: Side, destination: Side, client: Client
) -> None:
    """As in the image: root's shell is ours, and the rights are those of the Job."""
    destination.wrapper = source.wrapper = as_in_the_image(tmp_path)
    fill(source.data)
    with destination.start() as running:
        destination.wait_listening(running)
        assert "there is no shell here" in client.ssh().stderr
        assert "only rsync into the volume" in client.ssh("id").stderr
        succeeded(source.run())
        succeeded(running.wait(timeout=30))
    assert picture(destination.data) == picture(source.data)


# --- bad luck -------------------------------------------------------------------------------------------------------


def failed(ended: Ended, failure_class: str, reason: str) -> transfer.Outcome:
    outcome = ended.outcome
    assert (outcome.failure_class, outcome.reason) == (failure_class, reason), (
        f"{outcome}\n{ended.output}\n{ended.errors}"
    )
    assert outcome.message.endswith((".", "…", ")")) or "said:" in outcome.message
    return outcome


def test_an_empty_source_does_not_empty_a_destination(
    source: Side, destination: Side, client: Client, listening: Running
) -> None:
    (source.data / "lost+found").mkdir()
    (destination.data / "precious").write_text("x")
    outcome = failed(source.run(), transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
    assert "allow-empty-source" in outcome.message
    assert (destination.data / "precious").exists()
    allowed = succeeded(source.run(DATAMOVER_ALLOW_EMPTY_SOURCE="true"))
    assert allowed.deleted == 1
    assert not (destination.data / "precious").exists()


def test_a_half_restored_source_is_refused(source: Side, destination: Side, client: Client, listening: Running) -> None:
    (source.data / ".datamover-restore").mkdir()
    (destination.data / "precious").write_text("x")
    failed(source.run(), transfer.GUARD, transfer.REASON_SOURCE_UNFINISHED)
    assert [path.name for path in destination.data.iterdir()] == ["precious"]


def test_a_source_of_empty_folders_deletes_no_file_of_a_destination(
    source: Side, destination: Side, client: Client, listening: Running
) -> None:
    (source.data / "folder").mkdir()
    (destination.data / "folder").mkdir()
    (destination.data / "folder" / "precious").write_text("x")
    outcome = failed(source.run(), transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
    assert outcome.log.endswith(outcome.message)
    assert (destination.data / "folder" / "precious").exists()
    (destination.data / "folder" / "precious").unlink()
    succeeded(source.run())


def test_an_empty_source_waits_for_a_destination_that_is_not_there(source: Side) -> None:
    with source.start(DESTINATION_PORT="1") as sending:
        wait_for(lambda: "Trying again" in sending.output or sending.process.poll() is not None)
        sending.terminate()
        outcome = sending.wait(timeout=30).outcome
    assert outcome.failure_class == transfer.INTERRUPTED
    assert "Nothing answers at" in sending.output


def test_an_empty_source_and_an_empty_destination_are_equal(
    source: Side, destination: Side, listening: Running
) -> None:
    (destination.data / "lost+found").mkdir()
    succeeded(source.run())
    succeeded(listening.wait(timeout=30))


def test_an_empty_source_sends_nothing_to_a_destination_that_does_not_say_what_it_holds(
    tmp_path: Path, source: Side, keys: Path
) -> None:
    folder = tmp_path / "stock"
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "precious").write_text("x")
    mute = "#!/bin/sh\ncd '{data}'\ncase \"$SSH_ORIGINAL_COMMAND\" in *--sender*) exit 1 ;; rsync*) exec $SSH_ORIGINAL_COMMAND ;; esac\n"
    with stock_destination(folder, keys, data=data, script=mute) as port:
        ended = source.run(DESTINATION_PORT=str(port))
    failed(ended, transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
    assert (data / "precious").exists()


def test_a_wrong_key_and_a_changed_host_key_end_at_once_with_the_way_out(
    source: Side, other_keys: Path, keys: Path, listening: Running
) -> None:
    (source.data / "file").write_text("x")
    own = source.root / "keys"
    (own / "destination.pub").write_bytes((other_keys / "destination.pub").read_bytes())
    outcome = failed(source.run(), transfer.CREDENTIALS, transfer.REASON_HOST_KEY_CHANGED)
    assert "status.rsync.sshKeys" in outcome.message
    (own / "destination.pub").write_bytes((keys / "destination.pub").read_bytes())
    (own / "source").write_bytes((other_keys / "source").read_bytes())
    failed(source.run(), transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS)
    begin, *_, end = (keys / "source").read_text().splitlines()
    (own / "source").write_text(f"{begin}\nAAAA\n{end}\n")
    failed(source.run(), transfer.CREDENTIALS, transfer.REASON_WRONG_CREDENTIALS)
    assert listening.process.poll() is None


def test_secrets_that_are_missing_half_or_of_another_kind_are_named(source: Side, destination: Side) -> None:
    own = source.root / "keys"
    (own / "source").unlink()
    (own / "destination.pub").write_text("\n")
    outcome = failed(source.run(), transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION)
    assert "no key `source`" in outcome.message
    assert "`destination.pub` of the Secret with the ssh keys is empty" in outcome.message
    (destination.root / "keys" / "destination").write_text("c2VjcmV0")
    (destination.root / "keys" / "source.pub").write_text('command="id" ssh-rsa AAAA\nssh-rsa BBBB')
    outcome = failed(destination.run(), transfer.CONFIG, transfer.REASON_INVALID_CONFIGURATION)
    assert "`destination` of the Secret with the ssh keys is no private key" in outcome.message
    assert "`source.pub` of the Secret with the ssh keys is not one line of a public key" in outcome.message
    assert "c2VjcmV0" not in outcome.message


def test_keys_with_lines_of_another_system_and_without_their_last_newline_are_taken(
    source: Side, destination: Side, listening: Running
) -> None:
    own = source.root / "keys"
    for name in ("source", "destination.pub"):
        (own / name).write_bytes(b"\n" + (own / name).read_bytes().strip().replace(b"\n", b"\r\n"))
    (source.data / "file").write_text("x")
    succeeded(source.run())


def test_a_peer_that_is_down_is_tried_again_and_reached_when_it_is_up(source: Side, destination: Side) -> None:
    (source.data / "file").write_text("x")
    with source.start() as sending:
        time.sleep(1.0)
        with destination.start() as running:
            succeeded(sending.wait(timeout=60))
            succeeded(running.wait(timeout=30))
    assert (destination.data / "file").exists()


def test_a_deadline_ends_the_tries_to_reach_a_peer(source: Side) -> None:
    (source.data / "file").write_text("x")
    ended = source.run(DATAMOVER_DEADLINE="1")
    outcome = failed(ended, transfer.DEADLINE_EXCEEDED, transfer.REASON_DEADLINE_EXCEEDED)
    assert "Nothing answers at 127.0.0.1" in outcome.message


def test_a_source_that_gave_up_is_told_by_its_destination(client: Client, listening: Running) -> None:
    assert client.ssh("shutdown", "23").returncode == 0
    outcome = failed(listening.wait(timeout=30), transfer.NETWORK, transfer.REASON_SERVER_ERROR)
    assert "with code 23" in outcome.message
    assert outcome.retryable


def test_a_destination_whose_port_is_taken_says_so(destination: Side) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", destination.port))
        taken.listen()
        outcome = failed(destination.run(), transfer.INTERNAL, transfer.REASON_ENGINE_FAILED)
    assert f"another process may use port {destination.port}" in outcome.message
    assert "Address already in use" in outcome.log


def test_a_source_that_is_killed_in_the_middle_is_followed_by_another_that_completes(
    source: Side, destination: Side, listening: Running
) -> None:
    (source.data / "big").write_bytes(random.Random(5).randbytes(24 << 20))
    with source.start() as sending:
        wait_for(lambda: any(destination.data.glob(".big.*")))
        sending.process.send_signal(signal.SIGKILL)
        sending.wait()
    assert listening.process.poll() is None
    succeeded(source.run())
    succeeded(listening.wait(timeout=30))
    assert (destination.data / "big").read_bytes() == (source.data / "big").read_bytes()


def test_a_destination_that_is_stopped_in_the_middle_leaves_nobody_writing(source: Side, destination: Side) -> None:
    (source.data / "big").write_bytes(random.Random(5).randbytes(24 << 20))
    with destination.start() as running:
        destination.wait_listening(running)
        with source.start(DATAMOVER_DEADLINE="10") as sending:
            wait_for(lambda: any(destination.data.glob(".big.*")))
            running.process.send_signal(signal.SIGTERM)
            stopped = running.wait(timeout=20)
            assert stopped.code == transfer.EXIT_SIGTERM
            assert not [line for line in command_lines() if "rsync --server" in line and str(destination.root) in line]
            sending.process.send_signal(signal.SIGTERM)
            assert sending.wait(timeout=20).code == transfer.EXIT_SIGTERM
    assert not list((destination.root / "tmp").iterdir()), "keys were left behind"
    assert not list((source.root / "tmp").iterdir()), "keys were left behind"


def wait_for(condition) -> None:
    until = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_full_destination_is_told_on_both_sides_and_tried_again(source: Side, destination: Side) -> None:
    (source.data / "file").write_bytes(random.Random(2).randbytes(4 << 20))
    destination.wrapper = with_mount("size=2m", destination.data)
    with destination.start() as running:
        destination.wait_listening(running)
        with source.start() as sending:
            wait_for(lambda: "of 5: There is no space left at the destination" in sending.output)
            wait_for(lambda: "there is no space left on the volume, make it larger" in running.output)
            for each in (sending, running):
                each.process.send_signal(signal.SIGTERM)
            ended, full = sending.wait(timeout=60), running.wait(timeout=60)
    assert "Trying again" in ended.output
    assert "No space left on device (28)" in ended.output
    assert "No space left on device (28)" in full.outcome.log


def test_scanners_that_say_nothing_keep_nobody_from_being_served(
    source: Side, destination: Side, listening: Running
) -> None:
    (source.data / "file").write_text("x")
    with contextlib.ExitStack() as silent:
        for _ in range(18):
            silent.enter_context(socket.create_connection(("127.0.0.1", destination.port)))
        succeeded(source.run())
        succeeded(listening.wait(timeout=30))


def test_a_destination_that_is_killed_before_the_order_to_end_is_followed_by_one_that_takes_it(
    source: Side, destination: Side
) -> None:
    (source.data / "file").write_text("x")
    with destination.start() as first:
        destination.wait_listening(first)

        def kill(connection: int) -> None:
            if connection == 2:
                first.process.kill()
                wait_for(lambda: not is_open(destination.port))

        between = Breaking(destination.port, opened=kill)
        try:
            with source.start(DESTINATION_PORT=str(between.port)) as sending:
                wait_for(lambda: "Trying again" in sending.output or sending.process.poll() is not None)
                with destination.start() as second:
                    succeeded(sending.wait(timeout=60))
                    succeeded(second.wait(timeout=30))
        finally:
            between.close()
    assert (destination.data / "file").read_text() == "x"


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        return True
    return False


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ("OpenSSH_9.2, OpenSSL 3.0.19 27 Jan 2026", False),
        ("OpenSSH_9.7p1", False),
        ("OpenSSH_9.8p1, OpenSSL", True),
        ("OpenSSH_10.0p2 Debian-7", True),
        ("unknown option -- V\nOpenSSH_8.4p1 Debian-5", False),
        ("", False),
    ],
)
def test_an_sshd_that_would_shut_addresses_out_is_told_not_to(said: str, has: bool) -> None:
    assert has_penalties(said) == has


def test_a_destination_that_is_read_only_is_told_by_the_source(source: Side, destination: Side) -> None:
    (source.data / "file").write_text("x")
    destination.wrapper = with_mount("ro", destination.data)
    with destination.start() as running:
        destination.wait_listening(running)
        failed(source.run(), transfer.DENIED, transfer.REASON_ACCESS_DENIED)


def test_a_debug_mover_waits_and_does_nothing(source: Side) -> None:
    with source.start(DEBUG_MOVER="1") as running:
        wait_for(lambda: "DEBUG_MOVER is set" in running.output)
        running.process.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20).code == transfer.EXIT_SIGTERM


# --- block devices --------------------------------------------------------------------------------------------------


def make_devices(source: Side, destination: Side, *, size: int) -> bytes:
    for side in (source, destination):
        side.data.rmdir()
    content = random.Random(7).randbytes(size // 4) + bytes(size - size // 4)
    source.block.write_bytes(content)
    with destination.block.open("wb") as file:
        file.truncate(size)
    return content


def test_a_block_device_goes_over_ssh_and_the_second_time_only_what_changed(source: Side, destination: Side) -> None:
    size = 33 << 20  # more than a region of hashes
    content = bytearray(make_devices(source, destination, size=size))
    with destination.start() as running:
        destination.wait_listening(running)
        sent, received = succeeded(source.run()), succeeded(running.wait(timeout=30))
    assert destination.block.read_bytes() == content
    assert "diskrsync completed in" in sent.log
    assert "diskrsync completed in" in received.log
    assert (sent.bytes, received.bytes, sent.verified, received.verified) == (size, size, True, True)
    content[12345] ^= 1
    source.block.write_bytes(content)
    with destination.start() as running:
        destination.wait_listening(running)
        again = succeeded(source.run())
        succeeded(running.wait(timeout=30))
    assert destination.block.read_bytes() == content
    assert again.transferred_bytes == 1 << 18


def test_an_order_to_end_without_a_device_that_is_equal_is_no_success(
    source: Side, destination: Side, client: Client
) -> None:
    make_devices(source, destination, size=4096)
    with destination.start() as running:
        destination.wait_listening(running)
        assert client.ssh("shutdown", "0").returncode == 0
        failed(running.wait(timeout=30), transfer.NETWORK, transfer.REASON_SERVER_ERROR)


def test_a_block_source_and_a_destination_of_files_are_told_apart_and_so_are_stock_peers(
    tmp_path: Path, source: Side, destination: Side, keys: Path, listening: Running
) -> None:
    source.data.rmdir()
    source.block.write_bytes(b"x" * 4096)
    outcome = failed(source.run(), transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE)
    assert "wants a Block volume" in outcome.message
    folder = tmp_path / "stock"
    (folder / "data").mkdir(parents=True)
    with stock_destination(folder, keys, data=folder / "data") as port:
        outcome = failed(source.run(DESTINATION_PORT=str(port)), transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE)
    assert "datamover run on both sides" in outcome.message


def test_files_for_a_block_destination_are_refused(source: Side, destination: Side) -> None:
    (source.data / "file").write_text("x")
    destination.data.rmdir()
    destination.block.write_bytes(b"x" * 4096)
    with destination.start() as running:
        destination.wait_listening(running)
        outcome = failed(source.run(), transfer.CONFIG, transfer.REASON_PEER_INCOMPATIBLE)
    assert "Block volume" in outcome.message
    assert destination.block.read_bytes() == b"x" * 4096


def test_a_blank_device_does_not_replace_one_with_data(source: Side, destination: Side) -> None:
    content = make_devices(source, destination, size=4 << 20)
    destination.block.write_bytes(content)
    source.block.write_bytes(bytes(4 << 20))
    with destination.start() as running:
        destination.wait_listening(running)
        failed(source.run(), transfer.GUARD, transfer.REASON_EMPTY_SOURCE)
        assert destination.block.read_bytes() == content
        succeeded(source.run(DATAMOVER_ALLOW_EMPTY_SOURCE="true"))
        succeeded(running.wait(timeout=30))
    assert destination.block.read_bytes() == bytes(4 << 20)


def test_a_slow_line_is_waited_for(source: Side, destination: Side, listening: Running) -> None:
    """Everything goes through a relay that hands on small pieces with pauses."""
    (source.data / "file").write_bytes(random.Random(9).randbytes(200_000))
    with relaying(destination.port, pause=0.005) as port:
        succeeded(source.run(DESTINATION_PORT=str(port)))
    assert (destination.data / "file").read_bytes() == (source.data / "file").read_bytes()


@pytest.mark.parametrize("block", [False, True])
def test_a_connection_that_breaks_in_the_middle_is_made_again(source: Side, destination: Side, block: bool) -> None:
    content = random.Random(9).randbytes(3 << 20)
    if block:
        make_devices(source, destination, size=len(content))
        source.block.write_bytes(content)
    else:
        (source.data / "file").write_bytes(content)
    with destination.start() as running:
        destination.wait_listening(running)
        with relaying(destination.port, breaks_after=1 << 20) as port:
            sent = source.run(DESTINATION_PORT=str(port))
        succeeded(sent)
        succeeded(running.wait(timeout=30))
    assert "Trying again" in sent.output
    assert (destination.block if block else destination.data / "file").read_bytes() == content


@contextlib.contextmanager
def relaying(port: int, *, pause: float = 0, breaks_after: int = 0) -> Iterator[int]:
    """Hand on what comes, in small pieces with pauses; the first connection breaks after so many bytes. Give the port."""
    relay = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def pump(one: socket.socket, other: socket.socket, left: int) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(8192):
                time.sleep(pause)
                left -= len(piece)
                if breaks_after and left < 0:
                    break
                other.sendall(piece)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(near: socket.socket, left: int) -> None:
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pump, args=(far, near, left))
            back.start()
            pump(near, far, left)
            back.join()

    def accept() -> None:
        left = breaks_after
        with contextlib.suppress(OSError):
            while True:
                near, _ = relay.accept()
                threads.append(threading.Thread(target=serve, args=(near, left)))
                threads[-1].start()
                left = 1 << 40

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield relay.getsockname()[1]
    finally:
        relay.shutdown(socket.SHUT_RDWR)
        relay.close()
        acceptor.join()
        for thread in threads:
            thread.join(10)
