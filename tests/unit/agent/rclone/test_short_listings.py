"""A short listing is asked of the engine that runs, and whatever is odd about its answer is left to a listing of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from datamover.agent.children import Stop
from datamover.agent.rclone import record_store
from datamover.agent.rclone.control import Answer, ControlError, Item
from datamover.agent.rclone.process import Engine
from datamover.agent.rclone.record_store import RecordStore
from datamover.agent.rclone.settings import Store
from datamover.api.outside import Unusable

MD5 = "0123456789abcdef0123456789abcdef"


class Control:
    """An engine that answers one request, and may grow meanwhile."""

    def __init__(self, answer: Answer | Exception, *, environment: Mapping[str, str] | None = None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.limits: list[tuple[int, int]] = []
        self._environment = dict(environment or {})

    def works_in(self, environment: Mapping[str, str]) -> bool:
        return environment == self._environment

    def ask(self, command: str, parameters: Mapping[str, Any], *, timeout: float, limit: int, room: int) -> Answer:
        del timeout
        self.asked.append((command, parameters))
        self.limits.append((limit, room))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        """Nothing runs."""


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    made = RecordStore(
        Store(
            bucket="backups",
            prefix="app",
            access_key="key",
            secret_key="secret",
            region="",
            endpoint="http://127.0.0.1:1",
            authorities="",
            config=str(tmp_path),
            outage_limit=1.0,
            engine="",
        ),
        engine=Engine("/no/such/program", stop=Stop(grace=0.1)),
        environment={},
        scratch=str(tmp_path),
        show=lambda _: None,
    )
    made.control.close()
    return made


def listed(*items: Item) -> Answer:
    return Answer(list=items)


def item(path: str, **fields: Any) -> Item:
    return Item(path=f"app/2024-08-06-143052/{path}", **{"size": 3, **fields})


def test_keys_sizes_and_checksums_are_those_below_the_path(store: RecordStore) -> None:
    control = Control(listed(item("a/b", hashes={"md5": MD5}), item("c", hashes={"md5": "none"}), item("d e;f")))
    store.control = control  # type: ignore[assignment]
    found = store.list_few("2024-08-06-143052/", sums=True)
    assert found is not None
    assert list(found.rows()) == [(b"a/b", 3, bytes.fromhex(MD5)), (b"c", 3, b""), (b"d e;f", 3, b"")]
    assert list(found.lines()) == [(b"a/b", 3), (b"c", 3), (b"d e;f", 3)]
    ((command, parameters),) = control.asked
    assert command == "operations/list"
    assert (parameters["fs"], parameters["remote"]) == ("s3generic:backups", "app/2024-08-06-143052")
    options = parameters["opt"]
    assert (options["recurse"], options["filesOnly"], options["noModTime"], options["showHash"]) == (True,) * 4
    assert control.limits == [(record_store._FEW_ANSWER, record_store._FEW_ROOM)]


def test_without_checksums_none_is_asked_for_or_told(store: RecordStore) -> None:
    store.control = control = Control(listed(item("a", hashes={"md5": MD5})))  # type: ignore[assignment]
    found = store.list_few("2024-08-06-143052/")
    assert found is not None
    assert list(found.rows()) == [(b"a", 3, None)]
    assert not {"showHash", "hashTypes"} & set(control.asked[0][1]["opt"])


def test_an_empty_listing_is_one(store: RecordStore) -> None:
    store.control = Control(Answer(list=()))  # type: ignore[assignment]
    found = store.list_few()
    assert found is not None
    assert list(found.rows()) == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(error="AccessDenied"),
        Answer(),
        ControlError("no answer to a small request: timeout"),
        Unusable("it is longer than 4194304 bytes"),
        listed(item("a"), item("folder", is_dir=True)),
        listed(Item(path="elsewhere/2024-08-06-143052/a", size=3)),
        listed(item("bytes that were no UTF-8: \ufffd")),
        listed(item("two\nlines")),
        listed(item("a zero\0")),
        listed(item("a surrogate \udcff")),
    ],
    ids=[
        "an error",
        "no list",
        "no answer",
        "too long",
        "a folder",
        "of another place",
        "no UTF-8",
        "a newline",
        "a zero",
        "a surrogate",
    ],
)
def test_what_is_odd_is_left_to_a_listing_of_its_own(store: RecordStore, answer: Answer | Exception) -> None:
    store.control = Control(answer)  # type: ignore[assignment]
    assert store.list_few("2024-08-06-143052/") is None


def test_an_engine_that_lists_names_in_another_way_is_not_asked(store: RecordStore) -> None:
    store.control = control = Control(listed(item("a")), environment={"RCLONE_S3_LIST_URL_ENCODE": "true"})  # type: ignore[assignment]
    assert store.list_few("2024-08-06-143052/") is None
    assert control.asked == []
