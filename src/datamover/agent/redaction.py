"""Keeping secrets out of everything that is said (law L8). Pure; the only place that knows what a secret is and how it may be written.

Text is redacted where it comes in (each line of the engine, each answer to a small request), because later it is cut and quoted, and half of a
secret is one as well; and once more where it goes out.
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

import msgspec

from datamover.api.signed import REDACTED, redact_signed

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
_SHORTEST = 4
_SHORTEST_CODED = 5
"""Letters of base64 that are looked for: fewer would be found in ordinary words."""
_MANY = 300
"""Forms above which a text is walked through once, letter by letter."""
_HARMLESS = frozenset({"true", "false", "none", "null", "auto"})

_PARAMETER = re.compile(
    r"(?i)[?&;](?:x-(?:amz|goog)-(?:signature|credential|security-token)|[\w-]*(?:signature|token|secret|password|passwd|key|credential|sig))=([^&;\s]+)"
)
_REMOTE = re.compile(r"""[,:]\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^,:"']+))""")


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
                self._starts.setdefault(form[:_SHORTEST], []).append(form)

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
        places = ((at, starts.get(text[at : at + _SHORTEST], ())) for at in range(len(text) - _SHORTEST + 1))
        found = {form for at, forms in places for form in forms if text.startswith(form, at)}
        return sorted(found, key=len, reverse=True)


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
    return {secret for secret in found if len(secret) >= _SHORTEST and secret.lower() not in _HARMLESS}


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
    return {form for form in forms if len(form) >= _SHORTEST}


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
    if len(raw) >= _SHORTEST:
        yield binascii.hexlify(raw).decode()
    try:
        plain = binascii.a2b_base64(raw, strict_mode=True)
    except binascii.Error:
        return
    text = plain.decode("utf-8", "replace")
    if len(text) >= _SHORTEST and text.isprintable():
        yield text


_URL_SAFE = {ord("+"): "-", ord("/"): "_"}


def _html_safe(text: str) -> Iterator[str]:
    """Yield what Go's JSON makes of it."""
    yield text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _unicode_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
