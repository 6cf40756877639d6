# ruff: noqa: PTH123  # a start-up budget that pathlib would take a tenth of
"""Checksums in the manifest: which objects have one that is proved, and whence it is known without asking for it twice.

The engine compares the MD5 that the store gives of an object with the one of the bytes that it read from the source: when it has sent them, and when it
finds them unchanged. The listing after a run gives the same MD5 once more. A run that has moved nothing lists nothing; then the manifest of the run
before has them.

Assumptions: a listing shows every write that ended before it began, and nobody else writes to the destination meanwhile.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from datamover.agent.files import manifest
from datamover.agent.rclone.changes import has_changed
from datamover.agent.rclone.ledger import Ledger
from datamover.agent.rclone.options import compares_contents
from datamover.agent.rclone.records import Seal


def are_proved(environment: Mapping[str, str], *, plain: bool) -> bool:
    """Tell whether the engine, run with this environment, compares every checksum; `plain`: an ETag of 32 hex digits is an MD5."""
    return plain and compares_contents(environment)


def lines(ledger: Ledger, *, source: bytes, frozen: bool) -> Iterator[manifest.Entry]:
    """Yield the manifest's lines about the checksums that the ledger has, and the one that ends them.

    Of a live source (not `frozen`) those of files that have changed since the walk are left out: what the manifest says of them is older.
    """
    count = 0
    for key, md5 in ledger.digests():
        if frozen or not has_changed(source, key, ledger):
            count += 1
            yield msgspec.structs.replace(manifest.about(manifest.DIGEST, key), md5=md5.hex())
    if ledger.sources()[0]:
        yield manifest.Entry(type=manifest.DIGESTS, entries=count)


def carry(ledger: Ledger, *, manifest_path: str) -> bool:
    """Give the ledger the checksums of the run before, which came to its end and was just proved to have left all as it is; tell whether they are
    all there is.

    They are not where a file has another time of change now: then it may be another file, whose object somebody else has put there.
    """
    if not manifest_path or ledger.retimed_count():
        return False
    with suppress(ValueError):  # of an earlier version, or damaged: the next listing has them
        ledger.add_digests(manifest.digests(manifest_path))
        return True
    return False


def seal(path: str) -> Seal:
    """Return what a manifest is told by."""
    from hashlib import file_digest  # what is only needed at the end is not paid for at the start

    with open(path, "rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        return Seal(bytes=file.tell(), sha256=digest)
