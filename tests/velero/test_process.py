"""The plugin as a process, the way a Velero server treats it: started, asked, ended, left alone, maltreated."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from datamover.velero.generated import backup_item_action_pb2 as b
from datamover.velero.generated import control_pb2, health_pb2, lister_pb2, shared_pb2
from datamover.velero.wire import MESSAGE_LIMIT
from support.velero_host import PROGRAM, HostDead, VeleroHost, environment

RHCOS = "datamover.a-cup-of.coffee/kubevirt-rhcos"
CONTROL_PLANE = "datamover.a-cup-of.coffee/hosted-control-plane"
CLAIM = {"kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": "b"}}
MEMORY = 80_000_000


@pytest.fixture
def host() -> Iterator[VeleroHost]:
    with VeleroHost() as found:
        yield found


def refused(call: Any, *arguments: Any) -> str:
    """Return the one sentence of a call that has to fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNKNOWN, error
    assert error.details()
    assert "\n" not in error.details()
    return error.details()


def alive(host: VeleroHost) -> bool:
    host.ping()
    return host.process.poll() is None


def test_it_is_listed_by_the_path_by_which_it_was_started(host: VeleroHost):
    found = host.plugins()
    assert {command for command, _, _ in found} == {str(PROGRAM)}
    assert ("BackupItemActionV2", RHCOS) in {(kind, name) for _, kind, name in found}
    assert len({(kind, name) for _, kind, name in found}) == len(found)
    for _, _, name in found:
        domain, _, word = name.partition("/")
        assert domain == "datamover.a-cup-of.coffee"
        assert word


def test_nothing_is_printed_but_the_first_line_and_what_is_logged_can_be_read(host: VeleroHost):
    host.backup(RHCOS, CLAIM, {})
    host.stop()
    assert host.printed == b""
    assert host.noise == []
    assert host.messages("debug")


def test_it_ends_when_it_is_told_to(host: VeleroHost):
    host.stop()
    assert not host.killed
    assert host.process.returncode == 0
    assert not Path(host.address).parent.exists()


def test_it_holds_little_memory(host: VeleroHost):
    for _ in range(20):
        host.backup(RHCOS, CLAIM, {"spec": {}})
    assert host.resident() < MEMORY


