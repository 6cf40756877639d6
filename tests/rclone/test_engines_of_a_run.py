"""How many engines a run starts: a process costs as much as many requests, and a backup of a few files is nothing but those."""

import os
from collections import Counter

import pytest

from datamover.agent.rclone.record_store import FEW
from support.agent import Container
from support.s3 import S3Server, find_rclone


def counting(container: Container) -> dict[str, str]:
    """Return variables with which each engine leaves a line before it runs."""
    program = find_rclone()
    assert program
    wrapper = container.root / "counted"
    wrapper.write_text(f'#!/bin/sh\necho "$1" >> "{container.root}/engines"\nexec "{program}" "$@"\n')
    wrapper.chmod(0o755)
    return {"DATAMOVER_RCLONE": str(wrapper)}


def run(container: Container, number: int, **given: str) -> Counter[str]:
    """Run a backup; return the commands of the engines that it has started."""
    told = container.root / "engines"
    told.unlink(missing_ok=True)
    ended = container.run(DATAMOVER_RUN_ID=f"run-{number}", **counting(container), **given)
    assert ended.code == 0, ended.output
    return Counter(told.read_text().split())


TWO = Counter({"rcd": 1, "copy": 1})
"""One for all small requests, and one that moves."""


@pytest.mark.parametrize("stamped", ["true", "false"])
def test_a_backup_of_few_files_starts_two(container: Container, s3: S3Server, stamped: str) -> None:
    for number in range(20):
        (container.data / f"file-{number}").write_bytes(b"content")
    given = {"ADD_TIMESTAMP_PREFIX": stamped}
    assert run(container, 1, DATAMOVER_TIMESTAMP="2024-08-06-143052", **given) == TWO
    (container.data / "file-1").write_bytes(b"changed")
    (container.data / "file-2").unlink()
    commands = run(container, 2, DATAMOVER_TIMESTAMP="2024-08-06-153052", **given)
    assert commands - Counter({"delete": 1}) == TWO, "and one that deletes where something is to go"
    assert len(s3.objects()) == (19 if stamped == "false" else 39)


def test_of_many_files_each_listing_is_an_engine_of_its_own(container: Container, s3: S3Server) -> None:
    for number in range(FEW + 1):
        (container.data / f"{number}").touch()
    assert run(container, 1) == TWO + Counter({"lsf": 2})
    assert len(s3.objects()) == FEW + 1


def test_names_that_no_answer_can_spell_are_listed_by_an_engine_of_its_own(container: Container, s3: S3Server) -> None:
    (container.data / os.fsdecode(b"no text: \xff")).write_bytes(b"content")
    first, again = run(container, 1), run(container, 2)
    assert first["lsf"] >= 1, "what has arrived is compared with the source"
    assert again["lsf"] >= 1, "what is there before anything moves"
    assert list(s3.objects().values()) == [b"content"]
