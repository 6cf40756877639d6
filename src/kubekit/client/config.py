"""Where the API server is and who we are there: from the Pod's service account or from a kubeconfig."""

import os
from collections.abc import Mapping
from pathlib import Path

from kubekit.client.auth import TokenFile
from kubekit.client.cluster import ClusterConfig
from kubekit.client.errors import ConfigError

__all__ = ["ClusterConfig", "in_cluster", "load_config", "load_service_account"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def load_config(
    kubeconfig: Path | None = None,
    context: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> ClusterConfig:
    """Return the configuration. Raises ConfigError, which names the file and says what to do.

    In-cluster when `KUBERNETES_SERVICE_HOST` is set, the token file is there, and neither argument is given; otherwise
    `kubeconfig`, or the files of `$KUBECONFIG` merged, or `~/.kube/config`.
    """
    env = os.environ if environ is None else environ
    if kubeconfig is None and context is None and in_cluster(env, service_account):
        return load_service_account(env, service_account)
    # a Pod needs no reader of YAML: a program that is started again and again notices
    from kubekit.client.kubeconfig import load_kubeconfig

    return load_kubeconfig(kubeconfig, context, environ=env)


def in_cluster(environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> bool:
    """Tell whether we run in a Pod that has a service account token."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (service_account / "token").is_file()


def load_service_account(environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT) -> ClusterConfig:
    """Return the configuration of a Pod. Raises ConfigError."""
    host = environ["KUBERNETES_SERVICE_HOST"]
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    authority = service_account / "ca.crt"
    try:
        ca = authority.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{authority} cannot be read ({error.strerror}); let the Pod mount its service account token"
        ) from None
    try:
        namespace = (service_account / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        namespace = ""
    return ClusterConfig(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        auth=TokenFile(service_account / "token"),
        ca=ca,
        namespace=namespace or "default",
        source=f"service account in {service_account}",
    )
