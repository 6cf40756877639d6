"""The destination of a block device: each connection of the tunnel is one receiving end of the block differ, until the device is equal."""

import sys
import time
from typing import Final

from datamover.agent.rsync import devices, orders
from datamover.agent.rsync.orders import Inbox, Plan
from datamover.agent.rsync.output import Statistics
from datamover.agent.rsync.tls import tunnel as tunnels
from datamover.agent.rsync.tls.destination import FAREWELL, accept_on, refuse_stranger
from datamover.agent.rsync.tls.tunnel import Tunnel
from datamover.agent.rsync.tls.work import Work
from datamover.agent.rsync.volume import Volume, failure_of_disk, flush
from datamover.api import transfer

_TICK: Final = 0.5


class DeviceDestination:
    """One attempt to receive a block device."""

    def __init__(self, work: Work, volume: Volume) -> None:
        self._work = work
        self._volume = volume
        self._begun = time.monotonic()

    def run(self) -> transfer.Outcome:
        """Serve until the device is equal; return the outcome. Raises Failure and Stopped."""
        work = self._work
        orders.prepare(work.scratch, Plan(volume=self._volume.path, is_device=True, rsync=""))
        inbox = Inbox(work.scratch)
        try:
            tunnel = work.start_tunnel(
                tunnels.at_destination(
                    key=work.key_file,
                    accept=accept_on(work.settings.listen_port),
                    # An interpreter finds its packages by the name that it is called by. Arguments take no blanks: the attempt's folder is the current one,
                    # and no image has a blank in this path.
                    connect=f"exec = {sys.executable}\nexecArgs = {sys.executable} -P -m datamover.agent.main {devices.RECEIVE} .\n",
                ),
                refused=lambda peer: refuse_stranger(work, peer),
            )
            try:
                work.report.phase(transfer.AWAITING)
                work.log.say(f"Waiting for a source on port {work.settings.listen_port} ...")
                self._serve(inbox, tunnel)
                tunnel.finish(seconds=FAREWELL)
            finally:
                tunnel.close()
                # what serves a connection is no child of ours, and would write on
                orders.end_running(work.scratch, patience=0)
        finally:
            inbox.close()
        work.report.phase(transfer.RECORDING)
        try:
            flush(self._volume)
        except OSError as error:
            raise failure_of_disk(self._volume, error) from None
        work.log.say(devices.tell_end(time.monotonic() - self._begun))
        return work.succeeded(devices.tell_received(work.statistics), engine=devices.ENGINE, verified=True)

    def _serve(self, inbox: Inbox, tunnel: Tunnel) -> None:
        """Wait until a source's device and ours are equal. Raises Failure and Stopped."""
        work = self._work
        while True:
            tunnel.check(work.stop)
            for order in inbox.wait(_TICK):
                if order.what == orders.BLOCKS:
                    work.statistics = Statistics(size=order.size, transferred_size=order.written)
                    return
                if order.what == orders.BEGAN:
                    self._begun = time.monotonic()
                    work.report.phase(transfer.RECEIVING)
                if order.why:
                    work.log.say(f"rsync: the transfer of a device failed: {order.why}")
                work.report.wait(order.why)
