"""Making what the Secret of an upload holds: a certificate for the receiver, and the key with which tokens are signed.

The `cryptography` library is imported when the first is wanted only.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from datamover.api import upload

LIFETIME: Final = timedelta(days=3650)
"""A DataVolume may wait for its upload as long as it likes. Nobody but the clients of this one receiver trusts the certificate."""


def make_keys(hosts: tuple[str, ...]) -> Mapping[str, bytes]:
    """Return the values of the Secret, for a receiver that is called by these names."""
    from kubekit.runtime.certificates import make_pair

    pair = make_pair(hosts, now=datetime.now(UTC), lifetime=LIFETIME)
    return {
        upload.CERTIFICATE: pair.certificate,
        upload.PRIVATE_KEY: pair.key,
        upload.AUTHORITY: pair.authority,
        upload.KEY: os.urandom(upload.KEY_BYTES),
    }
