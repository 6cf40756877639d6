"""`datamover verify`: its arguments and options."""

import sys

import click

from datamover.cli.exits import Verdict
from datamover.cli.points.arguments import disturbed_option, point_argument, tell_exit_codes, text_option
from datamover.cli.points.place import Place, bucket_options

_METHODS = ("size", "checksum", "download", "sample")


def _read_percent(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    del context, parameter
    if value is not None and not 0 < value <= 100:
        raise click.BadParameter("a sample is more than 0 and at most 100 percent")
    return value


@click.command(
    epilog=tell_exit_codes(
        "something is not what the manifest says; lines say what",
        "nothing differs, but less could be read back than was asked for",
    ),
    short_help="Compare what lies in the bucket with a point's manifest.",
)
@bucket_options
@disturbed_option
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    help="`size`: names and sizes; `checksum`: also the checksums that the store has recorded; `download`: everything is read back;"
    " `sample`: a part of it is. [default: checksum, and sample with --sample]",
)
@click.option(
    "--sample",
    metavar="PERCENT",
    type=float,
    callback=_read_percent,
    help="How much of it a sample reads back, by the number of objects.",
)
@text_option
@point_argument
def verify(place: Place, point: str, disturbed: bool, method: str | None, sample: float | None, output: str) -> None:
    """Compare what lies in the bucket with what the manifest of POINT says, without the source and without writing anything.

    POINT is `latest`, YYYY-MM-DD-HHMMSS, a run's id, or as-of:TIME. `+` is there and in no manifest, `-` is missing, `~` is
    another than it was. The last line says what was compared with what.
    """
    from datamover.cli.points.verifying import Request, verify_point

    if method is not None and (method == "sample") != (sample is not None):
        raise click.UsageError("--method sample needs --sample PERCENT, and --sample no other method.")
    chosen = method or ("sample" if sample is not None else "checksum")
    code = verify_point(
        Request(
            place,
            point,
            method=chosen,
            percent=sample if sample is not None else 100.0,
            disturbed=disturbed,
            machine=output == "json",
        )
    )
    sys.exit(Verdict(code))
