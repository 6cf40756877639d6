"""What restic's mover does, one action after the other.

    backup   probe ─> (init) ─> backup ─> forget           an empty volume ends it before the probe, and a prune after it
    prune    what no snapshot needs any more goes from the repository
    unlock   stale locks go, as restic understands stale
    restore  probe ─> (init) ─> choose ─> restore ─> sync the file system

Guarantees: forgotten are snapshots of our host only, never the newest one, and none at all after a snapshot without files (law L3); a lock
that somebody may hold is never removed; a repository is made only where the server said that there is none.
Assumptions: one mover at a time works for an object.
"""

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.files.emptiness import has_file
from datamover.agent.files.flushing import flush_file_system
from datamover.agent.files.unfinished import refuse_unfinished
from datamover.agent.restic import classify, locks, messages
from datamover.agent.restic.choices import choose_snapshot
from datamover.agent.restic.messages import Lock, Message
from datamover.agent.restic.process import Answer, Restic
from datamover.agent.restic.progress import Reporter
from datamover.agent.restic.settings import Settings
from datamover.api import amounts, outside, restic, transfer
from datamover.api.names import ALLOW_EMPTY_ANNOTATION
from datamover.api.outside import Unusable

_LOST_AND_FOUND = "lost+found"
_LOCKS_READ = 20
"""Locks that are looked at one by one; a repository that works has one or two."""


class Facts(msgspec.Struct):
    """What the outcome says beyond success or failure; filled as the attempt goes on."""

    files: int = 0
    bytes: int = 0
    transferred_files: int = 0
    transferred_bytes: int = 0
    deleted: int = 0


