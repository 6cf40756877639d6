"""The page on claims that are filled from a ReplicationDestination says every event."""

import re
from pathlib import Path

from datamover.api.volsync.names import POPULATING_LABEL_PREFIX, POPULATOR_NAME, PRIME_PREFIX, PopulatorReason

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "populator.md").read_text(encoding="utf-8")


def test_every_reason_has_a_row_and_no_row_is_made_up() -> None:
    rows = re.findall(r"^\| `(VolSyncPopulator\w+)` \|", PAGE, re.MULTILINE)
    reasons = [value for name, value in vars(PopulatorReason).items() if name.isupper()]
    assert sorted(rows) == sorted(reasons)


def test_the_names_that_are_seen_in_a_cluster_are_on_the_page() -> None:
    for name in (POPULATING_LABEL_PREFIX, POPULATOR_NAME, PRIME_PREFIX):
        assert f"`{name}" in PAGE, name
