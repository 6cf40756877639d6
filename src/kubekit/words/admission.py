"""Narrow view of admissionregistration.k8s.io/v1: whom the API server asks about an object, and what it trusts there."""

from kubekit.words.meta import Model, ObjectMeta, Resource


class ServiceReference(Model, frozen=True):
    """A Service, and the path that is asked for there."""

    namespace: str = ""
    name: str = ""
    path: str | None = None


class ClientConfig(Model, frozen=True):
    """Where a webhook is. `ca_bundle` is base64 of PEM."""

    service: ServiceReference | None = None
    ca_bundle: str | None = None


class Webhook(Model, frozen=True):
    """One webhook of a configuration."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()


class MutatingWebhookConfiguration(Model, frozen=True):
    """Webhooks that may change objects."""

    metadata: ObjectMeta = ObjectMeta()
    webhooks: tuple[Webhook, ...] | None = None


MUTATING_WEBHOOK_CONFIGURATIONS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    MutatingWebhookConfiguration,
    namespaced=False,
)
