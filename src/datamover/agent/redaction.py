"""Keeping secrets out of everything that is said (law L8). Pure; the only place that knows how a secret may be written. What is one, `api.variables`
knows.

Text is redacted where it comes in (each line of the engine, each answer to a small request), because later it is cut and quoted, and half of a
secret is one as well; and once more where it goes out.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

import msgspec

from datamover.api.signed import REDACTED, redact_signed
from datamover.api.variables import SHORTEST, find_secrets

_SHORTEST_CODED = 5
"""Letters of base64 that are looked for: fewer would be found in ordinary words."""
_MANY = 300
"""Forms above which a text is walked through once, letter by letter."""


class Redactor:
    """Replaces secret values in text.

    Guarantees: nothing of at least four letters leaves that is the value of a variable whose name looks like a secret's (SECRET, KEY, TOKEN,
    PASS, CREDENTIAL, AUTH, COOKIE, SIGNATURE, GRANT, MNEMONIC, SESSION_ID, 2FA, CONNECTION_STRING, _SAS), a text within such a value that is JSON, a
    parameter of such a name in a remote of rclone's, a header's value in a variable of headers, a user and password in any variable's address, or
    a signature or token in its query; neither as it is, nor percent-encoded, in base64 (alone or as a part, such as `user:password`), nor
    as JSON, XML, CSV, Go or Python write it. Neither does what looks like a signature, an authorization header, or a token.
    Caveats: shorter values are left alone, because they would blank out ordinary words.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        forms = {form for secret in find_secrets(environ) for form in written_forms(secret)}
        # the longest first, so that a secret that contains another one goes as a whole
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        # a key file has many lines, and each of them is written in many ways
        self._starts: dict[str, list[str]] = {}
        if len(forms) > _MANY:
            for form in self._forms:
                self._starts.setdefault(form[:SHORTEST], []).append(form)

    def __call__(self, text: str) -> str:
        """Return the text without secrets."""
        found = self._find(text)
        if found:
            text = re.compile("|".join(map(re.escape, found))).sub(REDACTED, text)
        return redact_signed(text)

    def _find(self, text: str) -> list[str]:
        """Return the forms in a text, the longest first. An expression with hundreds of alternatives would be tried at every letter."""
        if not self._starts:
            return [form for form in self._forms if form in text]
        starts = self._starts
        places = ((at, starts.get(text[at : at + SHORTEST], ())) for at in range(len(text) - SHORTEST + 1))
        found = {form for at, forms in places for form in forms if text.startswith(form, at)}
        return sorted(found, key=len, reverse=True)


def written_forms(secret: str) -> set[str]:
    """Return the ways in which a secret may be written in a log, itself among them."""
    raw = secret.encode("utf-8", "surrogateescape")
    clean = raw.decode("utf-8", "backslashreplace")
    escaped = msgspec.json.encode(clean).decode()[1:-1]
    ascii_only = "".join(letter if letter.isascii() else _unicode_escape(letter) for letter in escaped)
    forms = {
        secret,
        *_percent_forms(secret),
        *_base64_forms(raw),
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        secret.replace("'", "\\'"),
        secret.replace('"', '""'),
    }
    for text in (escaped, ascii_only):
        forms |= {text, *_html_safe(text), text.replace("/", "\\/")}
    for amp, quote_mark, apostrophe in (("&amp;", "&quot;", "&#39;"), ("&amp;", "&#34;", "&#39;"), ("&amp;", '"', "'")):
        text = secret.replace("&", amp).replace("<", "&lt;").replace(">", "&gt;")
        forms.add(text.replace('"', quote_mark).replace("'", apostrophe))
    return {form for form in forms if len(form) >= SHORTEST}


def _percent_forms(secret: str) -> Iterator[str]:
    for form in (
        quote(secret, safe="", errors="replace"),
        quote(secret, errors="replace"),
        quote_plus(secret, errors="replace"),
    ):
        yield form
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form)
    yield quote(secret, safe="!$&'()*+,;=:@/~", errors="replace")
    yield quote(secret, safe="!$&'()*+,;=:@~", errors="replace")


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield what base64 of any text that holds these bytes has in it, wherever in the text they are."""
    for shift in range(3):
        coded = binascii.b2a_base64(bytes(shift) + raw, newline=False).decode()
        part = coded[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]
        if len(part) >= _SHORTEST_CODED:
            yield part
            yield part.translate(_URL_SAFE)
            yield quote(part, safe="")
    if len(raw) >= SHORTEST:
        yield binascii.hexlify(raw).decode()
    try:
        plain = binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error:
        return
    text = plain.decode("utf-8", "replace")
    if len(text) >= SHORTEST and text.isprintable():
        yield text


_URL_SAFE = {ord("+"): "-", ord("/"): "_"}


def _html_safe(text: str) -> Iterator[str]:
    """Yield what Go's JSON makes of it."""
    yield text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _unicode_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