class Attempt:
    """The actions, in their order."""

    def __init__(
        self,
        settings: Settings,
        *,
        engine: Restic,
        report: Reporter,
        say: Callable[[str], None],
        check: Callable[[], None],
        place: str,
    ) -> None:
        """`say` takes lines for people, `check` raises when the attempt is to end, `place` is the repository as it may be shown."""
        self.facts = Facts()
        self._settings = settings
        self._engine = engine
        self._report = report
        self._say = say
        self._check = check
        self._place = place
        self._done: list[str] = []
        self._empty = False
        self._kept_lock = ""

    def run(self) -> str:
        """Do all that is asked for; return what was done, as a sentence. Raises AgentError."""
        began = time.monotonic()
        self._report.phase(transfer.PROBING)
        actions = {
            restic.UNLOCK: self._unlock,
            restic.BACKUP: self._backup,
            restic.PRUNE: self._prune,
            restic.RESTORE: self._restore,
        }
        try:
            for action in self._settings.actions:
                actions[action]()
        except Failure as failure:
            if self._done:
                # a snapshot that is saved stays saved, whatever came after it
                failure.message = f"{failure.message} Before that: {' '.join(self._done)}"
            raise
        self._say(f"Restic completed in {round(time.monotonic() - began)}s")
        return " ".join(self._done)

    # --- the actions ----------------------------------------------------------------------------------------------

    def _unlock(self) -> None:
        self._say("=== Unlock: stale locks are removed ===")
        answer = self._engine.run("unlock", quiet=True)
        if classify.is_absent(answer):
            return  # the backup that follows makes the repository
        self._raise(answer, doing="the removal of stale locks")
        self._done.append("Stale locks were removed.")

    def _backup(self) -> None:
        refuse_unfinished(self._settings.data)
        if self._is_empty():
            self._empty = True
            self._say(
                f"The volume is empty (but for {_LOST_AND_FOUND}): there is nothing to back up, and the repository is not touched"
            )
            self._done.append(
                "The volume is empty: there is nothing to back up, and what is in the repository stays as it is."
            )
            return
        self._ensure_repository()
        self._report.phase(transfer.SYNCING)
        self._say("=== Starting backup ===")
        grouping = () if self._settings.contained else ("--group-by", "host")
        answer = self._unlocked(
            lambda: self._engine.run(
                "backup", "--json", "--host", restic.HOST, *grouping, "--exclude", self._own_of_file_system(), ".",
                on_message=self._report.take,
            )
        )  # fmt: skip
        summary = self._count_backup(answer)
        if answer.code == classify.INCOMPLETE:
            raise classify.failure_of_files(answer, repository=self._place)
        self._raise(answer, doing="the backup")
        if not summary.snapshot_id:
            raise classify.failure_of_silence("the backup")
        self._forget(files=summary.total_files_processed)

    def _forget(self, *, files: int) -> None:
        if not files:
            # the newest snapshot would be the one that is kept, and the last one with data would go (law L3)
            self._say("The snapshot has no files, so no older one is forgotten")
            return
        self._report.phase(transfer.RECORDING)
        self._say("=== Starting forget ===")
        grouping = () if self._settings.contained else ("--group-by", "host")
        answer = self._unlocked(
            lambda: self._engine.run(
                "forget", "--json", "--host", restic.HOST, *grouping, *self._settings.policy, answer=True
            )
        )
        self._raise(answer, doing="the forgetting of old snapshots")
        try:
            groups = messages.read_forgotten(answer.output)
        except Unusable:
            groups = ()  # what counts is the exit code
        removed = sum(len(group.remove or ()) for group in groups)
        kept = sum(len(group.keep or ()) for group in groups)
        self.facts.deleted = removed
        self._say(f"kept {amounts.count(kept, 'snapshot')}, forgot {removed} ({' '.join(self._settings.policy)})")
        self._done.append(f"{amounts.count(kept, 'snapshot')} kept, {removed} forgotten.")

    def _prune(self) -> None:
        if self._empty:
            return
        self._say("=== Starting prune ===")
        self._report.phase(transfer.RECORDING)
        answer = self._unlocked(lambda: self._engine.run("prune", on_message=self._show))
        self._raise(answer, doing="the prune")
        self._done.append("What no snapshot needs any more was pruned.")

    def _restore(self) -> None:
        settings = self._settings
        self._say(f"RESTORE_OPTIONS: {' '.join(settings.restore_options)}")
        self._ensure_repository()
        answer = self._unlocked(lambda: self._engine.run("snapshots", "--json", "--no-lock", answer=True))
        self._raise(answer, doing="the listing of snapshots")
        if answer.complaints:
            # restic leaves out a snapshot that it cannot read, and calls that a success: an older one, or none, would be restored
            classify.check_listing(answer, repository=self._place)
        try:
            snapshots = messages.read_snapshots(answer.output)
        except Unusable as error:
            raise Failure(
                transfer.INTERNAL, transfer.REASON_ENGINE_FAILED, f"restic's list of snapshots cannot be used: {error}."
            ) from None
        chosen = choose_snapshot(snapshots, as_of=settings.as_of, previous=settings.previous)
        if chosen is None:
            self._tell_nothing(snapshots)
            return
        self._check_deletions(chosen)
        moment = outside.clean(f"{chosen.time[:19].replace('T', ' ')} UTC")
        described = f"of [{' '.join(chosen.paths[:3])}] at {moment} by {chosen.username}@{chosen.hostname}"
        # a snapshot's words are somebody else's, and may hold line ends
        self._say(f"restoring snapshot {chosen.short_id} {outside.clean(described)} to .")
        self._report.phase(transfer.SYNCING)
        answer = self._unlocked(lambda: self._write_back(chosen.id))
        self._count_restore(answer)
        self._raise(answer, doing=classify.RESTORING)
        if answer.summary is None:
            raise classify.failure_of_silence(classify.RESTORING)
        self._report.phase(transfer.RECORDING)
        flush_file_system(settings.data)
        facts = self.facts
        self._done.append(
            f"Snapshot {chosen.short_id} of {moment} is restored: {facts.files} files and folders with {amounts.size(facts.bytes)}, of which"
            f" {facts.transferred_files} were written; {facts.deleted} others deleted."
        )

    def _write_back(self, snapshot: str) -> Answer:
        """Restore a snapshot. A repository that nobody may write to takes no lock either, and is read without one."""
        arguments = ("--json", "--target", ".", "--sparse", "--include-xattr", "user.*", *self._settings.restore_options, snapshot)  # fmt: skip
        answer = self._engine.run("restore", *arguments, on_message=self._report.take)
        if not classify.is_lock_denied(answer):
            return answer
        self._say("The repository cannot be written to, so it is read without a lock")
        return self._engine.run("restore", "--no-lock", *arguments, on_message=self._report.take)

    def _check_deletions(self, chosen: messages.Snapshot) -> None:
        """Raise Failure when the restore would only delete: a snapshot without files does not empty a volume (law L3)."""
        settings = self._settings
        if (
            settings.allow_empty
            or restic.DELETE_EXTRA_FILES not in settings.restore_options
            or not chosen.is_without_files
        ):
            return
        if has_file(settings.data, tick=self._check):
            raise Failure(
                transfer.GUARD,
                transfer.REASON_EMPTY_SOURCE,
                f"Snapshot {chosen.short_id} has no file, and the volume has some: with enableFileDeletion the restore would delete all of them. Nothing was"
                " deleted. Choose an older snapshot (spec.restic.previous or restoreAsOf); if that is meant, set the annotation"
                f" {ALLOW_EMPTY_ANNOTATION} to true on the ReplicationDestination.",
            )

    # --- steps ----------------------------------------------------------------------------------------------------

    def _is_empty(self) -> bool:
        with os.scandir(self._settings.data) as entries:
            return all(entry.name == _LOST_AND_FOUND for entry in entries)

    def _own_of_file_system(self) -> str:
        """Return restic's pattern of what the file system keeps at the top of the volume: a folder of that name further down is the user's."""
        top = os.path.realpath(self._settings.data)
        return re.sub(r"[\\*?\[\]]", r"\\\g<0>", f"{top}/{_LOST_AND_FOUND}")

    def _ensure_repository(self) -> None:
        """Make the repository where there is none. Whoever does not answer is not asked for long."""
        probe = self._engine.run(
            "cat", "config", "--no-lock",
            answer=True,
            quiet=True,
            timeout=self._settings.probe_limit,
            patience=1,
            on_message=self._report.take,
        )  # fmt: skip
        self._report.wait("")
        if not probe.code:
            return
        if not classify.is_absent(probe):
            self._raise(probe, doing="the first look at the repository")
        self._say("=== Initialize Dir ===")
        made = self._engine.run("init", "--json", on_message=self._show_new)
        if made.code and not self._engine.run("cat", "config", "--no-lock", answer=True, quiet=True).code:
            return  # another mover was faster
        self._raise(made, doing="the making of the repository")
        if self._settings.padded_password:
            self._done.append(
                f"The new repository has a password that begins or ends with white space, such as a new line; that is part of it, wherever {restic.PASSWORD} is used."
            )

    def _unlocked(self, command: Callable[[], Answer]) -> Answer:
        """Run a command; when a lock keeps it from working, once more if that lock may be removed. Raises Failure when it may not."""
        answer = command()
        if answer.code != classify.LOCKED:
            self._kept_lock = classify.find_kept_lock(answer)
            return answer
        settings = self._settings
        if self._kept_lock:
            raise classify.failure_of_kept_lock(self._kept_lock, repository=self._place)
        hostname, now = os.uname().nodename, datetime.now(UTC)
        found = self._read_locks()
        if settings.remove_stale_locks:
            everything = locks.may_remove_all(found, hostname=hostname, now=now)
            self._say(
                "The lock that an earlier mover has left is removed"
                if everything
                else "Stale locks, if any, are removed"
            )
            self._engine.run("unlock", *(("--remove-all",) if everything else ()))
            answer = command()
            if answer.code != classify.LOCKED:
                return answer
            found = self._read_locks()
        raise locks.failure_of(
            found,
            hostname=hostname,
            repository=self._place,
            now=now,
            removal=settings.remove_stale_locks,
            said=answer.text.split("\n")[0],
        )

    def _read_locks(self) -> list[Lock]:
        listed = self._engine.run("list", "locks", "--no-lock", answer=True, quiet=True)
        found: list[Lock] = []
        for name in listed.output.split()[:_LOCKS_READ]:
            read = self._engine.run("cat", "lock", name.decode("ascii", "replace"), "--no-lock", answer=True, quiet=True)  # fmt: skip
            try:
                found.append(messages.read_lock(read.output))
            except Unusable:
                continue  # it was removed meanwhile
        return found

    def _raise(self, answer: Answer, *, doing: str) -> None:
        """Raise what is to be told of a command that failed."""
        self._check()
        if answer.code:
            raise classify.failure_of(
                answer,
                repository=self._place,
                doing=doing,
                folders=(self._settings.cache, self._settings.temporary),
                padded_password=self._settings.padded_password,
            )

    # --- what is told ---------------------------------------------------------------------------------------------

    def _show(self, message: Message) -> None:
        """Note the wait for a server; what restic says in plain text is shown anyway."""
        self._report.take(message)

    def _show_new(self, message: Message) -> None:
        self._report.take(message)
        if message.message_type == messages.INITIALIZED:
            self._say(f"created restic repository {message.id[:10]} at {self._place}")

    def _count_backup(self, answer: Answer) -> Message:
        summary = answer.summary or Message()
        facts = self.facts
        facts.files, facts.bytes = summary.total_files_processed, summary.total_bytes_processed
        facts.transferred_files = summary.files_new + summary.files_changed
        facts.transferred_bytes = summary.data_added_packed
        if answer.summary is None:
            return summary
        self._report.finish(files=facts.files, size=facts.bytes, speed=self._report.speed)
        self._say(
            f"Files: {summary.files_new} new, {summary.files_changed} changed, {summary.files_unmodified} unmodified\n"
            f"Added to the repository: {amounts.size(summary.data_added)} ({amounts.size(summary.data_added_packed)} stored)\n"
            f"processed {facts.files} files, {amounts.size(facts.bytes)} in {_clock(summary.total_duration)}\n"
            f"snapshot {summary.snapshot_id[:8]} saved"
        )
        self._done.append(
            f"Snapshot {summary.snapshot_id[:8]} has {amounts.count(facts.files, 'file')}, {amounts.size(facts.bytes)}:"
            f" {facts.transferred_files} new or changed, {amounts.size(facts.transferred_bytes)} added to the repository."
        )
        return summary

    def _count_restore(self, answer: Answer) -> None:
        summary = answer.summary or Message()
        facts = self.facts
        # what is there already is not counted in the totals
        facts.files = summary.total_files + summary.files_skipped
        facts.bytes = summary.total_bytes + summary.bytes_skipped
        facts.transferred_files, facts.transferred_bytes = summary.files_restored, summary.bytes_restored
        facts.deleted = summary.files_deleted
        if answer.summary is not None:
            self._report.finish(files=facts.files, size=facts.bytes, speed=self._report.speed)
            self._say(
                f"Summary: Restored {facts.transferred_files} files/dirs ({amounts.size(facts.transferred_bytes)}), skipped"
                f" {summary.files_skipped}, deleted {facts.deleted}"
            )

    def _tell_nothing(self, snapshots: tuple[messages.Snapshot, ...]) -> None:
        settings = self._settings
        ours = [each for each in snapshots if each.hostname == restic.HOST]
        limits = [
            *([f"up to {settings.as_of:%Y-%m-%dT%H:%M:%SZ}"] if settings.as_of else []),
            *([f"{settings.previous} before the newest"] if settings.previous else []),
        ]
        has = f"the repository has {amounts.count(len(ours), 'snapshot')} of host {restic.HOST}"
        if len(snapshots) > len(ours):
            has += f", and {len(snapshots) - len(ours)} of other hosts, which are not restored"
        wanted = f" ({', '.join(limits)})" if limits else ""
        self._say(f"No eligible snapshots found{wanted}: {has}\nNo data will be restored")
        self._done.append(f"No data will be restored: no snapshot is eligible{wanted}; {has}.")


def check_volume(folder: str) -> None:
    """Raise Failure when the volume is not there."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_NOT_FOUND,
            f"The volume {folder} cannot be read: {error.strerror}. Look at the Pod's volume mounts and at the rights of its user.",
        ) from None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
