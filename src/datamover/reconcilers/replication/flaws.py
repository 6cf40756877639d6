"""What can be seen of a spec alone to go wrong later: told before a synchronisation begins, or before its mover does. Pure."""

from collections.abc import Iterator
from typing import Final

from datamover.api.names import CopyMethod
from datamover.api.volsync import names
from datamover.api.volsync.names import Method
from datamover.reconcilers.replication.ask import FIELDS, Ask
from datamover.reconcilers.replication.mounts import find_mount_flaws

LONGEST_NAME: Final = 253
"""Characters of an object's name in Kubernetes, but for Services and what becomes a label; those are shortened."""
LONGEST_MANUAL: Final = 256 * 1024
"""Bytes of `spec.trigger.manual`. It is repeated in the status, and an API server does not store an object of more than 1.5 MiB."""
_STAMP: Final = "-" + "0" * 14


def find_flaw(ask: Ask) -> str | None:
    """Return the first thing that is wrong with what is asked for, with the way out; None when nothing is."""
    return next(_flaws(ask), None)


def _flaws(ask: Ask) -> Iterator[str]:
    long = max(_names(ask), key=len)
    if len(long) > LONGEST_NAME:
        most = len(ask.metadata.name) - (len(long) - LONGEST_NAME)
        advice = (
            f"give it a name of {most} characters or less"
            if ask.metadata.name in long
            else "use a claim with a shorter name"
        )
        yield f"an object that is made would be called {long[:40]}…, which has {len(long)} characters, and {LONGEST_NAME} are the most: {advice}"
    manual = len((ask.trigger.manual or "").encode())
    if manual > LONGEST_MANUAL:
        yield (
            f"spec.trigger.manual has {manual:,} bytes, and it could not be repeated in status.lastManualSync: write {LONGEST_MANUAL:,} or "
            "less, such as the date"
        )
    field = f"spec.{FIELDS[ask.method]}"
    if ask.makes_claim and set(ask.options.access_modes or ()) == {"ReadOnlyMany"}:
        yield f"{field}.accessModes allows to read only, and a destination is written: add ReadWriteOnce or ReadWriteMany"
    yield from find_mount_flaws(ask)


def _names(ask: Ask) -> Iterator[str]:
    """The longest names of what is made; what is a label as well is never longer than one."""
    name = ask.metadata.name
    yield names.account_name(ask.role, name)
    if ask.method == Method.RESTIC:
        yield names.cache_claim(ask.role, name)
    if ask.method == Method.RSYNC:
        yield names.ssh_secret(ask.role, "main", name)
    if ask.method == Method.RSYNC_TLS:
        yield names.tls_secret(name)
    if ask.is_source and ask.copy_method != CopyMethod.DIRECT:
        yield names.copy_name(name)
    if not ask.is_source:
        yield ask.destination + (_STAMP if ask.copy_method == CopyMethod.SNAPSHOT else "")
