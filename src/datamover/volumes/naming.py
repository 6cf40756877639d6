"""Names of what a run creates. Deterministic: a crash, a retry or a second replica comes to the same name (laws L6, L7)."""

import hashlib
from datetime import datetime
from typing import Final

from datamover.api import names
from kubekit.words.timestamps import compact

OBJECT_NAME_LIMIT: Final = 253
JOB_NAME_LIMIT: Final = 63  # a Job's name becomes a label value and a Pod's host name
_HASH_DIGITS: Final = 8


def shorten(name: str, limit: int) -> str:
    """Return `name`, or its beginning with `-` and eight hex digits of its SHA-256 when it is longer than `limit`."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{name[: limit - _HASH_DIGITS - 1].rstrip('-.')}-{digest}"


def clone_name(source: str, *, created: datetime, taken_for: str | None = None) -> str:
    """Return `restored-<source>-<YYYYMMDDHHMMSS>` of the DataMover's creation, in UTC (cleanup document).

    `taken_for` is the DataMover's UID when another one already holds that name: five hex digits of it are added.
    """
    base = f"{names.CLONE_PREFIX}{source}-{compact(created)}"
    if taken_for is None:
        return shorten(base, OBJECT_NAME_LIMIT)
    suffix = "-" + taken_for.replace("-", "")[:5]
    return shorten(base, OBJECT_NAME_LIMIT - len(suffix)) + suffix


def verification_name(name: str, uid: str) -> str:
    """Return `compare-<DataMover>-` and five hex digits of its UID, at most 63 characters: one name, so that no two are ever at work at once."""
    suffix = "-" + uid.replace("-", "")[:5]
    return shorten(f"{names.VERIFICATION_PREFIX}{name}", JOB_NAME_LIMIT - len(suffix)) + suffix


def job_name(copy: str) -> str:
    """Return `verify-<copy>` (synchronization document), at most 63 characters."""
    return shorten(f"{names.JOB_PREFIX}{copy}", JOB_NAME_LIMIT)
