"""`datamover points`, `ls`, `cat`, `get` and `diff`: arguments and options."""

import os
import sys

import click

from datamover.cli.points.completion import complete_path, complete_point
from datamover.cli.points.place import Place, bucket_options

EXIT_CODES = """
\b
Exit codes:
  0    done
  1    {different}
  2    the command line, the Secret, the bucket or the point
       cannot be used; the last line says why
  3    the store cannot be reached, or fails; try again
  130  interrupted
"""

_EXIT_CODES_OF_LISTS = EXIT_CODES.replace("  1    {different}\n", "")

_point = click.argument("point", shell_complete=complete_point)
_disturbed = click.option(
    "--disturbed",
    is_flag=True,
    help="Take the last complete run of a mirror for `latest` although a later one has begun and not ended.",
)
_output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of what is printed.",
)


def clean_path(path: str) -> bytes:
    """Return a path of a point as its manifest has it: from the volume's top, without slashes at its ends."""
    raw = os.fsencode(path).strip(b"/")
    while raw.startswith(b"./"):
        raw = raw[2:].lstrip(b"/")
    return b"" if raw == b"." else raw


@click.command(
    epilog=_EXIT_CODES_OF_LISTS,
    short_help="List the restore points in a bucket.",
)
@bucket_options
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="How many runs to read, the newest first; 0: all.",
)
@_output
def points(place: Place, limit: int, output: str) -> None:
    """List what can be restored from a bucket, with bucket and key alone.

    Of a mirror only the last complete run can be: its older runs are superseded. A timestamped copy stays a point.
    """
    from datamover.cli.points.listing import list_points

    sys.exit(list_points(place, limit=limit, machine=output == "json"))


@click.command(
    epilog=_EXIT_CODES_OF_LISTS,
    short_help="List the files of a point.",
)
@bucket_options
@_disturbed
@click.option("-R", "--recursive", is_flag=True, help="Also what is in the folders below.")
@_output
@_point
@click.argument("path", default="", shell_complete=complete_path)
def ls(place: Place, point: str, path: str, disturbed: bool, recursive: bool, output: str) -> None:
    """List what is in a folder of a point.

    POINT is `latest`, YYYY-MM-DD-HHMMSS, a run's id, or as-of:TIME. PATH begins at the volume's top.
    """
    from datamover.cli.points.listing import list_paths

    sys.exit(list_paths(place, point, clean_path(path), deep=recursive, disturbed=disturbed, machine=output == "json"))


@click.command(
    epilog=EXIT_CODES.format(different="what came is not the file; do not use it"),
    short_help="Print a file of a point.",
)
@bucket_options
@_disturbed
@_point
@click.argument("path", shell_complete=complete_path)
def cat(place: Place, point: str, path: str, disturbed: bool) -> None:
    """Print the contents of a file, compared with the manifest while they come."""
    from datamover.cli.points.reading import print_file

    sys.exit(print_file(place, point, clean_path(path), disturbed=disturbed))


@click.command(
    epilog=EXIT_CODES.format(different="something was left out; lines say what and why"),
    short_help="Bring a file or folder of a point here.",
)
@bucket_options
@_disturbed
@click.option("--overwrite", is_flag=True, help="Replace what is at these paths in the directory.")
@_output
@_point
@click.argument("path", shell_complete=complete_path)
@click.argument("directory", type=click.Path(file_okay=False))
def get(place: Place, point: str, path: str, directory: str, disturbed: bool, overwrite: bool, output: str) -> None:
    """Bring a file or folder of a point into a directory, under its last name; `.` is the whole point.

    Contents, links, permission bits and times come; owners, attributes and hard links do not. Each file is compared with
    the manifest.
    """
    from datamover.cli.points.reading import bring

    sys.exit(
        bring(
            place,
            point,
            clean_path(path),
            directory,
            disturbed=disturbed,
            overwrite=overwrite,
            machine=output == "json",
        )
    )


@click.command(
    epilog=EXIT_CODES.format(different="there are differences"),
    short_help="Compare a point with another, or with a directory.",
)
@bucket_options
@_disturbed
@click.option("--contents", is_flag=True, help="Only contents, links and types: no modes, owners, times, attributes.")
@_output
@_point
@click.argument("other", shell_complete=complete_point)
def diff(place: Place, point: str, other: str, disturbed: bool, contents: bool, output: str) -> None:
    """Show what differs between POINT and OTHER, another point or a directory (./DIR).

    `+` is in OTHER only, `-` in POINT only, `~` differs. Contents are compared by checksum where there is one.
    """
    from datamover.cli.points.comparing import show_difference

    sys.exit(
        show_difference(place, point, other, disturbed=disturbed, attributes=not contents, machine=output == "json")
    )


COMMANDS = (points, ls, cat, get, diff)
