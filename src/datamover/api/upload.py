"""The words of an upload: who may send a disk to a receiver, where, and what it answers. Pure.

A receiver is an importer that waits for its bytes (`api.importer`, source `upload`). It has a key in a Secret that its DataVolume owns. Whoever may
read that Secret may make a token: a JSON Web Token (HS256), as other clients know them, that is good for one DataVolume, which it names by UID,
and for a few minutes. The key itself never travels.

Only the standard library and msgspec are imported, and nothing slow: the agent reads this at every start.
"""

import base64
import hashlib
import hmac
from typing import Final

import msgspec

from datamover.api import importer, outside

# --- places ---------------------------------------------------------------------------------------------------------

PATH: Final = "/v1beta1/upload"
"""Where one disk is sent to, by PUT or POST, as it is or packed."""
ARCHIVE_PATH: Final = "/v1beta1/upload-archive"
"""Where a tar is sent to whose files fill the volume."""
ALIASES: Final = {"/v1alpha1/upload": PATH}
"""Older names of the same (documents)."""

TOKEN_HEADER: Final = "X-Datamover-Upload-Token"  # noqa: S105 - the name of a header
"""The token, where `Authorization` is taken by somebody on the way: an API server that forwards a request keeps that header to itself."""
CHECKSUM_HEADER: Final = "X-Datamover-Checksum"
"""`sha256:…`, of the bytes as they are sent: what arrives is compared with it, and what arrived is told back under the same name."""

UID: Final = "UPLOAD_UID"
"""The variable of the receiver with the UID that tokens must name."""
LIMIT: Final = "UPLOAD_LIMIT"
"""The variable of the receiver with the seconds that one upload may take, from its first byte to its last."""
DEFAULT_LIMIT: Final = 7 * 86400.0
HEALTH_PATH: Final = "/healthz"
"""Answered to anybody as soon as it listens."""

# --- what belongs to one receiver -----------------------------------------------------------------------------------

CERTIFICATE: Final = "tls.crt"
PRIVATE_KEY: Final = "tls.key"
AUTHORITY: Final = "ca.crt"
KEY: Final = importer.TOKEN_FILE
"""Keys of the Secret: the receiver's certificate, its private key, and who vouches for it; and what tokens are signed with."""
KEY_BYTES: Final = 32
"""Random bytes of that key."""


def name_of(uid: str) -> str:
    """Return the name of the Secret and of the Service of an upload: short and a host's name, whatever the DataVolume is called, and never
    another one's.
    """
    return f"upload-{uid}"


SERVICE_PORT: Final = 443


def hosts_of(uid: str, namespace: str) -> tuple[str, ...]:
    """Return the names by which the Service is reached within a cluster, for which the certificate is made."""
    service = f"{name_of(uid)}.{namespace}.svc"
    return service, f"{name_of(uid)}.{namespace}", f"{service}.cluster.local", "localhost", "127.0.0.1"


# --- tokens ---------------------------------------------------------------------------------------------------------

SECONDS: Final = 300
"""How long a token is good for, to begin an upload with. How long one may take that has begun: `LIMIT`."""
MOST_SECONDS: Final = 3600
"""A token that is good for longer is refused: it was not meant to be short-lived."""
SKEW: Final = 60
"""Seconds by which two clocks may differ."""
_LIMIT: Final = 2048
_AUDIENCE: Final = "datamover-upload"
_HEADER: Final = b'{"alg":"HS256","typ":"JWT"}'


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says."""

    aud: str
    sub: str
    iat: outside.Whole
    exp: outside.Whole


_decode: Final = outside.Decoder(_Claims, limit=_LIMIT)


class TokenRefused(ValueError):  # noqa: N818 - it is the word for what happened
    """A token does not open this receiver. The message says why and what to do, and nothing of the token."""


def sign(key: bytes, *, uid: str, now: float, seconds: int = SECONDS) -> str:
    """Return a token for the upload into the DataVolume with this UID. Raises ValueError when the key is too short to be one."""
    if len(key) < KEY_BYTES:
        raise ValueError(f"a key for tokens has at least {KEY_BYTES} bytes")
    claims = _Claims(aud=_AUDIENCE, sub=uid, iat=int(now), exp=int(now) + seconds)
    signed = f"{_encode(_HEADER)}.{_encode(msgspec.json.encode(claims))}"
    return f"{signed}.{_encode(_seal(key, signed))}"


def check(token: str, *, key: bytes, uid: str, now: float) -> None:
    """Return when a token opens the receiver of the DataVolume with this UID. Raises TokenRefused.

    What a token says is looked at only when its signature is right. The header must be the one that `sign` writes: no token chooses how it is
    proved.
    """
    parts = token.split(".") if len(token) <= _LIMIT and token.isascii() else []
    if len(parts) != 3 or len(key) < KEY_BYTES:
        raise TokenRefused(_WRONG)
    signed = f"{parts[0]}.{parts[1]}"
    if not hmac.compare_digest(_encode(_seal(key, signed)), parts[2]) or parts[0] != _encode(_HEADER):
        raise TokenRefused(_WRONG)
    try:
        claims = _decode(_unpad(parts[1]))
    except ValueError:
        raise TokenRefused(_WRONG) from None
    if claims.aud != _AUDIENCE or claims.sub != uid:
        raise TokenRefused("the token is for another DataVolume: ask for one for this one")
    if claims.exp - claims.iat > MOST_SECONDS:
        raise TokenRefused(f"the token is good for longer than {MOST_SECONDS} s: ask for one that is short-lived")
    if claims.iat > now + SKEW:
        raise TokenRefused("the token is of the future: compare the clocks of both sides")
    if claims.exp < now - SKEW:
        raise TokenRefused("the token has expired: ask for another one")


_WRONG: Final = "the token is not one of this receiver: ask for one with `datamover upload`"


def _seal(key: bytes, signed: str) -> bytes:
    return hmac.digest(key, signed.encode(), hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- what a receiver answers ----------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is told to whoever has sent a disk, as JSON: that it lies on the volume, synced and verified, or why not.

    `checksum` is of the bytes as they came, `bytes` their number, `disk` the size of what became of them. `reason` is a constant of `transfer`,
    empty after a success.
    """

    checksum: str = ""
    bytes: outside.Count = 0
    disk: outside.Count = 0
    reason: str = ""
    message: str = ""


_decode_received: Final = outside.Decoder(Received, limit=outside.RECORD_LIMIT)


def read_received(raw: bytes) -> Received | None:
    """Return what a receiver has answered, None where somebody else did. Never raises; its words are clean."""
    try:
        found = _decode_received(raw)
    except outside.Unusable:
        return None
    return msgspec.structs.replace(
        found,
        checksum=outside.clean(found.checksum, limit=outside.NAME_LIMIT),
        reason=outside.clean(found.reason, limit=outside.NAME_LIMIT),
        message=outside.clean(found.message, limit=outside.WORD_LIMIT),
    )


REASON_CUT: Final = "UploadCut"
REASON_CHECKSUM_DIFFERS: Final = "UploadChecksumDiffers"
REASON_TOO_SLOW: Final = "UploadTooSlow"
REASON_TOO_LONG: Final = "UploadTooLong"
REASON_TOKEN_REFUSED: Final = "UploadTokenRefused"  # noqa: S105 - a reason
REASON_BUSY: Final = "UploadBusy"
REASON_BAD_REQUEST: Final = "UploadBadRequest"
"""Why an upload is refused. Others are those of `transfer`: what was sent is no disk, or does not fit."""
