"""The proxy that a request goes through, as the operator's environment says. Pure."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import msgspec

from datamover.agent.importer.addresses import Address


class ProxyError(ValueError):
    """The environment names no proxy that can be used. The message goes on a sentence, and quotes nothing: there may be a password in it."""


class Proxy(msgspec.Struct, frozen=True):
    """Where it listens, and what it wants to hear of us."""

    host: str
    port: int
    authorization: str = ""


def find_proxy(environ: Mapping[str, str], address: Address) -> Proxy | None:
    """Return the proxy for an address, None where it is asked directly. Raises ProxyError: nobody who names a proxy
    wants to be taken around it.
    """
    name = f"{address.scheme}_proxy"
    text = _variable(environ, name)
    if not text or _is_direct(address, _variable(environ, "no_proxy")):
        return None
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ProxyError(f"{name.upper()} names a proxy whose host or port is none") from None
    if parts.scheme != "http":
        raise ProxyError(
            f"{name.upper()} names a proxy that is not spoken to by http://, which is what the importer can do"
        )
    if not host:
        raise ProxyError(f"{name.upper()} names a proxy without a host")
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(host, port or 80, authorization)


def _is_direct(address: Address, names: str) -> bool:
    """Tell whether `no_proxy` names a host: by its name, a domain above it, its address, or a range of addresses."""
    for word in names.split(","):
        name, colon, port = word.strip().lower().rpartition(":")
        name = (
            name
            if colon and port.isascii() and port.isdigit() and (":" not in name or name.endswith("]"))
            else word.strip().lower()
        )
        if name != word.strip().lower() and int(port) != address.port:
            continue
        name = name.strip("[]").removeprefix("*").removeprefix(".")
        if word.strip() == "*" or (name and (address.host == name or address.host.endswith(f".{name}"))):
            return True
        if "/" in name and _is_within(address.host, name):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()
