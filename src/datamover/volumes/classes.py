"""Which StorageClass is the default one. Pure."""

from collections.abc import Iterable

from kubekit.words.storage import StorageClass


def find_default(classes: Iterable[StorageClass], *, mark: str) -> str | None:
    """Return the name of the class whose annotation `mark` is true: the newest of several, as Kubernetes itself takes it; None without any."""
    found = [each for each in classes if each.metadata.annotation(mark) == "true"]
    newest = min(
        found, key=lambda each: (_inverted(each.metadata.creation_timestamp), each.metadata.name), default=None
    )
    return newest.metadata.name if newest is not None else None


def _inverted(stamp: str | None) -> tuple[int, ...]:
    """Let later stamps come first in ascending order."""
    return tuple(-ord(each) for each in stamp or "")
