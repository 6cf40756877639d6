"""How a plugin and its host find each other: a word in the environment, then one line on standard output.

The line is `1|2|unix|/tmp/…/plugin.sock|grpc`: version of the handshake, version of Velero's protocol, network, address, and what is spoken there.
Whatever else is printed before it makes the host refuse the plugin, and after it nothing may be printed; so standard output is put aside at once
(`take_output`), and what is printed nevertheless goes to standard error, where Velero logs it as it is.
"""

import os
from collections.abc import Mapping

COOKIE = ("VELERO_PLUGIN", "hello")
"""A variable and its value: not a secret, only a sign that a Velero server has started the program."""
HANDSHAKE_VERSION = 1
PROTOCOL_VERSION = 2


def refusal(environ: Mapping[str, str]) -> str:
    """Return why the program does not run: it was not started by a Velero server. "" when it was."""
    name, value = COOKIE
    if environ.get(name) == value:
        return ""
    return (
        "This program is a plugin for Velero, and is of no use by itself: a Velero server starts it from its folder of plugins (/plugins). "
        f"It was not started by one: {name} is not set to {value!r}.\n"
    )


def offer(network: str, address: str) -> bytes:
    """Return the line that tells the host where to call. `network` is unix or tcp, `address` a path or host:port."""
    return f"{HANDSHAKE_VERSION}|{PROTOCOL_VERSION}|{network}|{address}|grpc\n".encode()


def take_output() -> int:
    """Put standard output aside and return it as a file descriptor; what is printed from now on goes to standard error."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept
