"""The end of a log as an outcome has it: summary lines of a success, all lines of a failure."""

import re

import pytest

from datamover.agent.excerpt import LINE, Excerpt
from datamover.api import transfer


def excerpt(shown: list[str] | None = None, *, failure: str | None = None, secret: str = "hunter2-hunter2") -> Excerpt:
    return Excerpt(
        success=re.compile(r"processed.*files|Restic completed in"),
        failure=re.compile(failure) if failure else None,
        show=(shown if shown is not None else []).append,
        redact=lambda text: text.replace(secret, "[redacted]"),
    )


def test_a_success_keeps_its_summary_and_a_failure_all() -> None:
    shown: list[str] = []
    log = excerpt(shown)
    for line in ("open repository", "processed 3 files, 4 KiB in 0:01\n", "", "Restic completed in 2s"):
        log.say(line)
    assert log.of_success() == "processed 3 files, 4 KiB in 0:01\nRestic completed in 2s"
    assert log.of_failure() == "open repository\nprocessed 3 files, 4 KiB in 0:01\nRestic completed in 2s"
    assert shown[0] == "open repository"
    assert len(shown) == 4


def test_a_failure_may_be_told_by_some_lines_only() -> None:
    log = excerpt(failure=r"(?i)error|fail|rsync")
    log.say("stunnel: listening\nrsync error: timeout\nbye")
    assert log.of_failure() == "rsync error: timeout"
    assert not log.of_success()


def test_why_it_failed_is_the_last_line_whatever_lines_tell_of_a_failure() -> None:
    shown: list[str] = []
    log = excerpt(shown, failure="rsync")
    log.say("rsync error: timeout")
    assert (
        log.end("The key hunter2-hunter2 is\nanother one.")
        == "rsync error: timeout\nThe key [redacted] is another one."
    )
    assert len(shown) == 2
    assert not log.of_success()


def test_the_last_lines_stay_whole_and_within_the_limit() -> None:
    log = excerpt()
    for number in range(10_000):
        log.say(f"line {number:06} {'ü' * 30}")
    kept = log.of_failure()
    assert kept.endswith(f"line 009999 {'ü' * 30}")
    assert len(kept.encode()) <= transfer.LOG_LIMIT
    assert len(kept.encode()) > transfer.LOG_LIMIT - 100
    assert all(line.startswith("line 00") for line in kept.splitlines())


@pytest.mark.parametrize("letter", ["x", "ü", "\x1b"])
def test_one_endless_line_is_cut_and_does_not_hide_the_one_after_it(letter: str) -> None:
    log = excerpt()
    log.say(letter * 100_000)
    log.say("Restic completed in 2s")
    first, last = log.of_failure().splitlines()
    assert LINE - 4 < len(first.encode()) <= LINE
    assert last == "Restic completed in 2s"


def test_a_secret_at_the_cut_is_redacted_before_the_line_is_cut() -> None:
    log = excerpt()
    log.say("y" * (LINE - 8) + "hunter2-hunter2")
    assert "hunter" not in log.of_failure()
