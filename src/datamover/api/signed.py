"""Secrets that tell by their form what they are, whoever wrote them: signatures, headers that let somebody in, tokens (law L8). Pure.

Only the standard library is imported, and nothing slow: the agent reads this at every start.
"""

import re
from typing import Final

REDACTED: Final = "[redacted]"

# Headers and query parameters that carry a signature or a token, as --dump prints them; what credentials are handed out in; and tokens that tell
# by their form what they are.
_SIGNED: Final = re.compile(
    r"(?P<kept>(?i:authorization|cookie|(?:x-[\w-]*|\b)(?:security-token|auth-token|metadata-token|customer-key))[\"']?\s*:\s*)[^\r\n]+"
    r"|(?P<parameter>(?i:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|awsaccesskeyid|webidentitytoken)=)[^\s&,\"'<]+"
    r"|(?P<tag><(?:AccessKeyId|SecretAccessKey|SessionToken)>)[^<]+"
    r"|(?P<field>\\?\"(?:AccessKeyId|SecretAccessKey|SessionToken|Token)\\?\"\s*:\s*\\?\")[^\"\\]+"
    r"|(?P<user>\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/@\"'<>]+(?=@)"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
)

_TELLTALE: Final = (
    "authorization",
    "cookie",
    "token",
    "customer-key",
    "signature",
    "credential",
    "accesskey",
    "@",
    "eyj",
)
"""Words, in small letters, of which each text that `_SIGNED` is for has one: it costs more than a line of the log is worth."""


def redact_signed(text: str) -> str:
    """Return a text without what looks like a signature, an authorization header, a token, or a user with his password in an address."""
    small = text.lower()
    return _SIGNED.sub(_replace, text) if any(word in small for word in _TELLTALE) else text


def _replace(match: re.Match[str]) -> str:
    return f"{next(filter(None, match.groups()), '')}{REDACTED}"
