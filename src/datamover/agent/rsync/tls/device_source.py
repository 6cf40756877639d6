"""The source of a block device: it speaks the block differ's protocol through the tunnel."""

import socket
import time

from datamover.agent.errors import Failure
from datamover.agent.rsync import devices
from datamover.agent.rsync.tls.source import Source
from datamover.api import transfer


class DeviceSource(Source):
    """One attempt to send a block device."""

    def run(self) -> transfer.Outcome:
        """Send it; return the outcome. Raises Failure and Stopped."""
        work = self._work
        begun = time.monotonic()
        work.log.say(f"Syncing the device to {self._settings.peer_name} ...")
        try:
            self._retry(self._send)
        finally:
            if self._tunnel is not None:
                self._tunnel.close()
        work.log.say(devices.tell_end(time.monotonic() - begun))
        return work.succeeded(
            devices.tell_sent(work.statistics, peer=self._settings.peer_name), engine=devices.ENGINE, verified=True
        )

    def _send(self) -> None:
        """One try. The destination ends by itself when its device is equal."""
        work = self._work
        work.report.phase(transfer.SYNCING)
        if self._tunnel is not None:
            self._tunnel.expect()
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            sending = devices.Sending(connection.fileno(), connection.fileno(), check=work.stop.check)
            try:
                work.statistics = sending.run(
                    self._volume, allow_empty=self._settings.allow_empty, report=work.report, say=work.log.say
                )
            except Failure as failure:
                if failure.reason != transfer.REASON_SERVER_UNREACHABLE or sending.heard:
                    raise
                found = self._explain(failure)
                # the tunnel stood, and what is behind it had no word for us
                raise (devices.without_words(self._settings.peer_name) if found is failure else found) from None
