"""`--upload NAME=FILE`: which files fill DataVolumes that wait for an upload."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class UploadFile:
    """A DataVolume and the file that fills it."""

    name: str
    path: Path


def parse_upload(text: str) -> UploadFile:
    """Return what `NAME=FILE` names. Raises click.BadParameter that says what to do."""
    name, separator, place = text.partition("=")
    if not separator or not place or not name:
        raise click.BadParameter(f"{text!r} is not NAME=FILE, such as vm-disk=./fedora.raw.xz")
    try:
        path = Path(place).expanduser()
        found = path.stat()
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise click.BadParameter(f"{place} cannot be read: {why}") from error
    if not stat.S_ISREG(found.st_mode):
        raise click.BadParameter(f"{place} is no file: give a disk, or a tar for contentType: archive")
    if not os.access(path, os.R_OK):
        raise click.BadParameter(f"{place} cannot be read: correct its permissions")
    return UploadFile(name, path.resolve())


class UploadType(click.ParamType[UploadFile]):
    """The option's type, with files for completion."""

    name = "NAME=FILE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> UploadFile:
        """Return the file."""
        del param, ctx
        return value if isinstance(value, UploadFile) else parse_upload(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a file after the `=`. The name before it cannot be completed."""
        del ctx, param
        _, separator, place = incomplete.partition("=")
        return [CompletionItem(place, type="file")] if separator else []
