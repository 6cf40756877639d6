"""Telling the outcome."""

from pathlib import Path

from datamover.agent.outcome import tell
from datamover.api import transfer


def test_it_is_told_in_the_file_and_on_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.write_text("something much longer that was there before" * 100)
    lines: list[str] = []
    tell(transfer.Outcome(run_id="run-1", succeeded=True), path=str(path), write=lines.append)
    assert transfer.decode_outcome(path.read_bytes()) == transfer.Outcome(run_id="run-1", succeeded=True)
    assert [transfer.decode_outcome(line) for line in lines] == [transfer.Outcome(run_id="run-1", succeeded=True)]


def test_without_the_file_standard_output_is_enough(tmp_path: Path) -> None:
    lines: list[str] = []
    tell(transfer.Outcome(), path=str(tmp_path / "missing" / "termination-log"), write=lines.append)
    assert len(lines) == 1
