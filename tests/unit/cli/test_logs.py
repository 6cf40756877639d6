"""The form of log lines."""

import json
import logging
from collections.abc import Iterator

import pytest

from datamover.cli.logs import JsonFormatter, set_up


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level, logging.getLogger("aiohttp").level, logging.getLogger("asyncio").level
    yield logger
    logger.handlers[:], level = before[0], before[1]
    logger.setLevel(level)
    logging.getLogger("aiohttp").setLevel(before[2])
    logging.getLogger("asyncio").setLevel(before[3])


def test_text_lines_go_to_standard_error(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up(level="info")
    logging.getLogger("datamover.x").info("moved %d files", 3)
    logging.getLogger("datamover.x").debug("not asked for")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(" INFO moved 3 files\n")


def test_json_lines_are_one_object_each_even_with_a_traceback(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(level="warning", form="json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("datamover.x").exception("it failed: ü")
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"]) == ("error", "datamover.x", "it failed: ü")
    assert "ValueError: two\nlines" in found["error"]
    assert found["time"].endswith("+00:00")


def test_setting_up_twice_says_nothing_twice(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    set_up()
    logging.getLogger("datamover.x").warning("once")
    assert capsys.readouterr().err.count("once") == 1


def test_the_libraries_are_quiet_unless_we_are_quieter(root: logging.Logger) -> None:
    set_up(level="debug")
    assert logging.getLogger("aiohttp").level == logging.getLogger("asyncio").level == logging.WARNING
    set_up(level="error")
    assert logging.getLogger("aiohttp").level == logging.ERROR


def test_what_is_no_json_in_a_message_is_escaped() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, 'quotes " and \x00', (), None)
    assert json.loads(JsonFormatter().format(record))["message"] == 'quotes " and \x00'
