"""A half restored volume is told from any other by one look."""

from pathlib import Path

import pytest

from datamover.agent.errors import Failure
from datamover.agent.files.unfinished import refuse_unfinished
from datamover.api import transfer


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_the_mark_of_a_restore_is_refused_whatever_it_is(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / transfer.RESTORE_MARK
    {"folder": mark.mkdir, "file": mark.touch, "link": lambda: mark.symlink_to("/nowhere")}[kind]()
    with pytest.raises(Failure) as caught:
        refuse_unfinished(str(tmp_path), volume="data")
    failure = caught.value
    assert (failure.failure_class, failure.reason, failure.retryable) == (
        transfer.GUARD,
        transfer.REASON_SOURCE_UNFINISHED,
        False,
    )
    assert failure.message.startswith("data has '.datamover-restore' at its top")


def test_further_down_or_of_another_name_it_is_the_user_s(tmp_path: Path) -> None:
    (tmp_path / "folder" / transfer.RESTORE_MARK).mkdir(parents=True)
    (tmp_path / ".datamover-restore-old").mkdir()
    refuse_unfinished(str(tmp_path))
