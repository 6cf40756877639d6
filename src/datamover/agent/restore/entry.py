"""One restore from an opened bucket: for the command, and as an engine of the agent's shell, from the environment of a mover's container to its outcome.

What an attempt in a container adds to one of a command:

- The point is chosen once. `latest` means another one when a backup has ended meanwhile; so the mark in the target says for which restore the point was
  chosen, and the next attempt of that restore goes on with it (law L6).
- One that died after it had ended and before anybody heard of it is not taken for a stranger's files (`likeness`).
- What was left of the target is told in every outcome.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime

import msgspec

from datamover.agent import outcome, printing
from datamover.agent.children import Stop
from datamover.agent.environment import is_run_id, is_timestamp, write_timestamp
from datamover.agent.errors import AgentError, Failure, Stopped
from datamover.agent.files import manifest
from datamover.agent.files.losses import Loss
from datamover.agent.points.bucket import Bucket, open_bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.rclone import logs
from datamover.agent.rclone.version import Version
from datamover.agent.restore import candidate, reasons
from datamover.agent.restore.attempt import Attempt, Facts, Limits
from datamover.agent.restore.fetching import BATCH_BYTES, BATCH_FILES, Fetching
from datamover.agent.restore.in_place import judge_mark, recover
from datamover.agent.restore.marker import mark_of
from datamover.agent.restore.order import Order, Origin
from datamover.agent.restore.progress import Reporter
from datamover.agent.restore.settings import ADVICE, Settings, read_settings
from datamover.agent.restore.wanted import File
from datamover.agent.restore.wording import name_fields
from datamover.agent.shell import Surroundings, Task
from datamover.api import amounts, transfer
from datamover.api import restore as words

LIMITS = Limits(files=BATCH_FILES, bytes=BATCH_BYTES)
"""What is fetched by one run of the engine."""
_PRIVATE = 0o077


def prepare(environ: Mapping[str, str], *, now: datetime, token: str) -> Task:
    """Return the restore that the environment asks for. Raises Misconfigured."""
    settings = read_settings(environ, run_id=f"{write_timestamp(now)}-{token}")
    return Task(
        config=settings.store.config,
        deadline=settings.deadline,
        grace=settings.grace,
        notices=settings.notices,
        run=lambda given: _run(settings, given),
    )


def _run(settings: Settings, given: Surroundings) -> transfer.Outcome:
    restore = _Restore(settings, given)

    def to_the_end() -> transfer.Outcome:
        try:
            restore.run()
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - what the target is must be told whatever it is
            return outcome.broken(restore.so_far(), error, write=given.say)
        return msgspec.structs.replace(
            restore.so_far(), succeeded=True, reason=transfer.REASON_SUCCEEDED, message=restore.summary()
        )

    result = given.conclude(to_the_end, so_far=restore.so_far, trouble=lambda: restore.report.trouble)
    return outcome.clean(msgspec.structs.replace(result, message=name_fields(result.message)), given.redact)


class _Restore:
    """One attempt in a container, and what is known of it."""

    def __init__(self, settings: Settings, given: Surroundings) -> None:
        self.report = Reporter(settings.run_id, write=given.say, tell=given.tell, monotonic=time.monotonic)
        self._settings = settings
        self._given = given
        # where nodes are directories, a mount is a link, and the operator's word all the same: nothing within the volume is followed
        order = settings.order
        self._order = msgspec.structs.replace(
            order,
            directory=os.path.realpath(order.directory),
            safety=os.path.realpath(order.safety) if order.safety else "",
        )
        self._facts = Facts()
        self._point: Point | None = None
        self._empty = False
        self._begun = False
        self._notes: tuple[str, ...] = ()
        self._version: Version | None = None

    def run(self) -> None:
        """Restore; in place, roll back when that fails, whatever the failure. Raises AgentError, and whatever nobody expects."""
        try:
            self._run()
        except Stopped:
            raise  # there is no time for it: the next attempt goes on
        except Exception as error:
            lost = recover(self._order, error, tick=self._check_and_report, say=self._given.say)
            if lost is not None:
                self._facts.target, self._facts.lost = words.ROLLED_BACK, lost
            raise

    def _check_and_report(self) -> None:
        self._given.stop.check()
        self.report.repeat()

    def _run(self) -> None:
        given = self._given
        os.umask(_PRIVATE)  # nobody else reads what has not got its mode yet
        seen = _look(self._order)  # a target that cannot be used is told before anything is asked of the store
        self._begun = seen.begun
        strange = judge_mark(seen, self._order)
        if strange is not None:
            raise strange
        self.report.phase(transfer.PROBING)
        with open_bucket(
            given.environ,
            scratch=given.scratch,
            stop=given.stop,
            redact=given.redact,
            say=given.say,
            wait=self.report.wait,
            tell=lambda note: given.say(f"Note: {note}."),
            advice=ADVICE,
        ) as bucket:
            self._version = Version(bucket.engine, environment=bucket.options.records, show=bucket.show)
            try:
                try:
                    self._point = self._choose(bucket, seen)
                finally:
                    self._version.learn(bucket.store.control)  # which goes when files come
                if self._point is None:
                    self._demand_empty()
                else:
                    self._restore(bucket, self._point)
            finally:
                self._notes = tuple(bucket.notes)

    def _choose(self, bucket: Bucket, seen: candidate.Seen) -> Point | None:
        """Return the point; None where there is none, and that is allowed. Raises Failure."""
        settings = self._settings
        begun = seen.marker if seen.marker is not None and seen.marker.restore == settings.run_id else None
        if begun is not None and not is_run_id(begun.run):
            begun = None  # no restore has written that: it will be refused as one that is not known
        word = begun.run if begun is not None and not _is_exact(settings.point) else settings.point
        try:
            return bucket.choose(word, source=settings.source, disturbed=settings.disturbed)
        except Failure as failure:
            if begun is not None:
                raise _lost_point(failure, begun.run) from None
            if failure.reason != transfer.REASON_POINT_NOT_FOUND or not settings.may_be_missing:
                raise
            if not bucket.has_none_of(settings.source):
                failure.message += (
                    " The bucket has runs all the same, or traces of some, that are or may be of that volume: so it is not"
                    " taken for one without a backup."
                )
                raise
            return None

    def _demand_empty(self) -> None:
        """Raise Failure where the target is not as empty as it is promised to be."""
        order = self._order
        nothing = Origin(run_id="", place="", folder="", manifest="")
        failure = candidate.judge(candidate.look(order.directory), order, mark_of(order, nothing, now=""))
        if failure is not None:
            raise failure
        self._empty = True

    def _restore(self, bucket: Bucket, point: Point) -> None:
        settings, given = self._settings, self._given
        attempt = prepare_attempt(
            bucket,
            point,
            self._order,
            stop=given.stop,
            grace=settings.grace,
            scratch=given.scratch,
            say=given.say,
            report=self.report,
        )
        self._facts = attempt.facts
        try:
            attempt.run()
        except Failure as failure:
            # an attempt of before may take its time to go: its node is lost, or it waits for its disk
            failure.retryable = failure.retryable or failure.reason == transfer.REASON_TARGET_BUSY
            raise
        finally:
            attempt.close()

    # --- telling ------------------------------------------------------------------------------------------------------

    def so_far(self) -> transfer.Outcome:
        """Return the outcome as far as it is known: what came, and what the target is."""
        facts, point, store = self._facts, self._point, self._settings.store
        compared = facts.files - facts.by_size if facts.target == words.WHOLE else 0
        return msgspec.structs.replace(
            self._given.begun,
            run_id=self._settings.run_id,
            destination=transfer.destination(
                store.bucket, prefix=store.prefix, timestamp=(point and point.folder) or None
            ),
            timestamp=(point and point.folder) or None,
            files=facts.files,
            bytes=facts.bytes,
            transferred_files=facts.fetched,
            transferred_bytes=facts.fetched_bytes,
            checked_files=compared,
            engine=self._version.text() if self._version is not None else "",
            restored=words.Restored(
                point=point.run_id if point else "",
                moment=point.moment if point else "",
                volume=point.volume if point else "",
                state=point.state if point else "",
                target=candidate.what_is_left(facts.target, begun=self._begun),
                empty=self._empty,
                resumed=facts.resumed,
                kept_files=facts.kept,
                linked_files=facts.linked,
                by_checksum=compared,
                by_size=facts.by_size if facts.target == words.WHOLE else 0,
                losses=_shorten(facts.lost),
                left_out=_shorten(facts.left_out),
                notes=(*self._notes, *facts.notes),
            ),
        )

    def summary(self) -> str:
        """Return what is said of a success, and no more than was done (law L4)."""
        facts, point, settings = self._facts, self._point, self._settings
        if point is None:
            of = f" of {settings.source}" if settings.source else ""
            return f"There is no backup{of} at {settings.store.root}, and that is allowed: the volume is left as it is."
        path = f"'{printing.readable(settings.order.path)}' of " if settings.order.path else ""
        of = f" of {point.volume}" if point.volume else ""
        compared = words.tell_comparison(by_checksum=facts.files - facts.by_size, by_size=facts.by_size)
        kept = f" {amounts.count(facts.kept, 'file')} of them had been there already and right." if facts.kept else ""
        lost = words.tell_losses(_shorten(facts.lost))
        return (
            f"Restored {path}{point.name}{of}: {amounts.count(facts.files, 'file')} ({amounts.size(facts.bytes)}), {compared}.{kept}"
            f"{f' Not all of their attributes came back: {lost}.' if lost else ''}"
        )


def _look(order: Order) -> candidate.Seen:
    """Look at the target. Raises Failure, also where nothing is mounted."""
    seen = candidate.look(order.directory)
    if not seen.there:
        raise reasons.no_directory(order.directory, "it is not there, so no volume is mounted")
    return seen


def _is_exact(word: str) -> bool:
    """Tell whether a word means one certain run, so that it means the same next time."""
    return word != words.LATEST and (is_timestamp(word) or is_run_id(word))


def _lost_point(failure: Failure, run: str) -> Failure:
    """Say what it means that the point with which an earlier attempt has begun cannot be had any more."""
    if failure.reason in {
        transfer.REASON_POINT_NOT_FOUND,
        transfer.REASON_POINT_UNUSABLE,
        transfer.REASON_POINT_AMBIGUOUS,
    }:
        failure.message = f"An earlier attempt of this restore has begun with the run {run}, and it cannot be finished: {failure.message} {reasons.LEFT}"
    return failure


def _shorten(lost: tuple[Loss, ...]) -> tuple[words.Loss, ...]:
    return tuple(
        words.Loss(name_fields(loss.kind), loss.count, loss.examples[0] if loss.examples else "") for loss in lost
    )


def prepare_attempt(
    bucket: Bucket,
    point: Point,
    order: Order,
    *,
    stop: Stop,
    grace: float,
    scratch: str,
    say: Callable[[str], None],
    report: Reporter,
    limits: Limits = LIMITS,
) -> Attempt:
    """Return the attempt that restores a point; its manifest is fetched for that. `say` takes lines for people.

    Raises Failure when the manifest cannot be had.
    """
    origin = origin_of(bucket, point)
    bucket.rest()

    def show(line: logs.Line) -> None:
        if line.stats is None and logs.shown(line, level=bucket.options.level):
            say(logs.written(line))

    def fetcher(into: int, path: str, arrived: Callable[[File], None]) -> Fetching:
        return make_fetching(
            bucket,
            point,
            into=into,
            path=path,
            report=report,
            scratch=scratch,
            show=show,
            grace=grace,
            arrived=arrived,
        )

    return Attempt(
        order,
        origin,
        sums=lambda: known_sums(origin.manifest),
        fetcher=fetcher,
        limits=limits,
        report=report,
        check_stop=stop.check,
        scratch=scratch,
    )


def make_fetching(
    bucket: Bucket,
    point: Point,
    *,
    into: int,
    path: str,
    report: Reporter,
    scratch: str,
    show: Callable[[logs.Line], None],
    grace: float,
    arrived: Callable[[File], None] = lambda _: None,
) -> Fetching:
    """Return what brings files of a point into a folder; see `Fetching`."""
    return Fetching(
        engine=bucket.engine,
        server=bucket.store,
        environment=bucket.options.data,
        folder=_folder(point),
        into=into,
        path=path,
        scratch=scratch,
        report=report,
        show=show,
        outage_limit=bucket.settings.outage_limit,
        grace=grace,
        arrived=arrived,
    )


def _folder(point: Point) -> str:
    return f"{point.folder}/" if point.folder else ""


def origin_of(bucket: Bucket, point: Point) -> Origin:
    """Return where a point comes from, with its manifest on this machine. Raises Failure when that cannot be had."""
    return Origin(
        run_id=point.run_id,
        place=bucket.root,
        folder=_folder(point),
        manifest=bucket.fetch_manifest(point),
    )


def known_sums(path: str) -> Iterator[tuple[bytes, str]]:
    """Yield the MD5 of files by their keys, as far as a manifest has them."""
    with suppress(manifest.NoDigests):  # then sizes alone are compared, and that is said
        for key, md5 in manifest.digests(path):
            yield key, md5.hex()
