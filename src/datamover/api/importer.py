"""The words between the operator and the importer, the mover that fills the disk of a DataVolume: environment, places, what its outcome means. Pure.

Only the standard library is imported, and nothing slow: the agent reads this at every start.

Outcome and progress are those of `transfer`, as for all engines. In the outcome of an importer `bytes` is the size of the disk as a virtual machine
sees it (of an archive: of the files in it), `transferred_bytes` what came over the network, `verification` the checksum that the object had asked
for, such as `sha256`, and `verified` whether it was compared; what was read back after it was written is in the message. In its progress `bytes` and
`total_bytes` are what has come and what will; a total of 0 means that the server does not say.

Whoever sets the environment sets every variable below, an empty one where there is nothing to say, so that no other source of variables is heard.
"""

from typing import Final

CONTAINER: Final = "importer"
"""Name of the container, and the agent's first argument."""

# --- where the bytes come from --------------------------------------------------------------------------------------

SOURCE: Final = "SOURCE"
BLANK: Final = "blank"
HTTP: Final = "http"
S3: Final = "s3"
COPY: Final = "copy"
"""From another claim, in the same Pod: `/source` or `/dev/source`."""
UPLOAD: Final = "upload"
"""From whoever has the token: the importer is the server then."""
SOURCES: Final = (BLANK, HTTP, S3, COPY, UPLOAD)

POLL: Final = "POLL"
"""`true`: nothing is filled. The server is asked which version of the object there is, and the outcome has its digest. Of `http` and `s3`."""

URL: Final = "URL"
"""`http://…`, `https://…`; of `s3` also `s3://bucket/key` (of AWS)."""
ACCESS_KEY_ID: Final = "ACCESS_KEY_ID"
"""The user of basic authentication, or the key's id at an S3 server. Empty: nobody in particular."""
SECRET_KEY: Final = "SECRET_KEY"  # noqa: S105 - the name of a variable
SECRET_KEY_ID: Final = "accessKeyId"  # noqa: S105 - the name of a key
"""Keys of the Secret of a DataVolume's source, for the two variables (documents)."""
SECRET_KEY_SECRET: Final = "secretKey"  # noqa: S105 - the name of a key
REGION: Final = "REGION"
"""Region of an S3 server that is not AWS's. Empty: the host's name says it, else `us-east-1`."""
EXTRA_HEADERS: Final = "EXTRA_HEADERS"
"""A JSON list of `Name: value`."""
INSECURE_SKIP_VERIFY: Final = "INSECURE_SKIP_VERIFY"
"""`true`: any certificate will do."""
CHECKSUM: Final = "CHECKSUM"
"""`md5:…`, `sha1:…`, `sha256:…` or `sha512:…` in hexadecimal digits, of the bytes as they are on the server."""
ALGORITHMS: Final = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
"""With the number of digits of each."""


def split_checksum(text: str) -> tuple[str, str]:
    """Return algorithm and lower-case digits of a text such as `sha256:…`. Raises ValueError with what is wrong, which goes on a sentence."""
    algorithm, _, digits = text.partition(":")
    if algorithm not in ALGORITHMS or not digits or not set(digits) <= _DIGITS:
        raise ValueError(
            f"it does not begin with one of {', '.join(ALGORITHMS)} and a colon, followed by hexadecimal digits"
        )
    if len(digits) != ALGORITHMS[algorithm]:
        raise ValueError(f"it has {len(digits)} digits; {algorithm} has {ALGORITHMS[algorithm]}")
    return algorithm, digits.lower()


_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
SOURCE_VOLUME_MODE: Final = "SOURCE_VOLUME_MODE"
"""Of `copy`: the mode of the claim that is read."""

# --- where they go --------------------------------------------------------------------------------------------------

CONTENT_TYPE: Final = "CONTENT_TYPE"
KUBEVIRT: Final = "kubevirt"
"""One disk."""
ARCHIVE: Final = "archive"
"""Files: a tar, extracted into the volume. Of `copy`: every file of the other volume."""
CONTENT_TYPES: Final = (KUBEVIRT, ARCHIVE)

VOLUME_MODE: Final = "VOLUME_MODE"
FILESYSTEM: Final = "Filesystem"
BLOCK: Final = "Block"
VOLUME_MODES: Final = (FILESYSTEM, BLOCK)

TARGET_SIZE: Final = "TARGET_SIZE"
"""Bytes: what a blank disk gets, what an image must fit into, and what the disk of a Filesystem volume is grown to. 0: what the volume holds."""
PREALLOCATION: Final = "PREALLOCATION"
"""`true`: the whole disk gets its room at once."""

# --- places, below `DATAMOVER_ROOT` ---------------------------------------------------------------------------------

TARGET_PATH: Final = "/data"
"""A Filesystem volume."""
DISK: Final = "disk.img"
"""The disk in it."""
TARGET_DEVICE: Final = "/dev/target"
SOURCE_PATH: Final = "/source"
SOURCE_DEVICE: Final = "/dev/source"
CERTIFICATES_PATH: Final = "/certificates"
"""The ConfigMap of `certConfigMap`: every file is of certificates (PEM) that are trusted besides those of the image."""
SECRET_HEADERS_PATH: Final = "/secret-headers"  # noqa: S105 - a place
"""A folder for each Secret of `secretExtraHeaders`, called by its number from 0; every file in it is one `Name: value`."""
SCRATCH_PATH: Final = "/scratch"
"""Room for what has to lie on a disk before it can be converted (qcow2). It is bounded, and goes with the Pod."""
_SLACK: Final = 64 << 20


def largest_image(size: int) -> int:
    """Return the bytes that an image of a disk of this size has at most, however it is written: its tables, a packer's headers."""
    return size + size // 16 + _SLACK


TLS_PATH: Final = "/tls"
"""Of `upload`: `tls.crt` and `tls.key` of the receiver."""
TOKEN_PATH: Final = "/token"  # noqa: S105 - a place
"""Of `upload`: the key by which tokens are proved."""
TOKEN_FILE: Final = "key"  # noqa: S105 - the name of a file
UPLOAD_PORT: Final = 8443

# --- who it is ------------------------------------------------------------------------------------------------------

USER: Final = 107
"""User and group that a virtual machine's disks belong to (documents): whoever runs the machine has them."""
QEMU_IMG: Final = "DATAMOVER_QEMU_IMG"
"""Path of the program that converts images; default: found on PATH. Not there: qcow2 is refused."""
