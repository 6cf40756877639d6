"""One comparison of a point with its manifest as an engine of the agent's shell: from the environment of a mover's container to its outcome.

Success means that nothing differs. A difference is a failure of its own (`BackupDamaged`), told apart from a store that could not be asked: whoever reads
the outcome must neither take an outage for damage nor damage for an outage (law L11). Nothing is written into the bucket.
"""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice

import msgspec

from datamover.agent import outcome
from datamover.agent.environment import is_run_id, write_timestamp
from datamover.agent.errors import Failure
from datamover.agent.points.bucket import Bucket, open_bucket
from datamover.agent.points.catalogue import DAMAGED, INCOMPLETE, SUPERSEDED, Point
from datamover.agent.rclone.version import Version
from datamover.agent.shell import Surroundings, Task
from datamover.agent.verification.attempt import SAMPLE, Attempt, Facts
from datamover.agent.verification.objects import Flaw
from datamover.agent.verification.settings import ADVICE, Settings, read_settings
from datamover.agent.verification.wording import describe, notes, summary
from datamover.api import transfer
from datamover.api import verification as words

_FINDINGS = 16
"""Findings that an outcome names at most; what does not fit into a termination message is cut further."""
_OTHER = (Flaw.SIZE, Flaw.CHECKSUM, Flaw.CONTENTS)
_UNUSABLE = {
    SUPERSEDED: transfer.REASON_POINT_SUPERSEDED,
    INCOMPLETE: transfer.REASON_RECORD_UNUSABLE,
    DAMAGED: transfer.REASON_RECORD_UNUSABLE,
}
"""Why a run that is asked for by its id is no point, by its state."""
_UNPROVED = (Flaw.UNREADABLE, Flaw.UNLISTED)
"""What is no difference: the store did not show what it may well have."""


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
    """Return the comparison that the environment asks for. Raises Misconfigured."""
    settings = read_settings(environ, run_id=f"{write_timestamp(now)}-{token}")
    return Task(
        config=settings.store.config,
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        run=lambda given: _run(settings, given),
        rest=outcome.Rest(left="Nothing was changed, and another one begins anew"),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    comparison = _Comparison(settings, given)

    def to_the_end() -> transfer.Outcome:
        message = comparison.run()
        return msgspec.structs.replace(
            comparison.so_far(), succeeded=True, reason=transfer.REASON_SUCCEEDED, message=message, verified=True
        )

    result = given.conclude(to_the_end, so_far=comparison.so_far, trouble=lambda: comparison.trouble)
    return outcome.clean(result, given.redact)


class _Comparison:
    """One attempt in a container, and what is known of it."""

    def __init__(self, settings: Settings, given: Surroundings) -> None:
        self.trouble = ""
        self._settings = settings
        self._given = given
        self._point: Point | None = None
        self._facts = Facts(method=settings.method)
        self._differs = False
        self._version: Version | None = None

    def run(self) -> str:
        """Compare; return what is said of a success. Raises AgentError, of reason `BackupDamaged` when something differs."""
        given = self._given
        with open_bucket(
            given.environ,
            scratch=given.scratch,
            stop=given.stop,
            redact=given.redact,
            say=given.say,
            wait=self._wait,
            tell=lambda note: given.say(f"Note: {note}."),
            advice=ADVICE,
        ) as bucket:
            self._version = Version(bucket.engine, environment=bucket.options.records, show=bucket.show)
            try:
                point = self._point = self._choose(bucket)
            finally:
                self._version.learn(bucket.store.control)
            attempt = Attempt(
                bucket,
                point,
                method=self._settings.method,
                percent=self._settings.wanted.percent,
                seed=self._settings.run_id,  # the same in every attempt (law L6)
                tell=given.tell,
                scratch=given.scratch,
                report_as=self._settings.run_id,
            )
            self._facts = attempt.facts
            try:
                attempt.run()
                findings = tuple(describe(found) for found in islice(attempt.flawed(), _FINDINGS))
            finally:
                attempt.close()
        for finding in findings:
            given.say(finding)
        message = " ".join([summary(self._facts, point), *(f"{_sentence(note)}." for note in _notes(self._facts))])
        failure = judge(self._facts, message, findings)
        if failure is not None:
            self._differs = failure.reason == transfer.REASON_BACKUP_DAMAGED
            raise failure
        return message

    def _wait(self, trouble: str) -> None:
        self.trouble = trouble

    def _choose(self, bucket: Bucket) -> Point:
        """Return the point. Raises Failure; of one that a later run of its mirror has replaced it says so, and of one whose records are gone or contradict each other
        that they cannot be used: what stands in the way of a newer format is no damage.
        """
        settings = self._settings
        try:
            return bucket.choose(settings.point, source=settings.source)
        except Failure as failure:
            if failure.reason == transfer.REASON_POINT_UNUSABLE and is_run_id(settings.point):
                found = bucket.find(settings.point)
                if found is not None:
                    failure.reason = _UNUSABLE.get(found.state, failure.reason)
            raise

    def so_far(self) -> transfer.Outcome:
        """Return the outcome as far as it is known."""
        facts, point, settings = self._facts, self._point, self._settings
        count = facts.flaws
        store = settings.store
        return msgspec.structs.replace(
            self._given.begun,
            run_id=settings.run_id,
            destination=transfer.destination(
                store.bucket, prefix=store.prefix, timestamp=(point and point.folder) or None
            ),
            timestamp=(point and point.folder) or None,
            files=facts.files,
            bytes=facts.bytes,
            verified=False if self._differs else None,
            verification=str(settings.wanted),
            checked_files=facts.summed,
            read_files=facts.read,
            engine=self._version.text() if self._version is not None else "",
            compared=words.Compared(
                point=point.run_id if point else "",
                moment=point.moment if point else "",
                volume=point.volume if point else "",
                state=point.state if point else "",
                method=str(settings.wanted),
                seed=settings.run_id if settings.method == SAMPLE else "",
                compared=facts.present,
                missing=count.get(Flaw.MISSING, 0),
                other=sum(count.get(flaw, 0) for flaw in _OTHER),
                extra=count.get(Flaw.EXTRA, 0),
                unproved=sum(count.get(flaw, 0) for flaw in _UNPROVED),
                notes=tuple(_notes(facts)),
            ),
        )


def judge(facts: Facts, message: str, findings: tuple[str, ...]) -> Failure | None:
    """Return what the findings mean; None where nothing differs and everything was compared that was to be."""
    if not facts.amiss:
        if not facts.unproved:
            return None
        return Failure(  # another Pod would find the manifest no better
            transfer.GUARD,
            transfer.REASON_COMPARISON_UNFINISHED,
            f"No difference was found, and less could be read back and compared than was asked for. {message}",
        )
    if facts.rival:  # what it has replaced differs rightly, and which objects those are nobody can tell
        return Failure(
            transfer.GUARD,
            transfer.REASON_COMPARISON_DISTURBED,
            f"Not compared to the end: another run has begun to mirror there meanwhile. {message}",
            retryable=True,
            problems=findings,
        )
    if set(facts.flaws) <= set(_UNPROVED):
        return Failure(
            transfer.NETWORK,
            transfer.REASON_COMPARISON_UNFINISHED,
            f"No difference was found, and not everything could be compared: look at the store. {message}",
            problems=findings,
        )
    return Failure(
        transfer.VERIFY,
        transfer.REASON_BACKUP_DAMAGED,
        f"The backup is not as its manifest says: take another one, and keep what is there until that is complete. {message}",
        retryable=False,
        problems=findings,
    )


def _notes(facts: Facts) -> list[str]:
    """Return what people should know besides. A container has variables where a command has options."""
    return [note.replace("--method download", f"{transfer.VERIFY_METHOD}=download") for note in notes(facts)]


def _sentence(note: str) -> str:
    return note[:1].upper() + note[1:].rstrip(".")
