"""The destination: it serves one source until that says that everything was sent."""

import contextlib
import os
import socket
import time

from datamover.agent.errors import Failure
from datamover.agent.rsync import passes
from datamover.agent.rsync.confinement import Reach, home_of
from datamover.agent.rsync.output import Statistics
from datamover.agent.rsync.server_log import Log
from datamover.agent.rsync.tls import daemon, symlinks
from datamover.agent.rsync.tls import tunnel as tunnels
from datamover.agent.rsync.tls.tunnel import Tunnel
from datamover.agent.rsync.tls.work import Work, write_secretly
from datamover.agent.rsync.volume import Volume, failure_of_disk, flush
from datamover.api import transfer

_CONFIGURATION = "rsyncd.conf"
"""Its place is that of the tunnel, whose arguments take no blanks."""
_LOOK = 5.0
"""Seconds between two looks when nothing happens; whatever happens wakes it up at once."""
FAREWELL = 10.0
"""Seconds that the source gets to end its last connection."""


class Destination:
    """One attempt to receive a folder."""

    def __init__(self, work: Work, volume: Volume) -> None:
        self._work = work
        self._volume = volume
        self._control = f"{work.scratch}/control"
        self._begun = time.monotonic()
        self._writing = False

    def run(self) -> transfer.Outcome:
        """Serve until a source is done; return the outcome. Raises Failure and Stopped."""
        work = self._work
        identity = daemon.own_identity()
        if not work.settings.privileged:
            work.log.say(
                "Note: this mover has no privileges; all files become its own user's, whoever owns them at the source."
            )
        os.mkdir(self._control, 0o700)  # noqa: PTH102 - start-up budget
        pipe, configuration = f"{work.scratch}/rsyncd.log", f"{work.scratch}/{_CONFIGURATION}"
        lock = f"{work.scratch}/rsyncd.lock"
        write_secretly(
            configuration,
            daemon.configure(
                data=self._volume.path,
                control=self._control,
                log=pipe,
                lock=lock,
                identity=identity,
            ),
        )
        log = Log(pipe, say=work.log.say, changed=work.changed, module=daemon.DATA)
        try:
            write_secretly(lock, "")  # a file must be there to be in anybody's reach
            tunnel = work.start_tunnel(
                self._tunnel_configuration(),
                refused=lambda peer: refuse_stranger(work, peer),
                # whoever has the key speaks with a program that may be root: nothing but the volume is worth an attack then
                reach=Reach(
                    owned=(self._volume.path, self._control),
                    read=(home_of(work.rsync_program),),
                    files=(pipe, lock),
                ),
            )
            os.unlink(work.key_file)  # noqa: PTH108 - stunnel has read it, and nobody else shall
            try:
                work.report.phase(transfer.AWAITING)
                work.log.say(f"Waiting for a source on port {work.settings.listen_port} ...")
                self._serve(tunnel, log)
                tunnel.finish(seconds=FAREWELL)
            finally:
                tunnel.close()
            # a daemon that a peer keeps busy would write while links get their targets back
            if not daemon.wait_gone(lock, seconds=FAREWELL):
                raise Failure(
                    transfer.INTERNAL,
                    transfer.REASON_ENGINE_FAILED,
                    "A daemon of rsync does not end although its connection is gone. The next attempt goes on from here.",
                )
        finally:
            log.close()
        return self._finish(log)

    def _tunnel_configuration(self) -> str:
        work = self._work
        return tunnels.at_destination(
            key=work.key_file,
            accept=accept_on(work.settings.listen_port),
            # one daemon for each connection, and no port that somebody else on this machine could reach without the key
            connect=f"exec = {work.rsync_program}\nexecArgs = rsync --daemon --config={_CONFIGURATION} .\n",
        )

    def _serve(self, tunnel: Tunnel, log: Log) -> None:
        """Wait until a source has put its file into `control`. Raises Failure and Stopped."""
        work = self._work
        sentinel = f"{self._control}/{daemon.COMPLETE}"
        while not os.path.lexists(sentinel):
            tunnel.check(work.stop)
            if log.transfer.writing and not self._writing:
                self._writing, self._begun = True, time.monotonic()
                work.report.phase(transfer.RECEIVING)
            work.report.wait(log.trouble)
            work.changed.wait(_LOOK)
            work.changed.clear()

    def _finish(self, log: Log) -> transfer.Outcome:
        """Give links their targets back, and bring everything to the disk: only then it is there (law L4). Raises Failure and Stopped."""
        work = self._work
        work.stop.check()
        work.report.phase(transfer.RECORDING)
        try:
            restored = symlinks.restore(self._volume.path, tick=work.stop.check)
            flush(self._volume)
        except PermissionError as error:
            raise Failure(
                transfer.DENIED,
                transfer.REASON_ACCESS_DENIED,
                f"A folder of the volume cannot be entered, so symbolic links in it may keep the prefix of the transfer: {error.strerror}. It is somebody else's: give"
                " the mover the user of the files (moverSecurityContext), or allow privileged movers in this namespace (annotation"
                " volsync.backube/privileged-movers).",
            ) from None
        except OSError as error:
            raise failure_of_disk(self._volume, error) from None
        if restored.missed:
            raise Failure(
                transfer.DENIED,
                transfer.REASON_ACCESS_DENIED,
                f"{restored.missed} symbolic links could not be given their targets back. The mover may not write into their folders: give it the user of the"
                " files (moverSecurityContext), or allow privileged movers in this namespace (annotation volsync.backube/privileged-movers).",
                problems=tuple(restored.failed),
            )
        work.log.say(passes.told_end(time.monotonic() - self._begun))
        done = log.transfer
        work.statistics = Statistics(size=done.size, links=restored.links, transferred_size=done.received)
        return work.succeeded(
            f"A source has sent everything that it has: {done.size} bytes, for which {done.received} came over the wire, with {restored.links} symbolic links."
        )


def accept_on(port: int) -> str:
    """Return where to listen: on all addresses, of both kinds where there are both."""
    with contextlib.suppress(OSError), contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        probe.bind(("::", 0))
        return f":::{port}"
    return f"0.0.0.0:{port}"


def refuse_stranger(work: Work, peer: str) -> None:
    """Tell of a peer that was turned away."""
    whose = f" ({peer})" if peer else ""
    work.log.say(
        f"rsync: a peer{whose} was refused, because its key is another one, or it does not speak TLS 1.3 with a key. The source needs the Secret that"
        " the status of this ReplicationDestination names (rsyncTLS.keySecret)."
    )
