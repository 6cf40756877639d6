"""Where `datamover` begins: the streams, the interrupt, the exit code."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """End the process at once, because nothing was started yet. The exit code is 130, as for Ctrl-C."""
    del number, frame
    os._exit(130)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line, and end the process with its exit code."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_at_once)
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        sys.exit(_run())  # ignored, as nohup does it: it stays so
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as long as nothing is begun, Ctrl-C just ends it
    sys.exit(_run())


def _run() -> int:
    from datamover.cli.exits import Exit, Verdict
    from datamover.cli.main import main as command
    from datamover.cli.terminal import Streams

    streams = Streams()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGTERM) is _end_at_once:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        command(prog_name="datamover")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    else:
        code = 0
    return streams.finish(int(code or 0), is_verdict=isinstance(code, Exit | Verdict))


if __name__ == "__main__":
    main()
