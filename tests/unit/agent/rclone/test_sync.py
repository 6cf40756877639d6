"""When a copy is ended because it cannot come to anything."""

import pytest

from datamover.agent.errors import Failure
from datamover.agent.rclone.classify import Errors
from datamover.agent.rclone.logs import Line, Stats
from datamover.agent.rclone.sync import _Watch
from datamover.api import transfer

DENIED = "Failed to copy: api error AccessDenied: Access Denied."
FULL = "Failed to copy: api error QuotaExceeded: denied due to quota exceeded."


class Child:
    """An engine that goes on until it is ended, or answers a question with `code`."""

    ended = True

    def __init__(self, code: int = 0, said: str = "") -> None:
        self.errors = Errors()
        self.stopped = False
        self._code = code
        if said:
            self.says(said)

    def says(self, text: str) -> None:
        self.errors.add(Line(level="error", msg=text, object="a"))

    def wait(self) -> int:
        return self._code

    def end(self, *, grace: float) -> None:
        self.stopped = True

    def close(self) -> None:
        pass


class Scene:
    """A watch over a child, and a destination whose answer to questions can be chosen."""

    def __init__(self, *, counts_bytes: bool = False) -> None:
        self.now = 0.0
        self.troubles: list[str] = []
        self.answer = Child()
        self.child = Child()
        self.watch = _Watch(
            self,
            limit=60,
            grace=1,
            monotonic=lambda: self.now,
            wait=self.troubles.append,
            total=lambda: None,
            counts_bytes=counts_bytes,
        )  # type: ignore[arg-type]

    def explain(self, errors: Errors, code: int, *, total: int | None = None) -> Failure:
        return errors.failure(code=code, place="s3:b", bucket="b", endpoint="http://s3", total=total)

    def start_question(self) -> Child:
        return self.answer

    def tell_silence(self) -> Failure:
        errors = Errors()
        errors.add(Line(level="error", msg="i/o timeout"))
        return self.explain(errors, 1)

    def tick(self, *, seconds: float = 1, transfers: int = 0, size: int = 0) -> None:
        self.now += seconds
        self.watch.tick(Stats(transfers=transfers, bytes=size), self.child)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "patience", "failure_class"), [(FULL, 3, transfer.NO_SPACE), (DENIED, 40, transfer.DENIED)]
)
def test_a_copy_of_which_nothing_arrives_is_ended_after_some_errors(
    text: str, patience: int, failure_class: str
) -> None:
    scene = Scene()
    for _ in range(patience - 1):
        scene.child.says(text)
    scene.tick()
    assert not scene.child.stopped
    scene.child.says(text)
    scene.tick()
    assert scene.child.stopped
    assert scene.watch.failure is not None
    assert scene.watch.failure.failure_class == failure_class


def test_a_copy_of_which_something_has_arrived_goes_on() -> None:
    scene = Scene()
    for _ in range(100):
        scene.child.says(FULL)
    scene.tick(transfers=1)
    assert not scene.child.stopped


def test_a_server_that_does_not_answer_is_told_waited_for_and_given_up() -> None:
    scene = Scene()
    scene.answer = Child(1, "Failed to lsf: dial tcp 10.0.0.1:9000: connect: connection refused")
    for _ in range(30):
        scene.tick()
    assert "connection refused" in scene.troubles[-1]
    assert not scene.child.stopped
    scene.tick(transfers=1)
    assert scene.troubles[-1] == "", "it is there again"
    for _ in range(90):
        scene.tick(transfers=1)
    assert scene.child.stopped
    assert scene.watch.failure is not None
    assert "has not answered for" in scene.watch.failure.message


def test_a_server_that_answers_while_a_large_file_is_on_its_way_is_no_trouble() -> None:
    scene = Scene()
    for _ in range(200):
        scene.tick()
    assert not scene.child.stopped
    assert not any(scene.troubles)


def test_a_server_that_takes_requests_and_answers_none_is_given_up_at_the_limit() -> None:
    scene = Scene()
    scene.answer.ended = False
    for _ in range(59):
        scene.tick()
    assert not scene.child.stopped
    for _ in range(3):
        scene.tick()
    assert scene.child.stopped
    assert scene.watch.failure is not None
    assert scene.watch.failure.failure_class == transfer.NETWORK
    assert "DATAMOVER_OUTAGE_LIMIT" in scene.watch.failure.message


@pytest.mark.parametrize("counts_bytes", [False, True])
def test_bytes_that_come_show_that_a_server_is_there_which_answers_no_question(counts_bytes: bool) -> None:
    """What is sent may be the same file again and again; then bytes are no advance."""
    scene = Scene(counts_bytes=counts_bytes)
    scene.answer = Child(1, "Failed to lsf: dial tcp 10.0.0.1:9000: connect: connection refused")
    for second in range(200):
        scene.tick(size=second // 10)  # a byte now and then
    assert scene.child.stopped != counts_bytes
    for _ in range(100):
        scene.tick(size=20)
    assert scene.child.stopped, "it stands still"
