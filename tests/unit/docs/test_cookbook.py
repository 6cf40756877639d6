"""The failures page shows messages; each of them is met by a scenario in a cluster, which holds it against the page."""

import pytest

from datamover.agent.rclone.classify import Errors
from datamover.agent.rclone.logs import Line
from datamover.api import reasons, transfer
from support.cookbook import documented, pattern_of
from support.kubernetes import REPOSITORY

SCENARIOS = "\n".join(path.read_text() for path in (REPOSITORY / "tests" / "cluster").glob("test_*.py"))
MODULES = {"reasons": reasons, "transfer": transfer}


def forms(reason: str) -> list[str]:
    """Return how scenarios may write a reason."""
    found = [
        f"{word}.{name}" for word, module in MODULES.items() for name, value in vars(module).items() if value == reason
    ]
    return [*found, f'"{reason}"']


@pytest.mark.parametrize("reason", documented())
def test_a_message_that_the_page_shows_is_met_by_a_scenario(reason: str) -> None:
    assert any(form in SCENARIOS for form in forms(reason))


def test_there_are_such_messages() -> None:
    assert len(documented()) >= 15


@pytest.mark.parametrize(
    ("line", "message", "matches"),
    [
        ("volume <name> is gone", "volume pvc-1 is gone. To try again", True),
        ("volume <name> is gone", "volume is gone", False),
        ("a (b) <c>", "a (b) x", True),
        ("gone", "it is gone", False),
    ],
)
def test_what_a_line_matches(line: str, message: str, matches: bool) -> None:
    assert bool(pattern_of(line).match(message)) == matches


ENGINE_SAYS = [
    "operation error S3: PutObject, https response error StatusCode: 403, RequestID: 1, HostID: , api error SignatureDoesNotMatch: no",
    "operation error S3: PutObject, https response error StatusCode: 404, RequestID: 1, HostID: , api error NoSuchBucket: no",
    "operation error S3: PutObject, https response error StatusCode: 507, RequestID: 1, HostID: , api error QuotaExceeded: no",
    'Get "https://s3.test:443/b": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    'Get "https://s3.test:443/b": tls: failed to verify certificate: x509: certificate is valid for s3.test, not s3.example',
]
"""What the engine says in the scenarios, where the server or the way to it refuses."""


@pytest.mark.parametrize("text", ENGINE_SAYS)
def test_what_the_agent_makes_of_the_engines_words_is_what_the_page_shows(text: str) -> None:
    errors = Errors()
    errors.add(Line(level="error", msg=f"Failed to copy: {text}"))
    failure = errors.failure(code=1, place="s3generic:b/", bucket="b", endpoint="https://s3.test:443")
    assert any(pattern_of(line).match(failure.message) for line in documented()[failure.reason]), failure.message
