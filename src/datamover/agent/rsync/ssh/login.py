"""`datamover-agent-login`: root's shell in the mover's image.

sshd gives every command to the user's shell, also the forced one. This shell takes that one command only: `-c` and the command with which our
own destination has configured sshd. It runs no program, opens no prompt and reads no file of anybody's choice.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import Final

from datamover.agent.rsync.ssh import forced

NAME: Final = "datamover-agent-login"


def main(arguments: Sequence[str]) -> int:
    """Run the forced command in this process; return its exit code."""
    folder = read_command(arguments)
    if folder is None:
        sys.stderr.write("datamover: there is no shell in this image\n")
        return 1
    return forced.main([folder], os.environ)


def read_command(arguments: Sequence[str]) -> str | None:
    """Return the folder of the attempt that the forced command is of, or None for anything else."""
    if len(arguments) != 2 or arguments[0] != "-c":
        return None
    try:
        words = shlex.split(arguments[1])
    except ValueError:
        return None
    return words[-1] if words and words == forced.command_of(words[-1]) else None
