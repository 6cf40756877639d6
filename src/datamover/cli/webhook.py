"""Putting the admission webhook together. Nothing of the operator waits for it, and what goes wrong in it ends nothing else."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from datamover.api import names
from datamover.cli.options import Options, StartError
from datamover.metrics.webhook import WebhookMetrics
from datamover.volumes.permit import KEY_BYTES
from datamover.webhook.lifetimes import CachedLifetimes
from datamover.webhook.requester import Requesters
from datamover.webhook.server import WebhookServer
from datamover.webhook.stamping import Outcome, Stamper
from kubekit.client.client import Client
from kubekit.runtime.clock import Clock
from kubekit.runtime.events import EventRecorder
from kubekit.runtime.manager import Manager
from kubekit.runtime.shared_certificate import SharedCertificate
from kubekit.words.core import SECRET_METAS

REASON = "WebhookProblem"
"""Of the event about the webhook's Secret."""
_PERMIT_KEY = "permit.key"
_PATH_KEY = "path.key"


@dataclass(slots=True)
class _Notes:
    """What is told of the webhook: by a metric, and by an event of its Secret."""

    metrics: WebhookMetrics
    recorder: EventRecorder
    certificate: SharedCertificate | None = field(default=None, init=False)

    def say(self, reason: str, message: str) -> None:
        """Tell what is wrong; no reason: nothing any more."""
        self.metrics.note(reason)
        certificate = self.certificate
        if reason and certificate is not None:
            self.recorder.record(certificate.regarding, SECRET_METAS, "Warning", REASON, message, "Serve")


@dataclass(frozen=True, slots=True)
class Webhook:
    """What runs for it. See `add`."""

    certificate: SharedCertificate
    server: WebhookServer
    lifetimes: CachedLifetimes | None

    def add(self, manager: Manager) -> None:
        """Let a manager run it."""
        if self.lifetimes is not None:
            manager.add_task("caches of the webhook", self.lifetimes.run)
        manager.add_task("certificate of the webhook", self.certificate.run)
        manager.add_task("webhook", self.server.run)

    def permit_keys(self) -> tuple[bytes, ...]:
        """Return what permits to copy from other namespaces are signed with; none before it is known."""
        key = self.certificate.seed(_PERMIT_KEY)
        return (key,) if key is not None else ()


def make_webhook(
    client: Client, options: Options, *, place: tuple[str, int], registry: CollectorRegistry, recorder: EventRecorder, clock: Clock
) -> Webhook:  # fmt: skip
    """Return the webhook that these options ask for. Raises StartError."""
    wanted, volumes = options.webhook, options.data_volumes
    if not (wanted.service and wanted.configuration):
        raise StartError(
            "--webhook-bind-address needs --webhook-service and --webhook-configuration: how the API server finds it"
        )
    metrics = WebhookMetrics(registry, outcomes=Outcome)
    notes = _Notes(metrics, recorder)
    certificate = SharedCertificate(
        client,
        namespace=volumes.home,
        secret=wanted.service,
        service=wanted.service,
        configuration=wanted.configuration,
        labels={names.PART_OF_LABEL: names.PART_OF_VALUE, names.MANAGED_BY_LABEL: names.COMPONENT},
        seeds={_PERMIT_KEY: KEY_BYTES, _PATH_KEY: KEY_BYTES},
        path_seed=_PATH_KEY,
        notice=notes.say,
        served=lambda ends: metrics.serves_until(ends.timestamp()),
        clock=clock,
        field_manager=names.FIELD_MANAGER,
    )
    notes.certificate = certificate
    stamps = volumes.collection and volumes.stamp and not volumes.dry_run
    # who stamps nothing watches nothing for it, and has no right to
    lifetimes = CachedLifetimes(client, own=volumes.ttl, namespace=options.namespace, clock=clock) if stamps else None
    requesters = (
        Requesters(client, key=lambda: certificate.seed(_PERMIT_KEY), clock=clock) if volumes.population else None
    )
    stamper = Stamper(lifetimes, requesters=requesters, count=metrics.answered)
    host, port = place
    server = WebhookServer(stamper, certificate, host=host, port=port, complain=notes.say, clock=clock)
    return Webhook(certificate, server, lifetimes)
