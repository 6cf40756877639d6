import json
import logging
import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamover.velero.logs import LINE_LIMIT, Bridge, Log, compose

NOW = datetime(2026, 11, 30, 7, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
def pipe():
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    os.close(read)
    os.close(write)


def lines(descriptor: int) -> list[dict[str, str]]:
    try:
        return [json.loads(line) for line in os.read(descriptor, 1 << 20).splitlines()]
    except BlockingIOError:
        return []


def test_a_line_has_message_level_time_and_fields():
    assert json.loads(compose("warn", "it is late", {"backup": "b", "seconds": 3}, NOW)) == {
        "@level": "warn",
        "@message": "it is late",
        "@timestamp": "2026-11-30T07:00:00.000005Z",
        "backup": "b",
        "seconds": "3",
    }


@given(
    st.text(max_size=30_000),
    st.dictionaries(st.text(max_size=40), st.one_of(st.text(max_size=5000), st.integers(), st.none()), max_size=30),
)
def test_whatever_is_said_the_host_can_read_it(message: str, fields: dict[str, object]):
    line = compose("info", message, fields, NOW)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= LINE_LIMIT < 65_536
    assert all(isinstance(value, str) for value in json.loads(line).values())
    assert json.loads(line)["@level"] == "info"


def test_the_longest_letters_fit_into_a_line():
    line = compose("info", "\U0001f600" * 100_000, {str(n): "\U0001f600" * 5000 for n in range(50)}, NOW)
    assert len(line) <= 65_535


def test_lower_levels_are_not_written(pipe: tuple[int, int]):
    log = Log("warn", descriptor=pipe[1], now=lambda: NOW)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line["@message"] for line in lines(pipe[0])] == ["c", "d"]


def test_a_host_that_is_gone_is_no_error():
    read, write = os.pipe()
    os.close(read)
    Log("info", descriptor=write).info("nobody reads this")
    os.close(write)


def test_what_libraries_log_comes_in_the_same_form_and_is_never_an_error_of_the_backup(pipe: tuple[int, int]):
    """The host counts lines of level error: one of them, and a backup in which all went well is PartiallyFailed."""
    logger = logging.getLogger("some.library")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Bridge(Log("debug", descriptor=pipe[1])))
    logger.warning("retry %d of %d", 1, 3)
    logger.info("wrong %d", "words")
    logger.critical("end")
    logger.debug("detail")
    assert [(line["@level"], line["@message"], line["logger"]) for line in lines(pipe[0])] == [
        ("warn", "retry 1 of 3", "some.library"),
        ("info", "wrong %d", "some.library"),
        ("warn", "end", "some.library"),
        ("debug", "detail", "some.library"),
    ]


def test_what_looks_like_a_secret_does_not_get_into_the_log():
    signed = "PUT https://key:hunter2@store/b?X-Amz-Signature=0badc0ffee: Authorization: Bearer topsecret"
    line = compose("warning", signed, {"trace": signed}, NOW)
    assert b"store/b" in line
    assert not [secret for secret in (b"hunter2", b"0badc0ffee", b"topsecret") if secret in line]
