"""A client for the API server that this process belongs to, in one call."""

from pathlib import Path

from kubekit.client.client import Client
from kubekit.client.config import load_config
from kubekit.client.http import HttpTransport


def connect(kubeconfig: Path | None = None, context: str | None = None, *, user_agent: str = "kubekit") -> Client:
    """Return a client; close it, or use it in `async with`. Raises ConfigError. Nothing is opened before the first request.

    Credentials are found as in `load_config`: in a Pod its service account, else a kubeconfig.
    """
    return Client(HttpTransport(load_config(kubeconfig, context)), user_agent=user_agent)
