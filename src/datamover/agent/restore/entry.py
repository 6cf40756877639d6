"""One restore from an opened bucket: for the command, and for a mover's container."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from datamover.agent.children import Stop
from datamover.agent.files import manifest
from datamover.agent.points.bucket import Bucket
from datamover.agent.points.catalogue import Point
from datamover.agent.rclone import logs
from datamover.agent.restore.attempt import Attempt, Limits
from datamover.agent.restore.fetching import BATCH_BYTES, BATCH_FILES, Fetching
from datamover.agent.restore.order import Order, Origin
from datamover.agent.restore.progress import Reporter

LIMITS = Limits(files=BATCH_FILES, bytes=BATCH_BYTES)
"""What is fetched by one run of the engine."""


def prepare_attempt(
    bucket: Bucket,
    point: Point,
    order: Order,
    *,
    stop: Stop,
    grace: float,
    scratch: str,
    say: Callable[[str], None],
    tell: Callable[[str], None],
    limits: Limits = LIMITS,
) -> Attempt:
    """Return the attempt that restores a point; its manifest is fetched for that. `say` takes lines for people, `tell` lines of progress.

    Raises Failure when the manifest cannot be had.
    """
    origin = Origin(
        run_id=point.run_id,
        place=bucket.root,
        folder=_folder(point),
        manifest=bucket.fetch_manifest(point),
    )
    report = Reporter(point.run_id, write=say, tell=tell, monotonic=time.monotonic)

    def show(line: logs.Line) -> None:
        if line.stats is None and logs.shown(line, level=bucket.options.level):
            say(logs.written(line))

    def fetcher(into: int, path: str) -> Fetching:
        return make_fetching(
            bucket, point, into=into, path=path, report=report, scratch=scratch, show=show, grace=grace
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
    )


def _folder(point: Point) -> str:
    return f"{point.folder}/" if point.folder else ""


def known_sums(path: str) -> Iterator[tuple[bytes, str]]:
    """Yield the MD5 of files by their keys, as far as a manifest has them."""
    with suppress(manifest.NoDigests):  # then sizes alone are compared, and that is said
        for key, md5 in manifest.digests(path):
            yield key, md5.hex()
