"""The source: it sends the volume to the destination's sshd, and then orders the destination to end."""

import time
from typing import IO, Final

import msgspec

from datamover.agent.children import Child, find_wrapper, start_process
from datamover.agent.errors import Failure
from datamover.agent.excerpt import Excerpt
from datamover.agent.progress import Reporter
from datamover.agent.rsync import devices, passes
from datamover.agent.rsync.looking import check_destination, look
from datamover.agent.rsync.output import SUMMARY, Statistics, add
from datamover.agent.rsync.process import Ended, Rsync, child_environment, report_advance
from datamover.agent.rsync.program import find_program
from datamover.agent.rsync.retries import retry
from datamover.agent.rsync.sentences import tell_sent
from datamover.agent.rsync.ssh import causes, commands
from datamover.agent.rsync.ssh.files import ALIAS, write_client_files
from datamover.agent.rsync.ssh.settings import Settings
from datamover.agent.shell import Surroundings
from datamover.api import outside, transfer

_LOST: Final = passes.LOST | {causes.FAILED}
"""Exit codes that only say that the connection ended: ssh knows why."""
_VAGUE: Final = frozenset({transfer.REASON_SERVER_UNREACHABLE, transfer.REASON_ENGINE_FAILED})
_LAST_WORDS: Final = 5.0
"""Seconds that ssh gets to say why it has ended."""
_MIRROR: Final = (
    "--archive",
    "--acls",
    "--hard-links",
    "--sparse",
    "--one-file-system",
    "--numeric-ids",
    "--compress",
    "--force",
    "--delete-after",
    "--exclude=/lost+found",
    "--info=progress2,stats2",
    "--no-human-readable",
    "--outbuf=L",
)


