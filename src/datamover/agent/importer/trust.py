"""Which certificates a server may have: those of the image's authorities, and of the object's own."""

import os
import ssl

from datamover.agent.errors import Misconfigured

_LARGEST = 1 << 20
"""Bytes: what a ConfigMap can hold."""


def build_context(folder: str, *, any_certificate: bool) -> ssl.SSLContext:
    """Return the context for connections to servers. `folder` has further authorities' certificates, or is not there. Raises Misconfigured."""
    context = ssl.create_default_context()
    if any_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        # a kubelet's own links begin with two dots
        names = sorted(name for name in os.listdir(folder) if not name.startswith(".."))  # noqa: PTH208 - start-up budget
    except FileNotFoundError:
        return context
    except OSError as error:
        raise Misconfigured(f"The certificates of certConfigMap cannot be read: {error.strerror}.") from None
    if not names:
        raise Misconfigured("The ConfigMap of certConfigMap has no key: put the authority's certificate (PEM) into it.")
    for name in names:
        _load(context, folder, name)
    return context


def _load(context: ssl.SSLContext, folder: str, name: str) -> None:
    try:
        with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123 - start-up budget
            text = file.read(_LARGEST + 1).decode("ascii", "replace")
        if len(text) > _LARGEST:
            raise Misconfigured(f"The key {name!a} of certConfigMap is larger than any ConfigMap.")
        context.load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:  # ssl's own errors are OSError
        why = getattr(error, "strerror", None) or error
        raise Misconfigured(f"The key {name!a} of certConfigMap holds no certificates (PEM): {why}.") from None
