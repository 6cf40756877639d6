"""What of a mover's variables is a secret: whole values, and what is secret in a value (law L8). Pure; operator and agent use the same rules.

Only msgspec, the standard library and `signed` are imported, and nothing slow: the agent reads this at every start.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

import msgspec

from datamover.api.signed import redact_signed

_SECRET_NAME = re.compile(
    r"SECRET|KEY|TOKEN|PASS|CREDENTIAL|AUTH|COOKIE|SIGNATURE|GRANT|MNEMONIC|SESSION_?ID|2FA|CONNECTION_STRING|_SAS(?:_|$)",
    re.IGNORECASE,
)
_HEADERS = re.compile(r"HEADER", re.IGNORECASE)
_PROXY = re.compile(r"PROXY$", re.IGNORECASE)
_PLACES = frozenset(
    {
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_SHARED_CREDENTIALS_FILE",
    }
)
"""Variables whose names look like a secret's, and whose values say where one is."""
SHORTEST: Final = 4
"""Letters of a secret: shorter ones would be found in ordinary words."""
_HARMLESS = frozenset({"true", "false", "none", "null", "auto"})

_PARAMETER = re.compile(
    r"(?i)[?&;](?:x-(?:amz|goog)-(?:signature|credential|security-token)|[\w-]*(?:signature|token|secret|password|passwd|key|credential|sig))=([^&;\s]+)"
)
_REMOTE = re.compile(r"""[,:]\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^,:"']+))""")
_REFERENCE = re.compile(r"\$\$|\$\([A-Za-z_][A-Za-z0-9_.-]*\)")


def find_secrets(environ: Mapping[str, str]) -> set[str]:
    """Return the secrets in an environment: values, or what is secret in a value."""
    found: set[str] = set()
    for name, raw in environ.items():
        value = raw.strip()
        if _HEADERS.search(name):
            found |= set(_in_headers(value))
        elif _SECRET_NAME.search(name) and name not in _PLACES:
            found |= {value, *(line.strip() for line in value.splitlines()), *texts_in(value)}
        found |= set(_in_address(value, whole=bool(_PROXY.search(name))))
        found |= set(_in_remote(value))
        found |= {part for match in _PARAMETER.findall(value) for part in (match, unquote(match))}
    return {secret for secret in found if len(secret) >= SHORTEST and secret.lower() not in _HARMLESS}


def carries_secret(name: str, value: str) -> bool:
    """Tell whether a variable that is written down as it stands gives a secret away. What it takes from others by `$(NAME)` is not written down."""
    own = _REFERENCE.sub(lambda match: match[0] if match[0] == "$$" else "", value).replace("://:@", "://")
    return bool(find_secrets({name: own})) or redact_signed(own) != own


def texts_in(value: str) -> Iterator[str]:
    """Yield the texts of a JSON object, such as a token, of which each is secret by itself."""
    if not value.lstrip().startswith("{"):
        return
    try:
        found = msgspec.json.decode(value, type=dict[str, object])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    yield from (text for text in found.values() if isinstance(text, str))


def _in_remote(value: str) -> Iterator[str]:
    """Yield the secret parameters of a remote of rclone's, such as `:s3,secret_access_key="…":bucket`."""
    for name, *written in _REMOTE.findall(value) if "," in value and "=" in value else ():
        if _SECRET_NAME.search(name):
            double, single, plain = written
            yield from (double.replace('""', '"'), single.replace("''", "'"), plain)


def _in_headers(value: str) -> Iterator[str]:
    """Yield the values of `Name: value` in a list as CSV has it, and what is in them. Whatever cannot be taken apart is secret as a whole."""
    yield value
    for piece in re.split(r'[",\n]', value):
        yield piece.strip()
        _, colon, content = piece.partition(":")
        # rclone's lists have a comma between name and value as well
        content = content.strip() if colon else piece.strip()
        yield content
        if "cookie" in value.lower():
            yield content.partition("=")[2]
        scheme, _, credentials = content.partition(" ")
        if credentials:
            yield credentials.strip()
        if scheme.lower() == "basic":
            yield from _in_basic(credentials.strip())


def _in_basic(text: str) -> Iterator[str]:
    try:
        plain = binascii.a2b_base64(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return
    yield plain
    yield plain.partition(":")[2]


def _in_address(value: str, *, whole: bool) -> Iterator[str]:
    """Yield user and password of an address such as `https://user:password@host`; `whole` where it is one for sure."""
    if "@" not in value:
        return
    # what is before the last @ of the part with the host; a password may hold any letter, also where it should have been encoded
    start = value.find("//") + 2 if "//" in value else 0
    user = value[start : value.rfind("@")]
    if not whole and (":" not in user or "\n" in user):
        return
    name, _, password = user.partition(":")
    for part in (user, password, name if whole and not password else ""):
        yield part
        yield unquote(part)
        # what takes the address apart may stop inside of a password, and quote where
        yield from re.split(r"[/?#@:\s]", part)
