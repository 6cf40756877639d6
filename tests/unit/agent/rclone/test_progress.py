"""Progress for machines and people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.agent.rclone.logs import Line, Stats
from datamover.agent.rclone.progress import Reporter
from datamover.api import transfer


class Scene:
    def __init__(self) -> None:
        self.now = 100.0
        self.lines: list[str] = []
        self.report = Reporter("run-1", write=self.lines.append, monotonic=lambda: self.now)

    @property
    def told(self) -> list[transfer.Progress]:
        return [found for line in self.lines if (found := transfer.read_progress(line))]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def stats(**numbers: float) -> Line:
    return Line(level="notice", msg="\nTransferred:   5 B / 9 B\n", stats=Stats(**numbers))


def test_a_phase_is_told_at_once_and_only_once(scene: Scene) -> None:
    for phase in (transfer.PROBING, transfer.PROBING, transfer.WALKING):
        scene.report.phase(phase)
    assert [progress.phase for progress in scene.told] == ["probing", "walking"]


def test_within_a_phase_at_most_one_line_a_second_is_told(scene: Scene) -> None:
    scene.report.phase(transfer.WALKING)
    for number in range(50):
        scene.now += 0.1
        scene.report.found(files=number, size=number * 10)
    assert 5 <= len(scene.told) <= 6
    assert scene.told[-1].total_files >= 40


def test_statistics_of_a_first_run(scene: Scene) -> None:
    scene.report.found(files=10, size=1000)
    scene.now += 2
    scene.report.statistics(
        stats(bytes=300, total_bytes=1000, transfers=3, total_transfers=10, speed=150.04, eta=4.6, errors=1)
    )
    progress = scene.told[-1]
    assert (progress.bytes, progress.total_bytes, progress.files, progress.total_files) == (300, 1000, 3, 10)
    assert (progress.speed, progress.eta, progress.errors) == (150.0, 5, 1)
    assert progress.elapsed == 2.0


def test_unchanged_files_count_as_there_but_checked_ones_to_be_moved_do_not(scene: Scene) -> None:
    scene.report.found(files=10, size=1000)
    scene.now += 2
    scene.report.statistics(stats(checks=8, transfers=1, total_transfers=4))
    assert scene.told[-1].files == 6
    scene.now += 2
    scene.report.statistics(stats(checks=10, transfers=4, total_transfers=4))
    assert scene.told[-1].files == 10


def test_an_incremental_run_fills_up(scene: Scene) -> None:
    """A thousand files that are there already and ten that are not: comparing is work that is done, too."""
    scene.report.found(files=1010, size=1_010_000)
    scene.report.phase(transfer.SYNCING)
    for step in range(1, 11):
        scene.now += 2
        moved = max(0, step - 5) * 2
        scene.report.statistics(
            stats(
                bytes=moved * 1000,
                total_bytes=10_000 if moved else 0,
                checks=min(1000, step * 200),
                transfers=moved,
                total_transfers=10 if moved else 0,
            )
        )
    told = [progress for progress in scene.told if progress.phase == transfer.SYNCING][1:]
    assert [progress.bytes for progress in told] == sorted(progress.bytes for progress in told)
    assert told[0].bytes > 0
    last = told[-1]
    assert (last.files, last.bytes, last.eta) == (1010, 1_010_000, 0)
    assert last.work[0] == last.work[1]


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 10_000)), max_size=20
    ),
    st.integers(0, 60),
    st.integers(0, 10_000),
)
def test_whatever_the_engine_says_progress_only_grows_and_never_beyond_the_whole(
    said: list[tuple[int, int, int, int]], files: int, size: int
) -> None:
    scene = Scene()
    scene.report.found(files=files, size=size)
    scene.report.phase(transfer.SYNCING)
    for checks, transfers, queued, moved in said:
        scene.now += 1
        scene.report.statistics(
            stats(
                checks=checks,
                transfers=transfers,
                total_transfers=transfers + queued,
                bytes=moved,
                total_bytes=moved * 2,
            )
        )
    told = [progress for progress in scene.told if progress.phase == transfer.SYNCING]
    assert [progress.bytes for progress in told] == sorted(progress.bytes for progress in told)
    assert [progress.files for progress in told] == sorted(progress.files for progress in told)
    for progress in told:
        done, total = progress.work
        assert 0 <= done <= total
        assert progress.eta is None or progress.eta >= 0


def test_what_is_left_is_reckoned_from_the_last_minute(scene: Scene) -> None:
    scene.report.found(files=0, size=100_000_000)
    scene.report.phase(transfer.SYNCING)
    for second in range(1, 200):
        scene.now += 1
        fast = min(second, 100)
        scene.report.statistics(stats(bytes=fast * 500_000 + (second - fast) * 100_000, total_bytes=100_000_000))
    assert scene.told[-1].eta == pytest.approx((100_000_000 - 59_900_000) / 100_000, rel=0.1)


def test_nothing_is_said_of_the_time_while_the_server_does_not_answer(scene: Scene) -> None:
    scene.report.found(files=10, size=1000)
    scene.now += 2
    scene.report.statistics(stats(bytes=300, total_bytes=1000, transfers=3, total_transfers=10))
    assert scene.told[-1].eta is not None
    scene.report.wait("connection refused")
    scene.now += 2
    scene.report.statistics(stats(bytes=300, total_bytes=1000, transfers=3, total_transfers=10))
    assert [progress.eta for progress in scene.told[-2:]] == [None, None]


def test_totals_are_never_below_what_is_done(scene: Scene) -> None:
    scene.now += 2
    scene.report.statistics(stats(bytes=50, total_bytes=10, transfers=2))
    assert (scene.told[-1].total_bytes, scene.told[-1].total_files) == (50, 2)


def test_people_see_the_statistics_every_ten_seconds_and_at_the_end(scene: Scene) -> None:
    for _ in range(25):
        scene.now += 1
        scene.report.statistics(stats(bytes=5))
    assert scene.lines.count("Transferred:   5 B / 9 B") == 2
    scene.report.show(stats(bytes=9))
    assert scene.lines[-1] == "Transferred:   5 B / 9 B"


def test_a_server_that_does_not_answer_is_told_once_and_taken_back(scene: Scene) -> None:
    scene.report.phase(transfer.SYNCING)
    for _ in range(3):
        scene.report.wait("connection refused")
    scene.report.wait("")
    assert [progress.trouble for progress in scene.told] == ["", "connection refused", ""]
    assert scene.report.trouble == ""


def test_what_is_waited_for_is_told_in_few_words(scene: Scene) -> None:
    scene.report.wait("x" * 10_000)
    assert 100 < len(scene.told[0].trouble) < 1000
