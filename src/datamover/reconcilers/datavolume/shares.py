"""How far a worker is, as a share. Pure."""

from datamover.api.transfer import Progress

_MOST = 99.99
"""All is there only when the worker has said so at its end."""


def share_of(progress: Progress) -> str | None:
    """Return `12.34%`; None where nobody knows how much there is."""
    if progress.total_bytes <= 0:
        return None
    return f"{min(_MOST, progress.bytes * 100 / progress.total_bytes):.2f}%"
