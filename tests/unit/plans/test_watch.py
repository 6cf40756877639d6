"""What the samples of a log say one after the other."""

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_numbers

from datamover.api.transfer import Progress
from datamover.plans.watch import UNWATCHED, ProgressWatch, Sample

FIRST = Progress(run_id="r", phase="syncing", bytes=1, total_bytes=10, files=1, total_files=3)


def watch(*samples: tuple[float, Sample]) -> ProgressWatch:
    watch = UNWATCHED
    for now, sample in samples:
        watch = watch.take(sample, now=now)
    return watch


def test_a_mover_that_says_the_same_again_is_idle_since_it_first_said_so() -> None:
    seen = watch(*((now, Sample("pod", FIRST)) for now in (100.0, 110.0, 700.0)))
    assert (seen.idle, seen.moved) == (600.0, False)


@pytest.mark.parametrize(
    "change",
    [{"bytes": 2}, {"files": 2}, {"total_files": 4}, {"total_bytes": 11}, {"phase": "verifying"}],
    ids=lambda change: next(iter(change)),
)
def test_any_number_and_the_phase_count_as_progress(change: dict[str, object]) -> None:
    seen = watch((0, Sample("pod", FIRST)), (900, Sample("pod", with_numbers(FIRST, **change))))
    assert (seen.idle, seen.moved) == (0.0, True)


def test_what_varies_by_itself_is_no_progress() -> None:
    again = with_numbers(FIRST, speed=3.0, eta=7, elapsed=99.0, errors=2)
    assert watch((0, Sample("pod", FIRST)), (50, Sample("pod", again))).idle == 50


def test_what_cannot_be_read_is_counted_and_says_nothing_of_the_mover() -> None:
    lost = Sample("pod", problem="no route to host")
    seen = watch((0, Sample("pod", FIRST)), (10, lost), (900, lost))
    assert (seen.failures, seen.problem, seen.idle, seen.blind) == (2, "no route to host", 0.0, 890.0)
    back = seen.take(Sample("pod", FIRST), now=910)
    assert (back.failures, back.problem, back.idle, back.blind) == (0, None, 910.0, 0.0)
    assert back.take(lost, now=920).blind == 0.0, "another time"


def test_a_log_without_progress_is_readable_and_says_nothing() -> None:
    seen = watch((0, Sample("pod", problem="x")), (10, Sample("pod")))
    assert (seen.failures, seen.progress, seen.idle) == (0, None, 0.0)


def test_another_pod_is_another_vigil() -> None:
    seen = watch((0, Sample("one", FIRST)), (900, Sample("other", FIRST)))
    assert seen == replace(UNWATCHED, pod="other", progress=FIRST, since=900, last=900)
