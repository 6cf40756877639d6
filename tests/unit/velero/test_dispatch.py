"""The services over a real connection, in one process, with actions that do what a test wants."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from datamover.velero.actions import ActionError, Call, Executed, Progress, Restored, Selector
from datamover.velero.dispatch import Dispatch
from datamover.velero.generated import backup_item_action_pb2 as b
from datamover.velero.generated import restore_item_action_pb2 as r
from datamover.velero.logs import Log
from datamover.velero.server import Server
from datamover.velero.wire import MESSAGE_LIMIT

LIMIT = 3.0


class Fake:
    name = "test/backup"
    selector = Selector(resources=("things.example.org",), labels="a=b")

    def __init__(self) -> None:
        self.does: Callable[[Call], Any] = lambda _: None
        self.asked: list[tuple[str, bytes]] = []

    @property
    def operations(self) -> "Fake":
        return self

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        return self.does(call) or Executed(item=item, operation="op")

    def progress(self, operation: str, backup: bytes, call: Call, /) -> Progress:
        self.asked.append((operation, backup))
        return self.does(call) or Progress(completed=False, error="not yet")

    def cancel(self, operation: str, backup: bytes, call: Call, /) -> None:
        self.asked.append((operation, backup))
        self.does(call)


class Silent:
    name = "test/silent"
    selector = Selector(resources=("pods",))
    operations = None

    def execute(self, item: bytes, backup: bytes, call: Call, /) -> Executed:
        return Executed(item=item)


class FakeRestore:
    name = "test/restore"
    selector = Selector(resources=("pods",))

    def execute(self, item: bytes, restore: bytes, /) -> Restored:
        return Restored(item=item, skip=restore == b"skip")


class Connection:
    def __init__(self, channel: grpc.Channel, fake: Fake) -> None:
        self.channel = channel
        self.fake = fake

    def ask(self, method: str, request: Any, answer: Any) -> Any:
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        call = self.channel.unary_unary(f"/v2.{method}", lambda message: message, answer.FromString)
        return call(raw, timeout=30)

    def refused(self, method: str, request: Any) -> str:
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(method, request, Empty)
        assert caught.value.code() is grpc.StatusCode.UNKNOWN  # type: ignore[attr-defined]
        return caught.value.details()  # type: ignore[attr-defined]


@pytest.fixture
def plugin() -> Iterator[Connection]:
    fake = Fake()
    dispatch = Dispatch((fake, Silent()), (FakeRestore(),), log=Log("error", descriptor=-1), limit=LIMIT)
    server = Server(dispatch.services())
    address = server.listen(socket_directory=None, ports=range(10_000, 25_000))
    channel = grpc.insecure_channel(f"unix:{address.text}", options=[("grpc.max_receive_message_length", -1)])
    yield Connection(channel, fake)
    channel.close()
    server.close(0)


def execute(name: str = "test/backup", item: bytes = b"item", backup: bytes = b"backup") -> b.ExecuteRequest:
    return b.ExecuteRequest(plugin=name, item=item, backup=backup)


def test_names_are_listed_by_kind():
    dispatch = Dispatch((Fake(), Silent()), (FakeRestore(),), log=Log("error"))
    assert dispatch.names() == (
        ("BackupItemActionV2", "test/backup"),
        ("BackupItemActionV2", "test/silent"),
        ("RestoreItemActionV2", "test/restore"),
    )


def test_selectors(plugin: Connection):
    found = plugin.ask(
        "BackupItemAction/AppliesTo",
        b.BackupItemActionAppliesToRequest(plugin="test/backup"),
        b.BackupItemActionAppliesToResponse,
    ).ResourceSelector
    assert (list(found.includedResources), found.selector) == (["things.example.org"], "a=b")
    found = plugin.ask(
        "RestoreItemAction/AppliesTo",
        r.RestoreItemActionAppliesToRequest(plugin="test/restore"),
        r.RestoreItemActionAppliesToResponse,
    ).ResourceSelector
    assert list(found.includedResources) == ["pods"]


def test_an_item_goes_through_whole(plugin: Connection):
    answer = plugin.ask("BackupItemAction/Execute", execute(item=b"x" * (10 << 20)), b.ExecuteResponse)
    assert (len(answer.item), answer.operationID) == (10 << 20, "op")


def test_a_moment_that_is_not_known_is_the_hosts_zero(plugin: Connection):
    request = b.BackupItemActionProgressRequest(plugin="test/backup", operationID="op", backup=b"{}")
    found = plugin.ask("BackupItemAction/Progress", request, b.BackupItemActionProgressResponse)
    assert found.HasField("progress")
    assert found.progress.started.seconds == found.progress.updated.seconds == -62_135_596_800
    assert found.progress.err == ""  # nothing has failed that is not over
    assert plugin.fake.asked == [("op", b"{}")]


def test_all_fields_of_a_progress_arrive(plugin: Connection):
    moment = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)
    plugin.fake.does = lambda _: Progress(
        completed=True, error="no", done=2, total=3, units="volumes", description="d", started=moment, updated=moment
    )
    request = b.BackupItemActionProgressRequest(plugin="test/backup", operationID="op", backup=b"{}")
    p = plugin.ask("BackupItemAction/Progress", request, b.BackupItemActionProgressResponse).progress
    assert (p.completed, p.err, p.nCompleted, p.nTotal, p.operationUnits, p.description) == (
        True,
        "no",
        2,
        3,
        "volumes",
        "d",
    )
    assert p.started.ToDatetime(UTC) == p.updated.ToDatetime(UTC) == moment


def test_restores_skip_what_the_action_skips(plugin: Connection):
    request = r.RestoreItemActionExecuteRequest(plugin="test/restore", item=b"i", restore=b"skip")
    answer = plugin.ask("RestoreItemAction/Execute", request, r.RestoreItemActionExecuteResponse)
    assert (answer.item, answer.skipRestore, answer.operationID) == (b"i", True, "")


def test_items_that_come_along_are_always_ready(plugin: Connection):
    request = r.RestoreItemActionItemsReadyRequest(plugin="test/restore")
    assert plugin.ask("RestoreItemAction/AreAdditionalItemsReady", request, r.RestoreItemActionItemsReadyResponse).ready


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("BackupItemAction/AppliesTo", b.BackupItemActionAppliesToRequest(plugin="a\nb")),
        ("BackupItemAction/Execute", execute("a\nb")),
        ("BackupItemAction/Execute", b.ExecuteRequest()),
        ("BackupItemAction/Progress", b.BackupItemActionProgressRequest(plugin="test/restore")),
        ("BackupItemAction/Cancel", b.BackupItemActionCancelRequest(plugin="test/restore")),
        ("RestoreItemAction/AppliesTo", r.RestoreItemActionAppliesToRequest(plugin="test/backup")),
        ("RestoreItemAction/Execute", r.RestoreItemActionExecuteRequest(plugin="x" * 100_000)),
        ("RestoreItemAction/AreAdditionalItemsReady", r.RestoreItemActionItemsReadyRequest()),
        ("RestoreItemAction/Progress", r.RestoreItemActionProgressRequest()),
        ("RestoreItemAction/Cancel", r.RestoreItemActionCancelRequest()),
    ],
)
def test_an_unknown_name_is_told_with_those_that_there_are(plugin: Connection, method: str, request_: Any):
    said = plugin.refused(method, request_)
    assert "this plugin has no action “" in said
    assert "test/" in said
    assert len(said) < 600
    assert "\n" not in said


def test_an_action_without_operations_says_so(plugin: Connection):
    progress = b.BackupItemActionProgressRequest(plugin="test/silent", operationID="x")
    assert plugin.refused("BackupItemAction/Progress", progress) == (
        "test/silent starts no operations, so there is none with the id “x”"
    )
    cancel = r.RestoreItemActionCancelRequest(plugin="test/restore", operationID="x")
    assert "starts no operations" in plugin.refused("RestoreItemAction/Cancel", cancel)


def test_bytes_that_are_no_request_are_told(plugin: Connection):
    assert plugin.refused("BackupItemAction/Execute", b"\xff\xff\xff") == "the request is no v2.ExecuteRequest"


def test_a_request_above_the_limit_is_told_with_the_limit(plugin: Connection):
    said = plugin.refused("BackupItemAction/Execute", execute(item=b"x" * MESSAGE_LIMIT))
    assert said.endswith(f"this plugin reads at most {MESSAGE_LIMIT}")


def test_what_an_action_says_arrives_cleaned_and_cut(plugin: Connection):
    def fail(_: Call) -> None:
        raise ActionError("no\x1b[31m way\n" + "x" * 100_000)

    plugin.fake.does = fail
    said = plugin.refused("BackupItemAction/Execute", execute())
    assert said.startswith("no\\x1b[31m way x")
    assert len(said) == 2048


@pytest.mark.parametrize("error", [ValueError("oops"), TimeoutError(), RecursionError(), MemoryError()])
def test_a_fault_of_an_action_is_one_error_and_the_process_goes_on(plugin: Connection, error: Exception):
    def fail(_: Call) -> None:
        raise error

    plugin.fake.does = fail
    said = plugin.refused("BackupItemAction/Execute", execute())
    assert said.startswith(f"test/backup has failed by a fault of its own: {type(error).__name__}")
    plugin.fake.does = lambda _: None
    assert plugin.ask("BackupItemAction/Execute", execute(), b.ExecuteResponse).item == b"item"


def test_an_action_that_hangs_costs_its_own_call_only(plugin: Connection):
    release = threading.Event()
    plugin.fake.does = lambda _: release.wait(60) and None
    begun = time.monotonic()
    assert plugin.refused("BackupItemAction/Execute", execute()) == (
        "test/backup did not answer in time, and is not waited for any longer"
    )
    assert time.monotonic() - begun < 30
    assert plugin.ask("BackupItemAction/Execute", execute("test/silent"), b.ExecuteResponse).item == b"item"
    release.set()


def test_an_action_that_says_it_is_alive_may_take_longer(plugin: Connection):
    def slow(call: Call) -> None:
        for _ in range(5):
            call.extend(LIMIT)
            call.sleep(LIMIT / 3)

    plugin.fake.does = slow
    assert plugin.ask("BackupItemAction/Execute", execute(), b.ExecuteResponse).operationID == "op"


def test_an_action_hears_that_nobody_waits_any_more(plugin: Connection):
    over = threading.Event()

    def wait(call: Call) -> None:
        while call.wanted():
            call.extend(LIMIT)
            call.sleep(0.02)
        over.set()

    plugin.fake.does = wait
    ask = plugin.channel.unary_unary(
        "/v2.BackupItemAction/Execute", lambda message: message, b.ExecuteResponse.FromString
    )
    with pytest.raises(grpc.RpcError):
        ask(execute().SerializeToString(), timeout=0.3)
    assert over.wait(10)


def test_calls_run_at_the_same_time(plugin: Connection):
    together = threading.Barrier(8)
    plugin.fake.does = lambda _: together.wait(20) and None
    ask = plugin.channel.unary_unary(
        "/v2.BackupItemAction/Execute", lambda message: message, b.ExecuteResponse.FromString
    )
    calls = [ask.future(execute().SerializeToString(), timeout=30) for _ in range(8)]
    assert [call.result().operationID for call in calls] == ["op"] * 8
