"""docs/failures.md as a promise: what it says that people see is what a cluster shows.

An entry may begin with a block of `text`: the messages, one a line, with `<words>` for what differs from case to case. A line ends
where the message may go on.
"""

import os
import re
from pathlib import Path

from support.kubernetes import REPOSITORY

PAGE = REPOSITORY / "docs" / "failures.md"
_ENTRY = re.compile(r"^### (\w+)\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documented() -> dict[str, list[str]]:
    """Return the messages that the page shows, by reason."""
    return {reason: block.splitlines() for reason, block in _ENTRY.findall(PAGE.read_text())}


def pattern_of(line: str) -> re.Pattern[str]:
    """Return what a documented message matches."""
    parts = re.split(r"<[^<>]+>", line)
    return re.compile(".+?".join(map(re.escape, parts)))


def demand_documented(reason: str, message: str) -> None:
    """Demand that the page shows a message that was seen. `DATAMOVER_TEST_MESSAGES` names a file that collects those that were."""
    if collected := os.environ.get("DATAMOVER_TEST_MESSAGES"):
        with Path(collected).open("a") as file:
            file.write(f"{reason}\t{message}\n")
        return
    lines = documented().get(reason, [])
    assert any(pattern_of(line).match(message) for line in lines), (
        f"docs/failures.md does not show, under {reason}, what was seen: {message}"
    )
