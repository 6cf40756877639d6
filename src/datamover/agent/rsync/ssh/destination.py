"""The destination: an sshd that runs one command, until a source orders it to end."""

import os
import re
import shlex
import signal
import time
from contextlib import suppress
from typing import Final

import msgspec

from datamover.agent.children import Child, find_wrapper, start_process
from datamover.agent.errors import Failure
from datamover.agent.excerpt import Excerpt
from datamover.agent.progress import Reporter
from datamover.agent.rsync import devices, orders
from datamover.agent.rsync.orders import Inbox, Order, Plan
from datamover.agent.rsync.output import SUMMARY, Statistics
from datamover.agent.rsync.process import child_environment
from datamover.agent.rsync.program import find_program
from datamover.agent.rsync.server_log import Log
from datamover.agent.rsync.ssh import forced
from datamover.agent.rsync.ssh.files import write_server_files
from datamover.agent.rsync.ssh.settings import Settings
from datamover.agent.rsync.volume import failure_of_disk, flush
from datamover.agent.shell import Surroundings
from datamover.api import outside, transfer

_UNBOUND: Final = re.compile(r"Bind to port [0-9]+ on \S+ failed")
_TICK: Final = 0.5
_FAREWELL: Final = 10.0
"""Seconds that a transfer gets to end after the order to end, and that sshd gets to tell the source so."""
_PARTING: Final = 0.3
"""Seconds between that order and the end of sshd, in which the source hears that it was taken."""
_VERSION: Final = re.compile(r"OpenSSH_([0-9]{1,4})\.([0-9]{1,4})")
EMPTY_FOLDER: Final = "/run/sshd"
"""Where sshd locks in what has not logged in yet."""


