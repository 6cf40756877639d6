"""`datamover points`, `ls`, `cat`, `get` and `diff`: arguments and options."""

import sys

import click

from datamover.cli.exits import Verdict
from datamover.cli.points.arguments import (
    disturbed_option,
    folder_argument,
    path_argument,
    point_argument,
    table_option,
    tell_exit_codes,
)
from datamover.cli.points.completion import complete_point
from datamover.cli.points.place import Place, bucket_options


@click.command(
    epilog=tell_exit_codes(),
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
@table_option
def points(place: Place, limit: int, output: str) -> None:
    """List what can be restored from a bucket, with bucket and key alone.

    Of a mirror only the last complete run can be: its older runs are superseded. A timestamped copy stays a point.
    """
    from datamover.cli.points.listing import list_points

    sys.exit(list_points(place, limit=limit, machine=output == "json"))


@click.command(
    epilog=tell_exit_codes(),
    short_help="List the files of a point.",
)
@bucket_options
@disturbed_option
@click.option("-R", "--recursive", is_flag=True, help="Also what is in the folders below.")
@table_option
@point_argument
@folder_argument
def ls(place: Place, point: str, path: bytes, disturbed: bool, recursive: bool, output: str) -> None:
    """List what is in a folder of a point.

    POINT is `latest`, YYYY-MM-DD-HHMMSS, a run's id, or as-of:TIME. PATH begins at the volume's top.
    """
    from datamover.cli.points.listing import list_paths

    sys.exit(list_paths(place, point, path, deep=recursive, disturbed=disturbed, machine=output == "json"))


@click.command(
    epilog=tell_exit_codes("what came is not the file; do not use it"),
    short_help="Print a file of a point.",
)
@bucket_options
@disturbed_option
@point_argument
@path_argument
def cat(place: Place, point: str, path: bytes, disturbed: bool) -> None:
    """Print the contents of a file, compared with the manifest while they come."""
    from datamover.cli.points.reading import print_file

    sys.exit(print_file(place, point, path, disturbed=disturbed))


@click.command(
    epilog=tell_exit_codes("something was left out; lines say what and why"),
    short_help="Bring a file or folder of a point here.",
)
@bucket_options
@disturbed_option
@click.option("--overwrite", is_flag=True, help="Replace what is at these paths in the directory.")
@table_option
@point_argument
@path_argument
@click.argument("directory", type=click.Path(file_okay=False))
def get(place: Place, point: str, path: bytes, directory: str, disturbed: bool, overwrite: bool, output: str) -> None:
    """Bring a file or folder of a point into a directory, under its last name; `.` is the whole point.

    Contents, links, permission bits and times come; owners, attributes and hard links do not. Each file is compared with
    the manifest.
    """
    from datamover.cli.points.reading import bring

    code = bring(
        place,
        point,
        path,
        directory,
        disturbed=disturbed,
        overwrite=overwrite,
        machine=output == "json",
    )
    sys.exit(Verdict(code))


@click.command(
    epilog=tell_exit_codes("there are differences", "nothing is known to differ, but not all could be compared"),
    short_help="Compare a point with another, or with a directory.",
)
@bucket_options
@disturbed_option
@click.option("--contents", is_flag=True, help="Only contents, links and types: no modes, owners, times, attributes.")
@table_option
@point_argument
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
