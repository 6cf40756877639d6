"""Generating keys of ssh, for the movers of rsync over ssh.

The operator's image has no ssh-keygen, so the `cryptography` library does it: it writes OpenSSH's own formats, and is imported when the first
key is wanted only.
"""

from typing import Final

from datamover.movers.rsync_ssh import KeyPair

BITS: Final = 4096
_EXPONENT: Final = 65537


def generate_pair(comment: str) -> KeyPair:
    """Return a new pair of RSA keys. It takes a second or more of a core: call it in a thread."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=_EXPONENT, key_size=BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair(private=private, public=public + b" " + comment.encode() + b"\n")
