"""What both sides of one attempt share: programs, the key, the log for people and for the status, progress, and the outcome so far."""

import os
import threading
import time
from collections.abc import Callable

import msgspec

from datamover.agent.children import find_wrapper
from datamover.agent.excerpt import Excerpt
from datamover.agent.progress import Reporter
from datamover.agent.rsync import output
from datamover.agent.rsync.confinement import Reach, home_of
from datamover.agent.rsync.output import Statistics
from datamover.agent.rsync.process import Rsync, child_environment, report_advance
from datamover.agent.rsync.program import find_program
from datamover.agent.rsync.tls.key import read_key
from datamover.agent.rsync.tls.settings import Settings
from datamover.agent.rsync.tls.tunnel import Tunnel
from datamover.agent.shell import Surroundings
from datamover.api import transfer


class Work:
    """One attempt. `statistics` is what was done so far."""

    def __init__(self, settings: Settings, given: Surroundings) -> None:
        """Find what is needed. Raises Failure."""
        self.settings = settings
        self.given = given
        self.stop = given.stop
        self.scratch = given.scratch
        self.statistics = Statistics()
        self.changed = threading.Event()
        search = given.environ.get("PATH")
        self.rsync_program = find_program(("rsync",), given=settings.rsync, variable=transfer.RSYNC, search=search)
        self.stunnel_program = find_program(
            ("stunnel", "stunnel4"), given=settings.stunnel, variable=transfer.STUNNEL, search=search
        )
        self._wrapper = find_wrapper(search=search)
        key = read_key(settings.key)
        own = key.redactor()
        self.redact: Callable[[str], str] = lambda text: own(given.redact(text))
        self.key_file = f"{self.scratch}/psk.txt"
        key.write(self.key_file)
        self.log = Excerpt(
            success=output.SUMMARY,
            failure=output.TROUBLE,
            show=lambda text: given.say(own(text)),
            redact=self.redact,
        )
        self.report = Reporter(settings.run_id, tell=given.tell, monotonic=time.monotonic)

    def start_tunnel(
        self, configuration: str, *, refused: Callable[[str], None] = lambda _: None, reach: Reach | None = None
    ) -> Tunnel:
        """Start stunnel and wait until it listens; `reach` is what it may touch beside its own files. Raises Failure and Stopped."""
        path = f"{self.scratch}/stunnel.conf"
        write_secretly(path, configuration)
        tunnel = Tunnel(
            [*self._wrapper, self.stunnel_program, path],
            stop=self.stop,
            environment=child_environment(self.given.environ),
            folder=self.scratch,
            changed=self.changed,
            refused=refused,
            reach=reach
            and msgspec.structs.replace(reach, read=(*reach.read, self.scratch, home_of(self.stunnel_program))),
        )
        try:
            tunnel.wait_ready(self.stop)
        except BaseException:
            tunnel.close()
            raise
        return tunnel

    def rsync(self, *read: str) -> Rsync:
        """Return what runs rsync at this side: it may read these files and folders, and write nothing."""
        return Rsync(
            self.rsync_program,
            stop=self.stop,
            environment=child_environment(self.given.environ),
            say=self.log.say,
            advance=lambda found: report_advance(found, to=self.report),
            wrapper=self._wrapper,
            reach=Reach(read=(*read, home_of(self.rsync_program))),
        )

    def so_far(self) -> transfer.Outcome:
        """Return the outcome so far, as a failure tells it."""
        done = self.statistics
        return msgspec.structs.replace(
            self.given.begun,
            run_id=self.settings.run_id,
            destination=self.settings.peer_name if self.settings.is_source else "",
            files=done.files,
            bytes=done.size,
            symlinks=done.links,
            transferred_files=done.transferred,
            transferred_bytes=done.transferred_size,
            deleted=done.deleted,
            engine="rsync",
        )

    def succeeded(self, message: str, *, engine: str = "rsync", verified: bool | None = None) -> transfer.Outcome:
        """Return the outcome of a success."""
        return msgspec.structs.replace(
            self.so_far(),
            succeeded=True,
            reason=transfer.REASON_SUCCEEDED,
            message=message,
            engine=engine,
            verified=verified,
        )


def write_secretly(path: str, text: str) -> None:
    """Write a file that nobody else may read; one of an earlier try is replaced."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
