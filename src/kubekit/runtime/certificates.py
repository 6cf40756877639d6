"""Certificates of our own making: a server's, with an authority for it alone, whose key is thrown away at once.

So each renewal brings a new authority, and there is no key with which anybody could make a second certificate that our clients trust.

Guarantees: what is read was found to belong together: the key to the certificate, the certificate to its authority and to the names. Sizes are
limited, nothing is quoted (law L8). Keys reach the TLS library through memory that has no name, where the system has such.
"""

import os
import ssl
import tempfile
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubekit.runtime.serving_certificate import CertificateError

LIFETIME: Final = timedelta(days=90)
BACKDATED: Final = timedelta(hours=1)
"""A certificate begins so long before it is made: clocks differ."""
_LONGEST: Final = 16 * 1024
"""Bytes of a PEM that is read. Ours have less than one thousand."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A server's certificate with its key, and the authority that signed it. All PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes
    begins: datetime
    ends: datetime

    @property
    def made(self) -> datetime:
        """When it was made."""
        return self.begins + BACKDATED

    def serves(self, now: datetime) -> bool:
        """Tell whether a client believes it now."""
        return self.begins <= now < self.ends


def make_pair(hosts: Collection[str], *, now: datetime, lifetime: timedelta = LIFETIME) -> Pair:
    """Return a new certificate for these names and addresses, with an authority of its own."""
    begins, ends = (now - BACKDATED).replace(microsecond=0), (now + lifetime).replace(microsecond=0)
    root, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The number is in the name: authorities that follow each other must not have one name, for clients find them by it.
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority-{serial:x}"[:64])])
    authority = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(root.public_key())
        .serial_number(serial)
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, next(iter(hosts))[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(pem), private, authority.public_bytes(pem), begins, ends)


def read_pair(certificate: bytes, key: bytes, authority: bytes, *, hosts: Collection[str]) -> Pair:
    """Return what was kept somewhere. Raises CertificateError when the parts do not belong together, or are not for these names."""
    if max(map(len, (certificate, key, authority))) > _LONGEST:
        raise CertificateError(f"a certificate or key is longer than {_LONGEST} bytes")
    try:
        shown, signer = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(authority)
        private = serialization.load_pem_private_key(key, password=None)
        shown.verify_directly_issued_by(signer)
        said = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        begins, ends = shown.not_valid_before_utc, min(shown.not_valid_after_utc, signer.not_valid_after_utc)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise CertificateError(f"the certificate, its key and its authority cannot be used ({type(error).__name__})") from None  # fmt: skip
    if private.public_key() != shown.public_key():
        raise CertificateError("the key is not that of the certificate")
    if not {_name(host) for host in hosts} <= set(said):
        raise CertificateError("the certificate is for other names")
    return Pair(certificate, key, authority, begins, ends)


def ends_of(authority: bytes) -> datetime | None:
    """Return when an authority ends, None when it is none."""
    try:
        return x509.load_pem_x509_certificate(authority[:_LONGEST]).not_valid_after_utc
    except ValueError:
        return None


def new_context() -> ssl.SSLContext:
    """Return what a server speaks TLS with, 1.2 or newer, still without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load_pair(context: ssl.SSLContext, *, certificate: bytes, key: bytes) -> None:
    """Let a server show this certificate from the next connection on. Raises CertificateError."""
    try:
        with _readable(certificate + key) as path:
            context.load_cert_chain(path, password="")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CertificateError(f"the certificate cannot be loaded ({type(error).__name__})") from None


@contextmanager
def _readable(content: bytes) -> Generator[str]:
    """Give content a path: the ssl module reads files only. In memory where that can be had, for a container's disk may be read-only."""
    memory = getattr(os, "memfd_create", None)
    if memory is not None and Path("/proc/self/fd").is_dir():
        with os.fdopen(memory("certificate"), "w+b") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    descriptor, path = tempfile.mkstemp(suffix=".pem")  # readable by nobody else, and gone at once
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield path
    finally:
        Path(path).unlink()


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
