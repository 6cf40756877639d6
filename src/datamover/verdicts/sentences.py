"""The verdict in words: one sentence, and what is worth a warning. Pure."""

from collections.abc import Collection, Sequence

from datamover.api.amounts import count, size
from datamover.api.outside import clean
from datamover.verdicts.filters import includes
from datamover.verdicts.omissions import Omissions, left_out_warning, named
from datamover.verdicts.platform import PLATFORMS
from datamover.verdicts.readings import name, said
from datamover.verdicts.stages import Look
from datamover.verdicts.verdict import Kind, Wait


def waiting(*, completed: int, total: int, waits: Sequence[Wait]) -> str:
    """Return what is waited for, the first of it in full."""
    done = f"{completed} of {count(total, 'volume')} moved"
    if not waits:
        return done
    first = waits[0]
    if first.kind == Kind.BACKUP:
        return f"{done} so far; {first.sentence}"
    claim = f" of claim {first.claim}" if first.claim else ""
    what = f"{first.kind} {first.name}".strip()
    others = len({(wait.claim, wait.kind) for wait in waits[1:] if wait.claim not in (first.claim, "")})
    more = f"; and {others} more" if others else ""
    return _sentence(f"{done}; waiting for {what}{claim} ({first.phase}): {first.sentence}", more)


def moved(look: Look, *, omissions: Omissions, total: int, size_of_all: int) -> str:
    """Return that all is moved, how, and that there are claims of which nothing was: it would be a half-truth without them."""
    left_out = omissions.left_out
    others = f"; nothing was taken of {count(len(left_out), 'other claim')} ({named(left_out)})" if left_out else ""
    if look.uploads or look.pod_volume_backups:
        amount = f" ({size(size_of_all)})" if size_of_all else ""
        left = len({each.key for each in look.snapshots})
        rest = f"; of {count(left, 'volume')} a snapshot is kept instead" if left else ""
        return _sentence(f"all of {count(total, 'volume')} moved{amount}{rest}", clean(others, limit=900))
    why = (
        "nothing else is required on this platform"
        if look.asked
        else "no upload was asked for: snapshotMoveData is not true"
    )
    return _sentence(f"the snapshots of {count(total, 'volume')} can be used; {why}", clean(others, limit=900))


def nothing(look: Look) -> str:
    """Return why there is nothing to be moved, as far as that can be seen."""
    namespace, spec = look.hcp.metadata.namespace or "", look.backup.spec
    start = f"nothing of namespace {name(namespace)} is to be moved"
    if not includes(look.backup, namespace):
        return f"{start}: the backup does not include it"
    if spec is not None and spec.snapshot_volumes is False:
        return f"{start}: the backup takes no snapshots (snapshotVolumes is false)"
    taken = (look.backup.status.csi_volume_snapshots_attempted if look.backup.status is not None else None) or 0
    if taken > 0 and not look.asked:
        return f"{start} any more: the backup took {count(taken, 'snapshot')} in all its namespaces, and Velero removes them at its end"
    return f"{start}: the backup has left no snapshot, no upload and no pod volume backup of it"


def unknown(look: Look, omissions: Omissions) -> str:
    """Return what cannot be read, or why else it cannot be told."""
    kinds = "; ".join(f"{name(each.kind)}: {said(each.reason)}" for each in look.seen.unread)
    unread = f"this cannot be read: {kinds}" if kinds else ""
    why = "; ".join(filter(None, (omissions.doubt, unread)))
    return f"whether all is moved cannot be told, for {why}"


def unsupported(error: str) -> str:
    """Return what is supported instead."""
    return f"{error}: no rule is known for it; there are rules for {', '.join(PLATFORMS)}"


def failed(error: str, *, waits: Sequence[Wait], completed: int, total: int) -> str:
    """Return what failed, and what the mover said of it."""
    first = waits[0] if waits else None
    why = f" ({first.sentence})" if first is not None and first.sentence else ""
    return _sentence(f"{error}{why}", f"; {completed} of {count(total, 'volume')} moved")


def warnings(look: Look, *, seen: Collection[str], omissions: Omissions) -> tuple[str, ...]:
    """Return what fails nothing, and should be known. `seen` are the claims of which something was snapshotted or moved."""
    found = [f"{name(each.kind)} cannot be read: {said(each.reason)}" for each in look.seen.unread]
    if look.limits.collected and len(seen) < look.minimum:
        found.append(
            f"the control plane has {count(look.minimum, 'member')} of etcd by its availability policy, but the backup has {count(len(seen), 'volume')} of it"
        )
    if seen and (left := left_out_warning(omissions)):
        found.append(left)
    if look.strangers:
        found.append(
            f"{count(len(look.strangers), 'claim')} that the backup does not take in {'has' if len(look.strangers) == 1 else 'have'} a snapshot with its label all the same "
            f"({named(sorted(look.strangers))}): Velero has not made it, and it does not count"
        )
    if look.asked and look.rule is not None and not look.rule.du_required and look.uploads:
        found.append("on this platform no upload is required; Velero makes them all the same, so they are waited for")
    if not look.asked and look.rule is not None and look.rule.du_required and look.snapshots:
        found.append("nothing is uploaded, because snapshotMoveData is not true: the snapshots stay with the storage")
    if look.moved_images:
        images = len(look.moved_images)
        found.append(
            f"{count(images, 'image')} of an operating system {'is' if images == 1 else 'are'} moved as well, which nobody needs: a volume policy of Velero leaves such volumes out"
        )
    return tuple(found)


def _sentence(text: str, end: str) -> str:
    """Return the text and its end; what is too long is cut before the end."""
    return clean(text, limit=1024 - len(end)) + end
