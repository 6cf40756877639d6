"""The source: it sends the volume to the destination and then ends the server there."""

import contextlib
import socket
import time
from collections.abc import Callable

from datamover.agent.errors import Failure
from datamover.agent.rsync import output, passes
from datamover.agent.rsync.looking import check_destination, look
from datamover.agent.rsync.process import Ended, Rsync
from datamover.agent.rsync.retries import retry
from datamover.agent.rsync.sentences import tell_sent
from datamover.agent.rsync.tls import tunnel
from datamover.agent.rsync.tls.work import Work
from datamover.agent.rsync.volume import Volume
from datamover.api import transfer

_LATER = frozenset({transfer.REASON_SERVER_UNREACHABLE, transfer.REASON_DESTINATION_BUSY})
"""Reasons for which a destination does not say what it holds, and may say it later."""


class Source:
    """One attempt to send a folder."""

    def __init__(self, work: Work, volume: Volume) -> None:
        self._work = work
        self._settings = work.settings
        self._volume = volume
        self._listed = f"{work.scratch}/entries"
        self._tunnel: tunnel.Tunnel | None = None
        self._port = 0
        self._maybe_told = False
        self._vanished = False

    def run(self) -> transfer.Outcome:
        """Send everything, end the server, return the outcome. Raises Failure and Stopped."""
        work = self._work
        begun = time.monotonic()
        work.log.say(f"Syncing data to {self._settings.peer_name} ...")
        try:
            self._retry(self._send)
            work.log.say(passes.told_end(time.monotonic() - begun))
            work.report.phase(transfer.RECORDING)
            self._retry(self._end_server)
        finally:
            if self._tunnel is not None:
                self._tunnel.close()
        return work.succeeded(tell_sent(work.statistics, peer=self._settings.peer_name, vanished=self._vanished))

    def _retry(self, step: Callable[[], None]) -> None:
        def work(_: int) -> None:
            self._connect()
            step()

        retry(work, stop=self._work.stop, say=self._work.log.say, wait=self._work.report.wait)

    def _connect(self) -> None:
        """Let the tunnel stand: a new one where there is none, or it has ended."""
        if self._tunnel is not None:
            if not self._tunnel.ended:
                self._tunnel.forget()
                return
            self._tunnel.close()
            self._tunnel = None
        self._port = _free_port()
        self._tunnel = self._work.start_tunnel(
            tunnel.at_source(
                key=self._work.key_file, port=self._port, peer=self._settings.peer, peer_port=self._settings.port
            )
        )

    def _rsync(self, *read: str) -> Rsync:
        """Return what runs rsync through the tunnel, once. It may read these files and folders only: who serves the other end is not trusted either."""
        if self._tunnel is not None:
            self._tunnel.expect()
        return self._work.rsync(*read)

    def _address(self, module: str, path: str = "") -> str:
        return f"rsync://127.0.0.1:{self._port}/{module}/{path}"

    def _send(self) -> None:
        """One try of both passes."""
        work, folder = self._work, self._volume.path
        work.report.phase(transfer.PROBING)
        entries, has_file = look(folder, tick=work.stop.check)
        if not has_file and not self._settings.allow_empty:
            check_destination(
                self._rsync(),
                [self._address("data")],
                folders=bool(entries),
                peer=self._settings.peer_name,
                unheard=self._check_heard,
            )
        work.report.phase(transfer.SYNCING)
        if entries:
            passes.write_list(entries, path=self._listed)
            self._pass(passes.copying(listed=self._listed, source=folder, destination=self._address("data")))
        self._pass(passes.removing(source=folder, destination=self._address("data")), quiet=bool(entries))

    def _pass(self, arguments: list[str], *, quiet: bool = False) -> None:
        ended = self._rsync(self._volume.path, self._listed).run(arguments, quiet=quiet)
        self._work.statistics = output.add(self._work.statistics, ended.statistics)
        if ended.code == passes.VANISHED:
            # a copy does not change; of a volume in use it is a view while files come and go
            self._vanished = True
            self._work.log.say("Note: files vanished while they were read; they are left out.")
            return
        self._check(ended)

    def _check_heard(self, ended: Ended) -> None:
        """Raise Failure when the destination may say later what it holds."""
        if ended.code and ended.complaints.explain(ended.code, peer="").reason in _LATER:
            self._check(ended)

    def _end_server(self) -> None:
        """Tell the destination that all was sent."""
        sentinel = f"{self._work.scratch}/complete"
        with open(sentinel, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would take a tenth of the start-up budget
            file.write("complete\n")
        agreed = 0
        if self._tunnel is not None:
            self._tunnel.settle(seconds=2)  # the lines of earlier connections
            agreed = self._tunnel.seen.agreed
        ended = self._rsync(sentinel).run([sentinel, self._address("control", "complete")], quiet=True)
        if ended.code in passes.LOST and self._tunnel is not None:
            self._tunnel.settle(seconds=2)
            if self._maybe_told and self._tunnel.seen.trouble:
                # the connection broke when the file had been sent, and now nobody is there any more
                return
            # who was not even reached has not been told: its mover may be about to start again
            self._maybe_told = self._maybe_told or self._tunnel.seen.agreed > agreed
        self._check(ended)

    def _check(self, ended: Ended) -> None:
        """Raise Failure when rsync did not end well: with the tunnel's reason where it has one."""
        if not ended.code:
            return
        found = ended.complaints.explain(ended.code, peer=self._settings.peer_name)
        if ended.code not in passes.LOST or found.reason != transfer.REASON_SERVER_UNREACHABLE:
            raise found
        raise self._explain(found)

    def _explain(self, found: Failure) -> Failure:
        """Return why a connection was lost: what the tunnel knows of it, else what was `found`."""
        if self._tunnel is None:
            return found
        self._tunnel.settle(seconds=2)
        seen, peer = self._tunnel.seen, self._settings.peer_name
        if seen.other_key:
            return Failure(
                transfer.CREDENTIALS,
                transfer.REASON_WRONG_CREDENTIALS,
                f"The destination {peer} refuses the key. Both sides need the same one: copy the Secret that the ReplicationDestination's status names"
                " (rsyncTLS.keySecret) into this namespace and name it in spec.rsyncTLS.keySecret.",
            )
        if seen.other_tls:
            return Failure(
                transfer.NETWORK,
                transfer.REASON_TLS_MISMATCH,
                f"What answers at {peer} does not speak TLS 1.3 with a key of both sides ({seen.other_tls}): is it a destination, and does nothing between"
                " both sides open the connection?",
                retryable=True,
            )
        if seen.trouble:
            return Failure(
                transfer.NETWORK,
                transfer.REASON_SERVER_UNREACHABLE,
                f"The destination {peer} cannot be reached ({seen.trouble}): is the address right, is its mover running, and do network policies let"
                " the mover through?",
            )
        return found


def _free_port() -> int:
    """Return a port on loopback that is free now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
