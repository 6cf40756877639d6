"""What conditions say: in a stable order, with the time of the last change, and fit to be read by anybody."""

from datetime import UTC, datetime

from datamover.plans.conditions import merge

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_what_looks_like_a_secret_in_words_of_others_gets_into_no_condition() -> None:
    """A storage driver, a kubelet and a webhook are quoted, and quote what they have sent themselves (law L8)."""
    said = "Waiting: PUT https://key:hunter2@store/b?X-Amz-Signature=0badc0ffee refused"
    (found,) = merge((), {"Ready": ("False", "Waiting", said)}, order=("Ready",), now=NOW, generation=1)
    assert found.message == "Waiting: PUT https://[redacted]@store/b?X-Amz-Signature=[redacted] refused"
