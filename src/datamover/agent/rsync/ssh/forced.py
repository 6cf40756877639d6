# a start-up budget that pathlib would take a tenth of
"""The one command that the destination's sshd runs, whatever a client asks for: it looks at what is asked, and does it or refuses.

Guarantees: no shell sees a word of the client; rsync starts in a folder of the volume that was opened without following a link, so that no path leads
out of it; what cannot be done is said to the client in one sentence.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NoReturn

from datamover.agent.rsync import devices, orders
from datamover.agent.rsync.confinement import Reach, confine, home_of
from datamover.agent.rsync.orders import Order, Plan
from datamover.agent.rsync.ssh import commands
from datamover.agent.rsync.ssh.causes import REFUSED
from datamover.agent.rsync.ssh.commands import Refused, Request, Server, Shutdown
from datamover.api import outside

NAME: Final = "forced-command"
"""The agent's subcommand."""
REFUSAL_CODE: Final = 77
_ASKED: Final = "SSH_ORIGINAL_COMMAND"


def command_of(folder: str) -> list[str]:
    """Return the command that sshd is given. It stands alone: no variable of ours reaches it."""
    return [sys.executable, "-P", "-m", "datamover.agent.main", NAME, folder]


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Do what the client asks for; return the exit code that it gets."""
    (folder,) = arguments
    try:
        request = commands.read_request(environ.get(_ASKED, ""))
        plan = orders.read_plan(folder)
        return _carry_out(request, plan, folder)
    except Refused as why:
        return _refuse(str(why))
    except (OSError, outside.Unusable) as error:
        return _refuse(f"the destination is not in order: {error}")


def _carry_out(request: Request, plan: Plan, folder: str) -> int:
    if isinstance(request, Shutdown):
        orders.tell(folder, Order(what=orders.SHUTDOWN, code=request.code))
        return 0
    if isinstance(request, Server):
        if plan.is_device:
            raise Refused("the volume here is a Block volume, and rsync wants one with a file system")
        _become_rsync(request, plan, folder)
    if not plan.is_device:
        raise Refused("the volume here has a file system, and the block differ wants a Block volume")
    return devices.receive(folder)


def _become_rsync(request: Server, plan: Plan, folder: str) -> NoReturn:
    _enter(plan.volume, request.path)
    orders.register(folder)
    orders.tell(folder, Order(what=orders.BEGAN))
    log = orders.log_of(folder)
    confine(Reach(owned=(plan.volume,), read=(home_of(plan.rsync),), files=(log,)))
    sender = ["--sender"] if request.sends else []
    # nothing of the client's is in the environment, and nothing of ours is wanted there
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    os.execve(  # noqa: S606 - that is what this process is for
        plan.rsync, [plan.rsync, "--server", *sender, f"--log-file={log}", *request.options, ".", "."], environment
    )


def _enter(volume: str, path: str) -> None:
    """Make a folder of the volume the current one. Raises Refused when there is a link on the way, or no folder."""
    handle = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in filter(None, path.split("/")):
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
        except OSError as error:
            raise Refused(f"there is no folder of that name in the volume: {error.strerror}") from None
        finally:
            os.close(handle)
        handle = below
    os.fchdir(handle)
    os.close(handle)


def _refuse(why: str) -> int:
    with suppress(OSError):
        os.write(2, f"{REFUSED}{outside.clean(why, limit=500)}\n".encode("utf-8", "replace"))
    return REFUSAL_CODE