class Source:
    """One attempt to send a folder or a block device."""

    def __init__(self, settings: Settings, given: Surroundings) -> None:
        self._settings = settings
        self._given = given
        self._stop = given.stop
        search = given.environ.get("PATH")
        self._ssh = find_program(("ssh",), search=search)
        self._rsync = (
            ""
            if settings.volume.is_device
            else find_program(("rsync",), given=settings.rsync, variable=transfer.RSYNC, search=search)
        )
        self._wrapper = find_wrapper(search=search)
        self._environment = child_environment(given.environ)
        self._log = Excerpt(success=SUMMARY, show=given.say, redact=given.redact)
        self._report = Reporter(settings.run_id, tell=given.tell, monotonic=time.monotonic)
        self._configuration = write_client_files(settings, given.scratch)
        self._complaints = causes.Complaints()
        self._done = Statistics()
        self._vanished = False

    def run(self) -> transfer.Outcome:
        """Send everything, and end the destination; return the outcome."""
        return self._given.conclude(
            self._send_all, so_far=self._so_far, trouble=lambda: self._report.trouble, log=self._log
        )

    def _send_all(self) -> transfer.Outcome:
        begun = time.monotonic()
        settings = self._settings
        device = settings.volume.is_device
        self._log.say(f"Syncing {'the device' if device else 'files'} to {settings.peer} ...")
        retry(
            lambda _: self._send_device() if device else self._send_files(),
            stop=self._stop,
            say=self._log.say,
            wait=self._report.wait,
        )
        took = time.monotonic() - begun
        self._log.say(devices.tell_end(took) if device else f"Rsync completed in {int(took)}s")
        self._report.phase(transfer.RECORDING)
        self._order_shutdown()
        return msgspec.structs.replace(
            self._so_far(),
            succeeded=True,
            reason=transfer.REASON_SUCCEEDED,
            message=self._summary(),
            verified=True if device else None,
        )

    def _summary(self) -> str:
        done, peer = self._done, self._settings.peer
        if self._settings.volume.is_device:
            return devices.tell_sent(done, peer=peer)
        return tell_sent(done, peer=peer, vanished=self._vanished)

    # --- files ------------------------------------------------------------------------------------------------------

    def _send_files(self) -> None:
        """One try of rsync."""
        self._report.phase(transfer.PROBING)
        folder = self._settings.volume.path
        entries, has_file = look(folder, tick=self._stop.check)
        if not has_file and not self._settings.allow_empty:
            check_destination(
                self._run_rsync(),
                [*self._remote_shell(), f"{ALIAS}:./"],
                folders=bool(entries),
                peer=self._settings.peer,
                unheard=self._check_heard,
            )
        self._report.phase(transfer.SYNCING)
        ended = self._run_rsync().run([*_MIRROR, *self._remote_shell(), f"{folder}/", f"{ALIAS}:."])
        self._done = add(self._done, ended.statistics)
        if ended.code == passes.VANISHED:
            self._vanished = True
            self._log.say("Note: files vanished while they were read; they are left out.")
            return
        self._check(ended)

    def _check_heard(self, ended: Ended) -> None:
        """Raise Failure when ssh knows why the destination did not say what it holds."""
        if self._complaints and not self._complaints.refused:
            self._check(ended)

    def _run_rsync(self) -> Rsync:
        self._complaints = causes.Complaints()
        return Rsync(
            self._rsync,
            stop=self._stop,
            environment=self._environment,
            say=self._hear,
            advance=lambda found: report_advance(found, to=self._report),
            wrapper=self._wrapper,
        )

    def _remote_shell(self) -> tuple[str, ...]:
        """Return how rsync is to start ssh. It takes the words apart itself, at blanks that stand in no quotes."""
        return ("-e", f"'{self._ssh}' -F '{self._configuration}'")

    def _check(self, ended: Ended) -> None:
        """Raise Failure when rsync did not end well: with ssh's reason where it has one."""
        if not ended.code:
            return
        found = ended.complaints.explain(ended.code, peer=self._settings.peer)
        if self._complaints.refused or (self._complaints and ended.code in _LOST and found.reason in _VAGUE):
            raise self._complaints.explain(peer=self._settings.peer)
        raise found

    # --- block devices ----------------------------------------------------------------------------------------------

    def _send_device(self) -> None:
        """One try of the block differ."""
        self._report.phase(transfer.SYNCING)
        self._complaints = causes.Complaints()
        process = start_process(
            [*self._wrapper, self._ssh, "-F", self._configuration, ALIAS, commands.BLOCKS],
            stop=self._stop,
            environment=self._environment,
            piped=True,
            conversing=True,
        )
        child = Child(process, stop=self._stop, on_line=self._hear_raw)
        sending = devices.Sending(_number(process.stdout), _number(process.stdin), check=self._stop.check)
        try:
            self._done = sending.run(
                self._settings.volume,
                allow_empty=self._settings.allow_empty,
                report=self._report,
                say=self._log.say,
            )
        except Failure as failure:
            raise self._explain_device(failure, child, heard=sending.heard) from None
        finally:
            child.close()

    def _explain_device(self, failure: Failure, child: Child, *, heard: bool) -> Failure:
        """Return why the block differ failed: what ssh says when it was the connection."""
        if failure.reason != transfer.REASON_SERVER_UNREACHABLE:
            return failure
        # its last lines say more than the end of the stream
        child.ended_within(_LAST_WORDS)
        code = child.code
        child.close()  # so that all lines are read
        if code == causes.FAILED or self._complaints.refused:
            return self._complaints.explain(peer=self._settings.peer)
        if code is not None and not heard:
            return causes.without_blocks(peer=self._settings.peer)
        return failure

    # --- the end ----------------------------------------------------------------------------------------------------

    def _order_shutdown(self) -> None:
        """Tell the destination that everything was sent. Raises Failure."""
        perhaps = False

        def order(_: int) -> None:
            nonlocal perhaps
            self._complaints = causes.Complaints()
            process = start_process(
                [*self._wrapper, self._ssh, "-F", self._configuration, ALIAS, "shutdown 0"],
                stop=self._stop,
                environment=self._environment,
                piped=True,
            )
            child = Child(process, stop=self._stop, on_line=self._hear_raw)
            code = child.wait()
            if code == 0:
                return
            failure = self._complaints.explain(peer=self._settings.peer)
            if code != causes.FAILED:
                raise Failure(
                    transfer.CONFIG,
                    transfer.REASON_PEER_INCOMPATIBLE,
                    f"The destination at {self._settings.peer} took all data, but does not take the order to end (exit code {code}).",
                )
            if perhaps and failure.reason == transfer.REASON_SERVER_UNREACHABLE:
                return  # it had the order, and is gone
            perhaps = perhaps or self._complaints.broke_off
            raise failure

        retry(order, stop=self._stop, say=self._log.say, wait=self._report.wait)

    # --- what is said -----------------------------------------------------------------------------------------------

    def _hear(self, line: str) -> None:
        self._complaints.take(line)
        self._log.say(line)

    def _hear_raw(self, raw: bytes) -> None:
        self._hear(raw[: outside.WORD_LIMIT].decode("utf-8", "backslashreplace").rstrip())

    def _so_far(self) -> transfer.Outcome:
        done = self._done
        return msgspec.structs.replace(
            self._given.begun,
            run_id=self._settings.run_id,
            destination=self._settings.peer,
            files=done.files,
            bytes=done.size,
            symlinks=done.links,
            transferred_files=done.transferred,
            transferred_bytes=done.transferred_size,
            deleted=done.deleted,
            engine=devices.ENGINE if self._settings.volume.is_device else "rsync",
        )


def _number(pipe: IO[bytes] | None) -> int:
    assert pipe is not None, "it was asked for"
    return pipe.fileno()
