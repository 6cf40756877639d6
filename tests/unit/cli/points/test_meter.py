"""What is shown of a restore while it lasts."""

import io

from rich.console import Console

from datamover.api import transfer
from datamover.cli.points.meter import Meter


def shown(*, quiet: bool, line: str) -> list[str]:
    out = io.StringIO()
    with Meter(Console(file=out, width=100), quiet=quiet, monotonic=lambda: 0.0) as meter:
        meter.begin()
        meter.tell(line)
    return out.getvalue().splitlines()


def test_asking_the_store_comes_first() -> None:
    line = f'{{"datamover":"progress","runId":"r","phase":"{transfer.WALKING}"}}'
    assert shown(quiet=False, line=line) == ["asking the store", "reading the manifest"]
    assert shown(quiet=True, line=line) == []
    assert shown(quiet=False, line="a line of the engine") == ["asking the store"]
