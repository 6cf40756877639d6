"""What a source says of its end, over whichever connection it has sent files. Pure."""

from datamover.agent.errors import Failure
from datamover.agent.rsync.output import Statistics
from datamover.api import names, transfer


def tell_sent(done: Statistics, *, peer: str, vanished: bool) -> str:
    """Return what was sent. `vanished`: some files were gone before they could be read."""
    left = " Files that vanished while they were read were left out." if vanished else ""
    return (
        f"{done.files} files and {done.links} links ({done.size} bytes) are at {peer}: rsync sent {done.sent} bytes for {done.transferred} of the"
        f" files and removed {done.deleted} that the source does not have.{left}"
    )


def refuse_empty(*, peer: str, holds: bool) -> Failure:
    """Return the failure of an empty source (law L3), whose destination holds something, or does not say whether it does."""
    what = "has some" if holds else "does not say whether it has some"
    return Failure(
        transfer.GUARD,
        transfer.REASON_EMPTY_SOURCE,
        f"The source has no file, and the destination {peer} {what}: nothing was deleted. If the source is meant to be empty, say so"
        f" (annotation {names.ALLOW_EMPTY_ANNOTATION}); else look where its files are.",
    )
