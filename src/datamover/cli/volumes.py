"""`--volume NAME=DIR`: which directories stand for which claims."""

import re
from dataclasses import dataclass
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from datamover.api.pods import DNS_SUBDOMAIN

_NAME = re.compile(DNS_SUBDOMAIN)


@dataclass(frozen=True, slots=True)
class Volume:
    """A claim and the directory that holds its data."""

    name: str
    path: Path


def parse_volume(text: str) -> Volume:
    """Return the volume that `NAME=DIR` names. Raises click.BadParameter that says what to do."""
    name, separator, place = text.partition("=")
    if not separator or not place:
        raise click.BadParameter(f"{text!r} is not NAME=DIR, such as app-data=./data")
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise click.BadParameter(
            f"{name!r} is not the name of a PersistentVolumeClaim: use lower-case letters, digits, '-' and '.'"
        )
    try:
        path = Path(place).expanduser()
        if not path.exists():
            raise click.BadParameter(f"{place} does not exist: create the directory or correct the path")
        if not path.is_dir():
            raise click.BadParameter(f"{place} is not a directory: a volume is one")
        return Volume(name, path.resolve())
    except (OSError, RuntimeError) as error:  # a home that nobody has is a RuntimeError
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise click.BadParameter(f"{place} cannot be used: {why}") from error


def find_clash(volumes: tuple[Volume, ...], state: Path) -> str | None:
    """Return what is wrong with these volumes together, or with one of them and the state directory; None when all is well.

    A volume is only read (law L1), so nothing of ours may lie in it; and a volume must not lie in the state directory, because it would be removed with it.
    """
    names = [volume.name for volume in volumes]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        return f"--volume names {', '.join(doubled)} more than once: give each claim one directory"
    for volume in volumes:
        place, own = volume.path, state.expanduser().resolve()
        if own.is_relative_to(place) or place.is_relative_to(own):
            return (
                f"--volume {volume.name}: {place} and the state directory {own} lie in one another: "
                "choose another directory with --state"
            )
    return None


class VolumeType(click.ParamType[Volume]):
    """The option's type, with directories for completion."""

    name = "NAME=DIR"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Volume:
        """Return the volume."""
        del param, ctx
        return value if isinstance(value, Volume) else parse_volume(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete a directory after the `=`. The name of the claim before it cannot be completed."""
        del ctx, param
        _, separator, place = incomplete.partition("=")
        return [CompletionItem(place, type="dir")] if separator else []
