"""One API server and how to reach it, as data."""

from dataclasses import dataclass, field

from kubekit.client.auth import Authenticator, StaticIdentity


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One API server and how to reach it.

    `server` is an http or https URL without a trailing slash; `ca` holds PEM (None: the system's authorities); `namespace` is
    the default one of the context or Pod; `source` says where this came from, for people.
    """

    server: str
    auth: Authenticator = field(default_factory=StaticIdentity, repr=False)
    ca: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    tls_server_name: str | None = None
    proxy_url: str | None = field(default=None, repr=False)
    namespace: str = "default"
    source: str = ""
