# ruff: noqa: PTH110, PTH112, PTH116  # a start-up budget that pathlib would take a tenth of
"""What a mover of these engines moves: a folder of files, or a block device. The one place that decides it."""

import os
import stat

import msgspec

from datamover.agent.errors import Failure
from datamover.agent.files.flushing import flush_file_system
from datamover.api import transfer


class Volume(msgspec.Struct, frozen=True):
    """A volume. `is_device`: it has no file system that could be read."""

    path: str
    is_device: bool


def find_volume(root: str) -> Volume:
    """Return the volume that is mounted below `root` (empty: the container's own). Raises Failure when there is none."""
    device = f"{root}{transfer.BLOCK_PATH}"
    # a plain file stands in for a device where there is none (the embedded node, tests)
    if os.path.exists(device):
        mode = os.stat(device).st_mode
        if stat.S_ISBLK(mode) or stat.S_ISREG(mode):
            return Volume(device, is_device=True)
    folder = f"{root}{transfer.DATA_PATH}"
    if os.path.isdir(folder):
        return Volume(folder, is_device=False)
    raise Failure(
        transfer.CONFIG,
        transfer.REASON_SOURCE_NOT_FOUND,
        f"There is no volume: neither a folder {folder} nor a device {device}. Mount the claim there.",
    )


def flush(volume: Volume) -> None:
    """Bring all that was written to a volume to its disk. Raises OSError, also for what failed before."""
    if not volume.is_device:
        flush_file_system(volume.path)
        return
    handle = os.open(volume.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def failure_of_disk(volume: Volume, error: OSError) -> Failure:
    """Return what to tell when what arrived does not get to the disk."""
    return Failure(
        transfer.NO_SPACE,
        transfer.REASON_NO_SPACE,
        f"The {'device' if volume.is_device else 'volume'} at {volume.path} fails while what arrived is written to its disk: {error.strerror}. Look at the"
        " storage: is it full, or read-only by now?",
    )
