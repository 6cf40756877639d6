"""Where a URL leads: its parts, and what becomes of it when a server sends us elsewhere. Pure."""

import re
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

HTTP: Final = "http"
HTTPS: Final = "https"
_PORTS: Final = {HTTP: 80, HTTPS: 443}
_LONGEST: Final = 8192
_SAFE: Final = "!#$%&'()*+,/:;=?@[]~"
"""Letters that stay as they are: what is percent-encoded already is not encoded again."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%25[A-Za-z0-9._~-]+)?")


class AddressError(ValueError):
    """The address cannot be used. The message goes on a sentence: `it has no host`."""


class Address(msgspec.Struct, frozen=True):
    """One place at one server. `target` is path and query as the request line has them, `user` what stood before an @ in it."""

    scheme: str
    host: str
    port: int
    target: str
    user: str = ""
    password: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials are bound to."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port as the header `Host` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return the address for people: without user and query, where secrets are."""
        path, mark, _ = self.target.partition("?")
        return f"{self.scheme}://{self.authority}{path}{'?…' if mark else ''}"


def parse(text: str) -> Address:
    """Return the address of an `http` or `https` URL. Raises AddressError."""
    if len(text) > _LONGEST:
        raise AddressError(f"it is longer than {_LONGEST} letters")
    if any(letter.isspace() or not letter.isprintable() for letter in text):
        raise AddressError("it has white space or control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise AddressError("its host or port is none") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "")
    if scheme not in _PORTS:
        raise AddressError(f"it begins with {scheme or 'no scheme'!r}; http and https are what can be read")
    if not _HOST.fullmatch(host):
        raise AddressError("it has no host, or one that is none")
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Address(
        scheme=scheme,
        host=host,
        port=_PORTS[scheme] if port is None else port,
        target=target,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def follow(address: Address, location: str, *, secret: bool, proved: bool) -> Address:
    """Return where a redirection leads. Raises AddressError.

    `secret`: the request has credentials. `proved`: a checksum will prove the bytes, whoever sends them. From https nothing leads to http, where
    anybody on the way could put other bytes in, unless the bytes are proved and nothing secret was sent.
    """
    base = f"{address.scheme}://{address.authority}{address.target}"
    try:
        there = parse(urljoin(base, location))
    except AddressError as error:
        raise AddressError(f"it leads to an address that cannot be used: {error}") from None
    except ValueError:
        raise AddressError("it leads to an address that is none") from None
    if address.scheme == HTTPS and there.scheme == HTTP:
        if secret:
            raise AddressError("it leads from https to http, and the request has credentials")
        if not proved:
            raise AddressError(
                "it leads from https to http, where anybody on the way may change the bytes; a checksum would prove them"
            )
    return there


def is_near(host: str) -> bool:
    """Tell whether an IP address is one of the Pod itself or of its node's link, where clouds hand out credentials: loopback or link-local."""
    import ipaddress

    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return found.is_loopback or found.is_link_local or found.is_unspecified


# --- S3 ------------------------------------------------------------------------------------------------------------

DEFAULT_REGION: Final = "us-east-1"
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_AWS: Final = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3[.-](?:dualstack\.)?(?:(?P<region>[a-z0-9-]+)\.)?amazonaws\.com(?:\.cn)?"
)


def parse_object(text: str, *, region: str) -> tuple[Address, str]:
    """Return the address of an object, and the region in whose name requests are signed. Raises AddressError.

    `s3://bucket/key` is an object at AWS; `https://host/bucket/key`, and a bucket as a part of the host's name, are what they are at any server.
    """
    if region and not _REGION.fullmatch(region):
        raise AddressError(f"the region {region!a} is none")
    if not text.lower().startswith("s3://"):
        address = parse(text)
        found = _AWS.fullmatch(address.host)
        return address, region or (found and found["region"]) or DEFAULT_REGION
    bucket, _, key = text[5:].partition("/")
    if not _BUCKET.fullmatch(bucket) or not key:
        raise AddressError("it is not s3://bucket/key")
    region = region or DEFAULT_REGION
    # a certificate is for one label before the name of the service only
    host, path = (
        (f"s3.{region}.amazonaws.com", f"/{bucket}") if "." in bucket else (f"{bucket}.s3.{region}.amazonaws.com", "")
    )
    return parse(f"https://{host}{path}/{quote(key, safe='/~')}"), region


def in_region(address: Address, region: str) -> Address:
    """Return the same object at the endpoint of another region: AWS has one for each, other servers have one for all."""
    found = _AWS.fullmatch(address.host)
    if found is None or not _REGION.fullmatch(region):
        return address
    before = f"{found['bucket']}." if found["bucket"] else ""
    after = ".cn" if address.host.endswith(".cn") else ""
    return msgspec.structs.replace(address, host=f"{before}s3.{region}.amazonaws.com{after}")


def is_region(text: str) -> bool:
    """Tell whether a word can be a region."""
    return _REGION.fullmatch(text) is not None
