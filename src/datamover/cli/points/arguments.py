"""Arguments and options that several commands over a bucket have: one place for their words, so that they mean the same everywhere."""

from typing import Final

import click

from datamover.cli import forms
from datamover.cli.points.completion import complete_path, complete_point

EXIT_CODES: Final = """
\b
Exit codes:
  0    done
{others}  2    the command line, the Secret, the bucket or the point
       cannot be used; the last line says why
  3    the store cannot be reached, or fails; try again
{last}  130  interrupted
"""


def tell_exit_codes(different: str = "", unproved: str = "") -> str:
    """Return the end of a command's help; `different` and `unproved` are what 1 and 4 mean there, each of at most 60 letters."""
    return EXIT_CODES.format(
        others=f"  1    {different}\n" if different else "", last=f"  4    {unproved}\n" if unproved else ""
    )


def read_path(context: click.Context, option: click.Parameter, text: str) -> bytes:
    """Return a path of a point as its manifest has it. Raises BadParameter for what is none."""
    del context, option
    from datamover.agent.restore import order

    try:
        return order.read_path(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


point_argument = click.argument("point", shell_complete=complete_point)
path_argument = click.argument("path", callback=read_path, shell_complete=complete_path)
folder_argument = click.argument("path", default="", callback=read_path, shell_complete=complete_path)
disturbed_option = click.option(
    "--disturbed",
    is_flag=True,
    help="Take the last complete run of a mirror for `latest` and `as-of` although a later one has begun and not ended.",
)


table_option = forms.output_option("table")
text_option = forms.output_option("text")
