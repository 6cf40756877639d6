"""What findings mean: damage, a mirror that has gone on, or a store that did not show everything. None is taken for another (law L11)."""

import pytest

from datamover.agent.verification.attempt import Facts
from datamover.agent.verification.entry import judge
from datamover.agent.verification.objects import Flaw
from datamover.api import transfer


def facts(*flaws: Flaw, **changes: object) -> Facts:
    return Facts(**{"method": "download", "files": 9, "read": 9, "flaws": dict.fromkeys(flaws, 1), **changes})


DAMAGED, DISTURBED = transfer.REASON_BACKUP_DAMAGED, transfer.REASON_COMPARISON_DISTURBED
UNFINISHED = transfer.REASON_COMPARISON_UNFINISHED


@pytest.mark.parametrize(
    ("found", "reason", "retryable"),
    [
        (facts(), None, False),
        (facts(read=0, unread=9, method="size"), None, False),
        (facts(Flaw.MISSING), DAMAGED, False),
        (facts(Flaw.EXTRA), DAMAGED, False),
        (facts(Flaw.SIZE), DAMAGED, False),
        (facts(Flaw.CHECKSUM), DAMAGED, False),
        (facts(Flaw.CONTENTS, Flaw.UNREADABLE), DAMAGED, False),
        (facts(Flaw.UNREADABLE), UNFINISHED, True),
        (facts(Flaw.UNLISTED, Flaw.UNREADABLE), UNFINISHED, True),
        (facts(read=8, unread=1), UNFINISHED, False),
        (facts(Flaw.MISSING, read=7, unread=1), DAMAGED, False),
        (facts(Flaw.MISSING, rival="later"), DISTURBED, True),
        (facts(rival="later"), None, False),
    ],
)
def test_findings(found: Facts, reason: str | None, retryable: bool) -> None:
    failure = judge(found, "What was compared.", ("- a  (missing)",))
    if reason is None:
        assert failure is None
        return
    assert failure is not None
    assert (failure.reason, failure.retryable) == (reason, retryable)
    assert failure.message.endswith("What was compared.")
