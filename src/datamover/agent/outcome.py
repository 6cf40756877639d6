"""Telling the outcome: the termination message and the last line of standard output."""

import os
from collections.abc import Callable

from datamover.api import transfer


def tell(outcome: transfer.Outcome, *, path: str, write: Callable[[str], None]) -> None:
    """Write the outcome into the termination message at `path`, where there is one, and to standard output.

    Without the file (a stand-alone run) or the right to write it, standard output is all there is; that is not an error.
    """
    encoded = transfer.encode_outcome(outcome)
    # the kubelet makes the file; a stray one in a laptop's own /dev would help nobody
    create = 0 if path == transfer.TERMINATION_PATH else os.O_CREAT
    try:
        handle = os.open(path, os.O_WRONLY | os.O_TRUNC | create, 0o644)
    except OSError:
        handle = None
    if handle is not None:
        try:
            os.write(handle, encoded)
        finally:
            os.close(handle)
    write(encoded.decode())
