"""A disk with nothing in it."""

from datamover.agent.importer.disk import open_disk
from datamover.agent.importer.filling import Filled, Filling


def make_blank(filling: Filling) -> Filled:
    """Make the disk. A device is left as its driver made it, unless it was asked to get all its room: then it is zeroed. Raises Failure."""
    settings = filling.settings
    with open_disk(settings, say=filling.say) as disk:
        if settings.block and not settings.preallocate:
            return Filled(size=disk.device_size, form="blank", proof="the device was left as it is")
        size = disk.complete()
    return Filled(size=size, form="blank", proof="all of it reads as zeros")
