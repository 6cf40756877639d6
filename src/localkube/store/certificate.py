"""A serving certificate for loopback, made anew for each start and trusted by nobody but the kubeconfig that comes with it.

kubectl sends its token over TLS only, so the face needs one.
"""

import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

_LIFETIME: Final = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Tls:
    """Serving credentials: the context, and the PEM of the authority that clients shall trust."""

    context: ssl.SSLContext
    authority: bytes


def self_signed(hosts: tuple[str, ...], *, now: datetime) -> Tls:
    """Return credentials for the given names and addresses, valid from an hour before `now`. The key stays in this process."""
    from kubekit.runtime.certificates import load_pair, make_pair, new_context

    pair = make_pair(hosts, now=now, lifetime=_LIFETIME)
    context = new_context()
    load_pair(context, certificate=pair.certificate, key=pair.key)
    return Tls(context, pair.authority)
