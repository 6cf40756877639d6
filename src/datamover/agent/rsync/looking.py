"""The look at a source before it is sent: what it has, and whether a mirror of it may be let loose on the destination (law L3). For both engines."""

from collections.abc import Callable, Sequence

from datamover.agent.errors import Failure
from datamover.agent.files.emptiness import has_file
from datamover.agent.files.unfinished import refuse_unfinished
from datamover.agent.rsync import passes
from datamover.agent.rsync.process import Ended, Rsync
from datamover.agent.rsync.sentences import refuse_empty
from datamover.api import transfer


def look(folder: str, *, tick: Callable[[], None]) -> tuple[list[bytes], bool]:
    """Return the names in the volume's top folder that are to be sent, and whether there is any file in the volume. Raises Failure, also for one
    that is half restored.

    `tick` is called every now and then; it may raise.
    """
    refuse_unfinished(folder)
    try:
        return passes.list_root(folder), has_file(folder, tick=tick)
    except OSError as error:
        raise Failure(
            transfer.SOURCE_UNREADABLE,
            transfer.REASON_SOURCE_UNREADABLE,
            f"The volume at {folder} cannot be read: {error.strerror}.",
        ) from None


def check_destination(
    rsync: Rsync, arguments: Sequence[str], *, folders: bool, peer: str, unheard: Callable[[Ended], None]
) -> None:
    """Raise Failure when the destination holds something, or does not say whether it does: the source has nothing.

    `folders`: the source has folders. Then a destination of folders only may be mirrored to; else an empty one only. `arguments` say where it is;
    `unheard` is given how the listing ended, and raises when the destination can be asked again later.
    """
    deep = ["--recursive"] if folders else ["--dirs"]
    ended, holds = rsync.list_folder([*deep, passes.EXCLUDE, *arguments], folders=not folders)
    unheard(ended)
    if ended.code or holds:
        raise refuse_empty(peer=peer, holds=holds)
