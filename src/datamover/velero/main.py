"""The program `datamover-velero-plugin`: started, asked and ended by a Velero server."""

import json
import logging
import os
import signal
import sys
import threading

from datamover.velero.handshake import offer, refusal, take_output
from datamover.velero.settings import read_settings

_SHOWN = 2000
_MEANT_FOR_VELERO = ("GRPC_", "PROTOCOL_BUFFERS_")
"""Beginnings of variables that our gRPC would obey as well. One whose value it does not know, as those change, ends the process, and Velero with it."""


def main() -> None:
    """Serve until the host says that it is enough, SIGTERM comes, or the host is gone. Never returns."""
    said = refusal(os.environ)
    if said:
        sys.stderr.write(said)
        sys.exit(1)
    output = take_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is meant for the host, which then tells us
    try:
        status = _serve(output)
    except Exception as error:  # noqa: BLE001 - Velero shows of a traceback nothing, unless its log is one for debugging
        sys.stderr.write(
            f'{{"@level":"error","@message":{json.dumps(f"the plugin cannot start: {error!r}"[:_SHOWN])}}}\n'
        )
        status = 1
    # threads may hang in a call that nobody waits for: they must not keep the process
    os._exit(status)


def _serve(output: int) -> int:
    for name in list(os.environ):
        if name.startswith(_MEANT_FOR_VELERO):
            del os.environ[name]
    # nothing of this before the cookie is known: a refusal needs no gRPC
    from datamover.velero.assembly import assemble
    from datamover.velero.housekeeping import Housekeeping
    from datamover.velero.logs import Bridge, Log
    from datamover.velero.parent import ParentWatch
    from datamover.velero.server import CannotListenError, Server

    settings = read_settings(sys.argv, os.environ)
    log = Log(settings.log_level)
    logging.basicConfig(handlers=[Bridge(log)], level=logging.INFO)
    ended = threading.Event()

    # of a thread of its own: the event's lock may be held by the main thread, which is the one that a signal interrupts
    def end(*_: object) -> None:
        threading.Thread(target=ended.set).start()

    signal.signal(signal.SIGTERM, end)
    watch = ParentWatch((output, 2), ended.set)
    dispatch = assemble(settings, log)
    housekeeping = Housekeeping(settings.command, dispatch.names(), end=ended.set)
    server = Server((*dispatch.services(), *housekeeping.services()))
    try:
        address = server.listen(socket_directory=settings.socket_directory, ports=settings.ports)
    except CannotListenError as error:
        log.write("error", str(error))
        return 1
    watch.start()
    try:
        os.write(output, offer(address.network, address.text))
    except OSError:
        ended.set()  # nobody is there to call
    ended.wait()
    housekeeping.close()
    server.close()
    return 0


if __name__ == "__main__":
    main()