@pytest.mark.parametrize("value", [None, "", "HELLO"])
def test_without_the_word_it_says_what_it_is_and_ends(value: str | None):
    environ = environment()
    environ.pop("VELERO_PLUGIN")
    if value is not None:
        environ["VELERO_PLUGIN"] = value
    done = subprocess.run([PROGRAM, "--help"], env=environ, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"This program is a plugin for Velero" in done.stderr


def test_flags_that_it_does_not_know_are_passed_over():
    words = ("--features=EnableCSI", "--brand-new", "--item-block-worker-count", "4", "--log-level", "error", "run")
    with VeleroHost(arguments=words) as host:
        host.backup(RHCOS, CLAIM, {})
        assert host.messages() == []


@pytest.mark.parametrize(
    "told",
    [
        {"GRPC_POLL_STRATEGY": "epollex"},  # of earlier versions
        {"GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "all"},
        {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp"},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_velero_is_told_about_grpc_is_not_for_it(told: dict[str, str]):
    with VeleroHost(environ=environment(**told)) as host:
        assert host.backup(RHCOS, CLAIM, {})[1] == ""
        assert host.noise == []


def test_a_folder_for_sockets_of_the_host_is_used(tmp_path: Path):
    with VeleroHost(environ=environment(PLUGIN_UNIX_SOCKET_DIR=str(tmp_path))) as host:
        assert host.network == "unix"
        assert Path(host.address).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- where it cannot write ---


def cannot_write() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


NO_FILES = pytest.mark.skipif(
    "DATAMOVER_TEST_VELERO_PLUGIN" in os.environ,
    reason="the limit holds for memory too, where the one file has its libraries; test_one_file.py has a root that cannot be written",
)


@NO_FILES
def test_without_a_place_for_temporary_files_it_is_a_port_in_the_range():
    environ = environment(PLUGIN_MIN_PORT="21000", PLUGIN_MAX_PORT="21999")
    with VeleroHost(environ=environ, preexec=cannot_write) as host:
        assert host.network == "tcp"
        name, _, port = host.address.partition(":")
        assert name == "127.0.0.1"
        assert 21_000 <= int(port) <= 21_999
        assert host.backup(RHCOS, CLAIM, {})[1] == ""
    assert not host.killed


# A folder for temporary files that is a file system of its own is read-only then as well; else it is with the root.
READ_ONLY = (
    'mount -o remount,bind,ro / && { mount -o remount,bind,ro /tmp 2>/dev/null || true; } && cd /proc && exec "$@"'
)


def can_unshare() -> bool:
    script = ["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", "true"]
    with contextlib.suppress(OSError):
        return subprocess.run(script, capture_output=True, check=False, timeout=20).returncode == 0
    return False


@pytest.mark.skipif(not can_unshare(), reason="needs a mount namespace of its own")
def test_with_a_root_that_is_read_only_it_works():
    with VeleroHost(command=["unshare", "-rm", "sh", "-c", READ_ONLY, "sh", str(PROGRAM)]) as host:
        assert host.network == "tcp"
        assert host.backup(RHCOS, CLAIM, {})[0]["metadata"]["annotations"] == {"velero.io/skip-from-backup": "true"}
        assert host.plugins()[0][0] == str(PROGRAM)
    assert not host.killed


KEEPS_A_PORT = """
import os, socket, sys
kept = socket.socket()
kept.bind(("127.0.0.1", 1))
kept.listen()
kept.set_inheritable(True)
os.execv(sys.argv[1], sys.argv[1:])
"""


@NO_FILES
def test_neither_folder_nor_port_is_told_in_the_log():
    environ = environment(PLUGIN_MIN_PORT="1", PLUGIN_MAX_PORT="1")
    taken = [sys.executable, "-c", KEEPS_A_PORT, str(PROGRAM)]
    host = VeleroHost(command=taken, environ=environ, preexec=cannot_write)
    with pytest.raises(HostDead):
        host.__enter__()
    assert host.process.returncode not in (0, None)
    assert any("give the Velero Pod a writable /tmp" in message for message in host.messages("error"))


# --- how it ends ---


def test_ctrl_c_is_not_for_it_and_sigterm_is(host: VeleroHost):
    host.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert alive(host)
    host.process.send_signal(signal.SIGTERM)
    assert host.process.wait(10) == 0
    assert not Path(host.address).parent.exists()


LAUNCHER = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip(), flush=True)
child.wait()
"""


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("between", [[], ["sh", "-c", '"$@"; true', "sh"]], ids=["directly", "below a launcher"])
def test_it_does_not_outlive_its_host(between: list[str]):
    parent = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *between, str(PROGRAM)], stdout=subprocess.PIPE, env=environment()
    )
    assert parent.stdout is not None
    line = parent.stdout.readline().decode()
    first = line.split()[0]
    children = {int(first), *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())}
    assert "|grpc" in line
    assert all(map(running, children))
    assert len(children) == (2 if between else 1)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 15
    while any(map(running, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, children))
    assert not Path(line.split("|")[3]).exists()


def _call_for_ever(host: VeleroHost) -> None:
    for _ in range(1000):  # who is quick may still be answered
        host.backup(RHCOS, CLAIM, {}, timeout=10)


def test_calls_after_shutdown_fail_and_the_process_is_gone():
    with VeleroHost() as host:
        host.call("/plugin.GRPCController/Shutdown", control_pb2.Empty(), control_pb2.Empty)
        with pytest.raises(grpc.RpcError) as caught:
            _call_for_ever(host)
        error: Any = caught.value
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert host.process.wait(10) == 0


# --- whatever is sent to it ---


@pytest.mark.parametrize(
    "item",
    [b"", b"{", b"null", b"[]", b"\x00\xff", b"7", b'"x"', b"{" * 200, b'{"metadata":7}', b"[" * 5_000_000],
    ids=["empty", "half", "null", "list", "binary", "number", "text", "open", "metadata", "deep"],
)
def test_items_that_are_none_are_one_error_each(host: VeleroHost, item: bytes):
    b_ = "BackupItemAction"
    assert "cannot be read" in refused(host.call, f"/v2.{b_}/Execute", b.ExecuteRequest(plugin=RHCOS, item=item), Empty)
    if item != b'{"metadata":7}':
        assert "the item cannot be read" in refused(host.restore, CONTROL_PLANE, item, {})
    assert alive(host)


def test_large_items_go_through_and_larger_ones_are_told(host: VeleroHost):
    large = {**CLAIM, "spec": {"x": "y" * (10 << 20)}}
    item, _ = host.backup(RHCOS, large, {})
    assert item["spec"] == large["spec"]
    assert host.restore(CONTROL_PLANE, large, {}) == (large, False)
    assert "longer than" in refused(host.backup, RHCOS, b'{"a":"' + b"x" * (17 << 20) + b'"}', {})
    assert str(MESSAGE_LIMIT) in refused(host.backup, RHCOS, b"x" * (MESSAGE_LIMIT + 1), {})
    assert alive(host)


@pytest.mark.parametrize(
    "name", ["", "nobody/nothing", "datamover.a-cup-of.coffee/", "x" * 100_000, "\u202e\n\x1b[2J", CONTROL_PLANE + " "]
)
def test_names_of_nobody_are_one_error_each(host: VeleroHost, name: str):
    for call in (host.backup_applies, host.restore_applies):
        assert "this plugin has no action" in refused(call, name)
    for call in (host.backup, host.restore):
        assert "this plugin has no action" in refused(call, name, CLAIM, {})
    assert "this plugin has no action" in refused(host.progress, name, "id", {})
    assert "this plugin has no action" in refused(host.cancel, name, "id", {})
    assert alive(host)


def test_requests_that_are_none_are_one_error_each(host: VeleroHost):
    for raw in (b"\xff\xff\xff\xff", b"\x0a\xff", os.urandom(4096) + b"\xff"):
        for method in ("v2.BackupItemAction/Execute", "v2.RestoreItemAction/Execute", "v2.BackupItemAction/Progress"):
            refused(host.call, f"/{method}", raw, Empty)
        for method, answer in (
            ("generated.PluginLister/ListPlugins", lister_pb2.ListPluginsResponse),
            ("grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse),
        ):
            refused(host.call, f"/{method}", raw, answer)
    assert alive(host)


def test_services_and_methods_that_it_does_not_have_are_told_as_grpc_does(host: VeleroHost):
    for method in ("/generated.ObjectStore/Init", "/v2.BackupItemAction/Nothing", "/plugin.GRPCBroker/StartStream"):
        with pytest.raises(grpc.RpcError) as caught:
            host.call(method, shared_pb2.Empty(), Empty)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        host.call(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest(service="other"),
            health_pb2.HealthCheckResponse,
        )
    error = caught.value
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert alive(host)


def test_many_calls_at_once_are_all_answered(host: VeleroHost):
    def ask(number: int) -> str:
        item, _ = host.backup(RHCOS, {**CLAIM, "spec": {"n": number}}, {})
        return item["spec"]["n"]

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(ask, range(400))) == list(range(400))
    assert host.resident() < MEMORY


def _refused_stream(stream: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    error: Any = caught.value
    return error.details()


def test_streams_beyond_the_first_few_are_refused_and_calls_go_on(host: VeleroHost):
    open_ = host.channel.unary_stream(
        "/plugin.GRPCStdio/StreamStdio", Empty.SerializeToString, control_pb2.StdioData.FromString
    )
    streams = [open_(Empty()) for _ in range(40)]
    answers = [_refused_stream(stream) for stream in streams[-8:]]
    assert all("too many streams are open" in answer for answer in answers)
    assert alive(host)
    for stream in streams:
        stream.cancel()
    host.stop()
    assert not host.killed


def test_health_can_be_watched(host: VeleroHost):
    watch = host.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    status = health_pb2.HealthCheckResponse
    for service, answer in (("plugin", status.SERVING), ("", status.SERVING), ("other", status.SERVICE_UNKNOWN)):
        stream = watch(health_pb2.HealthCheckRequest(service=service))
        assert next(stream).status == answer
        stream.cancel()
