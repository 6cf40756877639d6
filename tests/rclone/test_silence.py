"""An engine that hangs: nothing is heard of it, not even its statistics. Real server, and an engine that hangs where it is to move files."""

import os
from pathlib import Path

import pytest

from datamover.api import transfer
from support.agent import Container, Ended
from support.s3 import S3Server, find_rclone

SOURCE = str(Path(transfer.__file__).parents[2])


def hanging(container: Container) -> dict[str, str]:
    """Return variables with which the engine hangs over the files, and counts as silent after two seconds."""
    program = find_rclone()
    assert program
    place = container.root / "hanging"
    place.mkdir()
    wrapper = place / "engine"
    # records are brought with a limit, and put without a look at what is there
    wrapper.write_text(
        '#!/bin/sh\ncase "$*" in "copy "*--cutoff-mode* | "copy "*--no-check-dest*) ;; "copy "*) exec sleep 600 ;; esac\n'
        f'exec "{program}" "$@"\n'
    )
    wrapper.chmod(0o755)
    (place / "sitecustomize.py").write_text("from datamover.agent.rclone import options\noptions.SILENCE = 2.0\n")
    return {"DATAMOVER_RCLONE": str(wrapper), "PYTHONPATH": f"{place}{os.pathsep}{SOURCE}"}


def told(ended: Ended) -> None:
    outcome = ended.outcome
    assert (outcome.reason, outcome.failure_class) == (transfer.REASON_ENGINE_SILENT, transfer.INTERNAL), ended.output
    assert outcome.retryable
    assert "rclone hung: it said nothing for 2 s" in outcome.message
    assert "RCLONE_MAX_TRANSFER" in outcome.message


@pytest.mark.parametrize("stamped", ["true", "false"])
def test_a_backup_whose_engine_hangs_ends_and_says_so_and_the_next_attempt_goes_on(
    container: Container, s3: S3Server, stamped: str
) -> None:
    (container.data / "file").write_bytes(b"content")
    given = {"DATAMOVER_RUN_ID": "run-1", "ADD_TIMESTAMP_PREFIX": stamped}
    told(container.run(**given, **hanging(container)))
    again = container.run(**given)
    assert again.code == 0, again.output
    assert list(s3.objects().values()) == [b"content"]


def test_a_restore_whose_engine_hangs_ends_and_says_so_and_the_next_attempt_goes_on(
    container: Container, s3: S3Server, tmp_path: Path
) -> None:
    (container.data / "file").write_bytes(b"content")
    ended = container.run()
    assert ended.code == 0, ended.output
    job = Container(tmp_path / "job", s3.secret() | {transfer.RUN_ID: "restore-1"}, arguments=["restore"])
    told(job.run(**hanging(job)))
    again = job.run()
    assert again.code == 0, again.output
    assert (job.data / "file").read_bytes() == b"content"
