"""Metrics of the admission webhook for DataVolumes."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

PROBLEMS = ("Secret", "Configuration", "Certificate", "Server")
"""What can be wrong with the webhook itself."""


class WebhookMetrics:
    """Counts answers, and says how long the certificate holds and what is wrong."""

    def __init__(self, registry: CollectorRegistry, *, outcomes: Iterable[str]) -> None:
        self._answers = Counter(
            "datamover_webhook_answers",
            "Answers to the API server about DataVolumes that are created, by result.",
            ("result",),
            registry=registry,
        )
        self._expiry = Gauge(
            "datamover_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate ends that the webhook shows.",
            registry=registry,
        )
        self._problem = Gauge(
            "datamover_webhook_problem", "1 while something is wrong with the webhook.", ("reason",), registry=registry
        )
        for outcome in outcomes:  # begins at 0, so that the first one shows as an increase
            self._answers.labels(outcome)
        for reason in PROBLEMS:
            self._problem.labels(reason)

    def answered(self, outcome: str) -> None:
        """Count an answer."""
        self._answers.labels(outcome).inc()

    def serves_until(self, seconds: float) -> None:
        """Say when the certificate ends, in seconds since 1970."""
        self._expiry.set(seconds)

    def note(self, reason: str) -> None:
        """Say what is wrong; an empty reason is nothing."""
        for each in PROBLEMS:
            self._problem.labels(each).set(1 if each == reason else 0)
