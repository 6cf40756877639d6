"""The certificate of our own server, from files that somebody else renews (cert-manager, a mounted Secret).

Guarantees: connections that are made after a renewal get the new certificate, within `INTERVAL`; a pair of files that cannot be used
(half written, of two different certificates) is logged and the former one stays.
Assumptions: `run` is running. Key material is read by the TLS library itself, from the files, and never held here.
"""

import logging
import ssl
from pathlib import Path

from kubekit.runtime.clock import Clock, SystemClock

_log = logging.getLogger(__name__)

INTERVAL = 30.0
"""Seconds between two looks at the files."""

_Stamp = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """The files cannot be used. The message names them and says what is wrong, and quotes nothing of what is in them."""


class ServingCertificate:
    """A TLS context for a server that follows its files. TLS 1.2 or newer."""

    def __init__(self, certificate: Path, key: Path, *, clock: Clock | None = None) -> None:
        """`certificate` is a chain in PEM, the server's own first. Raises CertificateError."""
        self._files = (certificate, key)
        self._clock = clock or SystemClock()
        self.context = _new_context()
        self._stamp = self._look()
        self._load(self.context)

    async def run(self) -> None:
        """Look for renewed files until cancelled."""
        while True:
            await self._clock.sleep(INTERVAL)
            self.refresh()

    def refresh(self) -> bool:
        """Load the files when they have changed; tell whether new ones are in use."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            self._load(_new_context())  # a context that failed half-way would have a certificate without its key
            self._load(self.context)
        except CertificateError as error:
            _log.error("the metrics' certificate is not renewed: %s", error)
            return False
        self._stamp = stamp
        _log.info("the metrics' certificate was renewed from %s", self._files[0])
        return True

    def _look(self) -> _Stamp:
        try:
            stats = [path.stat() for path in self._files]
        except OSError as error:
            raise CertificateError(f"cannot read {error.filename}: {error.strerror}") from error
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats)

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, key = self._files
        try:
            # An empty passphrase: a key that is encrypted is refused, where the library would ask at a terminal.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
            words = (reason or type(error).__name__).replace("_", " ").lower()
            raise CertificateError(f"{certificate} and {key} are no certificate with its key ({words})") from error


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
