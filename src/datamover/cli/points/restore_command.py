"""`datamover restore`: its arguments and options."""

import os
import sys

import click

from datamover.cli.exits import Verdict
from datamover.cli.points.arguments import disturbed_option, point_argument, read_path, text_option
from datamover.cli.points.place import Place, bucket_options

_EXIT_CODES = """
\b
Exit codes:
  0    restored, and compared with the manifest; lines tell what
       of attributes could not be had
  1    it is not whole: the directory is marked as that, and the
       same command goes on from there
  2    the command line, the Secret, the bucket, the point or the
       directory cannot be used; nothing was touched
  3    the store cannot be reached, or fails; the same command
       goes on from there
  130  interrupted (143 by SIGTERM); the same command goes on
       from there
"""


@click.command(epilog=_EXIT_CODES, short_help="Restore a point into a directory.")
@bucket_options
@disturbed_option
@click.option(
    "--path",
    metavar="SUB",
    default="",
    callback=read_path,
    help="Only this file or folder, at the place that it has in the volume.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Into a directory that is not empty: what the point has replaces what is at its paths, the rest stays.",
)
@click.option(
    "--privileges",
    is_flag=True,
    help="Also set-user-ID and set-group-ID bits of files, and attributes that begin with security. or trusted.",
)
@click.option("--special", is_flag=True, help="Also make pipes and device nodes.")
@text_option
@point_argument
@click.argument("directory", type=click.Path())
def restore(
    place: Place,
    point: str,
    directory: str,
    disturbed: bool,
    path: bytes,
    overwrite: bool,
    privileges: bool,
    special: bool,
    output: str,
) -> None:
    """Bring everything of a point back into DIRECTORY: contents, names, links, modes, owners, times, attributes, holes.

    POINT is `latest`, YYYY-MM-DD-HHMMSS, a run's id, or as-of:TIME. DIRECTORY must be empty or not there yet. While it lasts
    it has a folder .datamover-restore; when that is gone, everything is there and was compared with the manifest.
    """
    from datamover.agent.restore.order import Order
    from datamover.cli.points.restoring import Request, perform

    order = Order(
        directory=os.fspath(directory), path=path, overwrite=overwrite, privileges=privileges, special=special
    )
    sys.exit(Verdict(perform(Request(place, point, order, disturbed=disturbed, machine=output == "json"))))