class Destination:
    """One attempt to receive a folder or a block device."""

    def __init__(self, settings: Settings, given: Surroundings) -> None:
        self._settings = settings
        self._given = given
        self._stop = given.stop
        self._log = Excerpt(success=SUMMARY, show=given.say, redact=given.redact)
        self._report = Reporter(settings.run_id, tell=given.tell, monotonic=time.monotonic)
        self._begun: float | None = None
        self._done = Statistics()
        self._unbound = False

    def run(self) -> transfer.Outcome:
        """Serve until a source is done; return the outcome."""
        return self._given.conclude(self._receive, so_far=self._so_far, log=self._log)

    def _receive(self) -> transfer.Outcome:
        _check_rights()
        settings, folder = self._settings, self._given.scratch
        search = self._given.environ.get("PATH")
        rsync = (
            ""
            if settings.volume.is_device
            else find_program(("rsync",), given=settings.rsync, variable=transfer.RSYNC, search=search)
        )
        orders.prepare(folder, Plan(volume=settings.volume.path, is_device=settings.volume.is_device, rsync=rsync))
        # it starts itself anew for each connection, and wants to know where it is
        program = find_program(("sshd",), search=search)
        configuration = write_server_files(
            settings, folder, command=shlex.join(forced.command_of(folder)), penalties=self._has_penalties(program)
        )
        inbox = Inbox(folder)
        log = Log(orders.log_of(folder), say=self._log.say)
        process = start_process(
            [*find_wrapper(search=search), program, "-D", "-e", "-f", configuration],
            stop=self._stop,
            environment=child_environment(self._given.environ),
            piped=False,
        )
        sshd = Child(process, stop=self._stop, on_line=self._hear)
        try:
            self._report.phase(transfer.AWAITING)
            self._log.say(f"Waiting for a source on port {settings.port} ...")
            code = self._wait(inbox, sshd, log)
            ended = orders.end_running(folder, patience=_FAREWELL)
            self._stop.pause(_PARTING)
        finally:
            end_strangers(process.pid)
            sshd.end(grace=1.0)
            sshd.ended_within(2.0)
            sshd.close()
            # what runs for a client is no child of ours, and would write on
            orders.end_running(folder, patience=0)
            log.close()
            inbox.close()
        if not settings.volume.is_device:
            self._done = Statistics(size=log.transfer.size, transferred_size=log.transfer.received)
        return self._finish(code, whole=ended)

    def _wait(self, inbox: Inbox, sshd: Child, log: Log) -> int:
        """Return the code with which a source has ended. Raises Failure and Stopped."""
        while True:
            self._stop.check()
            for order in inbox.wait(_TICK):
                if order.what == orders.SHUTDOWN:
                    return order.code
                self._take(order, log)
            self._report.wait(log.trouble)
            if sshd.ended or self._unbound:
                self._stop.check()
                ended = (
                    f"ended by itself (exit code {sshd.code})"
                    if sshd.ended
                    else "cannot listen where sources look for it"
                )
                raise Failure(
                    transfer.INTERNAL,
                    transfer.REASON_ENGINE_FAILED,
                    f"sshd {ended}. Its lines in the mover's log say why; another process may use port {self._settings.port}.",
                )

    def _take(self, order: Order, log: Log) -> None:
        if self._begun is None:
            self._begun = time.monotonic()
        self._report.phase(transfer.RECEIVING)
        log.begin()
        # a transfer that has only begun may have changed what was equal
        self._done = Statistics(size=order.size, transferred_size=order.written)
        if order.why:
            self._log.say(f"The transfer of a device failed: {order.why}")

    def _has_penalties(self, program: str) -> bool:
        """Whether this sshd shuts out addresses (OpenSSH 9.8 and newer do); older ones do not know the word for it."""
        process = start_process([program, "-V"], stop=self._stop, environment={}, piped=True, merged=True)
        said: list[bytes] = []
        Child(process, stop=self._stop, on_line=said.append).finish(timeout=10)
        return has_penalties(b"".join(said).decode("ascii", "replace"))

    def _finish(self, code: int, *, whole: bool) -> transfer.Outcome:
        """Bring everything to the disk: only then it is there (law L4). Raises Failure."""
        if code or not whole:
            why = f"with code {code}" if code else "while a transfer of it was under way"
            raise Failure(
                transfer.NETWORK,
                transfer.REASON_SERVER_ERROR,
                f"The source has ended {why}: what it sent is not complete. Its own mover says why; the next attempt goes on from here.",
            )
        device = self._settings.volume.is_device
        if device and not self._done.size:
            raise Failure(
                transfer.NETWORK,
                transfer.REASON_SERVER_ERROR,
                "The source has ordered the end, but the device is not known to be equal to its own. The next attempt goes on from here.",
            )
        self._report.phase(transfer.RECORDING)
        try:
            flush(self._settings.volume)
        except OSError as error:
            raise failure_of_disk(self._settings.volume, error) from None
        took = time.monotonic() - self._begun if self._begun is not None else 0
        self._log.say(devices.tell_end(took) if device else f"Rsync completed in {int(took)}s")
        return msgspec.structs.replace(
            self._so_far(),
            succeeded=True,
            reason=transfer.REASON_SUCCEEDED,
            message=devices.tell_received(self._done)
            if device
            else "A source has sent everything, and it is on the volume's disk.",
            verified=True if device else None,
        )

    def _hear(self, raw: bytes) -> None:
        line = raw[: outside.WORD_LIMIT].decode("utf-8", "backslashreplace").rstrip()
        self._log.say(line)
        # it goes on with the other kind of address, on which nobody may come
        self._unbound = self._unbound or _UNBOUND.match(line) is not None

    def _so_far(self) -> transfer.Outcome:
        return msgspec.structs.replace(
            self._given.begun,
            run_id=self._settings.run_id,
            bytes=self._done.size,
            transferred_bytes=self._done.transferred_size,
            engine=devices.ENGINE if self._settings.volume.is_device else "rsync",
        )


def has_penalties(version: str) -> bool:
    """Tell by what `sshd -V` says whether it shuts out addresses from which strangers came."""
    found = _VERSION.search(version)
    return found is not None and (int(found[1]), int(found[2])) >= (9, 8)


def end_strangers(sshd: int) -> None:
    """Kill those of sshd's processes that nobody has logged in to: they would keep its log open, and so this attempt, for as long as a login may take."""
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - start-up budget
        with suppress(OSError):
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - start-up budget
                parent = int(file.read().rpartition(b")")[2].split()[1])
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123 - start-up budget
                title = file.read()
            if parent == sshd and b"root@" not in title:
                os.kill(int(name), signal.SIGKILL)


def _check_rights() -> None:
    """Say in one sentence what sshd would not. Raises Failure."""
    if os.geteuid() != 0:
        raise Failure(
            transfer.CONFIG,
            transfer.REASON_INVALID_CONFIGURATION,
            "The destination of an rsync over ssh must be root, with the capabilities that its Job asks for: use it in a namespace that allows"
            " privileged Pods, or use rsyncTLS, which needs no rights.",
        )
    if not os.path.isdir(EMPTY_FOLDER):  # noqa: PTH112 - start-up budget
        try:
            os.mkdir(EMPTY_FOLDER, 0o755)  # noqa: PTH102 - start-up budget
        except OSError as error:
            raise Failure(
                transfer.CONFIG,
                transfer.REASON_ENGINE_MISSING,
                f"sshd needs the empty folder {EMPTY_FOLDER}, which cannot be made: {error.strerror}. Use a mover image that has it.",
            ) from None
